/*
 * check_calls.c -- the ledger of the providers against what was published and stored.
 */
#include "tests/sim/hunt/check.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/hunt/hedges.h"
#include "tests/sim/hunt/routes.h"

/* ATTEMPTS_MAX: the default of a model's attempts. */
enum { KEPT_MS = 100, TURNS_MAX = ITEMS_MAX, ATTEMPTS_MAX = 4 };
/* ALIVE_MS: of a worker's heartbeat. HASTY_MS: the deadline that play.c gives. FINAL_MS: with the
 * aggregator's grace and a retry. */
enum { ALIVE_MS = 6000, HASTY_MS = 1500, LATE_MS = 50, FINAL_MS = 5000 };

/* "default/r7/1/.." */
bool check_call_name(struct str id, int *ret_number, int *ret_slot)
{
    struct str rest = id, tenant, name, slot;
    int64_t number;
    if (!str_split(&rest, '/', &tenant) || !str_split(&rest, '/', &name) ||
        !str_split(&rest, '/', &slot) || name.len < 2 || name.data[0] != 'r' ||
        !str_to_i64(str_slice(name, 1, name.len), 0, ITEMS_MAX, &number))
        return false;
    *ret_number = (int)number;
    return str_to_i64(slot, 0, 15, &number) && (*ret_slot = (int)number, true);
}

bool check_call_of(const struct sim_call *call, int number)
{
    int other, slot;
    return check_call_name(call->id, &other, &slot) && other == number;
}

bool check_same_slot(const struct sim_call *a, const struct sim_call *b)
{
    int number, slot, other, other_slot;
    return check_call_name(a->id, &number, &slot) && check_call_name(b->id, &other, &other_slot) &&
           other == number && other_slot == slot;
}

/* ---- I4, I10: turns ---- */

struct turns {
    const struct published *items[TURNS_MAX];
    size_t count;
};

/* Those of a session in the order of their records; a session's key has one partition. */
static void turns_of(const struct play *play, int session, struct turns *ret)
{
    ret->count = 0;
    for (size_t i = 0; i < play->published_count; i++) {
        const struct published *p = &play->published[i];
        if (check_makes_request(p) && p->ask->session == session)
            ret->items[ret->count++] = p;
    }
}

static bool is_message(const struct value *messages, size_t at, const char *role, struct str text)
{
    return messages && at < messages->count &&
           str_is(value_get_str(&messages->items[at], "role"), role) &&
           str_eq(value_get_str(&messages->items[at], "content"), text);
}

/* The call was given all answered turns before it, and nothing else. */
static bool history_is_true(struct play *play, const struct turns *turns, size_t turn,
                            const struct sim_call *call)
{
    char said[32];
    size_t at = 0;
    for (size_t i = 0; i <= turn; i++) {
        const struct sim_final *final =
            check_final(play->sim, request_id(turns->items[i]->ask->number));
        if (i < turn && (!final || !str_is(final->status, "done")))
            continue;
        snprintf(said, sizeof(said), "say %d", turns->items[i]->ask->number);
        if (!is_message(call->messages, at++, "user", str_of(said)))
            return false;
        if (i < turn && !is_message(call->messages, at++, "assistant", final->text))
            return false;
    }
    return call->messages->count == at;
}

static bool was_away(const struct play *play, const char *name, int64_t from_ms, int64_t to_ms,
                     bool lost_too)
{
    for (size_t i = 0; i < play->absence_count; i++) {
        const struct absence *a = &play->absences[i];
        if (a->own_will || (a->lost && !lost_too)) /* SIGTERM is no excuse */
            continue;
        if (strcmp(a->name, name) == 0 && a->from_ms <= to_ms && a->to_ms >= from_ms)
            return true;
    }
    return false;
}

static bool was_absent(const struct play *play, const char *name, int64_t from_ms, int64_t to_ms)
{
    return was_away(play, name, from_ms, to_ms, true);
}

/* Who stood still, and cannot know that others went on, for Redis has lost the claims. */
static bool cannot_know(const struct play *play, const struct sim_call *call)
{
    return !check_redis_was_well(play->schedule) &&
           was_absent(play, call->process, call->at_ms, call->at_ms);
}

/* A second record of an id is asked, too, when nobody knew of the first; its answer is dropped. */
static bool may_be_asked_in_vain(const struct play *play, int number)
{
    for (size_t i = 0; i < play->published_count; i++) {
        const struct ask *ask = play->published[i].ask;
        if (ask->number == number && ask->sort == SORT_OTHER_BODY)
            return !check_redis_was_well(play->schedule);
        if (ask->number == number && ask->sort == SORT_AGAIN)
            return check_nobody_knew(play->schedule);
    }
    return false;
}

static void check_call_of_turn(struct play *play, const struct turns *turns, size_t turn,
                               const struct sim_call *call)
{
    int number = turns->items[turn]->ask->number;
    if (cannot_know(play, call))
        return;
    const struct sim_final *before =
        turn ? check_final(play->sim, request_id(turns->items[turn - 1]->ask->number)) : NULL;
    if (before && call->at_ms < before->stored_ms)
        play_find(play, "I4 r%d: called at %lld ms, before r%d was final", number,
                  (long long)call->at_ms, turns->items[turn - 1]->ask->number);
    if (!history_is_true(play, turns, turn, call) && !may_be_asked_in_vain(play, number))
        play_find(play, "I10 r%d: called at %lld ms with another history", number,
                  (long long)call->at_ms);
}

static void check_session(struct play *play, int session)
{
    struct turns turns;
    turns_of(play, session, &turns);
    for (size_t turn = 0; turn < turns.count; turn++) {
        int asked = turns.items[turn]->ask->number;
        const struct sim_final *final = check_final(play->sim, request_id(asked));
        bool is_true = !final || !str_is(final->status, "done");
        if (final && final->turn != (int64_t)turn + 1)
            play_find(play, "I4 r%d: is turn %lld instead of %zu", asked, (long long) final->turn,
                      turn + 1);
        for (size_t i = 0; i < sim_call_count(play->sim); i++) {
            const struct sim_call *call = sim_call(play->sim, i);
            if (!check_call_of(call, asked))
                continue;
            check_call_of_turn(play, &turns, turn, call);
            is_true |= final && str_eq(call->answer, final->text) &&
                       history_is_true(play, &turns, turn, call);
        }
        if (!is_true)
            play_find(play, "I10 r%d: its answer was given to another history", asked);
    }
}

/* ---- I14: what is stored as an answer is one that a provider gave ---- */

static bool was_answered(struct play *play, int asked, struct str text)
{
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        if (check_call_of(call, asked) && call->delivered && str_eq(call->answer, text))
            return true;
    }
    return false;
}

static void check_answer(struct play *play, const struct published *p)
{
    const struct sim_final *final = check_final(play->sim, request_id(p->ask->number));
    if (final && str_is(final->status, "done") && !was_answered(play, p->ask->number, final->text))
        play_find(play, "I14 r%d: nobody gave the answer '" STR_FMT "'", p->ask->number,
                  STR_ARG(final->text));
}

void check_turns(struct play *play)
{
    for (int session = 0; session < play->schedule->sessions; session++)
        check_session(play, session);
    for (size_t i = 0; i < play->published_count; i++)
        if (check_makes_request(&play->published[i]))
            check_answer(play, &play->published[i]);
}

/* ---- I5: paid calls ---- */

bool check_redis_was_well(const struct schedule *s)
{
    return !schedule_has(s, EVENT_REDIS_DOWN) && !schedule_has(s, EVENT_REDIS_FLUSH) &&
           !schedule_has_fault(s, SIM_REDIS, SIM_NEVER) &&
           !schedule_has_fault(s, SIM_REDIS, SIM_NO_ANSWER) &&
           !schedule_has_fault(s, SIM_REDIS, SIM_LATE) &&
           !schedule_has_fault(s, SIM_REDIS, SIM_WRONG);
}

bool check_nobody_knew(const struct schedule *s)
{
    return !check_redis_was_well(s) &&
           (schedule_has(s, EVENT_POSTGRES_DOWN) || schedule_has(s, EVENT_POSTGRES_SLOW) ||
            schedule_has_fault(s, SIM_POSTGRES, SIM_WELL));
}

/* Whoever gets a partition counts its attempts anew; one that joins late makes others give up
 * theirs. */
static bool partitions_may_move(const struct play *play)
{
    return play->absence_count || schedule_has(play->schedule, EVENT_REBALANCE) ||
           schedule_has(play->schedule, EVENT_KAFKA_DOWN);
}

int check_came_twice(const struct schedule *s)
{
    int count = 0;
    for (size_t i = 0; i < s->count; i++)
        count += s->items[i].kind == ITEM_FAULT && !s->items[i].off &&
                 s->items[i].fault.way == SIM_TWICE;
    return count;
}

/* Retries: of what is worth it, and not without end. Who publishes once more asks anew for what
 * failed. Calls that only tried whether the provider was back come on top. */
static void check_attempts(struct play *play, const bool *tries, const struct sim_call *first,
                           int number, int slot)
{
    int most =
        routes_attempts_max(play, number, ATTEMPTS_MAX) + hedges_attempts_more(play->schedule);
    int tried = check_tries_of(play, tries, first);
    if (check_attempt_number(first) > most + tried && !check_tries_unseen(play->schedule))
        play_find(play, "I9 " STR_FMT ": one attempt too many", STR_ARG(first->id));
    if (check_times_published(play, number) > 1)
        return;
    int attempts = 1;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        if (call == first || strcmp(call->process, first->process) != 0 ||
            !check_same_slot(call, first))
            continue;
        if (call->at_ms < first->at_ms)
            return; /* counted from the earliest on */
        attempts++;
        if (first->status == 400 && first->delivered && call->at_ms >= first->end_ms &&
            !partitions_may_move(play))
            play_find(play, "I9 r%d: asked again after an answer that will not change", number);
    }
    if (attempts > most + tried + check_came_twice(play->schedule) && !partitions_may_move(play) &&
        !check_tries_unseen(play->schedule))
        play_find(play, "I9 r%d: slot %d was asked %d times", number, slot, attempts);
}

/* Not one whose id another body has, nor one that was published once more before it was final (what
 * failed is then asked anew), or while Redis was away. */
static bool knows_its_final(const struct play *play, int number, int64_t final_ms)
{
    for (size_t i = 0; i < play->published_count; i++) {
        const struct published *p = &play->published[i];
        if (p->ask->number != number)
            continue;
        if (p->body->first || p->ask->sort == SORT_OTHER_BODY ||
            (p->ask->sort == SORT_AGAIN &&
             (p->at_ms <= final_ms + CHECK_LOOKED_MS || !check_redis_was_well(play->schedule))))
            return false;
    }
    return true;
}

/* It got the slot's claim before the final was there, and looked no more: whoever answered
 * meanwhile had no claim, for it asked for one while Redis was away. The wait for a rate limit or a
 * permit lies between the claim and the call, and only behind a long one the claim is asked for
 * again. */
static bool was_claimed_before(const struct play *play, const struct sim_call *call,
                               int64_t final_ms)
{
    struct str rest = call->id, tenant, id, slot;
    char key[120];
    if (!str_split(&rest, '/', &tenant) || !str_split(&rest, '/', &id) ||
        !str_split(&rest, '/', &slot))
        return false;
    snprintf(key, sizeof(key), "{" STR_FMT ":" STR_FMT "}:" STR_FMT, STR_ARG(tenant), STR_ARG(id),
             STR_ARG(slot));
    int64_t claimed_ms = sim_claimed_ms(play->sim, call->process, key);
    return claimed_ms >= 0 && claimed_ms <= final_ms + CHECK_LOOKED_MS;
}

/* A slot that was taken up before somebody else answered it, which no claim could prevent. */
static bool goes_on_without_claim(const struct play *play, const struct sim_call *call,
                                  int64_t final_ms)
{
    if (check_redis_was_well(play->schedule))
        return false;
    if (was_claimed_before(play, call, final_ms))
        return true;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *earlier = sim_call(play->sim, i);
        if (strcmp(earlier->process, call->process) == 0 && earlier->at_ms <= final_ms &&
            check_same_slot(earlier, call))
            return true;
    }
    return false;
}

/* Who stood still with it in hand for less than a heartbeat lasts goes on as if nothing had been.
 */
static int64_t decided_ms(const struct sim_call *call)
{
    return call->at_ms - call->begun_ms < ALIVE_MS ? call->begun_ms : call->at_ms;
}

/* What is final is not asked any more; with the policy "first" other models may still be at it. */
static void check_no_call_after_final(struct play *play)
{
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        int number, slot;
        if (!check_call_name(call->id, &number, &slot))
            continue;
        const struct sim_final *final = check_final(play->sim, request_id(number));
        if (final && !cannot_know(play, call) &&
            decided_ms(call) > final->stored_ms + CHECK_LOOKED_MS &&
            knows_its_final(play, number, final->stored_ms) &&
            !goes_on_without_claim(play, call, final->stored_ms))
            play_find(play, "I5 r%d: asked at %lld ms, final at %lld ms", number,
                      (long long)call->at_ms, (long long) final->stored_ms);
    }
}

/* A call is made again only when who made the first one could not keep its answer. */
static void check_pair(struct play *play, const struct sim_call *first,
                       const struct sim_call *again, int number)
{
    bool kept = first->delivered && !str_empty(first->answer);
    int64_t end_ms = first->end_ms < 0 ? INT64_MAX : first->end_ms;
    if ((again->at_ms >= end_ms && !kept) || hedges_are_pair(play, first, again))
        return;
    if (was_away(play, first->process, first->at_ms,
                 again->at_ms >= end_ms ? end_ms + KEPT_MS : again->at_ms, false))
        return;
    if (again->at_ms >= end_ms)
        play_find(play, "I5 r%d: asked again at %lld ms, answered at %lld ms", number,
                  (long long)again->at_ms, (long long)end_ms);
    else if (!schedule_has_fault(play->schedule, SIM_HTTP, SIM_TWICE))
        play_find(play, "I5 r%d: asked at %lld ms while the call of %lld ms was under way", number,
                  (long long)again->at_ms, (long long)first->at_ms);
}

/* Who says that nothing is left to do must not drop a call that will be paid for. */
static void check_leaving(struct play *play)
{
    for (size_t i = 0; i < play->absence_count; i++) {
        const struct absence *a = &play->absences[i];
        for (size_t k = 0; a->drained && k < sim_call_count(play->sim); k++) {
            const struct sim_call *call = sim_call(play->sim, k);
            if (strcmp(call->process, a->name) == 0 && call->at_ms <= a->from_ms &&
                call->end_ms == a->from_ms && call->status < 0)
                play_find(play, "I5 " STR_FMT ": %s left while the call was under way",
                          STR_ARG(call->id), a->name);
        }
    }
}

/* ---- I8: deadlines ---- */

/* A short deadline that is the request's only one. */
static bool is_hasty(const struct play *play, const struct published *p)
{
    return p->ask->sort == SORT_HASTY && check_times_published(play, p->ask->number) == 1;
}

/* Neither begun nor waited for when nobody wants its answer any more. */
static void check_late_calls(struct play *play, const struct published *p)
{
    int64_t end_ms = p->at_ms + HASTY_MS + LATE_MS;
    bool late = schedule_has_fault(play->schedule, SIM_HTTP, SIM_LATE);
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        if (check_call_of(call, p->ask->number) &&
            (call->at_ms > end_ms || (call->delivered && call->end_ms > end_ms && !late)) &&
            !was_absent(play, call->process, call->at_ms, call->end_ms))
            play_find(play, "I8 r%d: asked from %lld to %lld ms, published at %lld ms",
                      p->ask->number, (long long)call->at_ms, (long long)call->end_ms,
                      (long long)p->at_ms);
    }
}

/* Nothing is in the way of a part on its way to the store. */
static bool results_were_well(const struct schedule *s)
{
    static const enum event_kind kinds[] = {EVENT_KILL_AGGREGATOR,   EVENT_TERM_AGGREGATOR,
                                            EVENT_FREEZE_AGGREGATOR, EVENT_LOSE_AGGREGATOR,
                                            EVENT_REBALANCE,         EVENT_POSTGRES_DOWN,
                                            EVENT_POSTGRES_SLOW,     EVENT_KAFKA_DOWN};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (schedule_has(s, kinds[i]))
            return false;
    return !schedule_has_fault(s, SIM_DOORS, SIM_WELL);
}

/* When one part is there in time, the final is, too, whatever becomes of the others. */
static void check_late_final(struct play *play, const struct published *p)
{
    const struct sim_final *final = check_final(play->sim, request_id(p->ask->number));
    int64_t end_ms = p->at_ms + HASTY_MS + FINAL_MS;
    if (!final || final->stored_ms <= end_ms || !results_were_well(play->schedule))
        return;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *call = sim_call(play->sim, i);
        if (check_call_of(call, p->ask->number) && call->delivered && !str_empty(call->answer) &&
            call->end_ms < p->at_ms + HASTY_MS / 2 &&
            !was_absent(play, call->process, call->at_ms, call->end_ms + KEPT_MS)) {
            play_find(play, "I8 r%d: a part at %lld ms, and final at %lld ms", p->ask->number,
                      (long long)call->end_ms, (long long) final->stored_ms);
            return;
        }
    }
}

void check_deadlines(struct play *play)
{
    for (size_t i = 0; i < play->published_count; i++) {
        if (!is_hasty(play, &play->published[i]))
            continue;
        check_late_calls(play, &play->published[i]);
        check_late_final(play, &play->published[i]);
    }
}

/* ---- all of I5 ---- */

void check_repeats(struct play *play)
{
    check_no_call_after_final(play);
    check_leaving(play);
    bool *tries = check_tries(play);
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        int number, slot;
        if (check_call_name(sim_call(play->sim, i)->id, &number, &slot))
            check_attempts(play, tries, sim_call(play->sim, i), number, slot);
    }
    free(tries);
    if (!check_redis_was_well(play->schedule)) /* then more calls are repeated */
        return;
    for (size_t i = 0; i < sim_call_count(play->sim); i++) {
        const struct sim_call *first = sim_call(play->sim, i);
        int number, slot;
        if (!check_call_name(first->id, &number, &slot))
            continue;
        for (size_t k = i + 1; k < sim_call_count(play->sim); k++)
            if (check_same_slot(first, sim_call(play->sim, k)))
                check_pair(play, first, sim_call(play->sim, k), number);
    }
}
