/*
 * behave.c -- latency, errors by rate and by model name; see behave.h.
 */
#include "tests/fake/behave.h"

#include "tests/fake/digest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* splitmix64: small, and good enough for latencies and dice. */
static uint64_t random_next(struct behave *behave)
{
    uint64_t z = behave->random += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

/* In (0, 1], so that its logarithm exists. */
static double random_unit(struct behave *behave)
{
    return ((double)(random_next(behave) >> 11) + 1.0) * 0x1p-53;
}

static uint64_t draw_latency_ms(struct behave *behave)
{
    const struct latency *latency = &behave->conf.latency;
    double ms = latency->ms;
    if (latency->kind == LATENCY_LOGNORMAL) {
        double radius = sqrt(-2.0 * log(random_unit(behave)));
        ms *= exp(latency->sigma * radius * cos(2.0 * M_PI * random_unit(behave)));
    }
    if (ms > LATENCY_MS_MAX)
        ms = LATENCY_MS_MAX;
    return (uint64_t)llround(ms);
}

/* Counts this attempt and says which one it is, from 1. A full table starts over. */
static uint32_t attempt_of(struct behave *behave, struct slice model, uint64_t key)
{
    key = digest_add(key, model.at, model.len);
    struct seen_entry *entry = seen_put(&behave->attempts, key);
    if (!entry) {
        seen_clear(&behave->attempts);
        entry = seen_put(&behave->attempts, key);
    }
    return ++entry->count;
}

/* False when no model of ours has that name. */
static bool plan_by_name(struct behave *behave, struct slice name, uint64_t attempt_key,
                         struct plan *plan)
{
    struct trouble_numbers numbers;
    const struct trouble *trouble = trouble_find(name, &numbers);
    if (!trouble)
        return false;
    uint32_t attempt = trouble_counts(trouble) ? attempt_of(behave, name, attempt_key) : 0;
    trouble_plan(trouble, &numbers, attempt, plan);
    return true;
}

/* One throw of the dice for errors and troubles. */
static void plan_by_rate(struct behave *behave, uint64_t attempt_key, struct plan *plan)
{
    const struct behave_conf *conf = &behave->conf;
    if (conf->rates_len + conf->troubles_len == 0)
        return;
    double dice = random_unit(behave);
    for (size_t i = 0; i < conf->rates_len; i++) {
        dice -= conf->rates[i].rate;
        if (dice <= 0) {
            plan->manner = MANNER_ERROR;
            plan->status = conf->rates[i].status;
            plan->kind = error_kind_of(plan->status);
            return;
        }
    }
    for (size_t i = 0; i < conf->troubles_len; i++) {
        dice -= conf->troubles[i].rate;
        if (dice <= 0) {
            plan_by_name(behave, slice_of(conf->troubles[i].name), attempt_key, plan);
            return;
        }
    }
}

void behave_plan(struct behave *behave, struct slice model, uint64_t attempt_key, struct plan *ret)
{
    *ret = (struct plan){.manner = MANNER_ANSWER,
                         .status = 200,
                         .retry_after_s = -1,
                         .delay_ms = draw_latency_ms(behave)};
    if (!plan_by_name(behave, vendor_strip(model), attempt_key, ret))
        plan_by_rate(behave, attempt_key, ret);
}

void behave_init(struct behave *behave, const struct behave_conf *conf, uint64_t seed,
                 size_t attempts_max)
{
    *behave = (struct behave){.conf = *conf, .random = seed};
    seen_init(&behave->attempts, attempts_max);
}

void behave_done(struct behave *behave)
{
    seen_done(&behave->attempts);
}

void behave_seed(struct behave *behave, uint64_t seed)
{
    behave->random = seed;
}

void behave_reset(struct behave *behave)
{
    seen_clear(&behave->attempts);
}

static bool number_in(const char *text, const char *tail, double max, double *ret)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || (strcmp(end, "") != 0 && strcmp(end, tail) != 0))
        return false;
    if (!(number >= 0 && number <= max)) /* also refuses NaN */
        return false;
    *ret = number;
    return true;
}

bool latency_parse(const char *text, struct latency *ret)
{
    static const char lognormal[] = "lognormal:";
    struct latency latency = {.kind = LATENCY_FIXED};
    if (strncmp(text, lognormal, sizeof(lognormal) - 1) != 0) {
        if (!number_in(text, "ms", LATENCY_MS_MAX, &latency.ms))
            return false;
        *ret = latency;
        return true;
    }
    char median[64];
    const char *comma = strchr(text, ',');
    if (!comma)
        return false;
    const char *from = text + sizeof(lognormal) - 1;
    int len = snprintf(median, sizeof(median), "%.*s", (int)(comma - from), from);
    if (len < 0 || (size_t)len >= sizeof(median))
        return false;
    latency.kind = LATENCY_LOGNORMAL;
    if (!number_in(median, "ms", LATENCY_MS_MAX, &latency.ms) ||
        !number_in(comma + 1, "", 10, &latency.sigma))
        return false;
    *ret = latency;
    return true;
}

void latency_print(const struct latency *latency, struct buf *out)
{
    if (latency->kind == LATENCY_LOGNORMAL)
        buf_format(out, "lognormal:%.10g,%.10g", latency->ms, latency->sigma);
    else
        buf_format(out, "%.10gms", latency->ms);
}

bool behave_rate(struct behave_conf *conf, int status, double rate)
{
    if (status < 400 || status > 599 || !(rate >= 0 && rate <= 1))
        return false;
    size_t at = 0;
    while (at < conf->rates_len && conf->rates[at].status != status)
        at++;
    double others = 0;
    for (size_t i = 0; i < conf->rates_len; i++)
        others += i == at ? 0 : conf->rates[i].rate;
    if (others + rate > 1 + 1e-9 || (at == RATES_MAX && rate > 0))
        return false;
    if (rate > 0) {
        conf->rates[at].status = status;
        conf->rates[at].rate = rate;
        conf->rates_len += at == conf->rates_len;
    } else if (at < conf->rates_len) {
        conf->rates[at] = conf->rates[--conf->rates_len];
    }
    return true;
}

bool behave_trouble(struct behave_conf *conf, struct slice name, double rate)
{
    struct trouble_numbers numbers;
    double sum = rate;
    for (size_t i = 0; i < conf->troubles_len; i++)
        sum += conf->troubles[i].rate;
    if (!(rate >= 0 && rate <= 1) || sum > 1 + 1e-9 || conf->troubles_len == RATES_MAX ||
        name.len > TROUBLE_NAME_MAX || !trouble_find(name, &numbers))
        return false;
    char *to = conf->troubles[conf->troubles_len].name;
    memcpy(to, name.at, name.len);
    to[name.len] = '\0';
    conf->troubles[conf->troubles_len++].rate = rate;
    return true;
}
