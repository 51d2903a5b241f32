/*
 * keyring.h -- a request that was encoded with one key is sent with another. Pure.
 */
#ifndef QUERN_WORKER_CALL_KEYRING_H
#define QUERN_WORKER_CALL_KEYRING_H

#include "worker/call/provider.h"

/* The same, where each header whose value ends with the one key ("KEY", "Bearer KEY") has the other
 * one: itself when the keys are equal, else of the arena. */
const struct provider_request *keyring_request(const struct provider_request *request,
                                               struct str old_key, struct str new_key,
                                               struct arena *arena);

#endif
