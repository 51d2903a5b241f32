/*
 * kept.c -- see kept.h. What a seed draws changes when schedule.c does, so each is written down
 * item by item. Its moments fit latencies that may change, too: each is played with many seeds.
 *
 * To keep one: what the hunt printed as the smallest schedule, as a function, and its row below.
 * See that it fails without the mend.
 */
#include "tests/sim/hunt/kept.h"

#include <stdio.h>
#include <string.h>

#include "tests/sim/hunt/play.h"

enum { SEEDS = 40 };
enum { ALPHA, BETA, ALPHA_BETA, BETA_ALPHA_ALPHA, GAMMA, ALPHA_BETA_GAMMA }; /* models_of() */

/* A conflict that shows only in an answer kept in Redis was told, and not buried. */
static void a_conflict_with_a_kept_answer(struct schedule *s)
{
    schedule_event(s, 5, EVENT_KILL_AGGREGATOR, 0, 3000);
    schedule_ask(s, 10, 0, -1, GAMMA, false);
    schedule_ask_sort(s, 400, 0, -1, SORT_OTHER_BODY);
}

/* The worker died between a failed result and the dead letter: read again, the request was known,
 * and the dead letter never came. */
static void a_death_before_the_dead_letter(struct schedule *s)
{
    schedule_ask_sort(s, 10, 0, -1, SORT_NO_MODEL);
    schedule_ask_sort(s, 10, 1, -1, SORT_LATE);
    for (int at = 12; at < 40; at += 4)
        schedule_event(s, at, EVENT_KILL_WORKER, 0, 30);
}

/* A slow answer of an earlier assignment made the turn final just after it was looked up: its other
 * models were asked with its own answer in the history. */
static void a_turn_that_ends_while_it_is_read(struct schedule *s)
{
    s->partitions = s->workers = s->aggregators = 2;
    s->max_in_flight = 1;
    s->end_ms = 7840;
    schedule_ask(s, 0, 1, 2, BETA_ALPHA_ALPHA, true);
    schedule_ask(s, 692, 5, 1, BETA_ALPHA_ALPHA, false);
    schedule_ask(s, 1095, 16, 1, BETA_ALPHA_ALPHA, false);
    schedule_ask(s, 1151, 17, 0, BETA, true);
    schedule_event(s, 7610, EVENT_REBALANCE, 0, 0);
    schedule_reply(s, 1, 0, (struct sim_reply){.after_ms = 16790});
}

/* A worker that stood still past its session went on with what it had queued: paid twice. */
static void a_zombie_with_work_in_its_queue(struct schedule *s)
{
    s->partitions = 3;
    s->workers = s->aggregators = 2;
    s->max_in_flight = 1;
    s->end_ms = 2520;
    for (int i = 0; i < 9; i++)
        schedule_ask(s, 1371, i, i % 4 - 1, ALPHA_BETA_GAMMA, false);
    schedule_event(s, 1584, EVENT_FREEZE_WORKER, 0, 8859);
}

/* Restarted, it read before its connection to Redis was there, and paid for what is kept. */
static void a_restart_faster_than_redis(struct schedule *s)
{
    s->max_in_flight = 2;
    s->end_ms = 2400;
    s->redis_connect_ms = 100;
    schedule_ask(s, 708, 8, -1, ALPHA_BETA, false);
    schedule_ask(s, 708, 9, -1, GAMMA, false);
    schedule_event(s, 785, EVENT_KAFKA_DOWN, 0, 315);
    schedule_event(s, 1758, EVENT_KILL_WORKER, 0, 200);
}

/* Answers of the second and third model were lost when the deadline passed before a restart: the
 * request spoke for its first model only. */
static void a_deadline_between_two_lives(struct schedule *s)
{
    s->partitions = 2;
    s->max_in_flight = 1;
    s->end_ms = 4513;
    schedule_ask(s, 0, 0, -1, ALPHA_BETA_GAMMA, false);
    schedule_ask(s, 132, 1, -1, BETA_ALPHA_ALPHA, false);
    schedule_ask_sort(s, 132, 2, -1, SORT_HASTY);
    s->items[s->count - 1].ask.models = BETA_ALPHA_ALPHA;
    schedule_event(s, 417, EVENT_TERM_WORKER, 0, 1824);
    schedule_fault(s, SIM_POSTGRES, 4, SIM_DIE_AFTER);
}

/* A failure was not kept: asked again while the failed part was on its way to the store, in vain.
 */
static void once_more_before_the_failure_is_stored(struct schedule *s)
{
    s->partitions = s->workers = s->aggregators = 2;
    s->max_in_flight = 1;
    s->end_ms = 2404;
    schedule_ask(s, 385, 0, -1, GAMMA, true);
    schedule_ask_sort(s, 385, 0, -1, SORT_AGAIN);
    schedule_ask(s, 385, 3, -1, ALPHA, true);
    schedule_ask(s, 437, 4, 2, ALPHA_BETA, false);
    schedule_reply(s, 2, 0, (struct sim_reply){.status = 400, .after_ms = 88});
}

/* Neither Redis nor PostgreSQL could say that the id is taken. */
static void two_bodies_and_no_store(struct schedule *s)
{
    s->workers = 3;
    s->aggregators = 2;
    s->end_ms = 1696;
    schedule_ask(s, 268, 7, -1, BETA, false);
    schedule_ask_sort(s, 570, 7, -1, SORT_OTHER_BODY);
    schedule_event(s, 467, EVENT_POSTGRES_DOWN, 0, 251);
    schedule_event(s, 477, EVENT_REDIS_FLUSH, 0, 0);
}

/* The same, and the first one is answered but not final. */
static void two_bodies_and_nobody_to_store(struct schedule *s)
{
    s->workers = 3;
    s->aggregators = 1;
    s->end_ms = 2806;
    schedule_ask(s, 1911, 14, -1, ALPHA_BETA_GAMMA, true);
    schedule_ask_sort(s, 2205, 14, -1, SORT_OTHER_BODY);
    schedule_event(s, 366, EVENT_REDIS_DOWN, 0, 1794);
    schedule_event(s, 1572, EVENT_KILL_AGGREGATOR, 0, 3209);
}

/* Of a late turn one model's answer was kept by an earlier life and the other slot says that it is
 * too late: if that part came first, the conversation forgot what was asked. */
static void a_late_turn_with_a_kept_answer(struct schedule *s)
{
    s->end_ms = 6000;
    schedule_ask_sort(s, 10, 0, 0, SORT_HASTY);
    s->items[0].ask.models = BETA_ALPHA_ALPHA;
    schedule_ask(s, 12, 1, 0, ALPHA, false);
    schedule_reply(s, 1, 0, (struct sim_reply){.after_ms = 1400});
    schedule_event(s, 25, EVENT_KAFKA_DOWN, 0, 1500);
    schedule_event(s, 100, EVENT_KILL_WORKER, 0, 2000);
}

/* A rebalance that nobody could answer, and then a member that stood still: it was forgotten. */
static void a_member_that_stands_still_when_kafka_is_back(struct schedule *s)
{
    s->workers = 3;
    s->max_in_flight = 1;
    s->end_ms = 4272;
    schedule_ask(s, 1178, 21, -1, BETA, false);
    schedule_ask(s, 1178, 22, -1, ALPHA_BETA, false);
    schedule_event(s, 1259, EVENT_KAFKA_DOWN, 0, 3894);
    schedule_event(s, 1953, EVENT_REBALANCE, 0, 0);
    schedule_event(s, 3385, EVENT_FREEZE_AGGREGATOR, 0, 6709);
}

/* A worker that lives gave claims back, and Redis never heard it: who got its partition waited for
 * it until the deadline. */
static void claims_given_back_to_nobody(struct schedule *s)
{
    s->workers = 3;
    s->aggregators = 2;
    s->max_in_flight = 35;
    s->end_ms = 7356;
    schedule_ask(s, 938, 7, -1, GAMMA, false);
    schedule_ask(s, 1191, 8, -1, GAMMA, true);
    schedule_ask_sort(s, 1191, 9, 0, SORT_LATE);
    schedule_ask(s, 1191, 10, 1, BETA_ALPHA_ALPHA, false);
    schedule_event(s, 1042, EVENT_FREEZE_WORKER, 0, 12000);
    schedule_event(s, 982, EVENT_FREEZE_WORKER, 1, 12000);
    schedule_event(s, 977, EVENT_FREEZE_WORKER, 2, 12000);
    for (uint64_t nth = 20; nth < 28; nth++)
        schedule_fault(s, SIM_REDIS, nth, SIM_NEVER);
}

/* A turn was answered by another worker while this one stood still, and Redis was not told of it:
 * the next turn was asked with a conversation that lacked it. */
static void a_turn_that_redis_never_heard_of(struct schedule *s)
{
    s->partitions = s->workers = 2;
    s->max_in_flight = 5;
    s->end_ms = 15000;
    for (int i = 2; i < 5; i++)
        schedule_ask(s, 338 + 50 * (i > 2), i, 1, GAMMA, false);
    schedule_event(s, 388, EVENT_FREEZE_AGGREGATOR, 0, 9847);
    schedule_event(s, 1872, EVENT_FREEZE_WORKER, 0, 12000);
    schedule_event(s, 1872, EVENT_FREEZE_WORKER, 1, 12279);
    schedule_event(s, 13910, EVENT_REDIS_DOWN, 0, 220);
}

static const struct {
    const char *name;
    void (*fill)(struct schedule *schedule);
} schedules[] = {
    {"a_conflict_with_a_kept_answer", a_conflict_with_a_kept_answer},
    {"a_death_before_the_dead_letter", a_death_before_the_dead_letter},
    {"a_turn_that_ends_while_it_is_read", a_turn_that_ends_while_it_is_read},
    {"a_zombie_with_work_in_its_queue", a_zombie_with_work_in_its_queue},
    {"a_restart_faster_than_redis", a_restart_faster_than_redis},
    {"a_deadline_between_two_lives", a_deadline_between_two_lives},
    {"once_more_before_the_failure_is_stored", once_more_before_the_failure_is_stored},
    {"a_late_turn_with_a_kept_answer", a_late_turn_with_a_kept_answer},
    {"a_member_that_stands_still_when_kafka_is_back",
     a_member_that_stands_still_when_kafka_is_back},
    {"claims_given_back_to_nobody", claims_given_back_to_nobody},
    {"a_turn_that_redis_never_heard_of", a_turn_that_redis_never_heard_of},
    {"two_bodies_and_no_store", two_bodies_and_no_store},
    {"two_bodies_and_nobody_to_store", two_bodies_and_nobody_to_store},
};

static size_t play_kept(const char *name, void (*fill)(struct schedule *schedule))
{
    size_t failed = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct schedule schedule = {.seed = seed,
                                    .partitions = 1,
                                    .workers = 1,
                                    .aggregators = 1,
                                    .sessions = SESSIONS_MAX,
                                    .max_in_flight = 8,
                                    .end_ms = 4000};
        struct played played;
        fill(&schedule);
        if (!play(&schedule, NULL, &played))
            continue;
        if (!failed++)
            printf("%s, seed %llu: %.*s\n", name, (unsigned long long)seed,
                   (int)strcspn(played.text, "\n"), played.text);
    }
    printf("%-40s %zu of %d failed\n", name, failed, SEEDS);
    return failed;
}

int kept(void)
{
    size_t failed = 0;
    for (size_t i = 0; i < sizeof(schedules) / sizeof(schedules[0]); i++)
        failed += play_kept(schedules[i].name, schedules[i].fill);
    return failed ? 1 : 0;
}
