/*
 * limit_script.c -- see limit_script.h.
 */
#include "worker/call/limit_script.h"

static struct str decimal(struct arena *arena, int64_t n)
{
    return arena_i64(arena, n);
}

size_t limit_script_words(const struct limit_ask *ask, struct arena *arena,
                          struct str ret[LIMIT_SCRIPT_WORDS_MAX])
{
    const struct lease_question *q = ask->question;
    const struct lease_rule *rule = ask->rule;
    const int64_t numbers[] = {(int64_t)q->generation,
                               rule->requests,
                               rule->tokens,
                               rule->calendar ? 0 : rule->window_ms + LEASE_GUARD_MS,
                               rule->calendar ? LEASE_CALENDAR_MS : LEASE_MS,
                               q->left_requests,
                               q->left_tokens,
                               q->want_requests,
                               q->want_tokens,
                               q->was_away,
                               q->pause_ms,
                               q->seed};
    size_t n = 0;
    ret[n++] = ask->key;
    ret[n++] = ask->instance;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        ret[n++] = decimal(arena, numbers[i]);
    ret[n++] = ask->channel;
    ret[n++] = ask->message;
    for (size_t i = 0; i < q->spend_count; i++) {
        ret[n++] = decimal(arena, ask->now_ms - q->spends[i].at_ms);
        ret[n++] = decimal(arena, q->spends[i].requests);
        ret[n++] = decimal(arena, q->spends[i].tokens);
    }
    return n;
}

void limit_script_answer(const int64_t numbers[LIMIT_SCRIPT_NUMBERS], struct lease_answer *ret)
{
    *ret = (struct lease_answer){
        .generation = (uint64_t)numbers[0],
        .requests = numbers[1],
        .tokens = numbers[2],
        .members = numbers[3],
        .wait_ms = numbers[4],
        .forgot = numbers[5] != 0,
        .unseeded = numbers[6] != 0,
        .free_requests = numbers[7],
        .free_tokens = numbers[8],
    };
}
