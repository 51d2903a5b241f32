/*
 * group.h -- the aggregator's subject: a request, the parts that came for it, and what is to be
 * stored of it.
 *
 * A record of the result topic becomes a `part`; parts of one request meet in a `group`; what a
 * part changes in the store is an `entry`, and entries go to PostgreSQL in the order in which they
 * were made, many in one transaction.
 *
 * Lifetimes: a group is counted: the table of groups holds it once, every entry once. A part that
 * sits in a slot of its group is freed with the group, any other with its entry.
 */
#ifndef QUERN_AGGREGATOR_GROUP_H
#define QUERN_AGGREGATOR_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/heap.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/contract/contract.h"

#define SLOTS_MAX 16

struct part {
    struct arena arena;
    struct result result;
    struct str raw, content_type, key; /* the record as it came */
    struct str traceparent;
    int64_t timestamp_ms;
    bool slotted;  /* its group owns it */
    bool salvaged; /* unreadable but for its names: stands for a part that failed */
};

/* How a request ended. Strings live in the group's parts or are constants. */
struct final {
    struct str status; /* done, failed, expired, cancelled */
    int winner;        /* slot whose answer it is; -1: none */
    double agreement;  /* NAN: only one model was asked */
    struct failure error;
    char error_text[320];
};

struct group {
    struct map_node node; /* key: tenant 0x1f id */
    struct heap_node due; /* by deadline, while it is open */
    unsigned refs;
    int32_t partition;
    unsigned slots, part_count;
    struct part *parts[SLOTS_MAX];
    struct part *first;  /* the first part that came: the ticket is taken from it */
    int64_t deadline_ms; /* wall time when the merge goes on without the rest */
    int64_t accepted_ms; /* wall time when the first part was read */
    bool is_final;
    struct final final;
    struct entry *row; /* the entry that stands for its row in the transaction being made */
    int32_t ord;       /* that row's number in the transaction, from 1; 0: none */
    size_t tenant_len, key_len;
    char key[]; /* the map forgets it when the node leaves */
};

enum entry_kind {
    ENTRY_PART,     /* a part, and what follows from it */
    ENTRY_DEADLINE, /* a group's deadline struck */
    ENTRY_REPEAT,   /* the stored answer is wanted once more */
    ENTRY_DEAD,     /* a record that cannot be used: for the dead letters */
};

struct entry {
    struct list_node node;
    enum entry_kind kind;
    int32_t partition;
    int64_t offset; /* of the record; -1: none */
    struct group *group;
    struct part *part;
    bool opens;    /* its group's row is not in the store yet */
    bool finishes; /* with it the group became final */
    bool late;     /* the group was final already: only the calls are stored */
    bool foreign;  /* the group has another body: its publisher is told so, see extras.h */
    bool poisoned; /* PostgreSQL refused it; see store/ended.c */
    size_t bytes;
    enum err_code dead_code;
    char *dead_reason;
};

struct group *group_new(struct str tenant, struct str id, int32_t partition, unsigned slots);
struct str group_key(struct arena *arena, struct str tenant, struct str id);
struct str group_tenant(const struct group *group);
struct str group_id(const struct group *group);
struct str group_whole_key(const struct group *group); /* tenant 0x1f id */
void group_ref(struct group *group);
void group_unref(struct group *group); /* takes NULL */
/* Puts the part into its slot; false when the slot is taken. */
bool group_take(struct group *group, struct part *part);
const struct ticket *group_ticket(const struct group *group);
/* The turn's new messages, as the winner was asked them; a part that was never asked (too late,
 * say) has none. NULL: no part has any. */
const struct value *group_question(const struct group *group);

/* What a group's parts come to: sums of tokens and money, the longest times. */
struct totals {
    struct usage usage;
    int64_t cost_microusd;
    struct times times;
};
void group_totals(const struct group *group, struct totals *ret);

struct part *part_new(struct arena_pool *pool, size_t bytes_max);
void part_free(struct part *part); /* takes NULL */

struct entry *entry_new(enum entry_kind kind, int32_t partition, int64_t offset);
/* Takes NULL; the entry must be on no list. */
void entry_free(struct entry *entry);

#endif
