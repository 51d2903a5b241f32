/*
 * Goal: a call that shows no sign of an answer for longer than is usual gets a second one beside
 * it; one of the two answers, both are in the ledger, and nothing else is different from one call.
 * Method: a provider that answered many calls alike, and then one that is slow.
 */
#include "tests/scene/scene.h"

enum { USUAL_MS = 100, MANY = 60 };

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_set(sim, "models.alpha.hedge", "p95");
    sim_set(sim, "models.alpha.hedge_floor", "50ms");
    sim_set(sim, "models.alpha.stream", "off");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = USUAL_MS});
    return sim;
}

static void ask_many(struct sim *sim, int from, int count)
{
    for (int i = from; i < from + count; i++)
        sim_publish(sim, (struct sim_request){.id = nth("usual", i)});
    assert_true(sim_settle(sim));
}

/* What is usual is known from now on, and there is a token for a second call or two. */
static struct sim *used_world(uint64_t seed)
{
    struct sim *sim = world(seed);
    sim_worker(sim, "w1");
    ask_many(sim, 0, MANY);
    assert_int_equal(sim_call_count(sim), MANY);
    return sim;
}

static void next_replies(struct sim *sim, struct sim_reply first, struct sim_reply second)
{
    sim_provider_now(sim, "alpha", first);
    sim_provider(sim, "alpha", second);
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = USUAL_MS});
}

static void ask(struct sim *sim, struct sim_request request)
{
    sim_publish(sim, request);
    assert_true(sim_settle(sim));
}

static size_t calls_behind(const struct sim *sim)
{
    return sim_call_count(sim) - MANY;
}

static const struct attempt *attempt(struct sim *sim, const char *id, size_t number)
{
    const struct result *part = sim_part(sim, id, 0);
    assert_non_null(part);
    assert_true(number < part->attempts.count);
    return &part->attempts.items[number];
}

static int64_t lasted(struct sim *sim, size_t call)
{
    return sim_call(sim, call)->end_ms - sim_call(sim, call)->at_ms;
}

static size_t runs_of(const struct sim *sim, const char *outcome)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_run_rows(sim); i++)
        count += str_is(sim_run_row(sim, i)->outcome, outcome);
    return count;
}

static void all_calls_are_rows(struct sim *sim)
{
    sim_run_ms(sim, 2000);
    assert_int_equal(sim_run_rows(sim), sim_call_count(sim));
    for (size_t i = 0; i < sim_call_count(sim); i++) {
        size_t found = 0;
        for (size_t k = 0; k < sim_run_rows(sim); k++)
            found += str_eq(sim_run_row(sim, k)->call_id, sim_call(sim, i)->id);
        assert_int_equal(found, 1);
    }
}

static void the_second_call_answers_and_the_first_is_ended(void **state)
{
    struct sim *sim = used_world(1);
    (void)state;
    next_replies(sim, (struct sim_reply){.after_ms = 30000}, (struct sim_reply){.after_ms = 80});
    ask(sim, (struct sim_request){.id = "r1"});

    assert_int_equal(calls_behind(sim), 2);
    int64_t until_ms = sim_call(sim, MANY + 1)->at_ms - sim_call(sim, MANY)->at_ms;
    assert_between(until_ms, USUAL_MS, 2 * USUAL_MS);
    assert_between(lasted(sim, MANY), until_ms + 80, until_ms + 100);
    assert_int_equal(sim_call(sim, MANY)->status, -1);
    assert_str(sim_part(sim, "r1", 0)->status, "ok");
    assert_str(attempt(sim, "r1", 0)->outcome, "hedged");
    assert_str(attempt(sim, "r1", 1)->outcome, "ok");
    assert_int_equal(attempt(sim, "r1", 1)->number, 2);
    assert_true(str_ends(attempt(sim, "r1", 1)->call_id, STR("/r1/0/2")));
    assert_int_equal(sim_part(sim, "r1", 0)->usage.output, 5);
    assert_between(sim_part(sim, "r1", 0)->times.first_token_ms, until_ms, until_ms + 100);
    all_calls_are_rows(sim);
    sim_free(sim);
}

static void the_first_call_answers_and_the_second_is_ended(void **state)
{
    struct sim *sim = used_world(2);
    (void)state;
    next_replies(sim, (struct sim_reply){.after_ms = 300}, (struct sim_reply){.after_ms = 9000});
    ask(sim, (struct sim_request){.id = "r1"});

    assert_int_equal(calls_behind(sim), 2);
    assert_str(attempt(sim, "r1", 0)->outcome, "ok");
    assert_str(attempt(sim, "r1", 1)->outcome, "hedged");
    assert_str(sim_part(sim, "r1", 0)->status, "ok");
    assert_between(lasted(sim, MANY), 300, 310);
    assert_true(lasted(sim, MANY + 1) < 300);
    all_calls_are_rows(sim);
    sim_free(sim);
}

/* Its failure is one: the next call waits for one pause, and the attempts are those of one. */
static void both_fail_and_it_is_asked_again_once(void **state)
{
    struct sim *sim = used_world(3);
    (void)state;
    next_replies(sim, (struct sim_reply){.status = 500, .after_ms = 400},
                 (struct sim_reply){.status = 503, .after_ms = 90});
    ask(sim, (struct sim_request){.id = "r1"});

    assert_int_equal(calls_behind(sim), 3);
    assert_str(sim_part(sim, "r1", 0)->status, "ok");
    assert_str(attempt(sim, "r1", 0)->outcome, "failed");
    assert_int_equal(attempt(sim, "r1", 0)->http_status, 500);
    assert_str(attempt(sim, "r1", 1)->outcome, "failed");
    assert_int_equal(attempt(sim, "r1", 1)->http_status, 503);
    assert_str(attempt(sim, "r1", 2)->outcome, "ok");
    assert_true(sim_call(sim, MANY + 2)->at_ms >= sim_call(sim, MANY)->end_ms);
    all_calls_are_rows(sim);
    sim_free(sim);
}

static void attempts_are_counted_without_the_second_call(void **state)
{
    struct sim *sim = used_world(4);
    (void)state;
    next_replies(sim, (struct sim_reply){.status = 500, .after_ms = 400},
                 (struct sim_reply){.status = 500, .after_ms = 10});
    sim_provider_now(sim, "alpha", (struct sim_reply){.status = 500, .after_ms = 400});
    ask(sim, (struct sim_request){.id = "r1"});

    assert_int_equal(calls_behind(sim), 4 + 1);
    assert_str(sim_part(sim, "r1", 0)->status, "failed");
    all_calls_are_rows(sim);
    sim_free(sim);
}

/* The first fails while the second is under way: nothing is lost yet. */
static void one_that_fails_leaves_it_to_the_other(void **state)
{
    struct sim *sim = used_world(5);
    (void)state;
    next_replies(sim, (struct sim_reply){.status = 500, .after_ms = 200},
                 (struct sim_reply){.after_ms = 500});
    ask(sim, (struct sim_request){.id = "r1"});

    assert_int_equal(calls_behind(sim), 2);
    assert_str(attempt(sim, "r1", 0)->outcome, "failed");
    assert_str(attempt(sim, "r1", 1)->outcome, "ok");
    all_calls_are_rows(sim);
    sim_free(sim);
}

static void a_model_that_has_none_gets_none(void **state)
{
    struct sim *sim = sim_new(6);
    (void)state;
    sim_set(sim, "default_model", "alpha");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = USUAL_MS});
    sim_worker(sim, "w1");
    ask_many(sim, 0, MANY);
    next_replies(sim, (struct sim_reply){.after_ms = 3000}, (struct sim_reply){.after_ms = 80});
    ask(sim, (struct sim_request){.id = "r1"});
    assert_int_equal(calls_behind(sim), 1);
    sim_free(sim);
}

static void nobody_knows_what_is_slow_before_many_were_seen(void **state)
{
    struct sim *sim = world(7);
    (void)state;
    sim_worker(sim, "w1");
    ask_many(sim, 0, 19);
    next_replies(sim, (struct sim_reply){.after_ms = 3000}, (struct sim_reply){.after_ms = 80});
    ask(sim, (struct sim_request){.id = "r1"});
    assert_int_equal(sim_call_count(sim), 20);
    ask_many(sim, 20, 20);
    next_replies(sim, (struct sim_reply){.after_ms = 9000}, (struct sim_reply){.after_ms = 80});
    ask(sim, (struct sim_request){.id = "r2"});
    assert_int_equal(sim_call_count(sim), 42);
    sim_free(sim);
}

/* All calls are slow from now on: at most one in twenty gets a second one. */
static void they_are_a_share_of_the_calls(void **state)
{
    struct sim *sim = used_world(8);
    (void)state;
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 5000});
    for (int i = 0; i < 200; i++)
        sim_publish(sim, (struct sim_request){.id = nth("slow", i)});
    assert_true(sim_settle(sim));
    size_t hedges = sim_call_count(sim) - MANY - 200;
    assert_between(hedges, 1, (MANY + 200) / 20);
    all_calls_are_rows(sim);
    sim_free(sim);
}

static void the_batch_lane_has_none(void **state)
{
    struct sim *sim = used_world(9);
    (void)state;
    next_replies(sim, (struct sim_reply){.after_ms = 3000}, (struct sim_reply){.after_ms = 80});
    ask(sim, (struct sim_request){.id = "r1", .topic = "quern.requests.batch"});
    assert_int_equal(calls_behind(sim), 1);
    sim_free(sim);
}

static void without_room_there_is_none(void **state)
{
    static const char *const settings[][2] = {{"models.alpha.concurrency_max", "1"},
                                              {"worker.max_in_flight", "1"},
                                              {"models.alpha.requests_per_minute", "61"},
                                              {"tenants.default.requests_per_minute", "61"}};
    (void)state;
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        struct sim *sim = world(10);
        sim_set(sim, settings[i][0], settings[i][1]);
        sim_worker(sim, "w1");
        ask_many(sim, 0, MANY);
        next_replies(sim, (struct sim_reply){.after_ms = 3000}, (struct sim_reply){.after_ms = 80});
        ask(sim, (struct sim_request){.id = "r1"});
        assert_int_equal(calls_behind(sim), 1);
        assert_str(sim_part(sim, "r1", 0)->status, "ok");
        sim_free(sim);
    }
}

/* A budget in money has enough for the call, and not for two. */
static void without_money_there_is_none(void **state)
{
    struct sim *sim = world(11);
    (void)state;
    sim_set(sim, "models.alpha.price_input", "50");
    sim_set(sim, "models.alpha.price_output", "100");
    sim_set(sim, "models.alpha.max_tokens", "5");
    sim_set(sim, "tenants.default.budget_day", "0.0615");
    sim_worker(sim, "w1");
    ask_many(sim, 0, MANY);
    next_replies(sim, (struct sim_reply){.after_ms = 3000}, (struct sim_reply){.after_ms = 80});
    ask(sim, (struct sim_request){.id = "r1"});
    assert_int_equal(calls_behind(sim), 1);
    assert_str(sim_part(sim, "r1", 0)->status, "ok");
    sim_free(sim);
}

static void near_the_deadline_there_is_none(void **state)
{
    struct sim *sim = used_world(12);
    (void)state;
    next_replies(sim, (struct sim_reply){.after_ms = 3000}, (struct sim_reply){.after_ms = 80});
    ask(sim, (struct sim_request){.id = "r1", .deadline_ms = USUAL_MS + 90});
    assert_int_equal(calls_behind(sim), 1);
    assert_str(sim_final(sim, "r1")->status, "expired");
    sim_free(sim);
}

static void both_end_with_the_deadline(void **state)
{
    struct sim *sim = used_world(13);
    (void)state;
    next_replies(sim, (struct sim_reply){.after_ms = 9000}, (struct sim_reply){.after_ms = 9000});
    ask(sim, (struct sim_request){.id = "r1", .deadline_ms = 1000});
    assert_int_equal(calls_behind(sim), 2);
    assert_between(lasted(sim, MANY), 950, 1000);
    assert_true(sim_call(sim, MANY + 1)->end_ms <= sim_call(sim, MANY)->at_ms + 1000);
    assert_str(sim_final(sim, "r1")->status, "expired");
    assert_str(attempt(sim, "r1", 0)->outcome, "cancelled");
    assert_str(attempt(sim, "r1", 1)->outcome, "cancelled");
    all_calls_are_rows(sim);
    sim_free(sim);
}

static void who_is_cancelled_ends_both(void **state)
{
    struct sim *sim = used_world(14);
    (void)state;
    next_replies(sim, (struct sim_reply){.after_ms = 9000}, (struct sim_reply){.after_ms = 9000});
    sim_publish(sim, (struct sim_request){.id = "r1"});
    sim_run_ms(sim, 600);
    assert_int_equal(calls_behind(sim), 2);
    sim_redis(sim, (const char *const[]){"PUBLISH", "quern:cancel", "default\x1fr1", NULL});
    assert_true(sim_settle(sim));

    assert_true(lasted(sim, MANY) < 700 && lasted(sim, MANY + 1) < 700);
    assert_str(sim_final(sim, "r1")->status, "cancelled");
    assert_int_equal(runs_of(sim, "cancelled"), 2);
    all_calls_are_rows(sim);
    sim_free(sim);
}

/* Who is told to leave waits for both, and begins none. */
static void who_leaves_waits_for_the_answer(void **state)
{
    (void)state;
    for (int begun = 0; begun < 2; begun++) {
        struct sim *sim = world(15);
        struct sim_process *worker = sim_worker(sim, "w1");
        ask_many(sim, 0, MANY);
        next_replies(sim, (struct sim_reply){.after_ms = 1500},
                     (struct sim_reply){.after_ms = 700});
        sim_publish(sim, (struct sim_request){.id = "r1"});
        sim_run_ms(sim, begun ? 400 : 60);
        assert_int_equal(calls_behind(sim), 1 + begun);
        sim_term(worker);
        sim_run_ms(sim, 3000);
        assert_false(sim_running(worker));
        assert_true(sim_drained(worker));
        assert_int_equal(calls_behind(sim), 1 + begun);
        assert_str(sim_part(sim, "r1", 0)->status, "ok");
        all_calls_are_rows(sim);
        sim_free(sim);
    }
}

/* The drain's time was too short for either. */
static void who_must_leave_tells_of_both(void **state)
{
    struct sim *sim = world(16);
    (void)state;
    sim_set(sim, "worker.drain_timeout", "500ms");
    struct sim_process *worker = sim_worker(sim, "w1");
    ask_many(sim, 0, MANY);
    next_replies(sim, (struct sim_reply){.after_ms = 9000}, (struct sim_reply){.after_ms = 9000});
    sim_publish(sim, (struct sim_request){.id = "r1"});
    sim_run_ms(sim, 400);
    assert_int_equal(calls_behind(sim), 2);
    sim_term(worker);
    sim_run_ms(sim, 2000);
    assert_false(sim_running(worker));
    assert_int_equal(runs_of(sim, "cancelled"), 2);
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = USUAL_MS});
    sim_worker(sim, "w1");
    assert_true(sim_settle(sim));
    assert_str(sim_final(sim, "r1")->status, "done");
    sim_run_ms(sim, 2000);
    assert_int_equal(sim_run_rows(sim), sim_call_count(sim)); /* the first id comes twice */
    sim_free(sim);
}

/* Who died with both in flight is told of twice, by whoever takes over; nobody else dies. */
static void a_death_with_both_under_way_has_two_rows(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        struct sim *sim = world(18);
        struct sim_process *worker = sim_worker(sim, "w1");
        ask_many(sim, 0, MANY);
        sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 9000});
        sim_publish(sim, (struct sim_request){.id = "r1"});
        sim_run_ms(sim, 400);
        assert_int_equal(calls_behind(sim), 2);
        sim_kill(worker);
        sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = USUAL_MS});
        sim_worker(sim, again ? "w1" : "w2");
        assert_true(sim_settle(sim));
        assert_int_equal(calls_behind(sim), 3);
        assert_int_equal(runs_of(sim, "ambiguous"), 2);
        assert_int_equal(runs_of(sim, "ok"), MANY + 1);
        assert_int_equal(sim_run_rows(sim), sim_call_count(sim));
        sim_free(sim);
    }
}

/* It lost its partitions and gave the request up when both calls had failed: all is told. */
static void what_is_given_up_leaves_no_claim_of_a_second_call(void **state)
{
    struct sim *sim = world(19);
    (void)state;
    sim_set(sim, "worker.retry_base", "3s");
    sim_set(sim, "worker.retry_cap", "3s");
    struct sim_process *worker = sim_worker(sim, "w1");
    ask_many(sim, 0, MANY);
    sim_provider_now(sim, "alpha", (struct sim_reply){.status = 500, .after_ms = 300});
    sim_publish(sim, (struct sim_request){.id = "r1"});
    sim_run_ms(sim, 600);
    size_t calls = calls_behind(sim);
    assert_true(calls >= 2);
    sim_term(worker);
    sim_run_ms(sim, 1000);
    assert_false(sim_running(worker));
    assert_int_equal(sim_redis_keys(sim, "call:{default:r1}"), 0);
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = USUAL_MS});
    sim_worker(sim, "w2");
    assert_true(sim_settle(sim));
    assert_int_equal(runs_of(sim, "ambiguous"), 0);
    assert_int_equal(runs_of(sim, "failed"), calls);
    assert_int_equal(sim_run_rows(sim), sim_call_count(sim));
    sim_free(sim);
}

/* The answer came while the process stood still: it is read before a second call is thought of. */
static void who_stood_still_reads_first(void **state)
{
    struct sim *sim = world(25);
    (void)state;
    struct sim_process *worker = sim_worker(sim, "w1");
    ask_many(sim, 0, MANY);
    next_replies(sim, (struct sim_reply){.after_ms = 400}, (struct sim_reply){.after_ms = 80});
    sim_publish(sim, (struct sim_request){.id = "r1"});
    sim_run_ms(sim, 50);
    assert_int_equal(calls_behind(sim), 1);
    sim_freeze(worker, 1000);
    assert_true(sim_settle(sim));
    assert_int_equal(calls_behind(sim), 1);
    assert_str(sim_part(sim, "r1", 0)->status, "ok");
    sim_free(sim);
}

static void the_second_call_takes_another_key(void **state)
{
    struct sim *sim = world(17);
    (void)state;
    sim_set(sim, "models.alpha.api_keys", "k1,k2");
    sim_worker(sim, "w1");
    ask_many(sim, 0, MANY);
    next_replies(sim, (struct sim_reply){.after_ms = 3000}, (struct sim_reply){.after_ms = 80});
    ask(sim, (struct sim_request){.id = "r1"});
    assert_int_equal(calls_behind(sim), 2);
    assert_false(str_eq(sim_call(sim, MANY)->key, sim_call(sim, MANY + 1)->key));
    sim_free(sim);
}

/* ---- streams ---- */

#define READ_ALONG "{\"id\":\"r1\",\"input\":\"hello\",\"stream\":true}"
#define CHUNKS     "quern:chunks:{default:r1}"

static struct sim *streaming_world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    sim_set(sim, "models.alpha.hedge", "p95");
    sim_set(sim, "models.alpha.hedge_floor", "50ms");
    sim_provider(sim, "alpha", (struct sim_reply){.first_ms = USUAL_MS, .after_ms = 2000});
    sim_worker(sim, "w1");
    ask_many(sim, 0, MANY);
    return sim;
}

/* It is the first token that counts, not the whole answer. */
static void a_stream_that_began_gets_none(void **state)
{
    struct sim *sim = streaming_world(20);
    (void)state;
    next_replies(sim, (struct sim_reply){.first_ms = 90, .after_ms = 9000}, (struct sim_reply){0});
    ask(sim, (struct sim_request){.id = "r1"});
    assert_int_equal(calls_behind(sim), 1);
    sim_free(sim);
}

static void a_stream_without_a_token_gets_one(void **state)
{
    struct sim *sim = streaming_world(21);
    (void)state;
    next_replies(sim, (struct sim_reply){.first_ms = 8000, .after_ms = 9000},
                 (struct sim_reply){.first_ms = 50, .after_ms = 300});
    ask(sim, (struct sim_request){.id = "r1"});
    assert_int_equal(calls_behind(sim), 2);
    assert_between(sim_call(sim, MANY + 1)->at_ms - sim_call(sim, MANY)->at_ms, USUAL_MS, 200);
    assert_str(attempt(sim, "r1", 0)->outcome, "hedged");
    assert_str(attempt(sim, "r1", 1)->outcome, "ok");
    assert_true(str_eq(sim_part(sim, "r1", 0)->text, sim_call(sim, MANY + 1)->answer));
    all_calls_are_rows(sim);
    sim_free(sim);
}

/* Where nobody reads along the whole answer counts, not the first token. */
static void the_first_whole_stream_counts(void **state)
{
    struct sim *sim = streaming_world(22);
    (void)state;
    next_replies(sim, (struct sim_reply){.first_ms = 400, .after_ms = 500},
                 (struct sim_reply){.first_ms = 50, .after_ms = 3000});
    ask(sim, (struct sim_request){.id = "r1"});
    assert_str(attempt(sim, "r1", 0)->outcome, "ok");
    assert_str(attempt(sim, "r1", 1)->outcome, "hedged");
    all_calls_are_rows(sim);
    sim_free(sim);
}

/* "slot 0 run RUN n N FIELD TEXT" */
static void expect_chunk(struct sim *sim, size_t index, struct str run, unsigned n,
                         const char *field, struct str *ret_text)
{
    struct str rest = sim_redis_entry(sim, CHUNKS, index), word;
    const struct str words[] = {
        STR("slot"), STR("0"), STR("run"), run, STR("n"), str_of(nth("", (int)n)), str_of(field)};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        assert_true(str_split(&rest, ' ', &word));
        assert_true(str_eq(word, words[i]));
    }
    *ret_text = rest;
}

/* Who reads along reads the answer of the one that spoke first, from its beginning, and no other's
 * text, though the other one would have been done before it. */
static void who_reads_along_reads_the_first_to_speak(void **state)
{
    (void)state;
    for (size_t winner = 0; winner < 2; winner++) {
        struct sim *sim = streaming_world(23);
        struct str first, second, end;
        struct sim_reply slow = {.first_ms = 400, .after_ms = 2000, .pieces = 2};
        struct sim_reply late = {.first_ms = 500, .after_ms = 600, .pieces = 2};
        if (winner == 0)
            next_replies(sim, slow, late);
        else
            next_replies(sim, (struct sim_reply){.first_ms = 900, .after_ms = 1000},
                         (struct sim_reply){.first_ms = 300, .after_ms = 4000, .pieces = 2});
        ask(sim, (struct sim_request){.raw = READ_ALONG});

        assert_int_equal(calls_behind(sim), 2);
        const struct attempt *won = attempt(sim, "r1", winner);
        assert_str(won->outcome, "ok");
        assert_str(attempt(sim, "r1", 1 - winner)->outcome, "hedged");
        expect_chunk(sim, 0, won->run_id, 1, "text", &first);
        expect_chunk(sim, 1, won->run_id, 2, "text", &second);
        expect_chunk(sim, 2, won->run_id, 3, "end", &end);
        assert_int_equal(first.len + second.len, sim_part(sim, "r1", 0)->text.len);
        assert_str(end, "ok");
        const struct sim_call *lost = sim_call(sim, MANY + 1 - winner);
        assert_true(lost->end_ms - sim_call(sim, MANY)->at_ms < 600); /* at once */
        all_calls_are_rows(sim);
        sim_free(sim);
    }
}

/* The one that spoke is cut, and the other one is gone: it is asked again. */
static void who_spoke_and_was_cut_is_asked_again(void **state)
{
    struct sim *sim = streaming_world(24);
    struct str text;
    (void)state;
    next_replies(
        sim, (struct sim_reply){.first_ms = 2000, .after_ms = 2500},
        (struct sim_reply){.first_ms = 50, .after_ms = 900, .pieces = 6, .trouble = SIM_CUT});
    ask(sim, (struct sim_request){.raw = READ_ALONG});

    assert_int_equal(calls_behind(sim), 3);
    assert_str(attempt(sim, "r1", 0)->outcome, "hedged");
    assert_str(attempt(sim, "r1", 1)->outcome, "cut");
    assert_str(attempt(sim, "r1", 2)->outcome, "ok");
    expect_chunk(sim, 0, attempt(sim, "r1", 1)->run_id, 1, "text", &text);
    assert_str(sim_part(sim, "r1", 0)->status, "ok");
    all_calls_are_rows(sim);
    sim_free(sim);
}

/* With two attempts, of which one failed beside its second call, it is put off until the provider
 * is back: the second call was no attempt, so one is left. */
static void who_was_put_off_behind_a_second_call_is_answered(void **state)
{
    (void)state;
    struct sim *sim = world(71);
    const struct sim_reply slow_error = {.status = 503, .after_ms = 5 * USUAL_MS};
    sim_set(sim, "models.alpha.attempts_max", "2");
    sim_set(sim, "models.alpha.breaker_failures", "2");
    sim_set(sim, "worker.put_off_keep", "1");
    sim_worker(sim, "w1");
    ask_many(sim, 0, MANY);
    sim_provider_now(sim, "alpha", slow_error);
    for (int i = 0; i < 6; i++)
        sim_publish(sim, (struct sim_request){.id = nth("r", i), .deadline_ms = 600000});
    sim_run_ms(sim, 8000);
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = USUAL_MS});
    assert_true(sim_settle(sim));
    for (int i = 0; i < 6; i++) {
        const struct sim_final *final = sim_final(sim, nth("r", i));
        assert_non_null(final);
        assert_str(final->status, "done");
        assert_true(final->text.len > 0);
    }
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_call_answers_and_the_first_is_ended),
        cmocka_unit_test(the_first_call_answers_and_the_second_is_ended),
        cmocka_unit_test(both_fail_and_it_is_asked_again_once),
        cmocka_unit_test(attempts_are_counted_without_the_second_call),
        cmocka_unit_test(one_that_fails_leaves_it_to_the_other),
        cmocka_unit_test(a_model_that_has_none_gets_none),
        cmocka_unit_test(nobody_knows_what_is_slow_before_many_were_seen),
        cmocka_unit_test(they_are_a_share_of_the_calls),
        cmocka_unit_test(the_batch_lane_has_none),
        cmocka_unit_test(without_room_there_is_none),
        cmocka_unit_test(without_money_there_is_none),
        cmocka_unit_test(near_the_deadline_there_is_none),
        cmocka_unit_test(both_end_with_the_deadline),
        cmocka_unit_test(who_is_cancelled_ends_both),
        cmocka_unit_test(who_leaves_waits_for_the_answer),
        cmocka_unit_test(who_must_leave_tells_of_both),
        cmocka_unit_test(a_death_with_both_under_way_has_two_rows),
        cmocka_unit_test(what_is_given_up_leaves_no_claim_of_a_second_call),
        cmocka_unit_test(who_stood_still_reads_first),
        cmocka_unit_test(the_second_call_takes_another_key),
        cmocka_unit_test(a_stream_that_began_gets_none),
        cmocka_unit_test(a_stream_without_a_token_gets_one),
        cmocka_unit_test(the_first_whole_stream_counts),
        cmocka_unit_test(who_reads_along_reads_the_first_to_speak),
        cmocka_unit_test(who_spoke_and_was_cut_is_asked_again),
        cmocka_unit_test(who_was_put_off_behind_a_second_call_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
