/*
 * Goal: all parts of a request become one final result, and a reply that is sent until it arrived.
 * Method: the real programs over simulated doors; afterwards the books are compared.
 */
#include "tests/scene/books.h"

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

/* A result as another program of ours might write it. */
static void write_raw(struct sim *sim, const char *text)
{
    sim_publish(sim, (struct sim_request){.id = "one partition",
                                          .raw = text,
                                          .topic = "quern.results",
                                          .content_type = "application/json"});
}

/* As a failed one: nobody waits for the deadline. */
static void a_part_that_cannot_be_read_outlives_its_aggregator(void **state)
{
    struct sim *sim = world(5);
    (void)state;
    struct sim_process *first = sim_aggregator(sim, "a1");
    sim_worker(sim, "w1");
    write_raw(sim, "{\"tenant\":\"default\",\"request_id\":\"r1\",\"slot\":1,\"slots\":2,"
                   "\"status\":7,\"request\":{\"body_hash\":\"h\",\"topic\":\"t\"}}");
    sim_run_ms(sim, 1000);
    assert_int_equal(sim_request_row(sim, 0).parts, 2);
    sim_kill(first);
    sim_aggregator(sim, "a1");
    write_raw(sim, "{\"tenant\":\"default\",\"request_id\":\"r1\",\"slot\":0,\"slots\":2,"
                   "\"status\":\"ok\",\"text\":\"hi\",\"request\":{\"body_hash\":\"h\"}}");
    sim_run_ms(sim, 15000);
    assert_non_null(sim_final(sim, "r1"));
    assert_str(sim_final(sim, "r1")->status, "done");
    assert_int_equal(sim_reply_of(sim, "r1")->merge.parts.count, 2);
    assert_str(sim_reply_of(sim, "r1")->merge.parts.items[1].error.code, "internal");
    assert_int_equal(sim_dead_count(sim), 1);
    sim_free(sim);
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

enum { BODIES = 6 };

/* Workers that know nothing of each other answer one id: Redis is away, nothing is stored yet. The
 * first body waits longest for its second model. */
static void publish_bodies(struct sim *sim, struct sim_process **ret)
{
    sim_partitions(sim, 8);
    sim_redis_down(sim, true);
    sim_provider_now(sim, "beta", (struct sim_reply){.after_ms = 600});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 90});
    ret[0] = sim_aggregator(sim, "a1");
    for (int i = 0; i < 3; i++)
        ret[i + 1] = sim_worker(sim, nth("w", i));
    sim_run_ms(sim, 500);
    for (int i = 0; i < BODIES; i++) /* each with a key of its own */
        sim_publish(sim, (struct sim_request){.id = "r1",
                                              .input = nth("body ", i),
                                              .session = nth("s", i),
                                              .models = "alpha,beta"});
}

static void ask_two_bodies(struct sim *sim)
{
    struct sim_process *programs[4];
    publish_bodies(sim, programs);
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

static void write_result(struct sim *sim, const char *id, const char *session)
{
    char text[400];
    snprintf(text, sizeof(text),
             "{\"tenant\":\"default\",\"request_id\":\"%s\",\"status\":\"ok\",\"text\":\"hi\","
             "\"request\":{\"body_hash\":\"%s\",\"session\":\"%s\","
             "\"question\":[{\"role\":\"user\",\"content\":\"hello\"}]}}",
             id, id, session);
    write_raw(sim, text);
}

/* ---- an id with two bodies: all but one are told ---- */

/* Replies that say so, of this session; NULL: of all. */
static size_t conflicts(struct sim *sim, const char *session)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_replies(sim); i++)
        count += str_is(sim_reply_at(sim, i)->error.code, "id_conflict") &&
                 (!session || str_is(sim_reply_at(sim, i)->session, session));
    return count;
}

static size_t conflict_letters(struct sim *sim)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_dead_count(sim); i++) {
        struct sim_dead dead = sim_dead(sim, i);
        count += str_is(dead.code, "id_conflict") && str_is(dead.id, "r1") && dead.value.len > 0;
    }
    return count;
}

/* `once`: nobody died, so nothing was said twice. */
static void expect_losers_told(struct sim *sim, size_t bodies, bool once)
{
    assert_int_equal(sim_final_count(sim), 1);
    assert_between(conflicts(sim, NULL), bodies - 1, once ? bodies - 1 : 2 * bodies);
    assert_between(conflict_letters(sim), bodies - 1, once ? bodies - 1 : 2 * bodies);
    assert_int_equal(sim_outbox_rows(sim), 0);
}

/* Body i is of session "s<i>": each was told but the one whose answer is stored. */
static void expect_sessions_told(struct sim *sim)
{
    for (int i = 0; i < BODIES; i++)
        assert_int_equal(conflicts(sim, nth("s", i)) > 0,
                         !str_is(sim_final(sim, "r1")->session, nth("s", i)));
}

enum trouble { NO_TROUBLE, ANSWER_LOST, QUESTION_LOST, DEATH_BEFORE, DEATH_AFTER, TROUBLES };

/* A lost transaction: the n-th from now on; a death: at the n-th question to PostgreSQL at all. */
static void make_trouble(struct sim *sim, enum trouble trouble, unsigned n)
{
    if (trouble == ANSWER_LOST)
        sim_postgres_lose_answer(sim, n);
    if (trouble == QUESTION_LOST)
        sim_postgres_lose_question(sim, n);
    if (trouble >= DEATH_BEFORE)
        sim_fault(sim,
                  (struct sim_fault){.door = SIM_POSTGRES,
                                     .nth = n,
                                     .way = trouble == DEATH_BEFORE ? SIM_DIE : SIM_DIE_AFTER});
}

/* Whoever died starts anew under its name. */
static void settle_all(struct sim *sim, struct sim_process **programs, size_t count)
{
    sim_run_ms(sim, 20000);
    for (size_t i = 0; i < count; i++)
        if (!sim_running(programs[i]))
            programs[i] = i ? sim_worker(sim, nth("w", (int)i - 1)) : sim_aggregator(sim, "a1");
    assert_true(sim_settle(sim));
}

/* Their parts meet in one aggregator, or one was final before it read the other. */
static void who_lost_an_id_is_told_whatever_happens(void **state)
{
    (void)state;
    for (int trouble = NO_TROUBLE; trouble < TROUBLES; trouble++)
        for (unsigned n = 1; n <= 30; n++) {
            struct sim *sim = world(1100 + n);
            struct sim_process *programs[4];
            make_trouble(sim, (enum trouble)trouble, n);
            publish_bodies(sim, programs);
            settle_all(sim, programs, 4);
            expect_losers_told(sim, BODIES, trouble < DEATH_BEFORE);
            expect_sessions_told(sim);
            sim_free(sim);
        }
}

/* The aggregator has forgotten the first body's group; the worker can ask neither Redis nor
 * PostgreSQL. */
static void who_lost_an_id_that_was_final_long_ago_is_told_whatever_happens(void **state)
{
    (void)state;
    for (int trouble = NO_TROUBLE; trouble < TROUBLES; trouble++)
        for (unsigned n = 1; n <= 30; n++) {
            struct sim *sim = world(1200 + n);
            struct sim_process *programs[2] = {sim_aggregator(sim, "a1"), sim_worker(sim, "w0")};
            struct sim_request request = {
                .id = "r1", .input = "body 0", .models = n % 2 ? "alpha" : "alpha,beta"};
            sim_publish(sim, request);
            sim_run_ms(sim, 2000);
            struct str first = sim_final(sim, "r1")->body_hash;
            sim_redis_down(sim, true);
            sim_postgres_down(sim, true);
            request.input = "body 1";
            sim_publish(sim, request);
            sim_run_ms(sim, 20000);
            assert_int_equal(sim_call_count(sim), n % 2 ? 2 : 4);
            make_trouble(sim, (enum trouble)trouble, n + (trouble >= DEATH_BEFORE ? 4 : 0));
            sim_postgres_down(sim, false);
            settle_all(sim, programs, 2);
            assert_true(str_eq(sim_final(sim, "r1")->body_hash, first));
            expect_losers_told(sim, 2, trouble < DEATH_BEFORE);
            expect_sums(sim);
            sim_free(sim);
        }
}

static void who_lost_by_a_part_that_cannot_be_read_is_told(void **state)
{
    struct sim *sim = world(1300);
    (void)state;
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .session = "s0"});
    sim_run_ms(sim, 2000);
    write_raw(sim, "{\"tenant\":\"default\",\"request_id\":\"r1\",\"status\":7,"
                   "\"request\":{\"body_hash\":\"another\",\"session\":\"s1\"}}");
    assert_true(sim_settle(sim));
    assert_int_equal(conflicts(sim, "s1"), 1);
    assert_int_equal(conflict_letters(sim), 0);
    assert_int_equal(sim_dead_count(sim), 1); /* as unreadable, once is enough */
    sim_free(sim);
}

/* The part of slot 0, which decides, neither opens nor ends a group: the one it joins is forgotten
 * meanwhile. */
static void who_lost_by_a_part_between_others_is_told(void **state)
{
    static const int slots[] = {1, 0, 2};
    (void)state;
    for (int64_t pause_ms = 0; pause_ms <= 600; pause_ms += 50) {
        struct sim *sim = world(1350);
        sim_worker(sim, "w1");
        sim_publish(sim, (struct sim_request){.id = "r1", .session = "s0"});
        sim_run_ms(sim, 2000);
        sim_postgres_latency_ms(sim, 200);
        for (int i = 0; i < 3; i++) {
            char text[300];
            snprintf(text, sizeof(text),
                     "{\"tenant\":\"default\",\"request_id\":\"r1\",\"slot\":%d,\"slots\":3,"
                     "\"status\":\"ok\",\"text\":\"hi\","
                     "\"request\":{\"body_hash\":\"another\",\"session\":\"s1\"}}",
                     slots[i]);
            write_raw(sim, text);
            sim_run_ms(sim, pause_ms);
        }
        assert_true(sim_settle(sim));
        expect_losers_told(sim, 2, true);
        assert_int_equal(conflicts(sim, "s1"), 1);
        sim_free(sim);
    }
}

/* Neither in the same transaction, nor when its request is final. */
static void the_same_body_again_has_not_lost(void **state)
{
    struct sim *sim = world(1400);
    (void)state;
    sim_worker(sim, "w1");
    for (int i = 0; i < 4; i++) {
        write_result(sim, "r1", "s0");
        if (i > 1)
            sim_run_ms(sim, 2000);
    }
    assert_true(sim_settle(sim));
    expect_losers_told(sim, 1, true);
    sim_free(sim);
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

/* JSON needs six bytes for each of these characters; half a document would be no reply. */
static void a_reply_that_does_not_fit_says_so(void **state)
{
    (void)state;
    static char body[200000];
    struct sim *sim = sim_new(90);
    size_t at = (size_t)snprintf(body, sizeof(body), "{\"choices\":[{\"message\":{\"content\":\"");
    for (int i = 0; i < 20000; i++)
        at += (size_t)snprintf(body + at, sizeof(body) - at, "\\u0001");
    snprintf(body + at, sizeof(body) - at, "\"}}]}");
    sim_set(sim, "default_model", "alpha");
    sim_set(sim, "kafka.message_bytes_max", "65536");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 30, .body = body});
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1"});
    assert_true(sim_settle(sim));
    assert_str(sim_final(sim, "r1")->status, "done");
    assert_int_equal(sim_final(sim, "r1")->text.len, 20000);
    assert_str(sim_reply_of(sim, "r1")->status, "failed");
    assert_str(sim_reply_of(sim, "r1")->error.code, "too_big");
    assert_int_equal(sim_outbox_rows(sim), 0);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_parts_become_one_final_and_one_reply),
        cmocka_unit_test(a_missing_part_is_waited_for_until_the_merge_deadline),
        cmocka_unit_test(fewer_answers_than_the_quorum_are_no_answer),
        cmocka_unit_test(parts_outlive_their_aggregator),
        cmocka_unit_test(a_part_that_cannot_be_read_outlives_its_aggregator),
        cmocka_unit_test(a_reply_is_sent_until_kafka_has_it),
        cmocka_unit_test(the_same_request_again_gets_its_stored_reply),
        cmocka_unit_test(without_redis_everything_is_stored_all_the_same),
        cmocka_unit_test(a_result_that_cannot_be_read_fails_its_request),
        cmocka_unit_test(parts_of_two_bodies_are_never_mixed),
        cmocka_unit_test(who_lost_an_id_is_told_whatever_happens),
        cmocka_unit_test(who_lost_an_id_that_was_final_long_ago_is_told_whatever_happens),
        cmocka_unit_test(who_lost_by_a_part_that_cannot_be_read_is_told),
        cmocka_unit_test(who_lost_by_a_part_between_others_is_told),
        cmocka_unit_test(the_same_body_again_has_not_lost),
        cmocka_unit_test(turns_that_come_together_are_counted_one_by_one),
        cmocka_unit_test(a_reply_that_does_not_fit_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
