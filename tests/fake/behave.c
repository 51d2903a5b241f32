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

static void plan_error(struct behave *behave, struct plan *plan, int status)
{
    plan->manner = MANNER_ERROR;
    plan->status = status;
    if (status == 429 || status == 503 || status == 529)
        plan->retry_after_s = behave->conf.retry_after_s;
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

static void plan_flaky(struct behave *behave, struct plan *plan, unsigned n, uint32_t attempt)
{
    if (attempt <= n)
        plan_error(behave, plan, 500);
}

static void plan_retry_after(struct behave *behave, struct plan *plan, unsigned n, uint32_t attempt)
{
    if (attempt > 1)
        return;
    plan_error(behave, plan, 429);
    plan->retry_after_s = (int)n;
}

static void plan_slow(struct behave *behave, struct plan *plan, unsigned n, uint32_t attempt)
{
    (void)behave, (void)attempt;
    plan->delay_ms = n;
}

static void plan_big(struct behave *behave, struct plan *plan, unsigned n, uint32_t attempt)
{
    (void)behave, (void)attempt;
    plan->text_bytes = (size_t)n * 1024;
}

static void plan_status(struct behave *behave, struct plan *plan, unsigned n, uint32_t attempt)
{
    (void)attempt;
    plan_error(behave, plan, (int)n);
}

// clang-format off
static const struct special {
    const char *name;  /* the whole name, or what stands before the number */
    enum manner manner;
    unsigned from, to; /* bounds of the number; both 0: the name has none */
    bool counts;       /* attempts matter */
    void (*plan)(struct behave *behave, struct plan *plan, unsigned n, uint32_t attempt);
} specials[] = {
    {"fake-hang",         MANNER_HANG,     0,   0,              false, NULL},
    {"fake-garbage",      MANNER_GARBAGE,  0,   0,              false, NULL},
    {"fake-empty",        MANNER_EMPTY,    0,   0,              false, NULL},
    {"fake-error200",     MANNER_ERROR200, 0,   0,              false, NULL},
    {"fake-cut",          MANNER_CUT,      0,   0,              false, NULL},
    {"fake-drip",         MANNER_DRIP,     0,   0,              false, NULL},
    {"fake-length",       MANNER_LENGTH,   0,   0,              false, NULL},
    {"fake-flaky-",       MANNER_ANSWER,   1,   1000,           true,  plan_flaky},
    {"fake-retry-after-", MANNER_ANSWER,   0,   3600,           true,  plan_retry_after},
    {"fake-slow-",        MANNER_ANSWER,   0,   LATENCY_MS_MAX, false, plan_slow},
    {"fake-big-",         MANNER_ANSWER,   1,   64 * 1024,      false, plan_big},
    {"fake-",             MANNER_ERROR,    400, 599,            false, plan_status},
};
// clang-format on

static bool number_of(struct slice digits, unsigned *ret)
{
    unsigned number = 0;
    if (digits.len == 0 || digits.len > 7)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9')
            return false;
        number = number * 10 + (unsigned)(digits.at[i] - '0');
    }
    *ret = number;
    return true;
}

static bool special_matches(const struct special *special, struct slice model, unsigned *ret_number)
{
    size_t len = strlen(special->name);
    if (special->to == 0)
        return slice_is(model, special->name);
    if (model.len <= len || memcmp(model.at, special->name, len) != 0)
        return false;
    struct slice rest = {.at = model.at + len, .len = model.len - len};
    return number_of(rest, ret_number) && *ret_number >= special->from &&
           *ret_number <= special->to;
}

static const struct special *special_find(struct slice model, unsigned *ret_number)
{
    if (model.len < 5 || memcmp(model.at, "fake-", 5) != 0)
        return NULL;
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        if (special_matches(&specials[i], model, ret_number))
            return &specials[i];
    }
    return NULL;
}

static void plan_by_rate(struct behave *behave, struct plan *plan)
{
    if (behave->conf.rates_len == 0)
        return;
    double dice = random_unit(behave);
    for (size_t i = 0; i < behave->conf.rates_len; i++) {
        dice -= behave->conf.rates[i].rate;
        if (dice <= 0) {
            plan_error(behave, plan, behave->conf.rates[i].status);
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
    unsigned number = 0;
    const struct special *special = special_find(model, &number);
    if (!special) {
        plan_by_rate(behave, ret);
        return;
    }
    ret->manner = special->manner;
    uint32_t attempt = special->counts ? attempt_of(behave, model, attempt_key) : 0;
    if (special->plan)
        special->plan(behave, ret, number, attempt);
    if (ret->manner == MANNER_HANG)
        ret->status = 0;
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
