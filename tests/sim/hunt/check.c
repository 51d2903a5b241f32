/*
 * check.c -- finals, commits, dead letters, replies.
 */
#include "tests/sim/hunt/check.h"

#include <stdio.h>
#include <string.h>

#include "tests/sim/hunt/hedges.h"
#include "tests/sim/hunt/put_off.h"
#include "tests/sim/hunt/rooms.h"
#include "tests/sim/hunt/routes.h"
#include "tests/sim/hunt/unfit.h"

const struct sim_final *check_final(const struct sim *sim, const char *id)
{
    const struct sim_final *final = sim_final(sim, id);
    for (int row = TENANT_NONE + 1; row < TENANTS && !final; row++)
        final = sim_final_of(sim, tenant_of(row), id);
    return final;
}

/* ---- I3: commits ---- */

static const struct published *published_at(const struct play *play, int32_t partition,
                                            int64_t offset)
{
    for (size_t i = 0; i < play->published_count; i++) {
        const struct published *p = &play->published[i];
        if (p->place.partition == partition && p->place.offset == offset)
            return p;
    }
    return NULL;
}

static bool is_buried(struct play *play, const struct published *p)
{
    for (size_t i = 0; i < sim_dead_count(play->sim); i++) {
        struct sim_dead dead = sim_dead(play->sim, i);
        if (dead.partition == p->place.partition && dead.offset == p->place.offset &&
            str_is(dead.topic, p->place.topic))
            return true;
    }
    return false;
}

static bool all_parts(struct play *play, const char *id)
{
    const struct result *part = sim_part(play->sim, id, 0);
    for (int slot = 1; part && slot < part->slots; slot++)
        if (!sim_part(play->sim, id, slot))
            return false;
    return part != NULL;
}

/* Who does not know the id's first request, since Redis forgot it, answers the second one too; one
 * of them is then refused where the results are gathered. */
static bool came_with_its_parts(struct play *play, const struct published *p)
{
    for (size_t i = 0; i < sim_result_count(play->sim); i++) {
        const struct ticket *ticket = &sim_result(play->sim, i)->request;
        if (ticket->partition == p->place.partition && ticket->offset == p->place.offset &&
            str_is(ticket->topic, p->place.topic))
            return true;
    }
    return false;
}

static bool is_finished(struct play *play, const struct published *p)
{
    const char *id = request_id(p->ask->number);
    if (p->ask->sort == SORT_GARBAGE)
        return is_buried(play, p);
    if (p->ask->sort == SORT_OTHER_BODY)
        return is_buried(play, p) || came_with_its_parts(play, p);
    if (check_final(play->sim, id))
        return true;
    return p->body->session < 0 && all_parts(play, id);
}

void check_commits(struct play *play)
{
    size_t commits = sim_commits(play->sim);
    if (commits == play->commits)
        return;
    play->commits = commits;
    for (int32_t partition = 0; partition < play->schedule->partitions; partition++)
        for (int64_t *at = &play->checked[partition]; *at < sim_committed(play->sim, partition);
             ++*at) {
            const struct published *p = published_at(play, partition, *at);
            if (!p)
                play_find(play, "I3: the commit %lld of partition %d is beyond its end",
                          (long long)*at + 1, partition);
            else if (!is_finished(play, p))
                play_find(play, "I3 r%d: committed at %lld ms and not finished", p->ask->number,
                          (long long)sim_now_ms(play->sim));
        }
}

/* ---- I1, I2, I14: finals ---- */

bool check_makes_request(const struct published *p)
{
    return p->ask == p->body && p->ask->sort != SORT_GARBAGE;
}

size_t check_times_published(const struct play *play, int number)
{
    size_t count = 0;
    for (size_t i = 0; i < play->published_count; i++)
        count += play->published[i].ask->number == number;
    return count;
}

/* The first part of a slot counts. An id that is asked once more while Redis is away may be
 * answered behind a failure that nobody could keep. */
static bool good_answer_came(const struct play *play, const struct published *p)
{
    if (check_times_published(play, p->ask->number) > 1 && !check_redis_was_well(play->schedule))
        return false;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        if (call->delivered && !str_empty(call->answer) && check_call_of(call, p->ask->number))
            return true;
    }
    return false;
}

/* Of a request to several models, though its merge policy is to wait for all of them. */
static bool lacks_parts(const struct play *play, int number)
{
    for (size_t i = 0; i < sim_request_rows(play->sim); i++) {
        struct sim_request_row row = sim_request_row(play->sim, i);
        if (str_is(row.id, request_id(number)))
            return row.slots > 1 && row.parts != (1u << row.slots) - 1;
    }
    return false;
}

bool check_providers_were_well(const struct schedule *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].kind == ITEM_REPLY && !s->items[i].off &&
            (s->items[i].reply.reply.status != 200 || s->items[i].reply.reply.trouble))
            return false;
    return !s->route.status && (!s->hedge.on || s->hedge.calm) &&
           !schedule_has(s, EVENT_PROVIDER_DOWN) && !schedule_has_fault(s, SIM_HTTP, SIM_WELL);
}

static bool was_called(const struct play *play, int number)
{
    for (size_t i = 0; i < sim_call_count(play->sim); i++)
        if (check_call_of(sim_call(play->sim, i), number))
            return true;
    return false;
}

bool check_was_cancelled(const struct play *play, int number)
{
    for (size_t i = 0; i < play->cancel_count; i++)
        if (play->cancels[i].number == number)
            return true;
    return false;
}

/* Half a second is enough for the message, and for whoever has just begun to listen. A message that
 * Redis loses is not sent again: who has the request in hand already does not look at the key. */
static void check_cancels(struct play *play)
{
    if (!check_redis_was_well(play->schedule) || schedule_has(play->schedule, EVENT_REDIS_DEAF) ||
        play->absence_count)
        return;
    for (size_t i = 0; i < play->cancel_count; i++)
        for (size_t k = 0; k < sim_call_count(play->sim); k++) {
            const struct sim_call *call = sim_call(play->sim, k);
            if (check_call_of(call, play->cancels[i].number) &&
                call->at_ms > play->cancels[i].at_ms + 500)
                play_find(play, "I8 r%d: asked %lld ms after it was cancelled",
                          play->cancels[i].number,
                          (long long)(call->at_ms - play->cancels[i].at_ms));
        }
}

static void check_status(struct play *play, const struct published *p,
                         const struct sim_final *final)
{
    int number = p->ask->number;
    bool done = str_is(final->status, "done");
    if ((p->ask->sort == SORT_NO_MODEL || p->ask->sort == SORT_UNFIT) &&
        !str_is(final->status, "failed"))
        play_find(play, "I14 r%d: a request that is refused is " STR_FMT, number,
                  STR_ARG(final->status));
    if (p->ask->sort == SORT_LATE && !str_is(final->status, "expired"))
        play_find(play, "I14 r%d: a late request is " STR_FMT, number, STR_ARG(final->status));
    if (p->ask->sort == SORT_LATE && was_called(play, number))
        play_find(play, "I5 r%d: was too late when it came, and was asked", number);
    if (p->ask->sort == SORT_FIT && !p->ask->first && done && lacks_parts(play, number))
        play_find(play, "I14 r%d: done before all of its models", number);
    if (check_was_cancelled(play, number))
        return;
    if (str_is(final->status, "cancelled"))
        play_find(play, "I14 r%d: is cancelled, and nobody did that", number);
    if (p->ask->sort == SORT_FIT && !done && good_answer_came(play, p) && !play->absence_count &&
        !check_has_budget(play->schedule))
        play_find(play, "I14 r%d: is " STR_FMT " though an answer came", number,
                  STR_ARG(final->status));
    if (p->ask->sort == SORT_FIT && !done && check_times_published(play, number) == 1 &&
        check_providers_were_well(play->schedule) && !check_has_budget(play->schedule))
        play_find(play, "I14 r%d: is " STR_FMT " though its providers were well", number,
                  STR_ARG(final->status));
}

static void check_finals(struct play *play)
{
    size_t requests = 0;
    for (size_t i = 0; i < play->published_count; i++) {
        const struct published *p = &play->published[i];
        if (!check_makes_request(p))
            continue;
        requests++;
        const struct sim_final *final = check_final(play->sim, request_id(p->ask->number));
        if (final)
            check_status(play, p, final);
        else
            play_find(play, "I1 r%d: no final result", p->ask->number);
    }
    if (sim_final_count(play->sim) != requests)
        play_find(play, "I2: %zu finals of %zu requests", sim_final_count(play->sim), requests);
}

/* What cannot be answered is kept with its bytes. */
static void check_dead(struct play *play)
{
    for (size_t i = 0; i < play->published_count; i++) {
        const struct published *p = &play->published[i];
        bool refused = p->ask->sort == SORT_GARBAGE || p->ask->sort == SORT_OTHER_BODY ||
                       p->ask->sort == SORT_NO_MODEL || p->ask->sort == SORT_LATE ||
                       p->ask->sort == SORT_UNFIT;
        bool told = p->ask->sort == SORT_OTHER_BODY && came_with_its_parts(play, p) &&
                    sim_conflict_of(play->sim, request_id(p->ask->number));
        if (refused && !told && !is_buried(play, p))
            play_find(play, "I14 r%d: refused, and not among the dead letters", p->ask->number);
        if (p->ask->sort == SORT_OTHER_BODY && !told && p->body->sort == SORT_FIT &&
            !sim_conflict_of(play->sim, request_id(p->ask->number)))
            play_find(play, "I14 r%d: a conflict, and nobody was told", p->ask->number);
    }
}

void check_end(struct play *play)
{
    check_commits(play);
    if (!play->settled)
        play_find(play, "I1: an hour after all was mended the fleet has not finished");
    check_finals(play);
    check_dead(play);
    check_turns(play);
    check_repeats(play);
    check_deadlines(play);
    check_limit(play);
    check_budget(play);
    check_shares(play);
    check_routes(play);
    check_hedges(play);
    check_put_off(play);
    check_rooms(play);
    check_unfit(play);
    check_cancels(play);
    check_books(play);
    check_ledger(play);
    if (sim_commit_went_back(play->sim))
        play_find(play, "I3: a commit went back");
}
