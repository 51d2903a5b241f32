/*
 * scene.h -- what scenes share: cmocka in the order its headers need, and the world of tests/sim.
 */
#ifndef QUERN_TESTS_SCENE_SCENE_H
#define QUERN_TESTS_SCENE_SCENE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/app/metrics.h"
#include "tests/sim/sim.h"

#define assert_str(s, text) assert_str_at((s), (text), __FILE__, __LINE__)

static inline void assert_str_at(struct str s, const char *text, const char *file, int line)
{
    if (str_is(s, text))
        return;
    print_error("%s:%d: \"" STR_FMT "\" is not \"%s\"\n", file, line, STR_ARG(s), text);
    fail();
}

/* A number within bounds, both included; says all three when it is not. */
#define assert_between(number, low, high) assert_in_range((uintmax_t)(number), (low), (high))

/* The number behind this beginning of a line of the worker's metrics; 0 when there is none. */
static inline int64_t metric_of(const char *line)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    metrics_write("worker", &text);
    buf_add_char(&text, '\0');
    const char *found = strstr(buf_str(&text).data, line);
    int64_t number = found ? strtoll(found + strlen(line), NULL, 10) : 0;
    buf_done(&text);
    return number;
}

/* The id "PREFIXn", in memory that lives as long as the program. */
static inline const char *nth(const char *prefix, int n)
{
    static char names[4096][32];
    static unsigned next;
    char *name = names[next++ % 4096];
    snprintf(name, sizeof(names[0]), "%s%d", prefix, n);
    return name;
}

#endif
