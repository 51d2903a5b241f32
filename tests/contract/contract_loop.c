/*
 * Contract of common/loop/loop.h: the order within a turn, timers, hooks, posts.
 */
#include "tests/contract/stage.h"

struct diary {
    struct loop *loop;
    char text[256];
    struct timer timers[4];
    struct loop_hook hooks[4];
    int64_t at_ms[4];
    unsigned runs[4];
    bool again, remove;
};

static void write_down(struct diary *diary, char c)
{
    size_t len = strlen(diary->text);
    if (len + 1 < sizeof(diary->text))
        diary->text[len] = c;
}

static void timer_a(void *context)
{
    struct diary *diary = context;
    write_down(diary, 'a');
    diary->at_ms[0] = loop_now_ms(diary->loop);
}

static void timer_b(void *context)
{
    struct diary *diary = context;
    write_down(diary, 'b');
    diary->at_ms[1] = loop_now_ms(diary->loop);
}

static void timer_c(void *context)
{
    struct diary *diary = context;
    write_down(diary, 'c');
    diary->at_ms[2] = loop_now_ms(diary->loop);
}

static bool ready(void *context)
{
    struct diary *diary = context;
    write_down(diary, 'r');
    return false;
}

static bool turn_end(void *context)
{
    struct diary *diary = context;
    write_down(diary, 'e');
    return false;
}

static struct diary open_diary(struct stage *stage)
{
    return (struct diary){.loop = stage_loop(stage, 0)};
}

static void settle(struct stage *stage)
{
    stage_run_ms(stage, 10); /* what a new loop has to do first */
}

static void timers_fire_in_their_order_and_never_early(void **state)
{
    struct stage *stage = *state;
    struct diary diary = open_diary(stage);
    settle(stage);
    int64_t now_ms = loop_now_ms(diary.loop);
    timer_set(diary.loop, &diary.timers[2], now_ms + 40, timer_c, &diary);
    timer_set(diary.loop, &diary.timers[0], now_ms + 20, timer_a, &diary);
    timer_set(diary.loop, &diary.timers[1], now_ms + 20, timer_b, &diary);
    assert_true(timer_is_set(&diary.timers[0]));
    assert_string_equal(diary.text, "");
    UNTIL(stage, strlen(diary.text) == 3);
    assert_string_equal(diary.text, "abc");
    assert_true(diary.at_ms[0] >= now_ms + 20 && diary.at_ms[2] >= now_ms + 40);
    assert_false(timer_is_set(&diary.timers[0]));
}

static void a_timer_is_moved_cancelled_and_set_in_the_past(void **state)
{
    struct stage *stage = *state;
    struct diary diary = open_diary(stage);
    settle(stage);
    int64_t now_ms = loop_now_ms(diary.loop);
    timer_set(diary.loop, &diary.timers[0], now_ms + 10, timer_a, &diary);
    timer_set(diary.loop, &diary.timers[0], now_ms + 60, timer_a, &diary);
    timer_set(diary.loop, &diary.timers[1], now_ms + 10, timer_b, &diary);
    timer_cancel(diary.loop, &diary.timers[1]);
    timer_cancel(diary.loop, &diary.timers[3]); /* never set */
    timer_set(diary.loop, &diary.timers[2], now_ms - 1000, timer_c, &diary);
    assert_string_equal(diary.text, "");
    stage_run_ms(stage, 30);
    assert_string_equal(diary.text, "c");
    UNTIL(stage, strlen(diary.text) == 2);
    assert_string_equal(diary.text, "ca");
    assert_true(diary.at_ms[0] >= now_ms + 60);
}

static void set_b_now(void *context)
{
    struct diary *diary = context;
    timer_a(context);
    timer_set(diary->loop, &diary->timers[1], 0, timer_b, diary);
}

static void a_timer_set_by_a_timer_waits_for_the_next_turn(void **state)
{
    struct stage *stage = *state;
    struct diary diary = open_diary(stage);
    settle(stage);
    diary.hooks[0] = (struct loop_hook){.run = ready, .context = &diary};
    diary.hooks[1] = (struct loop_hook){.run = turn_end, .context = &diary};
    timer_set(diary.loop, &diary.timers[0], 0, set_b_now, &diary);
    loop_add_ready(diary.loop, &diary.hooks[0]);
    loop_add_turn_end(diary.loop, &diary.hooks[1]);
    UNTIL(stage, strstr(diary.text, "b") != NULL);
    assert_non_null(strstr(diary.text, "arebre")); /* and the order within a turn */
    loop_remove_hook(diary.loop, &diary.hooks[0]);
    loop_remove_hook(diary.loop, &diary.hooks[1]);
}

static bool busy(void *context)
{
    struct diary *diary = context;
    return ++diary->runs[0] < 50;
}

static void who_left_work_over_is_asked_again_at_once(void **state)
{
    struct stage *stage = *state;
    struct diary diary = open_diary(stage);
    settle(stage);
    diary.hooks[0] = (struct loop_hook){.run = busy, .context = &diary};
    loop_add_ready(diary.loop, &diary.hooks[0]);
    loop_again(diary.loop);
    int64_t began_ms = stage_now_ms(stage);
    UNTIL(stage, diary.runs[0] >= 50);
    assert_in_range(stage_now_ms(stage) - began_ms, 0, 45); /* waits of 1 ms would show */
    loop_remove_hook(diary.loop, &diary.hooks[0]);
}

static bool removes_itself_and_the_next(void *context)
{
    struct diary *diary = context;
    write_down(diary, 'x');
    loop_remove_hook(diary->loop, &diary->hooks[0]);
    loop_remove_hook(diary->loop, &diary->hooks[1]);
    return false;
}

static void hooks_may_be_removed_from_a_hook(void **state)
{
    struct stage *stage = *state;
    struct diary diary = open_diary(stage);
    settle(stage);
    diary.hooks[0] = (struct loop_hook){.run = removes_itself_and_the_next, .context = &diary};
    diary.hooks[1] = (struct loop_hook){.run = ready, .context = &diary};
    diary.hooks[2] = (struct loop_hook){.run = turn_end, .context = &diary};
    loop_add_ready(diary.loop, &diary.hooks[0]);
    loop_add_ready(diary.loop, &diary.hooks[1]);
    loop_add_ready(diary.loop, &diary.hooks[2]);
    loop_again(diary.loop);
    UNTIL(stage, strlen(diary.text) >= 2);
    assert_memory_equal(diary.text, "xe", 2);
    assert_null(strchr(diary.text, 'r'));
    loop_remove_hook(diary.loop, &diary.hooks[2]);
    loop_remove_hook(diary.loop, &diary.hooks[2]); /* gone already */
}

static void post_c(void *context)
{
    timer_c(context);
}

static void post_a_and_another(void *context)
{
    struct diary *diary = context;
    timer_a(context);
    loop_post(diary->loop, post_c, diary);
}

static void posts_run_in_order_in_the_next_turn(void **state)
{
    struct stage *stage = *state;
    struct diary diary = open_diary(stage);
    settle(stage);
    diary.hooks[1] = (struct loop_hook){.run = turn_end, .context = &diary};
    loop_add_turn_end(diary.loop, &diary.hooks[1]);
    loop_post(diary.loop, post_a_and_another, &diary);
    loop_post(diary.loop, timer_b, &diary);
    assert_string_equal(diary.text, "");
    UNTIL(stage, strchr(diary.text, 'c') != NULL);
    stage_run_ms(stage, 5);
    const char *a = strchr(diary.text, 'a'), *c = strchr(diary.text, 'c');
    assert_int_equal(a[1], 'b');
    assert_int_equal(a[2], 'e'); /* what a post posts comes in the turn after */
    assert_true(c > a + 2);
    loop_remove_hook(diary.loop, &diary.hooks[1]);
}

static bool look_at_the_clock(void *context)
{
    struct diary *diary = context;
    int64_t now_ms = loop_now_ms(diary->loop);
    for (volatile int i = 0; i < 3000000; i++)
        continue;
    diary->at_ms[0] = loop_now_ms(diary->loop) - now_ms;
    diary->runs[0]++;
    return false;
}

static void the_clock_stands_still_within_a_turn(void **state)
{
    struct stage *stage = *state;
    struct diary diary = open_diary(stage);
    diary.hooks[0] = (struct loop_hook){.run = look_at_the_clock, .context = &diary};
    loop_add_ready(diary.loop, &diary.hooks[0]);
    loop_again(diary.loop);
    int64_t before_ms = loop_now_ms(diary.loop);
    UNTIL(stage, diary.runs[0] > 0);
    assert_int_equal(diary.at_ms[0], 0);
    stage_run_ms(stage, 50);
    assert_true(loop_now_ms(diary.loop) >= before_ms + 40);
    loop_remove_hook(diary.loop, &diary.hooks[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(timers_fire_in_their_order_and_never_early),
        SCENE(a_timer_is_moved_cancelled_and_set_in_the_past),
        SCENE(a_timer_set_by_a_timer_waits_for_the_next_turn),
        SCENE(who_left_work_over_is_asked_again_at_once),
        SCENE(hooks_may_be_removed_from_a_hook),
        SCENE(posts_run_in_order_in_the_next_turn),
        SCENE(the_clock_stands_still_within_a_turn),
    };
    stage_only();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
