/*
 * Goal: delays double from 100 ms to 5 s, each between the half and the whole.
 * Method: a seeded generator, many draws per attempt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/io/backoff.h"

static void delays_stay_between_half_and_whole(void **state)
{
    (void)state;
    static const int64_t ceilings[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct rand rand;
    rand_init(&rand, 7);
    for (unsigned attempt = 0; attempt < 8; attempt++) {
        int64_t least = INT64_MAX, most = 0;
        for (int i = 0; i < 1000; i++) {
            int64_t ms = backoff_ms(&rand, attempt);
            least = ms < least ? ms : least;
            most = ms > most ? ms : most;
        }
        int64_t ceiling = ceilings[attempt];
        assert_in_range(least, ceiling / 2, ceiling / 2 + ceiling / 20);
        assert_in_range(most, ceiling - ceiling / 20, ceiling);
    }
    assert_in_range(backoff_ms(&rand, 4000000000u), 2500, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_stay_between_half_and_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
