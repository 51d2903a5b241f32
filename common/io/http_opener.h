/*
 * http_opener.h -- one call at a time opens an HTTP/2 connection; private to the HTTP door.
 *
 * Left alone, libcurl opens a connection for each call that finds none with room: a hundred for a
 * hundred calls that start at once, or whose connection the server has ended (GOAWAY). Its own cure
 * (CURLOPT_PIPEWAIT) holds for the very first connection to a host only, and 7.88 forgets the
 * time-outs of calls that wait. So in a shard of HTTP/2 the first call that needs a connection is
 * its opener; the others are taken out, wait here with their time running, and start again when the
 * opener is connected. When it could not connect, they fail with it.
 *
 * It is also the place where libcurl is kept from sending a request again that the server may have
 * been at work on: see http_opener_may_send().
 */
#ifndef QUERN_COMMON_IO_HTTP_OPENER_H
#define QUERN_COMMON_IO_HTTP_OPENER_H

#include "common/io/http_shard.h"

/* True: the call has to wait, and is queued. Asked before it is started. */
bool http_opener_queues(struct http_shard *shard, struct http_call *call);
/* libcurl wants a new connection for it; false: it shall not. */
bool http_opener_may_open(struct http_call *call);
/* libcurl is about to send its request, on whatever connection. */
bool http_opener_may_send(struct http_call *call);
void http_opener_connected(struct http_call *call);
/* It left the shard, whatever the reason. */
void http_opener_left(struct http_shard *shard, const struct http_call *call);
/* Its transfer ends with `code`: those that wait for it fail alike when it could not connect. */
void http_opener_ends(struct http_call *call, CURLcode code);
/* It was not let through and left the shard: it waits. */
void http_opener_wait(struct http_shard *shard, struct http_call *call);
void http_opener_forget(struct http_call *call); /* it was cancelled while it waited */
/* Ends the calls that have waited for too long. */
void http_opener_guard(struct http_shard *shard, int64_t now_ms);

#endif
