/*
 * flow.c -- see flow.h.
 *
 * A walk is either on the ready queue, or has open questions, or is being stepped right now; never
 * two of these. advance() is the whole machine: it runs begin or finish and obeys the verdict.
 */
#include "common/flow/flow.h"

#include "common/base/log.h"
#include "common/base/must.h"

enum { READY_PER_TURN = 1000 };

static bool run_ready(void *context);

void flow_init(struct flow *flow, const char *name, struct loop *loop, const struct step *steps,
               void (*ended)(void *subject, bool ok))
{
    *flow = (struct flow){.name = name, .loop = loop, .steps = steps, .ended = ended};
    while (steps[flow->step_count].name)
        flow->step_count++;
    must(flow->step_count > 0 && flow->step_count <= FLOW_STEPS_MAX);
    flow->ready_per_turn = READY_PER_TURN;
    list_init(&flow->ready);
    flow->hook = (struct loop_hook){.run = run_ready, .context = flow};
    loop_add_ready(loop, &flow->hook);
}

void flow_done(struct flow *flow)
{
    if (flow->loop)
        loop_remove_hook(flow->loop, &flow->hook);
}

static struct step_stats *stats_of(struct walk *walk)
{
    return &walk->flow->stats[walk->at];
}

static void enter(struct walk *walk, unsigned at)
{
    walk->at = at;
    walk->waiting = false;
    walk->entered_us = loop_exact_us(walk->flow->loop);
    stats_of(walk)->entered++;
    stats_of(walk)->inside++;
}

static void leave(struct walk *walk)
{
    stats_of(walk)->inside--;
    stats_of(walk)->spent_us += (uint64_t)(loop_exact_us(walk->flow->loop) - walk->entered_us);
}

static unsigned step_by_name(const struct flow *flow, const char *name)
{
    for (unsigned i = 0; i < flow->step_count; i++)
        if (strcmp(flow->steps[i].name, name) == 0)
            return i;
    must_not_reach("a step goes back to one that is not in the table");
}

static void end(struct walk *walk, bool ok)
{
    struct flow *flow = walk->flow;
    if (!ok)
        stats_of(walk)->failed++;
    leave(walk);
    flow->walking--;
    flow->ended(walk->subject, ok); /* the walk's memory may be gone now */
}

/* True while the walk goes on in this turn. */
static bool go_back(struct walk *walk)
{
    const struct step *step = &walk->flow->steps[walk->at];
    must(step->back);
    if (walk->rounds[walk->at] >= step->back_max) {
        end(walk, false);
        return false;
    }
    walk->rounds[walk->at]++;
    stats_of(walk)->back++;
    leave(walk);
    enter(walk, step_by_name(walk->flow, step->back));
    return true;
}

static bool go_on(struct walk *walk)
{
    if (walk->at + 1 == walk->flow->step_count) {
        end(walk, true);
        return false;
    }
    leave(walk);
    enter(walk, walk->at + 1);
    return true;
}

static bool obey(struct walk *walk, enum verdict verdict)
{
    must(verdict == STEP_WAIT || walk->pending == 0);
    switch (verdict) {
    case STEP_NEXT:
        return go_on(walk);
    case STEP_WAIT:
        must(walk->flow->steps[walk->at].finish);
        walk->waiting = true;
        if (walk->pending == 0) /* everything was answered on the spot */
            list_append(&walk->flow->ready, &walk->node);
        return false;
    case STEP_BACK:
        return go_back(walk);
    case STEP_FAIL:
    case STEP_DONE:
        end(walk, verdict == STEP_DONE);
        return false;
    }
    must_not_reach("a verdict that is none");
}

static void advance(struct walk *walk)
{
    struct flow *flow = walk->flow;
    bool more = true;
    if (flow->subject_id)
        log_subject_set(flow->subject_id(walk->subject));
    while (more) {
        const struct step *step = &flow->steps[walk->at];
        bool again = walk->waiting;
        walk->waiting = false;
        walk->stepping = true;
        enum verdict verdict = again ? step->finish(walk->subject) : step->begin(walk->subject);
        walk->stepping = false;
        more = obey(walk, verdict);
    }
    log_subject_set((struct str){0});
}

static bool run_ready(void *context)
{
    struct flow *flow = context;
    for (unsigned i = 0; i < flow->ready_per_turn; i++) {
        struct list_node *node = list_pop(&flow->ready);
        if (!node)
            return false;
        advance(container_of(node, struct walk, node));
    }
    return !list_empty(&flow->ready);
}

void walk_start(struct walk *walk, struct flow *flow, void *subject)
{
    *walk = (struct walk){.flow = flow, .subject = subject};
    flow->walking++;
    enter(walk, 0);
    list_append(&flow->ready, &walk->node);
}

void walk_ask(struct walk *walk)
{
    walk->pending++;
}

void walk_answer(struct walk *walk)
{
    must(walk->pending > 0);
    if (--walk->pending == 0 && !walk->stepping)
        list_append(&walk->flow->ready, &walk->node);
}

static void rested(void *context)
{
    walk_answer(context);
}

void walk_sleep_until(struct walk *walk, int64_t at_ms)
{
    must(!timer_is_set(&walk->timer));
    walk_ask(walk);
    timer_set(walk->flow->loop, &walk->timer, at_ms, rested, walk);
}

void walk_wake(struct walk *walk)
{
    if (!timer_is_set(&walk->timer))
        return;
    timer_cancel(walk->flow->loop, &walk->timer);
    walk_answer(walk);
}

const char *walk_step_name(const struct walk *walk)
{
    return walk->flow->steps[walk->at].name;
}
