/*
 * http_client.h -- the HTTP door (libcurl inside): thousands of calls in flight in one loop.
 *
 * Easy handles are pooled and reused; transfers are spread over several multi handles (a single one
 * with 8,000 transfers costs six times the CPU of 64 with 125 each), the lowest-numbered one with
 * room first, so that few calls use few connections. Connections are kept alive per origin and
 * pool; calls of two pools never share one, so who names a pool after a key has connections of that
 * key alone. A call may ask for HTTP/2: then up to 100 calls of a pool share one connection.
 *
 * HTTP and HTTPS only, redirects are not followed, certificates are verified, every reply has a
 * ceiling, every call has a connect and a total time-out measured by the library.
 *
 * After http_call() the reply comes exactly once through `done`, never from inside http_call();
 * after http_cancel() it never comes. A caller who wants the body while it arrives gives `piece`.
 */
#ifndef QUERN_COMMON_IO_HTTP_CLIENT_H
#define QUERN_COMMON_IO_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/loop/loop.h"

struct http_client;
struct http_call;

struct http_client_conf {
    size_t calls_max;              /* most calls in flight; more is refused with ERR_UNAVAILABLE */
    size_t calls_per_shard;        /* default 125 */
    size_t reply_bytes_max;        /* body ceiling, default 8 MiB */
    size_t reply_header_bytes_max; /* default 64 KiB */
    struct str user_agent;
    struct str ca_file; /* absent: the system's */
};

struct http_header {
    struct str name, value;
};

struct http_reply;

/* Bytes of the body have come; `head` has status and headers so far. True: they are the caller's,
 * the door keeps no copy and counts them against no ceiling; they end with this call. False: they
 * are kept for `done`, as without `piece`. Whoever has taken one takes all that follow. It runs in
 * the midst of the library's work: no call may be begun or cancelled from inside. */
typedef bool http_piece(const struct http_reply *head, struct str bytes, void *context);
/* A connection is there and the request is about to be written, for the first time or once more.
 * False: it is not, and `done` follows. It runs where `piece` does, with the same rule. */
typedef bool http_ready(void *context);
enum http_version {
    HTTP_1_1,
    HTTP_2, /* where the server agrees (ALPN), else HTTP/1.1; so always without TLS */
};

struct http_request {
    struct str method; /* "POST", "GET" */
    struct str url;
    const struct http_header *headers;
    size_t header_count;
    struct str body;            /* must stay valid until done or cancel */
    int64_t connect_timeout_ms; /* 0: 10 s */
    int64_t total_timeout_ms;   /* 0: 10 minutes */
    http_ready *ready;          /* NULL: always; same context */
    /* A kept connection may turn out to be closed just when the request is written to it. Then it
     * is sent once more on another one, unless `once` says that the server may never see it twice.
     */
    http_piece *piece; /* NULL: the body comes whole, with `done`; same context */
    bool once;         /* HTTP/2: always, but for what the server says it has not begun */
    enum http_version version;
    struct str pool;    /* whose connections; absent: nobody's in particular */
    struct str ca_file; /* absent: that of the client's conf */
};

struct http_reply {
    int status;         /* 0 when there was none: see the error */
    struct str headers; /* raw header lines of the last reply; look with http_reply_header() */
    struct str body;
    int64_t connect_us;    /* until connected, 0 on a kept connection */
    int64_t first_byte_us; /* until the first byte of the reply */
    int64_t total_us;
    unsigned sends;            /* 0: the request never left; 2: see `once` */
    enum http_version version; /* of the reply; HTTP_1_1 when there was none */
};

/* First header of this name, any case; absent when missing. */
struct str http_reply_header(const struct http_reply *reply, const char *name);

/* reply and its bytes are valid during the call. err is NULL when a complete reply came, whatever
 * its status. Else: ERR_PROVIDER_TIMEOUT, ERR_PROVIDER_DOWN (could not connect, cut before the
 * first byte), ERR_PROVIDER_TLS (its certificate is not good), ERR_PROVIDER_BAD_REPLY (cut in the
 * middle, not HTTP), ERR_TOO_BIG; ERR_CANCELLED when `ready` said no and nothing was sent. */
typedef void http_done(const struct http_reply *reply, const struct err *err, void *context);

struct http_client *http_client_new(struct loop *loop, const struct http_client_conf *conf,
                                    struct err *err);
void http_client_free(struct http_client *http); /* takes NULL; cancels what is in flight */

/* NULL: the request could not be started (bad URL, calls_max reached); `done` will not be called.
 */
struct http_call *http_call(struct http_client *http, const struct http_request *request,
                            http_done *done, void *context, struct err *err);
void http_cancel(struct http_client *http, struct http_call *call);
size_t http_in_flight(const struct http_client *http);

struct http_client_stats {
    uint64_t calls, connections; /* since the start */
    size_t in_flight, handles;
    size_t pools, shards; /* that hold connections, or may */
};
void http_client_stats(const struct http_client *http, struct http_client_stats *ret);

const char *http_library_version(void);

#endif
