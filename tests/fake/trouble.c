/*
 * trouble.c -- the table of strange models; see trouble.h.
 */
#include "tests/fake/trouble.h"

#define BYTES_MAX   (64u << 20)
#define DRIP_MS     100
#define HUGE_BLOCK  (64u << 10)
#define HUGE_GAP_MS 10
#define MIB         ((uint64_t)1 << 20)

typedef void trouble_set(struct plan *plan, const struct trouble_numbers *numbers,
                         uint32_t attempt);

struct trouble {
    const char *name;  /* the whole name, or what stands before the numbers */
    unsigned numbers;  /* how many, joined with '-' */
    unsigned from, to; /* bounds of each */
    bool counts;       /* attempts matter */
    trouble_set *set;
    struct plan plan;
};

static void fail(struct plan *plan, int status)
{
    plan->manner = MANNER_ERROR;
    plan->status = status;
    plan->kind = error_kind_of(status);
}

static void set_status(struct plan *plan, const struct trouble_numbers *numbers, uint32_t attempt)
{
    (void)attempt;
    fail(plan, (int)numbers->n);
}

static void set_kind(struct plan *plan, const struct trouble_numbers *numbers, uint32_t attempt)
{
    (void)attempt;
    plan->manner = MANNER_ERROR;
    plan->status = 0;
    plan->kind = (enum error_kind)numbers->n;
}

static void set_flaky(struct plan *plan, const struct trouble_numbers *numbers, uint32_t attempt)
{
    if (attempt <= numbers->n)
        fail(plan, 500);
}

static void set_retry_after(struct plan *plan, const struct trouble_numbers *numbers,
                            uint32_t attempt)
{
    if (attempt > 1)
        return;
    fail(plan, 429);
    plan->retry_after_s = (int)numbers->n;
}

static void set_slow(struct plan *plan, const struct trouble_numbers *numbers, uint32_t attempt)
{
    (void)attempt;
    plan->delay_ms = numbers->n;
}

static void set_big(struct plan *plan, const struct trouble_numbers *numbers, uint32_t attempt)
{
    (void)attempt;
    plan->text_bytes = (size_t)numbers->n * 1024;
}

static void set_stop(struct plan *plan, const struct trouble_numbers *numbers, uint32_t attempt)
{
    (void)attempt;
    plan->pace.stop_at = numbers->n;
}

static void set_drip(struct plan *plan, const struct trouble_numbers *numbers, uint32_t attempt)
{
    (void)attempt;
    plan->pace.bytes = numbers->n;
    plan->pace.gap_ms = numbers->m;
}

static void set_stream(struct plan *plan, const struct trouble_numbers *numbers, uint32_t attempt)
{
    (void)attempt;
    plan->pace.first_ms = numbers->n;
    plan->pace.gap_ms = numbers->m;
}

static void set_huge(struct plan *plan, const struct trouble_numbers *numbers, uint32_t attempt)
{
    (void)attempt;
    plan->pace.repeat_bytes = numbers->n * MIB;
}

// clang-format off
static const struct trouble troubles[] = {
    {"fake-hang",             0, 0, 0, false, NULL, {.manner = MANNER_HANG}},
    {"fake-garbage",          0, 0, 0, false, NULL, {.manner = MANNER_GARBAGE}},
    {"fake-empty",            0, 0, 0, false, NULL, {.manner = MANNER_EMPTY}},
    {"fake-error200",         0, 0, 0, false, NULL, {.manner = MANNER_ERROR200}},
    {"fake-error-midstream",  0, 0, 0, false, NULL, {.manner = MANNER_MIDSTREAM}},
    {"fake-length",           0, 0, 0, false, NULL, {.manner = MANNER_LENGTH}},

    {"fake-close",            0, 0, 0, false, NULL, {.pace = {.stop = STOP_NOTHING, .end = END_CLOSE}}},
    {"fake-cut-head",         0, 0, 0, false, NULL, {.pace = {.stop = STOP_HEAD, .end = END_CLOSE}}},
    {"fake-cut",              0, 0, 0, false, NULL, {.pace = {.stop = STOP_HALF, .end = END_CLOSE}}},
    {"fake-cut-",             1, 0, BYTES_MAX, false, set_stop, {.pace = {.stop = STOP_AT, .end = END_CLOSE}}},
    {"fake-reset",            0, 0, 0, false, NULL, {.pace = {.stop = STOP_HALF, .end = END_RESET}}},
    {"fake-reset-",           1, 0, BYTES_MAX, false, set_stop, {.pace = {.stop = STOP_AT, .end = END_RESET}}},
    {"fake-stall",            0, 0, 0, false, NULL, {.pace = {.stop = STOP_HALF, .end = END_STALL}}},
    {"fake-stall-",           1, 0, BYTES_MAX, false, set_stop, {.pace = {.stop = STOP_AT, .end = END_STALL}}},
    {"fake-hang-first",       0, 0, 0, false, NULL, {.pace = {.stop = STOP_AT, .end = END_STALL}}},

    {"fake-drip",             0, 0, 0, false, NULL, {.pace = {.kind = PACE_DRIP, .bytes = 1, .gap_ms = DRIP_MS}}},
    {"fake-drip-",            2, 1, BYTES_MAX, false, set_drip, {.pace = {.kind = PACE_DRIP}}},
    {"fake-stream-",          2, 0, LATENCY_MS_MAX, false, set_stream, {.pace = {.kind = PACE_EVENTS}}},
    {"fake-slow-",            1, 0, LATENCY_MS_MAX, false, set_slow, {0}},
    {"fake-big-",             1, 1, 64 * 1024, false, set_big, {0}},
    {"fake-endless",          0, 0, 0, false, NULL, {.finish = FINISH_NEVER,
        .pace = {.kind = PACE_DRIP, .bytes = 1024, .gap_ms = HUGE_GAP_MS, .repeat_bytes = UINT64_MAX, .end = END_CLOSE}}},
    {"fake-huge-",            1, 1, 64 * 1024, false, set_huge, {.finish = FINISH_NEVER,
        .pace = {.kind = PACE_DRIP, .bytes = HUGE_BLOCK, .gap_ms = HUGE_GAP_MS}}},

    {"fake-content-length-long",  0, 0, 0, false, NULL, {.wire = WIRE_LONG, .pace = {.end = END_CLOSE}}},
    {"fake-content-length-short", 0, 0, 0, false, NULL, {.wire = WIRE_SHORT}},
    {"fake-gzip",             0, 0, 0, false, NULL, {.wire = WIRE_GZIP}},
    {"fake-1xx",              0, 0, 0, false, NULL, {.wire = WIRE_EARLY}},
    {"fake-301",              0, 0, 0, false, NULL, {.manner = MANNER_REDIRECT, .status = 301}},
    {"fake-302",              0, 0, 0, false, NULL, {.manner = MANNER_REDIRECT, .status = 302}},
    {"fake-303",              0, 0, 0, false, NULL, {.manner = MANNER_REDIRECT, .status = 303}},
    {"fake-307",              0, 0, 0, false, NULL, {.manner = MANNER_REDIRECT, .status = 307}},
    {"fake-308",              0, 0, 0, false, NULL, {.manner = MANNER_REDIRECT, .status = 308}},

    {"fake-double-end",       0, 0, 0, false, NULL, {.finish = FINISH_TWICE}},
    {"fake-no-finish",        0, 0, 0, false, NULL, {.finish = FINISH_UNSAID}},
    {"fake-no-end",           0, 0, 0, false, NULL, {.finish = FINISH_MISSING}},
    {"fake-usage-none",       0, 0, 0, false, NULL, {.usage = USAGE_NONE}},
    {"fake-usage-negative",   0, 0, 0, false, NULL, {.usage = USAGE_NEGATIVE}},
    {"fake-usage-absurd",     0, 0, 0, false, NULL, {.usage = USAGE_ABSURD}},
    {"fake-usage-text",       0, 0, 0, false, NULL, {.usage = USAGE_TEXT}},

    {"fake-flaky-",           1, 1, 1000, true, set_flaky, {0}},
    {"fake-retry-after-",     1, 0, 3600, true, set_retry_after, {0}},
    {"fake-",                 1, 400, 599, false, set_status, {0}},
};

/* "fake-error-KIND"; the kind is the number. */
static const struct trouble by_kind = {"fake-error-", 0, 0, 0, false, set_kind, {0}};
// clang-format on

static bool number_of(struct slice digits, unsigned *ret)
{
    unsigned number = 0;
    if (digits.len == 0 || digits.len > 8)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9')
            return false;
        number = number * 10 + (unsigned)(digits.at[i] - '0');
    }
    *ret = number;
    return true;
}

static bool begins(struct slice text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && memcmp(text.at, with, len) == 0;
}

static struct slice after(struct slice text, size_t len)
{
    return (struct slice){.at = text.at + len, .len = text.len - len};
}

static bool numbers_read(const struct trouble *trouble, struct slice rest,
                         struct trouble_numbers *ret)
{
    const char *dash = trouble->numbers == 2 ? memchr(rest.at, '-', rest.len) : NULL;
    struct slice first = rest;
    if (trouble->numbers == 2 && !dash)
        return false;
    if (dash) {
        first.len = (size_t)(dash - rest.at);
        if (!number_of(after(rest, first.len + 1), &ret->m) || ret->m < trouble->from ||
            ret->m > trouble->to)
            return false;
    }
    return number_of(first, &ret->n) && ret->n >= trouble->from && ret->n <= trouble->to;
}

static bool trouble_matches(const struct trouble *trouble, struct slice model,
                            struct trouble_numbers *ret)
{
    if (trouble->numbers == 0)
        return slice_is(model, trouble->name);
    return begins(model, trouble->name) &&
           numbers_read(trouble, after(model, strlen(trouble->name)), ret);
}

const struct trouble *trouble_find(struct slice model, struct trouble_numbers *ret)
{
    *ret = (struct trouble_numbers){0};
    if (!begins(model, "fake-"))
        return NULL;
    for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++) {
        if (trouble_matches(&troubles[i], model, ret))
            return &troubles[i];
    }
    enum error_kind kind;
    if (!begins(model, by_kind.name) ||
        !error_kind_parse(after(model, strlen(by_kind.name)), &kind))
        return NULL;
    ret->n = kind;
    return &by_kind;
}

bool trouble_counts(const struct trouble *trouble)
{
    return trouble->counts;
}

void trouble_plan(const struct trouble *trouble, const struct trouble_numbers *numbers,
                  uint32_t attempt, struct plan *plan)
{
    struct plan made = trouble->plan;
    made.delay_ms = plan->delay_ms;
    made.retry_after_s = -1;
    if (made.status == 0 && made.manner != MANNER_HANG)
        made.status = 200;
    if (trouble->set)
        trouble->set(&made, numbers, attempt);
    *plan = made;
}

const char *trouble_name(size_t i)
{
    size_t at = 0;
    for (; at < sizeof(troubles) / sizeof(troubles[0]); at++) {
        if (troubles[at].numbers == 0 && i-- == 0)
            return troubles[at].name;
    }
    return NULL;
}
