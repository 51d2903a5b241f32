/*
 * listen.h -- a slot's reply while it comes in: a stream is read, passed on, and timed.
 *
 * Three limits that a whole reply cannot have apart: until the first token, between two pieces, and
 * the call's own. A stream is an answer only with its finish marker (stream.h); one that stops
 * after that marker, with the connection still open, is an answer a second later.
 *
 * A server that was asked for a stream and sends one document is read whole, as without.
 */
#ifndef QUERN_WORKER_CALL_LISTEN_H
#define QUERN_WORKER_CALL_LISTEN_H

#include "common/io/http_client.h"
#include "worker/job.h"

/* The call is in flight, and its prompt asked for a stream, or the model has hedges. */
void listen_begin(struct slot *slot);
/* For the HTTP door; `context` is the slot. */
bool listen_piece(const struct http_reply *head, struct str bytes, void *context);
/* There is a first sign of an answer: text, or a byte of a body that comes whole. */
bool listen_heard(const struct slot *slot);
/* The call has ended, with this error or none. True: it was a stream; slot->answer and
 * slot->call_err are what became of it, and on an error the answer is what had come before. */
bool listen_end(struct slot *slot, const struct err *err);

#endif
