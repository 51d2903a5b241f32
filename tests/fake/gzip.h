/*
 * gzip.h -- a body as gzip: valid, and not smaller.
 *
 * The bytes are stored, not compressed, so it needs no library: what matters to a client is that it
 * has to undo the coding.
 */
#ifndef FAKE_GZIP_H
#define FAKE_GZIP_H

#include "tests/fake/buf.h"

/* Replaces the content of `buf` by its gzip form. */
void gzip_wrap(struct buf *buf);

#endif
