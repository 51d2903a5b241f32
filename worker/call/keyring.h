/*
 * keyring.h -- a request that was encoded with one key is sent with another. Pure.
 */
#ifndef QUERN_WORKER_CALL_KEYRING_H
#define QUERN_WORKER_CALL_KEYRING_H

#include "worker/call/provider.h"

/* Each header whose value ends with the one key ("KEY", "Bearer KEY") gets the other one; what it
 * points to is of the arena. */
void keyring_put(struct provider_request *request, struct str old_key, struct str new_key,
                 struct arena *arena);

#endif
