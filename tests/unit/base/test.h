/*
 * test.h -- what the tests of base/ share: cmocka in the order its headers need, and deaths.
 *
 * dies() runs a function in a child process and says whether it ended by abort(); what the child
 * wrote to stderr is put into `ret_text`, so that the test can look at the last words too.
 */
#ifndef QUERN_TESTS_UNIT_BASE_TEST_H
#define QUERN_TESTS_UNIT_BASE_TEST_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/str.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Compares a struct str with a C string, and shows both when they differ. */
#define assert_str(s, text) assert_str_at((s), (text), __FILE__, __LINE__)

static inline void assert_str_at(struct str s, const char *text, const char *file, int line)
{
    if (str_is(s, text))
        return;
    print_error("%s:%d: \"" STR_FMT "\" is not \"%s\"\n", file, line, STR_ARG(s), text);
    fail();
}

struct last_words {
    char text[4096];
};

static inline bool dies(void (*run)(void), struct last_words *ret_text)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        run();
        _exit(0);
    }
    close(ends[1]);

    size_t len = 0;
    ssize_t got;
    while ((got = read(ends[0], ret_text->text + len, sizeof(ret_text->text) - 1 - len)) > 0)
        len += (size_t)got;
    ret_text->text[len] = '\0';
    close(ends[0]);

    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

#endif
