/*
 * reset.c -- see reset.h.
 */
#include "worker/call/reset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const struct {
    const char *remaining, *reset;
} rows[] = {
    {"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"},
    {"x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"},
    {"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"},
    {"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"},
    {"anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"},
    {"anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"},
};

static bool speaks_of_rates(struct str line)
{
    static const char *const names[] = {"x-ratelimit-", "anthropic-ratelimit-"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t len = strlen(names[i]);
        if (line.len > len && strncasecmp(line.data, names[i], len) == 0)
            return true;
    }
    return false;
}

struct str rate_headers_keep(struct str headers, struct arena *arena)
{
    char lines[RATE_HEADERS_BYTES_MAX];
    size_t at = 0;
    struct str rest = headers, line;
    while (rest.len && str_split(&rest, '\n', &line)) {
        line = str_trim(line);
        if (!speaks_of_rates(line) || at + line.len + 1 > sizeof(lines))
            continue;
        memcpy(lines + at, line.data, line.len);
        at += line.len;
        lines[at++] = '\n';
    }
    return at ? arena_str(arena, str_from(lines, at)) : (struct str){0};
}

struct str rate_header(struct str kept, const char *name)
{
    struct str rest = kept, line;
    while (rest.len && str_split(&rest, '\n', &line)) {
        size_t colon = str_index(line, ':');
        if (colon < line.len && str_eq_nocase(str_slice(line, 0, colon), str_of(name)))
            return str_trim(str_slice(line, colon + 1, line.len));
    }
    return (struct str){0};
}

/* "1h2m3.5s", "20ms"; a number alone: seconds. Negative: not understood. */
static double duration_ms(struct str text)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"h", 3600e3}, {"m", 60e3}, {"s", 1e3}};
    double sum = 0, number;
    if (str_to_f64(text, &number))
        return number * 1e3;
    while (text.len) {
        size_t digits = 0, unit = 0;
        while (digits < text.len &&
               (text.data[digits] == '.' || (text.data[digits] >= '0' && text.data[digits] <= '9')))
            digits++;
        struct str rest = str_slice(text, digits, text.len);
        while (unit < 4 && !str_starts(rest, str_of(units[unit].name)))
            unit++;
        if (unit == 4 || !str_to_f64(str_slice(text, 0, digits), &number))
            return -1;
        sum += number * units[unit].ms;
        text = str_slice(rest, strlen(units[unit].name), rest.len);
    }
    return sum;
}

/* "2024-01-02T03:04:05Z", with a fraction and an offset or not. */
static double moment_ms(struct str text, int64_t wall_ms)
{
    char date[48];
    struct tm tm = {0};
    int hours = 0, minutes = 0;
    if (text.len >= sizeof(date))
        return -1;
    memcpy(date, text.data, text.len);
    date[text.len] = '\0';
    const char *rest = strptime(date, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest)
        return -1;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if ((*rest == '+' || *rest == '-') && sscanf(rest + 1, "%2d:%2d", &hours, &minutes) != 2)
        return -1;
    double offset_ms = (hours * 60 + minutes) * 60e3 * (*rest == '-' ? -1 : 1);
    return (double)timegm(&tm) * 1e3 - offset_ms - (double)wall_ms;
}

int64_t rate_reset_ms(struct str kept, int64_t wall_ms)
{
    double longest = 0, shortest = INFINITY, left;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct str reset = rate_header(kept, rows[i].reset);
        struct str remaining = rate_header(kept, rows[i].remaining);
        if (str_empty(reset))
            continue;
        double ms =
            reset.len > 10 && reset.data[4] == '-' ? moment_ms(reset, wall_ms) : duration_ms(reset);
        if (!(ms > 0))
            continue;
        if (str_to_f64(remaining, &left) && left <= 0)
            longest = ms > longest ? ms : longest;
        shortest = ms < shortest ? ms : shortest;
    }
    double ms = longest > 0 ? longest : shortest;
    return isinf(ms) ? 0 : ms > RESET_MS_MAX ? RESET_MS_MAX : (int64_t)ceil(ms);
}
