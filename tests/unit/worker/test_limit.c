/*
 * Goal: a share is spent within its life, told exactly, and an estimate learns.
 * Method: the clock is a number, Redis's answers are given by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "common/data/json.h"
#include "worker/call/estimate.h"
#include "worker/call/lease.h"
#include "worker/call/told.h"

static struct lease fresh(int64_t requests, int64_t tokens)
{
    struct lease lease;
    lease_init(&lease,
               &(struct lease_rule){.requests = requests, .tokens = tokens, .window_ms = 60000});
    return lease;
}

static struct lease_question ask(struct lease *lease, int64_t now_ms)
{
    struct lease_question question;
    lease_ask(lease, 1, 1, now_ms, &question);
    return question;
}

static void grant(struct lease *lease, int64_t requests, int64_t tokens)
{
    lease_answered(lease, &(struct lease_answer){.generation = lease->generation + 1,
                                                 .requests = requests,
                                                 .tokens = tokens,
                                                 .members = 1});
}

static void nothing_leaves_without_a_share(void **state)
{
    (void)state;
    struct lease lease = fresh(10, 0);
    assert_false(lease_may(&lease, 1, 1000));
    ask(&lease, 1000);
    grant(&lease, 1, 0);
    assert_true(lease_may(&lease, 1, 1000));
    lease_take(&lease, 1, 1000);
    assert_false(lease_may(&lease, 1, 1000));
}

static void a_share_lives_from_the_moment_of_the_question(void **state)
{
    (void)state;
    struct lease lease = fresh(10, 0);
    ask(&lease, 1000);
    grant(&lease, 5, 0); /* however long the answer took */
    assert_true(lease_may(&lease, 1, 1000 + LEASE_MS - 1));
    assert_false(lease_may(&lease, 1, 1000 + LEASE_MS));
}

static void what_is_left_goes_back_and_what_was_spent_is_told(void **state)
{
    (void)state;
    struct lease lease = fresh(10, 1000);
    ask(&lease, 1000);
    grant(&lease, 5, 500);
    lease_take(&lease, 100, 1010);
    lease_take(&lease, 100, 1020);
    lease_take(&lease, 100, 1350);
    lease_settle(&lease, 1010, -40);
    struct lease_question q = ask(&lease, 1900);
    assert_int_equal(q.left_requests, 2);
    assert_int_equal(q.left_tokens, 200);
    assert_int_equal(q.spend_count, 2);
    assert_int_equal(q.spends[0].requests, 2);
    assert_int_equal(q.spends[0].tokens, 160);
    assert_int_equal(q.spends[1].requests, 1);
    assert_int_equal(q.spends[1].tokens, 100);
}

static void an_expired_share_is_not_told_as_left(void **state)
{
    (void)state;
    struct lease lease = fresh(10, 0);
    ask(&lease, 1000);
    grant(&lease, 5, 0);
    struct lease_question q = ask(&lease, 1000 + LEASE_MS);
    assert_int_equal(q.left_requests, 0);
}

/* More moments than there is room for are told as the last of them: too late, never too early. */
static void moments_without_end_are_counted_late(void **state)
{
    (void)state;
    struct lease lease = fresh(0, 1000000);
    ask(&lease, 100000);
    grant(&lease, 0, 1000000);
    lease_take(&lease, 10, 100000);
    for (int64_t i = 0; i < 100; i++)
        lease_settle(&lease, 100000 - 500 * i, 1);
    int64_t tokens = 0;
    for (int round = 0; round < 3; round++) {
        struct lease_question q = ask(&lease, 101000 + 1000 * round);
        for (size_t i = 0; i < q.spend_count; i++)
            tokens += q.spends[i].tokens;
        grant(&lease, 0, 0);
    }
    assert_int_equal(tokens, 110);
}

static void a_lost_answer_is_followed_by_all_that_was_spent_since(void **state)
{
    (void)state;
    struct lease lease = fresh(100, 0);
    ask(&lease, 100000);
    grant(&lease, 50, 0);
    lease_take(&lease, 1, 100100);
    lease_take(&lease, 1, 100200);
    ask(&lease, 100300);
    lease_take(&lease, 1, 100350);
    lease_unanswered(&lease, false, 100800);
    struct lease_question q = ask(&lease, 100900);
    assert_int_equal(q.generation, 0);
    assert_int_equal(q.spend_count, 1); /* by the second */
    assert_int_equal(q.spends[0].requests, 3);
    assert_false(q.was_away);
}

static void without_redis_a_part_of_the_window_is_left(void **state)
{
    (void)state;
    struct lease lease = fresh(100, 0);
    ask(&lease, 100000);
    lease_answered(&lease, &(struct lease_answer){.generation = 1, .requests = 30, .members = 4});
    for (int i = 0; i < 20; i++)
        lease_take(&lease, 0, 100000);
    ask(&lease, 100500);
    lease_unanswered(&lease, true, 100900);
    assert_int_equal(lease.left_requests, 5); /* 100 / 4 - 20 */
    ask(&lease, 170000);
    lease_unanswered(&lease, true, 170000);
    assert_int_equal(lease.left_requests, 25);
    assert_true(ask(&lease, 171000).spend_count == 0);
}

static void questions_are_rationed_by_what_was_spent(void **state)
{
    (void)state;
    static const struct {
        int spent;
        int64_t pause_ms;
    } cases[] = {{0, LEASE_ASK_MS}, {LEASE_SOME, LEASE_ASK_SOON_MS}, {LEASE_MANY, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct lease lease = fresh(1000, 0);
        ask(&lease, 5000);
        grant(&lease, 100, 0);
        for (int k = 0; k < cases[i].spent; k++)
            lease_take(&lease, 0, 5000);
        assert_int_equal(lease_ask_ms(&lease), 5000 + cases[i].pause_ms);
    }
}

static void an_estimate_learns_and_keeps_to_the_request_s_own_limit(void **state)
{
    (void)state;
    struct estimate estimate = {0};
    assert_int_equal(estimate_tokens(&estimate, 400, 0), 100 + 320 + 1);
    assert_int_equal(estimate_tokens(&estimate, 400, 10), 100 + 10 + 1);
    assert_int_equal(estimate_tokens(&estimate, 400, ESTIMATE_NO_OUTPUT), 100 + 1);
    assert_int_equal(estimate_cost(&estimate, 400, ESTIMATE_NO_OUTPUT, 2, NAN), 200);
    assert_int_equal(estimate_cost(&estimate, 400, 0, 2, NAN), 0); /* what it costs is not known */
    for (int i = 0; i < 200; i++)
        estimate_learn(&estimate, 600, 100, 40);
    assert_in_range(estimate_tokens(&estimate, 600, 0), 148, 152);
    estimate_learn(&estimate, 600, 0, 0); /* nobody counted */
    assert_in_range(estimate_tokens(&estimate, 600, 0), 148, 152);
}

static void short_questions_teach_little_of_long_ones(void **state)
{
    (void)state;
    struct estimate estimate = {0};
    for (int i = 0; i < 200; i++)
        estimate_learn(&estimate, 45, 3, 8); /* 15 bytes a token */
    assert_int_equal(estimate_tokens(&estimate, 4000, 0), 1000 + 10 + 1);
    for (int i = 0; i < 20; i++) {
        estimate_learn(&estimate, 4000, 2000, 8);
        for (int k = 0; k < 8; k++)
            estimate_learn(&estimate, 200, 50, 8);
    }
    assert_in_range(estimate_tokens(&estimate, 4000, 0), 1600, 2011);
}

static void what_stands_around_a_short_question_is_learned(void **state)
{
    (void)state;
    struct estimate estimate = {0};
    for (int i = 0; i < 100; i++)
        estimate_learn(&estimate, 40, 510, 8); /* its provider adds 500 */
    assert_int_equal(estimate_tokens(&estimate, 40, 0), 510 + 10 + 1);
}

static void the_text_of_messages_counts_and_an_image_for_itself(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t bytes;
    } cases[] = {
        {"[]", 0},
        {"[{\"role\":\"user\",\"content\":\"12345678\"}]", 4 + 8 + 32},
        {"[{\"role\":\"user\",\"content\":\"\\u00e4\"},{\"role\":\"user\",\"content\":null}]",
         10 + 64},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"1234\"}]}]", 12 + 32},
        {"[{\"role\":\"user\",\"content\":[{\"image_url\":{\"url\":\"data:image/"
         "png;base64,AAAA\"}}]}]",
         4 + 4000 + 32},
    };
    struct arena arena;
    arena_init(&arena, NULL, 1 << 16);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct value messages;
        assert_true(json_read(str_of(cases[i].json), &arena, &messages, NULL));
        assert_int_equal(estimate_bytes(&messages, 7), cases[i].bytes);
    }
    assert_int_equal(estimate_bytes(NULL, 7), 7);
    arena_done(&arena);
}

static void a_cost_is_estimated_by_both_prices(void **state)
{
    (void)state;
    struct estimate estimate = {.bytes = 400, .tokens = 100, .output = 80};
    assert_int_equal(estimate_cost(&estimate, 400, 0, 2, 10), 100 * 2 + 100 * 10);
    assert_int_equal(estimate_cost(&estimate, 400, 10, 2, 10), 100 * 2 + 10 * 10);
    assert_int_equal(estimate_cost(&estimate, 400, 0, NAN, 10), 0);
}

static void headers_tell_limits_and_what_is_left(void **state)
{
    (void)state;
    struct told told;
    told_read(STR("x-ratelimit-limit-requests: 60\nX-RateLimit-Remaining-Requests: 59\n"
                  "x-ratelimit-limit-tokens: 90000\nx-ratelimit-remaining-tokens: 1000\n"),
              &told);
    assert_int_equal(told.requests.limit, 60);
    assert_int_equal(told.requests.remaining, 59);
    assert_int_equal(told.tokens.limit, 90000);
    assert_int_equal(told_missing(&told.tokens, 80000), 79000);
    assert_int_equal(told_missing(&told.requests, 61), 0); /* nearly the same */
    assert_int_equal(told_missing(&told.requests, 20), 0); /* more is left */
    told_read(
        STR("anthropic-ratelimit-requests-limit: 50\nanthropic-ratelimit-requests-remaining: 7\n"
            "anthropic-ratelimit-input-tokens-limit: 4000\n"),
        &told);
    assert_int_equal(told.requests.limit, 50);
    assert_int_equal(told.requests.remaining, 7);
    assert_int_equal(told.tokens.limit, 4000);
    assert_int_equal(told.tokens.remaining, -1);
    told_read(STR("x-ratelimit-limit-requests: many\nx-ratelimit-limit-tokens: -5\n"), &told);
    assert_int_equal(told.requests.limit, -1);
    assert_int_equal(told.tokens.limit, -1);
}

static struct lease budget(int64_t tokens)
{
    struct lease lease;
    lease_init(&lease,
               &(struct lease_rule){.tokens = tokens, .window_ms = 60000, .calendar = true});
    return lease;
}

static void a_budget_is_exceeded_for_nobody(void **state)
{
    (void)state;
    struct lease lease = budget(1000);
    ask(&lease, 1000);
    grant(&lease, 1, 1000);
    assert_true(lease_may(&lease, 1000, 1000));
    assert_false(lease_may(&lease, 1001, 1000));
}

static void what_was_spent_of_a_budget_is_one_number_however_long_ago(void **state)
{
    (void)state;
    struct lease lease = budget(10000);
    ask(&lease, 1000);
    grant(&lease, 1, 5000);
    lease_take(&lease, 700, 1010);
    lease_take(&lease, 700, 3000);
    lease_settle(&lease, 1010, -200);
    struct lease_question q = ask(&lease, 200000);
    assert_int_equal(q.spend_count, 1);
    assert_int_equal(q.spends[0].tokens, 1200);
}

static void a_lost_answer_makes_a_budget_smaller_and_never_larger(void **state)
{
    (void)state;
    struct lease lease = budget(10000);
    ask(&lease, 1000);
    grant(&lease, 1, 5000);
    lease_take(&lease, 700, 1010);
    ask(&lease, 2000);
    lease_settle(&lease, 1010, -300); /* while it is told that it were 700 */
    lease_unanswered(&lease, false, 2500);
    assert_int_equal(ask(&lease, 3000).spends[0].tokens, 400);
    grant(&lease, 0, 0);
    lease_settle(&lease, 1010, -100);
    ask(&lease, 4000);
    lease_unanswered(&lease, false, 4500);
    assert_int_equal(ask(&lease, 5000).spend_count, 0);
}

static void without_redis_a_budget_s_part_is_lent_once(void **state)
{
    (void)state;
    struct lease lease = budget(10000);
    ask(&lease, 1000);
    lease_answered(&lease, &(struct lease_answer){.generation = 1, .tokens = 2000, .members = 4});
    lease_take(&lease, 1000, 1100);
    ask(&lease, 2000);
    lease_unanswered(&lease, true, 2500);
    lease_lend_of_budget(&lease, 2000, 2600);
    assert_int_equal(lease.left_tokens, 8000 / 4 - 1000); /* ours may not be stored yet */
    assert_true(lease_may(&lease, 1000, 900000));
    lease_end_loan(&lease);
    assert_false(lease_may(&lease, 1, 900000));
}

static void others_who_use_the_key_are_told_once_and_by_parts(void **state)
{
    (void)state;
    struct lease lease = fresh(100, 0);
    ask(&lease, 1000);
    lease_answered(&lease, &(struct lease_answer){.generation = 1, .requests = 5, .members = 4});
    lease_others_spent(&lease, 42, 0, 1500);
    lease_others_spent(&lease, 42, 0, 1600);
    struct lease_question q = ask(&lease, 2000);
    assert_int_equal(q.spend_count, 1);
    assert_int_equal(q.spends[0].requests, 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_leaves_without_a_share),
        cmocka_unit_test(a_share_lives_from_the_moment_of_the_question),
        cmocka_unit_test(what_is_left_goes_back_and_what_was_spent_is_told),
        cmocka_unit_test(an_expired_share_is_not_told_as_left),
        cmocka_unit_test(moments_without_end_are_counted_late),
        cmocka_unit_test(a_lost_answer_is_followed_by_all_that_was_spent_since),
        cmocka_unit_test(without_redis_a_part_of_the_window_is_left),
        cmocka_unit_test(questions_are_rationed_by_what_was_spent),
        cmocka_unit_test(short_questions_teach_little_of_long_ones),
        cmocka_unit_test(what_stands_around_a_short_question_is_learned),
        cmocka_unit_test(the_text_of_messages_counts_and_an_image_for_itself),
        cmocka_unit_test(a_cost_is_estimated_by_both_prices),
        cmocka_unit_test(headers_tell_limits_and_what_is_left),
        cmocka_unit_test(a_budget_is_exceeded_for_nobody),
        cmocka_unit_test(what_was_spent_of_a_budget_is_one_number_however_long_ago),
        cmocka_unit_test(a_lost_answer_makes_a_budget_smaller_and_never_larger),
        cmocka_unit_test(without_redis_a_budget_s_part_is_lent_once),
        cmocka_unit_test(others_who_use_the_key_are_told_once_and_by_parts),
        cmocka_unit_test(an_estimate_learns_and_keeps_to_the_request_s_own_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
