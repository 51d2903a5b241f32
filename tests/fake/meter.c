/*
 * meter.c -- one sliding window; see meter.h and limit.h.
 *
 * An event that came at t counts in every window that ends before t + window: at t + window its
 * place is free again. Letting events go costs a step per event, once; only a refusal for tokens
 * looks at more, from the oldest on until enough of them would have left.
 */
#include "tests/fake/meter.h"

#include "tests/fake/digest.h"

#include <stdlib.h>

#define EVENTS_MIN 64

struct meter *meter_new(const struct limit_rule *rule, struct slice model)
{
    struct meter *meter = xcalloc(1, sizeof(*meter));
    meter->rule = *rule;
    memcpy(meter->model, model.at, model.len < LIMIT_NAME_MAX ? model.len : LIMIT_NAME_MAX);
    return meter;
}

void meter_free(struct meter *meter)
{
    free(meter->events);
    free(meter->seconds);
    free(meter);
}

void meter_clear(struct meter *meter)
{
    free(meter->seconds);
    meter->seconds = NULL;
    meter->first = meter->len = 0;
    meter->calls = meter->tokens = 0;
    memset(&meter->total, 0, sizeof(meter->total));
}

static uint64_t window_us(const struct meter *meter)
{
    return meter->rule.window_ms * 1000;
}

static const struct event *event_at(const struct meter *meter, size_t i)
{
    return &meter->events[(meter->first + i) & (meter->cap - 1)];
}

/* Lets go of what is a window old. */
static void slide(struct meter *meter, uint64_t now_us)
{
    while (meter->len && event_at(meter, 0)->us + window_us(meter) <= now_us) {
        meter->calls -= event_at(meter, 0)->calls;
        meter->tokens -= event_at(meter, 0)->tokens;
        meter->first = (meter->first + 1) & (meter->cap - 1);
        meter->len--;
    }
}

static void grow(struct meter *meter)
{
    size_t cap = meter->cap ? meter->cap * 2 : EVENTS_MIN;
    struct event *events = xcalloc(cap, sizeof(*events));
    for (size_t i = 0; i < meter->len; i++)
        events[i] = *event_at(meter, i);
    free(meter->events);
    meter->events = events;
    meter->cap = cap;
    meter->first = 0;
}

static void event_add(struct meter *meter, uint64_t now_us, uint64_t tokens, uint32_t calls)
{
    if (meter->len == meter->cap)
        grow(meter);
    struct event event = {.us = now_us,
                          .tokens = tokens < UINT32_MAX ? (uint32_t)tokens : UINT32_MAX,
                          .calls = calls};
    meter->events[(meter->first + meter->len++) & (meter->cap - 1)] = event;
    meter->calls += calls;
    meter->tokens += event.tokens;
    meter->total.tokens += event.tokens;
    if (meter->calls > meter->total.calls_highest)
        meter->total.calls_highest = meter->calls;
    if (meter->tokens > meter->total.tokens_highest)
        meter->total.tokens_highest = meter->tokens;
}

static void count_arrival(struct meter *meter, uint64_t now_us)
{
    if (meter->total.arrivals++ == 0)
        meter->total.first_us = now_us;
    meter->total.last_us = now_us;
    if (!meter->seconds)
        meter->seconds = xcalloc(METER_SECONDS_MAX, sizeof(*meter->seconds));
    uint64_t second = (now_us - meter->total.first_us) / 1000000;
    if (second < METER_SECONDS_MAX)
        meter->seconds[second]++;
}

static uint64_t left_ms(uint64_t from_us, uint64_t now_us)
{
    return from_us > now_us ? (from_us - now_us + 999) / 1000 : 0;
}

/* How long until so much has left the window; a whole window when it will never be enough. */
static uint64_t wait_ms(const struct meter *meter, uint64_t calls, uint64_t tokens, uint64_t now_us)
{
    for (size_t i = 0; i < meter->len; i++) {
        const struct event *event = event_at(meter, i);
        calls = calls > event->calls ? calls - event->calls : 0;
        tokens = tokens > event->tokens ? tokens - event->tokens : 0;
        if (calls == 0 && tokens == 0)
            return left_ms(event->us + window_us(meter), now_us);
    }
    return meter->rule.window_ms;
}

static void verdict_sides(const struct meter *meter, uint64_t now_us, struct limit_verdict *ret)
{
    uint64_t empty_ms = 0;
    if (meter->len)
        empty_ms = left_ms(event_at(meter, meter->len - 1)->us + window_us(meter), now_us);
    ret->silent = meter->rule.silent;
    ret->requests = (struct limit_side){meter->rule.requests, meter->calls, empty_ms};
    ret->tokens = (struct limit_side){meter->rule.tokens, meter->tokens, empty_ms};
}

static uint64_t excess(uint64_t used, uint64_t more, uint64_t limit)
{
    return limit && used + more > limit ? used + more - limit : 0;
}

void meter_admit(struct meter *meter, const struct limit_call *call, struct limit_verdict *ret)
{
    const struct limit_rule *rule = &meter->rule;
    slide(meter, call->now_us);
    count_arrival(meter, call->now_us);
    ret->asked = call->input_tokens + (rule->estimate ? call->output_tokens_max : 0);
    uint64_t calls = excess(meter->calls, 1, rule->requests);
    uint64_t tokens = excess(meter->tokens, ret->asked, rule->tokens);
    ret->refused = calls || tokens;
    if (!ret->refused) {
        meter->total.admitted++;
        event_add(meter, call->now_us, ret->asked, 1);
    } else {
        ret->by_tokens = !calls;
        ret->never = rule->tokens && ret->asked > rule->tokens;
        ret->wait_ms = wait_ms(meter, calls, tokens, call->now_us);
        meter->total.refused_requests += calls != 0;
        meter->total.refused_tokens += calls == 0;
    }
    verdict_sides(meter, call->now_us, ret);
}

void meter_output(struct meter *meter, uint64_t tokens, uint64_t now_us)
{
    if (meter->rule.estimate || tokens == 0)
        return;
    slide(meter, now_us);
    event_add(meter, now_us, tokens, 0);
}

static void number(struct buf *out, const char *name, uint64_t value)
{
    buf_format(out, ",\"%s\":", name);
    buf_number(out, value);
}

static void seconds_print(const struct meter *meter, struct buf *out)
{
    uint64_t seconds = 0, most = 0;
    if (meter->total.arrivals)
        seconds = (meter->total.last_us - meter->total.first_us) / 1000000 + 1;
    if (seconds > METER_SECONDS_MAX)
        seconds = METER_SECONDS_MAX;
    buf_text(out, ",\"arrivals_by_second\":[");
    for (uint64_t i = 0; i < seconds; i++) {
        buf_text(out, i ? "," : "");
        buf_number(out, meter->seconds[i]);
        most = meter->seconds[i] > most ? meter->seconds[i] : most;
    }
    buf_text(out, "]");
    number(out, "arrivals_per_second_max", most);
}

void meter_print(struct meter *meter, uint64_t now_us, struct buf *out)
{
    char hex[16];
    slide(meter, now_us);
    digest_hex(meter->key_hash, hex);
    buf_text(out, "{\"key_hash\":");
    if (meter->has_key)
        buf_json(out, (struct slice){hex, sizeof(hex)});
    else
        buf_text(out, "null");
    buf_text(out, ",\"model\":");
    buf_json(out, slice_of(meter->model));
    number(out, "requests_limit", meter->rule.requests);
    number(out, "tokens_limit", meter->rule.tokens);
    number(out, "window_ms", meter->rule.window_ms);
    number(out, "arrivals", meter->total.arrivals);
    number(out, "admitted", meter->total.admitted);
    number(out, "refused", meter->total.refused_requests + meter->total.refused_tokens);
    number(out, "refused_by_requests", meter->total.refused_requests);
    number(out, "refused_by_tokens", meter->total.refused_tokens);
    number(out, "tokens", meter->total.tokens);
    number(out, "requests_now", meter->calls);
    number(out, "tokens_now", meter->tokens);
    number(out, "requests_highest", meter->total.calls_highest);
    number(out, "tokens_highest", meter->total.tokens_highest);
    number(out, "first_ms", meter->total.first_us / 1000);
    number(out, "last_ms", meter->total.last_us / 1000);
    seconds_print(meter, out);
    buf_text(out, "}");
}
