/*
 * Contract of common/io/redis.h: whatever happens to Redis is a miss, in time, and never an error
 * or a wrong answer.
 */
#include "tests/contract/stage.h"

#include "common/base/xalloc.h"

struct play {
    struct stage *stage;
    struct redis *redis;
    unsigned ups, downs, order;
    struct err why;
    char messages[64];
};

struct answer {
    struct play *play;
    unsigned times, order;
    bool miss;
    enum redis_kind kind;
    int64_t number;
    size_t count;
    char text[128], items[3][32];
};

static void on_state(bool up, const struct err *why, void *context)
{
    struct play *play = context;
    play->ups += up;
    play->downs += !up;
    if (why)
        play->why = *why;
}

static void on_message(struct str message, void *context)
{
    struct play *play = context;
    size_t len = strlen(play->messages);
    snprintf(play->messages + len, sizeof(play->messages) - len, STR_FMT ";", STR_ARG(message));
}

static struct redis *open_door(struct play *play, struct redis_conf conf)
{
    struct err err = {0};
    conf.on_state = on_state;
    conf.context = play;
    struct redis *redis = redis_new(stage_loop(play->stage, 0), &conf, &err);
    if (!redis)
        fail_msg("%s", err.text);
    return redis;
}

static int set_up(void **state)
{
    struct play *play = xzalloc(sizeof(*play));
    play->stage = stage_new();
    play->redis = open_door(play, stage_redis_conf(play->stage));
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

static void remember(const struct redis_reply *reply, void *context)
{
    struct answer *answer = context;
    answer->times++;
    answer->order = ++answer->play->order;
    answer->miss = !reply;
    if (!reply)
        return;
    answer->kind = reply->kind;
    answer->number = reply->number;
    answer->count = reply->count;
    snprintf(answer->text, sizeof(answer->text), STR_FMT, STR_ARG(reply->text));
    for (size_t i = 0; reply->kind == REDIS_LIST && i < reply->count && i < 3; i++) {
        struct redis_reply item = redis_item(reply, i);
        snprintf(answer->items[i], sizeof(answer->items[i]), STR_FMT,
                 STR_ARG(item.kind == REDIS_NIL ? STR("(nil)") : item.text));
    }
}

static void ask(struct play *play, struct answer *answer, const struct str *words, size_t count)
{
    *answer = (struct answer){.play = play};
    redis_ask(play->redis, words, count, remember, answer);
    assert_int_equal(answer->times, 0);
}

#define ASK(play, answer, ...)                                                                     \
    ask(play, answer, (const struct str[]){__VA_ARGS__},                                           \
        sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))

static void expect(struct play *play, struct answer *answer, enum redis_kind kind)
{
    UNTIL(play->stage, answer->times > 0);
    if (answer->miss || answer->kind != kind)
        fail_msg("wanted kind %d, got %d (miss: %d): %s", (int)kind, (int)answer->kind,
                 answer->miss, answer->text);
    assert_int_equal(answer->times, 1);
}

static void wait_up(struct play *play)
{
    UNTIL(play->stage, redis_up(play->redis));
}

static void it_connects_and_says_so_once(void **state)
{
    struct play *play = *state;
    assert_true(redis_enabled(play->redis));
    assert_false(redis_up(play->redis)); /* nothing happens inside redis_new() */
    wait_up(play);
    stage_run_ms(play->stage, 50);
    assert_int_equal(play->ups, 1);
    assert_int_equal(play->downs, 0);
}

static void what_is_asked_before_it_is_up_is_a_miss(void **state)
{
    struct play *play = *state;
    struct answer answer;
    ASK(play, &answer, STR("GET"), STR("none"));
    UNTIL_WITHIN(play->stage, 600, answer.times == 1);
    assert_true(answer.miss);
}

static void every_kind_of_answer_is_told_apart(void **state)
{
    struct play *play = *state;
    struct answer set, get, nil, number, list, failed, empty, got_empty;
    wait_up(play);
    ASK(play, &set, STR("SET"), STR("k"), STR("one"), STR("PX"), STR("60000"));
    ASK(play, &get, STR("GET"), STR("k"));
    ASK(play, &nil, STR("GET"), STR("none"));
    ASK(play, &number, STR("RPUSH"), STR("l"), STR("a"), STR(""));
    ASK(play, &list, STR("LRANGE"), STR("l"), STR("0"), STR("-1"));
    ASK(play, &failed, STR("RPUSH"), STR("k"), STR("x"));
    ASK(play, &empty, STR("SET"), STR("e"), STR(""));
    ASK(play, &got_empty, STR("GET"), STR("e"));
    expect(play, &set, REDIS_TEXT);
    assert_string_equal(set.text, "OK");
    expect(play, &get, REDIS_TEXT);
    assert_string_equal(get.text, "one");
    expect(play, &nil, REDIS_NIL);
    expect(play, &number, REDIS_NUMBER);
    assert_int_equal(number.number, 2);
    expect(play, &list, REDIS_LIST);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0], "a");
    assert_string_equal(list.items[1], "");
    expect(play, &failed, REDIS_FAILED); /* no miss */
    assert_non_null(strstr(failed.text, "WRONGTYPE"));
    expect(play, &got_empty, REDIS_TEXT);
    assert_string_equal(got_empty.text, "");
}

/* Every command of ours that looks at a key of the other kind. */
static void the_wrong_kind_of_key_is_an_error_and_changes_nothing(void **state)
{
    struct play *play = *state;
    static const struct str wrong[][5] = {
        {STR("RPUSH"), STR("k"), STR("x")},
        {STR("LRANGE"), STR("k"), STR("0"), STR("-1")},
        {STR("LTRIM"), STR("k"), STR("0"), STR("1")},
        {STR("LINDEX"), STR("k"), STR("0")},
        {STR("LLEN"), STR("k")},
        {STR("GET"), STR("l")},
    };
    static const size_t counts[] = {3, 4, 4, 3, 2, 2};
    struct answer answer, set;
    wait_up(play);
    ASK(play, &set, STR("SET"), STR("k"), STR("one"));
    ASK(play, &answer, STR("RPUSH"), STR("l"), STR("a"));
    expect(play, &answer, REDIS_NUMBER);
    for (size_t i = 0; i < 6; i++) {
        ask(play, &answer, wrong[i], counts[i]);
        expect(play, &answer, REDIS_FAILED);
        assert_memory_equal(answer.text, "WRONGTYPE", 9);
    }
    ASK(play, &answer, STR("GET"), STR("k"));
    expect(play, &answer, REDIS_TEXT);
    assert_string_equal(answer.text, "one");
}

static void answers_come_in_the_order_of_the_questions(void **state)
{
    enum { COUNT = 200 };
    struct play *play = *state;
    static struct answer answers[COUNT];
    wait_up(play);
    for (int i = 0; i < COUNT; i++)
        ASK(play, &answers[i], STR("GET"), STR("none"));
    for (int i = 0; i < COUNT; i++) {
        expect(play, &answers[i], REDIS_NIL);
        assert_int_equal(answers[i].order, i + 1);
    }
    struct redis_stats stats;
    redis_stats(play->redis, &stats);
    assert_int_equal(stats.commands, COUNT);
    assert_int_equal(stats.misses, 0);
    assert_int_equal(stats.pending, 0);
}

static void words_are_copied_and_nobody_needs_to_listen(void **state)
{
    struct play *play = *state;
    struct answer answer;
    char value[] = "first";
    wait_up(play);
    const struct str words[] = {STR("SET"), STR("k"), str_of(value)};
    redis_ask(play->redis, words, 3, NULL, NULL);
    memset(value, 'z', sizeof(value) - 1);
    ASK(play, &answer, STR("GET"), STR("k"));
    expect(play, &answer, REDIS_TEXT);
    assert_string_equal(answer.text, "first");
}

static void conditions_of_set_are_kept(void **state)
{
    struct play *play = *state;
    struct answer first, second, ttl, again;
    wait_up(play);
    ASK(play, &first, STR("SET"), STR("k"), STR("a"), STR("NX"), STR("PX"), STR("300"));
    ASK(play, &second, STR("SET"), STR("k"), STR("b"), STR("NX"), STR("PX"), STR("300"));
    ASK(play, &ttl, STR("GET"), STR("k"));
    expect(play, &first, REDIS_TEXT);
    expect(play, &second, REDIS_NIL);
    expect(play, &ttl, REDIS_TEXT);
    assert_string_equal(ttl.text, "a");
    stage_run_ms(play->stage, 500);
    ASK(play, &again, STR("GET"), STR("k"));
    expect(play, &again, REDIS_NIL); /* expired */
}

static const struct redis_script adds = {
    "adds", "redis.call('set', KEYS[1], ARGV[1]) return {redis.call('get', KEYS[1]), #ARGV}"};
static const struct redis_script says_no = {"says_no", "return false"};
static const struct redis_script status = {"status", "return redis.call('set', KEYS[1], 'x')"};
static const struct redis_script mixed = {"mixed", "return {1.9, false, 'z'}"};
static const struct redis_script breaks = {"breaks", "return redis.call('rpush', KEYS[1], 'x')"};

static void run_script(struct play *play, struct answer *answer, unsigned script)
{
    const struct str words[] = {STR("s"), STR("v")};
    *answer = (struct answer){.play = play};
    redis_script_ask(play->redis, script, 1, words, 2, remember, answer);
    assert_int_equal(answer->times, 0);
}

static void scripts_answer_nil_and_errors_like_commands(void **state)
{
    struct play *play = *state;
    struct answer list, nil, failed, ok, items;
    unsigned add = redis_script_add(play->redis, &adds);
    unsigned no = redis_script_add(play->redis, &says_no);
    unsigned bad = redis_script_add(play->redis, &breaks);
    unsigned set = redis_script_add(play->redis, &status);
    unsigned mix = redis_script_add(play->redis, &mixed);
    wait_up(play);
    run_script(play, &list, add);
    run_script(play, &ok, set);
    run_script(play, &items, mix);
    run_script(play, &nil, no);
    run_script(play, &failed, bad);
    expect(play, &list, REDIS_LIST);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0], "v");
    expect(play, &ok, REDIS_TEXT);
    assert_string_equal(ok.text, "OK");
    expect(play, &items, REDIS_LIST);
    assert_int_equal(items.count, 3); /* a false does not end it, a fraction is lost */
    assert_string_equal(items.items[1], "(nil)");
    assert_string_equal(items.items[2], "z");
    expect(play, &nil, REDIS_NIL); /* Lua's false */
    expect(play, &failed, REDIS_FAILED);
    assert_non_null(strstr(failed.text, "WRONGTYPE"));
}

static void without_an_address_everything_is_a_miss_at_once(void **state)
{
    struct play *play = *state;
    struct answer answer;
    redis_free(play->redis);
    play->redis = open_door(play, (struct redis_conf){.url = {NULL, 0}});
    assert_false(redis_enabled(play->redis));
    ASK(play, &answer, STR("GET"), STR("none"));
    UNTIL_WITHIN(play->stage, 50, answer.times == 1);
    assert_true(answer.miss);
    assert_false(redis_up(play->redis));
}

static void beyond_pending_max_everything_is_a_miss(void **state)
{
    struct play *play = *state;
    struct redis_conf conf = stage_redis_conf(play->stage);
    struct answer answers[6];
    redis_free(play->redis);
    conf.pending_max = 4;
    play->redis = open_door(play, conf);
    wait_up(play);
    for (int i = 0; i < 6; i++)
        ASK(play, &answers[i], STR("GET"), STR("none"));
    for (int i = 0; i < 4; i++)
        expect(play, &answers[i], REDIS_NIL);
    for (int i = 4; i < 6; i++) {
        UNTIL(play->stage, answers[i].times == 1);
        assert_true(answers[i].miss);
    }
    struct redis_stats stats;
    redis_stats(play->redis, &stats);
    assert_int_equal(stats.misses, 2);
}

static void a_cut_connection_is_a_miss_and_comes_back(void **state)
{
    struct play *play = *state;
    struct answer before, under_way, after;
    wait_up(play);
    ASK(play, &before, STR("SET"), STR("k"), STR("kept"));
    expect(play, &before, REDIS_TEXT);
    stage_cut(play->stage, STAGE_REDIS);
    ASK(play, &under_way, STR("GET"), STR("k"));
    UNTIL_WITHIN(play->stage, 1000, under_way.times == 1);
    assert_true(under_way.miss);
    UNTIL(play->stage, play->downs == 1);
    UNTIL(play->stage, redis_up(play->redis));
    assert_int_equal(play->ups, 2);
    ASK(play, &after, STR("GET"), STR("k"));
    expect(play, &after, REDIS_TEXT);
    assert_string_equal(after.text, "kept");
    struct redis_stats stats;
    redis_stats(play->redis, &stats);
    assert_int_equal(stats.reconnects, 1);
}

static void a_server_that_is_away_costs_nothing_and_is_told_once(void **state)
{
    struct play *play = *state;
    struct answer answer;
    wait_up(play);
    if (!stage_down(play->stage, STAGE_REDIS))
        skip();
    UNTIL(play->stage, !redis_up(play->redis));
    for (int i = 0; i < 3; i++) {
        ASK(play, &answer, STR("GET"), STR("none"));
        UNTIL_WITHIN(play->stage, 100, answer.times == 1);
        assert_true(answer.miss);
    }
    stage_run_ms(play->stage, 700);
    assert_int_equal(play->downs, 1);
    assert_int_equal(play->why.code, ERR_UNAVAILABLE);
    stage_up(play->stage, STAGE_REDIS);
    UNTIL(play->stage, redis_up(play->redis));
    stage_run_ms(play->stage, 100);
    assert_int_equal(play->ups, 2);
    assert_int_equal(play->downs, 1);
}

static void publish(struct play *play, const char *text)
{
    struct answer answer;
    ASK(play, &answer, STR("PUBLISH"), STR("news"), str_of(text));
    expect(play, &answer, REDIS_NUMBER);
    assert_int_equal(answer.number, 1); /* who heard it */
}

static void what_nobody_listens_to_reaches_nobody(void **state)
{
    struct play *play = *state;
    struct answer answer;
    wait_up(play);
    ASK(play, &answer, STR("PUBLISH"), STR("news"), STR("x"));
    expect(play, &answer, REDIS_NUMBER);
    assert_int_equal(answer.number, 0);
}

static void messages_come_in_order_also_after_a_cut(void **state)
{
    struct play *play = *state;
    redis_subscribe(play->redis, STR("news"), on_message, play);
    wait_up(play);
    stage_run_ms(play->stage, 200); /* the channel has a connection of its own */
    publish(play, "a");
    publish(play, "b");
    UNTIL(play->stage, strcmp(play->messages, "a;b;") == 0);
    stage_cut(play->stage, STAGE_REDIS);
    UNTIL(play->stage, play->downs == 1 && redis_up(play->redis));
    stage_run_ms(play->stage, 1000);
    publish(play, "c");
    UNTIL(play->stage, strcmp(play->messages, "a;b;c;") == 0);
}

static void a_door_that_is_closed_answers_nothing(void **state)
{
    struct play *play = *state;
    struct answer answer;
    wait_up(play);
    ASK(play, &answer, STR("GET"), STR("none"));
    redis_free(play->redis);
    play->redis = NULL;
    stage_run_ms(play->stage, 100);
    assert_int_equal(answer.times, 0);
}

/* Whoever leaves gives back what it holds with its last words. */
static void what_was_asked_before_it_is_closed_arrives(void **state)
{
    struct play *play = *state;
    struct answer answer;
    const struct str words[] = {STR("SET"), STR("last"), STR("words")};
    const struct redis_conf conf = stage_redis_conf(play->stage); /* forgets all */
    wait_up(play);
    redis_ask(play->redis, words, 3, NULL, NULL);
    redis_free(play->redis);
    play->redis = open_door(play, conf);
    stage_run_ms(play->stage, 100);
    wait_up(play);
    ASK(play, &answer, STR("GET"), STR("last"));
    expect(play, &answer, REDIS_TEXT);
    assert_string_equal(answer.text, "words");
}

#define PLAY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    if (!stage_has(STAGE_REDIS))
        return STAGE_SKIP;
    const struct CMUnitTest tests[] = {
        PLAY(it_connects_and_says_so_once),
        PLAY(what_is_asked_before_it_is_up_is_a_miss),
        PLAY(every_kind_of_answer_is_told_apart),
        PLAY(the_wrong_kind_of_key_is_an_error_and_changes_nothing),
        PLAY(answers_come_in_the_order_of_the_questions),
        PLAY(words_are_copied_and_nobody_needs_to_listen),
        PLAY(conditions_of_set_are_kept),
        PLAY(scripts_answer_nil_and_errors_like_commands),
        PLAY(without_an_address_everything_is_a_miss_at_once),
        PLAY(beyond_pending_max_everything_is_a_miss),
        PLAY(a_cut_connection_is_a_miss_and_comes_back),
        PLAY(what_nobody_listens_to_reaches_nobody),
        PLAY(messages_come_in_order_also_after_a_cut),
        PLAY(a_door_that_is_closed_answers_nothing),
        PLAY(what_was_asked_before_it_is_closed_arrives),
        PLAY(a_server_that_is_away_costs_nothing_and_is_told_once),
    };
    stage_only();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
