/*
 * keys.h -- the keys of one model: which one the next call takes, and which are benched. Pure.
 *
 * A call takes the key with the fewest calls in flight, in turn among equals. A key that the
 * provider refused (401, 403) or slowed down (429) is benched: others are taken meanwhile. Of
 * several keys the last one that is not refused is benched for a short time only, for then it may
 * be the provider, or this one request, that is odd. 403 never takes the last one away: some
 * providers say it of a prompt.
 *
 * Times are milliseconds of any one clock. Keys are numbers here; what they open is the caller's.
 */
#ifndef QUERN_WORKER_CALL_KEYS_H
#define QUERN_WORKER_CALL_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_MAX       32
#define KEY_REFUSED_MS 300000
#define KEY_LAST_MS    30000
#define KEY_SLOW_MS    1000 /* a 429 that names no time */

/* Tables of models that have the same key share what is known of it: holders are counted there. */
struct key_state {
    unsigned holders;
    int64_t until_ms; /* benched until then */
    bool refused;     /* .. because the provider does not take it */
    uint32_t in_flight;
};

struct keys {
    size_t count; /* at least 1, also for a model without a key */
    size_t next;
    struct key_state *of[KEYS_MAX];
};

/* `keys` is zeroed at first; the state is the caller's, and outlives it. */
void keys_add(struct keys *keys, struct key_state *state);
/* The key for a call; -1: all are benched. Does not count it yet. */
int keys_pick(struct keys *keys, int64_t now_ms);
bool keys_benched(const struct keys *keys, int key, int64_t now_ms);
/* A call with it begins, has ended. */
void keys_began(struct keys *keys, int key);
void keys_ended(struct keys *keys, int key);
/* After 401 or 403, after 429 with the time that the provider asked for (0: none). For how long
 * the key is benched now; 0: it is not. */
int64_t keys_refused(struct keys *keys, int key, int status, int64_t now_ms);
int64_t keys_slowed(struct keys *keys, int key, int64_t pause_ms, int64_t now_ms);
/* Whether all are benched because the provider refused them; when the first one may be tried. */
bool keys_all_refused(const struct keys *keys, int64_t now_ms);
int64_t keys_next_ms(const struct keys *keys);

#endif
