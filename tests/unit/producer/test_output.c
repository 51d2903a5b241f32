/*
 * Goal: output lines have OpenAI's form, or are reply documents, and tell again which line they are
 * of.
 * Method: replies written, compared byte for byte, and read back for their name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/data/json.h"
#include "producer/batch/output.h"

static struct arena arena;
static struct buf out;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 1 << 20);
    buf_init(&out, 1 << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    buf_done(&out);
    arena_done(&arena);
    return 0;
}

static void make_reply(struct reply *reply, const char *status)
{
    contract_init(&contract_reply, reply);
    reply->request_id = STR("b:c");
    reply->status = str_of(status);
    reply->text = STR("hi");
    reply->usage = (struct usage){.input = 3, .output = 2, .cached_input = 1, .reasoning = 1};
    reply->error.code = STR("expired");
    reply->error.message = STR("too late");
}

static const struct output_line openai = {.openai = true,
                                          .custom_id = {"c", 1},
                                          .request_id = {"b:c", 3},
                                          .model = {"m", 1},
                                          .number = 4};

static void assert_name(const char *want, bool want_failed)
{
    struct value written;
    bool failed = !want_failed;
    assert_int_equal(out.data[out.len - 1], '\n');
    assert_true(json_read(str_from(out.data, out.len - 1), &arena, &written, NULL));
    assert_true(str_is(output_key_written(&arena, &written, &failed), want));
    assert_int_equal(failed, want_failed);
}

static void an_answer_has_the_form_of_a_chat_completion(void **state)
{
    (void)state;
    struct reply reply;
    make_reply(&reply, "done");
    output_reply(&openai, &reply, 1700000000, &out);
    assert_string_equal(
        strchr(out.data, ','),
        ",\"custom_id\":\"c\",\"response\":{\"status_code\":200,\"request_id\":\"b:c\",\"body\":{"
        "\"id\":\"chatcmpl-333edf7c3ca371622cc3029b\",\"object\":\"chat.completion\","
        "\"created\":1700000000,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
        "\"assistant\",\"content\":\"hi\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":"
        "\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,"
        "\"prompt_tokens_details\":{\"cached_tokens\":1},\"completion_tokens_details\":{"
        "\"reasoning_tokens\":1}}}},\"error\":null}\n");
    assert_name("c:c", false);
    assert_true(str_is(output_key_line(&arena, &openai), "c:c"));
}

static void vectors_have_the_form_of_an_embeddings_list(void **state)
{
    (void)state;
    struct reply reply;
    struct str vectors[] = {STR("AACAPwAAAL8="), STR("zczMPQAAAAA=")}; /* 1 -0.5, 0.1 0 */
    struct output_line line = openai;
    make_reply(&reply, "done");
    reply.text = (struct str){0};
    reply.usage = (struct usage){.input = 3};
    reply.embeddings = (struct str_list){vectors, 2};
    line.numbers = true;
    output_reply(&line, &reply, 1, &out);
    assert_string_equal(
        strchr(out.data, ','),
        ",\"custom_id\":\"c\",\"response\":{\"status_code\":200,\"request_id\":\"b:c\",\"body\":{"
        "\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[1.0,-0."
        "5]"
        "},{\"object\":\"embedding\",\"index\":1,\"embedding\":[0.1,0.0]}],\"model\":\"m\","
        "\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}},\"error\":null}\n");
    assert_name("c:c", false);

    buf_clear(&out);
    line.numbers = false;
    output_reply(&line, &reply, 1, &out);
    assert_non_null(strstr(out.data, "\"index\":1,\"embedding\":\"zczMPQAAAAA=\"}"));
    assert_name("c:c", false);
}

static void a_failed_reply_has_an_error_and_no_response(void **state)
{
    (void)state;
    struct reply reply;
    make_reply(&reply, "expired");
    output_reply(&openai, &reply, 1, &out);
    assert_string_equal(strchr(out.data, ','),
                        ",\"custom_id\":\"c\",\"response\":null,\"error\":{\"code\":\"expired\","
                        "\"message\":\"too late\"}}\n");
    assert_name("c:c", true);
}

static void a_document_of_ours_is_answered_by_the_reply(void **state)
{
    (void)state;
    const struct output_line own = {.request_id = {"b:4", 3}, .number = 4};
    struct reply reply;
    make_reply(&reply, "done");
    reply.request_id = own.request_id;
    reply.error = (struct failure){.retry = STR("never")};
    output_reply(&own, &reply, 1, &out);
    assert_string_equal(out.data,
                        "{\"request_id\":\"b:4\",\"status\":\"done\",\"text\":\"hi\",\"usage\":{"
                        "\"input\":3,\"output\":2,\"cached_input\":1,\"reasoning\":1}}\n");
    assert_name("r:b:4", false);
    assert_true(str_is(output_key_line(&arena, &own), "r:b:4"));
}

static void a_refused_line_is_known_by_its_number(void **state)
{
    (void)state;
    struct err err;
    const struct output_line line = {.openai = true, .number = 17};
    err_set(&err, ERR_INVALID_ENCODING, "not valid JSON");
    output_refused(&line, &err, &out);
    assert_string_equal(out.data,
                        "{\"id\":\"batch_req_line_17\",\"custom_id\":null,\"line\":17,\"response\":"
                        "null,\"error\":{\"code\":\"invalid_encoding\",\"message\":\"not valid "
                        "JSON\"}}\n");
    assert_name("#17", true);
    assert_true(str_is(output_key_number(&arena, 17), "#17"));
}

static void a_foreign_line_has_no_name(void **state)
{
    (void)state;
    struct value written;
    assert_true(json_read(STR("{\"custom_id\":\"c\",\"body\":{}}"), &arena, &written, NULL));
    assert_null(output_key_written(&arena, &written, NULL).data);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_has_the_form_of_a_chat_completion),
        TEST(vectors_have_the_form_of_an_embeddings_list),
        TEST(a_failed_reply_has_an_error_and_no_response),
        TEST(a_document_of_ours_is_answered_by_the_reply),
        TEST(a_refused_line_is_known_by_its_number),
        TEST(a_foreign_line_has_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
