/*
 * concurrency.c -- see concurrency.h. Additive up, multiplicative down: D.-M. Chiu and R. Jain,
 * "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989.
 */
#include "worker/call/concurrency.h"

#include "common/base/must.h"

static const double overloaded = 0.7, slow = 0.9, slow_factor = 2, weight = 1.0 / 16,
                    forgets = 1.0 / 1024, second_ms = 1000;
enum { ANSWERS_MIN = 32 }; /* before a mean says anything */

static double bounded(double limit, const struct concurrency_rule *rule)
{
    double min = rule->min > 1 ? (double)rule->min : 1;
    limit = limit > (double)rule->max || limit <= 0 ? (double)rule->max : limit;
    min = min < (double)rule->max ? min : (double)rule->max;
    return limit < min ? min : limit;
}

int64_t concurrency_limit(const struct concurrency *c, const struct concurrency_rule *rule)
{
    return rule->max ? (int64_t)bounded(c->limit, rule) : 0;
}

size_t concurrency_room(const struct concurrency *c, const struct concurrency_rule *rule)
{
    if (!rule->max)
        return SIZE_MAX;
    int64_t limit = concurrency_limit(c, rule);
    return limit > c->inside ? (size_t)(limit - c->inside) : 0;
}

size_t concurrency_per_second(const struct concurrency *c, const struct concurrency_rule *rule)
{
    double each_ms = c->usual_ms > 0 ? c->usual_ms : second_ms;
    return (size_t)((double)concurrency_limit(c, rule) * second_ms / each_ms);
}

void concurrency_began(struct concurrency *c)
{
    c->inside++;
}

/* The best is forgotten slowly: a provider may have become slower for good. */
static void learn(struct concurrency *c, int64_t took_ms)
{
    double took = took_ms > 0 ? (double)took_ms : 1;
    c->usual_ms = c->answers ? c->usual_ms + (took - c->usual_ms) * weight : took;
    c->answers += c->answers < ANSWERS_MIN;
    if (c->answers < ANSWERS_MIN)
        return;
    if (c->best_ms <= 0 || c->usual_ms < c->best_ms)
        c->best_ms = c->usual_ms;
    else
        c->best_ms += (c->usual_ms - c->best_ms) * forgets;
}

static void lower(struct concurrency *c, double factor, int64_t now_ms)
{
    c->limit *= factor;
    c->lowered_ms = now_ms;
}

void concurrency_ended(struct concurrency *c, const struct concurrency_rule *rule,
                       enum concurrency_news news, int64_t began_ms, int64_t took_ms,
                       int64_t now_ms)
{
    must(c->inside > 0);
    bool wanted = c->inside * 2 > concurrency_limit(c, rule);
    c->inside--;
    if (!rule->max || news == CONCURRENCY_NOTHING)
        return;
    c->limit = bounded(c->limit, rule);
    if (news == CONCURRENCY_WELL)
        learn(c, took_ms);
    bool is_new = began_ms >= c->lowered_ms;
    if (news == CONCURRENCY_OVERLOADED && is_new)
        lower(c, overloaded, now_ms);
    else if (news == CONCURRENCY_WELL && is_new && c->best_ms > 0 &&
             c->usual_ms > c->best_ms * slow_factor)
        lower(c, slow, now_ms);
    else if (news == CONCURRENCY_WELL && wanted && c->usual_ms <= c->best_ms * slow_factor)
        c->limit += 1 / c->limit;
    else if (news == CONCURRENCY_WELL && wanted && c->best_ms <= 0)
        c->limit += 1 / c->limit;
    c->limit = bounded(c->limit, rule);
}
