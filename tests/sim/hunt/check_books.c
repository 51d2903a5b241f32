/*
 * check_books.c -- the store against itself, the ledger and the replies: money (I6), and that what
 * belongs together is there together (I13).
 */
#include "tests/sim/hunt/check.h"

#include <string.h>

enum { CALL_TOKENS = 15 }; /* of every good answer of a simulated provider */

/* ---- I6: runs and calls ---- */

static size_t good_calls(const struct play *play, struct str call_id)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        count += call->delivered && !str_empty(call->answer) && str_eq(call->id, call_id);
    }
    return count;
}

/* One that lost, and was whole in the moment in which it lost, is paid as well. */
static bool was_paid(const struct sim_run_row *run)
{
    return str_is(run->outcome, "ok") || str_is(run->outcome, "late") ||
           (str_is(run->outcome, "hedged") && run->input_tokens + run->output_tokens > 0);
}

static size_t paid_runs(const struct play *play, struct str call_id)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_run_rows(play->sim); i++)
        count += was_paid(sim_run_row(play->sim, i)) &&
                 str_eq(sim_run_row(play->sim, i)->call_id, call_id);
    return count;
}

/* A row per good answer; one fewer only for who died, or was cut off, before it could say so. */
static void check_runs(struct play *play)
{
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        if (!call->delivered || str_empty(call->answer))
            continue;
        size_t calls = good_calls(play, call->id), runs = paid_runs(play, call->id);
        if (runs > calls || (runs < calls && !play->absence_count))
            play_find(play, "I6 " STR_FMT ": %zu rows for %zu answers", STR_ARG(call->id), runs,
                      calls);
    }
    for (size_t i = 0; i < sim_run_rows(play->sim); i++) {
        const struct sim_run_row *run = sim_run_row(play->sim, i);
        if (was_paid(run) && good_calls(play, run->call_id) == 0)
            play_find(play, "I6 " STR_FMT ": a row for an answer that nobody gave",
                      STR_ARG(run->call_id));
        if (run->input_tokens + run->output_tokens != (was_paid(run) ? CALL_TOKENS : 0))
            play_find(play, "I6 " STR_FMT ": " STR_FMT ", and %lld tokens", STR_ARG(run->call_id),
                      STR_ARG(run->outcome), (long long)(run->input_tokens + run->output_tokens));
    }
}

/* usage_daily is the sum of the runs and of the finals. */
static void check_sums(struct play *play)
{
    struct sim *sim = play->sim;
    int64_t requests = 0, calls = 0, tokens = 0, ambiguous = 0;
    for (size_t i = 0; i < sim_usage_rows(sim); i++) {
        requests += sim_usage_row(sim, i)->requests;
        calls += sim_usage_row(sim, i)->calls;
        tokens += sim_usage_row(sim, i)->input_tokens + sim_usage_row(sim, i)->output_tokens;
        ambiguous += sim_usage_row(sim, i)->ambiguous_calls;
    }
    for (size_t i = 0; i < sim_run_rows(sim); i++) {
        calls--;
        ambiguous -= str_is(sim_run_row(sim, i)->outcome, "ambiguous");
        tokens -= sim_run_row(sim, i)->input_tokens + sim_run_row(sim, i)->output_tokens;
    }
    if (requests != (int64_t)sim_final_count(sim) || calls || tokens || ambiguous)
        play_find(play,
                  "I6: daily usage has %lld requests of %zu, %lld calls and %lld tokens too many",
                  (long long)requests, sim_final_count(sim), (long long)calls, (long long)tokens);
}

/* ---- I13 ---- */

static void check_conversations(struct play *play)
{
    struct sim *sim = play->sim;
    for (size_t i = 0; i < sim_conversation_rows(sim); i++) {
        const struct sim_conversation_row *c = sim_conversation_row(sim, i);
        int64_t finals = 0, done = 0, messages = 0;
        for (size_t k = 0; k < sim_request_rows(sim); k++) {
            struct sim_request_row row = sim_request_row(sim, k);
            finals += str_eq(row.session, c->session) && !str_is(row.status, "open");
            done += str_eq(row.session, c->session) && str_is(row.status, "done");
        }
        for (size_t k = 0; k < sim_message_rows(sim); k++)
            messages += str_eq(sim_message_row(sim, k)->session, c->session);
        if (c->turn != finals)
            play_find(play, "I13 " STR_FMT ": %lld turns, %lld finals", STR_ARG(c->session),
                      (long long)c->turn, (long long)finals);
        if (messages < 2 * done)
            play_find(play, "I13 " STR_FMT ": %lld messages of %lld answered turns",
                      STR_ARG(c->session), (long long)messages, (long long)done);
    }
}

/* Who publishes once more what is answered is sent the answer once more. */
static size_t times_asked(const struct play *play, const struct sim_request_row *row)
{
    size_t count = 1;
    for (size_t i = 0; i < play->published_count; i++) {
        const struct published *p = &play->published[i];
        count += p->ask->sort == SORT_AGAIN && str_is(row->id, request_id(p->ask->number)) &&
                 p->at_ms > row->finished_ms + CHECK_LOOKED_MS;
    }
    return count;
}

/* Every final result has its reply, and all of its replies say what is stored. */
static void check_replies(struct play *play)
{
    for (size_t i = 0; i < sim_request_rows(play->sim); i++) {
        const struct sim_request_row row = sim_request_row(play->sim, i);
        size_t count = 0;
        for (size_t k = 0; k < sim_replies(play->sim); k++) {
            const struct reply *reply = sim_reply_at(play->sim, k);
            if (!str_eq(reply->request_id, row.id) || str_is(reply->error.code, "id_conflict"))
                continue;
            count++;
            if (!str_eq(reply->status, row.status) ||
                (str_is(row.status, "done") && !str_eq(sim_reply_text(play->sim, reply), row.text)))
                play_find(play, "I14 " STR_FMT ": a reply says what is not stored",
                          STR_ARG(row.id));
        }
        if (!count)
            play_find(play, "I13 " STR_FMT ": no reply", STR_ARG(row.id));
        else if (str_is(row.status, "done") && count < times_asked(play, &row) &&
                 !play->absence_count && !check_nobody_knew(play->schedule))
            play_find(play, "I13 " STR_FMT ": %zu replies, asked %zu times", STR_ARG(row.id), count,
                      times_asked(play, &row));
    }
}

void check_books(struct play *play)
{
    check_runs(play);
    check_sums(play);
    check_conversations(play);
    check_replies(play);
    if (sim_outbox_rows(play->sim))
        play_find(play, "I13: %zu rows are left in the outbox", sim_outbox_rows(play->sim));
}
