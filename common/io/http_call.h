/*
 * http_call.h -- one easy handle of libcurl and what belongs to it; private to the HTTP door.
 *
 * A call is made once and used for many requests. Options that never change are set when it is
 * made, the others only when they differ from the request before. The header lines handed to
 * libcurl are nodes and text in one block of the call, so a request costs no allocation of ours.
 *
 * The reply is gathered in one buffer, header lines first, body behind them. A call that waits for
 * its reply holds none: it is taken with the first byte and given back after `done`.
 */
#ifndef QUERN_COMMON_IO_HTTP_CALL_H
#define QUERN_COMMON_IO_HTTP_CALL_H

#include <curl/curl.h>

#include "common/base/list.h"
#include "common/io/http_client.h"

#define HTTP_CALL_MAGIC 0x68747443u

struct http_shard;
struct http_pool;
struct http_gate;

/* Reply buffers in reserve. */
struct http_buffers {
    struct http_buffer_spare *first;
    size_t count;
};
void http_buffers_done(struct http_buffers *buffers);

enum http_call_state {
    HTTP_CALL_IDLE,
    HTTP_CALL_FLYING,  /* in a shard */
    HTTP_CALL_WAITING, /* at the gate for a host's address, or for another call's connection */
    HTTP_CALL_FINISHED,
    HTTP_CALL_DELIVERED,
};

struct http_call {
    uint32_t magic;
    enum http_call_state state;
    struct list_node node;  /* in the list of its state */
    struct http_pool *pool; /* held until it is idle again */
    struct http_shard *shard;
    int64_t started_ms; /* for the first time; 0: not yet */
    struct http_gate *gate;
    bool looking_up, sent_back; /* see http_gate.h */
    struct list *queue;         /* where it waits for a connection; see http_opener.h */
    bool must_wait, refused, lost;
    const struct http_client_conf *conf;
    struct http_buffers *buffers;
    CURL *easy;
    http_done *done;
    http_piece *piece;
    http_ready *ready;
    void *context;

    /* What the handle is set to */
    char *url;
    CURLU *url_parts; /* of the same URL */
    const char *method;
    int64_t connect_timeout_ms, total_timeout_ms;
    enum http_version version;
    bool version_set;
    char *ca_file;            /* NULL: the client's, or the system's */
    struct curl_slist *lines; /* the block: nodes, then text */
    size_t lines_bytes;

    /* The reply */
    char *data;
    size_t len, cap, header_len;
    unsigned sends;
    int sent_port; /* our end of the connection it was sent on */
    bool once, head_ended, too_big;
    bool is_heard; /* `piece` or `ready` is at work */
    bool withheld; /* `ready` said no */
    int status;    /* for `piece`, from its first on */
    bool in_doubt; /* libcurl failed around it: the handle is not used again */
    CURLcode code;
    char said[CURL_ERROR_SIZE];
};

struct http_call *http_call_new(const struct http_client_conf *conf, struct http_buffers *buffers);
void http_call_free(struct http_call *call); /* takes NULL */

/* Sets the handle for this request. */
bool http_call_prepare(struct http_call *call, const struct http_request *request, struct err *err);
/* After the transfer; true when a complete reply came. `ret` points into the call. */
bool http_call_outcome(const struct http_call *call, struct http_reply *ret, struct err *err);
/* Gives the reply's memory back. */
void http_call_forget(struct http_call *call);

#endif
