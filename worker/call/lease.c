/*
 * lease.c -- see lease.h.
 */
#include "worker/call/lease.h"

#include <string.h>

#include "common/base/must.h"
#include "common/base/plant.h"

void lease_init(struct lease *lease, const struct lease_rule *rule)
{
    *lease = (struct lease){.rule = *rule, .members = 1, .seed = -1};
}

int64_t lease_life_ms(const struct lease *lease)
{
    return lease->rule.calendar ? LEASE_CALENDAR_MS : LEASE_MS;
}

/* Nobody may wait for more than there ever is; a budget is not exceeded for anybody. */
static int64_t needed(const struct lease *lease, int64_t tokens)
{
    return tokens < lease->rule.tokens || lease->rule.calendar ? tokens : lease->rule.tokens;
}

bool lease_may(const struct lease *lease, int64_t tokens, int64_t now_ms)
{
    return now_ms < lease->until_ms && (!lease->rule.requests || lease->left_requests >= 1) &&
           (!lease->rule.tokens || lease->left_tokens >= needed(lease, tokens) ||
            (lease->rule.calendar && PLANTED(57)));
}

static struct lease_spend *spend_at(struct lease *lease, int64_t at_ms)
{
    if (lease->rule.calendar && lease->spend_count > lease->told_count) /* no moment matters */
        return &lease->spends[lease->spend_count - 1];
    for (size_t i = lease->told_count; i < lease->spend_count; i++)
        if (lease->spends[i].at_ms / LEASE_BUCKET_MS == at_ms / LEASE_BUCKET_MS)
            return &lease->spends[i];
    if (lease->spend_count == LEASE_SPENDS_MAX) {
        /* Too late rather than too early: it is counted longer. The last one is not told yet. */
        struct lease_spend *last = &lease->spends[LEASE_SPENDS_MAX - 1];
        last->at_ms = last->at_ms > at_ms ? last->at_ms : at_ms;
        return last;
    }
    struct lease_spend *fresh = &lease->spends[lease->spend_count++];
    *fresh = (struct lease_spend){.at_ms = at_ms};
    return fresh;
}

static struct lease_second *own_at(struct lease *lease, int64_t at_ms)
{
    struct lease_second *own = &lease->own[at_ms / 1000 % LEASE_SECONDS];
    if (own->second != at_ms / 1000)
        *own = (struct lease_second){.second = at_ms / 1000};
    return own;
}

void lease_take(struct lease *lease, int64_t tokens, int64_t now_ms)
{
    must(lease_may(lease, tokens, now_ms));
    struct lease_spend *spend = spend_at(lease, now_ms);
    spend->requests++;
    spend->tokens += tokens;
    own_at(lease, now_ms)->requests++;
    own_at(lease, now_ms)->tokens += tokens;
    if (!PLANTED(56)) {
        lease->left_requests--;
        lease->left_tokens -= needed(lease, tokens);
    }
    lease->spent++;
    lease->spent_tokens += tokens;
}

void lease_settle(struct lease *lease, int64_t taken_ms, int64_t more)
{
    struct lease_second *own = &lease->own[taken_ms / 1000 % LEASE_SECONDS];
    if (!more)
        return;
    spend_at(lease, taken_ms)->tokens += more;
    if (lease->lent_itself)
        lease->left_tokens -= more;
    if (own->second == taken_ms / 1000)
        own->tokens += more;
}

static bool holds(const struct lease *lease)
{
    return (lease->rule.requests && lease->left_requests > 0) ||
           (lease->rule.tokens && lease->left_tokens > 0);
}

int64_t lease_ask_ms(const struct lease *lease)
{
    int64_t pause_ms = lease->spent >= LEASE_MANY   ? 0
                       : lease->spent >= LEASE_SOME ? LEASE_ASK_SOON_MS
                       : lease->rule.calendar       ? LEASE_CALENDAR_ASK_MS
                                                    : LEASE_ASK_MS;
    if (lease->asks_now)
        return 0;
    int64_t at_ms = lease->asked_ms ? lease->asked_ms + pause_ms : 0;
    int64_t renew_ms = lease->until_ms - LEASE_RENEW_MS;
    at_ms = at_ms > lease->next_ms ? at_ms : lease->next_ms;
    return lease->keeps && at_ms > renew_ms ? renew_ms : at_ms;
}

/* By the end of its second: rather counted too long. False: it is nothing, or older than the
 * window.
 */
static bool own_spend(const struct lease *lease, size_t i, int64_t now_ms, struct lease_spend *ret)
{
    const struct lease_second *own = &lease->own[i];
    int64_t end_ms = own->second * 1000 + 999;
    *ret = (struct lease_spend){end_ms < now_ms ? end_ms : now_ms, own->requests, own->tokens};
    return (own->requests || own->tokens) && end_ms >= now_ms - lease->rule.window_ms;
}

static bool has_spent(const struct lease *lease, int64_t now_ms)
{
    struct lease_spend spend;
    for (size_t i = 0; i < LEASE_SECONDS; i++)
        if (own_spend(lease, i, now_ms, &spend))
            return true;
    return false;
}

bool lease_should_return(const struct lease *lease, int64_t now_ms)
{
    if (lease->rule.calendar && lease->spend_count) /* others wait for what is not told */
        return true;
    return (lease->generation && holds(lease)) || (lease->retells && has_spent(lease, now_ms));
}

static void retell(const struct lease *lease, struct lease_question *ret)
{
    for (size_t i = 0; i < LEASE_SECONDS; i++) {
        struct lease_spend *spend = &ret->spends[ret->spend_count];
        if (own_spend(lease, i, lease->asked_ms, spend) && spend->at_ms >= lease->told_ms)
            ret->spend_count++;
    }
}

/* The moments of a budget do not matter, and what was not told may be older than the seconds. */
static void retell_budget(struct lease *lease, struct lease_question *ret)
{
    struct lease_spend all = {.at_ms = lease->asked_ms}, spend;
    int64_t untold = 0;
    for (size_t i = 0; i < lease->spend_count; i++)
        untold += lease->spends[i].tokens;
    for (size_t i = 0; i < LEASE_SECONDS; i++)
        if (own_spend(lease, i, lease->asked_ms, &spend))
            all.tokens += spend.tokens;
    all.tokens = all.tokens > untold ? all.tokens : untold;
    lease->spends[0] = ret->spends[0] = all;
    lease->spend_count = lease->told_count = ret->spend_count = all.tokens != 0;
}

static void tell(struct lease *lease, struct lease_question *ret)
{
    ret->spend_count = lease->spend_count < LEASE_TOLD_MAX ? lease->spend_count : LEASE_TOLD_MAX;
    memcpy(ret->spends, lease->spends, ret->spend_count * sizeof(*ret->spends));
    lease->told_count = ret->spend_count;
}

void lease_ask(struct lease *lease, int64_t want_requests, int64_t want_tokens, int64_t now_ms,
               struct lease_question *ret)
{
    must(!lease->asking);
    bool idle = !want_requests && !want_tokens && !lease->keeps && !lease->lent_itself;
    if (now_ms >= lease->until_ms || idle)
        lease->left_requests = lease->left_tokens = 0;
    *ret = (struct lease_question){
        .generation = lease->generation,
        .left_requests = lease->left_requests > 0 ? lease->left_requests : 0,
        .left_tokens = lease->left_tokens > 0 ? lease->left_tokens : 0,
        .want_requests = want_requests,
        .want_tokens = want_tokens,
        .seed = lease->seed,
        .pause_ms = lease->pause_ms,
    };
    lease->seed = -1;
    lease->pause_ms = 0;
    lease->asking = true;
    lease->asked_ms = now_ms;
    lease->spent = lease->spent_tokens = 0;
    if (lease->retells && lease->rule.calendar) {
        retell_budget(lease, ret);
    } else if (lease->retells) {
        lease->spend_count = 0; /* the seconds say the same */
        retell(lease, ret);
    } else {
        tell(lease, ret);
    }
    ret->was_away = lease->asked_away = lease->was_away && ret->spend_count;
    lease->retells = lease->was_away = lease->asks_now = false;
}

static void forget_told(struct lease *lease)
{
    lease->spend_count -= lease->told_count;
    memmove(lease->spends, lease->spends + lease->told_count,
            lease->spend_count * sizeof(*lease->spends));
    lease->told_count = 0;
}

void lease_answered(struct lease *lease, const struct lease_answer *answer)
{
    must(lease->asking);
    lease->asking = false;
    lease->generation = answer->generation;
    lease->left_requests += answer->requests;
    lease->left_tokens += answer->tokens;
    lease->until_ms = lease->asked_ms + lease_life_ms(lease);
    lease->lent_itself = lease->others_told = false;
    lease->free_requests = answer->free_requests;
    lease->free_tokens = answer->free_tokens;
    lease->members = answer->members > 0 ? answer->members : 1;
    lease->next_ms = answer->wait_ms > 0 ? lease->asked_ms + answer->wait_ms : 0;
    lease->told_ms = answer->forgot ? 0 : lease->asked_ms;
    if (answer->forgot)
        lease->retells = lease->asks_now = true;
    forget_told(lease);
}

void lease_pause(struct lease *lease, int64_t pause_ms)
{
    lease->pause_ms = pause_ms > lease->pause_ms ? pause_ms : lease->pause_ms;
    lease->asks_now = true;
}

void lease_seed(struct lease *lease, int64_t spent)
{
    lease->seed = spent;
    lease->asks_now = true;
}

/* Each process sees the same remainder, so each tells its part of what is missing. */
void lease_others_spent(struct lease *lease, int64_t requests, int64_t tokens, int64_t now_ms)
{
    if (lease->others_told || lease->asking || !lease->generation)
        return;
    lease->others_told = true;
    struct lease_spend *spend = spend_at(lease, now_ms);
    spend->requests += (requests + lease->members - 1) / lease->members;
    spend->tokens += (tokens + lease->members - 1) / lease->members;
}

bool lease_is_idle(const struct lease *lease, int64_t now_ms)
{
    return !lease->asking && !(now_ms < lease->until_ms && holds(lease)) && !lease->spend_count &&
           (lease->generation || !has_spent(lease, now_ms));
}

void lease_end_loan(struct lease *lease)
{
    if (lease->lent_itself)
        lease->left_tokens = 0;
    lease->lent_itself = false;
}

/* Of a budget all that was told is in one place: who is not known there any more is told so. */
void lease_retell(struct lease *lease)
{
    lease->asks_now = true;
    lease->retells |= !lease->rule.calendar;
}

/* At least one request: a limit may be smaller than the fleet. */
static int64_t part(const struct lease *lease, int64_t limit)
{
    return limit > lease->members ? limit / lease->members : limit ? 1 : 0;
}

/* What we told may not have been counted when the store was asked; what is told again is. */
void lease_lend_of_budget(struct lease *lease, int64_t spent, int64_t now_ms)
{
    int64_t left = (lease->rule.tokens - spent) / lease->members;
    struct lease_spend own;
    for (size_t i = 0; i < LEASE_SECONDS; i++)
        if (own_spend(lease, i, now_ms, &own))
            left -= own.tokens;
    lease->left_tokens = left > 0 ? left : 0;
    lease->until_ms = INT64_MAX / 2;
    lease->next_ms = now_ms + LEASE_MS;
    lease->lent_itself = true;
}

/* What is left of our part of the window that ends now. */
static void lend_ourselves(struct lease *lease, int64_t now_ms)
{
    int64_t requests = part(lease, lease->rule.requests);
    int64_t tokens = part(lease, lease->rule.tokens);
    struct lease_spend spend;
    for (size_t i = 0; i < LEASE_SECONDS; i++) {
        if (!own_spend(lease, i, now_ms, &spend))
            continue;
        requests -= spend.requests;
        tokens -= spend.tokens;
    }
    lease->left_requests = requests > 0 ? requests : 0;
    lease->left_tokens = tokens > 0 ? tokens : 0;
    lease->until_ms = lease->next_ms = now_ms + LEASE_MS;
}

/* To tell twice what was spent is careful, to tell twice what was not is not. */
static void forget_corrections(struct lease *lease)
{
    int64_t untold = 0;
    for (size_t i = 0; i < lease->spend_count; i++)
        untold += lease->spends[i].tokens;
    lease->spends[0] = (struct lease_spend){.at_ms = lease->asked_ms, .tokens = untold};
    lease->spend_count = untold > 0;
}

/* What we told may be counted, or not: all since the last answer is told once more. */
void lease_unanswered(struct lease *lease, bool away, int64_t now_ms)
{
    must(lease->asking);
    lease->asking = false;
    lease->generation = 0;
    lease->told_count = 0;
    lease->next_ms = 0;
    if (lease->rule.calendar) {
        forget_corrections(lease);
        lease->was_away |= away || lease->asked_away;
        lease->next_ms = now_ms + LEASE_MS;
        return;
    }
    lease->retells = true;
    lease->was_away |= away || lease->asked_away;
    if (away)
        lend_ourselves(lease, now_ms);
}
