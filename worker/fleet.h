/*
 * fleet.h -- how many workers there are, for what the fleet may do together and each does a part
 * of.
 *
 * Each says every two seconds that it is there (schemas/lua/members.lua in Redis), and is told how
 * many do. The number goes to the models' gates: a retry that nobody asked for and no first call
 * has paid for is one of ten a second of the whole fleet (call/budget.h). Without Redis, and while
 * it is away, the number stays what it was; at first it is 1.
 */
#ifndef QUERN_WORKER_FLEET_H
#define QUERN_WORKER_FLEET_H

#include "worker/worker.h"

struct fleet;

struct fleet *fleet_new(struct worker *worker);
/* The others are told that we are gone; both take NULL, the second behind redis_free(). */
void fleet_leave(struct fleet *fleet);
void fleet_free(struct fleet *fleet);

#endif
