/*
 * Goal: the order of a route's models is what its policy says; keys and latencies are counted as
 * their headers say.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker/call/keyring.h"
#include "worker/call/keys.h"
#include "worker/call/latency.h"
#include "worker/call/route.h"

/* The order as text, "abc". */
static const char *order(struct route_rule rule, const struct route_facts *facts, size_t count,
                         struct route_ask ask)
{
    static char text[ROUTE_CANDIDATES_MAX + 1];
    unsigned ret[ROUTE_CANDIDATES_MAX];
    size_t n = route_order(&rule, facts, count, &ask, ret);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)('a' + ret[i]);
    text[n] = '\0';
    return text;
}

static void each_policy_has_its_order(void **state)
{
    static const struct route_facts facts[] = {
        {.latency_ms = 300, .cost = 5, .weight = 1},
        {.latency_ms = 100, .cost = NAN, .weight = 1},
        {.latency_ms = 200, .cost = 1, .weight = 1, .local = true},
    };
    static const struct {
        struct route_rule rule;
        int64_t budget_ms;
        const char *order;
    } cases[] = {
        {{.policy = ROUTE_ORDERED}, 0, "abc"},
        {{.policy = ROUTE_ORDERED, .prefer_local = true}, 0, "cab"},
        {{.policy = ROUTE_CHEAPEST}, 0, "cab"},
        {{.policy = ROUTE_RULE, .local_under_ms = 500}, 499, "cab"},
        {{.policy = ROUTE_RULE, .local_under_ms = 500}, 500, "abc"},
        {{.policy = ROUTE_RULE, .local_under_ms = 500}, 0, "abc"},
        {{.policy = ROUTE_ORDERED, .local_under_ms = 500}, 10, "abc"},
        {{.policy = ROUTE_LEAST_LATENCY}, 0, "bca"},
        {{.policy = ROUTE_LEAST_LATENCY, .prefer_local = true}, 0, "cba"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(
            order(cases[i].rule, facts, 3, (struct route_ask){.budget_ms = cases[i].budget_ms}),
            cases[i].order);
}

static void who_is_away_or_has_no_key_goes_last_and_who_is_too_small_not_at_all(void **state)
{
    static const struct route_facts facts[] = {
        {.no_key = true}, {.away = true, .local = true}, {.context_tokens = 100}, {0},
        {.local = true},
    };
    (void)state;
    assert_string_equal(order((struct route_rule){0}, facts, 5, (struct route_ask){.tokens = 101}),
                        "deba");
    assert_string_equal(order((struct route_rule){0}, facts, 5, (struct route_ask){.tokens = 100}),
                        "cdeba");
    assert_string_equal(order((struct route_rule){.prefer_local = true}, facts, 5,
                              (struct route_ask){.tokens = 101}),
                        "edba");
    assert_string_equal(
        order((struct route_rule){0}, &facts[2], 1, (struct route_ask){.tokens = 101}), "");
}

static void weights_are_shares_and_zero_is_the_last_resort(void **state)
{
    static const struct route_facts facts[] = {{.weight = 3}, {.weight = 1}, {.weight = 0}};
    size_t first[3] = {0}, second[3] = {0};
    (void)state;
    for (uint64_t n = 0; n < 4000; n++) {
        const char *o = order((struct route_rule){.policy = ROUTE_WEIGHTED}, facts, 3,
                              (struct route_ask){.random = n});
        assert_int_equal(strlen(o), 3);
        first[o[0] - 'a']++;
        second[o[1] - 'a']++;
    }
    assert_in_range(first[0], 2850, 3150);
    assert_int_equal(first[2], 0);
    assert_int_equal(second[2], 0);
    struct route_ask ask = {.random = 7};
    char once[8];
    snprintf(once, sizeof(once), "%s",
             order((struct route_rule){.policy = ROUTE_WEIGHTED}, facts, 3, ask));
    assert_string_equal(order((struct route_rule){.policy = ROUTE_WEIGHTED}, facts, 3, ask), once);
}

static void who_was_not_asked_lately_is_looked_at_now_and_then(void **state)
{
    static const struct route_facts facts[] = {{.latency_ms = 10},
                                               {.latency_ms = 900, .stale = true},
                                               {.latency_ms = 800, .stale = true, .away = true}};
    size_t explored = 0;
    (void)state;
    for (uint64_t n = 0; n < 8000; n++) {
        const char *o = order((struct route_rule){.policy = ROUTE_LEAST_LATENCY}, facts, 3,
                              (struct route_ask){.random = n});
        explored += o[0] == 'b';
        assert_int_not_equal(o[0], 'c');
    }
    assert_in_range(explored, 850, 1150);
}

static void fill(struct keys *keys, size_t count)
{
    static struct key_state states[KEYS_MAX];
    memset(states, 0, sizeof(states));
    *keys = (struct keys){0};
    for (size_t i = 0; i < count; i++)
        keys_add(keys, &states[i]);
}

static void keys_are_taken_in_turn_and_the_idle_one_first(void **state)
{
    struct keys keys;
    (void)state;
    fill(&keys, 3);
    for (int i = 0; i < 6; i++)
        assert_int_equal(keys_pick(&keys, 0), i % 3);
    keys_began(&keys, 0);
    keys_began(&keys, 2);
    for (int i = 0; i < 3; i++)
        assert_int_equal(keys_pick(&keys, 0), 1);
    keys_ended(&keys, 0);
    assert_int_equal(keys_pick(&keys, 0), 0);
}

static void refused_keys_are_benched_the_last_one_shortly(void **state)
{
    struct keys keys;
    (void)state;
    fill(&keys, 3);
    assert_int_equal(keys_refused(&keys, 0, 401, 1000), KEY_REFUSED_MS);
    assert_int_equal(keys_refused(&keys, 1, 403, 1000), KEY_REFUSED_MS);
    assert_int_equal(keys_pick(&keys, 1000), 2);
    assert_int_equal(keys_refused(&keys, 2, 403, 1000), 0);
    assert_int_equal(keys_pick(&keys, 1000), 2);
    assert_false(keys_all_refused(&keys, 1000));
    assert_int_equal(keys_refused(&keys, 2, 401, 1000), KEY_LAST_MS);
    assert_int_equal(keys_pick(&keys, 1000), -1);
    assert_true(keys_all_refused(&keys, 1000));
    assert_int_equal(keys_next_ms(&keys), 1000 + KEY_LAST_MS);
    assert_int_equal(keys_pick(&keys, 1000 + KEY_LAST_MS), 2);
    assert_int_equal(keys_pick(&keys, 1000 + KEY_REFUSED_MS), 0);
}

static void a_slowed_key_is_benched_for_as_long_as_was_asked(void **state)
{
    struct keys keys;
    (void)state;
    fill(&keys, 2);
    assert_int_equal(keys_slowed(&keys, 0, 7000, 0), 7000);
    assert_int_equal(keys_slowed(&keys, 1, 0, 0), KEY_SLOW_MS);
    assert_int_equal(keys_pick(&keys, 0), -1);
    assert_false(keys_all_refused(&keys, 0));
    assert_int_equal(keys_pick(&keys, KEY_SLOW_MS), 1);
    assert_int_equal(keys_pick(&keys, 7000), 0);
}

static void latencies_have_a_mean_and_quantiles(void **state)
{
    struct latency latency;
    (void)state;
    latency_init(&latency);
    assert_true(latency_stale(&latency, 0));
    assert_true(latency_quantile_ms(&latency, 0.95) == 0);
    latency_ask(&latency, 5);
    assert_false(latency_stale(&latency, 5 + LATENCY_STALE_MS));
    assert_true(latency_stale(&latency, 6 + LATENCY_STALE_MS));
    for (int i = 1; i <= 1000; i++)
        latency_note(&latency, i % 100 < 94 ? 100 : 2000);
    assert_in_range((int)latency_quantile_ms(&latency, 0.5), 100, 120);
    assert_in_range((int)latency_quantile_ms(&latency, 0.95), 2000, 2400);
    for (int i = 0; i < 100; i++)
        latency_note(&latency, 50);
    assert_in_range((int)latency.mean_ms, 49, 51);
    for (int i = 0; i < 100000; i++)
        latency_note(&latency, i % 2 ? -5 : INT64_MAX);
    assert_true(latency.count < LATENCY_COUNT_MAX);
    assert_true(latency_quantile_ms(&latency, 0.01) >= 1);
}

/* Whatever a vendor's header for the key is: another key's bytes are those of its own encoding. */
static void a_key_is_put_in_place_of_another_in_every_vendors_form(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL, 1 << 22);
    struct value message = {.kind = VALUE_MAP, .count = 0};
    message = *value_map_new(&arena, 2);
    value_map_add(&message, STR("role"), value_str(STR("user")));
    value_map_add(&message, STR("content"), value_str(STR("hi")));
    const struct value list = {.kind = VALUE_LIST, .count = 1, .items = &message};
    struct params params;
    contract_init(&contract_params, &params);
    const struct prompt prompt = {.messages = &list, .params = &params};
    for (const char *const *name = provider_names(); *name; name++) {
        const struct provider *provider = provider_by_name(str_of(*name));
        struct provider_request one, other;
        struct err err = {0};
        struct provider_model model = {.name = STR("m"),
                                       .model = STR("m"),
                                       .base_url = STR("http://h"),
                                       .api = STR("chat"),
                                       .api_version = STR("2024-10-21"),
                                       .max_tokens = 5,
                                       .temperature = NAN,
                                       .api_key = STR("key-one")};
        assert_true(provider->encode(&model, &prompt, &arena, &one, &err));
        model.api_key = STR("the-second-key");
        assert_true(provider->encode(&model, &prompt, &arena, &other, &err));
        assert_ptr_equal(keyring_request(&one, STR("key-one"), STR("key-one"), &arena), &one);
        const struct provider_request *put =
            keyring_request(&one, STR("key-one"), STR("the-second-key"), &arena);
        assert_int_equal(put->header_count, other.header_count);
        for (size_t i = 0; i < put->header_count; i++)
            assert_true(str_eq(put->headers[i].value, other.headers[i].value));
        assert_true(str_eq(put->body, other.body));
        assert_true(str_eq(put->url, other.url));
    }
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_policy_has_its_order),
        cmocka_unit_test(who_is_away_or_has_no_key_goes_last_and_who_is_too_small_not_at_all),
        cmocka_unit_test(weights_are_shares_and_zero_is_the_last_resort),
        cmocka_unit_test(who_was_not_asked_lately_is_looked_at_now_and_then),
        cmocka_unit_test(keys_are_taken_in_turn_and_the_idle_one_first),
        cmocka_unit_test(refused_keys_are_benched_the_last_one_shortly),
        cmocka_unit_test(a_slowed_key_is_benched_for_as_long_as_was_asked),
        cmocka_unit_test(latencies_have_a_mean_and_quantiles),
        cmocka_unit_test(a_key_is_put_in_place_of_another_in_every_vendors_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
