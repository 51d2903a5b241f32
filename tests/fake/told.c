/*
 * told.c -- limits as headers; see told.h.
 */
#include "tests/fake/told.h"

#include "tests/fake/errors.h"

#include <stdio.h>
#include <time.h>

static uint64_t remaining(const struct limit_side *side)
{
    return side->used < side->limit ? side->limit - side->used : 0;
}

static void openai_side(const char *name, const struct limit_side *side, bool resets,
                        struct buf *out)
{
    if (!side->limit)
        return;
    buf_format(out, "\r\nx-ratelimit-limit-%s: %llu\r\nx-ratelimit-remaining-%s: %llu", name,
               (unsigned long long)side->limit, name, (unsigned long long)remaining(side));
    if (!resets)
        return;
    buf_format(out, "\r\nx-ratelimit-reset-%s: ", name);
    error_duration(side->reset_ms, out);
}

/* RFC 3339 in whole seconds, never earlier than the moment it stands for. */
static void anthropic_side(const char *name, const struct limit_side *side, struct moment now,
                           struct buf *out)
{
    if (!side->limit)
        return;
    time_t seconds = (time_t)((now.wall_ms + side->reset_ms + 999) / 1000);
    struct tm tm;
    char text[32];
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_format(out,
               "\r\nanthropic-ratelimit-%s-limit: %llu\r\nanthropic-ratelimit-%s-remaining: %llu"
               "\r\nanthropic-ratelimit-%s-reset: %s",
               name, (unsigned long long)side->limit, name, (unsigned long long)remaining(side),
               name, text);
}

static void retry_headers(enum limit_headers kind, uint64_t wait_ms, struct buf *out)
{
    buf_format(out, "\r\nretry-after: %llu", (unsigned long long)((wait_ms + 999) / 1000));
    if (kind != LIMIT_HEADERS_ANTHROPIC)
        buf_format(out, "\r\nretry-after-ms: %llu", (unsigned long long)wait_ms);
}

void told_headers(enum vendor vendor, const struct limit_verdict *verdict, struct moment now,
                  struct buf *out)
{
    enum limit_headers kind = vendor_limit_headers(vendor);
    if (!verdict->meter || verdict->silent || kind == LIMIT_HEADERS_NONE)
        return;
    if (kind == LIMIT_HEADERS_ANTHROPIC) {
        anthropic_side("requests", &verdict->requests, now, out);
        anthropic_side("tokens", &verdict->tokens, now, out);
    } else {
        openai_side("requests", &verdict->requests, kind == LIMIT_HEADERS_OPENAI, out);
        openai_side("tokens", &verdict->tokens, kind == LIMIT_HEADERS_OPENAI, out);
    }
    if (verdict->refused)
        retry_headers(kind, verdict->wait_ms, out);
}
