/*
 * inside.h -- what the two files of this room share: gather.c (records, groups, deadlines) and
 * assign.c (partitions come and go).
 */
#ifndef QUERN_AGGREGATOR_GATHER_INSIDE_H
#define QUERN_AGGREGATOR_GATHER_INSIDE_H

#include "aggregator/aggregator.h"

struct gather {
    struct aggregator *aggregator;
    struct list inbox; /* entries of records that were not read yet */
    struct map groups; /* open ones, and final ones that are not stored yet */
    struct heap due;   /* open groups by deadline */
    struct timer wake;
    bool held; /* the store asked us to wait */

    struct list questions; /* take-overs that were not answered, also of former times */
    int64_t assigned_ms, own_due_ms;
    bool owning;   /* the take-over is under way */
    bool revoking; /* a revoke waits for the transaction on the wire */
    bool fenced;
    struct timer own_timer, release_timer, fence_timer, commit_timer;
};

void gather_record(struct kafka_record *record, void *context);
void gather_end(const char *topic, int32_t partition, int64_t next_offset, void *context);
/* Forgets all groups and records. */
void gather_clear(struct gather *gather);
/* Bytes of a record to its result; err says why not. */
bool part_read(struct part *part, struct err *err);

void assign_assigned(const struct kafka_partition *partitions, size_t count, void *context);
void assign_revoked(bool lost, void *context);
void assign_forget(struct gather *gather); /* PostgreSQL's door is gone */
void assign_committed(const struct kafka_offset *offsets, size_t count, const struct err *err,
                      void *context);

#endif
