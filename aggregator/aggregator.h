/*
 * aggregator.h -- the aggregator program's desk: its doors, its settings, its partitions, and what
 * its rooms ask of each other.
 *
 * Rooms keep their state to themselves and are reached through the few functions below; only
 * program.c builds them. A turn: gather takes the records that came, store sends a transaction when
 * none is on the wire, settle produces replies. See program.c.
 */
#ifndef QUERN_AGGREGATOR_AGGREGATOR_H
#define QUERN_AGGREGATOR_AGGREGATOR_H

#include "aggregator/group.h"
#include "common/app/app.h"
#include "common/app/metrics.h"
#include "common/io/kafka.h"
#include "common/io/postgres.h"
#include "common/io/redis.h"
#include "common/loop/loop.h"
#include "common/settings/aggregator_conf.h"

extern const struct app_program aggregator_program; /* program.c */

/* What the aggregator may send to PostgreSQL (statements.c). */
enum statement {
    STATEMENT_OWN,           /* group, topic, partitions, lows, owner */
    STATEMENT_LOAD,          /* partitions -> parts of their open requests */
    STATEMENT_OFFSETS,       /* group, topic, partitions -> offset and epoch of each */
    STATEMENT_FENCE,         /* group, topic, partitions, epochs, froms, tos */
    STATEMENT_STORE,         /* the columns of store/columns.def; refuses when a request that is
                              * final has another body */
    STATEMENT_STORE_TELLING, /* the same, and does not refuse: the losers are told */
    STATEMENT_REPEAT,        /* tenants, ids, hashes, topics, partitions */
    STATEMENT_BURY,          /* tenants, ids, topics, keys, types, payloads, headers, partitions,
                              * hashes: only where the stored request has another body */
    STATEMENT_EMBEDDINGS,  /* tenants, ids, hashes, vectors: of requests that are stored as done */
    STATEMENT_ONE_BODY,    /* tenants, ids, hashes; refuses when a request has another body */
    STATEMENT_OUTBOX_SENT, /* ids */
    STATEMENT_OUTBOX_FAILED, /* ids, errors, most attempts, pause in ms */
    STATEMENT_OUTBOX_LOAD,   /* partitions, id, most attempts, limit */
    STATEMENT_OUTBOX_PARTS,  /* the same: parts of these requests */
    STATEMENT_COUNT
};
const struct postgres_statement *aggregator_statements(void);

/* One partition of the result topic, as long as it is ours. */
struct partition {
    bool assigned; /* by Kafka */
    bool owned;    /* by our epoch in PostgreSQL; read from */
    int64_t low, high;
    int64_t epoch;
    int64_t next_offset; /* as stored in PostgreSQL */
    int64_t committed;   /* as told to Kafka, for dashboards only */
    int64_t read_ms;     /* time of the newest record that was read */
    bool at_end;         /* everything there was has been read */
};

struct gather;
struct store;
struct settle;

struct aggregator {
    struct app *app;
    struct loop *loop;
    const struct aggregator_conf *conf;

    struct kafka_consumer *consumer;
    struct kafka_producer *producer;
    struct postgres *pg;
    struct redis *redis;
    unsigned script_settled, script_conversation;

    char instance[160]; /* who we are in the consumer group */
    char owner[200];    /* and in kafka_offsets: instance and start */
    struct str topic_results, topic_replies, topic_dead;

    struct partition *partitions; /* by number */
    size_t partition_count;
    unsigned generation; /* grows when partitions are given up */

    struct arena_pool *pool;
    struct arena names;
    struct gather *gather;
    struct store *store;
    struct settle *settle;
    struct loop_hook hook;
    bool draining;
};

/* NULL when there is none of this number, or it is not owned. */
struct partition *aggregator_partition(struct aggregator *aggregator, int32_t number);
/* Numbers of the owned partitions as an array literal; returns how many. */
size_t aggregator_owned(const struct aggregator *aggregator, struct buf *ret);

/* gather: records to entries, groups and their deadlines, which partitions are ours. */
struct gather *gather_new(struct aggregator *aggregator);
void gather_free(struct gather *gather); /* takes NULL */
void gather_events(struct aggregator *aggregator, struct kafka_consumer_events *ret);
bool gather_run(struct gather *gather); /* true: something was left over */
void gather_drain(struct gather *gather);
/* Stop reading for a while, or go on. */
void gather_hold(struct gather *gather, bool hold);
/* The group's final result is in the store, or its request was final before: forget it. */
void gather_forget(struct gather *gather, struct group *group);
/* The store has nothing on the wire: a revoke that waits for it may end. */
void gather_store_idle(struct gather *gather);
/* Somebody else owns partitions of ours: give everything up and wait for Kafka to say so. */
void gather_fenced(struct gather *gather);
void gather_measure(const struct gather *gather);

/* merge: asks the group's policy. True: group->final is filled. deadline_struck: at wall time
 * now_ms it must be decided. */
bool merge_decide(struct group *group, bool deadline_struck, int64_t now_ms);

/* store: entries to transactions. Takes the entry. */
struct store *store_new(struct aggregator *aggregator);
void store_free(struct store *store); /* takes NULL */
void store_add(struct store *store, struct entry *entry);
void store_run(struct store *store);
void store_drop(struct store *store); /* what is not on the wire */
bool store_busy(const struct store *store);
bool store_idle(const struct store *store); /* not busy and nothing waits */

/* settle: replies to Kafka, conversations and marks to Redis. */
struct settle *settle_new(struct aggregator *aggregator);
void settle_free(struct settle *settle); /* takes NULL */
void settle_run(struct settle *settle);
/* The group's final result is stored; turn 0: no conversation; outbox 0: no reply. */
void settle_final(struct settle *settle, const struct group *group, int64_t turn, int64_t outbox);
/* Replies of the outbox that nobody has under way: look for them now. */
void settle_sweep(struct settle *settle);
/* Replies not delivered or not yet taken off the outbox. */
size_t settle_pending(const struct settle *settle);
/* What the next transaction writes about the outbox; false: nothing, or not urgent. `force`: take
 * it although it is not urgent. After settle_outbox_take(), exactly one settle_outbox_taken(). */
bool settle_outbox_take(struct settle *settle, bool force, struct buf *ret_sent,
                        struct buf *ret_failed, struct buf *ret_errors);
void settle_outbox_taken(struct settle *settle, bool stored);

/* The topic a reply goes to. */
struct str aggregator_reply_topic(const struct aggregator *aggregator, struct str reply_to);

#endif
