/*
 * Goal: what is written says what the struct says, shortly, and reads back the same in both
 * encodings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/contract/contract.h"

static struct arena arena;
static struct buf out;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, NULL, (size_t)64 * 1024 * 1024);
    buf_init(&out, 1 << 24);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    buf_done(&out);
    return 0;
}

/* Through `encoding` and back: reads `json`, writes it, reads that, writes JSON. */
static void pass_through(const struct contract *contract, const char *json, enum encoding encoding)
{
    union {
        struct request request;
        struct result result;
        struct reply reply;
    } object;
    struct value tree;
    struct err err = {0};
    if (!contract_parse(str_of(json), ENCODING_JSON, &arena, &tree, &err) ||
        !contract_read(contract, &tree, &arena, &object, &err))
        fail_msg("%s: %s", json, err.text);
    buf_clear(&out);
    contract_write(contract, &object, encoding, &out);
    struct str written = arena_str(&arena, buf_str(&out));
    if (!contract_parse(written, encoding, &arena, &tree, &err) ||
        !contract_read(contract, &tree, &arena, &object, &err))
        fail_msg("%s written: %s", json, err.text);
    if (!contract_check(contract, &object, &err))
        fail_msg("%s checked: %s", json, err.text);
    buf_clear(&out);
    contract_write(contract, &object, ENCODING_JSON, &out);
}

static void documents_come_back_from_both_encodings(void **state)
{
    (void)state;
    static const struct {
        const struct contract *contract;
        const char *json, *written; /* NULL: as it was */
    } cases[] = {
        {&contract_request, "{}", NULL},
        {&contract_request, "{\"id\":\"\",\"input\":\"\"}", NULL},
        {&contract_request, "{\"kind\":\"chat\",\"priority\":5,\"stream\":false,\"models\":[]}",
         "{}"},
        {&contract_request, "{\"merge\":{\"policy\":\"all\",\"quorum\":1},\"params\":{}}", "{}"},
        {&contract_request, "{\"merge\":{\"policy\":\"first\",\"quorum\":1}}",
         "{\"merge\":{\"policy\":\"first\"}}"},
        {&contract_request, "{\"params\":{\"new\":null}}", NULL},
        {&contract_request, "{\"x\":[1.5,{\"\":null}],\"id\":\"i\",\"y\":-1}",
         "{\"id\":\"i\",\"x\":[1.5,{\"\":null}],\"y\":-1}"},
        {&contract_request, "{\"a key with \\\"quotes\\\" and \\u00e9\":1}",
         "{\"a key with \\\"quotes\\\" and \xc3\xa9\":1}"},
        {&contract_request,
         "{\"id\":\"i\",\"tenant\":\"t\",\"user\":\"u\",\"session\":\"s\",\"messages\":[{\"role\":"
         "\"user\",\"content\":\"\xc3\xa9\\n\"}],\"template\":{\"name\":\"n\",\"vars\":{\"a\":1}},"
         "\"models\":[\"m\",\"m\"],\"merge\":{\"deadline_ms\":5},\"params\":{\"temperature\":0.7,"
         "\"seed\":0,\"stop\":[\"a\",\"\"],\"tools\":[]},\"deadline_ms\":1000,\"priority\":0,"
         "\"stream\":true,\"metadata\":{},\"created_at\":0}",
         NULL},
        {&contract_result, "{\"tenant\":\"t\",\"request_id\":\"r\"}",
         "{\"request_id\":\"r\",\"tenant\":\"t\",\"status\":\"ok\"}"},
        {&contract_result,
         "{\"request_id\":\"r\",\"tenant\":\"t\",\"slot\":3,\"slots\":4,\"status\":\"failed\","
         "\"cost_microusd\":0,\"times\":{\"first_token_ms\":0},\"attempts\":[{\"run_id\":\"1\","
         "\"usage\":{\"input\":9223372036854775807},\"z\":1},{\"run_id\":\"2\"}],\"error\":{"
         "\"code\":\"x\",\"retry\":\"later\"},\"request\":{\"merge\":{\"quorum\":2,\"w\":true}}}",
         NULL},
        {&contract_reply,
         "{\"request_id\":\"r\",\"status\":\"done\",\"merge\":{\"agreement\":0.0,\"parts\":[{"
         "\"status\":\"ok\"},{\"slot\":1,\"status\":\"late\"}]}}",
         NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int encoding = ENCODING_JSON; encoding <= ENCODING_MSGPACK; encoding++) {
            pass_through(cases[i].contract, cases[i].json, (enum encoding)encoding);
            assert_string_equal(out.data, cases[i].written ? cases[i].written : cases[i].json);
        }
    }
}

static void a_fresh_struct_writes_its_status_only(void **state)
{
    (void)state;
    struct reply reply;
    contract_init(&contract_reply, &reply);
    contract_write(&contract_reply, &reply, ENCODING_JSON, &out);
    assert_string_equal(out.data, "{\"status\":\"done\"}");
    reply.status = (struct str){NULL, 0}; /* absent is the default, too */
    buf_clear(&out);
    contract_write(&contract_reply, &reply, ENCODING_JSON, &out);
    assert_string_equal(out.data, "{\"status\":\"done\"}");
}

static void the_map_of_a_large_object_is_counted_right(void **state)
{
    (void)state;
    /* With 15 fields the count is in the first byte, with 16 it is not. */
    struct value tree;
    for (int fields = 14; fields <= 18; fields++) {
        struct str json = STR("");
        for (int i = 0; i < fields; i++)
            json = arena_printf(&arena, STR_FMT ",\"x%d\":%d", STR_ARG(json), i, i);
        json = arena_printf(&arena, "{\"id\":\"i\"" STR_FMT "}", STR_ARG(json));
        pass_through(&contract_request, json.data, ENCODING_MSGPACK);
        assert_true(str_eq(buf_str(&out), json));
        assert_true(contract_parse(buf_str(&out), ENCODING_JSON, &arena, &tree, NULL));
        assert_int_equal(tree.count, fields + 1);
    }
}

static void a_full_buffer_says_so(void **state)
{
    (void)state;
    struct request request;
    contract_init(&contract_request, &request);
    const struct value input = value_str(STR("a question that is longer than the buffer"));
    request.input = &input;
    for (int encoding = ENCODING_JSON; encoding <= ENCODING_MSGPACK; encoding++) {
        struct buf small;
        buf_init(&small, 20);
        contract_write(&contract_request, &request, (enum encoding)encoding, &small);
        assert_true(small.overflowed);
        buf_done(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(documents_come_back_from_both_encodings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_fresh_struct_writes_its_status_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_map_of_a_large_object_is_counted_right, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_buffer_says_so, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
