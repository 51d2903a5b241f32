/*
 * test_lane.c -- bytes come out as they went in, when they are due, as fast as they may.
 */
#include "tests/unit/base/test.h"

#include <string.h>

#include "tests/chaos/proxy/lane.h"

static struct lane lane;
static struct rules rules;

static int set_up(void **state)
{
    (void)state;
    lane_init(&lane);
    rules_clear(&rules);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lane_done(&lane);
    return 0;
}

static void put(const char *text, int64_t now_ms)
{
    char *to;
    assert_true(lane_room(&lane, &to) >= strlen(text));
    memcpy(to, text, strlen(text));
    lane_put(&lane, strlen(text), &rules, now_ms);
}

/* What is ready at this time, taken; and how long the rest wants to wait. */
static const char *taken(int64_t now_ms, int64_t *ret_wait_ms)
{
    static char text[64];
    const char *data;
    size_t len, all = 0;
    while ((len = lane_ready(&lane, &rules, now_ms, &data, ret_wait_ms)) > 0) {
        memcpy(text + all, data, len);
        all += len;
        lane_take(&lane, len);
    }
    text[all] = '\0';
    return text;
}

static void without_rules_bytes_pass_at_once(void **state)
{
    (void)state;
    int64_t wait_ms;
    put("hello", 100);
    assert_string_equal(taken(100, &wait_ms), "hello");
    assert_int_equal(wait_ms, -1);
}

static void latency_delays_every_byte_by_the_same_time(void **state)
{
    (void)state;
    int64_t wait_ms;
    rules.latency_ms = 50;
    put("ab", 100);
    put("cd", 120);
    assert_string_equal(taken(149, &wait_ms), "");
    assert_int_equal(wait_ms, 1);
    assert_string_equal(taken(150, &wait_ms), "ab");
    assert_int_equal(wait_ms, 20);
    assert_string_equal(taken(170, &wait_ms), "cd");
}

static void bytes_do_not_overtake_when_the_latency_falls(void **state)
{
    (void)state;
    int64_t wait_ms;
    rules.latency_ms = 100;
    put("a", 0);
    rules.latency_ms = 0;
    put("b", 10);
    assert_string_equal(taken(10, &wait_ms), "");
    assert_int_equal(wait_ms, 90);
    lane_hasten(&lane, 10);
    assert_string_equal(taken(10, &wait_ms), "ab");
}

static void a_rate_lets_so_many_bytes_through_in_its_time(void **state)
{
    (void)state;
    int64_t wait_ms;
    rules.rate_bytes = 2;
    rules.rate_ms = 100;
    put("abcde", 1000);
    assert_string_equal(taken(1000, &wait_ms), "ab");
    assert_int_equal(wait_ms, 100);
    assert_string_equal(taken(1099, &wait_ms), "");
    assert_string_equal(taken(1100, &wait_ms), "cd");
    assert_string_equal(taken(1200, &wait_ms), "e");
}

/* Every length and both ends of the ring, over its border many times. */
static void what_goes_in_comes_out_whatever_the_pieces(void **state)
{
    (void)state;
    unsigned in = 0, out = 0;
    for (int round = 0; round < 2000; round++) {
        char *to;
        const char *data;
        int64_t wait_ms;
        size_t room = lane_room(&lane, &to), want = (size_t)(round * 7919) % 3000 + 1;
        size_t bytes = room < want ? room : want;
        for (size_t i = 0; i < bytes; i++)
            to[i] = (char)in++;
        if (bytes)
            lane_put(&lane, bytes, &rules, round);
        size_t ready = lane_ready(&lane, &rules, round, &data, &wait_ms);
        bytes = ready < want * 9 / 10 ? ready : want * 9 / 10;
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal((unsigned char)data[i], out++ & 255);
        lane_take(&lane, bytes);
    }
    assert_int_equal(in - out, lane.len);
}

static void a_full_lane_has_no_room_and_its_marks_never_run_out(void **state)
{
    (void)state;
    char *to;
    const char *data;
    int64_t wait_ms, now_ms = 0;
    size_t out = 0, len;
    rules.latency_ms = 10;
    while (lane_room(&lane, &to) > 0)
        lane_put(&lane, 64, &rules, now_ms++);
    assert_int_equal(lane.len, LANE_BYTES);
    assert_int_equal(lane.mark_count, LANE_MARKS);
    while ((len = lane_ready(&lane, &rules, now_ms + 10, &data, &wait_ms)) > 0) {
        lane_take(&lane, len);
        out += len;
    }
    assert_int_equal(out, LANE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_rules_bytes_pass_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(latency_delays_every_byte_by_the_same_time, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(bytes_do_not_overtake_when_the_latency_falls, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_rate_lets_so_many_bytes_through_in_its_time, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_goes_in_comes_out_whatever_the_pieces, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_lane_has_no_room_and_its_marks_never_run_out, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
