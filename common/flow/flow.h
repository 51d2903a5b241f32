/*
 * flow.h -- walks any subject through a table of steps.
 *
 * A subject embeds a `struct walk`. A step's begin() looks at the subject and says what is next;
 * when it asked something of a door it counts each question with walk_ask() and returns STEP_WAIT.
 * The door's callback records the answer in the subject and calls walk_answer(); at zero open
 * questions the walk goes on the ready queue, and finish() runs from there, never from inside the
 * callback. So one begin() may ask several doors at once, and finish() runs once.
 *
 * Backward edges stand in the table (`back`, at most `back_max` rounds). Flow keeps, for all steps
 * at once: how many walks are in a step, how many entered, left, failed, and the time spent in
 * each.
 */
#ifndef QUERN_COMMON_FLOW_FLOW_H
#define QUERN_COMMON_FLOW_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/last_words.h"
#include "common/base/list.h"
#include "common/base/str.h"
#include "common/loop/loop.h"

enum verdict {
    STEP_NEXT, /* go on to the following step */
    STEP_WAIT, /* something was asked of a door; finish() runs when all of it is back */
    STEP_BACK, /* return to the step named in .back, if rounds remain; else the walk fails */
    STEP_FAIL, /* the subject says why; the walk ends here */
    STEP_DONE, /* the walk ends here, well, and skips the rest */
};

struct step {
    const char *name; /* NULL ends the table */
    enum verdict (*begin)(void *subject);
    enum verdict (*finish)(void *subject); /* needed when begin may say STEP_WAIT */
    const char *back;
    unsigned back_max;
};

#define FLOW_STEPS_MAX 12

struct step_stats {
    uint64_t entered, failed, back;
    uint64_t spent_us;
    size_t inside;
};

struct flow {
    const char *name;
    struct loop *loop;
    const struct step *steps;
    size_t step_count;
    /* Called once per walk, from the ready queue; the subject may be freed in it. */
    void (*ended)(void *subject, bool ok);
    /* Request id of the subject, for log lines; may be NULL. */
    struct str (*subject_id)(const void *subject);
    /* Fills in the record that the subject came from, for last_words.h; may be NULL. */
    void (*works_at)(const void *subject, struct last_words *ret);
    unsigned ready_per_turn;
    struct list ready;
    struct loop_hook hook;
    struct step_stats stats[FLOW_STEPS_MAX];
    int64_t now_us; /* read once each time a walk goes on: steps wait long and run shortly */
    size_t walking;
};

struct walk {
    struct list_node node; /* on flow->ready */
    struct flow *flow;
    void *subject;
    unsigned at;      /* step index */
    unsigned pending; /* questions not answered yet */
    bool waiting;     /* the step said STEP_WAIT: finish() is next */
    bool asked;       /* the step that is running, or waits, has asked something */
    uint8_t rounds[FLOW_STEPS_MAX];
    int64_t entered_us;
    struct timer timer;
};

void flow_init(struct flow *flow, const char *name, struct loop *loop, const struct step *steps,
               void (*ended)(void *subject, bool ok));
/* Walks under way are forgotten: they neither go on nor end. Takes a zeroed flow. */
void flow_done(struct flow *flow);

/* The first step begins in the ready queue of this or the next turn. */
void walk_start(struct walk *walk, struct flow *flow, void *subject);
void walk_ask(struct walk *walk);
void walk_answer(struct walk *walk);
/* Counts as a question that a timer answers: use before returning STEP_WAIT. */
void walk_sleep_until(struct walk *walk, int64_t at_ms);
/* Answers walk_sleep_until() early; no timer set: does nothing. */
void walk_wake(struct walk *walk);
const char *walk_step_name(const struct walk *walk);

#endif
