/*
 * Goal: a request gets one final result, one row per paid call and its reply, whatever happens to
 * the aggregators and to PostgreSQL meanwhile.
 * Method: the real programs over simulated doors; afterwards the tables are compared with each
 * other, with the providers' ledger and with the replies on Kafka.
 */
#include "tests/scene/scene.h"

enum { REQUESTS = 30, SESSIONS = 4 };

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 80});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 50});
    return sim;
}

/* Every third is a turn of a session, every fourth asks two models. */
static void publish(struct sim *sim, int from, int to)
{
    for (int i = from; i < to; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i),
                                              .input = nth("say ", i),
                                              .session = i % 3 ? NULL : nth("s", i / 3 % SESSIONS),
                                              .models = i % 4 ? NULL : "alpha,beta"});
}

/* ---- what holds at the end of every scene ---- */

/* usage_daily is the sum of inference_runs and of the final requests. */
static void expect_sums(struct sim *sim)
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
static void expect_ledger(struct sim *sim)
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
static void expect_conversations(struct sim *sim)
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
static void expect_replies(struct sim *sim)
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

static void expect_books(struct sim *sim)
{
    expect_sums(sim);
    expect_conversations(sim);
    expect_replies(sim);
    assert_int_equal(sim_outbox_rows(sim), 0);
}

static void expect_all_done(struct sim *sim)
{
    assert_int_equal(sim_final_count(sim), REQUESTS);
    for (int i = 0; i < REQUESTS; i++)
        assert_str(sim_final(sim, nth("r", i))->status, "done");
    expect_books(sim);
}

/* ---- several models ---- */

static void all_parts_become_one_final_and_one_reply(void **state)
{
    struct sim *sim = world(1);
    (void)state;
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .models = "alpha,beta,alpha"});
    assert_true(sim_settle(sim));

    const struct sim_final *final = sim_final(sim, "r1");
    assert_non_null(final);
    assert_str(final->status, "done");
    assert_int_equal(final->slots_stored, 7);
    assert_int_equal(sim_replies_of(sim, "r1"), 1);
    assert_int_equal(sim_reply_of(sim, "r1")->merge.parts.count, 3);
    assert_int_equal(sim_request_rows(sim), 1);
    assert_int_equal(sim_run_rows(sim), 3);
    expect_ledger(sim);
    expect_books(sim);
    sim_free(sim);
}

static void a_missing_part_is_waited_for_until_the_merge_deadline(void **state)
{
    struct sim *sim = world(2);
    (void)state;
    sim_provider_now(sim, "beta", (struct sim_reply){.after_ms = 4000});
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1",
                                          .models = "alpha,beta",
                                          .policy = "all",
                                          .quorum = 1,
                                          .merge_deadline_ms = 1000});
    assert_true(sim_settle(sim));

    const struct sim_final *final = sim_final(sim, "r1");
    assert_str(final->status, "done");
    assert_between(final->stored_ms, 2000, 2500); /* with the grace of a second */
    assert_int_equal(final->slots_stored, 1);
    assert_int_equal(sim_replies_of(sim, "r1"), 1);
    /* The late answer was paid for. */
    assert_int_equal(sim_run_rows(sim), 2);
    assert_str(sim_run_row(sim, 1)->outcome, "late");
    expect_ledger(sim);
    expect_books(sim);
    sim_free(sim);
}

static void fewer_answers_than_the_quorum_are_no_answer(void **state)
{
    static const struct {
        int64_t quorum;
        const char *status;
    } cases[] = {{1, "done"}, {2, "done"}, {3, "failed"}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sim *sim = world(3);
        sim_set(sim, "models.gamma.attempts_max", "1");
        sim_provider(sim, "gamma", (struct sim_reply){.status = 500});
        sim_worker(sim, "w1");
        sim_publish(sim, (struct sim_request){.id = "r1",
                                              .models = "alpha,beta,gamma",
                                              .policy = "all",
                                              .quorum = cases[i].quorum});
        assert_true(sim_settle(sim));
        assert_str(sim_final(sim, "r1")->status, cases[i].status);
        expect_books(sim);
        sim_free(sim);
    }
}

static void parts_outlive_their_aggregator(void **state)
{
    struct sim *sim = world(4);
    (void)state;
    sim_provider_now(sim, "beta", (struct sim_reply){.after_ms = 3000});
    struct sim_process *first = sim_aggregator(sim, "a1");
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .models = "alpha,beta"});
    sim_run_ms(sim, 1000);
    assert_int_equal(sim_request_rows(sim), 1);
    assert_null(sim_final(sim, "r1"));
    sim_kill(first);
    sim_aggregator(sim, "a1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_reply_of(sim, "r1")->merge.parts.count, 2);
    expect_ledger(sim);
    expect_books(sim);
    sim_free(sim);
}

/* ---- transactions ---- */

static void a_lost_answer_of_commit_stores_nothing_twice(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 24; n++) {
        struct sim *sim = world(100 + n);
        sim_aggregator(sim, "a1");
        sim_aggregator(sim, "a2");
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        if (n % 2)
            sim_postgres_lose_answer(sim, n / 2 + 1);
        else
            sim_postgres_lose_question(sim, n / 2);
        assert_true(sim_settle(sim));
        assert_true(sim_now_ms(sim) < 3000); /* nobody waited for a sweep by the clock */
        expect_all_done(sim);
        expect_ledger(sim);
        sim_free(sim);
    }
}

static void an_aggregator_that_dies_in_a_transaction_is_taken_over(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 40; n++) {
        struct sim *sim = world(200 + n);
        struct sim_process *one = sim_aggregator(sim, "a1");
        sim_aggregator(sim, "a2");
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        sim_fault(sim, (struct sim_fault){
                           .door = SIM_POSTGRES, .nth = n, .way = n % 2 ? SIM_DIE : SIM_DIE_AFTER});
        sim_run_ms(sim, 600);
        bool died = !sim_running(one);
        if (died && n % 3 == 0)
            sim_aggregator(sim, "a1");
        sim_worker(sim, "w2"); /* it may have been the worker */
        assert_true(sim_settle(sim));
        expect_all_done(sim);
        sim_free(sim);
    }
}

static void refused_transactions_are_done_again(void **state)
{
    static const char *const statements[] = {"own", "fence", "store", "outbox_sent", "outbox_load"};
    static const char *const sqlstates[] = {"40001", "40P01", "53100", "57014", "57P01"};
    (void)state;
    for (size_t i = 0; i < 25; i++) {
        struct sim *sim = world(300 + i);
        sim_postgres_fails(sim, statements[i / 5], sqlstates[i % 5], 3);
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        assert_true(sim_settle(sim));
        expect_all_done(sim);
        expect_ledger(sim);
        sim_free(sim);
    }
}

static void connections_may_be_ended_at_any_time(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *sim = world(400 + seed);
        sim_aggregator(sim, "a1");
        sim_aggregator(sim, "a2");
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        for (int i = 0; i < 8; i++) {
            sim_run_ms(sim, (int64_t)sim_random(sim, 120));
            sim_postgres_terminate(sim);
        }
        assert_true(sim_settle(sim));
        expect_all_done(sim);
        expect_ledger(sim);
        sim_free(sim);
    }
}

static void what_cannot_be_stored_fails_alone(void **state)
{
    struct sim *sim = world(5);
    (void)state;
    sim_postgres_refuses(sim, "say 7");
    sim_worker(sim, "w1");
    publish(sim, 0, REQUESTS);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), REQUESTS);
    for (int i = 0; i < REQUESTS; i++)
        assert_str(sim_final(sim, nth("r", i))->status, i == 7 ? "failed" : "done");
    assert_int_equal(sim_dead_count(sim), 1);
    assert_str(sim_dead(sim, 0).id, "r7");
    expect_books(sim);
    sim_free(sim);
}

/* ---- who owns what ---- */

static int64_t epochs(struct sim *sim)
{
    int64_t sum = 0;
    for (size_t i = 0; i < sim_offset_rows(sim); i++)
        sum += sim_offset_row(sim, i)->epoch;
    return sum;
}

static void a_zombie_is_fenced(void **state)
{
    size_t fenced = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim *sim = world(500 + seed);
        struct sim_process *zombie = sim_aggregator(sim, "a1");
        sim_aggregator(sim, "a2");
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS / 2);
        sim_run_ms(sim, 20 + (int64_t)sim_random(sim, 150));
        int64_t before = epochs(sim);
        sim_freeze(zombie, 9000);
        publish(sim, REQUESTS / 2, REQUESTS);
        sim_run_ms(sim, 8900);
        assert_true(epochs(sim) > before);
        assert_int_equal(sim_final_count(sim), REQUESTS);
        sim_run_ms(sim, 3000);
        assert_true(sim_settle(sim));
        assert_true(sim_running(zombie));
        expect_all_done(sim);
        expect_ledger(sim);
        fenced += sim_fenced(sim);
        sim_free(sim);
    }
    assert_true(fenced > 5); /* it did try */
}

/* It wanted to take its partitions over when it was stopped, and wakes up when others have them. */
static void who_stood_still_takes_nothing_over(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim *sim = world(550 + seed);
        sim_aggregator(sim, "a1");
        struct sim_process *late = sim_aggregator(sim, "a2");
        sim_worker(sim, "w1");
        sim_postgres_fails(sim, "own", "40001", 1000);
        sim_run_ms(sim, 100);
        sim_postgres_fails(sim, "own", "40001", 0);
        sim_freeze(late, 9000);
        publish(sim, 0, REQUESTS);
        sim_run_ms(sim, 8950);
        assert_int_equal(sim_final_count(sim), REQUESTS);
        sim_run_ms(sim, 60000);
        assert_true(sim_settle(sim));
        assert_true(sim_running(late));
        assert_int_equal(sim_fenced(sim), 0);
        expect_all_done(sim);
        sim_free(sim);
    }
}

static void aggregators_may_come_and_go(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *sim = world(600 + seed);
        struct sim_process *of[3] = {0};
        for (int i = 0; i < 3; i++)
            of[i] = sim_aggregator(sim, nth("a", i));
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        for (int i = 0; i < 6; i++) {
            sim_run_ms(sim, (int64_t)sim_random(sim, 200));
            uint64_t which = sim_random(sim, 3);
            if (!sim_running(of[which]))
                of[which] = sim_aggregator(sim, nth("a", (int)which));
            else if (sim_random(sim, 2))
                sim_kill(of[which]);
            else if (!sim_draining(of[which]))
                sim_term(of[which]);
        }
        sim_aggregator(sim, "last");
        assert_true(sim_settle(sim));
        expect_all_done(sim);
        expect_ledger(sim);
        sim_free(sim);
    }
}

static void a_drain_leaves_nothing_under_way(void **state)
{
    struct sim *sim = world(6);
    (void)state;
    struct sim_process *first = sim_aggregator(sim, "a1");
    sim_worker(sim, "w1");
    publish(sim, 0, REQUESTS);
    sim_run_ms(sim, 150);
    sim_term(first);
    sim_run_ms(sim, 2000);
    assert_false(sim_running(first));
    assert_true(sim_drained(first));
    assert_int_equal(sim_outbox_rows(sim), 0);
    assert_int_equal(sim_replies(sim), sim_final_count(sim));
    sim_aggregator(sim, "a1");
    assert_true(sim_settle(sim));
    assert_int_equal(sim_replies(sim), REQUESTS);
    expect_all_done(sim);
    sim_free(sim);
}

/* ---- replies ---- */

static void a_reply_is_sent_until_kafka_has_it(void **state)
{
    static const enum sim_produce_fault faults[] = {SIM_NOT_WRITTEN, SIM_LOST_UNKNOWN,
                                                    SIM_WRITTEN_UNKNOWN};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sim *sim = world(700 + i);
        sim_replies_fail(sim, faults[i], 12);
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        assert_true(sim_settle(sim));
        /* Twice only what was written without anybody's knowing. */
        assert_int_equal(sim_replies(sim), REQUESTS + (i == 2 ? 12 : 0));
        expect_all_done(sim);
        sim_free(sim);
    }
}

static void the_same_request_again_gets_its_stored_reply(void **state)
{
    static const int64_t pauses_ms[] = {2000, 900000}; /* the second: Redis forgot it */
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sim *sim = world(800 + i);
        const struct sim_request request = {.id = "r1", .models = "alpha,beta", .session = "s1"};
        sim_worker(sim, "w1");
        sim_publish(sim, request);
        sim_run_ms(sim, pauses_ms[i]);
        sim_publish(sim, request);
        assert_true(sim_settle(sim));

        assert_int_equal(sim_final(sim, "r1")->repeats, 1);
        assert_int_equal(sim_replies_of(sim, "r1"), 2);
        const struct reply *first = sim_reply_at(sim, 0), *again = sim_reply_at(sim, 1);
        assert_true(str_eq(first->text, again->text));
        assert_int_equal(first->merge.parts.count, again->merge.parts.count);
        assert_int_equal(first->usage.input, again->usage.input);
        assert_int_equal(sim_call_count(sim), 2);
        expect_ledger(sim);
        expect_books(sim);
        sim_free(sim);
    }
}

/* ---- what is no part ---- */

static void without_redis_everything_is_stored_all_the_same(void **state)
{
    struct sim *sim = world(7);
    (void)state;
    sim_redis_down(sim, true);
    sim_aggregator(sim, "a1");
    sim_aggregator(sim, "a2");
    sim_worker(sim, "w1");
    publish(sim, 0, REQUESTS);
    assert_true(sim_settle(sim));
    expect_all_done(sim);
    expect_ledger(sim);
    sim_free(sim);
}

static void a_result_that_cannot_be_read_fails_its_request(void **state)
{
    static const struct {
        const char *value;
        const char *status; /* NULL: not even its names can be read */
    } cases[] = {
        {"{\"tenant\":\"default\",\"request_id\":\"bad\",\"slot\":0,\"slots\":1,\"status\":7,"
         "\"request\":{\"body_hash\":\"h\",\"session\":\"s1\"}}",
         "failed"},
        {"{\"tenant\":\"default\",\"request_id\":\"bad\",\"slot\":0,\"slots\":1,\"status\":7,"
         "\"request\":[]}",
         "failed"},
        {"{\"tenant\":\"default\",\"request_id\":\"bad\",\"slot\":0,\"slots\":99,\"status\":7}",
         NULL},
        {"{\"tenant\":\"default\",\"request_id\":\"bad\",\"status\":[]}", "failed"},
        {"no JSON", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim *sim = world(900 + i);
        sim_worker(sim, "w1");
        sim_publish(sim, (struct sim_request){.id = "bad",
                                              .raw = cases[i].value,
                                              .topic = "quern.results",
                                              .content_type = "application/json"});
        sim_publish(sim, (struct sim_request){.id = "good"});
        assert_true(sim_settle(sim));
        assert_int_equal(sim_dead_count(sim), 1);
        assert_str(sim_final(sim, "good")->status, "done");
        const struct sim_final *bad = sim_final(sim, "bad");
        assert_int_equal(bad != NULL, cases[i].status != NULL);
        if (bad) {
            assert_str(bad->status, cases[i].status);
            assert_str(sim_reply_of(sim, "bad")->error.code, "internal");
        }
        expect_books(sim);
        sim_free(sim);
    }
}

/* Whether a worker has answered a request of this body so. */
static bool was_answered(struct sim *sim, struct str body_hash, int64_t slot, struct str text)
{
    for (size_t i = 0; i < sim_result_count(sim); i++) {
        const struct result *part = sim_result(sim, i);
        if (str_eq(part->request.body_hash, body_hash) && part->slot == slot &&
            str_eq(part->text, text))
            return true;
    }
    return false;
}

/* Workers that know nothing of each other answer one id: Redis is away, nothing is stored yet. The
 * first body waits longest for its second model. */
static void ask_two_bodies(struct sim *sim)
{
    sim_partitions(sim, 8);
    sim_redis_down(sim, true);
    sim_provider_now(sim, "beta", (struct sim_reply){.after_ms = 600});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 90});
    for (int i = 0; i < 3; i++)
        sim_worker(sim, nth("w", i));
    sim_run_ms(sim, 500);
    for (int i = 0; i < 6; i++) /* each with a key of its own */
        sim_publish(sim, (struct sim_request){.id = "r1",
                                              .input = nth("body ", i),
                                              .session = nth("s", i),
                                              .models = "alpha,beta"});
    assert_true(sim_settle(sim));
    assert_between(sim_call_count(sim), 4, 6); /* two bodies at least were asked */
    assert_int_equal(sim_final_count(sim), 1);
    const struct sim_final *final = sim_final(sim, "r1");
    for (size_t i = 0; i < sim_replies(sim); i++) {
        const struct reply *reply = sim_reply_at(sim, i);
        if (!str_is(reply->status, "done"))
            continue;
        assert_int_equal(reply->merge.parts.count, 2);
        for (size_t k = 0; k < 2; k++)
            assert_true(was_answered(sim, final->body_hash, reply->merge.parts.items[k].slot,
                                     reply->merge.parts.items[k].text));
    }
    expect_sums(sim);
    assert_int_equal(sim_run_rows(sim), sim_call_count(sim)); /* all were paid for */
    sim_free(sim);
}

static void parts_of_two_bodies_are_never_mixed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++)
        ask_two_bodies(world(1000 + seed));
}

/* A result as another program of ours might write it. */
static void write_result(struct sim *sim, const char *id, const char *session)
{
    char text[400];
    snprintf(text, sizeof(text),
             "{\"tenant\":\"default\",\"request_id\":\"%s\",\"status\":\"ok\",\"text\":\"hi\","
             "\"request\":{\"body_hash\":\"%s\",\"session\":\"%s\","
             "\"question\":[{\"role\":\"user\",\"content\":\"hello\"}]}}",
             id, id, session);
    sim_publish(sim, (struct sim_request){.id = "one partition",
                                          .raw = text,
                                          .topic = "quern.results",
                                          .content_type = "application/json"});
}

/* They come at once, and a conversation counts one turn in a transaction. */
static void turns_that_come_together_are_counted_one_by_one(void **state)
{
    struct sim *sim = world(9);
    (void)state;
    sim_aggregator_pause(sim, true);
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r0"});
    for (int i = 0; i < 12; i++)
        write_result(sim, nth("t", i), nth("s", i / 2 % 3));
    sim_run_ms(sim, 100);
    sim_aggregator_pause(sim, false);
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final_count(sim), 13);
    for (int i = 0; i < 12; i++)
        assert_int_equal(sim_final(sim, nth("t", i))->turn, i / 6 * 2 + i % 2 + 1);
    assert_true(sim_now_ms(sim) < 3000);
    expect_books(sim);
    sim_free(sim);
}

/* ---- anything in any order ---- */

enum { AGGREGATORS = 2 };

static void something_happens(struct sim *sim, struct sim_process **of)
{
    struct sim_process *one = of[sim_random(sim, AGGREGATORS)];
    switch (sim_random(sim, 30)) {
    case 0:
        if (sim_running(one))
            sim_freeze(one, (int64_t)sim_random(sim, 12000));
        break;
    case 1:
        if (sim_running(one))
            sim_kill(one);
        break;
    case 2:
        if (sim_running(one) && !sim_draining(one))
            sim_term(one);
        break;
    case 3:
        sim_postgres_terminate(sim);
        break;
    case 4:
        sim_postgres_lose_answer(sim, 1);
        break;
    case 5:
        sim_postgres_fails(sim, "store", "40P01", 2);
        break;
    case 6:
        sim_replies_fail(sim, (enum sim_produce_fault)sim_random(sim, 3), 2);
        break;
    case 7:
        sim_redis_down(sim, sim_random(sim, 2));
        break;
    case 8:
        sim_kafka_down(sim, sim_random(sim, 2));
        break;
    case 9:
        sim_rebalance(sim);
        break;
    case 10:
        publish(sim, 3, 4); /* the same once more */
        break;
    default:
        break;
    }
}

static void restart(struct sim *sim, struct sim_process **of)
{
    for (int i = 0; i < AGGREGATORS; i++)
        if (!sim_running(of[i]))
            of[i] = sim_aggregator(sim, nth("a", i));
}

static void whatever_happens_the_books_are_right(void **state)
{
    static const char *const batches[] = {"2000", "1", "3"};
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct sim *sim = world(2000 + seed);
        struct sim_process *of[AGGREGATORS];
        sim_set(sim, "aggregator.batch_parts_max", batches[seed % 3]);
        if (seed % 5 == 0)
            sim_set(sim, "aggregator.backlog_parts_max", "2");
        for (int i = 0; i < AGGREGATORS; i++)
            of[i] = sim_aggregator(sim, nth("a", i));
        sim_worker(sim, "w1");
        publish(sim, 0, REQUESTS);
        for (int i = 0; i < 60; i++) {
            sim_run_ms(sim, 30);
            something_happens(sim, of);
            restart(sim, of);
        }
        sim_kafka_down(sim, false);
        sim_redis_down(sim, false);
        for (int i = 0; i < 10; i++) {
            sim_run_ms(sim, 6000);
            restart(sim, of);
        }
        assert_true(sim_settle(sim));
        assert_int_equal(sim_dead_count(sim), 0);
        expect_all_done(sim);
        sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_parts_become_one_final_and_one_reply),
        cmocka_unit_test(a_missing_part_is_waited_for_until_the_merge_deadline),
        cmocka_unit_test(fewer_answers_than_the_quorum_are_no_answer),
        cmocka_unit_test(parts_outlive_their_aggregator),
        cmocka_unit_test(a_lost_answer_of_commit_stores_nothing_twice),
        cmocka_unit_test(an_aggregator_that_dies_in_a_transaction_is_taken_over),
        cmocka_unit_test(refused_transactions_are_done_again),
        cmocka_unit_test(connections_may_be_ended_at_any_time),
        cmocka_unit_test(what_cannot_be_stored_fails_alone),
        cmocka_unit_test(a_zombie_is_fenced),
        cmocka_unit_test(who_stood_still_takes_nothing_over),
        cmocka_unit_test(aggregators_may_come_and_go),
        cmocka_unit_test(a_drain_leaves_nothing_under_way),
        cmocka_unit_test(a_reply_is_sent_until_kafka_has_it),
        cmocka_unit_test(the_same_request_again_gets_its_stored_reply),
        cmocka_unit_test(without_redis_everything_is_stored_all_the_same),
        cmocka_unit_test(a_result_that_cannot_be_read_fails_its_request),
        cmocka_unit_test(parts_of_two_bodies_are_never_mixed),
        cmocka_unit_test(turns_that_come_together_are_counted_one_by_one),
        cmocka_unit_test(whatever_happens_the_books_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
