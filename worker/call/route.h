/*
 * route.h -- in which order the models of a route are asked. Pure.
 *
 * The policy gives the first order: as written (ordered, rule), drawn by weight, by measured
 * latency, by the price of this request. Then, each time keeping the order within: local models go
 * first where that is wanted; models that seem to be away, or have no key, go last, as they are
 * better than none. A model whose context window is smaller than the estimate is left out.
 *
 * With the policy least_latency one request in ROUTE_EXPLORE begins at a model that was not asked
 * lately: else one that was slow once, or never asked, would stay unknown.
 */
#ifndef QUERN_WORKER_CALL_ROUTE_H
#define QUERN_WORKER_CALL_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTE_CANDIDATES_MAX 32
#define ROUTE_EXPLORE        8

enum route_policy {
    ROUTE_ORDERED,
    ROUTE_WEIGHTED,
    ROUTE_LEAST_LATENCY,
    ROUTE_CHEAPEST,
    ROUTE_RULE, /* as written; local first when the time is short */
    ROUTE_POLICIES
};

struct route_rule {
    enum route_policy policy;
    bool prefer_local;
    int64_t local_under_ms; /* ROUTE_RULE: requests with less time than this */
};

/* What is known of a candidate now. */
struct route_facts {
    bool local;
    bool no_key;            /* none is set, or all are refused */
    bool away;              /* its breaker is open */
    bool stale;             /* it was not asked lately */
    int64_t context_tokens; /* 0: not known */
    double weight;          /* 0: only when no other is left */
    double latency_ms;      /* measured, or what its class stands for */
    double cost;            /* of this request in dollars; NAN: not known, and goes last */
};

struct route_ask {
    int64_t tokens;    /* estimate of what must fit into the context window */
    int64_t budget_ms; /* time the answer may take; 0: nobody said */
    uint64_t random;
};

/* Fills `ret` with indices of `facts` (room for count, at most ROUTE_CANDIDATES_MAX), best first;
 * how many. 0: the request fits into none. */
size_t route_order(const struct route_rule *rule, const struct route_facts *facts, size_t count,
                   const struct route_ask *ask, unsigned *ret);
/* Of those with a known context window the largest one. */
size_t route_largest(const struct route_facts *facts, size_t count);

#endif
