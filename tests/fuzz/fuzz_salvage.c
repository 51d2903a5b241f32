/*
 * fuzz_salvage.c -- whatever is kept of bytes that are no request is fit to stand in one, and
 * looking at bytes at a glance never reads beyond them.
 */
#include "common/base/must.h"
#include "worker/intake/glance.h"
#include "worker/intake/salvage.h"

enum { NAME_BYTES_MAX = 255 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(struct str bytes, enum encoding encoding)
{
    struct arena arena;
    struct value document;
    struct request request;
    struct glance glance;
    struct err err;
    arena_init(&arena, NULL, 1 << 24);
    if (salvage_document(bytes, encoding, &arena, &document)) {
        salvage_request(contract_unwrap(&document), &arena, &request);
        must(contract_check(&contract_request, &request, &err));
        must(request_check_names(&request, &err));
        must(!request.input && !request.messages && !request.extra);
        must(str_empty(request.id) || request_name_ok(request.id, NAME_BYTES_MAX));
    }
    glance_at(bytes, encoding, &glance);
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    look(str_from(data, size), ENCODING_JSON);
    look(str_from(data, size), ENCODING_MSGPACK);
    return 0;
}
