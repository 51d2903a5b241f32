/*
 * Contract of schemas/lua/limit.lua: the script that lends shares answers the same in a real Redis
 * and in the simulated one, number by number.
 *
 * The questions are those of worker/call/limit_script.h; all happens within a tenth of a second or
 * so, and what depends on the clock is given as a range.
 */
#include "tests/contract/stage.h"

#include "common/base/xalloc.h"
#include "common/contract/redis_keys.h"
#include "worker/call/limit_script.h"

static const struct redis_script script = {.name = "limit", .lua = lua_limit};

struct play {
    struct stage *stage;
    struct redis *redis;
    unsigned script;
    bool told;
    struct lease_answer answer;
    char messages[64];
};

static int set_up(void **state)
{
    struct play *play = xzalloc(sizeof(*play));
    struct err err = {0};
    play->stage = stage_new();
    const struct redis_conf conf = stage_redis_conf(play->stage);
    play->redis = redis_new(stage_loop(play->stage, 0), &conf, &err);
    if (!play->redis)
        fail_msg("%s", err.text);
    play->script = redis_script_add(play->redis, &script);
    UNTIL(play->stage, redis_up(play->redis));
    *state = play;
    return 0;
}

static int tear_down(void **state)
{
    struct play *play = *state;
    redis_free(play->redis);
    stage_free(play->stage);
    free(play);
    return 0;
}

static void told(const struct redis_reply *reply, void *context)
{
    struct play *play = context;
    int64_t numbers[LIMIT_SCRIPT_NUMBERS];
    if (!reply)
        fail_msg("no answer");
    if (reply->kind == REDIS_FAILED)
        fail_msg(STR_FMT, STR_ARG(reply->text));
    assert_int_equal(reply->kind, REDIS_LIST);
    assert_int_equal(reply->count, LIMIT_SCRIPT_NUMBERS);
    for (size_t i = 0; i < LIMIT_SCRIPT_NUMBERS; i++) {
        struct redis_reply item = redis_item(reply, i);
        assert_int_equal(item.kind, REDIS_NUMBER);
        numbers[i] = item.number;
    }
    limit_script_answer(numbers, &play->answer);
    play->told = true;
}

/* `q` as it is; a seed of 0 is none. */
static const struct lease_answer *ask(struct play *play, const char *who,
                                      const struct lease_rule *rule, struct lease_question q)
{
    struct str words[LIMIT_SCRIPT_WORDS_MAX];
    struct arena arena;
    arena_init(&arena, NULL, LIMIT_SCRIPT_BYTES_MAX);
    q.seed = q.seed ? q.seed : -1;
    size_t n = limit_script_words(&(struct limit_ask){.key = STR("limit:{contract}"),
                                                      .instance = str_of(who),
                                                      .channel = STR("limits"),
                                                      .message = STR("contract"),
                                                      .rule = rule,
                                                      .question = &q,
                                                      .now_ms = 100000},
                                  &arena, words);
    play->told = false;
    redis_script_ask(play->redis, play->script, 1, words, n, told, play);
    UNTIL(play->stage, play->told);
    arena_done(&arena);
    return &play->answer;
}

static void expect(const struct lease_answer *a, uint64_t generation, int64_t requests,
                   int64_t tokens, int64_t members)
{
    assert_int_equal(a->generation, generation);
    assert_int_equal(a->requests, requests);
    assert_int_equal(a->tokens, tokens);
    assert_int_equal(a->members, members);
}

static const struct lease_rule minute = {.requests = 100, .tokens = 1000, .window_ms = 60000};
static const struct lease_rule day = {.tokens = 1000, .window_ms = 60000, .calendar = true};

static void half_of_what_is_free_when_others_want_it_too(void **state)
{
    struct play *play = *state;
    expect(
        ask(play, "w1", &minute, (struct lease_question){.want_requests = 40, .want_tokens = 400}),
        1, 40, 400, 1);
    assert_int_equal(play->answer.free_requests, 100);
    expect(
        ask(play, "w2", &minute, (struct lease_question){.want_requests = 80, .want_tokens = 80}),
        1, 30, 80, 2);
    assert_int_equal(play->answer.free_requests, 60);
    assert_int_equal(play->answer.free_tokens, 600);
    assert_int_equal(play->answer.wait_ms, 1000); /* 30 are left for a third, who may not come */
}

/* As long as another holds a share something of it may come back. */
static void who_got_less_looks_again_soon_unless_all_is_spent(void **state)
{
    struct play *play = *state;
    ask(play, "w1", &minute, (struct lease_question){.want_requests = 100, .want_tokens = 100});
    ask(play, "w2", &minute, (struct lease_question){.want_requests = 10, .want_tokens = 10});
    expect(&play->answer, 1, 0, 10, 2);
    assert_int_equal(play->answer.wait_ms, 1000);
    ask(play, "w1", &minute,
        (struct lease_question){.generation = 1,
                                .spends = {{.at_ms = 100000, .requests = 100, .tokens = 100}},
                                .spend_count = 1});
    ask(play, "w2", &minute,
        (struct lease_question){.generation = 1, .want_requests = 10, .want_tokens = 10});
    expect(&play->answer, 2, 0, 10, 2);
    assert_in_range(play->answer.wait_ms, 58000, 63000);
}

static void what_is_left_comes_back_and_what_was_spent_stays(void **state)
{
    struct play *play = *state;
    ask(play, "w1", &minute, (struct lease_question){.want_requests = 100, .want_tokens = 900});
    expect(ask(play, "w1", &minute,
               (struct lease_question){.generation = 1,
                                       .spends = {{.at_ms = 99950, .requests = 10, .tokens = 300},
                                                  {.at_ms = 99940, .tokens = -100}},
                                       .spend_count = 2}),
           2, 0, 0, 1);
    assert_int_equal(play->answer.free_requests, 90);
    assert_int_equal(play->answer.free_tokens, 800);
    assert_false(play->answer.forgot);
}

/* Another life of the process: nobody can say what became of its share. */
static void a_share_of_an_unknown_generation_stays_counted(void **state)
{
    struct play *play = *state;
    ask(play, "w1", &minute, (struct lease_question){.want_requests = 60, .want_tokens = 1});
    ask(play, "w1", &minute, (struct lease_question){.want_requests = 60, .want_tokens = 1});
    assert_int_equal(play->answer.generation, 2);
    assert_int_equal(play->answer.requests, 40);
    assert_int_equal(play->answer.free_requests, 40);
}

static void who_is_not_known_any_more_is_told_so_and_nobody_is_granted(void **state)
{
    struct play *play = *state;
    expect(ask(play, "w1", &minute,
               (struct lease_question){.generation = 7, .want_requests = 5, .want_tokens = 5}),
           1, 0, 0, 1);
    assert_true(play->answer.forgot);
    expect(ask(play, "w2", &minute, (struct lease_question){.want_requests = 5, .want_tokens = 5}),
           1, 0, 0, 2);
    assert_in_range(play->answer.wait_ms, 1, 1000);
}

static void a_provider_s_pause_holds_the_whole_fleet(void **state)
{
    struct play *play = *state;
    ask(play, "w1", &minute, (struct lease_question){.pause_ms = 5000});
    expect(ask(play, "w2", &minute, (struct lease_question){.want_requests = 5, .want_tokens = 5}),
           1, 0, 0, 1);
    assert_in_range(play->answer.wait_ms, 2000, 5000);
}

static void a_budget_begins_with_what_the_store_knows(void **state)
{
    struct play *play = *state;
    ask(play, "w1", &day, (struct lease_question){.want_requests = 1, .want_tokens = 100});
    assert_true(play->answer.unseeded);
    assert_int_equal(play->answer.tokens, 0);
    ask(play, "w1", &day,
        (struct lease_question){
            .generation = 1, .want_requests = 1, .want_tokens = 100, .seed = 950});
    assert_false(play->answer.unseeded);
    assert_int_equal(play->answer.tokens, 50);
    assert_int_equal(play->answer.free_tokens, 50);
    assert_int_equal(play->answer.wait_ms, 0);
    ask(play, "w2", &day, /* another's word comes too late */
        (struct lease_question){.want_requests = 1, .want_tokens = 100, .seed = 1});
    assert_int_equal(play->answer.tokens, 0);
    assert_int_equal(play->answer.free_tokens, 0);
    ask(play, "w1", &day,
        (struct lease_question){
            .generation = 2, .spends = {{.at_ms = 0, .tokens = 20}}, .spend_count = 1});
    assert_int_equal(play->answer.free_tokens, 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(half_of_what_is_free_when_others_want_it_too),
        TEST(who_got_less_looks_again_soon_unless_all_is_spent),
        TEST(what_is_left_comes_back_and_what_was_spent_stays),
        TEST(a_share_of_an_unknown_generation_stays_counted),
        TEST(who_is_not_known_any_more_is_told_so_and_nobody_is_granted),
        TEST(a_provider_s_pause_holds_the_whole_fleet),
        TEST(a_budget_begins_with_what_the_store_knows),
#undef TEST
    };
    if (!stage_has(STAGE_REDIS))
        return STAGE_SKIP;
    stage_only();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
