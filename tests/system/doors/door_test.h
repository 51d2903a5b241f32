/*
 * door_test.h -- what the door tests share: addresses from the environment, turning the loop until
 * something holds.
 *
 * A door test asks only what the door's header promises, so that the same file can run against the
 * real server and against the simulated body. It exits with DOOR_TEST_SKIP when no address is set.
 */
#ifndef QUERN_TESTS_SYSTEM_DOORS_DOOR_TEST_H
#define QUERN_TESTS_SYSTEM_DOORS_DOOR_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/str.h"
#include "common/loop/loop.h"

#define DOOR_TEST_SKIP    77
#define DOOR_TEST_WAIT_MS 20000

/* Turns the loop until `condition` holds; fails the test when it does not within `limit_ms`. */
#define UNTIL_WITHIN(loop, limit_ms, condition)                                                    \
    do {                                                                                           \
        int64_t until_ms = loop_now_ms(loop) + (limit_ms);                                         \
        while (!(condition)) {                                                                     \
            if (loop_now_ms(loop) > until_ms)                                                      \
                fail_msg("not within %d ms: %s", (int)(limit_ms), #condition);                     \
            loop_turn(loop, 20);                                                                   \
        }                                                                                          \
    } while (0)
#define UNTIL(loop, condition) UNTIL_WITHIN(loop, DOOR_TEST_WAIT_MS, condition)

static inline void turn_for(struct loop *loop, int64_t ms)
{
    int64_t until_ms = loop_now_ms(loop) + ms;
    while (loop_now_ms(loop) < until_ms)
        loop_turn(loop, 5);
}

/* NAME, or what stands in the file NAME_FILE names; absent when neither is set. */
static inline struct str env_secret(const char *name, char *room, size_t size)
{
    const char *value = getenv(name);
    if (value)
        return str_of(value);
    char file_name[128];
    snprintf(file_name, sizeof(file_name), "%s_FILE", name);
    const char *path = getenv(file_name);
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file)
        return (struct str){NULL, 0};
    size_t len = fread(room, 1, size, file);
    fclose(file);
    while (len > 0 && room[len - 1] == '\n')
        len--;
    return str_from(room, len);
}

#endif
