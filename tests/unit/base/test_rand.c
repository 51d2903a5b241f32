/*
 * Goal: the generators are the published ones, ranges are kept, ids have the layout of RFC 9562.
 */
#include "tests/unit/base/test.h"

#include "common/base/rand.h"

/* splitmix64 is seen through the state it seeds; values of its reference implementation. */
static void seeding_is_splitmix64(void **state)
{
    (void)state;
    static const uint64_t want[] = {UINT64_C(6457827717110365317), UINT64_C(3203168211198807973),
                                    UINT64_C(9817491932198370423), UINT64_C(4593380528125082431)};
    struct rand rand;
    rand_init(&rand, 1234567);
    for (size_t i = 0; i < 4; i++)
        assert_true(rand.state[i] == want[i]);
}

/* Values of the reference implementation from the state 1, 2, 3, 4. */
static void numbers_are_xoshiro256_starstar(void **state)
{
    (void)state;
    static const uint64_t want[] = {
        UINT64_C(11520),
        UINT64_C(0),
        UINT64_C(1509978240),
        UINT64_C(1215971899390074240),
        UINT64_C(1216172134540287360),
        UINT64_C(607988272756665600),
        UINT64_C(16172922978634559625),
        UINT64_C(8476171486693032832),
        UINT64_C(10595114339597558777),
        UINT64_C(2904607092377533576),
    };
    struct rand rand = {{1, 2, 3, 4}};
    for (size_t i = 0; i < COUNT_OF(want); i++)
        assert_true(rand_u64(&rand) == want[i]);
}

static void the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    struct rand a;
    struct rand b;
    struct rand c;
    rand_init(&a, 42);
    rand_init(&b, 42);
    rand_init(&c, 43);
    int different = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t x = rand_u64(&a);
        assert_true(x == rand_u64(&b));
        different += x != rand_u64(&c);
    }
    assert_int_equal(different, 100);
}

static void two_seeds_of_the_system_differ(void **state)
{
    (void)state;
    struct rand a;
    struct rand b;
    rand_init_system(&a);
    rand_init_system(&b);
    assert_memory_not_equal(&a, &b, sizeof(a));
}

static void bounded_numbers_are_uniform_and_below_the_bound(void **state)
{
    (void)state;
    struct rand rand;
    rand_init(&rand, 1);
    unsigned seen[6] = {0};
    for (int i = 0; i < 60000; i++) {
        uint64_t x = rand_below(&rand, 6);
        assert_true(x < 6);
        seen[x]++;
    }
    for (size_t i = 0; i < 6; i++)
        assert_in_range(seen[i], 9600, 10400); /* more than four standard deviations */
    assert_true(rand_below(&rand, 1) == 0);

    /* Four numbers are dealt to three results: without drawing again, every third would come twice
     * as often as the others. */
    uint64_t bound = UINT64_C(3) << 62;
    int thirds = 0;
    for (int i = 0; i < 30000; i++) {
        uint64_t x = rand_below(&rand, bound);
        assert_true(x < bound);
        thirds += x % 3 == 0;
    }
    assert_in_range(thirds, 9600, 10400);
}

static void units_stay_below_one(void **state)
{
    (void)state;
    struct rand rand;
    rand_init(&rand, 1);
    double sum = 0;
    for (int i = 0; i < 10000; i++) {
        double x = rand_unit(&rand);
        assert_true(x >= 0 && x < 1);
        sum += x;
    }
    assert_true(sum > 4800 && sum < 5200);
}

static void ids_are_uuid_version_7(void **state)
{
    (void)state;
    struct rand rand;
    rand_init(&rand, 9);
    char first[UUID_TEXT_LEN + 1];
    char second[UUID_TEXT_LEN + 1];
    /* The instant of the example in RFC 9562, appendix A.6. */
    rand_uuid7(&rand, 0x017F22E279B0, first);
    rand_uuid7(&rand, 0x017F22E279B1, second);
    assert_int_equal(strlen(first), UUID_TEXT_LEN);
    assert_memory_equal(first, "017f22e2-79b0-7", 15);
    for (size_t i = 0; i < UUID_TEXT_LEN; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(first[i], '-');
        else
            assert_non_null(strchr("0123456789abcdef", first[i]));
    }
    assert_true(strcmp(first, second) < 0); /* ids sort by their time */
}

static void ids_are_random_but_for_time_version_and_variant(void **state)
{
    (void)state;
    struct rand rand;
    rand_init(&rand, 10);
    static const char pattern[] = "01234567-89ab-7rrr-vrrr-rrrrrrrrrrrr";
    unsigned seen[UUID_TEXT_LEN] = {0}; /* a bit per digit that stood there */
    for (int i = 0; i < 2000; i++) {
        char id[UUID_TEXT_LEN + 1];
        rand_uuid7(&rand, 0x0123456789ab, id);
        for (size_t at = 0; at < UUID_TEXT_LEN; at++) {
            if (pattern[at] != 'r' && pattern[at] != 'v')
                assert_int_equal(id[at], pattern[at]);
            else
                seen[at] |=
                    1u << (strchr("0123456789abcdef", id[at]) - strchr("0123456789abcdef", '0'));
        }
    }
    for (size_t at = 0; at < UUID_TEXT_LEN; at++) {
        if (pattern[at] == 'r')
            assert_int_equal(seen[at], 0xffff);
        if (pattern[at] == 'v')
            assert_int_equal(seen[at], 0x0f00); /* 8, 9, a, b */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeding_is_splitmix64),
        cmocka_unit_test(numbers_are_xoshiro256_starstar),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
        cmocka_unit_test(two_seeds_of_the_system_differ),
        cmocka_unit_test(bounded_numbers_are_uniform_and_below_the_bound),
        cmocka_unit_test(units_stay_below_one),
        cmocka_unit_test(ids_are_uuid_version_7),
        cmocka_unit_test(ids_are_random_but_for_time_version_and_variant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
