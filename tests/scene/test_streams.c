/*
 * Goal: an answer that comes in pieces is whole or none, silence has limits of its own, and whoever
 * reads along reads what the reply will say.
 * Method: a provider that streams under the simulated clock, and stops in the ways there are.
 */
#include "tests/scene/scene.h"

#define READ_ALONG "{\"id\":\"r1\",\"input\":\"hello\",\"stream\":true}"
#define CHUNKS     "quern:chunks:{default:r1}"

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    return sim;
}

static void ask(struct sim *sim, struct sim_request request)
{
    sim_worker(sim, "w1");
    sim_publish(sim, request);
    assert_true(sim_settle(sim));
}

static bool asked_for_a_stream(const struct sim_call *call)
{
    return memmem(call->body.data, call->body.len, "\"stream\":true", 13) != NULL;
}

static int64_t lasted(struct sim *sim, size_t call)
{
    return sim_call(sim, call)->end_ms - sim_call(sim, call)->at_ms;
}

static void answered_as_the_provider_said(struct sim *sim, size_t call)
{
    assert_str(sim_part(sim, "r1", 0)->status, "ok");
    assert_true(str_eq(sim_part(sim, "r1", 0)->text, sim_call(sim, call)->answer));
}

static void whoever_waits_is_answered_in_pieces(void **state)
{
    struct sim *sim = world(1);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 300, .first_ms = 40});
    ask(sim, (struct sim_request){.id = "r1"});

    const struct result *part = sim_part(sim, "r1", 0);
    assert_true(asked_for_a_stream(sim_call(sim, 0)));
    answered_as_the_provider_said(sim, 0);
    assert_int_equal(part->usage.input, 10);
    assert_int_equal(part->usage.output, 5);
    assert_between(part->times.first_token_ms, 40, 60);
    assert_str(part->attempts.items[0].outcome, "ok");
    assert_int_equal(part->attempts.items[0].http_status, 200);
    sim_free(sim);
}

static void the_batch_lane_and_a_model_that_says_so_are_answered_whole(void **state)
{
    struct sim *sim = world(2);
    (void)state;
    sim_set(sim, "models.beta.stream", "off");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 20});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 20});
    ask(sim, (struct sim_request){.id = "r1", .topic = "quern.requests.batch"});
    sim_publish(sim, (struct sim_request){.id = "r2", .models = "beta"});
    assert_true(sim_settle(sim));

    assert_int_equal(sim_call_count(sim), 2);
    for (size_t i = 0; i < 2; i++)
        assert_false(asked_for_a_stream(sim_call(sim, i)));
    answered_as_the_provider_said(sim, 0);
    sim_free(sim);
}

static void who_does_not_begin_is_asked_again_long_before_the_time_of_the_whole_call(void **state)
{
    struct sim *sim = world(3);
    (void)state;
    sim_set(sim, "models.alpha.first_token_timeout", "300ms");
    sim_provider(sim, "alpha", (struct sim_reply){.trouble = SIM_SILENT});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 2000, .first_ms = 100});
    ask(sim, (struct sim_request){.id = "r1"});

    assert_int_equal(sim_call_count(sim), 2);
    assert_between(lasted(sim, 0), 300, 320);
    assert_str(sim_part(sim, "r1", 0)->attempts.items[0].error_code, "provider_timeout");
    answered_as_the_provider_said(sim, 1);
    sim_free(sim);
}

static void who_falls_silent_in_the_middle_is_asked_again(void **state)
{
    struct sim *sim = world(4);
    (void)state;
    sim_set(sim, "models.alpha.idle_timeout", "200ms");
    sim_provider(
        sim, "alpha",
        (struct sim_reply){.after_ms = 400, .first_ms = 100, .pieces = 8, .trouble = SIM_SILENT});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 1000, .first_ms = 150, .pieces = 8});
    ask(sim, (struct sim_request){.id = "r1"});

    assert_int_equal(sim_call_count(sim), 2);
    assert_between(lasted(sim, 0), 300, 500);
    const struct attempt *first = &sim_part(sim, "r1", 0)->attempts.items[0];
    assert_str(first->error_code, "provider_cut");
    assert_str(first->outcome, "cut");
    answered_as_the_provider_said(sim, 1);
    sim_free(sim);
}

static void half_an_answer_is_none(void **state)
{
    (void)state;
    for (unsigned pieces = 2; pieces < 60; pieces++) {
        struct sim *sim = world(5);
        sim_set(sim, "models.alpha.attempts_max", "2");
        sim_provider(sim, "alpha",
                     (struct sim_reply){.after_ms = 100, .pieces = pieces, .trouble = SIM_CUT});
        ask(sim, (struct sim_request){.id = "r1"});

        assert_int_equal(sim_call_count(sim), 2);
        assert_str(sim_part(sim, "r1", 0)->status, "failed");
        assert_str(sim_part(sim, "r1", 0)->error.code, "provider_cut");
        assert_str(sim_part(sim, "r1", 0)->text, "");
        sim_free(sim);
    }
}

static void a_server_that_cannot_stream_is_read_whole(void **state)
{
    struct sim *sim = world(6);
    (void)state;
    sim_provider(sim, "alpha",
                 (struct sim_reply){.pieces = 5,
                                    .after_ms = 50,
                                    .body = "{\"choices\":[{\"message\":{\"content\":\"whole\"},"
                                            "\"finish_reason\":\"stop\"}]}"});
    ask(sim, (struct sim_request){.id = "r1"});

    assert_true(asked_for_a_stream(sim_call(sim, 0)));
    assert_str(sim_part(sim, "r1", 0)->text, "whole");
    sim_free(sim);
}

/* "slot 0 run RUN n N text TEXT": the text, and the run in `run` when that is not NULL. */
static struct str chunk(struct sim *sim, size_t index, unsigned n, const char *field,
                        struct str *run)
{
    struct str rest = sim_redis_entry(sim, CHUNKS, index), word, name;
    const char *const words[] = {"slot", "0", "run", NULL, "n", NULL, field};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        assert_true(str_split(&rest, ' ', &word));
        if (words[i])
            assert_str(word, words[i]);
        else if (i == 3)
            name = word;
        else
            assert_str(word, nth("", (int)n));
    }
    if (run)
        *run = name;
    return rest;
}

static void who_reads_along_reads_the_answer_in_numbered_chunks(void **state)
{
    struct sim *sim = world(7);
    struct str run, other;
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 400, .first_ms = 50, .pieces = 2});
    ask(sim, (struct sim_request){.raw = READ_ALONG});

    struct str whole = sim_part(sim, "r1", 0)->text;
    struct str first = chunk(sim, 0, 1, "text", &run), second = chunk(sim, 1, 2, "text", &other);
    assert_true(str_eq(run, other));
    assert_true(str_eq(run, sim_part(sim, "r1", 0)->attempts.items[0].run_id));
    assert_true(str_starts(whole, first) && str_ends(whole, second));
    assert_int_equal(first.len + second.len, whole.len);
    assert_str(chunk(sim, 2, 3, "end", NULL), "ok");
    assert_str(sim_redis_entry(sim, CHUNKS, 3), "");
    sim_run_ms(sim, 601000);
    assert_str(sim_redis_entry(sim, CHUNKS, 0), "");
    sim_free(sim);
}

static void who_reads_along_is_told_when_it_begins_anew(void **state)
{
    struct sim *sim = world(8);
    struct str run, other;
    (void)state;
    sim_provider(
        sim, "alpha",
        (struct sim_reply){.after_ms = 400, .first_ms = 50, .pieces = 4, .trouble = SIM_CUT});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 100, .pieces = 1});
    ask(sim, (struct sim_request){.raw = READ_ALONG});

    struct str lost = chunk(sim, 0, 1, "text", &run);
    assert_true(lost.len < sim_part(sim, "r1", 0)->text.len);
    assert_true(str_eq(chunk(sim, 1, 1, "text", &other), sim_part(sim, "r1", 0)->text));
    assert_true(memcmp(run.data, other.data, run.len) < 0); /* newer runs are greater */
    assert_str(chunk(sim, 2, 2, "end", NULL), "ok");
    sim_free(sim);
}

static void who_reads_along_is_told_that_there_is_no_answer(void **state)
{
    struct sim *sim = world(9);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.status = 400});
    ask(sim, (struct sim_request){.raw = READ_ALONG});

    assert_str(chunk(sim, 0, 1, "end", NULL), "provider_refused");
    sim_free(sim);
}

static void without_redis_the_reply_comes_all_the_same(void **state)
{
    struct sim *sim = world(10);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 100});
    sim_redis_down(sim, true);
    ask(sim, (struct sim_request){.raw = READ_ALONG});

    answered_as_the_provider_said(sim, 0);
    sim_free(sim);
}

static void a_stream_does_not_outlast_the_deadline(void **state)
{
    struct sim *sim = world(11);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 5000, .first_ms = 50, .pieces = 50});
    ask(sim, (struct sim_request){.id = "r1", .deadline_ms = 1000});

    assert_int_equal(sim_call_count(sim), 1);
    assert_between(lasted(sim, 0), 950, 1000);
    assert_int_equal(sim_call(sim, 0)->status, 0);
    assert_str(sim_part(sim, "r1", 0)->status, "expired");
    assert_str(sim_part(sim, "r1", 0)->attempts.items[0].outcome, "cancelled");
    assert_str(sim_part(sim, "r1", 0)->text, "");
    sim_free(sim);
}

/* Servers send id and role at once, and may then think for ever. */
static void an_event_without_a_token_is_no_beginning(void **state)
{
    static const char role[] =
        "data: {\"id\":\"chatcmpl-1\",\"model\":\"m\",\"choices\":[{\"index\":0,"
        "\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    struct sim *sim = world(12);
    (void)state;
    sim_set(sim, "models.alpha.first_token_timeout", "300ms");
    sim_set(sim, "models.alpha.idle_timeout", "20s");
    sim_provider(
        sim, "alpha",
        (struct sim_reply){
            .after_ms = 100, .first_ms = 10, .pieces = 2, .trouble = SIM_SILENT, .body = role});
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 100});
    ask(sim, (struct sim_request){.id = "r1"});

    assert_int_equal(sim_call_count(sim), 2);
    assert_between(lasted(sim, 0), 300, 320);
    assert_str(sim_part(sim, "r1", 0)->attempts.items[0].error_code, "provider_timeout");
    sim_free(sim);
}

/* Of an answer, and of an error: a server that goes on for a minute holds neither back. */
static void behind_the_end_nothing_is_waited_for(void **state)
{
    static const char *const ends[] = {
        "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n"
        "data: [DONE]\n\n",
        "data: {\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\"}}\n\n"};
    static char body[4000];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sim *sim = world(13);
        size_t at = (size_t)snprintf(body, sizeof(body), "%s", ends[i]);
        while (at < sizeof(body) - 8)
            at += (size_t)snprintf(body + at, sizeof(body) - at, ": x\n\n");
        sim_provider(
            sim, "alpha",
            (struct sim_reply){.after_ms = 60000, .first_ms = 10, .pieces = 200, .body = body});
        ask(sim, (struct sim_request){.id = "r1"});

        assert_int_equal(sim_call_count(sim), 1);
        assert_between(lasted(sim, 0), 1000, 4000);
        assert_str(sim_part(sim, "r1", 0)->error.code, i ? "provider_refused" : "");
        assert_str(sim_part(sim, "r1", 0)->text, i ? "" : "hi");
        sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_waits_is_answered_in_pieces),
        cmocka_unit_test(the_batch_lane_and_a_model_that_says_so_are_answered_whole),
        cmocka_unit_test(who_does_not_begin_is_asked_again_long_before_the_time_of_the_whole_call),
        cmocka_unit_test(who_falls_silent_in_the_middle_is_asked_again),
        cmocka_unit_test(half_an_answer_is_none),
        cmocka_unit_test(a_server_that_cannot_stream_is_read_whole),
        cmocka_unit_test(who_reads_along_reads_the_answer_in_numbered_chunks),
        cmocka_unit_test(who_reads_along_is_told_when_it_begins_anew),
        cmocka_unit_test(who_reads_along_is_told_that_there_is_no_answer),
        cmocka_unit_test(without_redis_the_reply_comes_all_the_same),
        cmocka_unit_test(a_stream_does_not_outlast_the_deadline),
        cmocka_unit_test(an_event_without_a_token_is_no_beginning),
        cmocka_unit_test(behind_the_end_nothing_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
