/*
 * turns.h -- who of those that wait before a call goes first: start-time fair queueing over
 * tenants. Pure.
 *
 * A turn is a number, drawn once by each slot that has to wait; the lowest goes first, equal ones
 * in the order in which they came. A tenant's next turn is behind his last one by what that costs,
 * and never before that of whoever was served last. So a tenant with few calls goes before
 * another's very many, wherever they wait, and the many keep their order. Intake sees to it that
 * what begins is in proportion (worker/intake/shares.h); this is for what has begun.
 */
#ifndef QUERN_WORKER_CALL_TURNS_H
#define QUERN_WORKER_CALL_TURNS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"

#define TURN_WEIGHT 1000 /* of a tenant that is as all others */

struct turns { /* zeroed at first */
    uint64_t served;
};

struct tenant_turn { /* a tenant's; zeroed at first but for its weight */
    uint64_t next;
    uint64_t weight; /* tokens by this, times TURN_WEIGHT; at least 1 */
};

/* Never 0. */
uint64_t turn_draw(const struct turns *turns, struct tenant_turn *tenant, int64_t tokens);
void turn_served(struct turns *turns, uint64_t turn);

/* Puts `node` behind all whose turn is not later. `offset`: from a node to its turn. */
void turn_line_up(struct list *line, struct list_node *node, ptrdiff_t offset);

#endif
