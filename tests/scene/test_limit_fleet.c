/*
 * Goal: a fleet that shares a limit uses nearly all of it, and never more in any window.
 * Method: the script of schemas/lua in the simulated Redis, sixteen leases (worker/limit/lease.h),
 * a provider that notes when each call came. Time goes in steps of ten milliseconds.
 */
#include "tests/scene/scene.h"

#include <stdlib.h>

#include "common/base/xalloc.h"
#include "common/contract/redis_keys.h"
#include "tests/sim/redis_inside.h"
#include "worker/limit/lease.h"

enum { PROCESSES = 16, STEP_MS = 10, WINDOW_MS = 60000, SENT_MAX = 60000, UNSETTLED_MAX = 4096 };

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
    bool away;
};

static int64_t field(const struct sim_answer *answer, size_t at)
{
    assert_true(at < answer->count && answer->items[at].kind == REDIS_NUMBER);
    return answer->items[at].number;
}

static size_t put(struct str *words, char (*texts)[24], size_t count, int64_t number)
{
    snprintf(texts[count], sizeof(texts[count]), "%lld", (long long)number);
    words[count] = str_of(texts[count]);
    return count + 1;
}

static void ask(struct fleet *fleet, struct process *p, int64_t want)
{
    struct lease_question q;
    struct str words[11 + 3 * LEASE_SPENDS_MAX];
    char texts[11 + 3 * LEASE_SPENDS_MAX][24];
    struct sim_answer answer;
    int64_t now_ms = sim_now_ms(fleet->sim);
    lease_ask(&p->lease, want, want * fleet->tokens_each, now_ms, &q);
    fleet->asked++;
    if (fleet->away) {
        lease_unanswered(&p->lease, true, now_ms);
        return;
    }
    size_t n = 2;
    words[0] = STR("limit:{m}");
    words[1] = str_of(p->name);
    const int64_t numbers[] = {(int64_t)q.generation,
                               fleet->rule.requests,
                               fleet->rule.tokens,
                               fleet->rule.window_ms + LEASE_GUARD_MS,
                               LEASE_MS,
                               q.left_requests,
                               q.left_tokens,
                               q.want_requests,
                               q.want_tokens};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        n = put(words, texts, n, numbers[i]);
    for (size_t i = 0; i < q.spend_count; i++) {
        const struct lease_spend *spend = &p->lease.spends[i];
        n = put(words, texts, n, now_ms - spend->at_ms);
        n = put(words, texts, n, spend->requests);
        n = put(words, texts, n, spend->tokens);
    }
    sim_lua_run(fleet->sim->redis, lua_limit, 1, words, n, &answer);
    if (answer.kind != REDIS_LIST)
        fail_msg("%s", answer.text);
    lease_answered(&p->lease, &(struct lease_answer){.generation = (uint64_t)field(&answer, 0),
                                                     .requests = field(&answer, 1),
                                                     .tokens = field(&answer, 2),
                                                     .members = field(&answer, 3),
                                                     .wait_ms = field(&answer, 4)});
    sim_answer_done(&answer);
}

static void send(struct fleet *fleet, struct process *p)
{
    int64_t now_ms = sim_now_ms(fleet->sim);
    int64_t actual = fleet->tokens_each * (int64_t)(60 + sim_random(fleet->sim, 41)) / 100;
    lease_take(&p->lease, fleet->tokens_each, now_ms);
    p->waiting--;
    assert_true(fleet->sent_count < SENT_MAX && p->count < UNSETTLED_MAX);
    fleet->sent[fleet->sent_count++] =
        (struct sent){now_ms + (int64_t)sim_random(fleet->sim, 100), actual};
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
        else if (!p->waiting && lease_should_return(&p->lease) &&
                 now_ms >= p->lease.until_ms - 2 * STEP_MS && now_ms >= lease_ask_ms(&p->lease))
            ask(fleet, p, 0);
    }
}

/* `burst`: so many requests come to one process at a time. */
static void run(struct fleet *fleet, int64_t seconds, int64_t per_second, int64_t burst)
{
    for (int64_t end_ms = sim_now_ms(fleet->sim) + seconds * 1000;
         sim_now_ms(fleet->sim) < end_ms;) {
        if ((int64_t)sim_random(fleet->sim, (uint64_t)(1000 * burst)) < per_second * STEP_MS)
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
    fleet->rule = (struct lease_rule){requests, tokens, WINDOW_MS};
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

static void the_whole_of_a_limit_is_used_and_no_window_has_more(void **state)
{
    (void)state;
    static const struct {
        int64_t requests, tokens, each, burst;
    } cases[] = {
        {6000, 3000000, 400, 1}, {6000, 3000000, 400, 200}, {0, 3000000, 500, 50}, {6000, 0, 1, 40}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fleet *fleet = fleet_new(i + 1, cases[i].requests, cases[i].tokens, cases[i].each);
        int64_t requests, tokens;
        run(fleet, 300, 160, cases[i].burst);
        most(fleet, &requests, &tokens);
        print_message("%zu: %zu sent, most %lld requests %lld tokens, %.3f questions a request\n", i,
                      fleet->sent_count, (long long)requests, (long long)tokens,
                      (double)fleet->asked / (double)fleet->sent_count);
        fleet_free(fleet);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_of_a_limit_is_used_and_no_window_has_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
