/*
 * limit.c -- the meters; see limit.h.
 *
 * The window of a meter is a ring of events in order of time that doubles when it is full. The sums
 * of the ring are kept beside it. They change only when an event comes or goes, and going lowers
 * them, so the highest sum of any window is the highest one seen right after an event came.
 */
#include "tests/fake/limit.h"

#include "tests/fake/digest.h"
#include "tests/fake/meter.h"

#include <stdlib.h>

#define PLACES (LIMIT_METERS_MAX * 2)

struct limits {
    struct limit_rule rules[LIMIT_RULES_MAX];
    size_t rules_len;
    struct meter *meters[LIMIT_METERS_MAX + 1]; /* from 1 */
    uint32_t meters_len;
    uint64_t uncounted;      /* calls of pairs for which there was no meter left */
    uint32_t places[PLACES]; /* pair to meter; 0: free */
};

struct limits *limits_new(void)
{
    return xcalloc(1, sizeof(struct limits));
}

static void forget(struct limits *limits)
{
    for (uint32_t i = 1; i <= limits->meters_len; i++)
        meter_free(limits->meters[i]);
    limits->meters_len = 0;
    limits->uncounted = 0;
    memset(limits->places, 0, sizeof(limits->places));
}

void limits_free(struct limits *limits)
{
    if (!limits)
        return;
    forget(limits);
    free(limits);
}

void limits_set(struct limits *limits, const struct limit_rule *rules, size_t len)
{
    forget(limits);
    if (len)
        memcpy(limits->rules, rules, len * sizeof(*rules));
    limits->rules_len = len;
}

size_t limits_rules(const struct limits *limits, const struct limit_rule **ret)
{
    *ret = limits->rules;
    return limits->rules_len;
}

void limits_reset(struct limits *limits)
{
    /* Meters stay, calls in flight know them by number. */
    for (uint32_t i = 1; i <= limits->meters_len; i++)
        meter_clear(limits->meters[i]);
    limits->uncounted = 0;
}

static const struct limit_rule *rule_find(const struct limits *limits,
                                          const struct limit_call *call)
{
    for (size_t i = 0; i < limits->rules_len; i++) {
        const struct limit_rule *rule = &limits->rules[i];
        if ((!*rule->key || slice_is(call->key, rule->key)) &&
            (!*rule->model || slice_is(call->model, rule->model)))
            return rule;
    }
    return NULL;
}

/* The meter of a pair, made if a rule fits it; 0 when none does. */
static uint32_t meter_of(struct limits *limits, const struct limit_call *call)
{
    uint64_t key = digest_of(call->key);
    uint64_t pair = digest_add(digest_add(key, "", 1), call->model.at, call->model.len);
    size_t at = (size_t)((pair ^ pair >> 32) % PLACES);
    for (; limits->places[at]; at = (at + 1) % PLACES) {
        const struct meter *meter = limits->meters[limits->places[at]];
        if (meter->pair == pair && slice_is(call->model, meter->model))
            return limits->places[at];
    }
    const struct limit_rule *rule = rule_find(limits, call);
    if (!rule)
        return 0;
    if (limits->meters_len == LIMIT_METERS_MAX) {
        limits->uncounted++;
        return 0;
    }
    struct meter *meter = meter_new(rule, call->model);
    meter->pair = pair;
    meter->has_key = call->key.len > 0;
    meter->key_hash = key;
    limits->meters[++limits->meters_len] = meter;
    limits->places[at] = limits->meters_len;
    return limits->meters_len;
}

void limits_admit(struct limits *limits, const struct limit_call *call, struct limit_verdict *ret)
{
    *ret = (struct limit_verdict){0};
    if (limits->rules_len == 0)
        return;
    uint32_t number = meter_of(limits, call);
    if (!number)
        return;
    meter_admit(limits->meters[number], call, ret);
    ret->meter = number;
}

void limits_output(struct limits *limits, uint32_t meter, uint64_t tokens, uint64_t now_us)
{
    if (meter && meter <= limits->meters_len)
        meter_output(limits->meters[meter], tokens, now_us);
}

void limits_print(struct limits *limits, uint64_t now_us, struct buf *out)
{
    buf_text(out, "{\"limits\":[");
    for (uint32_t i = 1; i <= limits->meters_len; i++) {
        if (i > 1)
            buf_text(out, ",");
        meter_print(limits->meters[i], now_us, out);
    }
    buf_format(out, "],\"uncounted\":%llu}\n", (unsigned long long)limits->uncounted);
}

struct limit_rule limit_rule_new(void)
{
    return (struct limit_rule){.window_ms = LIMIT_WINDOW_MS};
}

static bool number_in(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long number = strtoull(text, &end, 10);
    if (*end || number < min || number > max)
        return false;
    *ret = number;
    return true;
}

static bool name_copy(char *to, const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > LIMIT_NAME_MAX)
        return false;
    memcpy(to, name, len + 1);
    return true;
}

static bool word_parse(struct limit_rule *rule, const char *name, const char *value)
{
    if (strcmp(name, "key") == 0)
        return name_copy(rule->key, value);
    if (strcmp(name, "model") == 0)
        return name_copy(rule->model, value);
    if (strcmp(name, "requests") == 0)
        return number_in(value, 1, UINT32_MAX, &rule->requests);
    if (strcmp(name, "tokens") == 0)
        return number_in(value, 1, UINT64_MAX / 4, &rule->tokens);
    if (strcmp(name, "window") == 0)
        return number_in(value, 1, UINT32_MAX, &rule->window_ms);
    if (strcmp(name, "count") == 0) {
        rule->estimate = strcmp(value, "estimate") == 0;
        return rule->estimate || strcmp(value, "actual") == 0;
    }
    rule->silent = strcmp(name, "silent") == 0;
    return rule->silent && *value == '\0';
}

bool limit_rule_parse(const char *text, struct limit_rule *ret)
{
    char words[3 * LIMIT_NAME_MAX];
    struct limit_rule rule = limit_rule_new();
    if (strlen(text) >= sizeof(words))
        return false;
    memcpy(words, text, strlen(text) + 1);
    char *rest = words;
    for (char *word = strsep(&rest, ","); word; word = strsep(&rest, ",")) {
        char *value = strchr(word, '=');
        if (value)
            *value++ = '\0';
        if (!word_parse(&rule, word, value ? value : ""))
            return false;
    }
    *ret = rule;
    return true;
}

void limit_rule_print(const struct limit_rule *rule, struct buf *out)
{
    buf_text(out, *rule->key ? "{\"key\":\"(set)\",\"model\":" : "{\"key\":null,\"model\":");
    if (*rule->model)
        buf_json(out, slice_of(rule->model));
    else
        buf_text(out, "null");
    buf_format(out, ",\"requests\":%llu,\"tokens\":%llu,\"window_ms\":%llu",
               (unsigned long long)rule->requests, (unsigned long long)rule->tokens,
               (unsigned long long)rule->window_ms);
    buf_format(out, ",\"count\":\"%s\",\"silent\":%s}", rule->estimate ? "estimate" : "actual",
               rule->silent ? "true" : "false");
}
