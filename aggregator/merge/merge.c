/*
 * merge.c -- the table of merge policies and what they have in common.
 *
 * A request with one model is final with its one part, whatever its policy is; how the part ended
 * is how the request ended. Of several models without an answer the request failed
 * (all_models_failed), expired or was cancelled when all of them did; with fewer answers than the
 * quorum it failed (quorum_not_reached).
 */
#include "aggregator/merge/merge.h"

#include <math.h>
#include <stdio.h>

#include "common/base/must.h"

static const struct merge_policy *const policies[] = {&merge_all, &merge_first};

const struct merge_policy *merge_policy_find(struct str name)
{
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
        if (str_is(name, policies[i]->name))
            return policies[i];
    return &merge_all;
}

static bool is_ok(const struct result *part)
{
    return part && str_is(part->status, "ok");
}

static struct merge_count count_parts(const struct merge_question *question)
{
    struct merge_count count = {.first_ok = -1};
    for (unsigned i = 0; i < question->slots; i++) {
        const struct result *part = question->parts[i];
        if (!part)
            continue;
        count.there++;
        count.expired += str_is(part->status, "expired");
        count.cancelled += str_is(part->status, "cancelled");
        if (!is_ok(part))
            continue;
        if (count.first_ok < 0)
            count.first_ok = (int)i;
        count.ok++;
    }
    return count;
}

static bool decide_single(const struct merge_question *question, const struct merge_count *count,
                          struct final *ret)
{
    if (count->there == 0 && !question->deadline)
        return false;
    if (count->ok)
        merge_done(question, 0, ret);
    else
        merge_failed(question, count, ret);
    return true;
}

bool merge_decide(struct group *group, bool deadline_struck, int64_t now_ms)
{
    const struct ticket *ticket = group_ticket(group);
    const struct result *parts[SLOTS_MAX] = {0};
    for (unsigned i = 0; i < group->slots; i++)
        if (group->parts[i])
            parts[i] = &group->parts[i]->result;
    int64_t quorum = ticket->merge.quorum;
    const struct merge_question question = {
        .parts = parts,
        .slots = group->slots,
        .quorum = quorum > (int64_t)group->slots ? group->slots : (unsigned)quorum,
        .deadline = deadline_struck,
        .expired = ticket->deadline_at != INT_ABSENT && now_ms >= ticket->deadline_at,
    };
    const struct merge_count count = count_parts(&question);
    bool final =
        group->slots == 1
            ? decide_single(&question, &count, &group->final)
            : merge_policy_find(ticket->merge.policy)->decide(&question, &count, &group->final);
    group->is_final |= final;
    return final;
}

static double agreement(const struct merge_question *question, int winner)
{
    struct str text = str_trim(question->parts[winner]->text);
    unsigned ok = 0, same = 0;
    for (unsigned i = 0; i < question->slots; i++) {
        if (!is_ok(question->parts[i]))
            continue;
        ok++;
        same += str_eq(str_trim(question->parts[i]->text), text);
    }
    return (double)same / ok;
}

void merge_done(const struct merge_question *question, int winner, struct final *ret)
{
    must(winner >= 0 && question->parts[winner]);
    ret->status = STR("done");
    ret->winner = winner;
    /* Vectors of two models have nothing in common that could be compared. */
    bool comparable = question->slots > 1 && !question->parts[winner]->embeddings.count;
    ret->agreement = comparable ? agreement(question, winner) : NAN;
}

static void fail(struct final *ret, struct str status, enum err_code code, const char *text)
{
    ret->status = status;
    snprintf(ret->error_text, sizeof(ret->error_text), "%s", text);
    ret->error.code = str_of(err_name(code));
    ret->error.message = str_of(ret->error_text);
    ret->error.retry = str_of(err_retry_name(err_retry_of(code)));
}

/* Its own words say more than ours. */
static void fail_as_part(const struct result *part, struct final *ret)
{
    ret->status = str_is(part->status, "expired") || str_is(part->status, "cancelled")
                      ? part->status
                      : STR("failed");
    ret->error = part->error;
    if (str_empty(ret->error.code))
        ret->error.code = str_of(err_name(ERR_INTERNAL));
}

/* No model was asked, and all parts say the same: it is the request that was refused. */
static bool refused_as_one(const struct merge_question *question)
{
    const struct result *first = question->parts[0];
    for (unsigned i = 0; i < question->slots; i++) {
        const struct result *part = question->parts[i];
        if (!part || part->attempts.count || str_empty(part->error.message) ||
            !str_eq(part->error.code, first->error.code) ||
            !str_eq(part->error.message, first->error.message))
            return false;
    }
    return true;
}

void merge_failed(const struct merge_question *question, const struct merge_count *count,
                  struct final *ret)
{
    ret->winner = -1;
    ret->agreement = NAN;
    if ((question->slots == 1 && question->parts[0]) || refused_as_one(question)) {
        fail_as_part(question->parts[0], ret);
        return;
    }
    char text[160];
    snprintf(text, sizeof(text), "%u of %u models answered, %u were needed", count->ok,
             question->slots, question->quorum);
    bool complete = count->there == question->slots;
    if (count->ok)
        fail(ret, STR("failed"), ERR_QUORUM, text);
    else if (complete && count->expired == count->there)
        fail(ret, STR("expired"), ERR_EXPIRED, "the deadline passed before any model answered");
    else if (complete && count->cancelled == count->there)
        fail(ret, STR("cancelled"), ERR_CANCELLED, "the request was cancelled");
    else if (complete)
        fail(ret, STR("failed"), ERR_ALL_FAILED, "none of the models gave an answer");
    else if (question->expired)
        fail(ret, STR("expired"), ERR_EXPIRED, "the deadline passed before any model answered");
    else
        fail(ret, STR("failed"), ERR_QUORUM, text);
}
