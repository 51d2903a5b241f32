/*
 * must.h -- checks for our own mistakes; they stay on in production.
 *
 * must(cond) aborts with the place, the condition and a backtrace when `cond` is false. It is for
 * what can only be wrong if our code is wrong. What the world may do wrong is told by `struct err`.
 */
#ifndef QUERN_COMMON_BASE_MUST_H
#define QUERN_COMMON_BASE_MUST_H

_Noreturn void must_fail(const char *file, int line, const char *what);

#define must(cond)           ((cond) ? (void)0 : must_fail(__FILE__, __LINE__, #cond))
#define must_not_reach(what) must_fail(__FILE__, __LINE__, "not reached: " what)

/* Objects that cross a `void *` carry a magic number as their first checked field. */
#define must_be(object, number) must((object) && (object)->magic == (number))

#endif
