/*
 * Goal: embeddings of the largest request are read, and a reply with more numbers than a document
 * may have says what to do instead of being asked for again.
 * Method: replies as long as they get, in both forms.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/data/floats.h"
#include "worker/call/embed.h"

enum { TEXTS = REQUEST_INPUTS_MAX, BODY_BYTES_MAX = 64 << 20 };

static struct arena arena;
static struct buf body;
static struct params params;
static struct value texts[TEXTS];

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, NULL, (size_t)512 << 20);
    buf_init(&body, BODY_BYTES_MAX);
    contract_init(&contract_params, &params);
    for (size_t i = 0; i < TEXTS; i++)
        texts[i] = value_str(STR("x"));
    return 0;
}

static int end(void **state)
{
    (void)state;
    buf_done(&body);
    arena_done(&arena);
    return 0;
}

static bool decode(const char *provider, uint32_t count, struct answer *ret, struct err *err)
{
    const struct prompt prompt = {.inputs = texts, .input_count = count, .params = &params};
    const struct provider_reply reply = {.status = 200, .body = buf_str(&body)};
    *ret = (struct answer){0};
    *err = (struct err){0};
    return provider_decode(provider_by_name(str_of(provider)), &prompt, &reply, &arena, ret, err);
}

/* 12.6 million bytes of numbers: those of 2,048 texts from a usual model. */
static void the_largest_request_of_a_usual_model_is_read(void **state)
{
    (void)state;
    enum { NUMBERS = 1536 };
    static float numbers[NUMBERS];
    struct answer answer;
    struct err err;
    buf_add_str(&body, STR("{\"data\":["));
    for (uint32_t i = TEXTS; i-- > 0;) {
        for (size_t k = 0; k < NUMBERS; k++)
            numbers[k] = (float)i + (float)k / NUMBERS;
        struct str vector = floats_text(numbers, NUMBERS, &arena);
        buf_printf(&body, "{\"index\":%u,\"embedding\":\"" STR_FMT "\"}%s", i, STR_ARG(vector),
                   i ? "," : "");
    }
    buf_add_str(&body, STR("],\"usage\":{\"prompt_tokens\":2048}}"));
    assert_true(decode("openai", TEXTS, &answer, &err));
    assert_int_equal(answer.embeddings.count, TEXTS);
    assert_int_equal(answer.usage.input, TEXTS);
    numbers[0] = 7;
    for (size_t k = 0; k < NUMBERS; k++)
        numbers[k] = 7 + (float)k / NUMBERS;
    assert_true(str_eq(answer.embeddings.items[7], floats_text(numbers, NUMBERS, &arena)));
    assert_true(arena_overflowed(&arena) == false);
}

static void write_numbers(uint32_t count, uint32_t dimensions)
{
    buf_clear(&body);
    buf_add_str(&body, STR("{\"embeddings\":["));
    for (uint32_t i = 0; i < count; i++) {
        buf_add_str(&body, i ? STR(",[0.5") : STR("[0.5"));
        for (uint32_t k = 1; k < dimensions; k++)
            buf_add_str(&body, STR(",0.25"));
        buf_add_char(&body, ']');
    }
    buf_add_str(&body, STR("]}"));
}

static void more_numbers_than_a_document_may_have_are_too_big(void **state)
{
    (void)state;
    struct answer answer;
    struct err err;
    write_numbers(970, 1024);
    assert_true(decode("ollama", 970, &answer, &err));
    assert_int_equal(answer.embeddings.count, 970);
    write_numbers(980, 1024);
    assert_false(decode("ollama", 980, &answer, &err));
    assert_int_equal(err.code, ERR_TOO_BIG);
    assert_int_equal(err.retry, RETRY_NEVER);
    assert_string_equal(err.text,
                        "the provider's reply: the document has more than 1000000 values");
}

static void a_vector_has_its_limit_too(void **state)
{
    (void)state;
    struct answer answer;
    struct err err;
    write_numbers(1, EMBED_DIMENSIONS_MAX);
    assert_true(decode("ollama", 1, &answer, &err));
    assert_int_equal(answer.embeddings.items[0].len, 131072); /* as in schemas/result.def */
    write_numbers(1, EMBED_DIMENSIONS_MAX + 1);
    assert_false(decode("ollama", 1, &answer, &err));
    assert_int_equal(err.code, ERR_PROVIDER_BAD_REPLY);
}

/* Two vectors whose order only their index tells. */
static void an_index_that_cannot_be_read_is_no_place(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        int place; /* of the first vector; -1: refused */
    } cases[] = {{"1", "0", 1},
                 {"0", "1", 0},
                 {"1.0", "0.0", 1},
                 {"null", "null", 0},
                 {"\"1\"", "\"0\"", -1},
                 {"0.5", "1", -1},
                 {"18446744073709551616", "0", -1},
                 {"1e300", "0", -1},
                 {"[1]", "0", -1},
                 {"true", "0", -1},
                 {"1", "1", -1},
                 {"-0.0", "1", 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer;
        struct err err;
        buf_clear(&body);
        buf_printf(&body,
                   "{\"data\":[{\"index\":%s,\"embedding\":[1]},{\"index\":%s,\"embedding\":[2]}]}",
                   cases[i].first, cases[i].second);
        bool good = decode("openai", 2, &answer, &err);
        if (good != (cases[i].place >= 0))
            fail_msg("%s", buf_str(&body).data);
        if (!good)
            assert_int_equal(err.code, ERR_PROVIDER_BAD_REPLY);
        else
            assert_true(str_is(answer.embeddings.items[cases[i].place], "AACAPw=="));
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_largest_request_of_a_usual_model_is_read),
        TEST(more_numbers_than_a_document_may_have_are_too_big),
        TEST(a_vector_has_its_limit_too),
        TEST(an_index_that_cannot_be_read_is_no_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
