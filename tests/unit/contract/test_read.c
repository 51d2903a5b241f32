/*
 * Goal: a document becomes a struct, or the one sentence its sender needs to repair it.
 * Method: tables of JSON texts; every limit is tried at its border.
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
    arena_init(&arena, NULL, (size_t)256 * 1024 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static bool read_text(const struct contract *contract, struct str json, void *ret, struct err *err)
{
    struct value tree;
    return contract_parse(json, ENCODING_JSON, &arena, &tree, err) &&
           contract_read(contract, &tree, &arena, ret, err);
}

static void an_empty_request_has_all_defaults(void **state)
{
    (void)state;
    static const char *const empty[] = {
        "{}",
        "{\"id\":null,\"merge\":null,\"models\":null,\"params\":{\"temperature\":null},"
        "\"priority\":null,\"stream\":null,\"messages\":null}",
    };
    for (size_t i = 0; i < 2; i++) {
        struct request request;
        memset(&request, 0xa5, sizeof(request));
        assert_true(read_text(&contract_request, str_of(empty[i]), &request, NULL));
        assert_null(request.id.data);
        assert_true(str_is(request.kind, "chat"));
        assert_null(request.messages);
        assert_int_equal(request.models.count, 0);
        assert_true(str_is(request.merge.policy, "all"));
        assert_int_equal(request.merge.quorum, 1);
        assert_true(request.merge.deadline_ms == INT_ABSENT);
        assert_true(isnan(request.params.temperature));
        assert_true(request.params.seed == INT_ABSENT);
        assert_int_equal(request.priority, 5);
        assert_false(request.stream);
        assert_null(request.extra);
    }
}

static void every_kind_of_field_is_read(void **state)
{
    (void)state;
    struct request request;
    struct err err = {0};
    static const char text[] =
        "{\"id\":\"r-1\",\"stream\":true,\"priority\":9,\"deadline_ms\":3.0,"
        "\"models\":[\"a\",\"b\",\"a\"],\"messages\":[{\"role\":\"user\"}],"
        "\"params\":{\"temperature\":1,\"top_p\":0.5,\"seed\":-7,\"stop\":[\"\"],"
        "\"tool_choice\":\"auto\",\"own\":[1]},\"merge\":{\"policy\":\"first\"},"
        "\"later\":null,\"x\":{\"y\":1}}";
    if (!read_text(&contract_request, str_of(text), &request, &err))
        fail_msg("%s", err.text);
    assert_true(str_is(request.id, "r-1"));
    assert_true(request.stream);
    assert_int_equal(request.priority, 9);
    assert_int_equal(request.deadline_ms, 3);
    assert_int_equal(request.models.count, 3);
    assert_true(str_is(request.models.items[1], "b"));
    assert_int_equal(request.messages->count, 1);
    assert_true(request.params.temperature == 1.0 && request.params.top_p == 0.5);
    assert_int_equal(request.params.seed, -7);
    assert_int_equal(request.params.stop.count, 1);
    assert_true(str_is(request.params.tool_choice->text, "auto"));
    assert_int_equal(request.params.extra->count, 1);
    assert_true(str_is(request.merge.policy, "first"));
    assert_int_equal(request.extra->count, 2);
    assert_int_equal(value_get_int(value_get_map(request.extra, "x"), "y", 0), 1);
}

static void parts_in_lists_are_read_with_their_defaults(void **state)
{
    (void)state;
    struct result result;
    struct err err = {0};
    static const char text[] =
        "{\"tenant\":\"t\",\"request_id\":\"r\",\"attempts\":[{\"run_id\":\"1\"},"
        "{\"run_id\":\"2\",\"number\":2,\"usage\":{\"input\":5},\"new\":1}]}";
    if (!read_text(&contract_result, str_of(text), &result, &err))
        fail_msg("%s", err.text);
    assert_int_equal(result.attempts.count, 2);
    assert_int_equal(result.attempts.items[0].number, 1);
    assert_true(result.attempts.items[0].cost_microusd == INT_ABSENT);
    assert_int_equal(result.attempts.items[1].number, 2);
    assert_int_equal(result.attempts.items[1].usage.input, 5);
    assert_int_equal(value_get_int(result.attempts.items[1].extra, "new", 0), 1);
    assert_true(str_is(result.status, "ok"));
}

static void what_is_wrong_is_said_with_its_path(void **state)
{
    (void)state;
    static const struct {
        const struct contract *contract;
        const char *json;
        enum err_code code;
        const char *text;
    } cases[] = {
        {&contract_request, "[]", ERR_INVALID_REQUEST, "the request must be a map, is a list"},
        {&contract_request, "null", ERR_INVALID_REQUEST, "the request must be a map, is null"},
        {&contract_request, "{\"input\":3}", ERR_INVALID_REQUEST,
         "input must be text or a list, is a number"},
        {&contract_request, "{\"input\":{}}", ERR_INVALID_REQUEST,
         "input must be text or a list, is a map"},
        {&contract_request, "{\"stream\":\"yes\"}", ERR_INVALID_REQUEST,
         "stream must be true or false, is text"},
        {&contract_request, "{\"kind\":\"paint\"}", ERR_INVALID_REQUEST,
         "kind must be one of chat|embed, is 'paint'"},
        {&contract_request, "{\"kind\":7}", ERR_INVALID_REQUEST, "kind must be text, is a number"},
        {&contract_request, "{\"merge\":{\"policy\":\"vote\"}}", ERR_INVALID_REQUEST,
         "merge.policy must be one of all|first, is 'vote'"},
        {&contract_request, "{\"merge\":{\"policy\":\"all|first\"}}", ERR_INVALID_REQUEST,
         "merge.policy must be one of all|first, is 'all|first'"},
        {&contract_request, "{\"merge\":[]}", ERR_INVALID_REQUEST,
         "merge must be a map, is a list"},
        {&contract_request, "{\"priority\":10}", ERR_INVALID_REQUEST,
         "priority must be between 0 and 9, is 10"},
        {&contract_request, "{\"priority\":\"5\"}", ERR_INVALID_REQUEST,
         "priority must be a whole number, is text"},
        {&contract_request, "{\"deadline_ms\":1.5}", ERR_INVALID_REQUEST,
         "deadline_ms must be a whole number, is 1.5"},
        {&contract_request, "{\"params\":{\"seed\":1e300}}", ERR_INVALID_REQUEST,
         "params.seed must be a whole number, is 1e+300"},
        {&contract_request, "{\"params\":{\"seed\":9223372036854775808}}", ERR_INVALID_REQUEST,
         "params.seed must be a whole number, is 9.22337e+18"},
        {&contract_request, "{\"params\":{\"temperature\":7}}", ERR_INVALID_REQUEST,
         "params.temperature must be between 0 and 2, is 7"},
        {&contract_request, "{\"params\":{\"temperature\":\"hot\"}}", ERR_INVALID_REQUEST,
         "params.temperature must be a number, is text"},
        {&contract_request, "{\"params\":{\"tools\":{}}}", ERR_INVALID_REQUEST,
         "params.tools must be a list, is a map"},
        {&contract_request, "{\"params\":{\"tool_choice\":1}}", ERR_INVALID_REQUEST,
         "params.tool_choice must be text or a map, is a number"},
        {&contract_request, "{\"metadata\":\"x\"}", ERR_INVALID_REQUEST,
         "metadata must be a map, is text"},
        {&contract_request, "{\"models\":\"a\"}", ERR_INVALID_REQUEST,
         "models must be a list of texts, is text"},
        {&contract_request, "{\"models\":[\"a\",null]}", ERR_INVALID_REQUEST,
         "models[1] must be text, is null"},
        {&contract_request, "{\"params\":{\"stop\":[1]}}", ERR_INVALID_REQUEST,
         "params.stop[0] must be text, is a number"},
        {&contract_request, "{\"template\":{\"vars\":{},\"name\":1}}", ERR_INVALID_REQUEST,
         "template.name must be text, is a number"},
        {&contract_request, "{\"input\":\"a\\u0000\"}", ERR_INVALID_REQUEST,
         "input must not contain the character U+0000"},
        {&contract_request, "{\"models\":[\"\\u0000\"]}", ERR_INVALID_REQUEST,
         "models[0] must not contain the character U+0000"},
        {&contract_request, "{\"metadata\":{\"a\":[\"\\u0000\"]}}", ERR_INVALID_REQUEST,
         "metadata must not contain the character U+0000"},
        {&contract_request, "{\"own\":{\"\\u0000\":1}}", ERR_INVALID_REQUEST,
         "the request must not contain the character U+0000"},
        {&contract_request, "{\"params\":{\"own\":\"\\u0000\"}}", ERR_INVALID_REQUEST,
         "params must not contain the character U+0000"},
        {&contract_result, "{\"tenant\":\"t\"}", ERR_INVALID_REQUEST, "request_id is missing"},
        {&contract_result, "{\"tenant\":\"t\",\"request_id\":null}", ERR_INVALID_REQUEST,
         "request_id is missing"},
        {&contract_result, "{\"tenant\":\"\",\"request_id\":\"r\"}", ERR_INVALID_REQUEST,
         "tenant is missing"},
        {&contract_result, "{\"attempts\":[{\"run_id\":\"1\"},{}]}", ERR_INVALID_REQUEST,
         "attempts[1].run_id is missing"},
        {&contract_result, "{\"attempts\":[{\"run_id\":\"1\",\"usage\":{\"input\":-1}}]}",
         ERR_INVALID_REQUEST, "attempts[0].usage.input must be at least 0, is -1"},
        {&contract_result, "{\"attempts\":[7]}", ERR_INVALID_REQUEST,
         "attempts[0] must be a map, is a number"},
        {&contract_result, "{\"attempts\":{}}", ERR_INVALID_REQUEST,
         "attempts must be a list, is a map"},
        {&contract_result, "{\"request\":{\"merge\":{\"quorum\":0}}}", ERR_INVALID_REQUEST,
         "request.merge.quorum must be between 1 and 16, is 0"},
        {&contract_result, "{\"request\":{\"merge\":{\"quorum\":1,\"quorum\":2}}}",
         ERR_INVALID_REQUEST, "request.merge.quorum is given twice"},
        {&contract_reply, "{\"request_id\":\"r\",\"merge\":{\"agreement\":1.01}}",
         ERR_INVALID_REQUEST, "merge.agreement must be between 0 and 1, is 1.01"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        union {
            struct request request;
            struct result result;
            struct reply reply;
        } ret;
        struct err err = {0};
        if (read_text(cases[i].contract, str_of(cases[i].json), &ret, &err))
            fail_msg("%s was read", cases[i].json);
        assert_string_equal(err.text, cases[i].text);
        assert_int_equal(err.code, cases[i].code);
        assert_false(read_text(cases[i].contract, str_of(cases[i].json), &ret, NULL));
    }
}

/* `json` with every '#' replaced by `n` letters. */
static struct str padded(const char *json, size_t n)
{
    struct buf text;
    buf_init(&text, 1 << 25);
    for (; *json; json++) {
        if (*json != '#')
            buf_add_char(&text, *json);
        for (size_t i = 0; *json == '#' && i < n; i++)
            buf_add_char(&text, 'x');
    }
    struct str copy = arena_str(&arena, buf_str(&text));
    buf_done(&text);
    return copy;
}

static void limits_in_bytes_hold_at_the_border(void **state)
{
    (void)state;
    static const struct {
        const char *json; /* '#' is filled up */
        size_t fits;      /* so many letters are just right */
        const char *text;
    } cases[] = {
        {"{\"id\":\"#\"}", 128, "id must be at most 128 bytes long, is 129"},
        {"{\"tenant\":\"#\"}", 64, "tenant must be at most 64 bytes long, is 65"},
        {"{\"input\":\"#\"}", 8388608, "input must be at most 8388608 bytes long, is 8388609"},
        {"{\"models\":[\"a\",\"#\"]}", 128, "models[1] must be at most 128 bytes long, is 129"},
        /* the map, the key and its length, the length of the text: 1 + 2 + 3 */
        {"{\"metadata\":{\"k\":\"#\"}}", 65536 - 6,
         "metadata must be at most 65536 bytes long, is 65537"},
        /* the same with a length of five bytes, for what we do not know */
        {"{\"k\":\"#\"}", 262144 - 8, "the request must be at most 262144 bytes long, is 262145"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request request;
        struct err err = {0};
        if (!read_text(&contract_request, padded(cases[i].json, cases[i].fits), &request, &err))
            fail_msg("%s: %s", cases[i].json, err.text);
        assert_true(contract_check(&contract_request, &request, NULL));
        assert_false(
            read_text(&contract_request, padded(cases[i].json, cases[i].fits + 1), &request, &err));
        assert_int_equal(err.code, ERR_TOO_BIG);
        assert_string_equal(err.text, cases[i].text);
        arena_reset(&arena);
    }
}

/* "{"models":["m","m",..]}" */
static struct str with_items(const char *head, const char *item, size_t count, const char *tail)
{
    struct buf text;
    buf_init(&text, 1 << 25);
    buf_add_str(&text, str_of(head));
    for (size_t i = 0; i < count; i++)
        buf_printf(&text, "%s%s", i == 0 ? "" : ",", item);
    buf_add_str(&text, str_of(tail));
    struct str copy = arena_str(&arena, buf_str(&text));
    buf_done(&text);
    return copy;
}

static void the_number_of_items_is_bounded(void **state)
{
    (void)state;
    union {
        struct request request;
        struct result result;
    } ret;
    struct err err = {0};
    assert_true(
        read_text(&contract_request, with_items("{\"models\":[", "\"m\"", 16, "]}"), &ret, &err));
    assert_false(
        read_text(&contract_request, with_items("{\"models\":[", "\"m\"", 17, "]}"), &ret, &err));
    assert_string_equal(err.text, "models must have at most 16 items, has 17");
    assert_int_equal(err.code, ERR_INVALID_REQUEST);

    static const char head[] = "{\"request_id\":\"r\",\"tenant\":\"t\",\"attempts\":[";
    assert_true(
        read_text(&contract_result, with_items(head, "{\"run_id\":\"1\"}", 64, "]}"), &ret, &err));
    assert_false(
        read_text(&contract_result, with_items(head, "{\"run_id\":\"1\"}", 65, "]}"), &ret, &err));
    assert_string_equal(err.text, "attempts must have at most 64 items, has 65");

    assert_true(
        read_text(&contract_request, with_items("{\"messages\":[", "0", 249999, "]}"), &ret, &err));
    assert_false(
        read_text(&contract_request, with_items("{\"messages\":[", "0", 250000, "]}"), &ret, &err));
    assert_string_equal(err.text, "messages must have at most 250000 values, has 250001");
    assert_int_equal(err.code, ERR_TOO_BIG);
}

static void free_values_leave_levels_for_the_messages_they_become_part_of(void **state)
{
    (void)state;
    struct request request;
    struct err err = {0};
    char text[256];
    for (int levels = 47; levels <= 48; levels++) { /* the map is the first level */
        snprintf(text, sizeof(text), "{\"metadata\":{\"k\":%.*s%.*s}}", levels,
                 "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", levels,
                 "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
        assert_int_equal(read_text(&contract_request, str_of(text), &request, &err), levels == 47);
    }
    assert_int_equal(err.code, ERR_TOO_DEEP);
    assert_string_equal(err.text, "metadata must nest at most 48 levels, has 49");
}

static void numbers_hold_at_the_border(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool good;
    } cases[] = {
        {"{\"priority\":0}", true},
        {"{\"priority\":-1}", false},
        {"{\"priority\":9}", true},
        {"{\"priority\":9.0}", true},
        {"{\"params\":{\"temperature\":0}}", true},
        {"{\"params\":{\"temperature\":-0.0}}", true},
        {"{\"params\":{\"temperature\":2}}", true},
        {"{\"params\":{\"temperature\":2.0000001}}", false},
        {"{\"params\":{\"frequency_penalty\":-2}}", true},
        {"{\"params\":{\"frequency_penalty\":-2.1}}", false},
        {"{\"params\":{\"seed\":9223372036854775807}}", true},
        {"{\"params\":{\"seed\":-9223372036854775807}}", true},
        {"{\"params\":{\"seed\":-9223372036854775808}}", false}, /* means absent to us */
        {"{\"params\":{\"seed\":-9223372036854775808.0}}", false},
        {"{\"deadline_ms\":604800000}", true},
        {"{\"deadline_ms\":604800001}", false},
        {"{\"deadline_ms\":0}", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request request;
        struct err err = {0};
        bool good = read_text(&contract_request, str_of(cases[i].json), &request, &err);
        if (good != cases[i].good)
            fail_msg("%s: %s", cases[i].json, err.text);
    }
}

static void a_number_that_is_none_is_refused(void **state)
{
    (void)state;
    static const double odd[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 2; j++) {
            struct value *params = value_map_new(&arena, 1), *map = value_map_new(&arena, 1);
            value_map_add(params, j == 0 ? STR("top_p") : STR("seed"),
                          (struct value){.kind = VALUE_REAL, .real = odd[i]});
            value_map_add(map, STR("params"), *params);
            struct request request;
            struct err err = {0};
            assert_false(contract_read(&contract_request, map, &arena, &request, &err));
            assert_int_equal(err.code, ERR_INVALID_REQUEST);
        }
    }
}

static void keys_are_found_in_any_order(void **state)
{
    (void)state;
    static const char text[] =
        "{\"created_at\":5,\"x1\":1,\"user\":\"u\",\"id\":\"i\",\"x2\":2,\"tenant\":\"t\","
        "\"input\":\"q\",\"idx\":3,\"i\":4}";
    struct request request;
    struct err err = {0};
    if (!read_text(&contract_request, str_of(text), &request, &err))
        fail_msg("%s", err.text);
    assert_int_equal(request.created_at, 5);
    assert_true(str_is(request.user, "u") && str_is(request.id, "i"));
    assert_true(str_is(request.tenant, "t") && str_is(request_text(&request), "q"));
    assert_int_equal(request.extra->count, 4);
}

static void checking_a_struct_finds_what_a_reader_would_refuse(void **state)
{
    (void)state;
    struct result result;
    struct err err = {0};
    contract_init(&contract_result, &result);
    assert_false(contract_check(&contract_result, &result, &err));
    assert_string_equal(err.text, "request_id is missing");
    result.request_id = STR("r");
    result.tenant = STR("t");
    assert_true(contract_check(&contract_result, &result, &err));

    result.slot = 16;
    assert_false(contract_check(&contract_result, &result, &err));
    assert_string_equal(err.text, "slot must be between 0 and 15, is 16");
    result.slot = 0;
    result.status = STR("fine");
    assert_false(contract_check(&contract_result, &result, &err));
    assert_string_equal(err.text,
                        "status must be one of ok|failed|expired|cancelled|repeat|calls, is"
                        " 'fine'");
    result.status = (struct str){NULL, 0}; /* the default */
    assert_true(contract_check(&contract_result, &result, &err));

    struct attempt attempts[2];
    contract_init(&contract_attempt, &attempts[0]);
    attempts[0].run_id = STR("1");
    attempts[1] = attempts[0];
    attempts[1].error_message = STR("a\0b");
    result.attempts.items = attempts;
    result.attempts.count = 2;
    assert_false(contract_check(&contract_result, &result, &err));
    assert_string_equal(err.text, "attempts[1].error_message must not contain the character "
                                  "U+0000");
}

static void a_cloud_event_is_unwrapped_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool event;
    } cases[] = {
        {"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\","
         "\"data\":{\"input\":\"x\"}}",
         true},
        {"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"data\":{}}", false},
        {"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"data\":1}",
         false},
        {"{\"id\":\"1\",\"data\":{}}", false},
        {"[]", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct value tree;
        assert_true(contract_parse(str_of(cases[i].json), ENCODING_JSON, &arena, &tree, NULL));
        const struct value *inside = contract_unwrap(&tree);
        assert_true((inside != &tree) == cases[i].event);
        if (cases[i].event)
            assert_true(str_is(value_get_str(inside, "input"), "x"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_request_has_all_defaults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_kind_of_field_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(parts_in_lists_are_read_with_their_defaults, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said_with_its_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_in_bytes_hold_at_the_border, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_number_of_items_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            free_values_leave_levels_for_the_messages_they_become_part_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_hold_at_the_border, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_number_that_is_none_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_are_found_in_any_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(checking_a_struct_finds_what_a_reader_would_refuse, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_cloud_event_is_unwrapped_and_nothing_else, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
