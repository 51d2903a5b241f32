/*
 * Goal: percentiles, counts and progress say what happened.
 * Method: latencies with known ranks against the sorted list; texts byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "common/base/xalloc.h"
#include "producer/batch/progress.h"
#include "producer/batch/stats.h"

static struct stats *stats_new(void)
{
    return xzalloc(sizeof(struct stats));
}

static void without_a_latency_percentiles_are_zero(void **state)
{
    (void)state;
    struct stats *stats = stats_new();
    assert_int_equal(stats_percentile(stats, 0.5), 0);
    free(stats);
}

static void small_latencies_are_exact(void **state)
{
    (void)state;
    struct stats *stats = stats_new();
    for (int ms = 1; ms <= 100; ms++)
        stats_latency(stats, ms);
    assert_int_equal(stats_percentile(stats, 0.5), 50);
    assert_int_equal(stats_percentile(stats, 0.99), 99);
    assert_int_equal(stats_percentile(stats, 1), 100);
    assert_int_equal(stats_percentile(stats, 0), 1);
    free(stats);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void large_latencies_are_at_most_a_64th_too_large(void **state)
{
    (void)state;
    enum { N = 2000 };
    static int64_t all[N];
    static const double shares[] = {0.01, 0.5, 0.9, 0.99, 1};
    struct stats *stats = stats_new();
    struct rand rand;
    rand_init(&rand, 42);
    for (int i = 0; i < N; i++) {
        all[i] = (int64_t)rand_below(&rand, (uint64_t)1 << rand_below(&rand, 40));
        stats_latency(stats, all[i]);
    }
    qsort(all, N, sizeof(all[0]), by_size);
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        int64_t is = stats_percentile(stats, shares[i]);
        int64_t want = all[(size_t)(shares[i] * N) - 1];
        if (is < want || is > want + want / 64 + 1)
            fail_msg("share %g is %lld, not %lld", shares[i], (long long)is, (long long)want);
    }
    free(stats);
}

static void a_latency_beyond_all_buckets_goes_into_the_last(void **state)
{
    (void)state;
    struct stats *stats = stats_new();
    stats_latency(stats, INT64_MAX);
    stats_latency(stats, -5);
    assert_int_equal(stats_percentile(stats, 0.5), 0);
    assert_true(stats_percentile(stats, 1) > (int64_t)1 << 40);
    free(stats);
}

static void failures_are_counted_by_their_code(void **state)
{
    (void)state;
    struct stats *stats = stats_new();
    struct reply reply;
    contract_init(&contract_reply, &reply);
    reply.cost_microusd = 5;
    stats_reply(stats, &reply);
    reply.status = STR("expired");
    stats_reply(stats, &reply); /* without a code its status is one */
    reply.error.code = STR("too_big");
    stats_reply(stats, &reply);
    stats_failure(stats, STR("too_big"));
    assert_int_equal(stats->answered, 1);
    assert_int_equal(stats->failed, 3);
    assert_int_equal(stats->code_count, 2);
    assert_string_equal(stats->codes[1].name, "too_big");
    assert_int_equal(stats->codes[1].count, 2);
    assert_int_equal(stats->cost_microusd, 15);
    free(stats);
}

static void more_codes_than_places_share_the_last(void **state)
{
    (void)state;
    struct stats *stats = stats_new();
    char name[32];
    for (int i = 0; i < STATS_CODES_MAX + 10; i++) {
        snprintf(name, sizeof(name), "code-%d", i);
        stats_failure(stats, str_of(name));
    }
    assert_int_equal(stats->code_count, STATS_CODES_MAX);
    assert_int_equal(stats->codes[STATS_CODES_MAX - 1].count, 11);
    free(stats);
}

static void assert_progress(const struct progress *progress, int64_t done, int64_t failed,
                            const char *want)
{
    struct buf text;
    buf_init(&text, 4096);
    progress_text(progress, done, failed, &text);
    assert_string_equal(text.data, want);
    buf_done(&text);
}

static void progress_says_how_far_and_how_long(void **state)
{
    (void)state;
    struct progress progress;
    progress_init(&progress, true, true, 2000, 0, 1000);
    assert_false(progress_due(&progress, 0, 1100));
    assert_true(progress_due(&progress, 500, 2000));
    assert_progress(&progress, 500, 0,
                    "[#######.......................] 500/2 000  500.0/s  3.0 s left");
    assert_true(progress_due(&progress, 2000, 3000));
    assert_progress(&progress, 2000, 7,
                    "[##############################] 2 000/2 000  1000.0/s  7 failed");
}

static void without_a_terminal_a_line_comes_every_five_seconds(void **state)
{
    (void)state;
    struct progress progress;
    progress_init(&progress, true, false, 10, 4, 0);
    assert_false(progress_due(&progress, 4, 4999));
    assert_true(progress_due(&progress, 4, 5000));
    assert_false(progress_due(&progress, 4, 5001));
    assert_progress(&progress, 4, 0, "4/10  0.0/s");
    progress_init(&progress, false, false, 10, 4, 0);
    assert_false(progress_due(&progress, 4, 100000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_latency_percentiles_are_zero),
        cmocka_unit_test(small_latencies_are_exact),
        cmocka_unit_test(large_latencies_are_at_most_a_64th_too_large),
        cmocka_unit_test(a_latency_beyond_all_buckets_goes_into_the_last),
        cmocka_unit_test(failures_are_counted_by_their_code),
        cmocka_unit_test(more_codes_than_places_share_the_last),
        cmocka_unit_test(progress_says_how_far_and_how_long),
        cmocka_unit_test(without_a_terminal_a_line_comes_every_five_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
