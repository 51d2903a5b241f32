/*
 * Goal: the table of models is built from the configuration or refused with a reason, and costs add
 * up.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/call/model.h"

static struct model_conf model(const char *name)
{
    return (struct model_conf){.name = str_of(name),
                               .provider = STR("openai"),
                               .model = STR(""),
                               .base_url = STR("http://127.0.0.1:1//"),
                               .api_key = STR("k"),
                               .api = STR("chat"),
                               .api_version = STR("2024-10-21"),
                               .temperature = NAN,
                               .attempts_max = 4,
                               .price_input = 0.15,
                               .price_output = 0.6,
                               .price_cached_input = NAN,
                               .price_cache_write = NAN};
}

static void a_model_is_found_by_its_name(void **state)
{
    (void)state;
    struct model_conf models[] = {model("small"), model("large")};
    struct shared_conf conf = {.models = {models, 2}, .default_model = STR("large")};
    struct err err;
    struct model_table *table = model_table_new(&conf, NULL, &err);
    assert_non_null(table);
    const struct model *found = model_find(table, STR("small"));
    assert_non_null(found);
    assert_true(str_is(found->dialect.model, "small"));
    assert_true(str_is(found->dialect.base_url, "http://127.0.0.1:1"));
    assert_null(model_find(table, STR("none")));
    assert_true(str_is(found->dialect.api_version, "2024-10-21"));
    assert_true(str_is(model_default(table), "large"));
    model_table_release(table);
}

static void a_default_that_is_no_model_is_refused(void **state)
{
    (void)state;
    struct model_conf models[] = {model("small")};
    struct shared_conf conf = {.models = {models, 1}, .default_model = STR("smal")};
    struct err err;
    assert_null(model_table_new(&conf, NULL, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    assert_non_null(strstr(err.text, "'smal'"));
}

static void a_table_lives_as_long_as_somebody_holds_it(void **state)
{
    (void)state;
    struct model_conf models[] = {model("small")};
    struct shared_conf conf = {.models = {models, 1}};
    struct err err;
    struct model_table *table = model_table_new(&conf, NULL, &err);
    model_table_hold(table);
    model_table_release(table);
    assert_non_null(model_find(table, STR("small"))); /* ASan would tell */
    model_table_release(table);
}

struct cost_case {
    double input, output, cached;
    struct usage usage;
    int64_t cost;
};

static void cost_is_tokens_times_price(void **state)
{
    (void)state;
    static const struct cost_case cases[] = {
        {1, 2, NAN, {.input = 10, .output = 5}, 20},
        {0.15, 0.6, NAN, {.input = 1000, .output = 100}, 210},
        {1, 2, 0.1, {.input = 100, .output = 0, .cached_input = 60}, 46},
        {1, 2, NAN, {.input = 100, .output = 0, .cached_input = 60}, 100},
        {1,
         2,
         0.5,
         {.input = 10, .output = 0, .cached_input = 60},
         5}, /* more cached than there is */
        {0.4, 0.4, NAN, {.input = 1, .output = 0}, 0},
        {NAN, 2, NAN, {.input = 10, .output = 5}, INT_ABSENT},
        {1, NAN, NAN, {.input = 10, .output = 5}, INT_ABSENT},
        {0.02, NAN, NAN, {.input = 1000}, 20}, /* embeddings have no output */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct model priced = {
            .price = {cases[i].input, cases[i].output, cases[i].cached, NAN}};
        assert_int_equal(model_cost_microusd(&priced, &cases[i].usage), cases[i].cost);
    }
}

/* A provider's own usage, and what the call costs at 3, 15, 0.30 and 3.75 dollars. */
struct told_case {
    const struct provider *provider;
    const char *usage;
    int64_t input, cached, written, cost;
};

static int64_t cost_of(const struct told_case *c, struct answer *ret)
{
    static const struct model priced = {.price = {3, 15, 0.30, 3.75}};
    struct arena arena;
    struct err err = {0};
    char body[1000];
    bool claude = str_is(str_of(c->provider->name), "anthropic");
    snprintf(body, sizeof(body),
             claude
                 ? "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"text\","
                   "\"text\":\"hi\"}],\"stop_reason\":\"end_turn\",\"usage\":%s}"
                 : "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},"
                   "\"finish_reason\":\"stop\"}],\"usage\":%s}",
             c->usage);
    const struct provider_reply reply = {.status = 200, .body = str_of(body)};
    arena_init(&arena, NULL, 1 << 20);
    *ret = (struct answer){0};
    assert_true(c->provider->decode(&reply, &arena, ret, &err));
    int64_t cost = model_cost_microusd(&priced, &ret->usage);
    arena_done(&arena);
    return cost;
}

/* OpenAI's input has the cached tokens in it, Anthropic's has neither those nor the written ones:
 * the same call costs the same, however it is told. */
static void cached_tokens_cost_the_same_in_both_senses(void **state)
{
    (void)state;
    const struct told_case cases[] = {
        {provider_by_name(STR("openai")),
         "{\"prompt_tokens\":1000,\"completion_tokens\":10,"
         "\"prompt_tokens_details\":{\"cached_tokens\":600}}",
         1000, 600, 0, 400 * 3 + 180 + 150},
        {provider_by_name(STR("anthropic")),
         "{\"input_tokens\":400,\"output_tokens\":10,\"cache_read_input_tokens\":600}", 1000, 600,
         0, 400 * 3 + 180 + 150},
        {provider_by_name(STR("anthropic")),
         "{\"input_tokens\":300,\"output_tokens\":10,\"cache_read_input_tokens\":600,"
         "\"cache_creation_input_tokens\":100}",
         1000, 600, 100, 300 * 3 + 180 + 375 + 150},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer;
        assert_int_equal(cost_of(&cases[i], &answer), cases[i].cost);
        assert_int_equal(answer.usage.input, cases[i].input);
        assert_int_equal(answer.usage.cached_input, cases[i].cached);
        assert_int_equal(answer.usage.cache_write, cases[i].written);
    }
}

/* Half a millionth goes up, and nothing is lost on the way: 0.15 * 10 is no 1.4999. */
static void costs_are_rounded_once(void **state)
{
    (void)state;
    const struct model priced = {.price = {0.15, 0.6, 0.075, NAN}};
    assert_int_equal(model_cost_microusd(&priced, &(struct usage){.input = 10}), 2);
    assert_int_equal(model_cost_microusd(&priced, &(struct usage){.input = 3}), 0);
    assert_int_equal(
        model_cost_microusd(&priced, &(struct usage){.input = 4, .cached_input = 1, .output = 1}),
        1);
    assert_int_equal(model_cost_microusd(&priced, &(struct usage){.input = 1000000000}), 150000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_found_by_its_name),
        cmocka_unit_test(a_default_that_is_no_model_is_refused),
        cmocka_unit_test(a_table_lives_as_long_as_somebody_holds_it),
        cmocka_unit_test(cost_is_tokens_times_price),
        cmocka_unit_test(cached_tokens_cost_the_same_in_both_senses),
        cmocka_unit_test(costs_are_rounded_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
