/*
 * dead.h -- `quern dead list|show|retry`: records that could not be processed.
 *
 * The dead-letter topic keeps the original bytes, key and headers; why and where from stands in
 * headers of its own. Kafka deletes nothing on demand, so a record stays in the list after a retry,
 * and may be retried again. A retried request that has an id and a stored final result is answered
 * from the store; --new-id asks anew.
 *
 * Private to producer/cli/dead*.c.
 */
#ifndef QUERN_PRODUCER_CLI_DEAD_H
#define QUERN_PRODUCER_CLI_DEAD_H

#include "common/io/kafka.h"
#include "producer/cli/cli.h"

struct dead_place {
    int32_t partition;
    int64_t offset;
};

/* One walk over the topic. Set `each` and `context` after opening it; `each` ends it with false. */
struct dead_walk {
    struct cli *cli;
    struct kafka_admin *admin; /* the caller's to free, also when opening failed */
    const char *topic;
    int32_t partitions;
    struct str code; /* only these; absent: all */
    size_t seen;     /* records that `each` was given */
    bool (*each)(struct kafka_record *record, void *context);
    void *context;
};

bool dead_walk_open(struct dead_walk *walk, struct cli *cli, struct err *err);
/* Of each partition the newest `last` records. */
bool dead_walk_all(struct dead_walk *walk, int64_t last, struct err *err);
/* ERR_NOT_FOUND: there is none at this place. */
bool dead_walk_one(struct dead_walk *walk, const struct dead_place *place, struct err *err);
/* "PARTITION:OFFSET"; ERR_USAGE. */
bool dead_place(const char *word, struct dead_place *ret, struct err *err);

/* What became of a retried record: "published", "not published", or "unknown" when Kafka did not
 * say
 * (`err` NULL: it is written). `ret_why` is for people, "" when all is well. */
const char *dead_fate(const struct err *err, bool has_id, const char **ret_why);
/* Headers that a retried record has: the original's. With a new id those that tell the old one are
 * left out, and `type` is its content-type. `ret` has room for KAFKA_HEADERS_MAX + 1. */
size_t dead_headers(const struct kafka_record *record, const char *new_type,
                    struct kafka_header *ret);

#endif
