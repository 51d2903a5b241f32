/*
 * claims.c -- see claims.h; the scripts are schemas/lua/{claim,steal,release,hedge}.lua.
 */
#include "worker/recognise/claims.h"

#include "common/app/metrics.h"
#include "common/base/crash.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"
#include "common/contract/redis_keys.h"
#include "worker/recognise/releases.h"

enum {
    ALIVE_MS = 6000,
    RENEW_MS = 2000,
    RENEWALS_MAX = 8, /* under way at once, far more than ever are */
    /* Behind the deadline no call is made, but a claim still tells who died with one in hand, until
     * a fleet that was away or has a backlog reads the request again. */
    CLAIM_SPARE_MS = 3600000,
    HELD_BELIEVED_MS = 10000
};

struct renewal {
    struct worker *worker;
    int64_t asked_ms;
};

struct claims {
    struct worker *worker;
    struct timer renew;
    struct releases *releases;
    struct renewal renewals[RENEWALS_MAX];
    unsigned next_renewal;
    int64_t asked_ms;
    char incarnation[24];
};

/* Where an answer goes; lives in the job's arena. */
struct claim_question {
    struct slot *slot;
    struct walk *walk;
    struct str *done;
};

static struct str prefix_of(const struct worker *worker)
{
    return worker->conf->shared.redis_key_prefix;
}

/* Counted from the question, not from the answer: it may have been long on its way. */
static void renewed(const struct redis_reply *reply, void *context)
{
    const struct renewal *renewal = context;
    struct worker *worker = renewal->worker;
    if (!reply || reply->kind != REDIS_TEXT)
        return;
    if (renewal->asked_ms >= worker->alive_until_ms) /* we were taken for dead meanwhile */
        worker->alive_since_ms = renewal->asked_ms;
    worker->alive_until_ms = renewal->asked_ms + ALIVE_MS;
    releases_repeat(worker->claims->releases);
}

static void renew(void *context)
{
    struct claims *claims = context;
    struct worker *worker = claims->worker;
    struct renewal *renewal = &claims->renewals[claims->next_renewal++ % RENEWALS_MAX];
    claims->asked_ms = loop_now_ms(worker->loop);
    *renewal = (struct renewal){worker, claims->asked_ms};
    char key[256];
    struct arena arena;
    arena_init(&arena, worker->pool, sizeof(key) * 8);
    const struct str words[] = {
        STR("SET"), redis_key_alive(&arena, prefix_of(worker), str_of(worker->instance)),
        str_of(claims->incarnation), STR("PX"), arena_i64(&arena, ALIVE_MS)};
    redis_ask(worker->redis, words, 5, renewed, renewal);
    arena_done(&arena);
    if (!PLANTED(39))
        timer_set(worker->loop, &claims->renew, loop_now_ms(worker->loop) + RENEW_MS, renew,
                  claims);
}

void claims_renew(struct claims *claims)
{
    if (claims)
        renew(claims);
}

struct claims *claims_new(struct worker *worker)
{
    struct claims *claims = xzalloc(sizeof(*claims));
    claims->worker = worker;
    snprintf(claims->incarnation, sizeof(claims->incarnation), "%lld",
             (long long)worker->incarnation);
    claims->releases = releases_new(worker, str_of(claims->incarnation));
    if (redis_enabled(worker->redis))
        renew(claims);
    return claims;
}

void claims_free(struct claims *claims, bool leave)
{
    if (!claims)
        return;
    struct worker *worker = claims->worker;
    timer_cancel(worker->loop, &claims->renew);
    worker->claims = NULL;
    if (leave && redis_enabled(worker->redis)) {
        if (worker->producer && kafka_producer_up(worker->producer)) /* it has time for the rest */
            releases_let_all(claims->releases);
        struct arena arena;
        arena_init(&arena, worker->pool, 4096);
        const struct str words[] = {
            STR("DEL"), redis_key_alive(&arena, prefix_of(worker), str_of(worker->instance))};
        redis_ask(worker->redis, words, 2, NULL, NULL);
        arena_done(&arena);
    }
    releases_free(claims->releases);
    free(claims);
}

static struct str claim_key(const struct slot *slot)
{
    struct job *job = slot->job;
    return redis_key_claim(&job->arena, prefix_of(job->worker), job->tenant, job->id, slot->number);
}

static int64_t lapses_ms(const struct job *job)
{
    int64_t now_ms = loop_now_ms(job->worker->loop);
    return (job->deadline_ms > now_ms ? job->deadline_ms : now_ms) + CLAIM_SPARE_MS;
}

static struct str lifetime(struct job *job)
{
    return arena_i64(&job->arena, lapses_ms(job) - loop_now_ms(job->worker->loop));
}

/* A question without an answer does not undo what Redis said a moment ago. */
static bool was_held(const struct slot *slot)
{
    return slot->holder.data &&
           loop_now_ms(slot->job->worker->loop) - slot->held_seen_ms < HELD_BELIEVED_MS;
}

/* {"done", text} | {"kept", bytes} | {"held", claim} | {"claimed", lives that ended}, the last two
 * with "cancelled" behind them; anything else is a miss. */
static void claim_told(const struct redis_reply *reply, void *context)
{
    struct claim_question *q = context;
    struct slot *slot = q->slot;
    must_be(slot, SLOT_MAGIC);
    struct arena *arena = &slot->job->arena;
    slot->claim = was_held(slot) ? CLAIM_HELD : CLAIM_NONE;
    if (reply && reply->kind == REDIS_LIST && reply->count >= 1) {
        struct str word = redis_item(reply, 0).text;
        struct str what = reply->count > 1 ? redis_item(reply, 1).text : (struct str){0};
        slot->claim = CLAIM_NONE;
        slot->job->cancelled |= reply->count > 2;
        if (str_is(word, "claimed")) {
            slot->claim = CLAIM_MINE;
            ledger_note_ended(slot, what);
            CRASH_POINT(claim_taken);
        } else if (str_is(word, "held") && !PLANTED(35)) {
            slot->claim = CLAIM_HELD;
            if (!str_eq(slot->holder, what))
                slot->holder = arena_str(arena, what);
            slot->held_seen_ms = loop_now_ms(slot->job->worker->loop);
        } else if (str_is(word, "kept")) {
            slot->claim = CLAIM_KEPT;
            slot->packed = arena_str(arena, what);
        } else if (str_is(word, "done") && !PLANTED(13)) {
            *q->done = arena_str(arena, what);
        }
    }
    walk_answer(q->walk);
}

static struct claim_question *question(struct slot *slot, struct walk *walk, struct str *done)
{
    struct claim_question *q = arena_new(&slot->job->arena, struct claim_question);
    *q = (struct claim_question){slot, walk, done};
    walk_ask(walk);
    return q;
}

/* Who stood still is not alive to others: it must be before it claims anything. */
static void renew_if_late(struct claims *claims)
{
    if (loop_now_ms(claims->worker->loop) - claims->asked_ms > RENEW_MS)
        renew(claims);
}

void claims_take(struct slot *slot, struct walk *walk, struct str *ret_done)
{
    struct job *job = slot->job;
    struct worker *worker = job->worker;
    renew_if_late(worker->claims);
    slot->claimed_ms = loop_now_ms(worker->loop);
    struct str prefix = prefix_of(worker), key = claim_key(slot);
    releases_forget(worker->claims->releases, key);
    const struct str words[] = {
        key,
        redis_key_kept(&job->arena, prefix, job->tenant, job->id, slot->number),
        redis_key_done(&job->arena, prefix, job->tenant, job->id),
        redis_key_cancelled(&job->arena, prefix, job->tenant, job->id),
        str_of(worker->instance),
        str_of(worker->claims->incarnation),
        lifetime(job),
    };
    redis_script_ask(worker->redis, worker->script_claim, 4, words, 7, claim_told,
                     question(slot, walk, ret_done));
}

/* Without an answer nobody knows whose it is. 1: whoever stands in the claim has died with it. */
static void steal_told(const struct redis_reply *reply, void *context)
{
    struct claim_question *q = context;
    bool answered = reply && reply->kind == REDIS_NUMBER;
    q->slot->claim = !answered ? CLAIM_NONE : reply->number > 0 ? CLAIM_MINE : CLAIM_HELD;
    if (answered && reply->number == 1)
        ledger_note_ended(q->slot, q->slot->holder);
    if (q->slot->claim == CLAIM_MINE)
        CRASH_POINT(claim_stolen);
    walk_answer(q->walk);
}

static void steal(struct claim_question *q)
{
    struct slot *slot = q->slot;
    struct worker *worker = slot->job->worker;
    slot->claimed_ms = loop_now_ms(worker->loop);
    const struct str words[] = {claim_key(slot), slot->holder, str_of(worker->instance),
                                str_of(worker->claims->incarnation), lifetime(slot->job)};
    redis_script_ask(worker->redis, worker->script_steal, 1, words, 5, steal_told, q);
}

/* What stands behind the last `c`, or all of it; what stands before goes to `ret_before`. */
static struct str behind_last(struct str text, char c, struct str *ret_before)
{
    size_t at = text.len;
    while (at > 0 && text.data[at - 1] != c)
        at--;
    *ret_before = str_slice(text, 0, at ? at - 1 : 0);
    return str_slice(text, at, text.len);
}

/* The holder is the claim's last line, "INSTANCE INCARNATION"; the instance's alive key says which
 * incarnation lives. */
static void alive_told(const struct redis_reply *reply, void *context)
{
    struct claim_question *q = context;
    struct str before, incarnation = behind_last(q->slot->holder, ' ', &before);
    bool lives =
        !PLANTED(40) && reply && reply->kind == REDIS_TEXT && str_eq(reply->text, incarnation);
    bool away = !reply || reply->kind == REDIS_FAILED;
    if (lives || away) {
        q->slot->claim = away && !was_held(q->slot) ? CLAIM_NONE : CLAIM_HELD;
        walk_answer(q->walk);
    } else {
        steal(q);
    }
}

void claims_challenge(struct slot *slot, struct walk *walk)
{
    struct worker *worker = slot->job->worker;
    struct str before, instance;
    behind_last(behind_last(slot->holder, '\n', &before), ' ', &instance);
    const struct str words[] = {STR("GET"),
                                redis_key_alive(&slot->job->arena, prefix_of(worker), instance)};
    redis_ask(worker->redis, words, 2, alive_told, question(slot, walk, NULL));
}

void claims_release(struct slot *slot)
{
    struct worker *worker = slot->job->worker;
    /* A claim whose answer was late may be ours without our knowing; the script looks. */
    if (slot->claim == CLAIM_HELD || slot->claim == CLAIM_KEPT || !redis_enabled(worker->redis))
        return;
    releases_give(worker->claims->releases, claim_key(slot), lapses_ms(slot->job));
    slot->claim = CLAIM_NONE;
}

struct str claims_hold(struct slot *slot)
{
    struct worker *worker = slot->job->worker;
    if (!redis_enabled(worker->redis) || PLANTED(78))
        return (struct str){0};
    struct str key = claim_key(slot);
    return releases_hold(worker->claims->releases, key) ? key : (struct str){0};
}

void claims_let(struct worker *worker, struct str key)
{
    if (worker->claims)
        releases_let(worker->claims->releases, key);
}

void claims_hedge(struct slot *slot)
{
    struct worker *worker = slot->job->worker;
    if (slot->claim != CLAIM_MINE || PLANTED(75))
        return;
    const struct str words[] = {claim_key(slot), str_of(worker->instance),
                                str_of(worker->claims->incarnation)};
    redis_script_ask(worker->redis, worker->script_hedge, 1, words, 3, NULL, NULL);
}
