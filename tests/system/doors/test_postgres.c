/*
 * Goal: the PostgreSQL door keeps every promise of its header.
 * Method: a schema of its own (quern_doors), a second session that locks and terminates, and a loop
 * that is turned until the answers are there. Address: QUERN_POSTGRES__CONNINFO and
 * QUERN_POSTGRES__PASSWORD or QUERN_POSTGRES__PASSWORD_FILE.
 */
#include "common/io/postgres.h"
#include "tests/system/doors/door_test.h"

enum statement {
    ADD,
    COUNT,
    ECHO,
    UNNEST,
    NUMBERS,
    FENCE,
    MANY,
    SIZE,
    NAP,
    PID,
    LATE,
    LOCK,
    SHORT_LOCK,
    STANDARD,
    CANCEL,
};

static const struct postgres_statement statements[] = {
    [ADD] = {"add", "INSERT INTO quern_doors.things (id, note) VALUES ($1, $2)", 2},
    [COUNT] = {"count", "SELECT count(*) FROM quern_doors.things", 0},
    [ECHO] = {"echo", "SELECT $1::text, $2::bigint", 2},
    [UNNEST] = {"unnest",
                "SELECT item FROM unnest($1::text[]) WITH ORDINALITY AS t(item, n) "
                "ORDER BY n",
                1},
    [NUMBERS] = {"numbers",
                 "SELECT sum(i), sum(f) FROM unnest($1::bigint[], $2::float8[]) "
                 "AS t(i, f)",
                 2},
    [FENCE] = {"fence", "SELECT quern_doors.fence($1)", 1},
    [MANY] = {"many", "SELECT i, repeat('x', 200) FROM generate_series(1, $1::int) AS i", 1},
    [SIZE] = {"size", "SELECT length($1::text)", 1},
    [NAP] = {"nap", "SELECT pg_sleep($1::float8)", 1},
    [PID] = {"pid", "SELECT pg_backend_pid()", 0},
    [LATE] = {"late", "INSERT INTO quern_doors.late (id) VALUES ($1)", 1},
    [LOCK] = {"lock", "SELECT id FROM quern_doors.things WHERE id = $1 FOR UPDATE", 1},
    [SHORT_LOCK] = {"short_lock", "SELECT set_config('lock_timeout', '100ms', true)", 0},
    [STANDARD] = {"standard",
                  "SELECT current_setting('lock_timeout') || ' ' || "
                  "current_setting('idle_in_transaction_session_timeout') || ' ' || "
                  "current_setting('statement_timeout')",
                  0},
    [CANCEL] = {"cancel", "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)", 0},
};

#define STATEMENT_COUNT (sizeof(statements) / sizeof(statements[0]))

static const char schema[] =
    "DROP SCHEMA IF EXISTS quern_doors CASCADE; CREATE SCHEMA quern_doors;"
    "CREATE TABLE quern_doors.things (id bigint PRIMARY KEY, note text);"
    "CREATE TABLE quern_doors.late (id bigint,"
    "  CONSTRAINT late_once UNIQUE (id) DEFERRABLE INITIALLY DEFERRED);"
    "CREATE FUNCTION quern_doors.fence(epoch bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN"
    "  IF epoch <> 7 THEN RAISE EXCEPTION 'epoch is not ours' USING ERRCODE = 'QF001'; END IF;"
    "END $$;";

static char password_room[256];

static struct postgres_conf base_conf(void)
{
    return (struct postgres_conf){
        .conninfo = str_of(getenv("QUERN_POSTGRES__CONNINFO")),
        .password = env_secret("QUERN_POSTGRES__PASSWORD", password_room, sizeof(password_room)),
        .application_name = STR("quern-doors"),
        .statements = statements,
        .statement_count = STATEMENT_COUNT,
    };
}

/* ---- The stage: a door, a second session, what the door said ---- */

struct stage {
    struct loop *loop;
    struct postgres *pg;
    struct postgres_session *other;
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

static void open_with(struct stage *stage, struct postgres_conf conf)
{
    struct err err = {0};
    conf.on_state = on_state;
    conf.context = stage;
    stage->loop = loop_new(&err);
    assert_non_null(stage->loop);
    stage->pg = postgres_new(stage->loop, &conf, &err);
    if (!stage->pg)
        fail_msg("%s", err.text);
}

static void must_script(struct stage *stage, const char *sql)
{
    struct err err = {0};
    if (!postgres_session_script(stage->other, sql, &err))
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    struct err err = {0};
    struct postgres_conf conf = base_conf();
    stage->other = postgres_session_open(&conf, &err);
    if (!stage->other)
        fail_msg("%s", err.text);
    must_script(stage, schema);
    open_with(stage, conf);
    *state = stage;
    return 0;
}

static void close_door(struct stage *stage)
{
    postgres_free(stage->pg);
    loop_free(stage->loop);
    stage->pg = NULL;
    stage->loop = NULL;
}

static int tear_down(void **state)
{
    struct stage *stage = *state;
    close_door(stage);
    must_script(stage, "DROP SCHEMA IF EXISTS quern_doors CASCADE");
    postgres_session_close(stage->other);
    free(stage);
    return 0;
}

/* Closes the door that set_up() opened and opens one with other settings. */
static void reopen(struct stage *stage, struct postgres_conf conf)
{
    close_door(stage);
    stage->ups = stage->downs = 0;
    open_with(stage, conf);
}

/* ---- Asking and remembering ---- */

struct answer {
    unsigned calls;
    unsigned order; /* which of all answers this was, from 1 */
    bool ok, unknown;
    struct err err;
    char sqlstate[6];
    size_t results, rows, bytes;
    uint64_t affected;
    char cells[6][160]; /* of the last result, row by row; "(null)" */
};

static unsigned answers_so_far;

static void remember_cells(struct answer *answer, const struct postgres_rows *rows)
{
    size_t at = 0;
    for (size_t row = 0; row < rows->count; row++) {
        for (size_t column = 0; column < rows->columns; column++) {
            struct str cell = postgres_cell(rows, row, column);
            answer->bytes += cell.len;
            assert_int_equal(cell.data == NULL, postgres_is_null(rows, row, column));
            if (at < 6)
                snprintf(answer->cells[at++], sizeof(answer->cells[0]), "%.*s",
                         cell.data ? (int)cell.len : 6, cell.data ? cell.data : "(null)");
        }
    }
}

static void remember(const struct postgres_result *result, const struct err *err, void *context)
{
    struct answer *answer = context;
    answer->calls++;
    answer->order = ++answers_so_far;
    answer->ok = err == NULL;
    answer->unknown = result->unknown;
    if (err)
        answer->err = *err;
    memcpy(answer->sqlstate, result->sqlstate, sizeof(answer->sqlstate));
    answer->results = result->count;
    if (result->count == 0)
        return;
    const struct postgres_rows *last = &result->rows[result->count - 1];
    answer->rows = last->count;
    answer->affected = last->affected;
    remember_cells(answer, last);
}

#define QUERY(number, ...)                                                                         \
    ((struct postgres_query){.statement = (number),                                                \
                             .params = (const struct str[]){__VA_ARGS__ __VA_OPT__(, ){NULL, 0}},  \
                             .param_count = statements[number].param_count})

static void ask(struct stage *stage, struct answer *answer, int flags,
                const struct postgres_query *queries, size_t count)
{
    struct err err = {0};
    memset(answer, 0, sizeof(*answer));
    if (!postgres_batch(stage->pg, queries, count, flags, remember, answer, &err))
        fail_msg("%s", err.text);
}

#define ASK(stage, answer, flags, ...)                                                             \
    ask(stage, answer, flags, (const struct postgres_query[]){__VA_ARGS__},                        \
        sizeof((struct postgres_query[]){__VA_ARGS__}) / sizeof(struct postgres_query))

static void expect_ok(struct stage *stage, struct answer *answer)
{
    UNTIL(stage->loop, answer->calls == 1);
    if (!answer->ok)
        fail_msg("%s", answer->err.text);
    assert_false(answer->unknown);
}

static void expect_code(struct stage *stage, struct answer *answer, enum err_code code)
{
    UNTIL(stage->loop, answer->calls == 1);
    if (answer->ok || answer->err.code != code)
        fail_msg("wanted %s, got %s: %s", err_name(code), err_name(answer->err.code),
                 answer->err.text);
}

static void expect_count(struct stage *stage, const char *count)
{
    struct answer answer;
    ASK(stage, &answer, 0, QUERY(COUNT));
    expect_ok(stage, &answer);
    assert_string_equal(answer.cells[0], count);
}

static void collect_pid(const struct postgres_rows *rows, void *context)
{
    *(size_t *)context += rows->count;
}

/* Ends every connection of the door, from outside. Returns how many. */
static size_t terminate(struct stage *stage)
{
    struct err err = {0};
    size_t count = 0;
    if (!postgres_session_query(stage->other,
                                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                                "application_name = 'quern-doors' AND pid <> pg_backend_pid()",
                                NULL, 0, collect_pid, &count, &err))
        fail_msg("%s", err.text);
    return count;
}

/* ---- The tests ---- */

static void it_connects_and_says_so_once(void **state)
{
    struct stage *stage = *state;
    assert_false(postgres_up(stage->pg));
    UNTIL(stage->loop, postgres_up(stage->pg));
    assert_int_equal(stage->ups, 1);
    assert_int_equal(stage->downs, 0);
    struct answer answer;
    ASK(stage, &answer, 0, QUERY(STANDARD));
    expect_ok(stage, &answer);
    assert_string_equal(answer.cells[0], "5s 5s 27s");
}

static void batches_are_answered_in_order(void **state)
{
    struct stage *stage = *state;
    static struct answer answers[100];
    for (int i = 0; i < 100; i++) {
        char number[16];
        snprintf(number, sizeof(number), "%d", i);
        ASK(stage, &answers[i], 0, QUERY(ECHO, STR("t"), str_of(number)));
        if (i == 50) /* half of them before the connection is there */
            UNTIL(stage->loop, postgres_up(stage->pg));
    }
    for (int i = 0; i < 100; i++) {
        expect_ok(stage, &answers[i]);
        assert_int_equal(strtol(answers[i].cells[1], NULL, 10), i);
        assert_int_equal(answers[i].order, answers[0].order + (unsigned)i);
    }
    assert_int_equal(postgres_pending(stage->pg), 0);
}

static void parameters_are_copied_and_null_is_not_empty(void **state)
{
    struct stage *stage = *state;
    struct answer nulls, texts;
    char text[] = "it's \"quoted\" \\ \xc3\xa4";
    ASK(stage, &nulls, 0, QUERY(ECHO, (struct str){NULL, 0}, (struct str){NULL, 0}));
    ASK(stage, &texts, 0, QUERY(ECHO, str_of(text), STR("-5")));
    memset(text, 'z', sizeof(text) - 1);
    expect_ok(stage, &nulls);
    expect_ok(stage, &texts);
    assert_string_equal(nulls.cells[0], "(null)");
    assert_string_equal(nulls.cells[1], "(null)");
    assert_string_equal(texts.cells[0], "it's \"quoted\" \\ \xc3\xa4");
    assert_string_equal(texts.cells[1], "-5");

    ASK(stage, &texts, 0, QUERY(ECHO, STR(""), STR("0")));
    expect_ok(stage, &texts);
    assert_string_equal(texts.cells[0], "");
}

static void arrays_arrive_item_by_item(void **state)
{
    struct stage *stage = *state;
    struct buf texts, ints, reals;
    buf_init(&texts, 1000);
    buf_init(&ints, 1000);
    buf_init(&reals, 1000);
    postgres_array_begin(&texts);
    postgres_array_add(&texts, STR("a,b"));
    postgres_array_add(&texts, (struct str){NULL, 0});
    postgres_array_add(&texts, STR("NULL"));
    postgres_array_add(&texts, STR(""));
    postgres_array_add(&texts, STR("\"\\{}\n"));
    postgres_array_end(&texts);
    postgres_array_begin(&ints);
    postgres_array_begin(&reals);
    for (int i = 1; i <= 3; i++) {
        postgres_array_add_i64(&ints, 1000000000000 * i);
        postgres_array_add_f64(&reals, 0.5 * i);
    }
    postgres_array_end(&ints);
    postgres_array_end(&reals);
    struct answer items, sums;
    ASK(stage, &items, 0, QUERY(UNNEST, buf_str(&texts)));
    ASK(stage, &sums, 0, QUERY(NUMBERS, buf_str(&ints), buf_str(&reals)));
    expect_ok(stage, &items);
    expect_ok(stage, &sums);
    static const char *const want[] = {"a,b", "(null)", "NULL", "", "\"\\{}\n"};
    assert_int_equal(items.rows, 5);
    for (int i = 0; i < 5; i++)
        assert_string_equal(items.cells[i], want[i]);
    assert_string_equal(sums.cells[0], "6000000000000");
    assert_string_equal(sums.cells[1], "3");
    buf_done(&texts);
    buf_done(&ints);
    buf_done(&reals);
}

static void a_transaction_commits_all_of_it(void **state)
{
    struct stage *stage = *state;
    struct answer answer;
    ASK(stage, &answer, POSTGRES_TRANSACTION, QUERY(ADD, STR("1"), STR("a")),
        QUERY(ADD, STR("2"), (struct str){NULL, 0}), QUERY(COUNT), QUERY(ADD, STR("3"), STR("c")));
    expect_ok(stage, &answer);
    assert_int_equal(answer.results, 4);
    assert_int_equal(answer.affected, 1);
    expect_count(stage, "3");
}

static void a_failing_statement_undoes_its_batch_and_no_other(void **state)
{
    struct stage *stage = *state;
    struct answer before, failing, after;
    UNTIL(stage->loop, postgres_up(stage->pg));
    ASK(stage, &before, POSTGRES_TRANSACTION, QUERY(ADD, STR("1"), STR("a")));
    ASK(stage, &failing, POSTGRES_TRANSACTION, QUERY(ADD, STR("2"), STR("b")),
        QUERY(ADD, STR("1"), STR("again")), QUERY(ADD, STR("3"), STR("c")));
    ASK(stage, &after, POSTGRES_TRANSACTION, QUERY(ADD, STR("4"), STR("d")));
    expect_ok(stage, &before);
    expect_code(stage, &failing, ERR_INTERNAL);
    expect_ok(stage, &after);
    assert_string_equal(failing.sqlstate, "23505");
    assert_false(failing.unknown);
    assert_int_equal(failing.results, 0);
    assert_non_null(strstr(failing.err.text, "things_pkey"));
    expect_count(stage, "2");
    assert_int_equal(stage->ups, 1);
}

static void a_failure_at_the_commit_itself_is_told(void **state)
{
    struct stage *stage = *state;
    struct answer failing, after;
    ASK(stage, &failing, POSTGRES_TRANSACTION, QUERY(LATE, STR("1")), QUERY(LATE, STR("1")));
    ASK(stage, &after, POSTGRES_TRANSACTION, QUERY(ADD, STR("1"), STR("a")));
    expect_code(stage, &failing, ERR_INTERNAL);
    assert_string_equal(failing.sqlstate, "23505");
    expect_ok(stage, &after);
    expect_count(stage, "1");
    assert_int_equal(stage->ups, 1);
}

static void a_raised_fence_is_an_error_of_its_own(void **state)
{
    struct stage *stage = *state;
    struct answer fenced, ours;
    ASK(stage, &fenced, POSTGRES_TRANSACTION, QUERY(FENCE, STR("6")),
        QUERY(ADD, STR("1"), STR("a")));
    ASK(stage, &ours, POSTGRES_TRANSACTION, QUERY(FENCE, STR("7")), QUERY(ADD, STR("2"), STR("b")));
    expect_code(stage, &fenced, ERR_FENCED);
    assert_string_equal(fenced.sqlstate, "QF001");
    assert_int_equal(fenced.err.retry, RETRY_NEVER);
    assert_false(fenced.unknown);
    expect_ok(stage, &ours);
    expect_count(stage, "1");
}

static void a_lock_that_is_held_means_later(void **state)
{
    struct stage *stage = *state;
    struct answer added, locked;
    ASK(stage, &added, 0, QUERY(ADD, STR("1"), STR("a")));
    expect_ok(stage, &added);
    must_script(stage, "BEGIN");
    must_script(stage, "SELECT id FROM quern_doors.things FOR UPDATE");
    ASK(stage, &locked, POSTGRES_TRANSACTION, QUERY(SHORT_LOCK), QUERY(LOCK, STR("1")));
    expect_code(stage, &locked, ERR_UNAVAILABLE);
    assert_string_equal(locked.sqlstate, "55P03");
    assert_int_equal(locked.err.retry, RETRY_LATER);
    must_script(stage, "ROLLBACK");
    ASK(stage, &locked, POSTGRES_TRANSACTION, QUERY(SHORT_LOCK), QUERY(LOCK, STR("1")));
    expect_ok(stage, &locked);
}

static void a_cancelled_statement_timed_out(void **state)
{
    struct stage *stage = *state;
    struct answer answer;
    ASK(stage, &answer, 0, QUERY(CANCEL));
    expect_code(stage, &answer, ERR_TIMEOUT);
    assert_string_equal(answer.sqlstate, "57014");
    expect_count(stage, "0");
    assert_int_equal(stage->downs, 0);
}

static void values_do_not_get_into_error_texts(void **state)
{
    struct stage *stage = *state;
    struct answer answer;
    ASK(stage, &answer, 0, QUERY(ECHO, STR("x"), STR("secret prompt")));
    expect_code(stage, &answer, ERR_INTERNAL);
    assert_string_equal(answer.sqlstate, "22P02");
    assert_null(strstr(answer.err.text, "secret"));
}

static void large_parameters_and_results_pass(void **state)
{
    struct stage *stage = *state;
    size_t len = 24u << 20;
    char *large = malloc(len);
    memset(large, 'p', len);
    struct answer size, many, small;
    ASK(stage, &size, 0, QUERY(SIZE, str_from(large, len)));
    ASK(stage, &many, 0, QUERY(MANY, STR("100000")));
    ASK(stage, &small, 0, QUERY(SIZE, STR("abc")));
    free(large);
    expect_ok(stage, &size);
    expect_ok(stage, &many);
    expect_ok(stage, &small);
    assert_string_equal(size.cells[0], "25165824");
    assert_int_equal(many.rows, 100000);
    assert_true(many.bytes > 20000000);
    assert_string_equal(small.cells[0], "3");
}

static void a_terminated_connection_comes_back_and_waiting_batches_survive(void **state)
{
    enum { BEHIND = 20, ON_THE_WIRE_MAX = 8 };
    struct stage *stage = *state;
    struct answer nap, behind[BEHIND];
    UNTIL(stage->loop, postgres_up(stage->pg));
    ASK(stage, &nap, POSTGRES_TRANSACTION, QUERY(ADD, STR("1"), STR("a")), QUERY(NAP, STR("10")));
    for (int i = 0; i < BEHIND; i++)
        ASK(stage, &behind[i], 0, QUERY(COUNT));
    turn_for(stage->loop, 100); /* the first few are on the wire now, behind the nap */
    assert_int_equal(terminate(stage), 1);
    expect_code(stage, &nap, ERR_UNAVAILABLE);
    int i = 0;
    UNTIL(stage->loop, behind[BEHIND - 1].calls == 1);
    for (; !behind[i].ok; i++) {
        expect_code(stage, &behind[i], ERR_UNAVAILABLE);
        assert_false(behind[i].unknown);
    }
    assert_in_range(i, 0, ON_THE_WIRE_MAX);
    for (; i < BEHIND; i++)
        expect_ok(stage, &behind[i]);
    assert_int_equal(stage->downs, 1);
    assert_int_equal(stage->ups, 2);
    expect_count(stage, "0");
    assert_int_equal(nap.calls, 1);
}

static void an_idle_connection_that_ends_is_made_anew(void **state)
{
    struct stage *stage = *state;
    for (unsigned i = 1; i <= 3; i++) {
        UNTIL(stage->loop, postgres_up(stage->pg));
        assert_int_equal(terminate(stage), 1);
        UNTIL(stage->loop, stage->downs == i);
        assert_int_equal(stage->why.code, ERR_UNAVAILABLE);
        assert_non_null(strstr(stage->why.text, "57P01"));
    }
    UNTIL(stage->loop, stage->ups == 4);
    expect_count(stage, "0");
}

static void a_slow_statement_is_given_up_by_the_server_first(void **state)
{
    struct stage *stage = *state;
    struct postgres_conf conf = base_conf();
    conf.batch_timeout_ms = 500;
    reopen(stage, conf);
    UNTIL(stage->loop, postgres_up(stage->pg));
    struct answer slow, behind;
    ASK(stage, &slow, POSTGRES_TRANSACTION, QUERY(ADD, STR("1"), STR("a")), QUERY(NAP, STR("10")));
    ASK(stage, &behind, 0, QUERY(COUNT));
    expect_code(stage, &slow, ERR_TIMEOUT);
    assert_string_equal(slow.sqlstate, "57014");
    assert_false(slow.unknown);
    expect_ok(stage, &behind);
    assert_string_equal(behind.cells[0], "0");
    assert_int_equal(stage->downs, 0);
}

static void a_batch_that_takes_too_long_ends_the_connection(void **state)
{
    struct stage *stage = *state;
    struct postgres_conf conf = base_conf();
    conf.batch_timeout_ms = 300;
    reopen(stage, conf);
    UNTIL(stage->loop, postgres_up(stage->pg));
    struct answer slow, behind, later;
    ASK(stage, &slow, POSTGRES_TRANSACTION, QUERY(NAP, STR("0.2")), QUERY(NAP, STR("0.2")),
        QUERY(NAP, STR("0.2")), QUERY(ADD, STR("1"), STR("a")));
    ASK(stage, &behind, 0, QUERY(COUNT));
    expect_code(stage, &slow, ERR_TIMEOUT);
    expect_code(stage, &behind, ERR_UNAVAILABLE);
    assert_string_equal(slow.sqlstate, "");
    assert_true(slow.unknown);
    assert_int_equal(stage->downs, 1);
    ASK(stage, &later, 0, QUERY(NAP, STR("0")));
    expect_ok(stage, &later);
}

/* Each row of the answer is an id that is stored. */
static void mark_stored(const struct postgres_rows *rows, void *context)
{
    bool *stored = context;
    for (size_t row = 0; row < rows->count; row++)
        stored[postgres_cell_i64(rows, row, 0)] = true;
}

static void under_terminations_no_outcome_is_told_wrong(void **state)
{
    enum { TOTAL = 3000, STEP = 50 };
    struct stage *stage = *state;
    static struct answer answers[TOTAL];
    static bool stored[TOTAL];
    memset(stored, 0, sizeof(stored));
    for (int i = 0; i < TOTAL; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%d", i);
        ASK(stage, &answers[i], POSTGRES_TRANSACTION, QUERY(FENCE, STR("7")),
            QUERY(ADD, str_of(id), STR("stress")));
        if (i % STEP == STEP / 2) {
            UNTIL(stage->loop, postgres_up(stage->pg));
            for (int turns = i % 7; turns > 0; turns--)
                loop_turn(stage->loop, 1);
            terminate(stage); /* in the midst of some of them */
        }
        UNTIL(stage->loop, postgres_pending(stage->pg) < STEP);
    }
    UNTIL(stage->loop, postgres_pending(stage->pg) == 0);
    struct err err;
    assert_true(postgres_session_query(stage->other, "SELECT id FROM quern_doors.things", NULL, 0,
                                       mark_stored, stored, &err));
    unsigned ok = 0, unknown = 0;
    for (int i = 0; i < TOTAL; i++) {
        assert_int_equal(answers[i].calls, 1);
        if (answers[i].unknown)
            unknown++;
        else if (answers[i].ok != stored[i])
            fail_msg("%d: told %s, stored %d: %s", i, answers[i].ok ? "stored" : "failed",
                     stored[i], answers[i].err.text);
        ok += answers[i].ok;
    }
    print_message("%u stored, %u unknown, %u outages\n", ok, unknown, stage->downs);
    assert_true(ok > TOTAL / 2);
    assert_true(stage->downs > 10);
}

static void too_many_batches_are_refused(void **state)
{
    struct stage *stage = *state;
    struct postgres_conf conf = base_conf();
    conf.waiting_max = 3;
    reopen(stage, conf);
    struct answer answers[3], refused;
    struct err err = {0};
    struct postgres_query query = QUERY(COUNT);
    for (int i = 0; i < 3; i++)
        ASK(stage, &answers[i], 0, query);
    assert_false(postgres_batch(stage->pg, &query, 1, 0, remember, &refused, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    for (int i = 0; i < 3; i++)
        expect_ok(stage, &answers[i]);
    assert_true(postgres_batch(stage->pg, &query, 1, 0, NULL, NULL, &err));
}

static void a_nul_byte_is_refused_before_it_is_sent(void **state)
{
    struct stage *stage = *state;
    struct err err = {0};
    struct postgres_query query = QUERY(SIZE, str_from("a\0b", 3));
    assert_false(postgres_batch(stage->pg, &query, 1, 0, remember, NULL, &err));
    assert_int_equal(err.code, ERR_INVALID_ENCODING);
    assert_int_equal(postgres_pending(stage->pg), 0);
}

static void without_a_server_batches_wait_and_then_expire(void **state)
{
    struct stage *stage = *state;
    struct postgres_conf conf = base_conf();
    conf.conninfo = STR("host=127.0.0.1 port=1 user=nobody dbname=nothing");
    conf.batch_timeout_ms = 600;
    reopen(stage, conf);
    struct answer answer;
    ASK(stage, &answer, POSTGRES_TRANSACTION, QUERY(COUNT));
    turn_for(stage->loop, 300);
    assert_int_equal(answer.calls, 0);
    assert_int_equal(stage->downs, 1);
    expect_code(stage, &answer, ERR_UNAVAILABLE);
    assert_false(answer.unknown);
    assert_int_equal(stage->downs, 1); /* once per outage, not per attempt */
    assert_int_equal(stage->ups, 0);
}

static void statements_that_do_not_fit_the_schema_keep_it_down(void **state)
{
    struct stage *stage = *state;
    must_script(stage, "DROP SCHEMA quern_doors CASCADE");
    reopen(stage, base_conf());
    UNTIL(stage->loop, stage->downs == 1);
    assert_non_null(strstr(stage->why.text, "migrate"));
    must_script(stage, schema);
    UNTIL(stage->loop, postgres_up(stage->pg));
    expect_count(stage, "0");
}

static void a_conninfo_that_cannot_be_read_is_refused_without_its_words(void **state)
{
    (void)state;
    struct err err = {0};
    struct loop *loop = loop_new(&err);
    static const char *const infos[] = {
        "postgresql://u:hunter2@[::1/db",
        "host=h password=x hunter2",
        "postgresql://u@h/db?hunter2=1",
        "password='hunter2",
    };
    for (size_t i = 0; i < sizeof(infos) / sizeof(infos[0]); i++) {
        struct postgres_conf conf = {.conninfo = str_of(infos[i])};
        assert_null(postgres_new(loop, &conf, &err));
        assert_int_equal(err.code, ERR_CONFIG);
        assert_null(strstr(err.text, "hunter2"));
    }
    loop_free(loop);
}

static void it_can_be_freed_in_the_middle(void **state)
{
    struct stage *stage = *state;
    struct answer answers[8];
    for (int i = 0; i < 8; i++)
        ASK(stage, &answers[i], POSTGRES_TRANSACTION, QUERY(MANY, STR("1000")));
    UNTIL(stage->loop, answers[1].calls == 1);
    reopen(stage, base_conf()); /* frees the first one; what is under way is never answered */
    expect_count(stage, "0");
    assert_int_equal(answers[7].calls, 0);
}

static void a_session_runs_scripts_and_names_the_line(void **state)
{
    struct stage *stage = *state;
    struct err err = {0};
    must_script(stage, "CREATE TABLE quern_doors.a (i int); INSERT INTO quern_doors.a VALUES (1)");
    assert_false(postgres_session_script(stage->other,
                                         "INSERT INTO quern_doors.a VALUES (2);\n"
                                         "-- \xc3\xa4\xc3\xb6\nSELECT broken FROM quern_doors.a",
                                         &err));
    assert_non_null(strstr(err.text, "line 3"));
    size_t rows = 0;
    struct str params[] = {STR("1"), {NULL, 0}};
    assert_true(postgres_session_query(stage->other,
                                       "SELECT i FROM quern_doors.a WHERE i >= $1 OR $2::text = ''",
                                       params, 2, collect_pid, &rows, &err));
    assert_int_equal(rows, 1); /* a script is one transaction: 2 was undone */
}

int main(void)
{
    if (!getenv("QUERN_POSTGRES__CONNINFO"))
        return DOOR_TEST_SKIP;
#define DOOR_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        DOOR_TEST(it_connects_and_says_so_once),
        DOOR_TEST(batches_are_answered_in_order),
        DOOR_TEST(parameters_are_copied_and_null_is_not_empty),
        DOOR_TEST(arrays_arrive_item_by_item),
        DOOR_TEST(a_transaction_commits_all_of_it),
        DOOR_TEST(a_failing_statement_undoes_its_batch_and_no_other),
        DOOR_TEST(a_failure_at_the_commit_itself_is_told),
        DOOR_TEST(a_raised_fence_is_an_error_of_its_own),
        DOOR_TEST(a_lock_that_is_held_means_later),
        DOOR_TEST(a_cancelled_statement_timed_out),
        DOOR_TEST(values_do_not_get_into_error_texts),
        DOOR_TEST(large_parameters_and_results_pass),
        DOOR_TEST(a_terminated_connection_comes_back_and_waiting_batches_survive),
        DOOR_TEST(an_idle_connection_that_ends_is_made_anew),
        DOOR_TEST(a_slow_statement_is_given_up_by_the_server_first),
        DOOR_TEST(a_batch_that_takes_too_long_ends_the_connection),
        DOOR_TEST(under_terminations_no_outcome_is_told_wrong),
        DOOR_TEST(too_many_batches_are_refused),
        DOOR_TEST(a_nul_byte_is_refused_before_it_is_sent),
        DOOR_TEST(without_a_server_batches_wait_and_then_expire),
        DOOR_TEST(statements_that_do_not_fit_the_schema_keep_it_down),
        DOOR_TEST(it_can_be_freed_in_the_middle),
        DOOR_TEST(a_session_runs_scripts_and_names_the_line),
        cmocka_unit_test(a_conninfo_that_cannot_be_read_is_refused_without_its_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
