/*
 * Goal: the pages printed for other people's tools are those that were looked at and committed.
 * Method: golden files in tests/golden/contract/; after a change of schemas/ run this test with
 * QUERN_GOLDEN=write, read the difference, commit it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/contract/contract.h"
#include "common/data/json.h"

static struct buf page;

static int set_up(void **state)
{
    (void)state;
    buf_init(&page, 1 << 22);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_done(&page);
    return 0;
}

static void assert_golden(const char *name)
{
    assert_false(page.overflowed);
    char path[512];
    snprintf(path, sizeof(path), "%s/tests/golden/contract/%s", TEST_SOURCE_DIR, name);
    const char *order = getenv("QUERN_GOLDEN");
    bool write = order && strcmp(order, "write") == 0;
    FILE *file = fopen(path, write ? "w" : "r");
    if (!file)
        fail_msg("%s cannot be opened", path);
    if (write) {
        assert_int_equal(fwrite(page.data, 1, page.len, file), page.len);
    } else {
        struct buf golden;
        buf_init(&golden, 1 << 22);
        char piece[4096];
        size_t got;
        while ((got = fread(piece, 1, sizeof(piece), file)) > 0)
            buf_add(&golden, piece, got);
        if (!str_eq(buf_str(&golden), buf_str(&page)))
            fail_msg("%s is stale: run this test with QUERN_GOLDEN=write and look at the "
                     "difference",
                     path);
        buf_done(&golden);
    }
    fclose(file);
}

static void json_schemas_are_those_of_the_golden_files(void **state)
{
    (void)state;
    static const struct {
        const struct contract *contract;
        const char *file;
    } cases[] = {
        {&contract_request, "request.schema.json"},
        {&contract_result, "result.schema.json"},
        {&contract_reply, "reply.schema.json"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buf_clear(&page);
        contract_json_schema(cases[i].contract, &page);
        assert_golden(cases[i].file);
    }
}

static void asyncapi_is_that_of_the_golden_file(void **state)
{
    (void)state;
    contract_asyncapi(STR("quern"), &page);
    assert_golden("asyncapi.json");
}

static void the_reference_is_that_of_the_golden_file(void **state)
{
    (void)state;
    contract_reference(&page);
    assert_golden("reference.md");
}

/* Every "$ref" in the tree leads somewhere; returns how many there are. */
static size_t follow_refs(const struct value *value, const struct value *root)
{
    size_t count = 0;
    if (value->kind == VALUE_LIST) {
        for (uint32_t i = 0; i < value->count; i++)
            count += follow_refs(&value->items[i], root);
    } else if (value->kind == VALUE_MAP) {
        struct str rest = value_get_str(value, "$ref"), name;
        const struct value *at = root;
        if (rest.data) {
            count++;
            assert_true(str_split(&rest, '/', &name) && str_is(name, "#"));
            while (str_split(&rest, '/', &name)) {
                at = value_get(at, name);
                assert_non_null(at);
            }
        }
        for (uint32_t i = 0; i < value->count; i++)
            count += follow_refs(&value->pairs[i].value, root);
    }
    return count;
}

static void every_reference_inside_the_pages_leads_somewhere(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 1 << 24);
    for (int i = 0; i < 4; i++) {
        static const struct contract *const contracts[] = {&contract_request, &contract_result,
                                                           &contract_reply};
        buf_clear(&page);
        if (i < 3)
            contract_json_schema(contracts[i], &page);
        else
            contract_asyncapi((struct str){NULL, 0}, &page);
        struct value tree;
        struct err err = {0};
        if (!json_read(buf_str(&page), &arena, &tree, &err))
            fail_msg("%s", err.text);
        assert_true(follow_refs(&tree, &tree) >= 3);
    }
    arena_done(&arena);
}

static void topics_have_the_prefix_that_was_set(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 1 << 16);
    assert_true(
        str_is(topic_name(&arena, STR("acme"), TOPIC_REQUESTS_BATCH), "acme.requests.batch"));
    assert_true(str_is(topic_name(&arena, STR(""), TOPIC_DEAD), "dead"));
    contract_asyncapi(STR("acme.test"), &page);
    assert_non_null(strstr(page.data, "\"address\": \"acme.test.requests.batch\""));
    assert_null(strstr(page.data, "\"quern.requests\""));
    arena_done(&arena);
}

static void the_table_of_topics_is_that_of_the_rows(void **state)
{
    (void)state;
    assert_string_equal(topics[TOPIC_RESULTS].name, "results");
    assert_ptr_equal(topics[TOPIC_RESULTS].message, &contract_result);
    assert_ptr_equal(topics[TOPIC_REQUESTS_BATCH].message, &contract_request);
    assert_null(topics[TOPIC_DEAD].message);
    assert_int_equal(topics[TOPIC_REPLIES].retention_ms, 72LL * 3600 * 1000);
}

static void content_types_tell_the_encoding(void **state)
{
    (void)state;
    static const struct {
        struct str type;
        int encoding; /* -1: unknown */
    } cases[] = {
        {{NULL, 0}, ENCODING_JSON},
        {STR(""), ENCODING_JSON},
        {STR("application/json"), ENCODING_JSON},
        {STR("Application/JSON; charset=utf-8"), ENCODING_JSON},
        {STR("application/cloudevents+json; charset=UTF-8"), ENCODING_JSON},
        {STR("application/msgpack"), ENCODING_MSGPACK},
        {STR("application/x-msgpack"), ENCODING_MSGPACK},
        {STR(" application/vnd.msgpack ;v=1"), ENCODING_MSGPACK},
        {STR("text/plain"), -1},
        {STR("application/jsonx"), -1},
        {STR("application/avro"), -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum encoding encoding = (enum encoding)99;
        bool known = encoding_by_type(cases[i].type, &encoding);
        if (known != (cases[i].encoding >= 0) || (known && (int)encoding != cases[i].encoding))
            fail_msg("'" STR_FMT "'", STR_ARG(cases[i].type));
    }
    for (int i = ENCODING_JSON; i <= ENCODING_MSGPACK; i++) {
        enum encoding encoding;
        assert_true(encoding_by_type(str_of(encoding_type((enum encoding)i)), &encoding));
        assert_int_equal((int)encoding, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(json_schemas_are_those_of_the_golden_files, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(asyncapi_is_that_of_the_golden_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_reference_is_that_of_the_golden_file, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_reference_inside_the_pages_leads_somewhere, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(topics_have_the_prefix_that_was_set, set_up, tear_down),
        cmocka_unit_test(the_table_of_topics_is_that_of_the_rows),
        cmocka_unit_test(content_types_tell_the_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
