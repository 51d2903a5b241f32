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

enum pace {
    PACE_WHOLE,
    PACE_HANG,  /* send nothing, keep the connection */
    PACE_CUT,   /* half of the body, then close */
    PACE_DRIP,  /* the head, then one body byte per 100 ms */
    PACE_LEDGER /* chunked, from `cursor`, as the client reads */
};

struct answer {
    int status;
    const char *type; /* content-type */
    struct buf extra; /* more header lines, each beginning with its CRLF */
    struct buf body;
    bool chunked; /* the body is framed in chunks already */
    enum pace pace;
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
