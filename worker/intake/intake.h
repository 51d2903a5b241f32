/*
 * intake.h -- where requests come in: partitions, back-pressure, order within a session, commits.
 *
 * Records of Kafka wait in a queue per tenant and lane (ahead.h) until there is room among
 * `max_in_flight` and it is their tenant's turn (shares.h). Beyond a bound only their place is
 * kept, and they are fetched again; too many such places pause the lane's partitions, until half of
 * them are gone, so that the library's prefetch is seldom thrown away. An offset counts as finished
 * when its job has ended well; what may be committed is the tracker's low, and it is committed at
 * intervals and before a partition is given up.
 *
 * Invariants: a job that was abandoned never finishes its offset; a job of a partition that went
 * away touches no tracker; at most one job of a session is past `admit`, in the order of the
 * records; at most one job of an id is past `admit`, later ones follow it.
 */
#ifndef QUERN_WORKER_INTAKE_INTAKE_H
#define QUERN_WORKER_INTAKE_INTAKE_H

#include "worker/job.h"

struct intake *intake_new(struct worker *worker);
void intake_free(struct intake *intake); /* takes NULL; jobs still inside are freed */
/* What program.c gives to kafka_consumer_new(). */
void intake_events(struct worker *worker, struct kafka_consumer_events *ret);
/* And to kafka_fetcher_new(). */
void intake_fetch_events(struct worker *worker, struct kafka_fetcher_events *ret);

/* Stop taking; abandons what has not begun; `drained` is called when nothing is left. */
void intake_drain(struct intake *intake);
/* Every job inside, whatever it waits for; nothing may end meanwhile. */
void intake_each_job(struct intake *intake, void (*visit)(struct job *job));
/* The flow's `ended`: frees the job. */
void intake_job_ended(void *subject, bool ok);

size_t intake_active(const struct intake *intake);
size_t intake_parked(const struct intake *intake);
size_t intake_partitions(const struct intake *intake);
void intake_measure(struct intake *intake);

/* Within the room. */
bool intake_follow(struct job *job); /* true: another job of this id is at work; asked the walk */
bool intake_queue(struct job *job);  /* true: an earlier turn of the session is; asked the walk */

#endif
