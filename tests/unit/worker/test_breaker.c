/*
 * Goal: the breaker opens when a provider is away and not when it stumbles, asks seldom while it is
 * away, and lets calls go again step by step.
 * Method: a clock that the test moves; a small loop plays a provider and those who call it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "worker/call/breaker.h"

static const struct breaker_rule rule = {.failures = 10, .pause_max_ms = 1000};

static void end(struct breaker *breaker, unsigned ticket, enum breaker_news news, int64_t began_ms,
                int64_t now_ms)
{
    breaker_ended(breaker, &rule, ticket, news, began_ms, now_ms);
}

static void one_call(struct breaker *breaker, enum breaker_news news, int64_t now_ms)
{
    end(breaker, breaker_began(breaker, now_ms), news, now_ms, now_ms);
}

static struct breaker opened(int64_t now_ms)
{
    struct breaker breaker;
    breaker_init(&breaker);
    for (unsigned i = 0; i < rule.failures; i++)
        one_call(&breaker, BREAKER_FAILED, now_ms);
    assert_int_equal(breaker.state, BREAKER_OPEN);
    return breaker;
}

static void only_a_row_of_failures_opens_it(void **state)
{
    struct breaker breaker;
    (void)state;
    breaker_init(&breaker);
    for (int i = 0; i < 100; i++)
        one_call(&breaker, i % 10 == 9 ? BREAKER_ANSWERED : BREAKER_FAILED, i);
    assert_int_equal(breaker.state, BREAKER_CLOSED);
    assert_true(breaker_room(&breaker, 100) == SIZE_MAX);
    assert_true(breaker_next_ms(&breaker) == INT64_MAX);
    for (int i = 0; i < 9; i++)
        one_call(&breaker, BREAKER_FAILED, 200);
    one_call(&breaker, BREAKER_NOTHING, 200); /* neither ends the row nor adds to it */
    assert_int_equal(breaker.state, BREAKER_CLOSED);
    one_call(&breaker, BREAKER_FAILED, 200);
    assert_int_equal(breaker.state, BREAKER_OPEN);
    assert_int_equal(breaker_room(&breaker, 200), 0);
}

static void one_call_in_ten_that_fails_opens_nothing_in_a_million(void **state)
{
    struct breaker breaker;
    struct rand rand;
    (void)state;
    breaker_init(&breaker);
    rand_init(&rand, 5);
    for (int i = 0; i < 1000000; i++) {
        one_call(&breaker, rand_below(&rand, 10) ? BREAKER_ANSWERED : BREAKER_FAILED, i);
        assert_int_equal(breaker.state, BREAKER_CLOSED);
    }
}

static void no_row_opens_it_when_it_is_off(void **state)
{
    const struct breaker_rule off = {.failures = 0, .pause_max_ms = 1000};
    struct breaker breaker;
    (void)state;
    breaker_init(&breaker);
    for (int i = 0; i < 1000; i++)
        breaker_ended(&breaker, &off, breaker_began(&breaker, i), BREAKER_FAILED, i, i);
    assert_int_equal(breaker.state, BREAKER_CLOSED);
}

static void probes_go_one_at_a_time_with_growing_pauses(void **state)
{
    static const int64_t pauses[] = {100, 200, 400, 800, 1000, 1000};
    struct breaker breaker = opened(0);
    int64_t now = 0;
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(breaker_next_ms(&breaker), now + pauses[i]);
        assert_int_equal(breaker_room(&breaker, now + pauses[i] - 1), 0);
        now += pauses[i];
        assert_int_equal(breaker_room(&breaker, now), 1);
        unsigned ticket = breaker_began(&breaker, now);
        assert_int_equal(breaker_room(&breaker, now), 0);
        end(&breaker, ticket, BREAKER_FAILED, now, now);
    }
}

static void an_answered_probe_begins_a_ramp_that_doubles(void **state)
{
    static const size_t steps[] = {4, 8, 16, 32, 64};
    struct breaker breaker = opened(0);
    (void)state;
    one_call(&breaker, BREAKER_ANSWERED, 100);
    assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
    size_t in_flight = 0;
    for (size_t i = 0; i < 5; i++) {
        int64_t now = 100 + (int64_t)i * 250;
        assert_int_equal(breaker_room(&breaker, now), steps[i] - in_flight);
        for (; in_flight < steps[i]; in_flight++)
            breaker_began(&breaker, now);
        assert_int_equal(breaker_room(&breaker, now), 0);
        breaker_hold(&breaker);
    }
}

static void it_closes_when_nobody_is_held_back(void **state)
{
    struct breaker breaker = opened(0);
    (void)state;
    one_call(&breaker, BREAKER_ANSWERED, 100);
    assert_int_equal(breaker_room(&breaker, 350), 8); /* at its beginning everybody was */
    assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
    assert_true(breaker_room(&breaker, 600) == SIZE_MAX);
    assert_int_equal(breaker.state, BREAKER_CLOSED);
    assert_true(breaker_next_ms(&breaker) == INT64_MAX);
}

static void it_closes_in_the_end_however_many_wait(void **state)
{
    struct breaker breaker = opened(0);
    (void)state;
    one_call(&breaker, BREAKER_ANSWERED, 0);
    for (int64_t now = 0; now < 5000; now += 50) {
        breaker_room(&breaker, now);
        breaker_hold(&breaker);
    }
    assert_int_equal(breaker.state, BREAKER_CLOSED);
}

static void a_shorter_row_opens_it_again_and_the_pause_goes_on_growing(void **state)
{
    struct breaker breaker = opened(0);
    (void)state;
    one_call(&breaker, BREAKER_FAILED, 100); /* pause 200 from here */
    one_call(&breaker, BREAKER_ANSWERED, 300);
    for (int i = 0; i < 4; i++)
        one_call(&breaker, BREAKER_FAILED, 310);
    assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
    one_call(&breaker, BREAKER_FAILED, 310);
    assert_int_equal(breaker.state, BREAKER_OPEN);
    assert_int_equal(breaker_next_ms(&breaker), 310 + 200);
}

static void what_began_before_it_opened_says_nothing_of_now(void **state)
{
    struct breaker breaker;
    unsigned old[40];
    (void)state;
    breaker_init(&breaker);
    for (size_t i = 0; i < 40; i++)
        old[i] = breaker_began(&breaker, 0);
    for (size_t i = 0; i < 10; i++)
        end(&breaker, old[i], BREAKER_FAILED, 0, 50);
    assert_int_equal(breaker.state, BREAKER_OPEN);
    end(&breaker, old[10], BREAKER_ANSWERED, 0, 60);
    assert_int_equal(breaker.state, BREAKER_OPEN);
    for (size_t i = 11; i < 20; i++)
        end(&breaker, old[i], BREAKER_FAILED, 0, 70);
    assert_int_equal(breaker_next_ms(&breaker), 150);
    one_call(&breaker, BREAKER_ANSWERED, 150);
    for (size_t i = 20; i < 40; i++)
        end(&breaker, old[i], BREAKER_FAILED, 0, 160);
    assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
    assert_int_equal(breaker.in_flight, 0);
}

static void a_probe_that_outlives_the_failures_is_good_news(void **state)
{
    struct breaker breaker = opened(0); /* they failed at once */
    (void)state;
    breaker_began(&breaker, 100);
    assert_int_equal(breaker_next_ms(&breaker), 1100);
    assert_int_equal(breaker_room(&breaker, 1099), 0);
    assert_int_equal(breaker_room(&breaker, 1100), 4);
    assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
}

static void a_provider_that_hangs_is_not_believed_for_hanging(void **state)
{
    struct breaker breaker;
    (void)state;
    breaker_init(&breaker);
    for (int i = 0; i < 10; i++)
        end(&breaker, breaker_began(&breaker, 0), BREAKER_FAILED, 0, 30000);
    assert_int_equal(breaker.state, BREAKER_OPEN);
    size_t probes = 0;
    for (int64_t now = 30000; now < 60000; now += 100)
        if (breaker_room(&breaker, now)) {
            breaker_began(&breaker, now);
            probes++;
        }
    assert_int_equal(breaker.state, BREAKER_OPEN);
    assert_int_equal(probes, 6); /* a silent one keeps the next one back for 5 s */
}

static void a_probe_without_news_is_followed_by_another(void **state)
{
    struct breaker breaker = opened(0);
    (void)state;
    one_call(&breaker, BREAKER_NOTHING, 100);
    assert_int_equal(breaker.state, BREAKER_OPEN);
    assert_int_equal(breaker_room(&breaker, 199), 0);
    assert_int_equal(breaker_room(&breaker, 200), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_row_of_failures_opens_it),
        cmocka_unit_test(one_call_in_ten_that_fails_opens_nothing_in_a_million),
        cmocka_unit_test(no_row_opens_it_when_it_is_off),
        cmocka_unit_test(probes_go_one_at_a_time_with_growing_pauses),
        cmocka_unit_test(an_answered_probe_begins_a_ramp_that_doubles),
        cmocka_unit_test(it_closes_when_nobody_is_held_back),
        cmocka_unit_test(it_closes_in_the_end_however_many_wait),
        cmocka_unit_test(a_shorter_row_opens_it_again_and_the_pause_goes_on_growing),
        cmocka_unit_test(what_began_before_it_opened_says_nothing_of_now),
        cmocka_unit_test(a_probe_that_outlives_the_failures_is_good_news),
        cmocka_unit_test(a_provider_that_hangs_is_not_believed_for_hanging),
        cmocka_unit_test(a_probe_without_news_is_followed_by_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
