/*
 * put_off.h -- a request that waits for its provider for long lets go of its place at work: its
 * memory is freed, its offset stays unfinished, and a small record is left of it (intake/put_off.c)
 * until it may go on; then its bytes are fetched again and it begins anew.
 *
 * What it waits for is its `reason`, what it must not forget its memo: calls it has made, and parts
 * it has reported. Rows of the ledger are not in it: they are told when it is put off.
 */
#ifndef QUERN_WORKER_PUT_OFF_H
#define QUERN_WORKER_PUT_OFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "worker/hurdle.h"

#define PUT_OFF_HURDLES_MAX 8
#define PUT_OFF_NEVER       INT64_MAX

struct gate;
struct job;
struct slot;
struct worker;

/* It goes on when one of the hurdles lets somebody come, or at due_ms, whatever comes first. */
struct put_off_reason {
    struct hurdle hurdles[PUT_OFF_HURDLES_MAX]; /* not kept */
    unsigned count;
    bool too_many;  /* there are more: it goes on when somebody has looked */
    int64_t due_ms; /* loop time */
    bool has_tried; /* since it began it has called one of the models, and lets others try */
};

/* Of one model that a slot may ask, see struct candidate. */
struct put_off_candidate {
    uint64_t model; /* hash of its name */
    int64_t not_before_ms;
    enum err_code why;
    uint32_t attempts, probes;
    unsigned char slot, part;
    bool out, named_time, needs_token;
};

struct put_off_slot {
    uint32_t calls;
    unsigned char part;
    bool reported; /* its part is with the aggregator */
};

/* malloc'ed; NULL where there is nothing to remember. */
struct put_off_memo {
    size_t slots, candidates;
    struct put_off_slot *slot;
    struct put_off_candidate *candidate;
};

struct put_off_memo *put_off_memo_new(size_t slots, size_t candidates);
void put_off_memo_free(struct put_off_memo *memo); /* takes NULL */
/* NULL: nothing is remembered of it. */
const struct put_off_slot *put_off_recall(const struct slot *slot);

/* ---- call/patience.c ---- */

/* A slot has begun to wait: when its job would have to wait for long, it is put off. */
void call_look_at(struct slot *slot);
/* It has begun to wait at a limit, for room or for a token: behind very many its job is put off. */
void call_look_at_queue(struct slot *slot);
/* One of its slots has reported: what the others wait for may be all that is left. */
void call_look_at_rest(struct job *job);
/* All that wait by now. */
void call_put_off_those_who_wait(struct worker *worker);
/* No model of a job that has not begun lets anybody in, and others wait already: the job's reason
 * is filled in. */
bool call_expects_to_wait(struct job *job);
/* What the memo knows of the models of a slot. */
void call_recall(struct slot *slot);

/* ---- intake/put_off.c ---- */

/* The job may let go of its place: it has no session, nobody waits for it, it has time, and there
 * is room for its record. */
bool intake_may_put_off(const struct job *job);
/* How many may keep their place for the same reason; where there are few places, fewer. */
size_t intake_keepers(const struct worker *worker);
/* Some of those who wait for the same keep their place: those whose turn is soon, and at gates
 * those who try whether the provider is back. The job is one of them, or is from now on. */
bool intake_keeps_place(struct job *job, const struct put_off_reason *reason);
/* There are enough of them without one more, which has not begun. */
bool intake_others_keep_place(struct job *job, const struct put_off_reason *reason);
/* A job that was fetched again stands where it has to wait, or has ended; its call leaves. */
void intake_arrived(struct job *job);
void intake_called(struct job *job);

#endif
