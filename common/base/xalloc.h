/*
 * xalloc.h -- malloc for long-lived things; out of memory aborts (a worker that cannot allocate
 * its own tables has nothing better to do than to be restarted).
 */
#ifndef QUERN_COMMON_BASE_XALLOC_H
#define QUERN_COMMON_BASE_XALLOC_H

#include <stddef.h>

#include "common/base/str.h"

void *xzalloc(size_t bytes);
void *xcalloc(size_t count, size_t bytes);
void *xrealloc(void *old, size_t bytes);
char *xstrdup(const char *text); /* NULL stays NULL */
char *xstrndup(struct str s);    /* NUL-terminated copy */

#endif
