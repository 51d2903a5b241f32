/*
 * torture.c -- small fixed schedules, and the loop that fails each of their calls in turn.
 *
 * To add a scene: a function that fills a schedule, and its row in `scenes`.
 */
#include "tests/sim/hunt/torture.h"

#include <stdio.h>
#include <string.h>

#include "tests/sim/hunt/play.h"

static void a_question(struct schedule *s)
{
    schedule_ask(s, 10, 0, -1, 0, false);
    schedule_ask(s, 10, 1, -1, 1, false);
}

static void models_side_by_side(struct schedule *s)
{
    schedule_ask(s, 10, 0, -1, 5, false);
    schedule_ask(s, 10, 1, -1, 3, true);
}

static void a_conversation(struct schedule *s)
{
    for (int turn = 0; turn < 3; turn++)
        schedule_ask(s, 10 + 100 * turn, turn, 0, 0, false);
}

static void two_workers(struct schedule *s)
{
    s->workers = 2;
    s->partitions = 2;
    for (int i = 0; i < 6; i++)
        schedule_ask(s, 10, i, i % 3 - 1, i % 4, false);
}

static void retries(struct schedule *s)
{
    schedule_reply(s, 0, 0, (struct sim_reply){.status = 429, .after_ms = 20});
    schedule_reply(s, 0, 1, (struct sim_reply){.status = 500, .after_ms = 20});
    schedule_reply(s, 1, 0, (struct sim_reply){.status = 400, .after_ms = 20});
    schedule_ask(s, 10, 0, -1, 0, false);
    schedule_ask(s, 10, 1, -1, 2, false);
}

static void what_is_refused(struct schedule *s)
{
    schedule_ask_sort(s, 10, 0, 0, SORT_NO_MODEL);
    schedule_ask_sort(s, 10, 1, -1, SORT_GARBAGE);
    schedule_ask_sort(s, 10, 2, -1, SORT_LATE);
    schedule_ask(s, 10, 3, 0, 0, false);
    schedule_ask_sort(s, 10, 3, 0, SORT_OTHER_BODY);
}

static void once_more(struct schedule *s)
{
    schedule_ask(s, 10, 0, -1, 0, false);
    schedule_ask_sort(s, 10, 0, -1, SORT_AGAIN);
    schedule_ask_sort(s, 3000, 0, -1, SORT_AGAIN);
}

static void a_restart(struct schedule *s)
{
    for (int i = 0; i < 4; i++)
        schedule_ask(s, 10, i, i % 2 - 1, 0, false);
    schedule_event(s, 60, EVENT_KILL_WORKER, 0, 100);
    schedule_event(s, 90, EVENT_KILL_AGGREGATOR, 0, 100);
}

static void a_drain(struct schedule *s)
{
    s->workers = 2;
    for (int i = 0; i < 4; i++)
        schedule_ask(s, 10, i, i % 2 - 1, 0, false);
    schedule_event(s, 30, EVENT_TERM_WORKER, 0, 100);
    schedule_event(s, 60, EVENT_TERM_AGGREGATOR, 0, 100);
}

static void a_rebalance(struct schedule *s)
{
    s->workers = s->aggregators = s->partitions = 2;
    for (int i = 0; i < 5; i++)
        schedule_ask(s, 10, i, i % 3 - 1, 0, false);
    schedule_event(s, 30, EVENT_REBALANCE, 0, 0);
}

static void a_redis_that_forgets(struct schedule *s)
{
    for (int turn = 0; turn < 3; turn++)
        schedule_ask(s, 10 + 100 * turn, turn, 0, 0, false);
    schedule_event(s, 120, EVENT_REDIS_FLUSH, 0, 0);
}

static void put_off_between_calls(struct schedule *s)
{
    s->put_off.on = s->put_off.all = true;
    for (int i = 0; i < 6; i++)
        schedule_reply(s, 0, i, (struct sim_reply){.status = 500, .after_ms = 20});
    for (int i = 0; i < 5; i++)
        schedule_ask(s, 10, i, -1, i % 3 ? 0 : 2, false);
}

static const struct scene {
    const char *name;
    void (*fill)(struct schedule *schedule);
} scenes[] = {
    {"a_question", a_question},
    {"models_side_by_side", models_side_by_side},
    {"a_conversation", a_conversation},
    {"two_workers", two_workers},
    {"retries", retries},
    {"what_is_refused", what_is_refused},
    {"once_more", once_more},
    {"a_restart", a_restart},
    {"a_drain", a_drain},
    {"a_rebalance", a_rebalance},
    {"a_redis_that_forgets", a_redis_that_forgets},
    {"put_off_between_calls", put_off_between_calls},
};

static void set_up(const struct scene *scene, struct schedule *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->seed = 1;
    ret->partitions = ret->workers = ret->aggregators = ret->sessions = 1;
    ret->max_in_flight = 8;
    ret->end_ms = 4000;
    scene->fill(ret);
}

static bool fail_call(const struct scene *scene, uint64_t nth, enum sim_way way)
{
    struct schedule schedule;
    struct played played;
    set_up(scene, &schedule);
    schedule_fault(&schedule, SIM_DOORS, nth, way);
    if (!play(&schedule, NULL, &played))
        return false;
    printf("%s, call %llu goes '%s': %.*s\n", scene->name, (unsigned long long)nth,
           sim_way_name(way), (int)strcspn(played.text, "\n"), played.text);
    return true;
}

/* How many runs failed. */
static size_t torture_scene(const struct scene *scene)
{
    struct schedule schedule;
    struct played whole;
    size_t runs = 0, failed = 0;
    set_up(scene, &schedule);
    if (play(&schedule, NULL, &whole)) {
        printf("%s: %s", scene->name, whole.text);
        return 1;
    }
    for (uint64_t nth = 1; nth <= whole.calls && nth <= DOORS_SEEN; nth++)
        for (enum sim_way way = SIM_WELL + 1; way < SIM_WAYS; way++) {
            if (!sim_door_knows((enum sim_door)whole.doors[nth - 1], way))
                continue;
            failed += fail_call(scene, nth, way);
            runs++;
        }
    printf("%-24s %4llu calls, %5zu runs, %zu failed\n", scene->name,
           (unsigned long long)whole.calls, runs, failed);
    return failed;
}

int torture(const char *name)
{
    size_t failed = 0, played = 0;
    for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
        if (name && strcmp(name, scenes[i].name) != 0)
            continue;
        played++;
        failed += torture_scene(&scenes[i]);
    }
    if (!played) {
        fprintf(stderr, "quern-hunt: there is no scene '%s'\n", name);
        return 2;
    }
    return failed ? 1 : 0;
}
