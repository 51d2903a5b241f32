/*
 * salvage.h -- what can be kept of a request that is refused: not what it asks, but who asks and
 * where the answer is to go. Pure.
 *
 * Each of these fields counts by itself: one that is fit is kept, whatever is wrong with the
 * others. They are id, tenant, user, session, kind, reply_to, metadata, created_at and deadline_ms.
 *
 * To keep another field: its name in salvage.c; what is fit is said by its row in
 * schemas/request.def.
 */
#ifndef QUERN_WORKER_INTAKE_SALVAGE_H
#define QUERN_WORKER_INTAKE_SALVAGE_H

#include "common/contract/contract.h"

/* Of bytes that are no document: a map of those members, and of a CloudEvent's own, that can each
 * be read by itself. False: where the members are cannot be told, because the bytes were cut, or
 * are anything at all; then nothing in them is to be trusted. */
bool salvage_document(struct str bytes, enum encoding encoding, struct arena *arena,
                      struct value *ret);
/* Of a document that is no fit request: the fields that are fit, all others absent. Whether
 * reply_to is allowed is not known here. */
void salvage_request(const struct value *document, struct arena *arena, struct request *ret);

#endif
