/*
 * Goal: a mistake of ours ends the process and says where it was.
 */
#include "tests/unit/base/test.h"

#include "common/base/must.h"

static void fail_a_condition(void)
{
    int hands = 3;
    must(hands == 2);
}

static void hold_a_condition(void)
{
    int evaluations = 0;
    must(++evaluations == 1);
    must(evaluations == 1);
}

static void reach_what_is_out_of_reach(void)
{
    must_not_reach("a fifth season");
}

struct thing {
    unsigned magic;
};

static void pass_a_wrong_object(void)
{
    struct thing thing = {.magic = 1};
    void *context = &thing;
    must_be((struct thing *)context, 2u);
}

static void a_false_condition_aborts_with_its_place_and_a_backtrace(void **state)
{
    (void)state;
    struct last_words said;
    assert_true(dies(fail_a_condition, &said));
    assert_non_null(strstr(said.text, "test_must.c:"));
    assert_non_null(strstr(said.text, "must: hands == 2\n"));
    /* Each frame of a backtrace ends in its address. */
    assert_non_null(strstr(said.text, "[0x"));
}

static void a_true_condition_is_evaluated_once_and_goes_on(void **state)
{
    (void)state;
    struct last_words said;
    assert_false(dies(hold_a_condition, &said));
    assert_string_equal(said.text, "");
}

static void a_place_that_is_not_reached_aborts(void **state)
{
    (void)state;
    struct last_words said;
    assert_true(dies(reach_what_is_out_of_reach, &said));
    assert_non_null(strstr(said.text, "not reached: a fifth season"));
}

static void an_object_with_another_magic_number_aborts(void **state)
{
    (void)state;
    struct last_words said;
    assert_true(dies(pass_a_wrong_object, &said));
    assert_non_null(strstr(said.text, "magic == (2u)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_false_condition_aborts_with_its_place_and_a_backtrace),
        cmocka_unit_test(a_true_condition_is_evaluated_once_and_goes_on),
        cmocka_unit_test(a_place_that_is_not_reached_aborts),
        cmocka_unit_test(an_object_with_another_magic_number_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
