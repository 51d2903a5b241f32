/*
 * Goal: however many handles find that Kafka is away, and in whatever order they find it again, it
 * is told once, and its end once, with the length of the outage.
 * Method: witnesses by hand, with moments of our own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/io/kafka_outage.h"

enum { NOTHING = KAFKA_NEWS_NONE, AWAY = KAFKA_NEWS_AWAY, THERE = KAFKA_NEWS_THERE };

/* Three handles that entered at 100. */
struct three {
    struct kafka_outage outage;
    struct kafka_witness of[3];
};

static struct three *enter(struct three *three)
{
    *three = (struct three){0};
    for (int i = 0; i < 3; i++)
        kafka_outage_enter(&three->outage, &three->of[i], 100);
    return three;
}

static enum kafka_news asked(struct three *three, int which, bool answered, int64_t asked_ms)
{
    return kafka_outage_asked(&three->outage, &three->of[which], answered, asked_ms, asked_ms + 10);
}

static struct three *all_there(struct three *three)
{
    enter(three);
    assert_int_equal(asked(three, 0, true, 110), THERE);
    assert_int_equal(asked(three, 1, true, 110), NOTHING);
    assert_int_equal(asked(three, 2, true, 110), NOTHING);
    return three;
}

static void a_start_with_kafka_there_is_told_once(void **state)
{
    (void)state;
    struct three three;
    all_there(&three);
    assert_int_equal(three.outage.there_ms - three.outage.since_ms, 20);
    assert_int_equal(asked(&three, 0, true, 500), NOTHING);
}

/* The first has found Kafka before the others have asked, and one of them had asked before. */
static void who_asks_late_at_the_start_holds_up_nobody(void **state)
{
    (void)state;
    struct three three;
    enter(&three);
    assert_int_equal(asked(&three, 0, false, 110), AWAY);
    assert_int_equal(asked(&three, 0, true, 700), THERE);
    assert_int_equal(asked(&three, 1, false, 105), NOTHING);
    assert_int_equal(asked(&three, 1, true, 1000), NOTHING);
    assert_int_equal(asked(&three, 2, true, 1000), NOTHING);
}

static void a_start_with_kafka_away_is_told_once_and_lasts_until_all_are_there(void **state)
{
    (void)state;
    struct three three;
    enter(&three);
    assert_int_equal(asked(&three, 1, false, 110), AWAY);
    assert_int_equal(asked(&three, 0, false, 110), NOTHING);
    assert_int_equal(asked(&three, 2, false, 110), NOTHING);
    assert_int_equal(asked(&three, 1, false, 700), NOTHING);
    assert_int_equal(asked(&three, 0, true, 900), NOTHING);
    assert_int_equal(asked(&three, 2, true, 900), NOTHING);
    assert_int_equal(asked(&three, 1, true, 990), THERE);
    assert_int_equal(three.outage.there_ms - three.outage.since_ms, 900);
}

static void each_outage_is_told_once(void **state)
{
    (void)state;
    struct three three;
    all_there(&three);
    for (int64_t ms = 1000; ms < 10000; ms += 1000) {
        assert_int_equal(asked(&three, 2, false, ms), AWAY);
        assert_int_equal(asked(&three, 0, false, ms + 5), NOTHING);
        assert_int_equal(asked(&three, 0, true, ms + 100), NOTHING);
        assert_int_equal(asked(&three, 2, true, ms + 200), THERE);
        assert_int_equal(three.outage.there_ms - three.outage.since_ms, 200);
    }
}

/* Two handles found nobody and somebody again before the third, whose connection broke as well, has
 * asked at all: what it finds late belongs to the same outage. */
static void who_is_not_sure_is_waited_for(void **state)
{
    (void)state;
    struct three three;
    all_there(&three);
    for (int i = 0; i < 3; i++)
        kafka_outage_doubt(&three.outage, &three.of[i]);
    assert_int_equal(asked(&three, 0, false, 1000), AWAY);
    assert_int_equal(asked(&three, 0, true, 1500), NOTHING);
    assert_int_equal(asked(&three, 1, true, 1500), NOTHING);
    assert_int_equal(asked(&three, 2, false, 1400), NOTHING);
    assert_int_equal(asked(&three, 2, true, 2000), THERE);
}

/* A broken connection of one of several brokers. */
static void a_doubt_that_is_answered_is_no_news(void **state)
{
    (void)state;
    struct three three;
    all_there(&three);
    kafka_outage_doubt(&three.outage, &three.of[1]);
    assert_int_equal(asked(&three, 1, true, 1000), NOTHING);
}

static void a_question_from_before_the_end_is_no_news_and_a_later_one_is(void **state)
{
    (void)state;
    struct three three;
    all_there(&three);
    assert_int_equal(asked(&three, 0, false, 1000), AWAY);
    assert_int_equal(asked(&three, 0, true, 2000), THERE); /* told at 2010 */
    assert_int_equal(asked(&three, 1, false, 2009), NOTHING);
    assert_int_equal(asked(&three, 1, false, 2010), AWAY);
}

static void who_leaves_is_waited_for_no_longer(void **state)
{
    (void)state;
    struct three three;
    all_there(&three);
    asked(&three, 1, false, 1000);
    assert_int_equal(kafka_outage_leave(&three.outage, &three.of[1], 3000), THERE);
    assert_int_equal(kafka_outage_leave(&three.outage, &three.of[1], 3000), NOTHING);
    assert_int_equal(kafka_outage_leave(&three.outage, &three.of[0], 3000), NOTHING);
}

/* A program that ends while Kafka is away. */
static void who_finds_nobody_and_leaves_ends_no_outage(void **state)
{
    (void)state;
    struct three three;
    enter(&three);
    assert_int_equal(asked(&three, 0, false, 1000), AWAY);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kafka_outage_leave(&three.outage, &three.of[i], 2000), NOTHING);
}

static void when_all_have_left_everything_begins_anew(void **state)
{
    (void)state;
    struct three three;
    all_there(&three);
    for (int i = 0; i < 3; i++)
        kafka_outage_leave(&three.outage, &three.of[i], 2000);
    kafka_outage_enter(&three.outage, &three.of[0], 5000);
    assert_int_equal(asked(&three, 0, false, 6000), AWAY);
    assert_int_equal(asked(&three, 0, true, 7000), THERE);
    assert_int_equal(three.outage.there_ms - three.outage.since_ms, 2010);
}

/* Made anew while Kafka is there: neither is it counted twice nor believed unasked. */
static void a_handle_that_is_made_anew_asks_again(void **state)
{
    (void)state;
    struct three three;
    all_there(&three);
    kafka_outage_doubt(&three.outage, &three.of[2]);
    kafka_outage_enter(&three.outage, &three.of[2], 900);
    assert_int_equal(three.outage.unsure, 1);
    assert_int_equal(three.outage.found, 2);
    assert_int_equal(asked(&three, 2, false, 1000), AWAY);
}

static void a_reason_is_told_without_remarks(void **state)
{
    (void)state;
    char text[32];
    kafka_outage_reason("b:1: refused (after 0ms in state CONNECT, 1 suppressed)", text, 32);
    assert_string_equal(text, "b:1: refused");
    kafka_outage_reason("no remark", text, 32);
    assert_string_equal(text, "no remark");
    kafka_outage_reason("far too long for what it goes into (after 1ms)", text, 8);
    assert_string_equal(text, "far too");
}

static void the_hint_says_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *reason, *hint;
    } cases[] = {
        {"127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
         "start Kafka"},
        {"nowhere:9092/bootstrap: Failed to resolve 'nowhere:9092': Name or service not known",
         "bootstrap_servers"},
        {"SASL authentication error: Authentication failed", "sasl"},
        {"ssl://b:9093/bootstrap: SSL handshake failed: certificate verify failed", "ssl"},
        {"", "start Kafka"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_non_null(strstr(kafka_outage_hint(cases[i].reason), cases[i].hint));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_with_kafka_there_is_told_once),
        cmocka_unit_test(who_asks_late_at_the_start_holds_up_nobody),
        cmocka_unit_test(a_start_with_kafka_away_is_told_once_and_lasts_until_all_are_there),
        cmocka_unit_test(each_outage_is_told_once),
        cmocka_unit_test(who_is_not_sure_is_waited_for),
        cmocka_unit_test(a_doubt_that_is_answered_is_no_news),
        cmocka_unit_test(a_question_from_before_the_end_is_no_news_and_a_later_one_is),
        cmocka_unit_test(who_leaves_is_waited_for_no_longer),
        cmocka_unit_test(who_finds_nobody_and_leaves_ends_no_outage),
        cmocka_unit_test(when_all_have_left_everything_begins_anew),
        cmocka_unit_test(a_handle_that_is_made_anew_asks_again),
        cmocka_unit_test(a_reason_is_told_without_remarks),
        cmocka_unit_test(the_hint_says_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
