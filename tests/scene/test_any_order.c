/*
 * Goal: whatever happens in whatever order, each request gets one final result, no commit passes an
 * unfinished request, and turns keep their order.
 * Method: a property over seeds: latencies, failures, deaths, rebalances and outages are drawn from
 * the seed; each commit is checked at the moment it is taken. A failure names its seed.
 */
#include "tests/scene/scene.h"

#include <stdlib.h>

enum { SEEDS = 150, REQUESTS = 60, PARTITIONS = 3, WORKERS = 3 };

struct watched {
    const char *ids[PARTITIONS][REQUESTS];
    bool turn[PARTITIONS][REQUESTS];
    int64_t checked[PARTITIONS];
    size_t commits;
    uint64_t seed;
};

static void expect(bool good, const struct watched *w, const char *what, const char *id)
{
    if (good)
        return;
    print_error("seed %llu: %s: %s\n", (unsigned long long)w->seed, what, id);
    fail();
}

static bool finished(struct sim *sim, const char *id, bool turn)
{
    if (turn)
        return sim_final(sim, id) != NULL;
    const struct result *part = sim_part(sim, id, 0);
    for (int slot = 1; part && slot < part->slots; slot++)
        if (!sim_part(sim, id, slot))
            return false;
    return part != NULL;
}

static bool check_commits(struct sim *sim, void *context)
{
    struct watched *w = context;
    if (w->commits == sim_commits(sim))
        return false;
    w->commits = sim_commits(sim);
    for (int32_t p = 0; p < PARTITIONS; p++)
        for (; w->checked[p] < sim_committed(sim, p); w->checked[p]++) {
            const char *id = w->ids[p][w->checked[p]];
            expect(finished(sim, id, w->turn[p][w->checked[p]]), w, "committed unfinished", id);
        }
    return false;
}

static void publish(struct sim *sim, struct watched *w)
{
    for (int i = 0; i < REQUESTS; i++) {
        bool turn = sim_random(sim, 3) == 0;
        const char *models[] = {"alpha", "beta", "alpha,beta", "beta,alpha,alpha"};
        struct sim_place place =
            sim_publish(sim, (struct sim_request){.id = nth("r", i),
                                                  .models = models[sim_random(sim, 4)],
                                                  .session = turn ? nth("s", i % 4) : NULL});
        w->ids[place.partition][place.offset] = nth("r", i);
        w->turn[place.partition][place.offset] = turn;
    }
}

static void set_providers(struct sim *sim)
{
    for (int i = 0; i < 40; i++) {
        static const int statuses[] = {200, 200, 200, 200, 200, 429, 500, 400};
        sim_provider(
            sim, i % 2 ? "alpha" : "beta",
            (struct sim_reply){.status = statuses[sim_random(sim, 8)],
                               .after_ms = 1 + (int64_t)sim_random(sim, 400),
                               .trouble = sim_random(sim, 20) == 0 ? SIM_CUT : SIM_NO_TROUBLE});
    }
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 30});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 90});
}

static void trouble(struct sim *sim, struct sim_process **workers)
{
    static const char *const names[WORKERS] = {"w1", "w2", "w3"};
    size_t i = sim_random(sim, WORKERS);
    switch (sim_random(sim, 9)) {
    case 0:
        if (sim_running(workers[i]))
            sim_kill(workers[i]);
        break;
    case 1:
        if (sim_running(workers[i]) && !sim_draining(workers[i]))
            sim_term(workers[i]);
        break;
    case 2:
        sim_rebalance(sim);
        break;
    case 3:
        if (sim_running(workers[i]) && sim_owned(workers[i]))
            sim_lose(workers[i]);
        break;
    case 4:
        sim_redis_down(sim, sim_random(sim, 2));
        break;
    case 5:
        sim_postgres_down(sim, sim_random(sim, 2));
        break;
    case 6:
        sim_produce_fails(sim, (enum sim_produce_fault)sim_random(sim, 3), 5);
        sim_commits_fail(sim, 2);
        break;
    case 7:
        sim_redis_flush(sim);
        break;
    default:
        if (sim_running(workers[i]))
            sim_freeze(workers[i], (int64_t)sim_random(sim, 9000));
    }
    for (i = 0; i < WORKERS; i++)
        if (!sim_running(workers[i]) && sim_random(sim, 2))
            workers[i] = sim_worker(sim, names[i]);
}

/* Turns of one session have numbers in the order of their records. */
static void expect_order(struct sim *sim, const struct watched *w)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        int64_t turns[4] = {0};
        for (int k = 0; k < REQUESTS && w->ids[p][k]; k++) {
            const struct sim_final *final = sim_final(sim, w->ids[p][k]);
            expect(final != NULL, w, "no final result", w->ids[p][k]);
            if (w->turn[p][k])
                expect(final->turn == ++turns[strtol(w->ids[p][k] + 1, NULL, 10) % 4], w,
                       "out of order", w->ids[p][k]);
        }
    }
}

static void run(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    struct watched w = {.seed = seed};
    struct sim_process *workers[WORKERS];
    sim_set(sim, "worker.max_in_flight", nth("", 1 + (int)sim_random(sim, 12)));
    sim_set(sim, "worker.drain_timeout", "1s");
    sim_partitions(sim, PARTITIONS);
    set_providers(sim);
    workers[0] = sim_worker(sim, "w1");
    workers[1] = sim_worker(sim, "w2");
    workers[2] = sim_worker(sim, "w3");
    publish(sim, &w);
    for (int i = 0; i < 12; i++) {
        sim_run_until(sim, check_commits, &w, (int64_t)sim_random(sim, 900));
        trouble(sim, workers);
    }
    sim_redis_down(sim, false);
    sim_postgres_down(sim, false);
    if (!sim_running(workers[0]) || sim_draining(workers[0]))
        sim_worker(sim, "w4");
    for (int i = 0; i < 600 && sim_final_count(sim) < REQUESTS; i++)
        sim_run_until(sim, check_commits, &w, 1000);
    expect(sim_settle(sim), &w, "not all committed", "");
    check_commits(sim, &w);
    expect_order(sim, &w);
    expect(sim_final_count(sim) == REQUESTS, &w, "finals", "");
    expect(!sim_commit_went_back(sim), &w, "a commit went back", "");
    sim_free(sim);
}

static void one_final_each_in_order_and_no_commit_too_far(void **state)
{
    const char *only = getenv("SEED");
    (void)state;
    if (only) {
        run(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_final_each_in_order_and_no_commit_too_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
