/*
 * Goal: lines of a batch file become the requests they mean, and what they cannot mean is said.
 * Method: a table of lines; the request is compared in the contract's own JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "producer/batch/line.h"

static const struct batch_defaults defaults = {.batch_id = {"b", 1}, .deadline_ms = 1000};

static const struct {
    const char *text, *want; /* the request in JSON, or a piece of the error */
    const char *custom_id;
    bool good;
} cases[] = {
    {"{\"custom_id\":\"c\",\"method\":\"POST\",\"url\":\"/v1/chat/"
     "completions\",\"body\":{\"model\":"
     "\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"temperature\":1}}",
     "{\"id\":\"b:c\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"models\":[\"m\"],"
     "\"params\":{\"temperature\":1.0},\"deadline_ms\":1000}",
     "c", true},
    /* max_completion_tokens is max_tokens, one stop text is a list, streaming means nothing here */
    {"{\"custom_id\":\"c\",\"body\":{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
     "\"max_completion_tokens\":7,\"stop\":\"end\",\"stream\":true,\"n\":1,\"user\":\"u\"}}",
     "{\"id\":\"b:c\",\"user\":\"u\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
     "\"params\":{\"max_tokens\":7,\"stop\":[\"end\"]},\"deadline_ms\":1000}",
     "c", true},
    /* unknown settings are passed on */
    {"{\"custom_id\":\"c\",\"body\":{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
     "\"logit_bias\":{\"1\":2}}}",
     "{\"id\":\"b:c\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
     "\"params\":{\"logit_bias\":{\"1\":2}},\"deadline_ms\":1000}",
     "c", true},
    {"{\"input\":\"q\"}", "{\"id\":\"b:5\",\"input\":\"q\",\"deadline_ms\":1000}", NULL, true},
    {"{\"id\":\"own\",\"input\":\"q\",\"deadline_ms\":5}",
     "{\"id\":\"own\",\"input\":\"q\",\"deadline_ms\":5}", NULL, true},
    {"nonsense", "not valid JSON", NULL, false},
    {"[]", "", NULL, false},
    {"{\"custom_id\":5,\"body\":{}}", "custom_id must be a text", NULL, false},
    {"{\"custom_id\":\"\",\"body\":{}}", "custom_id must be a text", "", false},
    {"{\"custom_id\":\"c\"}", "body must be an object", "c", false},
    {"{\"custom_id\":\"c\",\"method\":\"GET\",\"body\":{}}", "method must be POST", "c", false},
    {"{\"custom_id\":\"c\",\"url\":\"/v1/responses\",\"body\":{}}",
     "url must be /v1/chat/completions or /v1/embeddings, is '/v1/responses'", "c", false},
    {"{\"custom_id\":\"c\",\"url\":\"/v1/embeddings\",\"body\":{\"model\":\"m\",\"input\":[\"x\","
     "\"y\"],\"dimensions\":3,\"user\":\"u\",\"encoding_format\":\"float\"}}",
     "{\"id\":\"b:c\",\"user\":\"u\",\"kind\":\"embed\",\"input\":[\"x\",\"y\"],\"models\":[\"m\"],"
     "\"params\":{\"dimensions\":3},\"deadline_ms\":1000}",
     "c", true},
    {"{\"custom_id\":\"c\",\"url\":\"/v1/embeddings\",\"body\":{\"input\":[]}}",
     "input must have a text at least", "c", false},
    {"{\"custom_id\":\"c\",\"url\":\"/v1/embeddings\",\"body\":{\"input\":[[1,2]]}}",
     "tokens are not taken", "c", false},
    {"{\"custom_id\":\"c\",\"url\":\"/v1/embeddings\",\"body\":{\"input\":\"x\","
     "\"encoding_format\":\"hex\"}}",
     "body.encoding_format must be float or base64", "c", false},
    {"{\"kind\":\"embed\",\"input\":\"q\"}",
     "{\"id\":\"b:5\",\"kind\":\"embed\",\"input\":\"q\",\"deadline_ms\":1000}", NULL, true},
    {"{\"custom_id\":\"c\",\"body\":{\"n\":2,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}"
     "}",
     "body.n must be 1", "c", false},
    {"{\"custom_id\":\"c\",\"body\":{}}", "", "c", false},
    {"{\"custom_id\":\"c\",\"body\":{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
     "\"temperature\":9}}",
     "params.temperature", "c", false},
};

static void lines_become_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena;
        struct batch_line line;
        struct err err = {0};
        struct buf text;
        arena_init(&arena, NULL, 1 << 20);
        buf_init(&text, 1 << 20);
        bool good = batch_line_read(str_of(cases[i].text), 5, &defaults, &arena, &line, &err);
        if (good)
            contract_write(&contract_request, &line.request, ENCODING_JSON, &text);
        else
            buf_add_str(&text, str_of(err.text));
        buf_add_char(&text, '\0');
        if (good != cases[i].good || !strstr(text.data, cases[i].want) ||
            (good && strcmp(text.data, cases[i].want) != 0))
            fail_msg("%s\ngave    %s\nwanted  %s", cases[i].text, text.data, cases[i].want);
        assert_true(cases[i].custom_id ? str_is(line.custom_id, cases[i].custom_id)
                                       : !line.custom_id.data);
        buf_done(&text);
        arena_done(&arena);
    }
}

static void read_one(const char *text, const struct batch_defaults *with, struct arena *arena,
                     struct batch_line *ret)
{
    struct err err = {0};
    if (!batch_line_read(str_of(text), 1, with, arena, ret, &err))
        fail_msg("%s: %s", text, err.text);
}

static void a_long_or_odd_custom_id_becomes_a_hash_that_fits(void **state)
{
    (void)state;
    static const char *const ids[] = {"two words", "a\\u0007b", NULL};
    for (int i = 0; i < 3; i++) {
        struct arena arena;
        struct batch_line line;
        char text[512];
        arena_init(&arena, NULL, 1 << 20);
        if (ids[i])
            snprintf(text, sizeof(text),
                     "{\"custom_id\":\"%s\",\"body\":{\"messages\":"
                     "[{\"role\":\"user\",\"content\":\"q\"}]}}",
                     ids[i]);
        else
            snprintf(text, sizeof(text),
                     "{\"custom_id\":\"%0200d\",\"body\":{\"messages\":"
                     "[{\"role\":\"user\",\"content\":\"q\"}]}}",
                     7);
        read_one(text, &defaults, &arena, &line);
        assert_true(str_starts(line.request.id, STR("b:sha256-")));
        assert_true(line.request.id.len <= 128);
        arena_done(&arena);
    }
}

static void the_command_line_fills_what_the_file_leaves_open(void **state)
{
    (void)state;
    const struct batch_defaults with = {
        .batch_id = {"b", 1}, .model = {"mine", 4}, .tenant = {"t", 1}, .deadline_ms = 9};
    struct arena arena;
    struct batch_line line;
    arena_init(&arena, NULL, 1 << 20);
    read_one("{\"input\":\"q\",\"models\":[\"x\",\"y\"],\"tenant\":\"own\"}", &with, &arena, &line);
    assert_int_equal(line.request.models.count, 1);
    assert_true(str_is(line.request.models.items[0], "mine"));
    assert_true(str_is(line.request.tenant, "own"));
    assert_int_equal(line.request.deadline_ms, 9);
    read_one("{\"input\":\"q\"}", &with, &arena, &line);
    assert_true(str_is(line.request.tenant, "t"));
    arena_done(&arena);
}

static void vectors_are_written_as_the_line_asks(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        bool numbers;
    } formats[] = {{"", true},
                   {",\"encoding_format\":\"float\"", true},
                   {",\"encoding_format\":\"base64\"", false}};
    for (size_t i = 0; i < 3; i++) {
        struct arena arena;
        struct batch_line line;
        char text[200];
        arena_init(&arena, NULL, 1 << 20);
        snprintf(text, sizeof(text),
                 "{\"custom_id\":\"c\",\"url\":\"/v1/embeddings\",\"body\":{\"input\":\"x\"%s}}",
                 formats[i].format);
        read_one(text, &defaults, &arena, &line);
        assert_int_equal(line.numbers, formats[i].numbers);
        arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_requests),
        cmocka_unit_test(a_long_or_odd_custom_id_becomes_a_hash_that_fits),
        cmocka_unit_test(vectors_are_written_as_the_line_asks),
        cmocka_unit_test(the_command_line_fills_what_the_file_leaves_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
