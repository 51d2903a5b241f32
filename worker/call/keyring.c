/*
 * keyring.c -- see keyring.h.
 */
#include "worker/call/keyring.h"

void keyring_put(struct provider_request *request, struct str old_key, struct str new_key,
                 struct arena *arena)
{
    if (str_empty(old_key) || str_eq(old_key, new_key))
        return;
    for (size_t i = 0; i < request->header_count; i++) {
        struct str *value = &request->headers[i].value;
        if (!str_ends(*value, old_key))
            continue;
        struct str before = str_slice(*value, 0, value->len - old_key.len);
        *value = arena_printf(arena, STR_FMT STR_FMT, STR_ARG(before), STR_ARG(new_key));
    }
}
