/*
 * test_loop.c -- timers, hooks, descriptors, posts and the order of one turn.
 *
 * The real loop turns with waits of zero or of a few milliseconds; nothing sleeps. Only pipes and
 * an own signal stand for the outside.
 */
#include "common/loop/loop.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/buf.h"

/* What happened, one letter each. */
static struct buf story;
static struct loop *loop;

static int set_up(void **state)
{
    (void)state;
    struct err err;
    buf_init(&story, 256);
    loop = loop_new(&err);
    return loop ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    buf_done(&story);
    return 0;
}

static void tell(void *letter)
{
    buf_add_str(&story, str_of(letter));
}

static bool tell_hook(void *letter)
{
    tell(letter);
    return false;
}

#define assert_story(text) assert_string_equal(buf_str(&story).data, text)

static void timers_fire_in_order_of_time_then_of_setting(void **state)
{
    (void)state;
    struct timer a = {0}, b = {0}, c = {0}, d = {0};
    int64_t now = loop_now_ms(loop);
    timer_set(loop, &c, now, tell, "c");
    timer_set(loop, &a, now - 5, tell, "a"); /* the past counts as now */
    timer_set(loop, &b, now, tell, "b");
    timer_set(loop, &d, now + 3600000, tell, "d");
    loop_turn(loop, 0);
    assert_story("cab");
    assert_false(timer_is_set(&a));
    assert_true(timer_is_set(&d));
}

static void cancelled_timer_never_fires(void **state)
{
    (void)state;
    struct timer a = {0}, never_set = {0};
    timer_set(loop, &a, 0, tell, "a");
    timer_cancel(loop, &a);
    timer_cancel(loop, &a);
    timer_cancel(loop, &never_set);
    loop_turn(loop, 0);
    assert_story("");
}

static void moved_timer_fires_once_at_its_new_time(void **state)
{
    (void)state;
    struct timer a = {0}, b = {0};
    timer_set(loop, &a, loop_now_ms(loop), tell, "a");
    timer_set(loop, &b, loop_now_ms(loop), tell, "b");
    timer_set(loop, &a, loop_now_ms(loop), tell, "A");
    loop_turn(loop, 0);
    assert_story("bA");
}

static struct timer again_timer, other_timer;

static void set_again(void *letter)
{
    tell(letter);
    timer_set(loop, &again_timer, 0, set_again, letter);
}

static void timer_that_sets_itself_waits_for_the_next_turn(void **state)
{
    (void)state;
    timer_set(loop, &again_timer, 0, set_again, "x");
    loop_turn(loop, 0);
    assert_story("x");
    loop_turn(loop, 1000); /* does not wait: the timer is due */
    assert_story("xx");
    timer_cancel(loop, &again_timer);
}

static void cancel_other(void *letter)
{
    tell(letter);
    timer_cancel(loop, &other_timer);
}

static void timer_may_cancel_another_that_is_due(void **state)
{
    (void)state;
    struct timer first = {0};
    timer_set(loop, &first, 0, cancel_other, "1");
    timer_set(loop, &other_timer, 0, tell, "2");
    loop_turn(loop, 0);
    assert_story("1");
}

static void wait_ends_when_the_first_timer_is_due(void **state)
{
    (void)state;
    struct timer a = {0};
    int64_t began = loop_now_ms(loop);
    timer_set(loop, &a, began + 5, tell, "a");
    for (int i = 0; i < 3 && timer_is_set(&a); i++)
        loop_turn(loop, 60000);
    assert_story("a");
    assert_in_range(loop_now_ms(loop) - began, 5, 2000);
}

static void clock_stands_still_within_a_turn(void **state)
{
    (void)state;
    int64_t now = loop_now_ms(loop), exact = loop_exact_us(loop);
    while (loop_exact_us(loop) < exact + 3000)
        ;
    assert_int_equal(loop_now_ms(loop), now);
    loop_turn(loop, 0);
    assert_true(loop_now_ms(loop) >= now + 3);
    assert_true(loop_wall_ms(loop) > 1700000000000);
}

/* Hooks */

static void hooks_run_ready_first_and_turn_end_last(void **state)
{
    (void)state;
    struct loop_hook end = {.run = tell_hook, .context = "e"};
    struct loop_hook ready = {.run = tell_hook, .context = "r"};
    struct timer timer = {0};
    loop_add_turn_end(loop, &end);
    loop_add_ready(loop, &ready);
    timer_set(loop, &timer, 0, tell, "t");
    loop_post(loop, tell, "p");
    loop_turn(loop, 0);
    assert_story("ptre");
    loop_remove_hook(loop, &ready);
    loop_remove_hook(loop, &ready);
    loop_turn(loop, 0);
    assert_story("ptree");
    loop_remove_hook(loop, &end);
}

static struct loop_hook doomed;

static bool remove_doomed(void *letter)
{
    loop_remove_hook(loop, &doomed);
    return tell_hook(letter);
}

static void hook_may_remove_the_next_one(void **state)
{
    (void)state;
    struct loop_hook first = {.run = remove_doomed, .context = "1"};
    struct loop_hook last = {.run = tell_hook, .context = "3"};
    doomed = (struct loop_hook){.run = tell_hook, .context = "2"};
    loop_add_ready(loop, &first);
    loop_add_ready(loop, &doomed);
    loop_add_ready(loop, &last);
    loop_turn(loop, 0);
    assert_story("13");
    loop_remove_hook(loop, &first);
    loop_remove_hook(loop, &last);
}

static bool leave_over_twice(void *context)
{
    int *left = context;
    return --*left > 0;
}

static void turn_that_left_work_over_is_followed_without_a_wait(void **state)
{
    (void)state;
    int left = 3;
    struct loop_hook hook = {.run = leave_over_twice, .context = &left};
    loop_add_ready(loop, &hook);
    int64_t began = loop_exact_us(loop);
    loop_turn(loop, 0);
    loop_turn(loop, 30000);
    loop_turn(loop, 30000);
    assert_int_equal(left, 0);
    assert_true(loop_exact_us(loop) - began < 20000000);
    loop_remove_hook(loop, &hook);
}

static bool again_hook(void *context)
{
    (void)context;
    loop_again(loop);
    return false;
}

static void loop_again_in_a_turn_end_hook_spares_the_next_wait(void **state)
{
    (void)state;
    struct loop_hook hook = {.run = again_hook};
    loop_add_turn_end(loop, &hook);
    loop_turn(loop, 0);
    int64_t began = loop_exact_us(loop);
    loop_turn(loop, 30000);
    assert_true(loop_exact_us(loop) - began < 20000000);
    loop_remove_hook(loop, &hook);
}

/* Descriptors */

static struct loop_watch *watch;

static void read_one(int fd, int what, void *context)
{
    (void)context;
    char c[2] = "";
    assert_int_equal(what, LOOP_READ);
    assert_int_equal(read(fd, c, 1), 1);
    tell(c);
}

static void open_pipe(int fds[2])
{
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
}

static void close_pipe(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

static void watch_reports_until_it_is_told_to_keep_quiet(void **state)
{
    (void)state;
    int fds[2];
    open_pipe(fds);
    watch = loop_watch_new(loop, fds[0], LOOP_READ, read_one, NULL);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    loop_turn(loop, 0);
    loop_turn(loop, 30000);
    assert_story("ab");
    loop_watch_change(watch, 0);
    loop_turn(loop, 0);
    assert_story("ab");
    loop_watch_change(watch, LOOP_READ);
    loop_turn(loop, 0);
    assert_story("abc");
    loop_watch_free(watch);
    loop_watch_free(NULL);
    close_pipe(fds);
}

static void free_on_write(int fd, int what, void *letter)
{
    (void)fd;
    assert_int_equal(what, LOOP_WRITE);
    tell(letter);
    loop_watch_free(watch);
}

static void watch_may_be_freed_in_its_own_call(void **state)
{
    (void)state;
    int fds[2];
    open_pipe(fds);
    watch = loop_watch_new(loop, fds[1], LOOP_WRITE, free_on_write, "w");
    loop_turn(loop, 0);
    loop_turn(loop, 0);
    assert_story("w");
    close_pipe(fds);
}

static struct loop_watch *pair[2];

static void free_pair(int fd, int what, void *context)
{
    (void)fd, (void)what, (void)context;
    tell("x");
    for (int i = 0; i < 2; i++) {
        loop_watch_free(pair[i]);
        pair[i] = NULL;
    }
}

static void watch_freed_by_another_one_is_silent_in_the_same_turn(void **state)
{
    (void)state;
    int a[2], b[2];
    open_pipe(a);
    open_pipe(b);
    pair[0] = loop_watch_new(loop, a[1], LOOP_WRITE, free_pair, NULL);
    pair[1] = loop_watch_new(loop, b[1], LOOP_WRITE, free_pair, NULL);
    loop_turn(loop, 0);
    assert_story("x");
    close_pipe(a);
    close_pipe(b);
}

/* Posts and signals */

#define POSTS_PER_THREAD 5000

static int posts_seen;

static void count_post(void *context)
{
    (void)context;
    posts_seen++;
}

static void *post_many(void *context)
{
    (void)context;
    for (int i = 0; i < POSTS_PER_THREAD; i++)
        loop_post(loop, count_post, NULL);
    return NULL;
}

static void posts_of_other_threads_all_arrive(void **state)
{
    (void)state;
    pthread_t threads[3];
    posts_seen = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, NULL), 0);
    while (posts_seen < 3 * POSTS_PER_THREAD)
        loop_turn(loop, 1000); /* ctest's time-out is the other end */
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    loop_turn(loop, 0);
    assert_int_equal(posts_seen, 3 * POSTS_PER_THREAD);
}

static void post_again(void *letter)
{
    tell(letter);
    loop_post(loop, tell, "2");
}

static void post_made_by_a_post_runs_in_the_next_turn(void **state)
{
    (void)state;
    loop_post(loop, post_again, "1");
    loop_turn(loop, 0);
    assert_story("1");
    loop_turn(loop, 1000);
    assert_story("12");
}

static void posts_left_behind_are_freed_with_the_loop(void **state)
{
    (void)state;
    struct err err;
    struct loop *other = loop_new(&err);
    loop_post(other, tell, "never");
    loop_free(other);
    assert_story("");
}

static void on_usr1(int number, void *letter)
{
    assert_int_equal(number, SIGUSR1);
    tell(letter);
}

static void signals_are_ordinary_calls(void **state)
{
    (void)state;
    loop_on_signal(loop, SIGUSR1, on_usr1, "old");
    loop_on_signal(loop, SIGUSR1, on_usr1, "s");
    raise(SIGUSR1);
    assert_story("");
    loop_turn(loop, 1000);
    assert_story("s");
}

static void stop_it(void *context)
{
    (void)context;
    tell("s");
    loop_stop(loop);
}

static void run_ends_after_the_turn_that_was_told_to_stop(void **state)
{
    (void)state;
    struct timer timer = {0};
    struct loop_hook end = {.run = tell_hook, .context = "e"};
    loop_add_turn_end(loop, &end);
    timer_set(loop, &timer, 0, stop_it, NULL);
    loop_run(loop);
    assert_story("se");
    timer_set(loop, &timer, 0, stop_it, NULL);
    loop_run(loop); /* it can be run again */
    assert_story("sese");
    loop_remove_hook(loop, &end);
}

static void stats_name_the_longest_turn_since_the_last_look(void **state)
{
    (void)state;
    struct loop_stats stats;
    loop_turn(loop, 0);
    loop_turn(loop, 2);
    loop_stats_take(loop, &stats);
    assert_int_equal(stats.turns, 2);
    loop_stats_take(loop, &stats);
    assert_int_equal(stats.turns, 2);
    assert_int_equal(stats.turn_us_max, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(timers_fire_in_order_of_time_then_of_setting),
        T(cancelled_timer_never_fires),
        T(moved_timer_fires_once_at_its_new_time),
        T(timer_that_sets_itself_waits_for_the_next_turn),
        T(timer_may_cancel_another_that_is_due),
        T(wait_ends_when_the_first_timer_is_due),
        T(clock_stands_still_within_a_turn),
        T(hooks_run_ready_first_and_turn_end_last),
        T(hook_may_remove_the_next_one),
        T(turn_that_left_work_over_is_followed_without_a_wait),
        T(loop_again_in_a_turn_end_hook_spares_the_next_wait),
        T(watch_reports_until_it_is_told_to_keep_quiet),
        T(watch_may_be_freed_in_its_own_call),
        T(watch_freed_by_another_one_is_silent_in_the_same_turn),
        T(posts_of_other_threads_all_arrive),
        T(post_made_by_a_post_runs_in_the_next_turn),
        T(posts_left_behind_are_freed_with_the_loop),
        T(signals_are_ordinary_calls),
        T(run_ends_after_the_turn_that_was_told_to_stop),
        T(stats_name_the_longest_turn_since_the_last_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
