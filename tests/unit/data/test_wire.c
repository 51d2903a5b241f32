/*
 * Goal: MessagePack from outside becomes a tree or a clear error, in proportion to its bytes.
 * Method: bytes in hex against the JSON of the same document; made-up trees from a seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "common/data/json.h"
#include "common/data/wire.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, NULL, (size_t)256 * 1024 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct str from_hex(const char *hex)
{
    size_t len = strlen(hex) / 2;
    unsigned char *bytes = arena_alloc(&arena, len + 1);
    for (size_t i = 0; i < len; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
    return str_from(bytes, len);
}

static void assert_json(const struct value *value, const char *expected)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    json_write(value, &out);
    assert_string_equal(out.data, expected);
    buf_done(&out);
}

static void every_type_of_the_format_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *json;
    } cases[] = {
        {"c0", "null"},
        {"c2", "false"},
        {"c3", "true"},
        {"00", "0"},
        {"7f", "127"},
        {"e0", "-32"},
        {"cc80", "128"},
        {"cdffff", "65535"},
        {"ceffffffff", "4294967295"},
        {"cf7fffffffffffffff", "9223372036854775807"},
        {"cf8000000000000000", "9223372036854776000.0"},
        {"d080", "-128"},
        {"d18000", "-32768"},
        {"d280000000", "-2147483648"},
        {"d38000000000000000", "-9223372036854775808"},
        {"ca3fc00000", "1.5"},
        {"cb3ff8000000000000", "1.5"},
        {"cb7ff8000000000000", "null"}, /* NaN has no JSON */
        {"a0", "\"\""},
        {"a3616263", "\"abc\""},
        {"d903616263", "\"abc\""},
        {"da0003616263", "\"abc\""},
        {"db00000003616263", "\"abc\""},
        {"c403616263", "\"abc\""}, /* binary that is UTF-8 */
        {"c50003616263", "\"abc\""},
        {"c400", "\"\""},
        {"90", "[]"},
        {"dc0000", "[]"},
        {"93010203", "[1,2,3]"},
        {"dd0000000201c0", "[1,null]"},
        {"80", "{}"},
        {"82a16101a16292c3c2", "{\"a\":1,\"b\":[true,false]}"},
        {"de0001a16181a162a163", "{\"a\":{\"b\":\"c\"}}"},
        {"df00000001a16190", "{\"a\":[]}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct value value;
        struct err err = {0};
        if (!wire_read(from_hex(cases[i].hex), &arena, &value, &err))
            fail_msg("%s: %s", cases[i].hex, err.text);
        assert_json(&value, cases[i].json);
    }
}

static void bad_documents_are_refused_with_place_and_reason(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        enum err_code code;
        const char *said;
    } cases[] = {
        {"", ERR_INVALID_ENCODING, "cut off"},
        {"a3", ERR_INVALID_ENCODING, "cut off"},
        {"a36162", ERR_INVALID_ENCODING, "cut off"},
        {"cd01", ERR_INVALID_ENCODING, "cut off"},
        {"9201", ERR_INVALID_ENCODING, "longer than the document"},
        {"920193", ERR_INVALID_ENCODING, "longer than the document"},
        {"81a161", ERR_INVALID_ENCODING, "cut off"},
        {"81c0", ERR_INVALID_ENCODING, "longer than the document"},
        {"c1", ERR_INVALID_ENCODING, "byte 0: unknown type"},
        {"92c0c1", ERR_INVALID_ENCODING, "byte 2: unknown type"},
        {"0101", ERR_INVALID_ENCODING, "1 bytes too many"},
        {"80a0", ERR_INVALID_ENCODING, "too many"},
        {"a2c328", ERR_INVALID_ENCODING, "UTF-8"},
        {"a3eda080", ERR_INVALID_ENCODING, "UTF-8"},
        {"c401ff", ERR_INVALID_ENCODING, "UTF-8"},
        {"81a1ffc0", ERR_INVALID_ENCODING, "UTF-8"},
        {"810101", ERR_INVALID_ENCODING, "key that is not a string"},
        {"81c0c0", ERR_INVALID_ENCODING, "key that is not a string"},
        {"819001", ERR_INVALID_ENCODING, "key that is not a string"},
        {"d40100", ERR_INVALID_ENCODING, "extension"},
        {"d6ff00000000", ERR_INVALID_ENCODING, "extension"},
        {"c70001", ERR_INVALID_ENCODING, "extension"},
        {"c7010100", ERR_INVALID_ENCODING, "extension"},
        {"82a16101a16102", ERR_INVALID_ENCODING, "key 'a' appears twice"},
        {"81a16282a16101a16102", ERR_INVALID_ENCODING, "key 'a' appears twice"},
        /* lengths nobody has sent */
        {"ddffffffff", ERR_INVALID_ENCODING, "longer than the document"},
        {"dfffffffff", ERR_INVALID_ENCODING, "longer than the document"},
        {"dcffff00", ERR_INVALID_ENCODING, "longer than the document"},
        {"dbffffffff61", ERR_INVALID_ENCODING, "cut off"},
        {"c6ffffffff61", ERR_INVALID_ENCODING, "cut off"},
        {"c9ffffffff0161", ERR_INVALID_ENCODING, "extension"},
        {"9a9a9a9a9a9a9a9a9a9a", ERR_INVALID_ENCODING, "longer than the document"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct value value;
        struct err err = {0};
        if (wire_read(from_hex(cases[i].hex), &arena, &value, &err))
            fail_msg("'%s' was read", cases[i].hex);
        assert_int_equal(err.code, cases[i].code);
        if (!strstr(err.text, cases[i].said))
            fail_msg("'%s': %s", cases[i].hex, err.text);
        assert_false(wire_read(from_hex(cases[i].hex), &arena, &value, NULL));
    }
    assert_true(arena.used_bytes < 65536);
}

static void memory_stays_in_proportion_to_the_bytes(void **state)
{
    (void)state;
    /* Lists in lists, each of which claims as many items as there could be bytes. */
    unsigned char bytes[300];
    for (size_t i = 0; i + 5 <= sizeof(bytes); i += 5)
        memcpy(bytes + i, "\xdd\x00\x00\x01\x00", 5);
    struct value value;
    struct err err = {0};
    assert_false(wire_read(str_from(bytes, sizeof(bytes)), &arena, &value, &err));
    assert_int_equal(err.code, ERR_INVALID_ENCODING);
    assert_true(arena.used_bytes < sizeof(bytes) * (sizeof(struct value) + 2));
}

static void sixty_four_levels_are_read_and_one_more_is_too_deep(void **state)
{
    (void)state;
    unsigned char bytes[100001];
    memset(bytes, 0x91, sizeof(bytes));
    struct value value;
    struct err err = {0};
    bytes[VALUE_DEPTH_MAX - 1] = 0x90;
    assert_true(wire_read(str_from(bytes, VALUE_DEPTH_MAX), &arena, &value, &err));
    assert_int_equal(value_measure(&value).depth, VALUE_DEPTH_MAX);
    bytes[VALUE_DEPTH_MAX - 1] = 0x91;
    bytes[VALUE_DEPTH_MAX] = 0x90;
    assert_false(wire_read(str_from(bytes, VALUE_DEPTH_MAX + 1), &arena, &value, &err));
    assert_int_equal(err.code, ERR_TOO_DEEP);
    bytes[VALUE_DEPTH_MAX] = 0x91;
    assert_false(wire_read(str_from(bytes, sizeof(bytes)), &arena, &value, &err));
    assert_int_equal(err.code, ERR_TOO_DEEP);
}

static void the_number_of_values_is_bounded(void **state)
{
    (void)state;
    size_t len = VALUE_NODES_MAX + 5;
    unsigned char *bytes = arena_zalloc(&arena, len);
    struct value value;
    struct err err = {0};
    memcpy(bytes, "\xdd\x00\x0f\x42\x3f", 5); /* 999,999 and the list itself */
    assert_true(wire_read(str_from(bytes, len - 1), &arena, &value, &err));
    assert_int_equal(value.count, VALUE_NODES_MAX - 1);
    bytes[4]++;
    assert_false(wire_read(str_from(bytes, len), &arena, &value, &err));
    assert_int_equal(err.code, ERR_TOO_BIG);
}

static void a_document_beyond_the_arena_is_too_big(void **state)
{
    (void)state;
    unsigned char bytes[1003] = {0xdc, 0x03, 0xe8};
    for (size_t max = 100; max < 20000; max += 2500) {
        struct arena small;
        arena_init(&small, NULL, max);
        struct value value;
        struct err err = {0};
        assert_false(wire_read(str_from(bytes, sizeof(bytes)), &small, &value, &err));
        assert_int_equal(err.code, ERR_TOO_BIG);
        assert_false(arena_overflowed(&small));
        arena_done(&small);
    }
}

/* A tree as outside could send it. */
static struct value any_tree(struct rand *rand, unsigned levels)
{
    static const char *const texts[] = {"",       "a",
                                        "name",   "\xc3\xa9t\xc3\xa9",
                                        "\"\\\n", "a text of more than thirty-two bytes, so str 8"};
    switch (rand_below(rand, levels > 0 ? 9 : 6)) {
    case 0:
        return (struct value){.kind = VALUE_NULL};
    case 1:
        return (struct value){.kind = VALUE_BOOL, .truth = rand_below(rand, 2) == 1};
    case 2:
    case 3:
        return value_int((int64_t)(rand_u64(rand) >> rand_below(rand, 64)) *
                         (rand_below(rand, 2) ? 1 : -1));
    case 4:
        return (struct value){.kind = VALUE_REAL, .real = rand_unit(rand) * 1e6};
    case 5:
        return value_str(str_of(texts[rand_below(rand, 6)]));
    case 6: {
        uint32_t count = (uint32_t)rand_below(rand, 20);
        struct value *items = arena_array(&arena, struct value, count);
        for (uint32_t i = 0; i < count; i++)
            items[i] = any_tree(rand, levels - 1);
        return (struct value){.kind = VALUE_LIST, .count = count, .items = items};
    }
    default: {
        size_t count = rand_below(rand, 20);
        struct value *map = value_map_new(&arena, count);
        for (size_t i = 0; i < count; i++)
            value_map_add(map, arena_printf(&arena, "k%zu", i), any_tree(rand, levels - 1));
        return *map;
    }
    }
}

static void trees_come_back_from_both_encodings(void **state)
{
    (void)state;
    struct rand rand;
    rand_init(&rand, 77);
    struct buf out;
    buf_init(&out, 1 << 24);
    size_t nodes = 0;
    for (int i = 0; i < 300; i++) {
        struct value tree = any_tree(&rand, 4), back;
        struct err err = {0};
        nodes += value_measure(&tree).nodes;

        buf_clear(&out);
        wire_write(&tree, &out);
        assert_int_equal(value_measure(&tree).bytes, out.len);
        if (!wire_read(buf_str(&out), &arena, &back, &err))
            fail_msg("%d: %s", i, err.text);
        assert_true(value_eq(&tree, &back));

        buf_clear(&out);
        json_write(&tree, &out);
        if (!json_read(buf_str(&out), &arena, &back, &err))
            fail_msg("%d: %s", i, err.text);
        assert_true(value_eq(&tree, &back));
        arena_reset(&arena);
    }
    assert_true(nodes > 10000);
    buf_done(&out);
}

static void the_canonical_form_knows_no_order_and_no_fraction(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"{\"b\":1,\"a\":[{\"y\":1,\"x\":2}]}", "{\"a\":[{\"x\":2,\"y\":1}],\"b\":1}"},
        {"{\"n\":3.0}", "{\"n\":3}"},
        {"[-1e3]", "[-1000]"},
    };
    static const char *const other[][2] = {
        {"[1,2]", "[2,1]"},
        {"{\"n\":3.5}", "{\"n\":3}"},
        {"{\"a\":null}", "{}"},
        {"[1e300]", "[2e300]"},
    };
    struct buf out[2];
    buf_init(&out[0], 4096);
    buf_init(&out[1], 4096);
    for (size_t i = 0; i < 3 + 4; i++) {
        const char *const *pair = i < 3 ? same[i] : other[i - 3];
        for (int side = 0; side < 2; side++) {
            struct value value;
            assert_true(json_read(str_of(pair[side]), &arena, &value, NULL));
            buf_clear(&out[side]);
            wire_write_canonical(&value, &out[side]);
        }
        if (str_eq(buf_str(&out[0]), buf_str(&out[1])) != (i < 3))
            fail_msg("%s and %s", pair[0], pair[1]);
    }
    buf_done(&out[0]);
    buf_done(&out[1]);
}

static void a_large_map_is_sorted_as_a_small_one(void **state)
{
    (void)state;
    struct value *up = value_map_new(&arena, 500), *down = value_map_new(&arena, 500);
    for (int i = 0; i < 500; i++) {
        value_map_add(up, arena_printf(&arena, "k%d", i), value_int(i));
        value_map_add(down, arena_printf(&arena, "k%d", 499 - i), value_int(499 - i));
    }
    struct buf out[2];
    buf_init(&out[0], 1 << 16);
    buf_init(&out[1], 1 << 16);
    wire_write_canonical(up, &out[0]);
    wire_write_canonical(down, &out[1]);
    assert_true(str_eq(buf_str(&out[0]), buf_str(&out[1])));
    buf_done(&out[0]);
    buf_done(&out[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_type_of_the_format_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_documents_are_refused_with_place_and_reason, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(memory_stays_in_proportion_to_the_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sixty_four_levels_are_read_and_one_more_is_too_deep, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_number_of_values_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_document_beyond_the_arena_is_too_big, set_up, tear_down),
        cmocka_unit_test_setup_teardown(trees_come_back_from_both_encodings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_canonical_form_knows_no_order_and_no_fraction, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_large_map_is_sorted_as_a_small_one, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
