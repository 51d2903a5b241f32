/*
 * wire.h -- MessagePack bytes <-> value trees (msgpack-c inside).
 *
 * Same document as JSON, same limits. Map keys must be strings. Extension types are refused.
 */
#ifndef QUERN_COMMON_DATA_WIRE_H
#define QUERN_COMMON_DATA_WIRE_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/data/value.h"

/* Strings of the tree are copies in the arena. Fails with ERR_INVALID_ENCODING (text has the byte
 * position, from 0), ERR_TOO_DEEP or ERR_TOO_BIG. What a header claims is believed only as far as
 * there are bytes left, so memory stays in proportion to the input. */
bool wire_read(struct str bytes, struct arena *arena, struct value *ret, struct err *err);

void wire_write(const struct value *value, struct buf *ret);
/* The one form of a document: maps sorted by key, reals without a fraction as integers. For
 * hashing. */
void wire_write_canonical(const struct value *value, struct buf *ret);

/* Writing without a tree: the caller says first how many pairs or items follow. */
void wire_map(struct buf *out, size_t pairs);
void wire_list(struct buf *out, size_t items);
void wire_str(struct buf *out, struct str s); /* absent: nil; keys are strings, too */
void wire_int(struct buf *out, int64_t n);
void wire_real(struct buf *out, double d);
void wire_bool(struct buf *out, bool b);
void wire_null(struct buf *out);

#endif
