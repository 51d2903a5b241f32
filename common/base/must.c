/*
 * must.c -- the last words of a process that found a mistake of its own.
 *
 * Everything here works on a damaged heap: no malloc, no stdio streams, one buffer on the stack.
 * The exception is the first backtrace() of a process, which may load libgcc; a second failure
 * while the first is being told aborts at once.
 */
#include "common/base/must.h"

#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FRAMES_MAX 64

static volatile sig_atomic_t failing;

/* Writes what fits; there is nobody left to tell that it did not. */
static void say(const char *text, size_t len)
{
    ssize_t written = write(STDERR_FILENO, text, len);
    (void)written;
}

_Noreturn void must_fail(const char *file, int line, const char *what)
{
    if (failing)
        abort();
    failing = 1;

    char text[1024];
    int len = snprintf(text, sizeof(text), "%s:%d: must: %s\n", file, line, what);
    if (len > 0)
        say(text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);

    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);
    backtrace_symbols_fd(frames, count, STDERR_FILENO);
    abort();
}
