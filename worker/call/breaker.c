/*
 * breaker.c -- see breaker.h.
 */
#include "worker/call/breaker.h"

enum {
    PAUSE_FIRST_MS = 100,
    SILENT_MS = 5000,
    ALIVE_MS = 1000,
    RAMP_FIRST = 4,
    RAMP_MS = 250,
    RAMP_LAST = 65536, /* more than any process has in flight: the ramp ends here at the latest */
};

void breaker_init(struct breaker *breaker)
{
    *breaker = (struct breaker){.pause_ms = PAUSE_FIRST_MS, .lives_ms = INT64_MAX};
}

static void ramp(struct breaker *breaker, int64_t now_ms)
{
    breaker->state = BREAKER_HALF_OPEN;
    breaker->row = 0;
    breaker->allowed = breaker->in_flight + RAMP_FIRST;
    breaker->held = true;
    breaker->next_ms = now_ms + RAMP_MS;
    breaker->lives_ms = INT64_MAX;
}

static void shut(struct breaker *breaker)
{
    breaker->state = BREAKER_CLOSED;
    breaker->row = 0;
    breaker->pause_ms = PAUSE_FIRST_MS;
}

/* The pause is kept from one opening to the next until the breaker has closed: a provider that only
 * seems to come back is asked less and less. */
static void trip(struct breaker *breaker, int64_t now_ms)
{
    breaker->state = BREAKER_OPEN;
    breaker->ticket++;
    breaker->in_flight = 0;
    breaker->next_ms = now_ms + breaker->pause_ms;
    breaker->lives_ms = INT64_MAX;
}

/* What time alone changes. */
static void look(struct breaker *breaker, int64_t now_ms)
{
    if (breaker->state == BREAKER_OPEN && now_ms >= breaker->lives_ms)
        ramp(breaker, now_ms);
    if (breaker->state != BREAKER_HALF_OPEN || now_ms < breaker->next_ms)
        return;
    if (!breaker->held || breaker->allowed >= RAMP_LAST) {
        shut(breaker);
        return;
    }
    breaker->allowed *= 2;
    breaker->held = false;
    breaker->next_ms = now_ms + RAMP_MS;
}

size_t breaker_room(struct breaker *breaker, int64_t now_ms)
{
    look(breaker, now_ms);
    if (breaker->state == BREAKER_CLOSED)
        return SIZE_MAX;
    if (breaker->state == BREAKER_OPEN)
        return now_ms >= breaker->next_ms ? 1 : 0;
    return breaker->in_flight < breaker->allowed ? breaker->allowed - breaker->in_flight : 0;
}

void breaker_hold(struct breaker *breaker)
{
    breaker->held = true;
}

unsigned breaker_began(struct breaker *breaker, int64_t now_ms)
{
    breaker->in_flight++;
    if (breaker->state == BREAKER_OPEN) {
        breaker->next_ms = now_ms + SILENT_MS;
        if (breaker->in_flight == 1)
            breaker->lives_ms = now_ms + ALIVE_MS + 2 * breaker->failure_ms;
    }
    return breaker->ticket;
}

static void failed(struct breaker *breaker, const struct breaker_rule *rule, int64_t took_ms,
                   int64_t now_ms)
{
    unsigned most = breaker->state == BREAKER_CLOSED ? rule->failures : (rule->failures + 1) / 2;
    breaker->failure_ms = took_ms;
    breaker->row++;
    if (breaker->state == BREAKER_OPEN) {
        breaker->pause_ms *= 2;
        if (breaker->pause_ms > rule->pause_max_ms)
            breaker->pause_ms = rule->pause_max_ms;
        breaker->next_ms = now_ms + breaker->pause_ms;
        breaker->lives_ms = INT64_MAX;
    } else if (most && breaker->row >= most) {
        trip(breaker, now_ms);
    }
}

void breaker_ended(struct breaker *breaker, const struct breaker_rule *rule, unsigned ticket,
                   enum breaker_news news, int64_t began_ms, int64_t now_ms)
{
    if (ticket != breaker->ticket)
        return;
    breaker->in_flight--;
    if (news == BREAKER_FAILED) {
        failed(breaker, rule, now_ms - began_ms, now_ms);
    } else if (news == BREAKER_ANSWERED) {
        breaker->row = 0;
        if (breaker->state == BREAKER_OPEN)
            ramp(breaker, now_ms);
    } else if (breaker->state == BREAKER_OPEN && !breaker->in_flight) {
        breaker->next_ms = now_ms + breaker->pause_ms;
        breaker->lives_ms = INT64_MAX;
    }
}

int64_t breaker_next_ms(const struct breaker *breaker)
{
    if (breaker->state == BREAKER_CLOSED)
        return INT64_MAX;
    return breaker->lives_ms < breaker->next_ms ? breaker->lives_ms : breaker->next_ms;
}

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[] = {"closed", "half-open", "open"};
    return names[state];
}
