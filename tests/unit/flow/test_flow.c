/*
 * test_flow.c -- walks through small step tables: order, waiting, rounds back, ends and counts.
 *
 * Each subject has a script of verdicts per call; what was called is told as a line of text. The
 * loop is the real one and never waits.
 */
#include "common/flow/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/log.h"

static struct buf story;
static struct loop *loop;
static struct flow flow;

/* What the steps a and b say, call after call; asks before a STEP_WAIT; beyond: STEP_NEXT. */
struct script {
    enum verdict verdicts[8];
    unsigned asks[8];
};

struct subject {
    struct walk walk;
    struct script script;
    unsigned calls;
    bool answer_at_once;
    int64_t sleep_until_ms;
};

static enum verdict play(struct subject *subject, const char *what)
{
    unsigned call = subject->calls++;
    enum verdict verdict = subject->script.verdicts[call];

    buf_printf(&story, "%s.%s ", walk_step_name(&subject->walk), what);
    for (unsigned i = 0; i < subject->script.asks[call]; i++) {
        walk_ask(&subject->walk);
        if (subject->answer_at_once)
            walk_answer(&subject->walk);
    }
    if (subject->sleep_until_ms && verdict == STEP_WAIT)
        walk_sleep_until(&subject->walk, subject->sleep_until_ms);
    return verdict;
}

static enum verdict begin(void *subject)
{
    return play(subject, "begin");
}

static enum verdict finish(void *subject)
{
    return play(subject, "finish");
}

static void ended(void *subject, bool ok)
{
    buf_add_str(&story, ok ? STR("ok") : STR("failed"));
    memset(subject, 0xee, sizeof(struct subject)); /* flow must not look at it any more */
}

static const struct step steps[] = {
    {.name = "a", .begin = begin, .finish = finish},
    {.name = "b", .begin = begin, .finish = finish, .back = "a", .back_max = 2},
    {.name = "c", .begin = begin},
    {0},
};

static int set_up(void **state)
{
    (void)state;
    struct err err;
    buf_init(&story, 4096);
    loop = loop_new(&err);
    if (!loop)
        return -1;
    flow_init(&flow, "test", loop, steps, ended);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    flow_done(&flow);
    loop_free(loop);
    buf_done(&story);
    log_sink(NULL, NULL);
    return 0;
}

#define assert_story(text) assert_string_equal(buf_str(&story).data, text)

static void start(struct subject *subject)
{
    walk_start(&subject->walk, &flow, subject);
}

static void walk_goes_through_all_steps_in_one_turn(void **state)
{
    (void)state;
    struct subject s = {0};
    start(&s);
    assert_story(""); /* never from inside walk_start() */
    assert_int_equal(flow.walking, 1);
    loop_turn(loop, 30000);
    assert_story("a.begin b.begin c.begin ok");
    assert_int_equal(flow.walking, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(flow.stats[i].entered, 1);
        assert_int_equal(flow.stats[i].inside, 0);
        assert_int_equal(flow.stats[i].failed, 0);
    }
}

static void walk_that_asked_goes_on_when_the_last_answer_is_in(void **state)
{
    (void)state;
    struct subject s = {.script = {.verdicts = {STEP_WAIT}, .asks = {3}}};
    start(&s);
    loop_turn(loop, 0);
    assert_int_equal(flow.stats[0].inside, 1);
    walk_answer(&s.walk);
    walk_answer(&s.walk);
    loop_turn(loop, 0);
    assert_story("a.begin ");
    walk_answer(&s.walk);
    assert_story("a.begin "); /* not from inside walk_answer() */
    loop_turn(loop, 30000);
    assert_story("a.begin a.finish b.begin c.begin ok");
    assert_int_equal(flow.stats[0].inside, 0);
    assert_int_equal(flow.stats[0].entered, 1);
}

static void finish_may_ask_again(void **state)
{
    (void)state;
    struct subject s = {.script = {.verdicts = {STEP_WAIT, STEP_WAIT, STEP_DONE}, .asks = {1, 1}}};
    start(&s);
    loop_turn(loop, 0);
    walk_answer(&s.walk);
    loop_turn(loop, 0);
    walk_answer(&s.walk);
    loop_turn(loop, 0);
    assert_story("a.begin a.finish a.finish ok");
}

static void questions_answered_on_the_spot_need_no_wait(void **state)
{
    (void)state;
    struct subject s = {.script = {.verdicts = {STEP_WAIT}, .asks = {2}}, .answer_at_once = true};
    start(&s);
    loop_turn(loop, 0);
    assert_story("a.begin a.finish b.begin c.begin ok");
}

static void step_back_repeats_from_the_named_step_until_rounds_are_used_up(void **state)
{
    (void)state;
    const enum verdict N = STEP_NEXT, B = STEP_BACK;
    struct subject s = {.script = {.verdicts = {N, B, N, B, N, B}}};
    start(&s);
    loop_turn(loop, 0);
    assert_story("a.begin b.begin a.begin b.begin a.begin b.begin failed");
    assert_int_equal(flow.stats[0].entered, 3);
    assert_int_equal(flow.stats[1].back, 2);
    assert_int_equal(flow.stats[1].failed, 1);
    assert_int_equal(flow.stats[1].inside, 0);
}

static void rounds_are_counted_per_walk(void **state)
{
    (void)state;
    const enum verdict N = STEP_NEXT, B = STEP_BACK, D = STEP_DONE;
    for (int i = 0; i < 3; i++) {
        struct subject s = {.script = {.verdicts = {N, B, N, B, D}}};
        buf_clear(&story);
        start(&s);
        loop_turn(loop, 0);
        assert_story("a.begin b.begin a.begin b.begin a.begin ok");
    }
}

static void failing_step_ends_the_walk(void **state)
{
    (void)state;
    struct subject s = {.script = {.verdicts = {STEP_NEXT, STEP_FAIL}}};
    start(&s);
    loop_turn(loop, 0);
    assert_story("a.begin b.begin failed");
    assert_int_equal(flow.stats[1].failed, 1);
    assert_int_equal(flow.stats[2].entered, 0);
}

static void done_skips_the_rest(void **state)
{
    (void)state;
    struct subject s = {.script = {.verdicts = {STEP_DONE}}};
    start(&s);
    loop_turn(loop, 0);
    assert_story("a.begin ok");
}

static void sleep_ends_at_its_time(void **state)
{
    (void)state;
    struct subject s = {.script = {.verdicts = {STEP_WAIT, STEP_DONE}}, .sleep_until_ms = 1};
    start(&s);
    loop_turn(loop, 0);
    assert_story("a.begin ");
    loop_turn(loop, 1000);
    assert_story("a.begin a.finish ok");
}

static void wake_ends_a_sleep_early_and_only_once(void **state)
{
    (void)state;
    struct subject s = {.script = {.verdicts = {STEP_WAIT, STEP_DONE}, .asks = {1}},
                        .sleep_until_ms = loop_now_ms(loop) + 3600000};
    start(&s);
    loop_turn(loop, 0);
    walk_wake(&s.walk);
    walk_wake(&s.walk); /* no timer any more: must not answer the other question */
    loop_turn(loop, 0);
    assert_story("a.begin ");
    walk_answer(&s.walk);
    loop_turn(loop, 0);
    assert_story("a.begin a.finish ok");
}

static void ready_queue_is_bounded_per_turn(void **state)
{
    (void)state;
    struct subject subjects[5] = {0};
    flow.ready_per_turn = 2;
    for (int i = 0; i < 5; i++)
        start(&subjects[i]);
    const size_t left[] = {3, 1, 0};
    for (int i = 0; i < 3; i++) {
        loop_turn(loop, 30000); /* never waits while some are left */
        assert_int_equal(flow.walking, left[i]);
    }
}

static void time_inside_a_step_includes_its_waiting(void **state)
{
    (void)state;
    struct subject s = {.script = {.verdicts = {STEP_WAIT, STEP_DONE}, .asks = {1}}};
    start(&s);
    loop_turn(loop, 0);
    int64_t until = loop_exact_us(loop) + 2000;
    while (loop_exact_us(loop) < until)
        ;
    walk_answer(&s.walk);
    loop_turn(loop, 0);
    assert_true(flow.stats[0].spent_us >= 2000);
}

static struct walk *to_answer;

static bool answer_late(void *context)
{
    (void)context;
    if (to_answer)
        walk_answer(to_answer);
    to_answer = NULL;
    return false;
}

static void answer_from_a_turn_end_hook_is_not_slept_over(void **state)
{
    (void)state;
    struct subject s = {.script = {.verdicts = {STEP_WAIT, STEP_DONE}, .asks = {1}}};
    struct loop_hook hook = {.run = answer_late};
    loop_add_turn_end(loop, &hook);
    start(&s);
    to_answer = &s.walk;
    loop_turn(loop, 0);
    int64_t began = loop_exact_us(loop);
    loop_turn(loop, 30000);
    assert_story("a.begin a.finish ok");
    assert_true(loop_exact_us(loop) - began < 20000000);
    loop_remove_hook(loop, &hook);
}

static void keep_line(struct str line, void *context)
{
    buf_add_str(context, line);
}

static enum verdict log_begin(void *subject)
{
    (void)subject;
    log_info("hello");
    return STEP_NEXT;
}

static void ended_logging(void *subject, bool ok)
{
    (void)ok;
    memset(subject, 0, sizeof(struct subject));
    log_info("bye");
}

static struct str subject_id(const void *subject)
{
    (void)subject;
    return STR("request-7");
}

static void log_lines_of_a_step_carry_the_subjects_id(void **state)
{
    (void)state;
    static const struct step logging[] = {{.name = "a", .begin = log_begin}, {0}};
    struct flow other;
    struct subject s = {0};
    struct buf lines;
    buf_init(&lines, 4096);
    log_init("test", "json", LOG_LEVEL_INFO);
    log_sink(keep_line, &lines);
    flow_init(&other, "other", loop, logging, ended_logging);
    other.subject_id = subject_id;
    walk_start(&s.walk, &other, &s);
    loop_turn(loop, 0);
    const char *first = strstr(lines.data, "request-7");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "request-7")); /* the line of ended() as well */
    buf_clear(&lines);
    log_info("outside");
    assert_null(strstr(lines.data, "request-7"));
    flow_done(&other);
    buf_done(&lines);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(walk_goes_through_all_steps_in_one_turn),
        T(walk_that_asked_goes_on_when_the_last_answer_is_in),
        T(finish_may_ask_again),
        T(questions_answered_on_the_spot_need_no_wait),
        T(step_back_repeats_from_the_named_step_until_rounds_are_used_up),
        T(rounds_are_counted_per_walk),
        T(failing_step_ends_the_walk),
        T(done_skips_the_rest),
        T(sleep_ends_at_its_time),
        T(wake_ends_a_sleep_early_and_only_once),
        T(ready_queue_is_bounded_per_turn),
        T(time_inside_a_step_includes_its_waiting),
        T(answer_from_a_turn_end_hook_is_not_slept_over),
        T(log_lines_of_a_step_carry_the_subjects_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
