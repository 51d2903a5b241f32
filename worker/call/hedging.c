/*
 * hedging.c -- see hedging.h.
 */
#include "worker/call/hedging.h"

#include "common/base/plant.h"

enum { CENTS = 100 };

static const double slow_share = 0.95;

void hedging_init(struct hedging *hedging)
{
    *hedging = (struct hedging){0};
    latency_init(&hedging->signs);
}

void hedging_note(struct hedging *hedging, int64_t silent_ms)
{
    latency_note(&hedging->signs, silent_ms);
}

int64_t hedging_slow_ms(const struct hedging *hedging, const struct hedge_rule *rule)
{
    if (hedging->signs.count < HEDGING_SEEN_MIN)
        return INT64_MAX;
    int64_t slow_ms = (int64_t)latency_quantile_ms(&hedging->signs, slow_share);
    return slow_ms > rule->floor_ms ? slow_ms : rule->floor_ms;
}

void hedging_first_call(struct hedging *hedging, const struct hedge_rule *rule)
{
    hedging->cents += rule->percent;
    if (hedging->cents > HEDGING_TOKENS_MAX * CENTS)
        hedging->cents = HEDGING_TOKENS_MAX * CENTS;
}

bool hedging_may(const struct hedging *hedging)
{
    return hedging->cents >= CENTS || PLANTED(65);
}

void hedging_take(struct hedging *hedging)
{
    hedging->cents -= CENTS;
}
