/*
 * Goal: the offset to commit never passes unfinished work and never waits for offsets that do not
 * exist (gaps), whatever the order of finishing; the window's border is exactly 2^20.
 * Method: tables for the shapes with a name, and a random walk compared with a naive set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "common/io/offset_tracker.h"

/* '+' starts, '-' finishes; then low, unfinished and spread must be as told. */
struct step {
    char what;
    int64_t offset;
    int64_t low;
    uint64_t unfinished;
    int64_t spread;
};

static void walk(int64_t next, const struct step *steps, size_t count)
{
    struct offset_tracker *tracker = offset_tracker_new(next);
    assert_int_equal(offset_tracker_low(tracker), next);
    assert_int_equal(offset_tracker_spread(tracker), 0);
    for (size_t i = 0; i < count; i++) {
        if (steps[i].what == '+')
            assert_true(offset_tracker_start(tracker, steps[i].offset));
        else
            offset_tracker_finish(tracker, steps[i].offset);
        assert_int_equal(offset_tracker_low(tracker), steps[i].low);
        assert_int_equal(offset_tracker_unfinished(tracker), steps[i].unfinished);
        assert_int_equal(offset_tracker_spread(tracker), steps[i].spread);
    }
    offset_tracker_free(tracker);
}

#define WALK(next, ...)                                                                            \
    do {                                                                                           \
        static const struct step steps[] = {__VA_ARGS__};                                          \
        walk(next, steps, sizeof(steps) / sizeof(steps[0]));                                       \
    } while (0)

static void finishing_in_order_moves_low_one_by_one(void **state)
{
    (void)state;
    WALK(0, {'+', 0, 0, 1, 0}, {'+', 1, 0, 2, 1}, {'-', 0, 1, 1, 0}, {'-', 1, 2, 0, 0});
}

static void finishing_out_of_order_waits_for_the_lowest(void **state)
{
    (void)state;
    WALK(7, {'+', 7, 7, 1, 0}, {'+', 8, 7, 2, 1}, {'+', 9, 7, 3, 2}, {'-', 9, 7, 2, 2},
         {'-', 8, 7, 1, 2}, {'-', 7, 10, 0, 0});
}

static void a_gap_counts_as_finished_once_a_higher_offset_started(void **state)
{
    (void)state;
    WALK(100, {'+', 103, 103, 1, 0}, {'+', 110, 103, 2, 7}, {'-', 103, 110, 1, 0},
         {'-', 110, 111, 0, 0}, {'+', 500, 500, 1, 0}, {'-', 500, 501, 0, 0});
}

static void a_gap_behind_unfinished_work_is_not_passed(void **state)
{
    (void)state;
    WALK(0, {'+', 0, 0, 1, 0}, {'+', 65, 0, 2, 65}, {'-', 65, 0, 1, 65}, {'+', 66, 0, 2, 66},
         {'-', 0, 66, 1, 0}, {'-', 66, 67, 0, 0});
}

/* Of 65 offsets or more: it takes up one in the window. */
static void a_long_gap_is_not_passed_either_and_counts_as_one(void **state)
{
    (void)state;
    WALK(0, {'+', 0, 0, 1, 0}, {'+', 66, 0, 2, 2}, {'+', 67, 0, 3, 3}, {'+', 5000000000, 0, 4, 5},
         {'-', 67, 0, 3, 5}, {'-', 0, 66, 2, 3}, {'-', 66, 5000000000, 1, 0},
         {'-', 5000000000, 5000000001, 0, 0});
}

static void words_of_the_ring_meet_without_a_seam(void **state)
{
    (void)state;
    WALK(62, {'+', 62, 62, 1, 0}, {'+', 63, 62, 2, 1}, {'+', 64, 62, 3, 2}, {'+', 128, 62, 4, 66},
         {'-', 63, 62, 3, 66}, {'-', 62, 64, 2, 64}, {'-', 64, 128, 1, 0});
}

/* Starts every 65th offset, none of which is a long gap, up to that one. */
static void start_up_to(struct offset_tracker *tracker, int64_t from, int64_t to)
{
    for (int64_t offset = from + 65; offset < to; offset += 65) {
        assert_true(offset_tracker_start(tracker, offset));
        offset_tracker_finish(tracker, offset);
    }
    assert_true(offset_tracker_start(tracker, to));
}

static void the_window_ends_exactly_at_two_to_the_twenty(void **state)
{
    (void)state;
    for (int64_t first = 0; first < 200; first += 7) {
        struct offset_tracker *tracker = offset_tracker_new(first);
        assert_true(offset_tracker_start(tracker, first));
        start_up_to(tracker, first, first + OFFSET_WINDOW - 1);
        assert_int_equal(offset_tracker_spread(tracker), OFFSET_WINDOW - 1);
        assert_false(offset_tracker_start(tracker, first + OFFSET_WINDOW));

        /* The two share a word of the ring when first is not at a border; low must not take the
         * last one's bit for one below it. */
        offset_tracker_finish(tracker, first);
        assert_int_equal(offset_tracker_low(tracker), first + OFFSET_WINDOW - 1);
        assert_true(offset_tracker_start(tracker, first + OFFSET_WINDOW));
        offset_tracker_free(tracker);
    }
}

/* A thousand of them, each wider than the window, and everything finished in any order. */
static void gaps_wider_than_the_window_block_nobody(void **state)
{
    enum { COUNT = 1000, STEP = 619 }; /* STEP has no divisor in common with COUNT */
    (void)state;
    struct offset_tracker *tracker = offset_tracker_new(5);
    for (int64_t i = 0; i < COUNT; i++)
        assert_true(offset_tracker_start(tracker, 5 + i * 3 * OFFSET_WINDOW));
    bool done[COUNT] = {false};
    int64_t low = 0;
    for (int64_t i = 0; i < COUNT; i++) {
        assert_int_equal(offset_tracker_low(tracker), 5 + low * 3 * OFFSET_WINDOW);
        int64_t at = (i + 1) * STEP % COUNT;
        offset_tracker_finish(tracker, 5 + at * 3 * OFFSET_WINDOW);
        done[at] = true;
        while (low < COUNT && done[low])
            low++;
    }
    assert_int_equal(offset_tracker_low(tracker), 6 + (COUNT - 1) * 3 * OFFSET_WINDOW);
    assert_true(offset_tracker_start(tracker, 7 + COUNT * 3 * OFFSET_WINDOW));
    assert_int_equal(offset_tracker_low(tracker), 7 + COUNT * 3 * OFFSET_WINDOW);
    offset_tracker_free(tracker);
}

static void a_full_window_can_be_finished_backwards(void **state)
{
    (void)state;
    struct offset_tracker *tracker = offset_tracker_new(33);
    for (int64_t i = 0; i < OFFSET_WINDOW; i++)
        assert_true(offset_tracker_start(tracker, 33 + i));
    assert_int_equal(offset_tracker_unfinished(tracker), OFFSET_WINDOW);
    for (int64_t i = OFFSET_WINDOW; i-- > 1;)
        offset_tracker_finish(tracker, 33 + i);
    assert_int_equal(offset_tracker_low(tracker), 33);
    offset_tracker_finish(tracker, 33);
    assert_int_equal(offset_tracker_low(tracker), 33 + OFFSET_WINDOW);
    offset_tracker_free(tracker);
}

/* ---- against a naive set ---- */

#define MODEL_MAX 4096

struct model {
    int64_t open[MODEL_MAX];   /* started and not finished, increasing */
    int64_t places[MODEL_MAX]; /* the same, a long gap counted as one */
    size_t count;
    int64_t next, next_place;
};

static int64_t model_low(const struct model *model)
{
    return model->count ? model->open[0] : model->next;
}

static void model_remove(struct model *model, size_t at)
{
    model->count--;
    for (size_t i = at; i < model->count; i++) {
        model->open[i] = model->open[i + 1];
        model->places[i] = model->places[i + 1];
    }
}

/* Mostly the next offset, sometimes a gap, now and then one wider than the window. */
static int64_t draw_gap(struct rand *rand)
{
    switch (rand_below(rand, 20)) {
    case 0:
        return (int64_t)rand_below(rand, 200);
    case 1:
        return (int64_t)rand_below(rand, (uint64_t)OFFSET_WINDOW / 3);
    case 2:
        return rand_below(rand, 10) ? 0 : (int64_t)rand_below(rand, 2 * (uint64_t)OFFSET_WINDOW);
    default:
        return 0;
    }
}

static void start_one(struct offset_tracker *tracker, struct model *model, struct rand *rand)
{
    int64_t gap = draw_gap(rand), offset = model->next + gap;
    int64_t place = model->next_place + (gap > 64 ? 1 : gap);
    bool fits = model->count == 0 || place - model->places[0] < OFFSET_WINDOW;
    assert_int_equal(offset_tracker_start(tracker, offset), fits);
    if (!fits)
        return;
    model->places[model->count] = place;
    model->open[model->count++] = offset;
    model->next = offset + 1;
    model->next_place = place + 1;
}

static void finish_one(struct offset_tracker *tracker, struct model *model, struct rand *rand)
{
    size_t at = rand_below(rand, 3) ? rand_below(rand, model->count) : 0;
    offset_tracker_finish(tracker, model->open[at]);
    model_remove(model, at);
}

static void a_random_walk_agrees_with_a_naive_set(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rand rand;
        rand_init(&rand, seed);
        struct model model = {.next = (int64_t)rand_below(&rand, 1000)};
        struct offset_tracker *tracker = offset_tracker_new(model.next);
        /* Phases of growing and of shrinking, so that both a full and an empty window are seen. */
        uint64_t growing = 5;
        for (int i = 0; i < 8000; i++) {
            if (i % 1000 == 0)
                growing = 2 + rand_below(&rand, 7);
            if (model.count == 0 || (model.count < MODEL_MAX && rand_below(&rand, 10) < growing))
                start_one(tracker, &model, &rand);
            else
                finish_one(tracker, &model, &rand);
            int64_t low = model_low(&model);
            int64_t spread = model.count ? model.next_place - 1 - model.places[0] : 0;
            if (offset_tracker_low(tracker) != low ||
                offset_tracker_unfinished(tracker) != model.count ||
                offset_tracker_spread(tracker) != spread)
                fail_msg("seed %d step %d: low %lld, expected %lld", (int)seed, i,
                         (long long)offset_tracker_low(tracker), (long long)low);
        }
        offset_tracker_free(tracker);
    }
}

/* ---- our own mistakes abort ---- */

static void finish_twice(struct offset_tracker *tracker)
{
    offset_tracker_finish(tracker, 11);
    offset_tracker_finish(tracker, 11);
}

static void finish_a_gap(struct offset_tracker *tracker)
{
    offset_tracker_finish(tracker, 12);
}

static void finish_below_low(struct offset_tracker *tracker)
{
    offset_tracker_finish(tracker, 9);
}

static void finish_beyond_next(struct offset_tracker *tracker)
{
    offset_tracker_finish(tracker, 10 + OFFSET_WINDOW);
}

static void start_again(struct offset_tracker *tracker)
{
    offset_tracker_start(tracker, 13);
}

static void misuse_aborts(void **state)
{
    (void)state;
    static void (*const mistakes[])(struct offset_tracker *) = {
        finish_twice, finish_a_gap, finish_below_low, finish_beyond_next, start_again};
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            if (!freopen("/dev/null", "w", stderr))
                _exit(3);
            struct offset_tracker *tracker = offset_tracker_new(10);
            offset_tracker_start(tracker, 10);
            offset_tracker_start(tracker, 11);
            offset_tracker_start(tracker, 13);
            mistakes[i](tracker);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finishing_in_order_moves_low_one_by_one),
        cmocka_unit_test(finishing_out_of_order_waits_for_the_lowest),
        cmocka_unit_test(a_gap_counts_as_finished_once_a_higher_offset_started),
        cmocka_unit_test(a_gap_behind_unfinished_work_is_not_passed),
        cmocka_unit_test(a_long_gap_is_not_passed_either_and_counts_as_one),
        cmocka_unit_test(words_of_the_ring_meet_without_a_seam),
        cmocka_unit_test(the_window_ends_exactly_at_two_to_the_twenty),
        cmocka_unit_test(gaps_wider_than_the_window_block_nobody),
        cmocka_unit_test(a_full_window_can_be_finished_backwards),
        cmocka_unit_test(a_random_walk_agrees_with_a_naive_set),
        cmocka_unit_test(misuse_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
