/*
 * Contract of common/io/postgres.h, and of the statements that our programs ask: both bodies answer
 * the programs' own tables of statements over the migrated schema.
 */
#include "tests/contract/stage.h"

#include "aggregator/aggregator.h"
#include "aggregator/settle/reply.h"
#include "aggregator/store/extras.h"
#include "aggregator/store/rows.h"
#include "common/base/xalloc.h"
#include "worker/worker.h"

enum { CELLS_MAX = OUTBOX_TOO_BIG + 1 };
enum { WORKER = STATEMENT_COUNT, ALL = STATEMENT_COUNT + WORKER_STATEMENT_COUNT };

struct play {
    struct stage *stage;
    struct postgres *pg;
    struct postgres_statement statements[ALL];
    unsigned ups, downs, order;
    struct err why;
};

struct heard {
    struct play *play;
    unsigned times, order;
    bool ok, unknown;
    struct err err;
    char sqlstate[6];
    size_t results, rows, columns;
    char cells[3][CELLS_MAX][64]; /* of the last result; "(null)" */
};

/* ---- arrays as literals ---- */

static char array_room[40][512];
static unsigned array_next;

/* "a|b" -> {"a","b"}; "" has no item, "~" is NULL */
static struct str array(const char *items)
{
    struct buf out;
    struct str rest = str_of(items), item;
    char *room = array_room[array_next++ % 40];
    buf_init(&out, 512);
    postgres_array_begin(&out);
    while (rest.len > 0 && str_split(&rest, '|', &item))
        postgres_array_add(&out, str_is(item, "~") ? (struct str){NULL, 0} : item);
    postgres_array_end(&out);
    snprintf(room, 512, STR_FMT, STR_ARG(buf_str(&out)));
    buf_done(&out);
    return str_of(room);
}

/* ---- asking ---- */

static void on_state(bool up, const struct err *why, void *context)
{
    struct play *play = context;
    play->ups += up;
    play->downs += !up;
    if (why)
        play->why = *why;
}

static void remember(const struct postgres_result *result, const struct err *err, void *context)
{
    struct heard *answer = context;
    answer->times++;
    answer->order = ++answer->play->order;
    answer->ok = !err;
    answer->unknown = result->unknown;
    if (err)
        answer->err = *err;
    memcpy(answer->sqlstate, result->sqlstate, sizeof(answer->sqlstate));
    answer->results = result->count;
    if (err || !result->count)
        return;
    const struct postgres_rows *rows = &result->rows[result->count - 1];
    answer->rows = rows->count;
    answer->columns = rows->columns;
    for (size_t r = 0; r < rows->count && r < 3; r++)
        for (size_t c = 0; c < rows->columns && c < CELLS_MAX; c++)
            snprintf(
                answer->cells[r][c], sizeof(answer->cells[r][c]), STR_FMT,
                STR_ARG(postgres_is_null(rows, r, c) ? STR("(null)") : postgres_cell(rows, r, c)));
}

static void ask(struct play *play, struct heard *answer, int flags,
                const struct postgres_query *queries, size_t count)
{
    struct err err = {0};
    *answer = (struct heard){.play = play};
    if (!postgres_batch(play->pg, queries, count, flags, remember, answer, &err))
        fail_msg("%s", err.text);
    assert_int_equal(answer->times, 0); /* never from inside */
}

#define QUERY(number, ...)                                                                         \
    ((struct postgres_query){                                                                      \
        (number), (const struct str[]){__VA_ARGS__},                                               \
        (int)(sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))})
#define ASK(play, answer, flags, ...)                                                              \
    ask(play, answer, flags, (const struct postgres_query[]){__VA_ARGS__},                         \
        sizeof((const struct postgres_query[]){__VA_ARGS__}) / sizeof(struct postgres_query))

#define OWN(partitions, lows)                                                                      \
    QUERY(STATEMENT_OWN, STR("g"), STR("t"), array(partitions), array(lows), STR("me"))
#define OFFSETS(partitions) QUERY(STATEMENT_OFFSETS, STR("g"), STR("t"), array(partitions))
#define FENCE(partitions, epochs, froms, tos)                                                      \
    QUERY(STATEMENT_FENCE, STR("g"), STR("t"), array(partitions), array(epochs), array(froms),     \
          array(tos))

static void expect_ok(struct play *play, struct heard *answer)
{
    UNTIL(play->stage, answer->times > 0);
    if (!answer->ok)
        fail_msg("%s: %s", err_name(answer->err.code), answer->err.text);
    assert_int_equal(answer->times, 1);
    assert_false(answer->unknown);
}

static void expect_code(struct play *play, struct heard *answer, enum err_code code)
{
    UNTIL(play->stage, answer->times > 0);
    assert_false(answer->ok);
    if (answer->err.code != code)
        fail_msg("wanted %s, got %s: %s", err_name(code), err_name(answer->err.code),
                 answer->err.text);
}

static void expect_offset(struct play *play, const char *partition, const char *offset,
                          const char *epoch)
{
    struct heard answer;
    ASK(play, &answer, 0, OFFSETS(partition));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 1);
    assert_string_equal(answer.cells[0][0], partition);
    assert_string_equal(answer.cells[0][1], offset);
    assert_string_equal(answer.cells[0][2], epoch);
}

/* ---- the play ---- */

static void open_door(struct play *play, struct postgres_conf conf)
{
    struct err err = {0};
    conf.statements = play->statements;
    conf.statement_count = ALL;
    conf.on_state = on_state;
    conf.context = play;
    play->pg = postgres_new(stage_loop(play->stage, 0), &conf, &err);
    if (!play->pg)
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    struct play *play = xzalloc(sizeof(*play));
    play->stage = stage_new();
    memcpy(play->statements, aggregator_statements(),
           STATEMENT_COUNT * sizeof(struct postgres_statement));
    memcpy(play->statements + WORKER, worker_statements,
           WORKER_STATEMENT_COUNT * sizeof(struct postgres_statement));
    open_door(play, stage_postgres_conf(play->stage));
    *state = play;
    return 0;
}

static int tear_down(void **state)
{
    struct play *play = *state;
    postgres_free(play->pg);
    stage_free(play->stage);
    free(play);
    return 0;
}

static void wait_up(struct play *play)
{
    UNTIL(play->stage, postgres_up(play->pg));
}

/* ---- the door ---- */

static void it_connects_and_says_so_once(void **state)
{
    struct play *play = *state;
    assert_false(postgres_up(play->pg));
    wait_up(play);
    stage_run_ms(play->stage, 50);
    assert_int_equal(play->ups, 1);
    assert_int_equal(play->downs, 0);
}

static void batches_are_answered_in_order_also_those_that_waited(void **state)
{
    struct play *play = *state;
    static struct heard answers[60];
    for (int i = 0; i < 60; i++) {
        if (i == 30)
            wait_up(play);
        ASK(play, &answers[i], i % 3 ? 0 : POSTGRES_TRANSACTION, OWN("1", "5"));
    }
    for (int i = 0; i < 60; i++) {
        expect_ok(play, &answers[i]);
        assert_int_equal(answers[i].order, i + 1);
        assert_int_equal(strtol(answers[i].cells[0][2], NULL, 10), i + 1); /* and run in order */
    }
    assert_int_equal(postgres_pending(play->pg), 0);
}

static void a_refused_statement_undoes_its_batch_and_no_other(void **state)
{
    struct play *play = *state;
    struct heard before, refused, after;
    wait_up(play);
    ASK(play, &before, POSTGRES_TRANSACTION, OWN("1|2", "5|7"));
    ASK(play, &refused, POSTGRES_TRANSACTION, OWN("1", "5"), FENCE("2", "1", "7", "9"),
        FENCE("2", "99", "9", "11"), OWN("3", "0"));
    ASK(play, &after, POSTGRES_TRANSACTION, FENCE("1", "1", "5", "6"));
    expect_ok(play, &before);
    expect_code(play, &refused, ERR_FENCED);
    expect_ok(play, &after);
    assert_string_equal(refused.sqlstate, "QF001");
    assert_false(refused.unknown);
    assert_int_equal(refused.results, 0);
    assert_int_equal(refused.order, 2);
    expect_offset(play, "1", "6", "1");
    expect_offset(play, "2", "7", "1");
    ASK(play, &after, 0, OFFSETS("3"));
    expect_ok(play, &after);
    assert_int_equal(after.rows, 0);
    assert_int_equal(play->ups, 1); /* the connection is none the worse for it */
}

static struct heard *next_answer;

static void asks_again(const struct postgres_result *result, const struct err *err, void *context)
{
    struct heard *answer = context;
    remember(result, err, answer);
    ASK(answer->play, next_answer, 0, OFFSETS("1"));
}

static void an_answer_may_give_the_next_batch(void **state)
{
    struct play *play = *state;
    struct err err;
    struct heard first = {.play = play}, second = {0};
    next_answer = &second;
    wait_up(play);
    const struct postgres_query own = OWN("1", "5");
    assert_true(postgres_batch(play->pg, &own, 1, 0, asks_again, &first, &err));
    UNTIL(play->stage, first.times == 1);
    expect_ok(play, &second);
    assert_string_equal(second.cells[0][1], "5");
    assert_true(postgres_batch(play->pg, &own, 1, 0, NULL, NULL, &err)); /* nobody listens */
    UNTIL(play->stage, postgres_pending(play->pg) == 0);
}

static void beyond_waiting_max_a_batch_is_refused(void **state)
{
    struct play *play = *state;
    struct heard answers[3] = {0};
    struct err err = {0};
    struct postgres_conf conf = stage_postgres_conf(play->stage);
    postgres_free(play->pg);
    conf.waiting_max = 2;
    open_door(play, conf);
    ASK(play, &answers[0], 0, OFFSETS("1"));
    ASK(play, &answers[1], 0, OFFSETS("1"));
    assert_int_equal(postgres_pending(play->pg), 2);
    const struct postgres_query query = OFFSETS("1");
    assert_false(postgres_batch(play->pg, &query, 1, 0, remember, &answers[2], &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    expect_ok(play, &answers[1]);
    assert_int_equal(answers[2].times, 0);
    ASK(play, &answers[2], 0, OFFSETS("1"));
    expect_ok(play, &answers[2]);
}

static void a_nul_byte_is_refused(void **state)
{
    struct play *play = *state;
    struct heard answer = {.play = play};
    struct err err = {0};
    const struct postgres_query query =
        QUERY(STATEMENT_OFFSETS, STR("g"), str_from("a\0b", 3), array("1"));
    assert_false(postgres_batch(play->pg, &query, 1, 0, remember, &answer, &err));
    assert_int_equal(err.code, ERR_INVALID_ENCODING);
    assert_int_equal(postgres_pending(play->pg), 0);
}

static void a_closed_door_answers_nothing(void **state)
{
    struct play *play = *state;
    struct heard answer;
    wait_up(play);
    ASK(play, &answer, 0, OFFSETS("1"));
    postgres_free(play->pg);
    play->pg = NULL;
    stage_run_ms(play->stage, 100);
    assert_int_equal(answer.times, 0);
}

/* ---- cut and away ---- */

/* However far it got: one answer, and it says whether it is known what became of it. */
static void a_cut_transaction_is_done_or_in_doubt(void **state)
{
    struct play *play = *state;
    for (int steps = 0; steps < 4; steps++) {
        struct heard own, cut, after;
        wait_up(play);
        ASK(play, &own, POSTGRES_TRANSACTION, OWN("1", "5"));
        expect_ok(play, &own);
        long epoch = strtol(own.cells[0][2], NULL, 10);
        unsigned ups = play->ups;
        ASK(play, &cut, POSTGRES_TRANSACTION, OWN("1", "5"), OFFSETS("1"));
        for (int i = 0; i < steps; i++)
            stage_step(play->stage);
        stage_cut(play->stage, STAGE_POSTGRES);
        UNTIL(play->stage, cut.times > 0 && play->ups == ups + 1);
        assert_int_equal(cut.times, 1);
        if (!cut.ok)
            assert_int_equal(cut.err.code, ERR_UNAVAILABLE);
        ASK(play, &after, 0, OFFSETS("1"));
        expect_ok(play, &after);
        long now = strtol(after.cells[0][2], NULL, 10);
        assert_in_range(now, epoch, epoch + 1);
        if (cut.ok)
            assert_int_equal(now, epoch + 1);
        if (!cut.ok && !cut.unknown)
            assert_int_equal(now, epoch);
    }
    assert_int_equal(play->downs, 4);
}

static void a_cut_question_is_never_in_doubt(void **state)
{
    struct play *play = *state;
    struct heard answer;
    wait_up(play);
    ASK(play, &answer, 0, OFFSETS("1"));
    stage_cut(play->stage, STAGE_POSTGRES);
    UNTIL(play->stage, answer.times == 1 && play->downs == 1);
    assert_false(answer.unknown);
}

static void while_it_is_away_batches_wait_and_then_give_up(void **state)
{
    struct play *play = *state;
    struct heard patient, late;
    struct postgres_conf conf = stage_postgres_conf(play->stage);
    postgres_free(play->pg);
    conf.batch_timeout_ms = 6000;
    open_door(play, conf);
    wait_up(play);
    play->ups = play->downs = 0;
    if (!stage_down(play->stage, STAGE_POSTGRES))
        skip();
    UNTIL(play->stage, !postgres_up(play->pg));
    int64_t began_ms = stage_now_ms(play->stage);
    ASK(play, &late, POSTGRES_TRANSACTION, OWN("1", "5"));
    stage_run_ms(play->stage, 5700);
    assert_int_equal(late.times, 0);
    ASK(play, &patient, POSTGRES_TRANSACTION, OWN("2", "6"));
    expect_code(play, &late, ERR_UNAVAILABLE);
    assert_in_range(stage_now_ms(play->stage) - began_ms, 5990, 8500);
    assert_false(late.unknown); /* it never left */
    assert_int_equal(play->downs, 1);
    assert_int_equal(patient.times, 0);
    stage_up(play->stage, STAGE_POSTGRES);
    expect_ok(play, &patient);
    assert_int_equal(play->ups, 1);
    ASK(play, &late, 0, OFFSETS("1"));
    expect_ok(play, &late);
    assert_int_equal(late.rows, 0);
}

/* ---- the statements ---- */

static void owning_raises_the_epoch_and_keeps_the_offset(void **state)
{
    struct play *play = *state;
    struct heard answer;
    ASK(play, &answer, POSTGRES_TRANSACTION, OWN("3|1", "30|10"));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 2);
    assert_int_equal(answer.columns, 3);
    ASK(play, &answer, POSTGRES_TRANSACTION, FENCE("1|3", "1|1", "10|30", "11|31"));
    expect_ok(play, &answer);
    ASK(play, &answer, POSTGRES_TRANSACTION, OWN("1", "99"));
    expect_ok(play, &answer);
    assert_string_equal(answer.cells[0][0], "1");
    assert_string_equal(answer.cells[0][1], "11");
    assert_string_equal(answer.cells[0][2], "2");
    expect_offset(play, "3", "31", "1");
}

static void a_fence_moves_all_or_nothing(void **state)
{
    struct play *play = *state;
    struct heard answer;
    ASK(play, &answer, POSTGRES_TRANSACTION, OWN("1|2", "10|20"));
    expect_ok(play, &answer);
    static const char *const wrong[][4] = {
        {"1|2", "1|2", "10|20", "11|21"}, /* an epoch */
        {"1|2", "1|1", "10|19", "11|21"}, /* an offset */
        {"1|9", "1|1", "10|0", "11|1"},   /* a partition nobody owns */
    };
    for (size_t i = 0; i < 3; i++) {
        ASK(play, &answer, POSTGRES_TRANSACTION,
            FENCE(wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3]));
        expect_code(play, &answer, ERR_FENCED);
    }
    expect_offset(play, "1", "10", "1");
    ASK(play, &answer, POSTGRES_TRANSACTION, FENCE("", "", "", ""));
    expect_ok(play, &answer);
}

#define FIRST(partition, low)                                                                      \
    QUERY(WORKER + STATEMENT_FIRST_ASSIGNED, STR("g"), STR("t"), STR(partition), STR(low),         \
          STR("me"))

static void the_first_assignment_is_remembered(void **state)
{
    struct play *play = *state;
    struct heard answer;
    ASK(play, &answer, 0, FIRST("1", "7"));
    expect_ok(play, &answer);
    assert_string_equal(answer.cells[0][0], "7");
    assert_string_equal(answer.cells[0][1], "1");
    ASK(play, &answer, 0, FIRST("1", "9"));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 1);
    assert_string_equal(answer.cells[0][0], "7");
    assert_string_equal(answer.cells[0][1], "0");
    expect_offset(play, "1", "7", "0");
}

#define LOAD(after) QUERY(STATEMENT_OUTBOX_LOAD, array("0|1"), STR(after), STR("3"), STR("10"))
#define BURY(key, payload, headers)                                                                \
    QUERY(STATEMENT_BURY, array("t"), array("id"), array("dead"), array(key), array("text/plain"), \
          array(payload), array(headers), array("1"), array("~"))

static void what_was_buried_comes_out_of_the_outbox(void **state)
{
    struct play *play = *state;
    struct heard answer;
    char id[64];
    ASK(play, &answer, POSTGRES_TRANSACTION, BURY("it's \"{a,b}\" \\", "\\x00ff", "{\"a\": 1}"),
        BURY("~", "\\x", "{}"));
    expect_ok(play, &answer);
    assert_int_equal(answer.results, 2);
    ASK(play, &answer, 0, LOAD("0"));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 2);
    assert_string_equal(answer.cells[0][2], "id");
    assert_string_equal(answer.cells[0][3], "dead");
    assert_string_equal(answer.cells[0][4], "it's \"{a,b}\" \\");
    assert_string_equal(answer.cells[0][5], "text/plain");
    assert_string_equal(answer.cells[0][6], "00ff");
    assert_string_equal(answer.cells[0][7], "{\"a\": 1}");
    assert_string_equal(answer.cells[1][4], "(null)");
    assert_string_equal(answer.cells[1][6], ""); /* empty is not absent */
    assert_string_equal(answer.cells[1][8], "(null)");
    snprintf(id, sizeof(id), "%s", answer.cells[0][0]);

    ASK(play, &answer, 0,
        QUERY(STATEMENT_OUTBOX_FAILED, array(id), array("too_big: no"), STR("400")));
    expect_ok(play, &answer);
    ASK(play, &answer, 0, LOAD("0"));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 1); /* the other one waits */
    assert_string_equal(answer.cells[0][OUTBOX_TOO_BIG], "(null)");
    ASK(play, &answer, 0, QUERY(STATEMENT_OUTBOX_SENT, array(answer.cells[0][0])));
    expect_ok(play, &answer);
    stage_run_ms(play->stage, 1000);
    ASK(play, &answer, 0, LOAD("0"));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 1);
    assert_string_equal(answer.cells[0][OUTBOX_TOO_BIG], "t");
    assert_string_equal(answer.cells[0][0], id);
}

/* ---- storing ---- */

static const char *default_of(int column)
{
    switch (column) {
    case COLUMN_q_tenant:
        return "t";
    case COLUMN_q_kind:
        return "chat";
    case COLUMN_q_slots:
    case COLUMN_q_partition:
    case COLUMN_q_created:
    case COLUMN_q_accepted:
        return "1";
    case COLUMN_q_text:
        return "an answer";
    case COLUMN_q_reply_topic:
        return "replies";
    default:
        return column < COLUMN_m_ord ? "~" : "";
    }
}

static void ask_store(struct play *play, struct heard *answer, unsigned statement, const char *id,
                      const char *status, const char *session, const char *hash)
{
    static char room[COLUMN_COUNT][96];
    struct str params[COLUMN_COUNT];
    for (int i = 0; i < COLUMN_COUNT; i++) {
        const char *item = i == COLUMN_q_id          ? id
                           : i == COLUMN_q_status    ? status
                           : i == COLUMN_q_session   ? session
                           : i == COLUMN_q_body_hash ? hash
                                                     : default_of(i);
        snprintf(room[i], sizeof(room[i]), STR_FMT, STR_ARG(array(item)));
        params[i] = str_of(room[i]);
    }
    const struct postgres_query query = {statement, params, COLUMN_COUNT};
    ask(play, answer, POSTGRES_TRANSACTION, &query, 1);
}

static void store(struct play *play, struct heard *answer, const char *id, const char *status,
                  const char *session)
{
    ask_store(play, answer, STATEMENT_STORE, id, status, session, "hash");
    expect_ok(play, answer);
}

#define LOOKUP(tenants, ids) QUERY(WORKER + STATEMENT_LOOKUP, array(tenants), array(ids))

static void a_final_request_stays_as_it_is(void **state)
{
    struct play *play = *state;
    struct heard answer;
    store(play, &answer, "r1", "open", "~");
    assert_int_equal(answer.rows, 1);
    assert_string_equal(answer.cells[0][0], "1"); /* the place among the rows */
    assert_string_equal(answer.cells[0][1], "(null)");
    assert_string_equal(answer.cells[0][2], "(null)"); /* no reply yet */
    store(play, &answer, "r1", "done", "~");
    assert_int_equal(answer.rows, 1);
    assert_string_not_equal(answer.cells[0][2], "(null)");
    store(play, &answer, "r1", "failed", "~");
    assert_int_equal(answer.rows, 0);
    ASK(play, &answer, 0, LOOKUP("t|t|u", "r1|none|r1"));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 1);
    assert_string_equal(answer.cells[0][1], "r1");
    assert_string_equal(answer.cells[0][2], "done");
    assert_string_equal(answer.cells[0][3], "hash");
    assert_string_equal(answer.cells[0][7], "(null)"); /* no parts */
    ASK(play, &answer, 0, LOAD("0"));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 1);
}

static void turns_of_a_session_count_up(void **state)
{
    struct play *play = *state;
    struct heard answer;
    static const char *const ids[] = {"r1", "r2", "r3"};
    for (int i = 0; i < 3; i++) {
        char turn[8];
        store(play, &answer, ids[i], i == 1 ? "failed" : "done", "s");
        snprintf(turn, sizeof(turn), "%d", (i + 1) % 10);
        assert_string_equal(answer.cells[0][1], turn); /* a failed one is a turn, too */
    }
    store(play, &answer, "r3", "done", "s");
    assert_int_equal(answer.rows, 0);
    ASK(play, &answer, 0,
        QUERY(WORKER + STATEMENT_HISTORY, STR("t"), STR("s"), STR("10"), STR("1000")));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 1); /* no messages */
    assert_string_equal(answer.cells[0][0], "3");
    assert_string_equal(answer.cells[0][1], "r3");
    assert_string_equal(answer.cells[0][2], "(null)");
    ASK(play, &answer, 0,
        QUERY(WORKER + STATEMENT_HISTORY, STR("t"), STR("none"), STR("10"), STR("1000")));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 0);
}

static void a_repeat_asks_for_the_reply_of_the_same_body_only(void **state)
{
    struct play *play = *state;
    struct heard answer;
    store(play, &answer, "r1", "done", "~");
    ASK(play, &answer, 0, QUERY(STATEMENT_OUTBOX_SENT, array(answer.cells[0][2])));
    expect_ok(play, &answer);
    ASK(play, &answer, POSTGRES_TRANSACTION,
        QUERY(STATEMENT_REPEAT, array("t|t|t|t"), array("r1|r1|none|r1"),
              array("hash|other|hash|~"), array("a|b|c|d"), array("1|1|1|1")));
    expect_ok(play, &answer);
    ASK(play, &answer, 0, LOAD("0"));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 1);
    assert_string_equal(answer.cells[0][3], "a");
    assert_string_equal(answer.cells[0][4], "r1");
    assert_string_equal(answer.cells[0][9], "(null)");
}

#define ONE_BODY(tenants, ids, hashes)                                                             \
    QUERY(STATEMENT_ONE_BODY, array(tenants), array(ids), array(hashes))

static void another_body_refuses_the_transaction_or_is_buried(void **state)
{
    struct play *play = *state;
    struct heard answer;
    store(play, &answer, "r1", "done", "~");
    ASK(play, &answer, 0, QUERY(STATEMENT_OUTBOX_SENT, array(answer.cells[0][2])));
    expect_ok(play, &answer);
    ask_store(play, &answer, STATEMENT_STORE, "r1", "done", "~", "other");
    expect_code(play, &answer, ERR_INTERNAL);
    assert_string_equal(answer.sqlstate, OTHER_BODY_SQLSTATE);
    ask_store(play, &answer, STATEMENT_STORE_TELLING, "r1", "done", "~", "other");
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 0);
    ask_store(play, &answer, STATEMENT_STORE, "r1", "done", "~", "~");
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 0);
    ASK(play, &answer, POSTGRES_TRANSACTION, ONE_BODY("t|t|u", "r1|none|r1", "hash|other|other"));
    expect_ok(play, &answer);
    ASK(play, &answer, POSTGRES_TRANSACTION, ONE_BODY("t|t|t", "r1|r1|r1", "~|hash|other"));
    expect_code(play, &answer, ERR_INTERNAL);
    assert_string_equal(answer.sqlstate, OTHER_BODY_SQLSTATE);
    ASK(play, &answer, POSTGRES_TRANSACTION,
        QUERY(STATEMENT_BURY, array("t|t|t|t"), array("r1|r1|none|r1"), array("a|b|c|d"),
              array("r1|r1|none|r1"), array("x|x|x|x"), array("\\x61|\\x62|\\x63|\\x64"),
              array("{}|{}|{}|{}"), array("1|1|1|1"), array("hash|other|other|~")));
    expect_ok(play, &answer);
    ASK(play, &answer, 0, LOAD("0"));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 2);
    assert_string_equal(answer.cells[0][3], "b");
    assert_string_equal(answer.cells[0][6], "62");
    assert_string_equal(answer.cells[1][3], "d");
}

#define EMBEDDINGS(ids, hashes, vectors)                                                           \
    QUERY(STATEMENT_EMBEDDINGS, array("t|t|t|t"), array(ids), array(hashes), array(vectors))

static void vectors_come_with_the_reply_of_what_is_done(void **state)
{
    struct play *play = *state;
    struct heard answer;
    store(play, &answer, "r1", "done", "~");
    store(play, &answer, "r2", "done", "~");
    store(play, &answer, "r3", "failed", "~");
    ASK(play, &answer, POSTGRES_TRANSACTION,
        EMBEDDINGS("r1|r2|r3|none", "hash|other|hash|hash",
                   "[\"AACAPw==\"]|[\"b\"]|[\"c\"]|[\"d\"]"));
    expect_ok(play, &answer);
    ASK(play, &answer, POSTGRES_TRANSACTION,
        EMBEDDINGS("r1|none|none|none", "hash|~|~|~", "[\"another\"]|[]|[]|[]"));
    expect_ok(play, &answer); /* what is stored first stays */
    ASK(play, &answer, 0, LOAD("0"));
    expect_ok(play, &answer);
    assert_int_equal(answer.rows, 3);
    assert_int_equal(answer.columns, CELLS_MAX);
    assert_string_equal(answer.cells[0][OUTBOX_EMBEDDINGS], "[\"AACAPw==\"]");
    assert_string_equal(answer.cells[1][OUTBOX_EMBEDDINGS], "(null)");
    assert_string_equal(answer.cells[2][OUTBOX_EMBEDDINGS], "(null)");
}

#define PLAY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    if (!stage_has(STAGE_POSTGRES))
        return STAGE_SKIP;
    const struct CMUnitTest tests[] = {
        PLAY(it_connects_and_says_so_once),
        PLAY(batches_are_answered_in_order_also_those_that_waited),
        PLAY(a_refused_statement_undoes_its_batch_and_no_other),
        PLAY(an_answer_may_give_the_next_batch),
        PLAY(beyond_waiting_max_a_batch_is_refused),
        PLAY(a_nul_byte_is_refused),
        PLAY(a_closed_door_answers_nothing),
        PLAY(a_cut_transaction_is_done_or_in_doubt),
        PLAY(a_cut_question_is_never_in_doubt),
        PLAY(owning_raises_the_epoch_and_keeps_the_offset),
        PLAY(a_fence_moves_all_or_nothing),
        PLAY(the_first_assignment_is_remembered),
        PLAY(what_was_buried_comes_out_of_the_outbox),
        PLAY(a_final_request_stays_as_it_is),
        PLAY(turns_of_a_session_count_up),
        PLAY(a_repeat_asks_for_the_reply_of_the_same_body_only),
        PLAY(another_body_refuses_the_transaction_or_is_buried),
        PLAY(vectors_come_with_the_reply_of_what_is_done),
        PLAY(while_it_is_away_batches_wait_and_then_give_up),
    };
    stage_only();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
