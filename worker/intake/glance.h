/*
 * glance.h -- the few members of a request that matter before its turn has come, without reading
 * all of it. Pure.
 *
 * It walks over the bytes once, makes nothing, and is not a check: what is no request is found out
 * when it is read. False: the bytes are not as plain as nearly all are (an escape in a name, two
 * tenants, a CloudEvent in structured mode, no map, cut off); whoever wants to know parses them.
 */
#ifndef QUERN_WORKER_INTAKE_GLANCE_H
#define QUERN_WORKER_INTAKE_GLANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/contract/contract.h"

struct glance {
    struct str tenant;                           /* in the bytes; absent: it names none */
    int64_t created_at, deadline_ms, max_tokens; /* INT_ABSENT: it does not say */
};

bool glance_at(struct str bytes, enum encoding encoding, struct glance *ret);
/* The same of a parsed document. */
void glance_parsed(const struct value *document, struct glance *ret);

#endif
