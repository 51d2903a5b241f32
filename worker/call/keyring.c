/*
 * keyring.c -- see keyring.h.
 */
#include "worker/call/keyring.h"

static void put_key(struct provider_request *request, struct str old_key, struct str new_key,
                    struct arena *arena)
{
    for (size_t i = 0; i < request->header_count; i++) {
        struct str *value = &request->headers[i].value;
        if (!str_ends(*value, old_key))
            continue;
        struct str before = str_slice(*value, 0, value->len - old_key.len);
        *value = arena_printf(arena, STR_FMT STR_FMT, STR_ARG(before), STR_ARG(new_key));
    }
}

const struct provider_request *keyring_request(const struct provider_request *request,
                                               struct str old_key, struct str new_key,
                                               struct arena *arena)
{
    if (str_empty(old_key) || str_eq(old_key, new_key))
        return request;
    struct provider_request *copy = arena_alloc(arena, sizeof(*copy));
    *copy = *request;
    put_key(copy, old_key, new_key, arena);
    return copy;
}
