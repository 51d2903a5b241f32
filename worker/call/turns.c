/*
 * turns.c -- see turns.h.
 */
#include "worker/call/turns.h"

#include <string.h>

uint64_t turn_draw(const struct turns *turns, struct tenant_turn *tenant, int64_t tokens)
{
    uint64_t cost = (uint64_t)(tokens > 0 ? tokens : 1) * TURN_WEIGHT / tenant->weight;
    uint64_t turn = tenant->next > turns->served ? tenant->next : turns->served;
    tenant->next = turn + (cost ? cost : 1);
    return turn + 1;
}

void turn_served(struct turns *turns, uint64_t turn)
{
    if (turn > turns->served)
        turns->served = turn;
}

static uint64_t turn_of(const struct list_node *node, ptrdiff_t offset)
{
    uint64_t turn;
    memcpy(&turn, (const char *)node + offset, sizeof(turn));
    return turn;
}

void turn_line_up(struct list *line, struct list_node *node, ptrdiff_t offset)
{
    struct list_node *before = line->head.prev;
    while (before != &line->head && turn_of(before, offset) > turn_of(node, offset))
        before = before->prev;
    list_insert_between(line, node, before, before->next);
}
