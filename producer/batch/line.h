/*
 * line.h -- one line of a batch file becomes a request. Pure.
 *
 * A line is OpenAI's batch form {custom_id, method, url, body}, told by one of these names, or a
 * request document of ours. The url says which kind of work it is; without one it is chat. Its id
 * is made of the batch's and of custom_id or the line's number, so that a second run of the same
 * file asks for the same ids and nothing is answered twice; a document that has an id keeps it.
 */
#ifndef QUERN_PRODUCER_BATCH_LINE_H
#define QUERN_PRODUCER_BATCH_LINE_H

#include "common/contract/contract.h"

#define BATCH_URL          "/v1/chat/completions"
#define BATCH_URL_EMBED    "/v1/embeddings"
#define BATCH_ID_BYTES_MAX 48

struct batch_defaults {
    struct str batch_id; /* at most BATCH_ID_BYTES_MAX */
    struct str model;    /* instead of the lines'; absent: theirs */
    struct str tenant;   /* where the line has none */
    int64_t deadline_ms; /* where the line has none */
};

struct batch_line {
    bool openai;
    bool numbers;         /* vectors are wanted as lists of numbers, not as base64 */
    struct str custom_id; /* as far as it could be read, also on failure */
    struct request request;
};

/* Everything lives in the arena, or in `text`. On failure openai and custom_id say what is known.
 */
bool batch_line_read(struct str text, int64_t number, const struct batch_defaults *defaults,
                     struct arena *arena, struct batch_line *ret, struct err *err);

#endif
