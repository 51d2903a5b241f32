/*
 * keys.c -- see keys.h.
 */
#include "worker/call/keys.h"

#include "common/base/must.h"
#include "common/base/plant.h"

void keys_add(struct keys *keys, struct key_state *state)
{
    must(keys->count < KEYS_MAX);
    keys->of[keys->count++] = state;
}

bool keys_benched(const struct keys *keys, int key, int64_t now_ms)
{
    return now_ms < keys->of[key]->until_ms && !PLANTED(54);
}

int keys_pick(struct keys *keys, int64_t now_ms)
{
    int best = -1;
    for (size_t i = 0; i < keys->count; i++) {
        int key = (int)((keys->next + i) % keys->count);
        if (keys_benched(keys, key, now_ms))
            continue;
        if (best < 0 || keys->of[key]->in_flight < keys->of[best]->in_flight)
            best = key;
    }
    if (best >= 0)
        keys->next = ((size_t)best + 1) % keys->count;
    return best;
}

void keys_began(struct keys *keys, int key)
{
    keys->of[key]->in_flight++;
}

void keys_ended(struct keys *keys, int key)
{
    must(keys->of[key]->in_flight > 0);
    keys->of[key]->in_flight--;
}

static size_t others_free(const struct keys *keys, int key, int64_t now_ms)
{
    size_t count = 0;
    for (size_t i = 0; i < keys->count; i++)
        count += (int)i != key && now_ms >= keys->of[i]->until_ms;
    return count;
}

static int64_t bench(struct key_state *state, int64_t pause_ms, bool refused, int64_t now_ms)
{
    if (now_ms + pause_ms > state->until_ms)
        state->until_ms = now_ms + pause_ms;
    state->refused = refused;
    return pause_ms;
}

int64_t keys_refused(struct keys *keys, int key, int status, int64_t now_ms)
{
    bool last = !others_free(keys, key, now_ms);
    if (last && status == 403)
        return 0;
    return bench(keys->of[key], last ? KEY_LAST_MS : KEY_REFUSED_MS, true, now_ms);
}

int64_t keys_slowed(struct keys *keys, int key, int64_t pause_ms, int64_t now_ms)
{
    return bench(keys->of[key], pause_ms > 0 ? pause_ms : KEY_SLOW_MS, false, now_ms);
}

bool keys_all_refused(const struct keys *keys, int64_t now_ms)
{
    for (size_t i = 0; i < keys->count; i++)
        if (!keys->of[i]->refused || now_ms >= keys->of[i]->until_ms)
            return false;
    return true;
}

int64_t keys_next_ms(const struct keys *keys)
{
    int64_t next = keys->of[0]->until_ms;
    for (size_t i = 1; i < keys->count; i++)
        if (keys->of[i]->until_ms < next)
            next = keys->of[i]->until_ms;
    return next;
}
