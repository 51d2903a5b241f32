/*
 * output.h -- the lines of a batch's output file: writing them, and telling from them what an
 * earlier run has done. Pure.
 *
 * A line in OpenAI's form is answered in OpenAI's form, a document of ours by the reply's document.
 * Lines that were never published (not JSON, a custom_id twice) also carry "line", their number in
 * the input, because nothing else may tell them apart.
 */
#ifndef QUERN_PRODUCER_BATCH_OUTPUT_H
#define QUERN_PRODUCER_BATCH_OUTPUT_H

#include "common/contract/contract.h"

struct output_line {
    bool openai;
    bool numbers;          /* of embeddings: lists of numbers, else base64 */
    struct str custom_id;  /* of OpenAI lines; absent: not known */
    struct str request_id; /* absent: none was made */
    struct str model;      /* as asked for */
    int64_t number;        /* of the input line, from 1 */
};

/* A final reply, good or failed. `created_s`: Unix seconds for the completion. */
void output_reply(const struct output_line *line, const struct reply *reply, int64_t created_s,
                  struct buf *ret);
/* A line that was not published. */
void output_refused(const struct output_line *line, const struct err *err, struct buf *ret);

/* Names under which a line is known in the set of finished ones; in the arena. */
struct str output_key_number(struct arena *arena, int64_t number);
struct str output_key_line(struct arena *arena, const struct output_line *line);
/* The name of a line of the output file; absent when it is none. `failed` may be NULL. */
struct str output_key_written(struct arena *arena, const struct value *written, bool *failed);

#endif
