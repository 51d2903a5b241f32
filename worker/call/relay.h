/*
 * relay.h -- an answer's text on its way to whoever reads along: chunks, numbered, in a Redis
 * stream per request.
 *
 * Entries have the fields `slot`, `run` (the call's run id), `n` (1, 2, .. within the run) and
 * `text`; the last one of a slot has `end` (ok, or the name of the error) instead of text. Run ids
 * grow with time: a reader who sees a newer run of a slot begins that slot anew, and skips what
 * still comes of an older one. The stream lives for ten minutes behind the last entry and keeps at
 * least the newest RELAY_ENTRIES_MAX; a gap in `n` means that a part is missing.
 *
 * Small chunks are gathered for RELAY_FLUSH_MS. Redis is a hint: what it does not take is lost to
 * readers along the way, never to the reply.
 */
#ifndef QUERN_WORKER_CALL_RELAY_H
#define QUERN_WORKER_CALL_RELAY_H

#include "common/base/str.h"

struct slot;
struct relay;

enum { RELAY_FLUSH_MS = 20, RELAY_BYTES_MAX = 16384, RELAY_ENTRIES_MAX = 10000 };

/* A call begins: `run` is its run id. The slot's relay is made when there is none yet. */
void relay_begin(struct slot *slot, struct str run);
void relay_add(struct relay *relay, struct str text);
/* Some of it, of whichever call, may have been read. */
bool relay_has_spoken(const struct slot *slot);
/* Nothing more comes for this slot; takes a slot without a relay. */
void relay_end(struct slot *slot);

#endif
