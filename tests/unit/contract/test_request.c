/*
 * Goal: only requests that can be answered pass, and two that mean the same have one hash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/contract/contract.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, NULL, (size_t)64 * 1024 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static void read_request(struct str bytes, enum encoding encoding, struct request *ret)
{
    struct value tree;
    struct err err = {0};
    if (!contract_parse(bytes, encoding, &arena, &tree, &err) ||
        !contract_read(&contract_request, &tree, &arena, ret, &err))
        fail_msg(STR_FMT ": %s", STR_ARG(bytes), err.text);
}

static void good_requests_pass(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "{\"input\":\"x\"}",
        "{\"input\":\"x\",\"messages\":[]}",
        "{\"input\":\"\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
        "{\"messages\":[{\"role\":\"system\",\"content\":\"\"},{\"role\":\"developer\","
        "\"content\":\"x\"},{\"role\":\"tool\",\"content\":\"1\",\"tool_call_id\":\"c\"}]}",
        "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":1}]}]}",
        "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":1}]}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},"
        "{\"type\":\"image_url\"}]}]}",
        "{\"input\":\"x\",\"models\":[\"a\",\"a\"],\"id\":\"\xc3\xa9 1\",\"reply_to\":\"a.B-9_\"}",
        "{\"input\":\"line\\nline\\u0001\"}",
        "{\"kind\":\"embed\",\"input\":\"x\"}",
        "{\"kind\":\"embed\",\"input\":[\"x\",\"x\"],\"params\":{\"dimensions\":256,"
        "\"encoding_format\":\"base64\"}}",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request request;
        struct err err = {0};
        read_request(str_of(cases[i]), ENCODING_JSON, &request);
        if (!request_check(&request, &err))
            fail_msg("%s: %s", cases[i], err.text);
    }
}

static void bad_requests_are_told_what_to_change(void **state)
{
    (void)state;
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"{}", "input or messages is missing: there is no question"},
        {"{\"input\":\"\",\"messages\":[]}", "input or messages is missing: there is no question"},
        {"{\"input\":\"x\",\"messages\":[{}]}",
         "input and messages are both given; one of them is the question"},
        {"{\"input\":[\"x\"]}", "input must be text, is a list; lists of texts are for kind embed"},
        {"{\"input\":\"x\",\"params\":{\"dimensions\":5}}",
         "params.dimensions is for kind embed only"},
        {"{\"kind\":\"embed\"}", "input must have a text at least: there is nothing to embed"},
        {"{\"kind\":\"embed\",\"input\":[]}",
         "input must have a text at least: there is nothing to embed"},
        {"{\"kind\":\"embed\",\"input\":\"\"}", "input[0] must be a text that is not empty"},
        {"{\"kind\":\"embed\",\"input\":[\"x\",\"\"]}",
         "input[1] must be a text that is not empty"},
        {"{\"kind\":\"embed\",\"input\":[\"x\",[1,2]]}",
         "input[1] must be a text that is not empty, is something else; tokens are not taken"},
        {"{\"kind\":\"embed\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         "messages is not for kind embed: put the texts into input"},
        {"{\"kind\":\"embed\",\"input\":\"x\",\"session\":\"s\"}",
         "session is not for kind embed: vectors are no turn of a conversation"},
        {"{\"kind\":\"embed\",\"input\":\"x\",\"stream\":true}",
         "stream is not for kind embed: vectors come whole"},
        {"{\"kind\":\"embed\",\"input\":\"x\",\"params\":{\"max_tokens\":5}}",
         "params of kind embed are dimensions and encoding_format, others have no meaning"},
        {"{\"input\":\"x\",\"id\":\"a\\nb\"}", "id must not contain control characters"},
        {"{\"input\":\"x\",\"tenant\":\"a\\u007f\"}", "tenant must not contain control characters"},
        {"{\"input\":\"x\",\"session\":\"\\u0085\"}",
         "session must not contain control characters"},
        {"{\"input\":\"x\",\"user\":\"\\u001b[1m\"}", "user must not contain control characters"},
        {"{\"input\":\"x\",\"models\":[\"a\",\"\"]}", "models[1] must not be empty"},
        {"{\"input\":\"x\",\"models\":[\"\\t\"]}", "models[0] must not contain control characters"},
        {"{\"input\":\"x\",\"reply_to\":\"a/b\"}",
         "reply_to must be a topic name of letters, digits, '.', '_' and '-'"},
        {"{\"messages\":[\"x\"]}", "messages[0] must be a map with role and content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"content\":\"x\"}]}",
         "messages[1].role must be system, developer, user, assistant or tool, is ''"},
        {"{\"messages\":[{\"role\":\"bot\",\"content\":\"x\"}]}",
         "messages[0].role must be system, developer, user, assistant or tool, is 'bot'"},
        {"{\"messages\":[{\"role\":\"user\"}]}",
         "messages[0].content must be text or a list of parts"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":null,\"tool_calls\":[{}]}]}",
         "messages[0].content must be text or a list of parts"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[]}]}",
         "messages[0].content must be text or a list of parts"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":{\"type\":\"text\"}}]}",
         "messages[0].content must be text or a list of parts"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"},{\"type\":1}]}]}",
         "messages[0].content[1] must be a map with a text 'type'"},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":null}]}",
         "messages[0].content must be text or a list of parts, or there must be tool_calls"},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]}]}",
         "messages[0].content must be text or a list of parts, or there must be tool_calls"},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":7,\"tool_calls\":[{}]}]}",
         "messages[0].content must be text or a list of parts, or there must be tool_calls"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request request;
        struct err err = {0};
        read_request(str_of(cases[i].json), ENCODING_JSON, &request);
        if (request_check(&request, &err))
            fail_msg("%s passed", cases[i].json);
        assert_int_equal(err.code, ERR_INVALID_REQUEST);
        assert_string_equal(err.text, cases[i].text);
    }
}

static void four_thousand_and_ninety_six_messages_pass_and_one_more_does_not(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 1 << 24);
    buf_add_str(&text, STR("{\"messages\":["));
    for (int i = 0; i < REQUEST_MESSAGES_MAX; i++)
        buf_printf(&text, "%s{\"role\":\"user\",\"content\":\"x\"}", i == 0 ? "" : ",");
    size_t len = text.len;
    struct request request;
    struct err err = {0};
    buf_add_str(&text, STR("]}"));
    read_request(buf_str(&text), ENCODING_JSON, &request);
    assert_true(request_check(&request, &err));

    struct str more = str_slice(buf_str(&text), 0, len);
    more = arena_printf(&arena, STR_FMT ",{}]}", STR_ARG(more));
    read_request(more, ENCODING_JSON, &request);
    assert_false(request_check(&request, &err));
    assert_string_equal(err.text, "messages must have at most 4096 items, has 4097");
    buf_done(&text);
}

static struct str hash(const char *json, enum encoding encoding)
{
    struct request request;
    read_request(str_of(json), ENCODING_JSON, &request);
    if (encoding == ENCODING_MSGPACK) {
        struct buf out;
        buf_init(&out, 1 << 20);
        contract_write(&contract_request, &request, ENCODING_MSGPACK, &out);
        read_request(buf_str(&out), ENCODING_MSGPACK, &request);
        buf_done(&out);
    }
    char hex[65];
    request_body_hash(&request, hex);
    return arena_str(&arena, str_of(hex));
}

static void requests_that_mean_the_same_have_one_hash(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"{\"input\":\"x\"}", "{\"input\":\"x\",\"id\":\"1\",\"created_at\":7}", true},
        {"{\"input\":\"x\"}", "{\"priority\":5,\"merge\":{\"quorum\":1.0},\"input\":\"x\"}", true},
        {"{\"input\":\"x\",\"metadata\":{\"a\":1,\"b\":{\"c\":2,\"d\":3}}}",
         "{\"metadata\":{\"b\":{\"d\":3.0,\"c\":2},\"a\":1},\"input\":\"x\"}", true},
        {"{\"input\":\"x\",\"new\":1,\"other\":2}", "{\"other\":2,\"input\":\"x\",\"new\":1}",
         true},
        {"{\"input\":\"x\"}", "{\"input\":\"y\"}", false},
        {"{\"input\":[\"x\",\"y\"]}", "{\"input\":[\"x\",\"y\"]}", true},
        {"{\"input\":[\"x\",\"y\"]}", "{\"input\":[\"y\",\"x\"]}", false},
        {"{\"input\":\"x\",\"kind\":\"chat\"}", "{\"input\":\"x\"}", true},
        {"{\"input\":\"x\",\"kind\":\"embed\"}", "{\"input\":\"x\"}", false},
        {"{\"input\":\"x\"}", "{\"input\":\"x\",\"new\":1}", false},
        {"{\"input\":\"x\",\"new\":1}", "{\"input\":\"x\",\"new\":2}", false},
        {"{\"input\":\"x\",\"new\":1}", "{\"input\":\"x\",\"params\":{\"new\":1}}", false},
        {"{\"input\":\"x\"}", "{\"input\":\"x\",\"tenant\":\"t\"}", false},
        {"{\"input\":\"x\",\"models\":[\"a\",\"b\"]}", "{\"input\":\"x\",\"models\":[\"b\",\"a\"]}",
         false},
        {"{\"input\":\"x\",\"params\":{\"temperature\":0}}", "{\"input\":\"x\"}", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str a = hash(cases[i].a, ENCODING_JSON);
        assert_int_equal(a.len, 64);
        assert_true(str_eq(a, hash(cases[i].a, ENCODING_MSGPACK)));
        if (str_eq(a, hash(cases[i].b, ENCODING_MSGPACK)) != cases[i].same)
            fail_msg("%s and %s", cases[i].a, cases[i].b);
    }
}

/* Stored hashes are compared with those of later programs: the form must not change. */
static void the_hash_of_a_known_request_stays(void **state)
{
    (void)state;
    assert_true(
        str_is(hash("{\"input\":\"why?\",\"models\":[\"a\"],\"params\":{\"temperature\":0.5},"
                    "\"metadata\":{\"b\":1,\"a\":2},\"x\":true}",
                    ENCODING_JSON),
               "e28cec65ad86b94d136eac1f1431419c7c221d94eace93333bf37f1004521c35"));
}

static void more_texts_than_one_request_may_have_are_told_how_many_it_may(void **state)
{
    (void)state;
    struct buf json;
    struct request request;
    struct err err = {0};
    buf_init(&json, 1 << 20);
    for (int extra = 0; extra < 2; extra++) {
        buf_clear(&json);
        buf_add_str(&json, STR("{\"kind\":\"embed\",\"input\":["));
        for (int i = 0; i < REQUEST_INPUTS_MAX + extra; i++)
            buf_add_str(&json, i ? STR(",\"x\"") : STR("\"x\""));
        buf_add_str(&json, STR("]}"));
        read_request(buf_str(&json), ENCODING_JSON, &request);
        assert_int_equal(request_check(&request, &err), extra == 0);
    }
    assert_string_equal(
        err.text, "input must have at most 2048 texts, has 2049; split it into several requests");
    buf_done(&json);
}

static void one_text_is_a_text_wherever_it_stands(void **state)
{
    (void)state;
    struct request request;
    uint32_t count;
    read_request(STR("{\"kind\":\"embed\",\"input\":\"a\"}"), ENCODING_JSON, &request);
    assert_true(str_is(request_inputs(&request, &count)[0].text, "a") && count == 1);
    assert_true(str_is(request_text(&request), "a"));
    read_request(STR("{\"kind\":\"embed\",\"input\":[\"a\",\"b\"]}"), ENCODING_JSON, &request);
    assert_true(str_is(request_inputs(&request, &count)[1].text, "b") && count == 2);
    assert_null(request_text(&request).data);
    contract_init(&contract_request, &request);
    assert_null(request_inputs(&request, &count));
    assert_int_equal(count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(good_requests_pass, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_requests_are_told_what_to_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            more_texts_than_one_request_may_have_are_told_how_many_it_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_text_is_a_text_wherever_it_stands, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            four_thousand_and_ninety_six_messages_pass_and_one_more_does_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests_that_mean_the_same_have_one_hash, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_hash_of_a_known_request_stays, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
