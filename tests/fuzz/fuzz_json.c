/*
 * fuzz_json.c -- whatever JSON is read is written, read and written again to the same bytes, and
 * passes through MessagePack unharmed.
 */
#include "common/base/must.h"
#include "common/data/json.h"
#include "common/data/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    arena_init(&arena, NULL, 1 << 22);
    struct value tree, again;
    struct err err = {0};
    if (!json_read(str_from(data, size), &arena, &tree, &err)) {
        must(err.code != ERR_NONE && err.text[0]);
        arena_done(&arena);
        return 0;
    }
    struct value_size measured = value_measure(&tree);
    must(measured.depth <= VALUE_DEPTH_MAX && measured.nodes <= VALUE_NODES_MAX);

    struct buf first, second, packed;
    buf_init(&first, 1 << 24);
    buf_init(&second, 1 << 24);
    buf_init(&packed, 1 << 24);
    json_write(&tree, &first);
    struct arena other;
    arena_init(&other, NULL, 1 << 24);
    must(json_read(buf_str(&first), &other, &again, &err));
    json_write(&again, &second);
    must(str_eq(buf_str(&first), buf_str(&second)));

    wire_write(&tree, &packed);
    must(packed.len == measured.bytes);
    must(wire_read(buf_str(&packed), &other, &again, &err));
    must(value_eq(&tree, &again));

    buf_done(&first);
    buf_done(&second);
    buf_done(&packed);
    arena_done(&other);
    arena_done(&arena);
    return 0;
}
