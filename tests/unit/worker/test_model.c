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
                               .price_cached_input = NAN};
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
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct model priced = {.price_input = cases[i].input,
                                     .price_output = cases[i].output,
                                     .price_cached_input = cases[i].cached};
        assert_int_equal(model_cost_microusd(&priced, &cases[i].usage), cases[i].cost);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_found_by_its_name),
        cmocka_unit_test(a_default_that_is_no_model_is_refused),
        cmocka_unit_test(a_table_lives_as_long_as_somebody_holds_it),
        cmocka_unit_test(cost_is_tokens_times_price),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
