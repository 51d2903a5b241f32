/*
 * test_rows.c -- entries become columns: what stands in which array, and how rows refer to each
 * other.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "aggregator/store/rows.h"

static struct aggregator_conf conf;
static struct str allowed[] = {STR("quern.replies")};
static struct aggregator aggregator = {.conf = &conf, .topic_replies = STR("quern.replies")};

static int setup(void **state)
{
    (void)state;
    struct err err;
    conf.shared.allowed_prefixes = (struct conf_strs){allowed, 1};
    aggregator.loop = loop_new(&err);
    return aggregator.loop ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(aggregator.loop);
    return 0;
}

/* Ours for the linker: the desk's functions live in main.c. */
struct str aggregator_reply_topic(const struct aggregator *a, struct str reply_to)
{
    return str_empty(reply_to) ? a->topic_replies : reply_to;
}

struct partition *aggregator_partition(struct aggregator *a, int32_t number)
{
    (void)a;
    (void)number;
    return NULL;
}

size_t aggregator_owned(const struct aggregator *a, struct buf *ret)
{
    (void)a;
    (void)ret;
    return 0;
}

static const struct value_pair plain[] = {
    {STR("role"), {.kind = VALUE_STR, .text = STR("user")}},
    {STR("content"), {.kind = VALUE_STR, .text = STR("say \"hi\"")}}};
static const struct value messages[] = {{.kind = VALUE_MAP, .count = 2, .pairs = plain}};
static const struct value question = {.kind = VALUE_LIST, .count = 1, .items = messages};

static struct part *make_part(const char *id, int slot, int slots, const char *session)
{
    struct part *part = part_new(NULL, 65536);
    struct result *r = &part->result;
    contract_init(&contract_result, r);
    r->request_id = str_of(id);
    r->tenant = STR("t");
    r->slot = slot;
    r->slots = slots;
    r->model = STR("m");
    r->provider = STR("openai");
    r->text = STR("a {b}, \\c");
    r->request.session = str_of(session);
    r->request.question = &question;
    r->request.created_at = 1000;
    part->raw = STR("\x01\xfe");
    r->attempts.items = arena_array(&part->arena, struct attempt, 2);
    r->attempts.count = 2;
    for (int i = 0; i < 2; i++) {
        contract_init(&contract_attempt, &r->attempts.items[i]);
        r->attempts.items[i].run_id = STR("00000000-0000-7000-8000-000000000001");
        r->attempts.items[i].number = i + 1;
        r->attempts.items[i].outcome = i ? STR("ok") : STR("failed");
    }
    return part;
}

static struct entry *make_entry(struct group *group, struct part *part)
{
    struct entry *entry = entry_new(ENTRY_PART, 0, 7);
    entry->part = part;
    if (group && group_take(group, part)) {
        group_ref(group);
        entry->group = group;
    }
    return entry;
}

static void finish(struct group *group, struct entry *entry)
{
    entry->finishes = true;
    group->is_final = true;
    group->final = (struct final){.status = STR("done"), .winner = 0, .agreement = NAN};
}

static void assert_column(const struct str *params, enum column column, const char *expected)
{
    if (!str_is(params[column], expected))
        fail_msg("column %d is %.*s, not %s", column, STR_ARG(params[column]), expected);
}

static void write_all(struct rows *rows, struct entry **entries, size_t count,
                      struct str params[COLUMN_COUNT])
{
    rows_init(rows, &aggregator);
    rows_begin(rows);
    for (size_t i = 0; i < count; i++)
        rows_mark(entries[i]);
    for (size_t i = 0; i < count; i++)
        rows_add(rows, entries[i]);
    assert_true(rows_params(rows, params));
}

static void one_model_becomes_one_row_with_its_messages_and_runs(void **state)
{
    (void)state;
    struct rows rows;
    struct str params[COLUMN_COUNT];
    struct group *group = group_new(STR("t"), STR("r1"), 3, 1);
    struct entry *entry = make_entry(group, make_part("r1", 0, 1, "s"));
    struct value *metadata = value_map_new(&entry->part->arena, 1);
    value_map_add(metadata, STR("a"), value_int(1));
    entry->part->result.request.metadata = metadata;
    entry->opens = true;
    finish(group, entry);
    write_all(&rows, &entry, 1, params);
    assert_column(params, COLUMN_q_id, "{\"r1\"}");
    assert_column(params, COLUMN_q_status, "{\"done\"}");
    assert_column(params, COLUMN_q_partition, "{3}");
    assert_column(params, COLUMN_q_text, "{\"a {b}, \\\\c\"}");
    assert_column(params, COLUMN_q_agreement, "{NULL}");
    assert_column(params, COLUMN_q_policy, "{NULL}");
    assert_column(params, COLUMN_q_cost, "{NULL}");
    assert_column(params, COLUMN_q_reply_topic, "{\"quern.replies\"}");
    assert_column(params, COLUMN_m_ord, "{1,1}");
    assert_column(params, COLUMN_m_role, "{\"user\",\"assistant\"}");
    assert_column(params, COLUMN_m_content, "{\"say \\\"hi\\\"\",\"a {b}, \\\\c\"}");
    assert_column(params, COLUMN_m_metadata, "{NULL,NULL}");
    assert_column(params, COLUMN_p_ord, "{}");
    assert_column(params, COLUMN_r_ord, "{1,1}");
    assert_column(params, COLUMN_r_outcome, "{\"failed\",\"ok\"}");
    assert_column(params, COLUMN_r_response, "{NULL,\"a {b}, \\\\c\"}");
    assert_column(params, COLUMN_r_metadata, "{\"{\\\"a\\\":1}\",\"{\\\"a\\\":1}\"}");
    assert_column(params, COLUMN_q_metadata, "{\"{\\\"a\\\":1}\"}");
    rows_done(&rows);
    entry_free(entry);
    group_unref(group);
}

static void opening_and_finishing_in_one_transaction_is_one_row(void **state)
{
    (void)state;
    struct rows rows;
    struct str params[COLUMN_COUNT];
    struct group *group = group_new(STR("t"), STR("r2"), 0, 2);
    struct entry *entries[2] = {make_entry(group, make_part("r2", 0, 2, NULL)),
                                make_entry(group, make_part("r2", 1, 2, NULL))};
    entries[0]->opens = true;
    finish(group, entries[1]);
    write_all(&rows, entries, 2, params);
    assert_column(params, COLUMN_q_id, "{\"r2\"}");
    assert_column(params, COLUMN_q_status, "{\"done\"}");
    assert_column(params, COLUMN_m_ord, "{}"); /* no session, no conversation */
    assert_column(params, COLUMN_p_slot, "{0,1}");
    assert_column(params, COLUMN_p_result, "{\"\\\\x01fe\",\"\\\\x01fe\"}");
    assert_ptr_equal(group->row, entries[1]);
    rows_done(&rows);
    entry_free(entries[0]);
    entry_free(entries[1]);
    group_unref(group);
}

static void a_row_stays_open_while_its_last_part_waits_for_the_next_transaction(void **state)
{
    (void)state;
    struct rows rows;
    struct str params[COLUMN_COUNT];
    struct group *group = group_new(STR("t"), STR("r3"), 0, 2);
    struct entry *entries[2] = {make_entry(group, make_part("r3", 0, 2, NULL)),
                                make_entry(group, make_part("r3", 1, 2, NULL))};
    entries[0]->opens = true;
    finish(group, entries[1]);
    write_all(&rows, entries, 1, params);
    assert_column(params, COLUMN_q_status, "{\"open\"}");
    assert_column(params, COLUMN_q_reply_topic, "{NULL}");
    assert_column(params, COLUMN_p_slot, "{0}");
    rows_done(&rows);
    entry_free(entries[0]);
    entry_free(entries[1]);
    group_unref(group);
}

static void a_late_part_adds_only_its_calls(void **state)
{
    (void)state;
    struct rows rows;
    struct str params[COLUMN_COUNT];
    struct entry *entry = make_entry(NULL, make_part("r4", 0, 1, "s"));
    entry->late = true;
    entry->part->result.attempts.items[0].run_id = STR("no uuid");
    entry->part->result.attempts.items[0].usage.input = INT64_MAX;
    write_all(&rows, &entry, 1, params);
    assert_column(params, COLUMN_q_id, "{}");
    assert_column(params, COLUMN_r_ord, "{0,0}");
    assert_column(params, COLUMN_r_outcome, "{\"failed\",\"late\"}");
    assert_column(params, COLUMN_r_input, "{1000000000000000,0}");
    assert_true(str_starts(params[COLUMN_r_id], STR("{\"")));
    assert_int_equal(str_index(str_slice(params[COLUMN_r_id], 2, 200), '"'), 32);
    rows_done(&rows);
    entry_free(entry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_model_becomes_one_row_with_its_messages_and_runs),
        cmocka_unit_test(opening_and_finishing_in_one_transaction_is_one_row),
        cmocka_unit_test(a_row_stays_open_while_its_last_part_waits_for_the_next_transaction),
        cmocka_unit_test(a_late_part_adds_only_its_calls),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
