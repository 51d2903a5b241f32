/*
 * xalloc.c -- malloc that answers or aborts.
 *
 * Sizes of zero are rounded up to one byte, so that NULL always means "no memory".
 */
#include "common/base/xalloc.h"

#include <stdlib.h>

#include "common/base/must.h"

void *xzalloc(size_t bytes)
{
    return xcalloc(1, bytes);
}

void *xcalloc(size_t count, size_t bytes)
{
    if (count == 0 || bytes == 0)
        count = bytes = 1;
    size_t product;
    must(!__builtin_mul_overflow(count, bytes, &product));
    void *memory = calloc(1, product);
    must(memory && "out of memory");
    return memory;
}

void *xrealloc(void *old, size_t bytes)
{
    void *memory = realloc(old, bytes ? bytes : 1);
    must(memory && "out of memory");
    return memory;
}

char *xstrdup(const char *text)
{
    return text ? xstrndup(str_of(text)) : NULL;
}

char *xstrndup(struct str s)
{
    must(s.len < SIZE_MAX);
    char *copy = xrealloc(NULL, s.len + 1);
    if (s.len)
        memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    return copy;
}
