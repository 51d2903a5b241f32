/*
 * Goal: of a request that is refused its fit fields are kept, of bytes that no parser takes those
 * members that can be read, and nothing of bytes that were cut; no bytes make it read beyond them.
 * Method: documents in both encodings with something wrong in them; documents cut at every byte,
 * each byte changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "common/data/json.h"
#include "common/data/wire.h"
#include "worker/intake/salvage.h"

/* All that is kept, and with it something that is none of it. */
#define WHO                                                                                        \
    "\"id\":\"r1\",\"tenant\":\"acme\",\"user\":\"u\\u0031\",\"session\":\"s1\","                  \
    "\"reply_to\":\"quern.replies.a\",\"metadata\":{\"a\":[1,{\"b\":\"\\\"}\"}]},"                 \
    "\"created_at\":1700000000000,\"deadline_ms\":5000,\"models\":[\"m\"]"

struct kept {
    struct arena arena;
    bool found;
    struct value document;
    struct request request;
};

static void take_bytes(struct str bytes, enum encoding encoding, struct kept *ret)
{
    arena_init(&ret->arena, NULL, 1 << 22);
    ret->found = salvage_document(bytes, encoding, &ret->arena, &ret->document);
    if (ret->found)
        salvage_request(contract_unwrap(&ret->document), &ret->arena, &ret->request);
}

static void take(const char *bytes, struct kept *ret)
{
    take_bytes(str_of(bytes), ENCODING_JSON, ret);
}

/* The same of a document that a parser takes. */
static void take_document(const char *json, struct kept *ret)
{
    struct err err;
    arena_init(&ret->arena, NULL, 1 << 22);
    assert_true(contract_parse(str_of(json), ENCODING_JSON, &ret->arena, &ret->document, &err));
    salvage_request(contract_unwrap(&ret->document), &ret->arena, &ret->request);
}

static void expect(struct str s, const char *text)
{
    if (!str_is(s, text))
        print_error("\"" STR_FMT "\" is not \"%s\"\n", STR_ARG(s), text);
    assert_true(str_is(s, text));
}

static void expect_who(const struct kept *kept)
{
    const struct request *r = &kept->request;
    struct buf metadata;
    expect(r->id, "r1");
    expect(r->tenant, "acme");
    expect(r->user, "u1");
    expect(r->session, "s1");
    expect(r->reply_to, "quern.replies.a");
    assert_int_equal(r->created_at, 1700000000000);
    assert_int_equal(r->deadline_ms, 5000);
    assert_int_equal(r->models.count, 0);
    assert_null(r->input);
    assert_non_null(r->metadata);
    buf_init(&metadata, 1000);
    json_write(r->metadata, &metadata);
    expect(buf_str(&metadata), "{\"a\":[1,{\"b\":\"\\\"}\"}]}");
    buf_done(&metadata);
}

/* ---- documents ---- */

static void who_asks_is_kept_whatever_is_wrong_with_the_question(void **state)
{
    static const char *const documents[] = {
        "{" WHO ",\"input\":17}",
        "{\"params\":{\"temperature\":99}," WHO "}",
        "{\"input\":\"\\u0000\"," WHO ",\"kind\":\"dance\"}",
        "{\"messages\":[]," WHO "}",
        ("{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"/s\",\"type\":\"t\",\"data\":{" WHO
         ",\"input\":17}}"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        struct kept kept;
        take_document(documents[i], &kept);
        expect_who(&kept);
        expect(kept.request.kind, "chat");
        arena_done(&kept.arena);
    }
}

static void each_field_is_kept_or_not_by_itself(void **state)
{
    static const struct {
        const char *json, *id, *session, *reply_to;
    } rows[] = {
        {"{\"id\":7,\"session\":\"s\",\"reply_to\":\"a.b\"}", NULL, "s", "a.b"},
        {"{\"id\":\"r\",\"session\":[],\"reply_to\":\"a b\"}", "r", NULL, NULL},
        {"{\"id\":\"a\\nb\",\"session\":\"s\",\"reply_to\":null}", NULL, "s", NULL},
        {"{\"id\":\"r\\u0000\",\"session\":\"s\\u0085\",\"reply_to\":\"a\"}", NULL, NULL, "a"},
        {"[\"id\"]", NULL, NULL, NULL},
        {"null", NULL, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kept kept;
        take_document(rows[i].json, &kept);
        assert_true(rows[i].id ? str_is(kept.request.id, rows[i].id) : !kept.request.id.data);
        assert_true(rows[i].session ? str_is(kept.request.session, rows[i].session)
                                    : !kept.request.session.data);
        assert_true(rows[i].reply_to ? str_is(kept.request.reply_to, rows[i].reply_to)
                                     : !kept.request.reply_to.data);
        arena_done(&kept.arena);
    }
}

static void what_is_beyond_its_limits_is_not_kept(void **state)
{
    static char json[200000];
    static char text[100000];
    struct kept kept;
    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    snprintf(json, sizeof(json),
             "{\"id\":\"%.129s\",\"user\":\"%.256s\",\"tenant\":\"%.64s\",\"created_at\":-1,"
             "\"deadline_ms\":0,\"metadata\":{\"a\":\"%.70000s\"}}",
             text, text, text, text);
    take_document(json, &kept);
    assert_null(kept.request.id.data);
    assert_null(kept.request.user.data);
    assert_int_equal(kept.request.tenant.len, 64);
    assert_null(kept.request.metadata);
    assert_int_equal(kept.request.created_at, INT_ABSENT);
    assert_int_equal(kept.request.deadline_ms, INT_ABSENT);
    arena_done(&kept.arena);
}

/* ---- bytes ---- */

static void bytes_that_are_no_text_hide_nothing_but_themselves(void **state)
{
    static const char *const documents[] = {
        "{" WHO ",\"input\":\"caf\xe9\"}",
        " { \"input\" : \"\xff\xfe\" , " WHO " } \n",
        "{\"caf\xe9\":1," WHO ",\"\\u0069d\":\"other\"}",
        "{\"input\":\"\x01\\q\"," WHO "}",
        ("{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"/s\",\"type\":\"t\",\"data\":{" WHO
         ",\"input\":\"\xff\"}}"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        struct kept kept;
        take(documents[i], &kept);
        assert_true(kept.found);
        expect_who(&kept);
        arena_done(&kept.arena);
    }
}

static void a_field_that_is_no_text_is_missing_alone(void **state)
{
    struct kept kept;
    (void)state;
    take("{\"id\":\"r1\",\"session\":\"\xff\",\"metadata\":{\"a\":\"\xff\"},\"user\":\"u\"}",
         &kept);
    assert_true(kept.found);
    expect(kept.request.id, "r1");
    expect(kept.request.user, "u");
    assert_null(kept.request.session.data);
    assert_null(kept.request.metadata);
    arena_done(&kept.arena);
}

static void nesting_without_end_is_stepped_over(void **state)
{
    struct kept kept;
    struct buf json;
    (void)state;
    buf_init(&json, 1 << 20);
    buf_add_str(&json, STR("{" WHO ",\"messages\":"));
    for (int i = 0; i < 100000; i++)
        buf_add_char(&json, '[');
    for (int i = 0; i < 100000; i++)
        buf_add_char(&json, ']');
    buf_add_char(&json, '}');
    take_bytes(buf_str(&json), ENCODING_JSON, &kept);
    assert_true(kept.found);
    expect_who(&kept);
    arena_done(&kept.arena);
    buf_done(&json);
}

static void an_event_keeps_its_own_id(void **state)
{
    struct kept kept;
    (void)state;
    take("{\"id\":\"event\",\"specversion\":\"1.0\",\"source\":\"/s\",\"type\":\"t\","
         "\"data\":{\"session\":\"s\",\"input\":\"\xff\"}}",
         &kept);
    assert_true(kept.found);
    expect(value_get_str(&kept.document, "id"), "event");
    expect(kept.request.session, "s");
    assert_null(kept.request.id.data);
    arena_done(&kept.arena);
}

static void of_two_the_first_is_kept(void **state)
{
    struct kept kept;
    (void)state;
    take("{\"id\":\"a\",\"id\":\"b\",\"data\":{\"id\":\"c\"},\"data\":{},\"x\":\"\xff\"}", &kept);
    assert_true(kept.found);
    expect(kept.request.id, "a");
    arena_done(&kept.arena);
}

static void bytes_that_were_cut_say_nothing(void **state)
{
    static const char json[] = "{" WHO ",\"input\":\"caf\xe9\"}";
    (void)state;
    for (size_t len = 0; len < sizeof(json) - 1; len++) {
        struct kept kept;
        char *bytes = malloc(len + 1); /* of just this size: a sanitizer sees what is beyond */
        assert_non_null(bytes);
        memcpy(bytes, json, len);
        take_bytes(str_from(bytes, len), ENCODING_JSON, &kept);
        assert_false(kept.found);
        arena_done(&kept.arena);
        free(bytes);
    }
}

static void anything_behind_it_says_nothing(void **state)
{
    static const char *const bytes[] = {
        "{\"id\":\"a\"}}",   "{\"id\":\"a\"}{\"id\":\"b\"}", "[{\"id\":\"a\"}]", "\"id\"", "id",
        "\xff{\"id\":\"a\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        struct kept kept;
        take(bytes[i], &kept);
        assert_false(kept.found);
        arena_done(&kept.arena);
    }
}

/* ---- MessagePack ---- */

static struct buf packed(const char *json)
{
    struct arena arena;
    struct value document;
    struct err err;
    struct buf bytes;
    arena_init(&arena, NULL, 1 << 22);
    assert_true(contract_parse(str_of(json), ENCODING_JSON, &arena, &document, &err));
    buf_init(&bytes, 1 << 22);
    wire_write(&document, &bytes);
    arena_done(&arena);
    return bytes;
}

static void the_same_holds_for_messagepack(void **state)
{
    struct buf bytes = packed("{\"input\":\"cafe\"," WHO "}");
    struct kept kept;
    (void)state;
    char *e = memmem(bytes.data, bytes.len, "cafe", 4);
    assert_non_null(e);
    e[3] = (char)0xe9;
    take_bytes(buf_str(&bytes), ENCODING_MSGPACK, &kept);
    assert_true(kept.found);
    expect_who(&kept);
    arena_done(&kept.arena);
    for (size_t len = 0; len < bytes.len; len++) {
        char *cut = malloc(len + 1);
        assert_non_null(cut);
        memcpy(cut, bytes.data, len);
        take_bytes(str_from(cut, len), ENCODING_MSGPACK, &kept);
        assert_false(kept.found);
        arena_done(&kept.arena);
        free(cut);
    }
    buf_done(&bytes);
}

/* Whatever it finds, it finds in the bytes: the sanitizers look on. */
static void any_byte_may_be_another(void **state)
{
    struct buf documents[2] = {packed("{\"input\":\"cafe\"," WHO "}")};
    size_t found = 0;
    (void)state;
    buf_init(&documents[1], 10000);
    buf_add_str(&documents[1], STR("{" WHO ",\"input\":\"caf\xe9\"}"));
    for (int i = 0; i < 2; i++) {
        enum encoding encoding = i ? ENCODING_JSON : ENCODING_MSGPACK;
        struct rand rand;
        rand_init(&rand, 7);
        for (size_t at = 0; at < documents[i].len; at++) {
            struct kept kept;
            char old = documents[i].data[at];
            documents[i].data[at] = (char)rand_below(&rand, 256);
            take_bytes(buf_str(&documents[i]), encoding, &kept);
            found += kept.found;
            arena_done(&kept.arena);
            documents[i].data[at] = old;
        }
        buf_done(&documents[i]);
    }
    assert_true(found > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_is_kept_whatever_is_wrong_with_the_question),
        cmocka_unit_test(each_field_is_kept_or_not_by_itself),
        cmocka_unit_test(what_is_beyond_its_limits_is_not_kept),
        cmocka_unit_test(bytes_that_are_no_text_hide_nothing_but_themselves),
        cmocka_unit_test(a_field_that_is_no_text_is_missing_alone),
        cmocka_unit_test(nesting_without_end_is_stepped_over),
        cmocka_unit_test(an_event_keeps_its_own_id),
        cmocka_unit_test(of_two_the_first_is_kept),
        cmocka_unit_test(bytes_that_were_cut_say_nothing),
        cmocka_unit_test(anything_behind_it_says_nothing),
        cmocka_unit_test(the_same_holds_for_messagepack),
        cmocka_unit_test(any_byte_may_be_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
