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

bool wire_read(struct str bytes, struct arena *arena, struct value *ret, struct err *err);
void wire_write(const struct value *value, struct buf *ret);

#endif
