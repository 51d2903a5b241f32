/*
 * json.h -- JSON text <-> value trees (yyjson inside).
 *
 * Reading is strict RFC 8259: valid UTF-8, no duplicate keys at the top two levels, no comments,
 * nothing after the document. Limits: VALUE_DEPTH_MAX, VALUE_NODES_MAX; the caller bounds the
 * bytes.
 */
#ifndef QUERN_COMMON_DATA_JSON_H
#define QUERN_COMMON_DATA_JSON_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/data/value.h"

/* Strings of the tree are copies in the arena. Fails with ERR_INVALID_ENCODING (text has the byte
 * position, from 0), ERR_TOO_DEEP or ERR_TOO_BIG. Touches malloc only for documents that are larger
 * than any before. */
bool json_read(struct str text, struct arena *arena, struct value *ret, struct err *err);

/* Appends compact JSON. Reals that are not finite become null. */
void json_write(const struct value *value, struct buf *ret);

/* Writing without a tree; begin with {.out = buf}. The writer puts the commas. */
struct json_writer {
    struct buf *out;
    bool pretty;    /* one item a line, two spaces a level */
    bool comma;     /* the next item needs one */
    bool after_key; /* the next item is a key's value */
    unsigned depth;
};
void json_open(struct json_writer *w, char bracket);   /* '{' or '[' */
void json_close(struct json_writer *w, char bracket);  /* '}' or ']' */
void json_key(struct json_writer *w, const char *key); /* without quotes and escapes in it */
void json_key_str(struct json_writer *w, struct str key);
void json_str(struct json_writer *w, struct str s); /* absent: null */
void json_int(struct json_writer *w, int64_t n);
void json_real(struct json_writer *w, double d); /* shortest form that reads back the same */
void json_bool(struct json_writer *w, bool b);
void json_null(struct json_writer *w);
void json_value(struct json_writer *w, const struct value *value); /* NULL: null */

#endif
