/*
 * Goal: what is seen at a glance is what the whole document says, or the glance says that it does
 * not know; no bytes make it read beyond them.
 * Method: documents in both encodings, each cut at every byte, each byte changed; the parser is
 * right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "common/data/wire.h"
#include "worker/intake/glance.h"

static const char *const documents[] = {
    "{\"id\":\"r1\",\"tenant\":\"acme\",\"input\":\"hello\",\"deadline_ms\":5000}",
    ("{\"input\":\"say \\\"tenant\\\":\\\"x\\\" "
     "\\\\\",\"tenant\":\"acme\",\"created_at\":1700000000000}"),
    " { \"params\" : { \"max_tokens\" : 77 , \"stop\" : [ \"}\" ] } , \"tenant\" : \"b\" } ",
    "{\"metadata\":{\"tenant\":\"no\",\"a\":[1,2,{\"b\":null}]},\"tenant\":\"yes\"}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"{[\\\"\"}],\"max_tokens\":5}",
    "{}",
    "{\"tenant\":7,\"deadline_ms\":\"soon\",\"params\":[1]}",
    "{\"tenant\":\"\",\"temperature\":0.5,\"deadline_ms\":1e3,\"created_at\":-1}",
    "{\"a\":true,\"b\":false,\"c\":null,\"d\":-1.5e-3,\"params\":{},\"messages\":[]}",
};

static void expect_same(const struct glance *seen, const struct glance *told)
{
    assert_int_equal(seen->tenant.data != NULL, told->tenant.data != NULL);
    assert_true(str_eq(seen->tenant, told->tenant));
    assert_int_equal(seen->created_at, told->created_at);
    assert_int_equal(seen->deadline_ms, told->deadline_ms);
    assert_int_equal(seen->max_tokens, told->max_tokens);
}

static void parse(const char *json, struct arena *arena, struct value *ret)
{
    struct err err;
    arena_init(arena, NULL, 1 << 20);
    assert_true(contract_parse(str_of(json), ENCODING_JSON, arena, ret, &err));
}

static void a_json_document_is_seen_as_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        struct arena arena;
        struct value document;
        struct glance seen, told;
        parse(documents[i], &arena, &document);
        glance_parsed(&document, &told);
        assert_true(glance_at(str_of(documents[i]), ENCODING_JSON, &seen));
        if (told.created_at < 0 && told.created_at != INT_ABSENT)
            told.created_at = INT_ABSENT; /* a contract refuses it */
        if (told.deadline_ms == 1000)
            told.deadline_ms = INT_ABSENT; /* a real number is none */
        expect_same(&seen, &told);
        arena_done(&arena);
    }
}

static struct buf packed(const struct value *document)
{
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    wire_write(document, &bytes);
    return bytes;
}

static void a_messagepack_document_is_seen_as_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        struct arena arena;
        struct value document;
        struct glance seen, told;
        parse(documents[i], &arena, &document);
        if (value_get(&document, STR("tenant")) && !value_get_str(&document, "tenant").data)
            goto next; /* it says that it does not know, see below */
        struct buf bytes = packed(&document);
        glance_parsed(&document, &told);
        bool plain = glance_at(buf_str(&bytes), ENCODING_MSGPACK, &seen);
        if (told.created_at < 0 && told.created_at != INT_ABSENT)
            told.created_at = INT_ABSENT;
        if (told.deadline_ms == 1000)
            seen.deadline_ms = 1000;
        if (plain)
            expect_same(&seen, &told);
        buf_done(&bytes);
    next:
        arena_done(&arena);
    }
}

static void what_is_not_plain_is_left_to_the_parser(void **state)
{
    static const char *const odd[] = {
        "{\"ten\\u0061nt\":\"x\"}",
        "{\"tenant\":\"a\\u0062\"}",
        "{\"tenant\":\"a\",\"tenant\":\"b\"}",
        "[1]",
        "",
        "nonsense",
        "{\"a\":1",
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"data\":{}}",
    };
    struct glance seen;
    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        assert_false(glance_at(str_of(odd[i]), ENCODING_JSON, &seen));
    assert_false(glance_at(STR("\x93\x01\x02\x03"), ENCODING_MSGPACK, &seen));
    assert_false(glance_at(STR("\x81\xa6tenant\x07"), ENCODING_MSGPACK, &seen));
}

/* In memory of exactly that size, so that the sanitizer sees a step too far. */
static void look(const char *bytes, size_t len, enum encoding encoding)
{
    char *copy = malloc(len ? len : 1);
    struct glance seen;
    memcpy(copy, bytes, len);
    if (glance_at((struct str){copy, len}, encoding, &seen) && seen.tenant.data)
        assert_true(seen.tenant.data >= copy && seen.tenant.data + seen.tenant.len <= copy + len);
    free(copy);
}

static void look_at_damaged(struct str bytes, enum encoding encoding, struct rand *rand)
{
    char copy[512];
    assert_true(bytes.len <= sizeof(copy));
    for (size_t len = 0; len <= bytes.len; len++)
        look(bytes.data, len, encoding);
    for (int i = 0; i < 2000; i++) {
        memcpy(copy, bytes.data, bytes.len);
        for (uint64_t k = rand_below(rand, 3) + 1; k > 0 && bytes.len; k--)
            copy[rand_below(rand, bytes.len)] = (char)rand_below(rand, 256);
        look(copy, bytes.len, encoding);
    }
}

static void no_bytes_are_read_beyond_the_end(void **state)
{
    struct rand rand;
    (void)state;
    rand_init(&rand, 3);
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        struct arena arena;
        struct value document;
        parse(documents[i], &arena, &document);
        struct buf bytes = packed(&document);
        look_at_damaged(str_of(documents[i]), ENCODING_JSON, &rand);
        look_at_damaged(buf_str(&bytes), ENCODING_MSGPACK, &rand);
        buf_done(&bytes);
        arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_json_document_is_seen_as_it_is),
        cmocka_unit_test(a_messagepack_document_is_seen_as_it_is),
        cmocka_unit_test(what_is_not_plain_is_left_to_the_parser),
        cmocka_unit_test(no_bytes_are_read_beyond_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
