/*
 * deliver.c -- see deliver.h. Pauses grow from 20 ms to 2 s; there is no last try for what goes to
 * our own topics, because giving up would lose an answer that was paid for. The drain time-out
 * bounds it when the program leaves.
 */
#include "worker/deliver.h"

#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"

enum { PAUSE_MS_MIN = 20, PAUSE_MS_MAX = 2000, TRIES_TOLD = 5 };

static void attempt(void *context);

static void again_later(struct delivery *d)
{
    int64_t pause = PAUSE_MS_MIN;
    for (unsigned i = 0; i < d->tries && pause < PAUSE_MS_MAX; i++)
        pause *= 2;
    d->tries++;
    timer_set(d->loop, &d->timer, loop_now_ms(d->loop) + pause, attempt, d);
}

static void finish(struct delivery *d, bool too_big)
{
    must(!d->done);
    d->done = true;
    d->too_big = too_big;
    walk_answer(d->walk);
}

static bool is_end(struct delivery *d, const struct err *err)
{
    d->refusals += err->code != ERR_TIMEOUT;
    d->refused = d->refusals_max && d->refusals >= d->refusals_max;
    return d->refused;
}

static void delivered(const struct err *err, void *context)
{
    struct delivery *d = context;
    if (!err || PLANTED(22))
        finish(d, false);
    else if (err->code == ERR_TOO_BIG)
        finish(d, true);
    else if (is_end(d, err))
        finish(d, false);
    else {
        if (d->tries == TRIES_TOLD)
            log_warn("a record cannot be produced, tried again until it can",
                     LOG_C("topic", d->record.topic), LOG_C("error", err->text));
        again_later(d);
    }
}

static void attempt(void *context)
{
    struct delivery *d = context;
    if (!kafka_produce(d->producer, &d->record) && !PLANTED(23))
        again_later(d);
}

void deliver_start(struct delivery *d, struct loop *loop, struct kafka_producer *producer,
                   struct walk *walk, const struct kafka_produce *record)
{
    *d = (struct delivery){.producer = producer, .loop = loop, .walk = walk, .record = *record};
    d->record.done = delivered;
    d->record.context = d;
    walk_ask(walk);
    attempt(d);
}

void deliver_give_up(struct delivery *d, unsigned refusals_max)
{
    d->refusals_max = refusals_max;
}
