/*
 * shares.h -- whose request begins next: weighted deficit round robin over tenants, in tokens.
 * Pure.
 *
 * A share is one tenant in one lane. It has a deficit: tokens it may still spend in this round. A
 * start takes what the request is estimated to cost, its end gives back or takes what it cost more
 * or less, so that over time tenants have tokens in proportion to their weights, whatever they were
 * estimated. Who is ready takes turns, one start each; who has spent his deficit waits for the next
 * round, which begins when nobody who is ready has any left. What a tenant does not use is kept for
 * one round at most, what it overdrew is paid off by the rounds that pass.
 *
 * Bound: a share that becomes ready with tokens left begins after at most one start of each other
 * share that is ready. One that has spent them waits at most until each other share has had a round
 * (SHARE_QUANTUM tokens times its weight), the request that overdraws it included.
 *
 * Two lanes: the first goes before the second, but the second may have `floor_percent` of the
 * tokens that are started while both want some.
 *
 * Headroom: while several shares are known, the last `headroom` of the free places are for those
 * who have less than their part of the places (places by shares), so that a tenant with few
 * requests finds one free, and need not wait for a call of somebody else to end.
 *
 * All O(1) but two: share_next() walks over those who may not use the headroom, and a new round
 * over those who wait for it, which is at most once per start and share. Memory belongs to the
 * caller, who holds the struct share.
 */
#ifndef QUERN_WORKER_INTAKE_SHARES_H
#define QUERN_WORKER_INTAKE_SHARES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/map.h"

#define SHARE_LANES_MAX 2
#define SHARE_QUANTUM   1024 /* tokens per round and weight */
#define SHARE_COST_MIN  16   /* tokens; no start is for nothing */

struct share {
    struct map_node node;       /* in lane->known; its key is the tenant */
    struct list_node turn;      /* in lane->ready or lane->spent while it has something to start */
    struct list_node idle_node; /* in shares->idle while it has nothing at all */
    size_t lane;
    int64_t weight, deficit;
    uint64_t round; /* up to which it was given its tokens */
    size_t running; /* requests that were started and have not ended */
    int64_t idle_ms;
    bool is_spent;
};

struct share_lane {
    struct map known;
    struct list ready, spent;
    uint64_t round;
};

struct shares {
    struct share_lane lanes[SHARE_LANES_MAX];
    struct list idle; /* longest first */
    size_t known;
    int64_t floor_percent;
    int64_t floor_credit; /* tokens the second lane may have before the first */
};

void shares_init(struct shares *shares, int64_t floor_percent);
void shares_done(struct shares *shares); /* all shares have left */

struct share *shares_find(const struct shares *shares, size_t lane, struct str tenant);
/* `share` is zeroed; `tenant` stays as long as it is known. */
void share_join(struct shares *shares, struct share *share, size_t lane, struct str tenant,
                int64_t weight);
void share_leave(struct shares *shares, struct share *share);
/* One that has been idle since `before_ms` or earlier and may leave; NULL: none. */
struct share *shares_forgettable(const struct shares *shares, int64_t before_ms);

/* It has something to start just now, or not; `share_idle`: nor anything that waits or runs. */
void share_ready(struct shares *shares, struct share *share);
void share_unready(struct shares *shares, struct share *share);
void share_idle(struct shares *shares, struct share *share, int64_t now_ms);
void share_busy(struct shares *shares, struct share *share);

/* Of `places` altogether `free` are free, the last `headroom` of them for those with few. NULL: no
 * request may begin now. */
struct share *share_next(struct shares *shares, size_t places, size_t free, size_t headroom);
/* A request of it began, and is estimated to cost this; it stays ready until it is told not to. */
void share_started(struct shares *shares, struct share *share, int64_t cost);
/* It cost this much more (or less, negative) than was taken so far. */
void share_settled(struct shares *shares, struct share *share, int64_t more);

#endif
