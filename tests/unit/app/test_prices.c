/*
 * Goal: the file of prices is read or refused with its line, the closest name counts, a model's own
 * settings win, and the file that we ship is one.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/app/prices.h"

static struct prices *load(const char *text, struct err *err)
{
    char path[] = "/tmp/quern-prices.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    struct prices *prices = prices_load(str_of(path), err);
    unlink(path);
    return prices;
}

static struct model_conf model(const char *provider, const char *name)
{
    return (struct model_conf){.name = STR("m"),
                               .provider = str_of(provider),
                               .model = str_of(name),
                               .price_input = NAN,
                               .price_output = NAN,
                               .price_cached_input = NAN,
                               .price_cache_write = NAN};
}

#define FILE_TEXT                                                                                  \
    "date: 2025-01-31\nprices:\n"                                                                  \
    "  openai/gpt-4o: {input: 2.5, output: 10, cached_input: 1.25}\n"                              \
    "  openai/gpt-4o-20*: {input: 2, output: 8}\n"                                                 \
    "  openai/gpt-4o-2024-05-13: {input: 5, output: 15}\n"                                         \
    "  openai/*-mini: {input: 1, output: 4}\n"                                                     \
    "  ollama/*: {input: 0, output: 0}\n"

static void the_closest_name_counts(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *model;
        double input;
    } cases[] = {
        {"openai", "gpt-4o", 2.5},          {"openai", "gpt-4o-2024-11-20", 2},
        {"openai", "gpt-4o-2024-05-13", 5}, {"openai", "o3-mini", 1},
        {"openai", "gpt-4o-audio", NAN},    {"anthropic", "gpt-4o", NAN},
        {"ollama", "llama3:8b", 0},         {"openai", "GPT-4o", NAN},
    };
    struct err err;
    struct price price;
    struct prices *prices = load(FILE_TEXT, &err);
    assert_non_null(prices);
    assert_true(str_is(prices_date(prices), "2025-01-31"));
    assert_int_equal(prices_count(prices), 5);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model_conf m = model(cases[i].provider, cases[i].model);
        assert_int_equal(prices_of(prices, &m, &price), !isnan(cases[i].input));
        assert_true(isnan(cases[i].input) || price.input == cases[i].input);
    }
    prices_free(prices);
}

static void a_models_own_prices_win(void **state)
{
    (void)state;
    struct err err;
    struct price price;
    struct prices *prices = load(FILE_TEXT, &err);
    struct model_conf m = model("openai", "gpt-4o");
    m.price_output = 11;
    assert_true(prices_of(prices, &m, &price));
    assert_true(price.input == 2.5 && price.output == 11 && price.cached_input == 1.25);
    m.price_input = 3; /* both: the file is of no interest, its cached price neither */
    assert_true(prices_of(prices, &m, &price));
    assert_true(price.input == 3 && price.output == 11 && isnan(price.cached_input));
    prices_free(prices);
}

static void without_a_file_only_settings_count(void **state)
{
    (void)state;
    struct err err;
    struct price price;
    struct prices *prices = prices_load((struct str){0}, &err);
    struct model_conf m = model("openai", "gpt-4o");
    assert_non_null(prices);
    assert_false(prices_of(prices, &m, &price));
    m.price_input = 1;
    assert_false(prices_of(prices, &m, &price));
    m.price_output = 0;
    assert_true(prices_of(prices, &m, &price));
    prices_free(prices);
}

static void bad_files_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"prices: {}\n", "date"},
        {"date: 2025-01-01\nprices:\n  gpt-4o: {input: 1, output: 2}\n", "PROVIDER/MODEL"},
        {"date: 2025-01-01\nprices:\n  opanai/x: {input: 1, output: 2}\n", "opanai/x"},
        {"date: 2025-01-01\nprices:\n  openai/: {input: 1, output: 2}\n", "PROVIDER/MODEL"},
        {"date: 2025-01-01\nprices:\n  openai/x: {input: 1}\n", "output"},
        {"date: 2025-01-01\nprices:\n  openai/x: {input: -1, output: 2}\n", "input"},
        {"date: 2025-01-01\nprices:\n  openai/x: {input: 1, output: 2, cashed_input: 1}\n",
         "cached_input"},
        {"date: 2025-01-01\ncurrency: EUR\n", "currency"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        assert_null(load(cases[i].text, &err));
        assert_int_equal(err.code, ERR_CONFIG);
        assert_non_null(strstr(err.text, cases[i].says));
    }
    struct err err = {0};
    assert_null(prices_load(STR("/nowhere/prices.yaml"), &err));
    assert_non_null(strstr(err.text, "/nowhere/prices.yaml"));
}

static void our_own_file_is_one(void **state)
{
    (void)state;
    struct err err;
    struct price price;
    struct prices *prices = prices_load(STR(TEST_SOURCE_DIR "/deploy/prices.yaml"), &err);
    if (!prices)
        fail_msg("%s", err.text);
    struct model_conf m = model("anthropic", "claude-sonnet-4-20250514");
    assert_true(prices_of(prices, &m, &price));
    assert_true(price.cached_input < price.input && price.input < price.cache_write);
    assert_int_equal(prices_date(prices).len, strlen("2025-01-01"));
    prices_free(prices);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_closest_name_counts),
        cmocka_unit_test(a_models_own_prices_win),
        cmocka_unit_test(without_a_file_only_settings_count),
        cmocka_unit_test(bad_files_are_refused_with_a_reason),
        cmocka_unit_test(our_own_file_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
