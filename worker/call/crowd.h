/*
 * crowd.h -- the calls of one model and key that this process has in flight, and who waits for room
 * among them. How much room there is: concurrency.h.
 *
 * A slot asks crowd_may() before each call, queues with crowd_wait() where it may not, and says
 * crowd_enter() when the call leaves and crowd_ended() when it has ended. Who waits goes in the
 * order of turns.h.
 */
#ifndef QUERN_WORKER_CALL_CROWD_H
#define QUERN_WORKER_CALL_CROWD_H

#include "common/base/list.h"
#include "common/flow/flow.h"
#include "worker/call/concurrency.h"
#include "worker/call/turns.h"

struct crowd {
    struct concurrency concurrency;
    struct concurrency_rule rule;
    struct list waiting;
    size_t woken; /* their turn has come, and they have not asked yet */
};

/* In the slot; zeroed at first. */
struct crowd_place {
    struct list_node node;
    struct walk *walk;
    uint64_t turn; /* whose is lower goes first (turns.h) */
    bool queued, woken, inside;
};

void crowd_init(struct crowd *crowd);
bool crowd_may(const struct crowd *crowd, const struct crowd_place *place);
/* Whoever is new would have to wait; how many do, and how many it lets go in a second, about. */
bool crowd_full(const struct crowd *crowd);
size_t crowd_room(const struct crowd *crowd); /* for whoever is new */
size_t crowd_waiting(const struct crowd *crowd);
size_t crowd_per_second(const struct crowd *crowd);
/* The walk sleeps (walk_sleep_until) and is woken when it may ask again. */
void crowd_wait(struct crowd *crowd, struct crowd_place *place, struct walk *walk);
void crowd_enter(struct crowd *crowd, struct crowd_place *place);
/* Asks no more; of a call in flight it does nothing. */
void crowd_leave(struct crowd *crowd, struct crowd_place *place);
void crowd_ended(struct crowd *crowd, struct crowd_place *place, enum concurrency_news news,
                 int64_t began_ms, int64_t took_ms, int64_t now_ms);

#endif
