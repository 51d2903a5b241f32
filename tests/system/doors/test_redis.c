/*
 * Goal: the Redis door keeps every promise of its header: above all that whatever happens to Redis
 * is a miss, in time, and never an error or a wrong answer.
 * Method: one door under test and a second one, the admin, that kills, pauses and flushes. Keys
 * begin with quern-doors:. Address: QUERN_REDIS__URL; DEBUG and CLIENT commands must be allowed.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/io/redis.h"
#include "tests/system/doors/door_test.h"

struct stage {
    struct loop *loop;
    struct redis *redis, *admin;
    unsigned ups, downs;
    struct err why;
};

static void on_state(bool up, const struct err *why, void *context)
{
    struct stage *stage = context;
    if (up)
        stage->ups++;
    else
        stage->downs++;
    if (why)
        stage->why = *why;
}

/* ---- Asking and remembering ---- */

struct answer {
    unsigned calls;
    unsigned order;
    bool miss;
    enum redis_kind kind;
    int64_t number;
    size_t count, len;
    char text[200];
    char items[4][32];
};

static unsigned answers_so_far;

static void remember(const struct redis_reply *reply, void *context)
{
    struct answer *answer = context;
    answer->calls++;
    answer->order = ++answers_so_far;
    answer->miss = reply == NULL;
    if (!reply)
        return;
    answer->kind = reply->kind;
    answer->number = reply->number;
    answer->count = reply->count;
    answer->len = reply->text.len;
    snprintf(answer->text, sizeof(answer->text), STR_FMT, STR_ARG(reply->text));
    for (size_t i = 0; reply->kind == REDIS_LIST && i < reply->count && i < 4; i++) {
        struct redis_reply item = redis_item(reply, i);
        snprintf(answer->items[i], sizeof(answer->items[i]), "%.*s",
                 item.kind == REDIS_TEXT ? (int)item.text.len : 3,
                 item.kind == REDIS_TEXT ? item.text.data : "nil");
    }
}

static void ask(struct redis *redis, struct answer *answer, const struct str *words, size_t count)
{
    *answer = (struct answer){0};
    redis_ask(redis, words, count, remember, answer);
    assert_int_equal(answer->calls, 0);
}

#define WORD(text) ((struct str){(text), sizeof(text) - 1})
#define ASK(redis, answer, ...)                                                                    \
    ask(redis, answer, (const struct str[]){__VA_ARGS__},                                          \
        sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))

static void expect_kind(struct stage *stage, struct answer *answer, enum redis_kind kind)
{
    UNTIL(stage->loop, answer->calls == 1);
    assert_false(answer->miss);
    if (answer->kind != kind)
        fail_msg("wanted kind %d, got %d: %s", (int)kind, (int)answer->kind, answer->text);
}

static void expect_miss(struct stage *stage, struct answer *answer, int64_t within_ms)
{
    UNTIL_WITHIN(stage->loop, within_ms, answer->calls == 1);
    assert_true(answer->miss);
}

static void admin_says(struct stage *stage, const struct str *words, size_t count)
{
    struct answer answer;
    UNTIL(stage->loop, redis_up(stage->admin));
    ask(stage->admin, &answer, words, count);
    UNTIL(stage->loop, answer.calls == 1);
    if (answer.miss || answer.kind == REDIS_FAILED)
        fail_msg("%.*s: %s", (int)words[0].len, words[0].data, answer.miss ? "miss" : answer.text);
}
#define ADMIN(stage, ...)                                                                          \
    admin_says(stage, (const struct str[]){__VA_ARGS__},                                           \
               sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))

/* ---- The stage ---- */

static struct redis *open_door(struct stage *stage, struct redis_conf conf)
{
    struct err err = {0};
    struct redis *redis = redis_new(stage->loop, &conf, &err);
    if (!redis)
        fail_msg("%s", err.text);
    return redis;
}

static struct redis_conf base_conf(struct stage *stage)
{
    return (struct redis_conf){
        .url = str_of(getenv("QUERN_REDIS__URL")),
        .on_state = on_state,
        .context = stage,
    };
}

static int set_up(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    struct err err = {0};
    stage->loop = loop_new(&err);
    struct redis_conf conf = base_conf(stage);
    stage->redis = open_door(stage, conf);
    conf.on_state = NULL;
    conf.command_timeout_ms = 10000;
    stage->admin = open_door(stage, conf);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    struct stage *stage = *state;
    redis_free(stage->redis);
    redis_free(stage->admin);
    loop_free(stage->loop);
    free(stage);
    return 0;
}

static void reopen(struct stage *stage, struct redis_conf conf)
{
    redis_free(stage->redis);
    stage->ups = stage->downs = 0;
    stage->redis = open_door(stage, conf);
}

static void kill_all_but_admin(struct stage *stage)
{
    ADMIN(stage, WORD("CLIENT"), WORD("KILL"), WORD("TYPE"), WORD("normal"), WORD("SKIPME"),
          WORD("yes"));
}

/* ---- The tests ---- */

static void thousands_of_commands_are_answered_in_order(void **state)
{
    struct stage *stage = *state;
    enum { COUNT = 20000 };
    static struct answer answers[COUNT];
    UNTIL(stage->loop, redis_up(stage->redis));
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "%d", i);
        ASK(stage->redis, &answers[i], WORD("ECHO"), str_from(text, (size_t)len));
    }
    for (int i = 0; i < COUNT; i++) {
        expect_kind(stage, &answers[i], REDIS_TEXT);
        assert_int_equal(strtol(answers[i].text, NULL, 10), i);
        assert_int_equal(answers[i].order, answers[0].order + (unsigned)i);
    }
    turn_for(stage->loop, 700); /* past the time-out, which must find nobody */
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(answers[i].calls, 1);
    struct redis_stats stats;
    redis_stats(stage->redis, &stats);
    assert_int_equal(stats.commands, COUNT);
    assert_int_equal(stats.misses, 0);
    assert_int_equal(stats.pending, 0);
}

static void large_values_pass(void **state)
{
    struct stage *stage = *state;
    size_t len = 20u << 20;
    char *large = malloc(len);
    memset(large, 'v', len);
    struct redis_conf conf = base_conf(stage);
    conf.command_timeout_ms = 10000;
    reopen(stage, conf);
    UNTIL(stage->loop, redis_up(stage->redis));
    struct answer set, get, gone;
    ASK(stage->redis, &set, WORD("SET"), WORD("quern-doors:large"), str_from(large, len));
    ASK(stage->redis, &get, WORD("GET"), WORD("quern-doors:large"));
    ASK(stage->redis, &gone, WORD("DEL"), WORD("quern-doors:large"));
    free(large);
    expect_kind(stage, &gone, REDIS_NUMBER);
    assert_int_equal(get.len, len);
}

static const struct redis_script add_script = {
    .name = "add",
    .lua = "return redis.call('incrby', KEYS[1], ARGV[1]) + 100",
};
static const struct redis_script broken_script = {.name = "broken", .lua = "return ("};

static void ask_script(struct stage *stage, struct answer *answer, unsigned script)
{
    *answer = (struct answer){0};
    struct str words[] = {WORD("quern-doors:sum"), WORD("5")};
    redis_script_ask(stage->redis, script, 1, words, 2, remember, answer);
    assert_int_equal(answer->calls, 0);
}

static void expect_sum(struct stage *stage, struct answer *answer, int64_t sum)
{
    expect_kind(stage, answer, REDIS_NUMBER);
    assert_int_equal(answer->number, sum);
}

static void scripts_survive_a_flush_and_a_reconnect(void **state)
{
    struct stage *stage = *state;
    unsigned add = redis_script_add(stage->redis, &add_script);
    unsigned broken = redis_script_add(stage->redis, &broken_script);
    UNTIL(stage->loop, redis_up(stage->redis));
    ADMIN(stage, WORD("DEL"), WORD("quern-doors:sum"));
    struct answer first, flushed[3], bad, again;
    ask_script(stage, &first, add);
    expect_sum(stage, &first, 105);

    ADMIN(stage, WORD("SCRIPT"), WORD("FLUSH"));
    for (int i = 0; i < 3; i++)
        ask_script(stage, &flushed[i], add);
    for (int i = 0; i < 3; i++)
        expect_sum(stage, &flushed[i], 110 + 5 * i);

    ask_script(stage, &bad, broken);
    expect_kind(stage, &bad, REDIS_FAILED);

    ADMIN(stage, WORD("SCRIPT"), WORD("FLUSH"));
    kill_all_but_admin(stage);
    UNTIL(stage->loop, stage->ups == 2);
    ask_script(stage, &again, add);
    expect_sum(stage, &again, 125);
    ADMIN(stage, WORD("DEL"), WORD("quern-doors:sum"));
}

static void a_script_can_be_added_while_it_is_up(void **state)
{
    struct stage *stage = *state;
    UNTIL(stage->loop, redis_up(stage->redis));
    ADMIN(stage, WORD("DEL"), WORD("quern-doors:sum"));
    unsigned add = redis_script_add(stage->redis, &add_script);
    struct answer first, second;
    ask_script(stage, &first, add);
    expect_sum(stage, &first, 105);
    ask_script(stage, &second, add);
    expect_sum(stage, &second, 110);
    ADMIN(stage, WORD("DEL"), WORD("quern-doors:sum"));
}

static void a_slow_answer_is_a_miss_and_the_next_one_is_not_mixed_up(void **state)
{
    struct stage *stage = *state;
    struct redis_conf conf = base_conf(stage);
    conf.command_timeout_ms = 200;
    reopen(stage, conf);
    UNTIL(stage->loop, redis_up(stage->redis));
    struct answer nap, behind, later;
    ASK(stage->redis, &nap, WORD("DEBUG"), WORD("SLEEP"), WORD("0.4"));
    ASK(stage->redis, &behind, WORD("ECHO"), WORD("behind"));
    expect_miss(stage, &nap, 350);
    expect_miss(stage, &behind, 350);
    ASK(stage->redis, &later, WORD("ECHO"), WORD("later")); /* its turn comes after the others' */
    turn_for(stage->loop, 400);
    assert_int_equal(nap.calls, 1);
    assert_int_equal(behind.calls, 1);
    if (!later.miss)
        assert_string_equal(later.text, "later");
    ASK(stage->redis, &later, WORD("ECHO"), WORD("last"));
    expect_kind(stage, &later, REDIS_TEXT);
    assert_string_equal(later.text, "last");
    assert_int_equal(stage->downs, 0);
    struct redis_stats stats;
    redis_stats(stage->redis, &stats);
    assert_true(stats.timeouts >= 2);
    assert_int_equal(stats.pending, 0);
}

static void a_redis_that_hangs_is_given_up_and_costs_nothing_more(void **state)
{
    struct stage *stage = *state;
    struct redis_conf conf = base_conf(stage);
    conf.command_timeout_ms = 100;
    conf.connect_timeout_ms = 200;
    reopen(stage, conf);
    UNTIL(stage->loop, redis_up(stage->redis));
    struct answer nap, down, back;
    ASK(stage->redis, &nap, WORD("DEBUG"), WORD("SLEEP"), WORD("1.5"));
    expect_miss(stage, &nap, 250);
    UNTIL_WITHIN(stage->loop, 500, stage->downs == 1);
    ASK(stage->redis, &down, WORD("PING"));
    expect_miss(stage, &down, 50); /* at once, not after a time-out */
    UNTIL(stage->loop, redis_up(stage->redis));
    assert_int_equal(stage->downs, 1);
    assert_int_equal(stage->ups, 2);
    ASK(stage->redis, &back, WORD("PING"));
    expect_kind(stage, &back, REDIS_TEXT);
}

static void a_killed_connection_comes_back(void **state)
{
    struct stage *stage = *state;
    UNTIL(stage->loop, redis_up(stage->redis));
    for (unsigned i = 1; i <= 3; i++) {
        struct answer lost, back;
        ASK(stage->redis, &lost, WORD("BLPOP"), WORD("quern-doors:never"), WORD("5"));
        turn_for(stage->loop, 20);
        kill_all_but_admin(stage);
        expect_miss(stage, &lost, 400);
        UNTIL(stage->loop, stage->ups == i + 1);
        ASK(stage->redis, &back, WORD("ECHO"), WORD("back"));
        expect_kind(stage, &back, REDIS_TEXT);
    }
    struct redis_stats stats;
    redis_stats(stage->redis, &stats);
    assert_int_equal(stats.reconnects, 3);
    assert_int_equal(stage->downs, 3);
}

static void under_kills_no_answer_is_mixed_up(void **state)
{
    enum { COUNT = 20000, STEP = 1000 };
    struct stage *stage = *state;
    static struct answer answers[COUNT];
    unsigned add = redis_script_add(stage->redis, &add_script);
    UNTIL(stage->loop, redis_up(stage->redis) && redis_up(stage->admin));
    unsigned answered = 0;
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "%d", i);
        struct str words[] = {WORD("quern-doors:sum"), str_from(text, (size_t)len)};
        if (i % 10 == 0) /* of another kind, so that a shift by one shows */
            redis_script_ask(stage->redis, add, 1, words, 2, NULL, NULL);
        ASK(stage->redis, &answers[i], WORD("ECHO"), words[1]);
        if (i % STEP == STEP - 1) {
            loop_turn(stage->loop, 1);
            kill_all_but_admin(stage);
            UNTIL(stage->loop, redis_up(stage->redis));
        }
    }
    for (int i = 0; i < COUNT; i++) {
        UNTIL(stage->loop, answers[i].calls == 1);
        if (answers[i].miss)
            continue;
        answered++;
        assert_int_equal(answers[i].kind, REDIS_TEXT);
        assert_int_equal(strtol(answers[i].text, NULL, 10), i);
    }
    print_message("%u of %d answered, %u outages\n", answered, (int)COUNT, stage->downs);
    assert_true(stage->downs > 10);
    ADMIN(stage, WORD("DEL"), WORD("quern-doors:sum"));
}

static void beyond_the_bound_commands_are_misses(void **state)
{
    struct stage *stage = *state;
    struct redis_conf conf = base_conf(stage);
    conf.pending_max = 10;
    reopen(stage, conf);
    UNTIL(stage->loop, redis_up(stage->redis));
    struct answer answers[15];
    for (int i = 0; i < 15; i++)
        ASK(stage->redis, &answers[i], WORD("PING"));
    for (int i = 0; i < 15; i++) {
        UNTIL(stage->loop, answers[i].calls == 1);
        assert_int_equal(answers[i].miss, i >= 10);
    }
}

struct messages {
    unsigned count;
    char last[64];
};

static void on_message(struct str message, void *context)
{
    struct messages *messages = context;
    messages->count++;
    snprintf(messages->last, sizeof(messages->last), STR_FMT, STR_ARG(message));
}

static void messages_arrive_also_after_a_reconnect(void **state)
{
    struct stage *stage = *state;
    struct messages messages = {0};
    struct answer published;
    redis_subscribe(stage->redis, WORD("quern-doors:channel"), on_message, &messages);
    for (int round = 0; round < 3; round++) {
        messages = (struct messages){0};
        /* PUBLISH says how many heard it: until somebody does, the subscription is not there. */
        for (int i = 0; i < 1000 && messages.count == 0; i++) {
            UNTIL(stage->loop, redis_up(stage->admin));
            ASK(stage->admin, &published, WORD("PUBLISH"), WORD("quern-doors:channel"),
                WORD("hello"));
            UNTIL(stage->loop, published.calls == 1);
            turn_for(stage->loop, 20);
        }
        assert_string_equal(messages.last, "hello");
        ADMIN(stage, WORD("CLIENT"), WORD("KILL"), WORD("TYPE"), WORD("pubsub"));
    }
}

static void switched_off_every_answer_is_a_miss(void **state)
{
    struct stage *stage = *state;
    struct redis_conf conf = base_conf(stage);
    conf.url = (struct str){NULL, 0};
    reopen(stage, conf);
    assert_false(redis_enabled(stage->redis));
    assert_false(redis_up(stage->redis));
    struct answer answer;
    unsigned add = redis_script_add(stage->redis, &add_script);
    redis_subscribe(stage->redis, WORD("quern-doors:channel"), on_message, NULL);
    ASK(stage->redis, &answer, WORD("PING"));
    expect_miss(stage, &answer, 50);
    ask_script(stage, &answer, add);
    expect_miss(stage, &answer, 50);
    assert_int_equal(stage->ups + stage->downs, 0);
}

static void without_a_server_it_is_down_once(void **state)
{
    struct stage *stage = *state;
    struct redis_conf conf = base_conf(stage);
    conf.url = WORD("redis://127.0.0.1:1");
    reopen(stage, conf);
    struct answer answer;
    ASK(stage->redis, &answer, WORD("PING"));
    expect_miss(stage, &answer, 50);
    turn_for(stage->loop, 700);
    assert_int_equal(stage->downs, 1);
    assert_int_equal(stage->ups, 0);
    assert_int_equal(stage->why.code, ERR_UNAVAILABLE);
}

/* A server that answers everything with the same bytes. */
struct liar {
    int listener;
    const char *bytes;
    struct loop *loop;
    struct loop_watch *watches[64]; /* by file descriptor */
    int fds[64];
};

static void liar_speaks(int fd, int what, void *context)
{
    (void)what;
    struct liar *liar = context;
    char heard[4096];
    if (read(fd, heard, sizeof(heard)) <= 0)
        loop_watch_change(liar->watches[fd % 64], 0);
    else if (write(fd, liar->bytes, strlen(liar->bytes)) < 0)
        loop_watch_change(liar->watches[fd % 64], 0);
}

static void liar_accepts(int fd, int what, void *context)
{
    (void)what;
    struct liar *liar = context;
    int client = accept(fd, NULL, NULL);
    assert_true(client >= 0);
    assert_null(liar->watches[client % 64]);
    liar->fds[client % 64] = client;
    liar->watches[client % 64] = loop_watch_new(liar->loop, client, LOOP_READ, liar_speaks, liar);
}

static void garbage_means_down_and_never_an_answer(void **state)
{
    struct stage *stage = *state;
    static const char *const lies[] = {"HTTP/1.1 400 Bad Request\r\n\r\n",
                                       "$-5\r\n",
                                       "+PONG\r\n+PONG\r\n",
                                       "-LOADING wait\r\n",
                                       "-NOAUTH Authentication required.\r\n",
                                       "\x16\x03\x01"};
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct liar liar = {.bytes = lies[i], .loop = stage->loop};
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(address);
        liar.listener = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(bind(liar.listener, (struct sockaddr *)&address, len), 0);
        assert_int_equal(listen(liar.listener, 10), 0);
        assert_int_equal(getsockname(liar.listener, (struct sockaddr *)&address, &len), 0);
        struct loop_watch *watch =
            loop_watch_new(stage->loop, liar.listener, LOOP_READ, liar_accepts, &liar);

        char url[64];
        snprintf(url, sizeof(url), "redis://127.0.0.1:%d", ntohs(address.sin_port));
        struct redis_conf conf = base_conf(stage);
        conf.url = str_of(url);
        reopen(stage, conf);
        UNTIL_WITHIN(stage->loop, 2000, stage->downs >= 1);
        struct answer answer;
        ASK(stage->redis, &answer, WORD("GET"), WORD("quern-doors:a"));
        UNTIL_WITHIN(stage->loop, 1000, answer.calls == 1);
        assert_true(answer.miss || answer.kind == REDIS_TEXT);

        reopen(stage, base_conf(stage));
        loop_watch_free(watch);
        for (size_t k = 0; k < 64; k++) {
            if (!liar.watches[k])
                continue;
            loop_watch_free(liar.watches[k]);
            close(liar.fds[k]);
        }
        close(liar.listener);
    }
}

static void it_can_be_freed_in_the_middle(void **state)
{
    struct stage *stage = *state;
    UNTIL(stage->loop, redis_up(stage->redis));
    static struct answer answers[100];
    unsigned add = redis_script_add(stage->redis, &add_script);
    for (int i = 0; i < 100; i++)
        ASK(stage->redis, &answers[i], WORD("BLPOP"), WORD("quern-doors:never"), WORD("1"));
    ask_script(stage, &answers[0], add);
    turn_for(stage->loop, 20);
    reopen(stage, base_conf(stage));
    turn_for(stage->loop, 600);
    assert_int_equal(answers[50].calls, 0);
}

static struct redis_stats stats_of(const struct redis *redis)
{
    struct redis_stats stats;
    redis_stats(redis, &stats);
    return stats;
}

static void a_full_redis_refuses_and_the_connection_stays(void **state)
{
    struct stage *stage = *state;
    struct answer answer;
    UNTIL(stage->loop, redis_up(stage->redis));
    ADMIN(stage, WORD("CONFIG"), WORD("SET"), WORD("maxmemory"), WORD("1"));
    ASK(stage->redis, &answer, WORD("SET"), WORD("quern-doors:full"), WORD("1"));
    UNTIL(stage->loop, answer.calls == 1);
    ADMIN(stage, WORD("CONFIG"), WORD("SET"), WORD("maxmemory"), WORD("512mb"));
    expect_kind(stage, &answer, REDIS_FAILED);
    assert_memory_equal(answer.text, "OOM", 3);
    assert_int_equal(stats_of(stage->redis).refused, 1);
    ASK(stage->redis, &answer, WORD("SET"), WORD("quern-doors:full"), WORD("1"));
    expect_kind(stage, &answer, REDIS_TEXT);
    assert_int_equal(stats_of(stage->redis).refused, 1);
    assert_int_equal(stats_of(stage->redis).reconnects, 0);
}

/* It was the primary when we connected: its name may lead to another one now. */
static void a_replica_is_asked_on_a_new_connection_but_not_all_the_time(void **state)
{
    struct stage *stage = *state;
    struct answer answer;
    UNTIL(stage->loop, redis_up(stage->redis));
    ADMIN(stage, WORD("REPLICAOF"), WORD("127.0.0.1"), WORD("1"));
    for (int i = 0; i < 20; i++) {
        ASK(stage->redis, &answer, WORD("SET"), WORD("quern-doors:replica"), WORD("1"));
        UNTIL(stage->loop, answer.calls == 1);
        assert_true(answer.miss || memcmp(answer.text, "READONLY", 8) == 0);
    }
    UNTIL(stage->loop, redis_up(stage->redis));
    ADMIN(stage, WORD("REPLICAOF"), WORD("NO"), WORD("ONE"));
    assert_int_equal(stats_of(stage->redis).reconnects, 1);
    ASK(stage->redis, &answer, WORD("SET"), WORD("quern-doors:replica"), WORD("1"));
    expect_kind(stage, &answer, REDIS_TEXT);
}

static void the_check_tells_what_is_wrong(void **state)
{
    struct stage *stage = *state;
    struct err err = {0};
    struct redis_conf conf = base_conf(stage);
    if (!redis_check(&conf, 1000, &err))
        fail_msg("%s", err.text);
    conf.url = WORD("redis://127.0.0.1:1");
    assert_false(redis_check(&conf, 1000, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    conf.url = (struct str){NULL, 0};
    assert_false(redis_check(&conf, 1000, &err));
    assert_int_equal(err.code, ERR_CONFIG);
}

int main(void)
{
    if (!getenv("QUERN_REDIS__URL"))
        return DOOR_TEST_SKIP;
#define DOOR_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        DOOR_TEST(thousands_of_commands_are_answered_in_order),
        DOOR_TEST(large_values_pass),
        DOOR_TEST(scripts_survive_a_flush_and_a_reconnect),
        DOOR_TEST(a_script_can_be_added_while_it_is_up),
        DOOR_TEST(a_slow_answer_is_a_miss_and_the_next_one_is_not_mixed_up),
        DOOR_TEST(a_redis_that_hangs_is_given_up_and_costs_nothing_more),
        DOOR_TEST(a_killed_connection_comes_back),
        DOOR_TEST(under_kills_no_answer_is_mixed_up),
        DOOR_TEST(beyond_the_bound_commands_are_misses),
        DOOR_TEST(messages_arrive_also_after_a_reconnect),
        DOOR_TEST(switched_off_every_answer_is_a_miss),
        DOOR_TEST(without_a_server_it_is_down_once),
        DOOR_TEST(garbage_means_down_and_never_an_answer),
        DOOR_TEST(it_can_be_freed_in_the_middle),
        DOOR_TEST(a_full_redis_refuses_and_the_connection_stays),
        DOOR_TEST(a_replica_is_asked_on_a_new_connection_but_not_all_the_time),
        DOOR_TEST(the_check_tells_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
