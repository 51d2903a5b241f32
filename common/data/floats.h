/*
 * floats.h -- lists of 32-bit floats as text: base64 (RFC 4648, with padding) of their bytes,
 * little-endian. What embeddings are in our messages. Pure.
 *
 * A number costs 16/3 bytes and keeps every bit; written out it would cost ten to twenty. Python
 * reads it with numpy.frombuffer(base64.b64decode(text), "<f4"), JavaScript with a Float32Array.
 */
#ifndef QUERN_COMMON_DATA_FLOATS_H
#define QUERN_COMMON_DATA_FLOATS_H

#include "common/base/arena.h"
#include "common/data/json.h"

/* Bytes of the text for so many numbers. */
size_t floats_text_len(size_t count);
/* The text lives in the arena. */
struct str floats_text(const float *numbers, size_t count, struct arena *arena);
/* How many numbers the text holds; 0: it is empty, no canonical base64 of whole numbers, or one of
 * them is not finite. */
size_t floats_count(struct str text);
/* A list of the numbers, each in the shortest form that reads back the same; the text was counted
 * before. */
void floats_json(struct str text, struct json_writer *w);

#endif
