/*
 * send.h -- one HTTP call of a slot, from its headers to the reply in memory; call.c decides
 * whether there is one, and what becomes of its end.
 */
#ifndef QUERN_WORKER_CALL_SEND_H
#define QUERN_WORKER_CALL_SEND_H

#include "worker/job.h"

/* True: the walk is woken when the call has ended, with slot->reply, or slot->call_err. False: it
 * could not begin, slot->err says why; its row in slot->attempts stands all the same. */
bool send_call(struct slot *slot);
/* Hangs up: the call in flight ends with this error. */
void send_stop(struct slot *slot, const struct err *err);

#endif
