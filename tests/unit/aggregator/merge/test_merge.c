/*
 * test_merge.c -- merge policies as a table: which parts, what comes of them.
 *
 * A row's parts are written as one word per slot: '-' not there, 'ok:TEXT', 'failed', 'expired',
 * 'cancelled', 'refused:WHY' (no model was asked).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "aggregator/merge/merge.h"

#define WAITS "waits"

static const struct {
    const char *what, *policy;
    int quorum;
    const char *parts[4];
    bool deadline, expired;
    const char *status; /* WAITS: not final */
    int winner;
    double agreement; /* 0: not said */
    const char *error;
} cases[] = {
    /* clang-format off */
    {"one model answers",                 "all",   1, {"ok:a"},                    0, 0, "done",      0,  0,       ""},
    {"one model fails with its own words", "all",  1, {"failed"},                  0, 0, "failed",    -1, 0,       "provider_down"},
    {"one model expires",                 "first", 1, {"expired"},                 0, 0, "expired",   -1, 0,       "expired"},
    {"one model is cancelled",            "all",   1, {"cancelled"},               0, 0, "cancelled", -1, 0,       "cancelled"},
    {"all waits for the last part",       "all",   1, {"ok:a", "-"},               0, 0, WAITS,       -1, 0,       ""},
    {"all ends with the last part",       "all",   1, {"ok:a", "ok:b"},            0, 0, "done",      0,  0.5,     ""},
    {"equal answers agree",               "all",   1, {"ok:a", "ok: a\n", "ok:a"}, 0, 0, "done",      0,  1,       ""},
    {"a failed part does not count",      "all",   1, {"failed", "ok:a", "ok:a"},  0, 0, "done",      1,  1,       ""},
    {"two of three agree with the first", "all",   1, {"ok:a", "ok:b", "ok:a"},    0, 0, "done",      0,  2.0 / 3, ""},
    {"the quorum is not reached",         "all",   2, {"ok:a", "failed"},          0, 0, "failed",    -1, 0,       "quorum_not_reached"},
    {"a quorum above the slots means all", "all",  9, {"ok:a", "ok:a"},            0, 0, "done",      0,  1,       ""},
    {"nobody answers",                    "all",   1, {"failed", "failed"},        0, 0, "failed",    -1, 0,       "all_models_failed"},
    {"all expired",                       "all",   1, {"expired", "expired"},      0, 0, "expired",   -1, 0,       "expired"},
    {"all cancelled",                     "all",   1, {"cancelled", "cancelled"},  0, 0, "cancelled", -1, 0,       "cancelled"},
    {"the request was refused",           "all",   2, {"refused:a", "refused:a"},  0, 0, "failed",    -1, 0,       "unknown_model"},
    {"each for a reason of its own",      "first", 1, {"refused:a", "refused:b"},  0, 0, "failed",    -1, 0,       "all_models_failed"},
    {"refused, and one failed",           "all",   1, {"refused:a", "failed"},     0, 0, "failed",    -1, 0,       "all_models_failed"},
    {"some expired, some failed",         "all",   1, {"expired", "failed"},       0, 0, "failed",    -1, 0,       "all_models_failed"},
    {"the deadline finds enough",         "all",   1, {"-", "ok:a", "-"},          1, 0, "done",      1,  1,       ""},
    {"the deadline finds too few",        "all",   2, {"ok:a", "-"},               1, 0, "failed",    -1, 0,       "quorum_not_reached"},
    {"the deadline finds nothing",        "all",   1, {"failed", "-"},             1, 0, "failed",    -1, 0,       "quorum_not_reached"},
    {"and the request has expired",       "all",   1, {"failed", "-"},             1, 1, "expired",   -1, 0,       "expired"},
    {"expired, but enough is there",      "all",   1, {"ok:a", "-"},               1, 1, "done",      0,  1,       ""},
    {"first takes the first answer",      "first", 1, {"-", "ok:b", "-"},          0, 0, "done",      1,  1,       ""},
    {"first waits while others may answer", "first", 1, {"failed", "-"},           0, 0, WAITS,       -1, 0,       ""},
    {"first fails when all have failed",  "first", 1, {"failed", "failed"},        0, 0, "failed",    -1, 0,       "all_models_failed"},
    {"first ends with the deadline",      "first", 1, {"failed", "-"},             1, 0, "failed",    -1, 0,       "quorum_not_reached"},
    {"an unknown policy is all",          "vote",  1, {"ok:a", "-"},               0, 0, WAITS,       -1, 0,       ""},
    /* clang-format on */
};

static struct part *make_part(const char *word, int slot, const char *policy, int quorum,
                              bool expired)
{
    struct part *part = part_new(NULL, 65536);
    struct result *result = &part->result;
    contract_init(&contract_result, result);
    result->slot = slot;
    result->request.merge.policy = str_of(policy);
    result->request.merge.quorum = quorum;
    result->request.deadline_at = expired ? 500 : 5000;
    const char *text = strchr(word, ':');
    if (strncmp(word, "refused:", 8) == 0) {
        result->status = STR("failed");
        result->error.code = STR("unknown_model");
        result->error.message = str_of(text + 1);
        return part;
    }
    result->status = text ? STR("ok") : str_of(word);
    if (text) {
        result->text = str_of(text + 1);
        return part;
    }
    bool failed = strcmp(word, "failed") == 0;
    result->error.code = failed ? STR("provider_down") : str_of(word);
    return part;
}

static void each_row_of_the_table_holds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned slots = 0;
        while (slots < 4 && cases[i].parts[slots])
            slots++;
        struct group *group = group_new(STR("t"), STR("r"), 0, slots);
        for (unsigned slot = 0; slot < slots; slot++)
            if (strcmp(cases[i].parts[slot], "-") != 0)
                assert_true(
                    group_take(group, make_part(cases[i].parts[slot], (int)slot, cases[i].policy,
                                                cases[i].quorum, cases[i].expired)));
        bool final = merge_decide(group, cases[i].deadline, 1000);
        bool waits = strcmp(cases[i].status, WAITS) == 0;
        if (final == waits || group->is_final != final)
            fail_msg("%s: final is %d", cases[i].what, final);
        if (final) {
            if (!str_is(group->final.status, cases[i].status) ||
                group->final.winner != cases[i].winner ||
                !str_is(group->final.error.code, cases[i].error))
                fail_msg("%s: %.*s, winner %d, error '%.*s'", cases[i].what,
                         STR_ARG(group->final.status), group->final.winner,
                         STR_ARG(group->final.error.code));
            bool said = !isnan(group->final.agreement);
            if (said != (cases[i].agreement > 0) ||
                (said && fabs(group->final.agreement - cases[i].agreement) > 1e-9))
                fail_msg("%s: agreement %f", cases[i].what, group->final.agreement);
        }
        group_unref(group);
    }
}

static void a_slot_is_taken_once(void **state)
{
    (void)state;
    struct group *group = group_new(STR("t"), STR("r"), 0, 2);
    struct part *twin = make_part("ok:b", 0, "all", 1, false);
    struct part *outside = make_part("ok:b", 2, "all", 1, false);
    assert_true(group_take(group, make_part("ok:a", 0, "all", 1, false)));
    assert_false(group_take(group, twin));
    assert_false(group_take(group, outside));
    assert_int_equal(group->part_count, 1);
    part_free(twin);
    part_free(outside);
    group_unref(group);
}

static void tenant_and_id_stay_when_the_group_leaves_the_map(void **state)
{
    (void)state;
    struct group *group = group_new(STR("acme"), STR("r-1"), 0, 1);
    struct map map;
    map_init(&map);
    map_add(&map, &group->node, group_whole_key(group));
    map_remove(&map, &group->node);
    map_done(&map);
    assert_true(str_is(group_tenant(group), "acme"));
    assert_true(str_is(group_id(group), "r-1"));
    group_unref(group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_of_the_table_holds),
        cmocka_unit_test(a_slot_is_taken_once),
        cmocka_unit_test(tenant_and_id_stay_when_the_group_leaves_the_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
