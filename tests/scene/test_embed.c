/*
 * Goal: texts become vectors whole, in their order and once, whoever dies meanwhile, and a model
 * that has none is never asked.
 * Method: providers that make a vector of each text, under the simulated clock.
 */
#include "tests/scene/scene.h"

#define EMBED(more) "{\"id\":\"r1\",\"kind\":\"embed\",\"input\":[\"one\",\"two\"]" more "}"
#define ONE_AND_TWO                                                                                \
    "{\"data\":[{\"index\":1,\"embedding\":[0.5,0]},{\"index\":0,\"embedding\":\"AACAPwAAAL8=\"}]" \
    ","                                                                                            \
    "\"usage\":{\"prompt_tokens\":7}}"
#define DIFFERENT_LENGTHS                                                                          \
    "{\"data\":[{\"index\":0,\"embedding\":[1]},{\"index\":1,\"embedding\":[1,2]}],"               \
    "\"usage\":{\"prompt_tokens\":7}}"

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_set(sim, "default_model", "alpha");
    return sim;
}

static void ask(struct sim *sim, const char *body)
{
    sim_worker(sim, "w1");
    sim_publish(sim, (struct sim_request){.id = "r1", .raw = body});
    assert_true(sim_settle(sim));
}

static bool says(struct str text, const char *words)
{
    return text.data && memmem(text.data, text.len, words, strlen(words));
}

static void vectors_come_back_in_the_order_of_the_texts(void **state)
{
    struct sim *sim = world(1);
    (void)state;
    sim_set(sim, "models.alpha.price_input", "2");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 20, .body = ONE_AND_TWO});
    ask(sim, EMBED(""));

    const struct result *part = sim_part(sim, "r1", 0);
    assert_true(says(sim_call(sim, 0)->body, "\"input\":[\"one\",\"two\"]"));
    assert_false(says(sim_call(sim, 0)->body, "stream"));
    assert_str(part->status, "ok");
    assert_int_equal(part->embeddings.count, 2);
    assert_str(part->embeddings.items[0], "AACAPwAAAL8=");
    assert_str(part->embeddings.items[1], "AAAAPwAAAAA=");
    assert_null(part->text.data);
    assert_int_equal(part->usage.input, 7);
    assert_int_equal(part->cost_microusd, 14); /* no price of output is needed */

    const struct reply *reply = sim_reply_of(sim, "r1");
    assert_str(sim_reply_text(sim, reply), "[\"AACAPwAAAL8=\",\"AAAAPwAAAAA=\"]");
    assert_null(reply->text.data);
    assert_str(sim_final(sim, "r1")->text, "[\"AACAPwAAAL8=\",\"AAAAPwAAAAA=\"]");
    assert_int_equal(sim_message_rows(sim), 0);
    sim_free(sim);
}

static void half_the_vectors_are_asked_for_again_and_paid(void **state)
{
    struct sim *sim = world(2);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.body = DIFFERENT_LENGTHS});
    sim_provider(sim, "alpha", (struct sim_reply){.body = ONE_AND_TWO});
    ask(sim, EMBED(""));

    const struct result *part = sim_part(sim, "r1", 0);
    assert_int_equal(sim_call_count(sim), 2);
    assert_str(part->attempts.items[0].error_code, "provider_bad_reply");
    assert_int_equal(part->attempts.items[0].usage.input, 7);
    assert_int_equal(part->usage.input, 14);
    assert_int_equal(part->embeddings.count, 2);
    sim_free(sim);
}

/* Every further try would be paid, and be the same. */
static void a_model_that_ignores_the_dimensions_is_asked_once(void **state)
{
    struct sim *sim = world(3);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.body = ONE_AND_TWO});
    ask(sim, EMBED(",\"params\":{\"dimensions\":1}"));

    assert_int_equal(sim_call_count(sim), 1);
    assert_str(sim_part(sim, "r1", 0)->error.code, "provider_bad_reply");
    assert_str(sim_part(sim, "r1", 0)->error.retry, "never");
    assert_true(says(sim_part(sim, "r1", 0)->error.message, "leave it out"));
    sim_free(sim);
}

static void who_has_no_embeddings_is_not_asked(void **state)
{
    struct sim *sim = world(4);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 20});
    sim_set(sim, "models.alpha.provider", "anthropic");
    ask(sim, EMBED(""));

    assert_int_equal(sim_call_count(sim), 0);
    assert_str(sim_final(sim, "r1")->status, "failed");
    assert_str(sim_final(sim, "r1")->text, "invalid_request");
    assert_true(says(sim_dead(sim, 0).reason, "'anthropic' of model 'alpha' has no embeddings"));
    sim_free(sim);
}

static void more_than_a_reply_holds_is_not_asked_for(void **state)
{
    struct sim *sim = world(5);
    (void)state;
    sim_set(sim, "worker.reply_bytes_max", "16KiB");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 20});
    ask(sim, EMBED(",\"params\":{\"dimensions\":1536}"));

    const struct result *part = sim_part(sim, "r1", 0);
    assert_int_equal(sim_call_count(sim), 0);
    assert_str(part->error.code, "too_big");
    assert_true(says(part->error.message, "at most 1 texts in one request"));
    sim_free(sim);
}

/* What was stored is what is sent by who comes after. */
static void a_reply_that_is_made_again_has_the_vectors(void **state)
{
    struct sim *sim = world(6);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 20});
    ask(sim, EMBED(""));
    sim_publish(sim, (struct sim_request){.id = "r1", .raw = EMBED("")});
    assert_true(sim_settle(sim));

    assert_int_equal(sim_call_count(sim), 1);
    assert_int_equal(sim_replies_of(sim, "r1"), 2);
    for (size_t i = 0; i < sim_replies(sim); i++)
        assert_true(str_eq(sim_reply_text(sim, sim_reply_at(sim, i)), sim_call(sim, 0)->answer));
    sim_free(sim);
}

static void several_models_have_their_vectors_beside_each_other(void **state)
{
    struct sim *sim = world(7);
    (void)state;
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 20});
    sim_provider(sim, "beta", (struct sim_reply){.after_ms = 10});
    ask(sim, EMBED(",\"models\":[\"alpha\",\"beta\"]"));

    const struct reply *reply = sim_reply_of(sim, "r1");
    assert_str(reply->merge.winner, "alpha");
    assert_true(isnan(reply->merge.agreement));
    assert_int_equal(reply->merge.parts.count, 2);
    assert_int_equal(reply->merge.parts.items[1].embeddings.count, 2);
    assert_true(
        str_eq(reply->merge.parts.items[0].embeddings.items[1], reply->embeddings.items[1]));
    assert_false(
        str_eq(reply->merge.parts.items[1].embeddings.items[1], reply->embeddings.items[1]));
    sim_free(sim);
}

/* Of a chat the answer would be reserved, too, and the budget would not be enough for that. */
static void a_budget_reserves_the_texts_only(void **state)
{
    struct sim *sim = world(8);
    (void)state;
    sim_set(sim, "models.alpha.price_input", "1");
    sim_set(sim, "models.alpha.price_output", "1000000");
    sim_set(sim, "models.alpha.budget_day", "10");
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 50});
    ask(sim, EMBED(""));
    assert_int_equal(sim_call_count(sim), 1);
    assert_str(sim_part(sim, "r1", 0)->status, "ok");
    assert_int_equal(sim_part(sim, "r1", 0)->cost_microusd, 15);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_come_back_in_the_order_of_the_texts),
        cmocka_unit_test(half_the_vectors_are_asked_for_again_and_paid),
        cmocka_unit_test(a_model_that_ignores_the_dimensions_is_asked_once),
        cmocka_unit_test(who_has_no_embeddings_is_not_asked),
        cmocka_unit_test(more_than_a_reply_holds_is_not_asked_for),
        cmocka_unit_test(a_reply_that_is_made_again_has_the_vectors),
        cmocka_unit_test(a_budget_reserves_the_texts_only),
        cmocka_unit_test(several_models_have_their_vectors_beside_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
