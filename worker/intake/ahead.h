/*
 * ahead.h -- the backlog: what was read and has not begun, a queue per tenant and lane, and whose
 * turn it is (shares.h).
 *
 * A queue keeps requests as jobs up to its tenant's part of the read-ahead (`worker.read_ahead`,
 * `worker.read_ahead_bytes`; half of it by the number of queues in which something waits), and no
 * more than a few while there is room for copies. Behind them it keeps stubs (stubs.h), so that
 * reading goes on and finds who stands behind a tenant with very many: with a copy of the record
 * (`worker.stub_bytes`), else its bytes are fetched again (kafka_fetcher.h) some time before their
 * turn. `worker.stubs_max` bounds all stubs; beyond it partitions are paused.
 *
 * Order: a queue is in the order in which its records were read, whatever is fetched when: behind a
 * stub everything is a stub, and nothing begins before those ahead of it. So turns of a session,
 * which are one tenant's and in one partition, begin in the order of their records.
 *
 * A stub is not a job: it is forgotten when its partition goes, and read again by the next owner.
 * Its offset is unfinished all the while.
 */
#ifndef QUERN_WORKER_INTAKE_AHEAD_H
#define QUERN_WORKER_INTAKE_AHEAD_H

#include "worker/intake/inside.h"

void ahead_init(struct intake *intake);
void ahead_done(struct intake *intake); /* everything was dropped */

/* A record whose offset is started; copied, or kept as a stub. */
void ahead_take(struct intake *intake, struct partition *partition, struct kafka_record *record);
/* The job whose turn it is, taken off its queue; NULL: none may begin now. */
struct job *ahead_next(struct intake *intake);
/* Fetches what will be wanted soon. */
void ahead_fetch(struct intake *intake);
/* Forgets what has not begun: of partitions that are not ours, or all. */
void ahead_drop(struct intake *intake, bool not_owned_only);

/* The job waits for another one (+1), or goes on (-1), or has ended. */
void ahead_parked(struct job *job, int more);
void ahead_ended(struct job *job, bool ok);

bool ahead_full(const struct intake *intake, const struct lane *lane);
bool ahead_has_room(const struct intake *intake, const struct lane *lane);
void ahead_measure(const struct intake *intake);

#endif
