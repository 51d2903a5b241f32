/*
 * err.h -- "the world said no": a code from schemas/error.def, a sentence, and whether to retry.
 *
 * Functions that can fail return false or NULL and fill `struct err *`. The text is lower case,
 * names the thing in 'quotes', says what to do where that is known, and ends without a full stop.
 * It must not contain secrets. Libraries return errors, programs log them, once.
 */
#ifndef QUERN_COMMON_BASE_ERR_H
#define QUERN_COMMON_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

enum err_code {
    ERR_NONE = 0,
#define ERROR(code, name, retry, http, sentence) code,
#include "schemas/error.def"
#undef ERROR
    ERR_CODE_COUNT
};

/* never: the same request will fail again. later: the same place may answer in a while.
 * elsewhere: this place will not answer it, another may. */
enum err_retry { RETRY_NEVER, RETRY_LATER, RETRY_ELSEWHERE };

struct err {
    enum err_code code;
    enum err_retry retry;
    int64_t retry_after_ms; /* what the other side asked for; 0 when it did not */
    char text[320];
};

/* err may be NULL. Sets retry from the code's row and retry_after_ms to 0. */
void err_set(struct err *err, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "context: " in front of the text that is there. */
void err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Both leave the room behind an empty text as it is: most errors are never set, and five cache
 * lines of each would be written for nothing. `err` may be NULL; so may `from`: none. */
void err_clear(struct err *err);
void err_copy(struct err *to, const struct err *from);

const char *err_name(enum err_code code);         /* "invalid_request" */
const char *err_sentence(enum err_code code);     /* the row's explanation */
enum err_code err_by_name(struct str name);       /* ERR_INTERNAL when unknown */
const char *err_retry_name(enum err_retry retry); /* "never", "later", "elsewhere" */
enum err_retry err_retry_of(enum err_code code);
int err_http(enum err_code code); /* the HTTP status a gateway answers with */

#endif
