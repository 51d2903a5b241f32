/*
 * redis_refusals.c -- see redis_refusals.h.
 */
#include "common/io/redis_refusals.h"

#include "common/base/log.h"

enum { TELL_MS = 60000, MOVE_MS = 5000 };

static const struct {
    const char *word, *hint;
} HINTS[] = {
    {"OOM", "it is full: raise its maxmemory, see 'Redis' in docs/operation.md"},
    {"READONLY", "it is a replica: redis.url has to lead to the primary"},
    {"MISCONF", "it cannot save its data: look at its log and its disk"},
    {"NOPERM", "its user may not ask that: see 'Redis' in docs/operation.md"},
    {"", "while it does, a crash may cost calls twice"},
};

static const char *hint_of(struct str error)
{
    size_t i = 0;
    while (!str_starts(error, str_of(HINTS[i].word)))
        i++;
    return HINTS[i].hint;
}

static void tell(struct redis_refusals *refusals, struct str error, int64_t now_ms)
{
    log_warn("redis refuses commands", LOG_S("error", str_utf8_cut(error, 200)),
             LOG_I("refused", refusals->count - refusals->told_count),
             LOG_C("hint", hint_of(error)));
    refusals->told_count = refusals->count;
    refusals->told_ms = now_ms;
}

bool redis_refused(struct redis_refusals *refusals, struct str error, int64_t now_ms)
{
    refusals->count++;
    if (!refusals->told_ms || now_ms - refusals->told_ms >= TELL_MS)
        tell(refusals, error, now_ms);
    if (!str_starts(error, STR("READONLY")) ||
        (refusals->moved_ms && now_ms - refusals->moved_ms < MOVE_MS))
        return false;
    refusals->moved_ms = now_ms;
    return true;
}
