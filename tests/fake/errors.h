/*
 * errors.h -- what goes wrong at a provider, in each vendor's own words.
 *
 * An error has a kind. Each vendor has a status, a form of body and a sentence for it: rows of
 * errors.def. What a vendor has no row for is said in OpenAI's words in the vendor's form. One
 * kind may have several statuses (Anthropic refuses an empty purse with 400 and with 402): asked
 * by kind the first row answers, asked by status the row of that status.
 *
 * To add a row: a line in errors.def. To add a kind: a value here and its name in `kinds`
 * (errors.c).
 */
#ifndef FAKE_ERRORS_H
#define FAKE_ERRORS_H

#include "tests/fake/vendor.h"

#include <stdint.h>

enum error_kind {
    ERROR_INVALID,
    ERROR_CONTEXT, /* more tokens than the model reads */
    ERROR_FILTER,  /* content that the vendor does not want */
    ERROR_KEY,
    ERROR_FUNDS,
    ERROR_FORBIDDEN,
    ERROR_MODEL, /* does not exist */
    ERROR_PATH,  /* nor does the address */
    ERROR_TIMEOUT,
    ERROR_CONFLICT,
    ERROR_TOO_LARGE,
    ERROR_UNPROCESSABLE,
    ERROR_RATE,     /* requests per minute */
    ERROR_TOKENS,   /* tokens per minute */
    ERROR_OVERSIZE, /* more tokens in one request than in a minute: will never fit */
    ERROR_QUOTA,    /* spent for good */
    ERROR_SERVER,
    ERROR_GATEWAY,
    ERROR_BUSY,
    ERROR_LATE, /* a gateway's patience ended */
    ERROR_OVERLOADED,
    ERROR_KINDS
};

/* What the sentences mention. */
struct error_facts {
    struct slice model;
    uint64_t id;    /* of the request */
    uint64_t limit; /* of a rate: what is allowed, what is used, what was asked for */
    uint64_t used;
    uint64_t requested;
    uint64_t wait_ms;
    const char *text; /* instead of the vendor's sentence; NULL: the vendor's */
};

bool error_kind_parse(struct slice name, enum error_kind *ret);

/* The usual kind of an error with `status`. */
enum error_kind error_kind_of(int status);

/* The status that this vendor gives it. */
int error_status(enum vendor vendor, enum error_kind kind);

/* A facts object with numbers that look like a full minute. */
struct error_facts error_facts_sample(struct slice model, uint64_t id);

void error_body(enum vendor vendor, enum error_kind kind, int status,
                const struct error_facts *facts, struct buf *out);

/* The content type of that body. */
const char *error_type(enum vendor vendor, enum error_kind kind, int status);

/* "20ms", "1s", "6m0s": the way Go and so OpenAI's gateway writes a duration. */
void error_duration(uint64_t ms, struct buf *out);

#endif
