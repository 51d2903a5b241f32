/*
 * Goal: a fleet that shares a limit uses nearly all of it, and never more in any window.
 * Method: the script of schemas/lua in the simulated Redis, sixteen leases (worker/call/lease.h),
 * a provider that notes when each call came. Time goes in steps of ten milliseconds.
 */
#include "tests/scene/scene.h"

#include <stdlib.h>

#include "common/base/xalloc.h"
#include "common/contract/redis_keys.h"
#include "tests/sim/redis_inside.h"
#include "worker/call/lease.h"
#include "worker/call/limit_script.h"

enum { PROCESSES = 16, STEP_MS = 10, WINDOW_MS = 60000, SENT_MAX = 600000, UNSETTLED_MAX = 16384 };

struct sent {
    int64_t at_ms, tokens;
};

struct process {
    struct lease lease;
    char name[8];
    int64_t waiting;
    struct {
        int64_t at_ms, taken_ms, more;
    } unsettled[UNSETTLED_MAX];
    size_t first, count;
};

struct fleet {
    struct sim *sim;
    struct lease_rule rule;
    struct process processes[PROCESSES];
    struct sent sent[SENT_MAX];
    size_t sent_count;
    int64_t asked, tokens_each, answer_ms;
    uint64_t lost_percent; /* of the answers */
    bool away;
};

static void answer_of(const struct sim_answer *answer, struct lease_answer *ret)
{
    int64_t numbers[LIMIT_SCRIPT_NUMBERS];
    if (answer->kind != REDIS_LIST)
        fail_msg("%s", answer->text);
    assert_int_equal(answer->count, LIMIT_SCRIPT_NUMBERS);
    for (size_t i = 0; i < LIMIT_SCRIPT_NUMBERS; i++) {
        assert_true(answer->items[i].kind == REDIS_NUMBER);
        numbers[i] = answer->items[i].number;
    }
    limit_script_answer(numbers, ret);
}

static void ask_script(struct fleet *fleet, const struct process *p, const struct lease_question *q,
                       struct lease_answer *ret)
{
    struct str words[LIMIT_SCRIPT_WORDS_MAX];
    struct sim_answer answer;
    struct arena arena;
    arena_init(&arena, NULL, LIMIT_SCRIPT_BYTES_MAX);
    size_t n = limit_script_words(&(struct limit_ask){.key = STR("limit:{m}"),
                                                      .instance = str_of(p->name),
                                                      .channel = STR("channel"),
                                                      .message = STR("m"),
                                                      .rule = &fleet->rule,
                                                      .question = q,
                                                      .now_ms = sim_now_ms(fleet->sim)},
                                  &arena, words);
    sim_lua_run(fleet->sim->redis, lua_limit, 1, words, n, &answer);
    answer_of(&answer, ret);
    sim_answer_done(&answer);
    arena_done(&arena);
}

static void ask(struct fleet *fleet, struct process *p, int64_t want)
{
    struct lease_question q;
    struct lease_answer answer;
    int64_t now_ms = sim_now_ms(fleet->sim);
    lease_ask(&p->lease, want, want * fleet->tokens_each, now_ms, &q);
    fleet->asked++;
    if (fleet->away) {
        lease_unanswered(&p->lease, true, now_ms);
        return;
    }
    ask_script(fleet, p, &q, &answer);
    if (sim_random(fleet->sim, 100) < fleet->lost_percent) {
        lease_unanswered(&p->lease, false, now_ms);
        return;
    }
    lease_answered(&p->lease, &answer);
    for (size_t i = 0; (answer.forgot || q.was_away) && i < PROCESSES;
         i++) /* as the channel does */
        lease_retell(&fleet->processes[i].lease);
}

static void send(struct fleet *fleet, struct process *p)
{
    int64_t now_ms = sim_now_ms(fleet->sim);
    int64_t actual = fleet->tokens_each * (int64_t)(60 + sim_random(fleet->sim, 41)) / 100;
    lease_take(&p->lease, fleet->tokens_each, now_ms);
    p->waiting--;
    assert_true(fleet->sent_count < SENT_MAX && p->count < UNSETTLED_MAX);
    fleet->sent[fleet->sent_count++] =
        (struct sent){now_ms + (int64_t)sim_random(fleet->sim, 900), actual};
    size_t at = (p->first + p->count++) % UNSETTLED_MAX;
    p->unsettled[at].at_ms = now_ms + fleet->answer_ms;
    p->unsettled[at].taken_ms = now_ms;
    p->unsettled[at].more = actual - fleet->tokens_each;
}

static void step(struct fleet *fleet, struct process *p)
{
    int64_t now_ms = sim_now_ms(fleet->sim);
    for (; p->count && p->unsettled[p->first].at_ms <= now_ms; p->count--) {
        lease_settle(&p->lease, p->unsettled[p->first].taken_ms, p->unsettled[p->first].more);
        p->first = (p->first + 1) % UNSETTLED_MAX;
    }
    for (int round = 0; round < 2; round++) {
        while (p->waiting && lease_may(&p->lease, fleet->tokens_each, now_ms))
            send(fleet, p);
        if (p->waiting && now_ms >= lease_ask_ms(&p->lease))
            ask(fleet, p, p->waiting);
        else if (!p->waiting && lease_should_return(&p->lease, now_ms) &&
                 (p->lease.asks_now || now_ms >= p->lease.until_ms - 2 * STEP_MS) &&
                 now_ms >= lease_ask_ms(&p->lease))
            ask(fleet, p, 0);
    }
}

/* `burst`: so many requests come to one process at a time. */
static void run(struct fleet *fleet, int64_t seconds, int64_t per_second, int64_t burst)
{
    for (int64_t end_ms = sim_now_ms(fleet->sim) + seconds * 1000;
         sim_now_ms(fleet->sim) < end_ms;) {
        for (int64_t due = per_second * STEP_MS; due > 0; due -= 1000 * burst)
            if ((int64_t)sim_random(fleet->sim, (uint64_t)(1000 * burst)) < due)
                fleet->processes[sim_random(fleet->sim, PROCESSES)].waiting += burst;
        for (size_t i = 0; i < PROCESSES; i++)
            step(fleet, &fleet->processes[i]);
        sim_run_ms(fleet->sim, STEP_MS);
    }
}

static int by_time(const void *a, const void *b)
{
    const struct sent *x = a, *y = b;
    return (x->at_ms > y->at_ms) - (x->at_ms < y->at_ms);
}

static struct fleet *fleet_new(uint64_t seed, int64_t requests, int64_t tokens, int64_t each)
{
    struct fleet *fleet = xzalloc(sizeof(*fleet));
    fleet->sim = sim_new(seed);
    fleet->rule =
        (struct lease_rule){.requests = requests, .tokens = tokens, .window_ms = WINDOW_MS};
    fleet->tokens_each = each;
    fleet->answer_ms = 800;
    for (size_t i = 0; i < PROCESSES; i++) {
        lease_init(&fleet->processes[i].lease, &fleet->rule);
        snprintf(fleet->processes[i].name, sizeof(fleet->processes[i].name), "w%zu", i);
    }
    return fleet;
}

static void fleet_free(struct fleet *fleet)
{
    sim_free(fleet->sim);
    free(fleet);
}

/* The most that came in any window. */
static void most(struct fleet *fleet, int64_t *ret_requests, int64_t *ret_tokens)
{
    size_t first = 0;
    int64_t tokens = 0;
    *ret_requests = *ret_tokens = 0;
    qsort(fleet->sent, fleet->sent_count, sizeof(fleet->sent[0]), by_time);
    for (size_t i = 0; i < fleet->sent_count; i++) {
        tokens += fleet->sent[i].tokens;
        while (fleet->sent[first].at_ms <= fleet->sent[i].at_ms - WINDOW_MS)
            tokens -= fleet->sent[first++].tokens;
        int64_t requests = (int64_t)(i - first + 1);
        *ret_requests = requests > *ret_requests ? requests : *ret_requests;
        *ret_tokens = tokens > *ret_tokens ? tokens : *ret_tokens;
    }
}

/* What the binding limit would let through: a window's worth at the start, and all of it behind. */
static double use(const struct fleet *fleet, int64_t seconds)
{
    int64_t tokens = 0;
    for (size_t i = 0; i < fleet->sent_count; i++)
        tokens += fleet->sent[i].tokens;
    double windows = (double)seconds * 1000 / WINDOW_MS;
    double requests_used =
        fleet->rule.requests ? (double)fleet->sent_count / (double)fleet->rule.requests : 0;
    double tokens_used = fleet->rule.tokens ? (double)tokens / (double)fleet->rule.tokens : 0;
    return (requests_used > tokens_used ? requests_used : tokens_used) / windows;
}

static void check_limits(struct fleet *fleet, double over)
{
    int64_t requests, tokens;
    most(fleet, &requests, &tokens);
    print_message("most in a window: %lld requests of %lld, %lld tokens of %lld\n",
                  (long long)requests, (long long)fleet->rule.requests, (long long)tokens,
                  (long long)fleet->rule.tokens);
    if (fleet->rule.requests)
        assert_true((double)requests <= (double)fleet->rule.requests * over);
    if (fleet->rule.tokens)
        assert_true((double)tokens <= (double)fleet->rule.tokens * over);
}

static void the_whole_of_a_limit_is_used_and_no_window_has_more(void **state)
{
    (void)state;
    static const struct {
        int64_t requests, tokens, each, per_second, burst, seconds;
        double questions; /* per request, at most */
    } cases[] = {
        {6000, 3000000, 400, 160, 1, 300, 0.2},   {6000, 3000000, 400, 160, 200, 300, 0.2},
        {6000, 3000000, 1000, 160, 20, 300, 0.2}, {0, 3000000, 500, 160, 50, 180, 0.2},
        {6000, 0, 1, 400, 40, 180, 0.2},          {72000, 0, 1, 1500, 1, 120, 0.05},
        {72000, 0, 1, 1500, 100, 120, 0.05},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fleet *fleet = fleet_new(i + 1, cases[i].requests, cases[i].tokens, cases[i].each);
        run(fleet, cases[i].seconds, cases[i].per_second, cases[i].burst);
        double questions = (double)fleet->asked / (double)fleet->sent_count;
        print_message("row %zu: use %.1f %%, %.3f questions a request\n", i,
                      use(fleet, cases[i].seconds) * 100, questions);
        check_limits(fleet, 1);
        assert_true(use(fleet, cases[i].seconds) >= 0.97);
        assert_true(questions < cases[i].questions);
        fleet_free(fleet);
    }
}

/* A lost answer may mean a share that nobody uses, never one that two use. */
static void lost_answers_cost_a_part_of_the_limit_and_never_exceed_it(void **state)
{
    (void)state;
    struct fleet *fleet = fleet_new(11, 6000, 3000000, 400);
    fleet->lost_percent = 10;
    run(fleet, 300, 160, 20);
    print_message("use %.1f %%\n", use(fleet, 300) * 100);
    check_limits(fleet, 1);
    assert_true(use(fleet, 300) >= 0.72);
    fleet_free(fleet);
}

static void without_redis_the_parts_make_up_the_limit(void **state)
{
    (void)state;
    struct fleet *fleet = fleet_new(12, 6000, 3000000, 400);
    run(fleet, 120, 160, 20);
    fleet->away = true;
    size_t before = fleet->sent_count;
    run(fleet, 120, 160, 20);
    size_t meanwhile = fleet->sent_count - before;
    fleet->away = false;
    run(fleet, 120, 160, 20);
    print_message("%zu sent in two minutes without\n", meanwhile);
    assert_in_range(meanwhile, 12000 * 85 / 100, 12000 * 110 / 100);
    check_limits(fleet, 1.25); /* who had spent less than its part may go on when it goes away */
    fleet_free(fleet);
}

/* Everybody tells what it has spent before anybody is granted more. */
static void a_redis_that_forgets_is_told_what_was_spent(void **state)
{
    (void)state;
    struct fleet *fleet = fleet_new(13, 6000, 3000000, 400);
    for (int i = 0; i < 4; i++) {
        run(fleet, 75, 160, 20);
        sim_redis_flush(fleet->sim);
    }
    print_message("use %.1f %%\n", use(fleet, 300) * 100);
    check_limits(fleet, 1);
    fleet_free(fleet);
}

/* One process takes all that it can and stops; how long until another may have the whole limit. */
static void unused_shares_return(void **state)
{
    (void)state;
    int64_t longest_ms = 0;
    for (int take = 0; take < 100; take += 9) {
        struct fleet *fleet = fleet_new(14, 6000, 0, 1);
        struct process *one = &fleet->processes[0];
        struct lease_question q = {.want_requests = 0};
        struct lease_answer answer;
        ask(fleet, one, 3000);
        for (int i = 0; i < take; i++) {
            one->waiting++;
            send(fleet, one);
            if (i % 10 == 9)
                sim_run_ms(fleet->sim, STEP_MS * 9);
        }
        int64_t began_ms = sim_now_ms(fleet->sim);
        do {
            step(fleet, one);
            sim_run_ms(fleet->sim, STEP_MS);
            ask_script(fleet, &fleet->processes[1], &q, &answer);
            q.generation = answer.generation;
        } while (answer.free_requests < 6000 - take && sim_now_ms(fleet->sim) < began_ms + 10000);
        int64_t took_ms = sim_now_ms(fleet->sim) - began_ms;
        longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
        fleet_free(fleet);
    }
    print_message("unused shares are back after %lld ms at most\n", (long long)longest_ms);
    assert_true(longest_ms <= 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_of_a_limit_is_used_and_no_window_has_more),
        cmocka_unit_test(lost_answers_cost_a_part_of_the_limit_and_never_exceed_it),
        cmocka_unit_test(without_redis_the_parts_make_up_the_limit),
        cmocka_unit_test(a_redis_that_forgets_is_told_what_was_spent),
        cmocka_unit_test(unused_shares_return),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
