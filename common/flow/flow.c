/*
 * flow.c -- the ready queue and the one place where verdicts are obeyed.
 *
 * A walk is always in exactly one of three states: on the ready queue; inside walk_run() (its step
 * is being called); waiting, with `waiting` set and at least one question open. The last answer
 * takes it from waiting to the ready queue. A verdict other than STEP_WAIT while questions are open
 * is a mistake of the step: a late answer would reach a subject that has moved on or is freed.
 *
 * One walk goes as far as it can without waiting; the queue as a whole is bounded per turn.
 */
#include "common/flow/flow.h"

#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"

#define READY_PER_TURN   1000
#define SUBJECT_ID_BYTES 256

static bool flow_run(void *context);
static void walk_run(struct walk *walk);
static enum verdict walk_call_step(struct walk *walk);
static bool walk_obey(struct walk *walk, enum verdict verdict);
static void walk_enter(struct walk *walk, unsigned at);
static void walk_leave(struct walk *walk);
static void walk_end(struct walk *walk, bool ok);
static bool step_back(struct walk *walk);
static size_t step_find(const struct flow *flow, const char *name);

void flow_init(struct flow *flow, const char *name, struct loop *loop, const struct step *steps,
               void (*ended)(void *subject, bool ok))
{
    *flow = (struct flow){.name = name, .loop = loop, .steps = steps, .ended = ended};
    flow->ready_per_turn = READY_PER_TURN;
    while (steps[flow->step_count].name)
        flow->step_count++;
    must(flow->step_count > 0 && flow->step_count <= FLOW_STEPS_MAX);
    for (size_t i = 0; i < flow->step_count; i++) {
        must(steps[i].begin);
        must(steps[i].back_max <= UINT8_MAX); /* rounds are counted in a byte */
        must(!steps[i].back || step_find(flow, steps[i].back) <= i);
    }
    list_init(&flow->ready);
    flow->hook = (struct loop_hook){.run = flow_run, .context = flow};
    loop_add_ready(loop, &flow->hook);
}

void flow_done(struct flow *flow)
{
    if (flow->loop)
        loop_remove_hook(flow->loop, &flow->hook);
}

void walk_start(struct walk *walk, struct flow *flow, void *subject)
{
    *walk = (struct walk){.flow = flow, .subject = subject};
    flow->walking++;
    list_append(&flow->ready, &walk->node);
    loop_again(flow->loop);
}

void walk_ask(struct walk *walk)
{
    walk->asked = true;
    walk->pending++;
}

void walk_answer(struct walk *walk)
{
    must(walk->pending > 0);
    if (--walk->pending > 0 || !walk->waiting)
        return;
    must(!list_linked(&walk->node));
    list_append(&walk->flow->ready, &walk->node);
    loop_again(walk->flow->loop);
}

static void on_slept(void *context)
{
    walk_answer(context);
}

void walk_sleep_until(struct walk *walk, int64_t at_ms)
{
    must(!timer_is_set(&walk->timer));
    walk_ask(walk);
    timer_set(walk->flow->loop, &walk->timer, at_ms, on_slept, walk);
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

/* The ready hook: true when walks are left for the next turn. */
static bool flow_run(void *context)
{
    struct flow *flow = context;

    for (unsigned i = 0; i < flow->ready_per_turn && !list_empty(&flow->ready); i++)
        walk_run(container_of(list_pop(&flow->ready), struct walk, node));
    return !list_empty(&flow->ready);
}

/* Log lines of the step carry the subject's id. It is copied, as the subject may end in here. */
static void walk_run(struct walk *walk)
{
    char id_bytes[SUBJECT_ID_BYTES];
    struct str id = {NULL, 0};

    if (walk->flow->subject_id)
        id = walk->flow->subject_id(walk->subject);
    if (!str_empty(id)) {
        id = str_utf8_cut(id, sizeof(id_bytes));
        memcpy(id_bytes, id.data, id.len);
        id.data = id_bytes;
    }
    log_subject_set(id);
    walk->flow->now_us = loop_exact_us(walk->flow->loop);
    while (walk_obey(walk, walk_call_step(walk)))
        ;
    last_words_now.topic = NULL;
    log_subject_set((struct str){NULL, 0});
}

static enum verdict walk_call_step(struct walk *walk)
{
    const struct step *step = &walk->flow->steps[walk->at];
    bool finishing = walk->waiting;

    must(walk->pending == 0);
    walk->waiting = walk->asked = false;
    if (walk->flow->works_at)
        walk->flow->works_at(walk->subject, &last_words_now);
    last_words_now.step = step->name;
    if (finishing)
        return step->finish(walk->subject);
    crash_step(step->name, false);
    walk_enter(walk, walk->at);
    return step->begin(walk->subject);
}

/* True when the next step can be called at once; false: the walk waits, or is gone. */
static bool walk_obey(struct walk *walk, enum verdict verdict)
{
    struct flow *flow = walk->flow;
    const struct step *step = &flow->steps[walk->at];

    if (verdict == STEP_WAIT) {
        must(step->finish); /* a step that waits says what happens afterwards */
        must(walk->asked);  /* waiting for nothing would last for ever */
        walk->waiting = true;
        return walk->pending == 0;
    }
    must(walk->pending == 0);
    crash_step(step->name, true);
    walk_leave(walk);
    switch (verdict) {
    case STEP_NEXT:
        if (++walk->at < flow->step_count)
            return true;
        walk->at--;
        walk_end(walk, true);
        return false;
    case STEP_BACK:
        if (step_back(walk))
            return true;
        break;
    case STEP_FAIL:
        break;
    case STEP_DONE:
        walk_end(walk, true);
        return false;
    default:
        must_not_reach("a step's verdict");
    }
    flow->stats[walk->at].failed++;
    walk_end(walk, false);
    return false;
}

static bool step_back(struct walk *walk)
{
    struct flow *flow = walk->flow;
    const struct step *step = &flow->steps[walk->at];

    must(step->back);
    if (walk->rounds[walk->at] >= step->back_max)
        return false;
    walk->rounds[walk->at]++;
    flow->stats[walk->at].back++;
    walk->at = (unsigned)step_find(flow, step->back);
    return true;
}

static void walk_enter(struct walk *walk, unsigned at)
{
    struct step_stats *stats = &walk->flow->stats[at];

    walk->entered_us = walk->flow->now_us;
    stats->entered++;
    stats->inside++;
}

static void walk_leave(struct walk *walk)
{
    struct step_stats *stats = &walk->flow->stats[walk->at];

    stats->inside--;
    stats->spent_us += (uint64_t)(walk->flow->now_us - walk->entered_us);
}

/* Nothing of the walk is touched behind ended(): the subject may be freed in it. */
static void walk_end(struct walk *walk, bool ok)
{
    struct flow *flow = walk->flow;

    must(!timer_is_set(&walk->timer));
    flow->walking--;
    flow->ended(walk->subject, ok);
}

/* Index, or step_count when there is none. */
static size_t step_find(const struct flow *flow, const char *name)
{
    size_t i = 0;

    while (i < flow->step_count && strcmp(flow->steps[i].name, name) != 0)
        i++;
    return i;
}
