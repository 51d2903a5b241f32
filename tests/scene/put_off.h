/*
 * put_off.h -- what the scenes of those who let go of their places share.
 */
#ifndef QUERN_TESTS_SCENE_PUT_OFF_H
#define QUERN_TESTS_SCENE_PUT_OFF_H

#include "tests/scene/scene.h"

static inline int64_t put_off_now(struct sim *sim)
{
    sim_run_ms(sim, 1);
    return metric_of("\nquern_requests_put_off ");
}

static inline void expect_all_done(struct sim *sim, const char *prefix, int count)
{
    for (int i = 0; i < count; i++) {
        const struct sim_final *final = sim_final(sim, nth(prefix, i));
        assert_non_null(final);
        assert_str(final->status, "done");
    }
}

/* How long each of so many takes that are published one after the other. */
static inline void expect_soon(struct sim *sim, const char *prefix, int count, const char *models)
{
    for (int i = 0; i < count; i++) {
        int64_t asked = sim_now_ms(sim);
        sim_publish(sim, (struct sim_request){.id = nth(prefix, i), .models = models});
        while (!sim_final(sim, nth(prefix, i)) && sim_now_ms(sim) < asked + 2000)
            sim_run_ms(sim, 5);
        assert_between(sim_now_ms(sim) - asked, 50, 50 + 150);
    }
}

#endif
