/*
 * http.h -- reads HTTP/1.1 requests from bytes; no socket, no clock.
 *
 * http_read() is called with all bytes of a connection that are not consumed yet, as often as more
 * arrive, and remembers in `struct http_reader` how far it came. Bodies come with Content-Length or
 * chunked; a chunked body is put together in place. When a request is whole, its slices point into
 * the caller's bytes.
 *
 * Limits: HTTP_HEAD_MAX and HTTP_BODY_MAX; a request beyond them is refused with 431 or 413.
 *
 * To read one more header: add a slice to struct http_request and a row to `fields` in http.c.
 */
#ifndef FAKE_HTTP_H
#define FAKE_HTTP_H

#include "tests/fake/buf.h"

#include <stdint.h>

#define HTTP_HEAD_MAX ((size_t)64 << 10)
#define HTTP_BODY_MAX ((size_t)64 << 20)

enum http_verdict {
    HTTP_READY = 0, /* a whole request */
    HTTP_MORE = 1,  /* call again when more bytes are there */
    /* everything else is the status to refuse the request with */
    HTTP_BAD = 400,
    HTTP_BODY_TOO_BIG = 413,
    HTTP_HEAD_TOO_BIG = 431,
    HTTP_NOT_IMPLEMENTED = 501,
};

struct http_request {
    struct slice method, path, query, body;
    struct slice authorization, api_key, request_id, call_id, idempotency_key, content_type,
        anthropic_version, azure_key;
    bool keep_alive;
    bool version_10;
};

struct http_reader {
    size_t scanned;        /* bytes known to hold no end of head */
    size_t head_len;       /* 0 until the head is whole */
    size_t content_length; /* of a body that is not chunked */
    bool chunked;
    bool wants_continue; /* the client waits for "100 Continue" before it sends the body */
    size_t chunk_read;   /* raw bytes used, from the end of the head */
    size_t chunk_left;   /* of the chunk being read */
    size_t body_len;     /* bytes put together so far */
    enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER } chunk_state;
};

/* On HTTP_READY fills `ret`, writes to `ret_used` how many bytes the request took, and makes the
 * reader ready for the next request. */
enum http_verdict http_read(struct http_reader *reader, char *bytes, size_t len,
                            struct http_request *ret, size_t *ret_used);

/* How many bytes the request at hand will have at least; 0 when unknown. */
size_t http_expected(const struct http_reader *reader);

/* The value of `name` in a query string, percent-decoded into `ret`; false when absent or too long.
 */
bool http_query(struct slice query, const char *name, char *ret, size_t size);

const char *http_reason(int status);

#endif
