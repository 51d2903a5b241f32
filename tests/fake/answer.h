/*
 * answer.h -- a reply on its way from the service to the server.
 *
 * The service fills status, type, extra headers and body, and says how the bytes are to be handed
 * out. The server writes the head, sends, and reports the end of calls. The buffers are the
 * server's and are emptied before each request.
 */
#ifndef FAKE_ANSWER_H
#define FAKE_ANSWER_H

#include "tests/fake/ledger.h"
#include "tests/fake/pace.h"

/* What a call still owes its meter (limit.h) when it was answered. */
struct charge {
    uint32_t meter; /* 0: none */
    uint32_t tokens;
};

struct answer {
    int status;
    const char *type; /* content-type */
    struct buf extra; /* more header lines, each beginning with its CRLF */
    struct buf body;
    bool chunked;         /* the body is framed in chunks already */
    int64_t length_wrong; /* added to the Content-Length we claim */
    bool early;           /* interim replies go before the head */
    struct pace pace;
    struct charge charge;
    uint64_t delay_ms;
    uint64_t call; /* its number in the ledger; 0: not a call */
    struct ledger_cursor cursor;
};

static inline void answer_clear(struct answer *answer)
{
    struct buf extra = answer->extra, body = answer->body;
    extra.len = body.len = 0;
    *answer =
        (struct answer){.status = 200, .type = "application/json", .extra = extra, .body = body};
}

#endif
