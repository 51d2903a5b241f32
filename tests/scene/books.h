/*
 * books.h -- a world of requests with and without sessions and several models, and what its books
 * must come to: the tables compared with each other, with the providers' ledger and with the
 * replies on Kafka.
 */
#ifndef QUERN_TESTS_SCENE_BOOKS_H
#define QUERN_TESTS_SCENE_BOOKS_H

#include "tests/scene/scene.h"

enum { REQUESTS = 30, SESSIONS = 4 };

static inline struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 80});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 50});
    return sim;
}

/* Every third is a turn of a session, every fourth asks two models. */
static inline void publish(struct sim *sim, int from, int to)
{
    for (int i = from; i < to; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i),
                                              .input = nth("say ", i),
                                              .session = i % 3 ? NULL : nth("s", i / 3 % SESSIONS),
                                              .models = i % 4 ? NULL : "alpha,beta"});
}

/* ---- what holds at the end of every scene ---- */

/* usage_daily is the sum of inference_runs and of the final requests. */
static inline void expect_sums(struct sim *sim)
{
    int64_t requests = 0, calls = 0, failed = 0, input = 0, output = 0;
    for (size_t i = 0; i < sim_usage_rows(sim); i++) {
        const struct sim_usage_row *row = sim_usage_row(sim, i);
        requests += row->requests;
        calls += row->calls;
        failed += row->failed_calls;
        input += row->input_tokens;
        output += row->output_tokens;
    }
    for (size_t i = 0; i < sim_run_rows(sim); i++) {
        const struct sim_run_row *row = sim_run_row(sim, i);
        calls--;
        failed -= str_is(row->outcome, "failed");
        input -= row->input_tokens;
        output -= row->output_tokens;
    }
    assert_int_equal(requests, sim_final_count(sim));
    assert_true(calls == 0 && failed == 0 && input == 0 && output == 0);
}

/* Nobody was killed who had a call under way: every call is one row, and every row one call. */
static inline void expect_ledger(struct sim *sim)
{
    assert_int_equal(sim_run_rows(sim), sim_call_count(sim));
    for (size_t i = 0; i < sim_call_count(sim); i++) {
        unsigned found = 0;
        for (size_t k = 0; k < sim_run_rows(sim); k++)
            found += str_eq(sim_run_row(sim, k)->call_id, sim_call(sim, i)->id);
        assert_int_equal(found, 1);
    }
}

/* Turns of a session count from 1 without a gap, and its messages stand in their order. */
static inline void expect_conversations(struct sim *sim)
{
    for (size_t i = 0; i < sim_conversation_rows(sim); i++) {
        const struct sim_conversation_row *c = sim_conversation_row(sim, i);
        int64_t turn = 0, position = -1, finals = 0;
        for (size_t k = 0; k < sim_message_rows(sim); k++) {
            const struct sim_message_row *m = sim_message_row(sim, k);
            if (!str_eq(m->session, c->session))
                continue;
            assert_true(m->turn == turn ? m->position == position + 1 : m->turn > turn);
            turn = m->turn;
            position = m->position;
        }
        for (size_t k = 0; k < sim_request_rows(sim); k++)
            finals += str_eq(sim_request_row(sim, k).session, c->session);
        assert_int_equal(c->turn, finals);
    }
}

/* Every final has a reply that says the same, as often as it was asked for or oftener. */
static inline void expect_replies(struct sim *sim)
{
    for (size_t i = 0; i < sim_request_rows(sim); i++) {
        const struct sim_request_row row = sim_request_row(sim, i);
        size_t count = 0;
        for (size_t k = 0; k < sim_replies(sim); k++) {
            const struct reply *reply = sim_reply_at(sim, k);
            if (!str_eq(reply->request_id, row.id))
                continue;
            count++;
            assert_true(str_eq(reply->status, row.status));
            assert_true(str_is(row.status, "done") ? str_eq(reply->text, row.text)
                                                   : str_eq(reply->error.code, row.error_code));
            assert_int_equal(reply->turn == INT_ABSENT ? 0 : reply->turn, row.turn);
        }
        assert_true(count >= 1 + row.repeats);
    }
}

static inline void expect_books(struct sim *sim)
{
    expect_sums(sim);
    expect_conversations(sim);
    expect_replies(sim);
    assert_int_equal(sim_outbox_rows(sim), 0);
}

static inline void expect_all_done(struct sim *sim)
{
    assert_int_equal(sim_final_count(sim), REQUESTS);
    for (int i = 0; i < REQUESTS; i++)
        assert_str(sim_final(sim, nth("r", i))->status, "done");
    expect_books(sim);
}

#endif
