/*
 * route.c -- see route.h.
 *
 * Weighted order without replacement: each draws -log(u) / weight, the smallest goes first
 * (P. Efraimidis, P. Spirakis, "Weighted random sampling with a reservoir", 2006).
 */
#include "worker/call/route.h"

#include <math.h>

#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/rand.h"

/* Smaller goes first: first by what it lacks, then by what is wanted, then by the policy. */
struct rank {
    unsigned index;
    unsigned lacks; /* 2: a key; 1: it seems to be away */
    bool later;     /* not local, though local ones are wanted */
    double order;
};

static double order_of(const struct route_rule *rule, const struct route_facts *facts,
                       struct rand *rand, size_t index)
{
    double draw;
    switch (rule->policy) {
    case ROUTE_WEIGHTED:
        draw = -log(1 - rand_unit(rand));
        return facts->weight > 0 ? draw / facts->weight : INFINITY;
    case ROUTE_LEAST_LATENCY:
        return facts->latency_ms;
    case ROUTE_CHEAPEST:
        return isnan(facts->cost) ? INFINITY : facts->cost;
    case ROUTE_ORDERED:
    case ROUTE_RULE:
    case ROUTE_POLICIES:
        break;
    }
    return (double)index;
}

static bool local_wanted(const struct route_rule *rule, const struct route_ask *ask)
{
    bool hurry =
        rule->policy == ROUTE_RULE && ask->budget_ms > 0 && ask->budget_ms < rule->local_under_ms;
    return rule->prefer_local || hurry;
}

static bool goes_before(const struct rank *a, const struct rank *b)
{
    if (a->lacks != b->lacks)
        return a->lacks < b->lacks;
    if (a->later != b->later)
        return b->later;
    return a->order < b->order;
}

/* By insertion: they are few, and equals keep the order in which they stand in the route. */
static void insert(struct rank *ranks, size_t count, struct rank rank)
{
    size_t at = count;
    for (; at > 0 && goes_before(&rank, &ranks[at - 1]); at--)
        ranks[at] = ranks[at - 1];
    ranks[at] = rank;
}

/* One that is there, and was not asked lately, goes first. */
static void explore(struct rank *ranks, size_t count, const struct route_facts *facts)
{
    for (size_t i = 1; i < count; i++) {
        struct rank rank = ranks[i];
        if (rank.lacks || rank.later != ranks[0].later || !facts[rank.index].stale)
            continue;
        for (size_t at = i; at > 0; at--)
            ranks[at] = ranks[at - 1];
        ranks[0] = rank;
        return;
    }
}

size_t route_order(const struct route_rule *rule, const struct route_facts *facts, size_t count,
                   const struct route_ask *ask, unsigned *ret)
{
    struct rank ranks[ROUTE_CANDIDATES_MAX];
    struct rand rand;
    size_t fit = 0;
    bool local = local_wanted(rule, ask);
    must(count <= ROUTE_CANDIDATES_MAX);
    rand_init(&rand, ask->random);
    for (size_t i = 0; i < count; i++) {
        const struct route_facts *f = &facts[i];
        struct rank rank = {.index = (unsigned)i,
                            .lacks = f->no_key ? 2 : f->away,
                            .later = local && !f->local,
                            .order = order_of(rule, f, &rand, i)};
        if (!f->context_tokens || f->context_tokens >= ask->tokens)
            insert(ranks, fit++, rank);
    }
    if (rule->policy == ROUTE_LEAST_LATENCY && rand_below(&rand, ROUTE_EXPLORE) == 0)
        explore(ranks, fit, facts);
    for (size_t i = 0; i < fit; i++)
        ret[i] = ranks[i].index;
    return fit;
}

size_t route_largest(const struct route_facts *facts, size_t count)
{
    size_t largest = 0;
    for (size_t i = 1; i < count; i++)
        if (facts[i].context_tokens > facts[largest].context_tokens)
            largest = i;
    return largest;
}
