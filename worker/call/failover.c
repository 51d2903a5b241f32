/*
 * failover.c -- see failover.h.
 */
#include "worker/call/failover.h"

#include <stdio.h>

#include "common/app/metrics.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "worker/call/candidates.h"
#include "worker/call/hedge.h"
#include "worker/call/queue.h"
#include "worker/call/retry.h"

/* How often who waits looks around; when the time gets short; what is too long a pause. */
enum { LOOK_MS = 1000, LOOK_SOON_MS = 50, LONG_MS = 5000, SPARE_MS = 100 };

static int64_t now_of(const struct slot *slot)
{
    return loop_now_ms(slot->job->worker->loop);
}

static bool is_alone(const struct slot *slot)
{
    return slot->candidate_count == 1 && slot->model->keys->count == 1;
}

/* ---- keys ---- */

static bool is_busy(const struct model *model, int key)
{
    return model->quotas[key] && quota_busy(model->quotas[key]);
}

/* Of those that are not benched rather one whose limit has no queue; one of them is there. */
static int free_key(const struct model *model, int64_t now_ms)
{
    int best = keys_pick(model->keys, now_ms);
    if (best < 0 || !is_busy(model, best))
        return best < 0 ? 0 : best;
    for (int key = 0; key < (int)model->keys->count; key++)
        if (!keys_benched(model->keys, key, now_ms) && !is_busy(model, key))
            return key;
    return best;
}

/* Whoever waits for the limit of a key, or has been called, stays with it: it would lose its turn.
 */
static int key_for(const struct slot *slot, const struct candidate *c, int64_t now_ms)
{
    bool waits = c == candidate_now(slot) && (slot->share.turn_at || slot->share.waits_at) &&
                 !keys_benched(c->model->keys, slot->key, now_ms);
    if (waits && slot->share.turn_at)
        return slot->key;
    int key = free_key(c->model, now_ms);
    return waits && is_busy(c->model, key) ? slot->key : key;
}

/* Who has no key that may be tried rests until there is one. */
static void rest_the_keyless(struct slot *slot, int64_t now_ms)
{
    for (unsigned i = 0; i < slot->candidate_count && !is_alone(slot); i++) {
        struct candidate *c = &slot->candidates[i];
        int64_t next_ms = keys_next_ms(c->model->keys);
        if (now_ms >= next_ms || next_ms <= c->not_before_ms)
            continue;
        c->not_before_ms = next_ms;
        c->named_time = true;
    }
}

/* There is nobody left but those who take none of our keys. */
static bool all_refuse(const struct slot *slot, int64_t now_ms)
{
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        const struct candidate *c = &slot->candidates[i];
        if (candidate_usable(slot, c) && !keys_all_refused(c->model->keys, now_ms))
            return false;
    }
    return !is_alone(slot);
}

/* Of those that all_refuse() speaks of. */
static void say_refused(struct slot *slot, int64_t now_ms, struct err *ret)
{
    const struct model *model = slot->model;
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        if (!candidate_usable(slot, &slot->candidates[i]))
            continue;
        model = slot->candidates[i].model;
        slot->candidates[i].why = ERR_PROVIDER_AUTH;
    }
    err_set(ret, ERR_PROVIDER_AUTH,
            "the provider has refused every key (%zu) of model '" STR_FMT
            "'; they are tried again in %lld s",
            model->keys->count, STR_ARG(str_utf8_cut(model->dialect.name, 80)),
            (long long)(keys_next_ms(model->keys) - now_ms + 999) / 1000);
}

/* ---- whom to ask ---- */

static bool is_ready(const struct slot *slot, const struct candidate *c, int64_t now_ms)
{
    return candidate_usable(slot, c) && now_ms >= c->not_before_ms;
}

/* Another one: the first that would let us in at once, or, if `free` does not matter, that may be
 * asked at all. NULL: none. */
static struct candidate *another(const struct slot *slot, bool free, int64_t now_ms)
{
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        struct candidate *c = &slot->candidates[i];
        const struct gate_place fresh = {.needs_token = c->needs_token};
        if (i == slot->candidate || !is_ready(slot, c, now_ms))
            continue;
        if (!free || (gate_may(c->model->gate, &fresh, now_ms) &&
                      !is_busy(c->model, key_for(slot, c, now_ms))))
            return c;
    }
    return NULL;
}

/* Who could answer instead must have the time for it, though it takes longer than it does usually,
 * and though the next call here fails, too. */
static int64_t end_for(const struct slot *slot, const struct candidate *other)
{
    int64_t usual_ms = other ? (int64_t)model_latency_ms(other->model) : 0;
    return slot->job->deadline_ms - (other ? 2 * usual_ms + SPARE_MS : 0);
}

int64_t failover_look_ms(const struct slot *slot)
{
    int64_t now_ms = now_of(slot), deadline_ms = slot->job->deadline_ms;
    if (is_alone(slot))
        return deadline_ms;
    int64_t look_ms = now_ms + LOOK_MS, end_ms = end_for(slot, another(slot, false, now_ms));
    if (look_ms > end_ms)
        look_ms = end_ms > now_ms + LOOK_SOON_MS ? end_ms : now_ms + LOOK_SOON_MS;
    return look_ms < deadline_ms ? look_ms : deadline_ms;
}

/* The gate is shut, or its limit was used up for as long as we look. */
static bool is_shut(const struct slot *slot, const struct candidate *c, int64_t now_ms)
{
    return !gate_may(c->model->gate, &slot->place, now_ms) || slot->share.waits_at;
}

/* It rests for longer than the other one takes, for the provider has said so. */
static bool rests_long(const struct candidate *c, const struct candidate *other, int64_t now_ms)
{
    double pause = (double)(c->not_before_ms - now_ms);
    return pause > LONG_MS || (c->named_time && pause > model_latency_ms(other->model));
}

/* The one that may be asked first; NULL: none is left, or there is no room for another call. */
static struct candidate *soonest(const struct slot *slot)
{
    struct candidate *best = NULL;
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        struct candidate *c = &slot->candidates[i];
        if (candidate_usable(slot, c) && (!best || c->not_before_ms < best->not_before_ms))
            best = c;
    }
    return slot->calls_before + slot->attempt < slot->attempts_room ? best : NULL;
}

/* The candidate to be asked, or waited for at its limit and gate; NULL: *ret_ms says until when all
 * rest. */
static struct candidate *choose(const struct slot *slot, int64_t now_ms, int64_t *ret_ms)
{
    struct candidate *mine = candidate_now(slot), *other;
    bool usable = candidate_usable(slot, mine), ready = is_ready(slot, mine, now_ms);
    if (ready && (is_alone(slot) || !is_shut(slot, mine, now_ms)))
        return mine;
    other = PLANTED(52) && ready ? NULL : another(slot, true, now_ms);
    if (other && (ready || !usable || rests_long(mine, other, now_ms)))
        return other;
    if (ready) /* nobody else lets us in */
        return mine;
    other = another(slot, false, now_ms);
    if (other && (!usable || rests_long(mine, other, now_ms)))
        return other;
    *ret_ms = usable ? mine->not_before_ms : soonest(slot)->not_before_ms;
    return NULL;
}

/* ---- going there ---- */

static bool go_to(struct slot *slot, struct candidate *c, int key, struct err *err)
{
    bool moves = c != candidate_now(slot);
    if (!moves && key == slot->key)
        return true;
    queue_leave_limits(slot);
    if (moves) {
        gate_leave(slot->model->gate, &slot->place, slot->job->worker->loop);
        slot->place = (struct gate_place){.needs_token = c->needs_token};
        log_debug("another model is asked", LOG_S("from", slot->model->dialect.name),
                  LOG_S("to", c->model->dialect.name));
        metric_add_for(METRIC_failovers_total, c->model->dialect.name, 1);
    }
    return candidate_take(slot, c, key, err);
}

/* What became of each, and the last one's words. */
static void say_all(struct slot *slot, const struct err *last)
{
    char names[160] = "";
    size_t at = 0;
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        const struct candidate *c = &slot->candidates[i];
        struct str name = str_utf8_cut(c->model->dialect.name, 40);
        if (c->why && at + name.len + 40 < sizeof(names))
            at += (size_t)snprintf(names + at, sizeof(names) - at, "%s" STR_FMT " %s",
                                   at ? ", " : "", STR_ARG(name), err_name(c->why));
    }
    slot->err = *last;
    if (slot->candidate_count > 1 && at)
        err_prefix(&slot->err, "no model answered (%s); the last one", names);
}

static enum verdict rest(struct slot *slot, int64_t at_ms)
{
    int64_t look_ms = failover_look_ms(slot);
    queue_rest_until(slot, at_ms < look_ms ? at_ms : look_ms);
    queue_free_permit(slot->job->worker); /* ours was not used */
    return STEP_WAIT;
}

enum verdict failover_ready(struct slot *slot)
{
    int64_t now_ms = now_of(slot), at_ms = 0;
    struct err err;
    err_copy(&err, &slot->call_err);
    rest_the_keyless(slot, now_ms);
    while (soonest(slot) && !all_refuse(slot, now_ms)) {
        struct candidate *c = choose(slot, now_ms, &at_ms);
        if (!c)
            return rest(slot, at_ms);
        if (go_to(slot, c, key_for(slot, c, now_ms), &err)) {
            slot->place.first = c->attempts == 0;
            return STEP_NEXT;
        }
    }
    if (soonest(slot))
        say_refused(slot, now_ms, &err);
    if (!err.code) /* what its calls said was told before it was put off; no error is an answer */
        err_set(&err, ERR_PROVIDER_DOWN,
                "none of its %u calls was answered, and it may make no more",
                slot->calls_before + slot->attempt);
    queue_leave(slot);
    say_all(slot, &err);
    return STEP_DONE;
}

/* ---- a call and its end ---- */

void failover_began(struct slot *slot)
{
    keys_began(slot->model->keys, slot->key);
    if (!slot->hedge_of)
        candidate_now(slot)->attempts++;
}

static void bench_key(struct slot *slot, const struct err *err)
{
    struct keys *keys = slot->model->keys;
    int64_t now_ms = now_of(slot), pause_ms = 0;
    bool known = keys_benched(keys, slot->key, now_ms);
    if (err->code == ERR_PROVIDER_AUTH)
        pause_ms = keys_refused(keys, slot->key, slot->reply.status, now_ms);
    else if (err->code == ERR_PROVIDER_RATE && keys->count > 1)
        pause_ms = keys_slowed(keys, slot->key, err->retry_after_ms, now_ms);
    if (!pause_ms || known)
        return;
    metric_add_for(METRIC_keys_benched_total, slot->model->dialect.name, 1);
    if (err->code == ERR_PROVIDER_AUTH)
        log_warn("the provider refused a key, other keys and models are used meanwhile",
                 LOG_S("model", slot->model->dialect.name), LOG_I("key", slot->key + 1),
                 LOG_I("of", keys->count), LOG_I("pause_ms", pause_ms));
}

void failover_ended(struct slot *slot, const struct err *err)
{
    int64_t took_ms = now_of(slot) - slot->call_started_ms;
    keys_ended(slot->model->keys, slot->key);
    if (!err->code)
        gate_well(slot->model->gate);
    if (hedge_tells(slot, err, took_ms)) {
        latency_note(slot->model->latency, took_ms);
        hedge_note(slot, took_ms);
    }
    bench_key(slot, err);
}

/* Another key of the same model may do at once what this one may not. */
static bool has_another_key(const struct slot *slot, const struct err *err, int64_t now_ms)
{
    const struct keys *keys = slot->model->keys;
    if (err->code != ERR_PROVIDER_AUTH && err->code != ERR_PROVIDER_RATE)
        return false;
    for (int key = 0; key < (int)keys->count; key++)
        if (key != slot->key && !keys_benched(keys, key, now_ms))
            return true;
    return false;
}

/* Only the models that are named for such an error; not who has said no already. */
static void go_on_with(struct slot *slot, enum route_part part)
{
    for (unsigned i = 0; i < slot->candidate_count; i++)
        for (unsigned k = 0; k < slot->candidate_count; k++)
            if (slot->candidates[i].part == part && slot->candidates[k].out &&
                slot->candidates[k].why == slot->call_err.code &&
                slot->candidates[i].model == slot->candidates[k].model)
                slot->candidates[i].out = true;
    slot->part = part;
}

/* What the error says of the candidate: it rests, or is out. False: nobody else is to be asked. */
static bool judge(struct slot *slot, struct candidate *c, const struct err *err)
{
    const struct worker *worker = slot->job->worker;
    const struct retry_rule rule = {worker->conf->retry_base_ms, worker->conf->retry_cap_ms,
                                    c->model->attempts_max};
    int64_t now_ms = now_of(slot), pause_ms;
    const struct candidate *other = another(slot, false, now_ms);
    int64_t end_ms = end_for(slot, other);
    if (err->retry == RETRY_NEVER && !PLANTED(51))
        return false;
    c->named_time = err->code == ERR_PROVIDER_RATE && err->retry_after_ms > 0;
    /* A time that the provider has named itself is no burden to it. */
    c->needs_token = !c->named_time;
    if (slot->place.probed)
        candidate_probed(slot, c);
    if (has_another_key(slot, err, now_ms) &&
        (err->code == ERR_PROVIDER_AUTH || candidate_tries(c) < c->model->attempts_max)) {
        c->attempts -= err->code == ERR_PROVIDER_AUTH;
        c->needs_token = false;
        c->not_before_ms = now_ms;
    } else if (retry_pause(&rule, err, candidate_tries(c), now_ms, end_ms, loop_rand(worker->loop),
                           &pause_ms)) {
        int64_t least_ms = slot->place.probed ? candidate_probe_pause_ms(c) : 0;
        metric_add(METRIC_call_retries_total, 1);
        c->not_before_ms = now_ms + (pause_ms > least_ms ? pause_ms : least_ms);
    } else {
        c->out = !PLANTED(53) || slot->candidate_count == 1;
    }
    if (err->code == ERR_PROVIDER_CONTEXT)
        go_on_with(slot, ROUTE_CONTEXT);
    if (err->code == ERR_PROVIDER_FILTER)
        go_on_with(slot, ROUTE_FILTER);
    return soonest(slot) != NULL;
}

/* Another one lets us in now, and this one rests for longer. */
static bool another_soon(const struct slot *slot, const struct candidate *c, int64_t now_ms)
{
    const struct candidate *other = another(slot, true, now_ms);
    return other && rests_long(c, other, now_ms);
}

enum verdict failover_next(struct slot *slot, const struct err *err)
{
    struct candidate *c = candidate_now(slot);
    int64_t now_ms = now_of(slot), at_ms = now_ms;
    c->why = err->code;
    err_copy(&slot->call_err, err);
    bool again = judge(slot, c, err);
    slot->place.needs_token = c->needs_token;
    if (!again)
        say_all(slot, err);
    if (!again && now_ms < slot->job->deadline_ms)
        return STEP_NEXT;
    if (now_ms >= slot->job->deadline_ms)
        return queue_expire(slot);
    if (queue_nobodys(slot))
        return queue_give_up(slot);
    if (candidate_usable(slot, c) && !another_soon(slot, c, now_ms))
        at_ms = c->not_before_ms;
    queue_rest_until(slot, at_ms);
    return STEP_WAIT;
}
