/*
 * http_gate.h -- few look-ups of host names at a time; private to the HTTP door.
 *
 * libcurl starts a thread for every name that is not in its cache, and a thousand calls to a new
 * host are a thousand threads. So a call that needs a look-up while enough of them run is sent back
 * by libcurl, waits here, and is started again when a look-up has ended: by then the address is in
 * the cache that all calls share. When the look-up failed, those that wait for the same host fail
 * with it.
 *
 * Addresses in numbers and kept connections never wait.
 */
#ifndef QUERN_COMMON_IO_HTTP_GATE_H
#define QUERN_COMMON_IO_HTTP_GATE_H

#include "common/io/http_call.h"

enum { HTTP_LOOKUPS_MAX = 8 };

struct http_gate {
    unsigned lookups; /* running */
    bool open;        /* a look-up has ended since the last one began */
    struct list waiting;
};

void http_gate_init(struct http_gate *gate);
/* The options that tie a call to the gate. */
void http_gate_adopt(struct http_gate *gate, struct http_call *call);

/* The call's look-up is over. To be told as soon as it opens a socket, and when it ends. */
void http_gate_answered(struct http_call *call);
/* The transfer ended: true when it was sent back and waits now. Calls that fail along with it are
 * put on `failed`. */
bool http_gate_ended(struct http_call *call, CURLcode code, struct list *failed);
/* The next call to be started again; NULL when none may. */
struct http_call *http_gate_next(struct http_gate *gate);
void http_gate_forget(struct http_call *call); /* it was cancelled while it waited */

#endif
