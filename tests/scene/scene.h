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
