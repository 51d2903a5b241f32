/*
 * Goal: in a line of calls that wait, tenants go one after another; each keeps its own order.
 * Method: lines and stubs by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/call/turns.h"
#include "worker/intake/stubs.h"

struct waiting {
    struct list_node node;
    uint64_t turn;
    int who, number;
};

static struct turns turns;

static void wait_in(struct list *line, struct waiting *w, int who, int number,
                    struct tenant_turn *tenant, int64_t tokens)
{
    *w = (struct waiting){.who = who, .number = number};
    w->turn = turn_draw(&turns, tenant, tokens);
    turn_line_up(line, &w->node, offsetof(struct waiting, turn) - offsetof(struct waiting, node));
}

static struct waiting *leave(struct list *line)
{
    struct waiting *w = container_of(list_pop(line), struct waiting, node);
    turn_served(&turns, w->turn);
    return w;
}

static void a_light_one_goes_before_the_many_of_another(void **state)
{
    struct waiting w[1002];
    struct tenant_turn heavy = {.weight = TURN_WEIGHT}, light = {.weight = TURN_WEIGHT};
    struct list line;
    (void)state;
    turns = (struct turns){0};
    list_init(&line);
    for (int i = 0; i < 1000; i++)
        wait_in(&line, &w[i], 0, i, &heavy, 100);
    for (int i = 0; i < 500; i++)
        assert_int_equal(leave(&line)->number, i);
    wait_in(&line, &w[1000], 1, 0, &light, 100);
    wait_in(&line, &w[1001], 1, 1, &light, 100);
    int place = 0, last = 499;
    for (int seen = 0; seen < 2; place++) {
        struct waiting *next = leave(&line);
        seen += next->who;
        if (!next->who)
            assert_int_equal(next->number, ++last);
    }
    assert_in_range(place, 2, 4);
}

static void a_heavier_weight_has_more_turns(void **state)
{
    struct waiting w[400];
    struct tenant_turn one = {.weight = TURN_WEIGHT}, three = {.weight = 3 * TURN_WEIGHT};
    struct list line;
    int of_three = 0;
    (void)state;
    turns = (struct turns){0};
    list_init(&line);
    for (int i = 0; i < 400; i++)
        wait_in(&line, &w[i], i % 2, i, i % 2 ? &three : &one, 90);
    for (int i = 0; i < 200; i++)
        of_three += leave(&line)->who;
    assert_in_range(of_three, 148, 152);
}

static void stubs_come_out_as_they_went_in(void **state)
{
    struct stubs stubs = {0};
    int64_t out = 0;
    (void)state;
    assert_null(stubs_first(&stubs));
    for (int64_t in = 0; in < 10000; in++) {
        stubs_push(&stubs, &(struct stub){.offset = in});
        if (in % 3 == 0)
            assert_int_equal(stubs_pop(&stubs).offset, out++);
    }
    assert_int_equal(stubs.count, 10000 - out);
    for (; stubs.count; out++) {
        assert_int_equal(stubs_first(&stubs)->offset, out);
        assert_int_equal(stubs_pop(&stubs).offset, out);
    }
    assert_int_equal(out, 10000);
    stubs_push(&stubs, &(struct stub){.offset = 1});
    assert_int_equal(stubs_pop(&stubs).offset, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_light_one_goes_before_the_many_of_another),
        cmocka_unit_test(a_heavier_weight_has_more_turns),
        cmocka_unit_test(stubs_come_out_as_they_went_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
