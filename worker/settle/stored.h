/*
 * stored.h -- waiting until the aggregator has stored a request's final result.
 *
 * The aggregator says so on this worker's Redis channel. Whoever waits longer than usual is looked
 * up in PostgreSQL, in bulk, so a lost notice or a dead Redis costs half a second and nothing else.
 */
#ifndef QUERN_WORKER_SETTLE_STORED_H
#define QUERN_WORKER_SETTLE_STORED_H

#include "worker/job.h"

struct stored *stored_new(struct worker *worker);
void stored_free(struct stored *stored); /* takes NULL */
/* Asks the job's walk once and answers it when the final result is stored, or when the partition
 * went away or the worker leaves (see stored_wake_all). */
void stored_wait(struct job *job);
/* Nobody needs to wait any longer: a revoke, or a drain that has come to its end. */
void stored_wake_lost(struct stored *stored);

#endif
