/*
 * shares.c -- see shares.h.
 */
#include "worker/intake/shares.h"

#include "common/base/must.h"
#include "common/base/plant.h"

/* So much may the second lane save up while it waits, or owe. */
#define FLOOR_CREDIT_MAX (4 * (int64_t)SHARE_QUANTUM)

void shares_init(struct shares *shares, int64_t floor_percent)
{
    *shares = (struct shares){.floor_percent = floor_percent};
    list_init(&shares->idle);
    for (size_t i = 0; i < SHARE_LANES_MAX; i++) {
        map_init(&shares->lanes[i].known);
        list_init(&shares->lanes[i].ready);
        list_init(&shares->lanes[i].spent);
    }
}

void shares_done(struct shares *shares)
{
    must(shares->known == 0);
    for (size_t i = 0; i < SHARE_LANES_MAX; i++)
        map_done(&shares->lanes[i].known);
}

struct share *shares_find(const struct shares *shares, size_t lane, struct str tenant)
{
    struct map_node *node = map_find(&shares->lanes[lane].known, tenant);
    return node ? container_of(node, struct share, node) : NULL;
}

void share_join(struct shares *shares, struct share *share, size_t lane, struct str tenant,
                int64_t weight)
{
    share->lane = lane;
    share->weight = weight > 0 ? weight : 1;
    share->deficit = SHARE_QUANTUM * share->weight;
    share->round = shares->lanes[lane].round;
    map_add(&shares->lanes[lane].known, &share->node, tenant);
    shares->known++;
}

void share_leave(struct shares *shares, struct share *share)
{
    share_unready(shares, share);
    list_remove(&shares->idle, &share->idle_node);
    map_remove(&shares->lanes[share->lane].known, &share->node);
    shares->known--;
}

struct share *shares_forgettable(const struct shares *shares, int64_t before_ms)
{
    struct list_node *node = list_first(&shares->idle);
    struct share *share = node ? container_of(node, struct share, idle_node) : NULL;
    return share && share->idle_ms <= before_ms ? share : NULL;
}

/* Its tokens of the rounds since; what is left of earlier ones does not add up. */
static void give_rounds(const struct share_lane *lane, struct share *share)
{
    int64_t quantum = SHARE_QUANTUM * share->weight;
    uint64_t rounds = lane->round - share->round;
    share->round = lane->round;
    if (rounds == 0 || share->deficit >= quantum)
        return;
    if (rounds > (uint64_t)((quantum - share->deficit) / quantum))
        share->deficit = quantum;
    else
        share->deficit += (int64_t)rounds * quantum;
}

/* To the end of the line it belongs to now. */
static void line_up(struct share_lane *lane, struct share *share)
{
    share->is_spent = share->deficit <= 0;
    list_append(share->is_spent ? &lane->spent : &lane->ready, &share->turn);
}

static void step_out(struct share_lane *lane, struct share *share)
{
    list_remove(share->is_spent ? &lane->spent : &lane->ready, &share->turn);
}

void share_ready(struct shares *shares, struct share *share)
{
    struct share_lane *lane = &shares->lanes[share->lane];
    if (list_linked(&share->turn))
        return;
    give_rounds(lane, share);
    line_up(lane, share);
}

void share_unready(struct shares *shares, struct share *share)
{
    step_out(&shares->lanes[share->lane], share);
}

void share_idle(struct shares *shares, struct share *share, int64_t now_ms)
{
    share_unready(shares, share);
    share->idle_ms = now_ms;
    if (!list_linked(&share->idle_node))
        list_append(&shares->idle, &share->idle_node);
}

void share_busy(struct shares *shares, struct share *share)
{
    list_remove(&shares->idle, &share->idle_node);
}

/* As many rounds as it takes until somebody has tokens again. */
static void next_round(struct share_lane *lane)
{
    uint64_t least = UINT64_MAX;
    LIST_EACH(&lane->spent, node)
    {
        const struct share *share = container_of(node, struct share, turn);
        uint64_t rounds = (uint64_t)(-share->deficit / (SHARE_QUANTUM * share->weight)) + 1;
        least = rounds < least ? rounds : least;
    }
    lane->round += least;
    for (size_t left = lane->spent.count; left > 0; left--) {
        struct share *share = container_of(list_first(&lane->spent), struct share, turn);
        step_out(lane, share);
        give_rounds(lane, share);
        line_up(lane, share);
    }
}

/* Whoever has spent his tokens meanwhile goes to the others of that kind. */
static struct share *first_ready(struct share_lane *lane)
{
    for (;;) {
        struct list_node *node = list_first(&lane->ready);
        if (!node && list_empty(&lane->spent))
            return NULL;
        if (!node) {
            next_round(lane);
            continue;
        }
        struct share *share = container_of(node, struct share, turn);
        if (share->deficit > 0)
            return share;
        step_out(lane, share);
        line_up(lane, share);
    }
}

static bool may_use(const struct shares *shares, const struct share *share, size_t places,
                    size_t free, size_t headroom)
{
    if (free > headroom || shares->known < 2)
        return true;
    size_t part = places / shares->known;
    return share->running < (part ? part : 1);
}

static struct share *next_of(struct shares *shares, struct share_lane *lane, size_t places,
                             size_t free, size_t headroom)
{
    if (!first_ready(lane))
        return NULL;
    LIST_EACH(&lane->ready, node)
    {
        struct share *share = container_of(node, struct share, turn);
        if (share->deficit > 0 && may_use(shares, share, places, free, headroom))
            return share;
    }
    return NULL;
}

static bool wanted(const struct share_lane *lane)
{
    return lane->ready.count + lane->spent.count > 0;
}

struct share *share_next(struct shares *shares, size_t places, size_t free, size_t headroom)
{
    size_t first = wanted(&shares->lanes[1]) && shares->floor_credit > 0;
    if (free == 0)
        return NULL;
    struct share *share = next_of(shares, &shares->lanes[first], places, free, headroom);
    return share ? share : next_of(shares, &shares->lanes[!first], places, free, headroom);
}

static int64_t at_least(int64_t number, int64_t least)
{
    return number < least ? least : number;
}

/* The first lane's tokens earn the second its part of them. */
static void count_lanes(struct shares *shares, const struct share *share, int64_t cost)
{
    int64_t percent = shares->floor_percent, earned = cost * percent / (100 - percent);
    if (share->lane == 0 && wanted(&shares->lanes[1]))
        shares->floor_credit += earned;
    else if (share->lane == 1 && wanted(&shares->lanes[0]))
        shares->floor_credit -= cost;
    if (shares->floor_credit > FLOOR_CREDIT_MAX)
        shares->floor_credit = FLOOR_CREDIT_MAX;
    shares->floor_credit = at_least(shares->floor_credit, -FLOOR_CREDIT_MAX);
}

void share_started(struct shares *shares, struct share *share, int64_t cost)
{
    struct share_lane *lane = &shares->lanes[share->lane];
    must(list_linked(&share->turn));
    if (PLANTED(47))
        return;
    count_lanes(shares, share, cost);
    share->deficit -= cost;
    step_out(lane, share);
    line_up(lane, share);
}

void share_settled(struct shares *shares, struct share *share, int64_t more)
{
    struct share_lane *lane = &shares->lanes[share->lane];
    share->deficit -= more;
    if (list_linked(&share->turn) && share->is_spent && share->deficit > 0) {
        step_out(lane, share);
        line_up(lane, share);
    }
}
