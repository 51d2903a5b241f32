/*
 * cancel.c -- requests that nobody wants an answer to any more.
 *
 * Whoever cancels one leaves a key in Redis, which is seen when the request is claimed, and tells
 * all workers, for one of them may be at it. Who hears of a request that is not here does nothing.
 */
#include "common/app/metrics.h"
#include "worker/intake/inside.h"

/* TENANT 0x1f ID, the key of the map of ids at work. */
static void on_cancelled(struct str message, void *context)
{
    struct intake *intake = context;
    struct map_node *node = map_find(&intake->active, message);
    if (!node && !put_off_cancelled(intake, message))
        return;
    metric_add(METRIC_requests_cancelled_total, 1);
    if (node)
        intake->worker->cancel(container_of(node, struct job, active_node));
}

void intake_hear_of_cancelled(struct intake *intake)
{
    struct worker *worker = intake->worker;
    redis_subscribe(worker->redis, str_of(worker->cancel_channel), on_cancelled, intake);
}
