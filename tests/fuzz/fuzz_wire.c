/*
 * fuzz_wire.c -- whatever MessagePack is read is written and read again to an equal tree, and
 * memory stays in proportion to the input.
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
    bool ok = wire_read(str_from(data, size), &arena, &tree, &err);
    /* The copy, a pair per two bytes, and what the arena rounds up for each container. */
    must(arena.used_bytes <= 256 + size * (1 + sizeof(struct value) + 64));
    if (!ok) {
        must(err.code != ERR_NONE && err.text[0]);
        arena_done(&arena);
        return 0;
    }
    struct value_size measured = value_measure(&tree);
    must(measured.depth <= VALUE_DEPTH_MAX && measured.nodes <= VALUE_NODES_MAX);

    struct buf packed, canonical, text;
    buf_init(&packed, 1 << 24);
    buf_init(&canonical, 1 << 24);
    buf_init(&text, 1 << 24);
    struct arena other;
    arena_init(&other, NULL, 1 << 24);
    wire_write(&tree, &packed);
    must(packed.len == measured.bytes);
    must(wire_read(buf_str(&packed), &other, &again, &err));
    struct buf repacked;
    buf_init(&repacked, 1 << 24);
    wire_write(&again, &repacked); /* NaN is not equal to itself, its bytes are */
    must(str_eq(buf_str(&packed), buf_str(&repacked)));

    wire_write_canonical(&tree, &canonical);
    must(wire_read(buf_str(&canonical), &other, &again, &err));
    json_write(&tree, &text);
    must(json_read(buf_str(&text), &other, &again, &err));

    buf_done(&packed);
    buf_done(&repacked);
    buf_done(&canonical);
    buf_done(&text);
    arena_done(&other);
    arena_done(&arena);
    return 0;
}
