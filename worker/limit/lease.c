/*
 * lease.c -- see lease.h.
 */
#include "worker/limit/lease.h"

#include <string.h>

#include "common/base/must.h"

void lease_init(struct lease *lease, const struct lease_rule *rule)
{
    *lease = (struct lease){.rule = *rule, .members = 1};
}

/* Nobody may wait for more than there ever is. */
static int64_t needed(const struct lease *lease, int64_t tokens)
{
    return tokens < lease->rule.tokens ? tokens : lease->rule.tokens;
}

bool lease_may(const struct lease *lease, int64_t tokens, int64_t now_ms)
{
    return now_ms < lease->until_ms && (!lease->rule.requests || lease->left_requests >= 1) &&
           (!lease->rule.tokens || lease->left_tokens >= needed(lease, tokens));
}

static struct lease_spend *spend_at(struct lease *lease, int64_t at_ms)
{
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

void lease_take(struct lease *lease, int64_t tokens, int64_t now_ms)
{
    must(lease_may(lease, tokens, now_ms));
    struct lease_spend *spend = spend_at(lease, now_ms);
    spend->requests++;
    spend->tokens += tokens;
    lease->left_requests--;
    lease->left_tokens -= needed(lease, tokens);
    lease->spent++;
}

void lease_settle(struct lease *lease, int64_t taken_ms, int64_t more)
{
    if (more)
        spend_at(lease, taken_ms)->tokens += more;
}

int64_t lease_ask_ms(const struct lease *lease)
{
    int64_t pause_ms = lease->spent >= LEASE_MANY   ? 0
                       : lease->spent >= LEASE_SOME ? LEASE_ASK_SOON_MS
                                                    : LEASE_ASK_MS;
    int64_t at_ms = lease->asked_ms ? lease->asked_ms + pause_ms : 0;
    return at_ms > lease->next_ms ? at_ms : lease->next_ms;
}

bool lease_should_return(const struct lease *lease)
{
    return lease->generation && ((lease->rule.requests && lease->left_requests > 0) ||
                                 (lease->rule.tokens && lease->left_tokens > 0));
}

void lease_ask(struct lease *lease, int64_t want_requests, int64_t want_tokens, int64_t now_ms,
               struct lease_question *ret)
{
    must(!lease->asking);
    if (now_ms >= lease->until_ms)
        lease->left_requests = lease->left_tokens = 0;
    *ret = (struct lease_question){
        .generation = lease->generation,
        .left_requests = lease->left_requests > 0 ? lease->left_requests : 0,
        .left_tokens = lease->left_tokens > 0 ? lease->left_tokens : 0,
        .want_requests = want_requests,
        .want_tokens = want_tokens,
        .spend_count = lease->spend_count < LEASE_TOLD_MAX ? lease->spend_count : LEASE_TOLD_MAX,
    };
    lease->told_count = ret->spend_count;
    lease->asking = true;
    lease->asked_ms = now_ms;
    lease->spent = 0;
}

void lease_answered(struct lease *lease, const struct lease_answer *answer)
{
    must(lease->asking);
    lease->asking = false;
    lease->generation = answer->generation;
    lease->left_requests += answer->requests;
    lease->left_tokens += answer->tokens;
    lease->until_ms = lease->asked_ms + LEASE_MS;
    lease->members = answer->members > 0 ? answer->members : 1;
    lease->next_ms = answer->wait_ms > 0 ? lease->asked_ms + answer->wait_ms : 0;
    lease->spend_count -= lease->told_count;
    memmove(lease->spends, lease->spends + lease->told_count,
            lease->spend_count * sizeof(*lease->spends));
    lease->told_count = 0;
}

/* Its part of what the window gives in so many milliseconds. */
static int64_t part(const struct lease *lease, int64_t limit, int64_t ms)
{
    return limit * ms / (lease->rule.window_ms * lease->members);
}

/* Long enough that there is a whole request in it. */
static int64_t own_ms(const struct lease *lease)
{
    int64_t requests = lease->rule.requests;
    int64_t one_ms = requests ? lease->rule.window_ms * lease->members / requests + 1 : LEASE_MS;
    return one_ms > LEASE_MS ? one_ms : LEASE_MS;
}

/* What we told may be counted, or not: it is told once more. */
void lease_unanswered(struct lease *lease, bool away, int64_t now_ms)
{
    must(lease->asking);
    lease->asking = false;
    lease->generation = 0;
    lease->told_count = 0;
    lease->next_ms = 0;
    if (!away)
        return;
    int64_t life_ms = own_ms(lease);
    lease->left_requests = part(lease, lease->rule.requests, life_ms);
    lease->left_tokens = part(lease, lease->rule.tokens, life_ms);
    lease->until_ms = lease->next_ms = now_ms + life_ms;
}
