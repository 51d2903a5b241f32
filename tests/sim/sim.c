/*
 * sim.c -- the world's clock: events in order of their moment, then a turn of every process that
 * has something to do.
 *
 * A step goes to the next moment at which anything happens; events of that moment run in the order
 * in which they were set, then each process that was woken, or whose timers are due, gets one turn.
 * The clock stands still meanwhile.
 */
#include "tests/sim/inside.h"

#include <stdlib.h>

#include "common/app/metrics.h"
#include "common/base/log.h"

enum { SETTLE_MS_MAX = 3600 * 1000, SPIN_MAX = 100000 };

static unsigned living;

struct sim *sim_new(uint64_t seed)
{
    struct sim *sim = xzalloc(sizeof(*sim));
    enum log_level level = LOG_LEVEL_ERROR;
    log_level_by_name(str_of(getenv("SIM_LOG")), &level);
    log_init("sim", "text", level);
    metric_reset_all();
    if (living++ == 0) /* maps of a simulation that lives keep their order */
        str_hash_seed_set(seed);
    sim->seed = seed;
    rand_init(&sim->rand, seed);
    heap_init(&sim->events);
    list_init(&sim->ops);
    list_init(&sim->processes);
    list_init(&sim->settings);
    arena_init(&sim->arena, NULL, (size_t)1 << 32);
    sim->doors.fingerprint = seed;
    sim->kafka = sim_kafka_new(sim);
    sim->redis = sim_redis_new(sim);
    sim->store = sim_store_new(sim);
    sim->http = sim_http_new(sim);
    return sim;
}

void sim_free(struct sim *sim)
{
    LIST_EACH(&sim->processes, node)
    sim_process_end(container_of(node, struct sim_process, node));
    LIST_EACH(&sim->ops, node)
    {
        struct sim_op *op = container_of(node, struct sim_op, node);
        list_remove(&sim->ops, node);
        sim_event_cancel(&op->there);
        sim_event_cancel(&op->back);
        op->free(op);
    }
    for (struct list_node *node; (node = list_pop(&sim->processes));)
        sim_process_free(container_of(node, struct sim_process, node));
    sim_http_free(sim->http);
    sim_store_free(sim->store);
    sim_redis_free(sim->redis);
    sim_kafka_free(sim->kafka);
    sim_settings_free(sim);
    heap_done(&sim->events);
    free(sim->doors.faults);
    free(sim->doors.seen);
    arena_done(&sim->arena);
    free(sim);
    living--;
}

int64_t sim_now_ms(const struct sim *sim)
{
    return sim->now_us / 1000;
}

uint64_t sim_random(struct sim *sim, uint64_t bound)
{
    return rand_below(&sim->rand, bound);
}

int64_t sim_latency_us(struct sim *sim, int64_t us)
{
    return us / 2 + (int64_t)rand_below(&sim->rand, (uint64_t)us + 1);
}

/* Events */

void sim_event_set(struct sim *sim, struct sim_event *event, struct sim_process *process,
                   int64_t at_us, void (*run)(void *context), void *context)
{
    sim_event_cancel(event);
    event->sim = sim;
    event->process = process;
    event->run = run;
    event->context = context;
    heap_add(&sim->events, &event->node, at_us > sim->now_us ? at_us : sim->now_us);
}

void sim_event_cancel(struct sim_event *event)
{
    if (heap_linked(&event->node))
        heap_remove(&event->sim->events, &event->node);
    if (list_linked(&event->held))
        list_remove(&event->process->held, &event->held);
}

void sim_wake(struct sim_process *process)
{
    process->woken = true;
}

/* What belongs to a process that stands still happens when it goes on. */
static void event_run(struct sim *sim, struct sim_event *event)
{
    struct sim_process *process = event->process;
    heap_remove(&sim->events, &event->node);
    if (process && process->stopped) {
        list_append(&process->held, &event->held);
        return;
    }
    if (process && process->frozen_until_us > sim->now_us) {
        heap_add(&sim->events, &event->node, process->frozen_until_us);
        return;
    }
    if (process && process->killed)
        return;
    if (process)
        sim_wake(process);
    event->run(event->context);
}

void sim_events_release(struct sim_process *process)
{
    struct sim *sim = process->sim;
    process->stopped = false;
    for (struct list_node *node; (node = list_pop(&process->held));)
        heap_add(&sim->events, &container_of(node, struct sim_event, held)->node, sim->now_us);
    sim_wake(process);
}

/* Ops */

static void op_free_if_over(struct sim_op *op)
{
    if (!op->arrived || !op->answered)
        return;
    list_remove(&op->sim->ops, &op->node);
    op->free(op);
}

/* The server does what it was asked, unless the call is one that gets lost. */
static void op_arrive(struct sim_op *op)
{
    op->arrived = true;
    if (op->way == SIM_NEVER)
        op->lost = true;
    else
        op->arrive(op);
    if (op->way == SIM_TWICE)
        op->arrive(op);
    op->lost |= op->way == SIM_NO_ANSWER;
    if (op->cut && !op->answered && (op->way == SIM_NEVER || op->way == SIM_NO_ANSWER))
        op->cut(op);
}

static void op_there(void *context)
{
    struct sim_op *op = context;
    op_arrive(op);
    op_free_if_over(op);
}

static void op_tell(struct sim_op *op)
{
    op->answered = true;
    if (op->clients)
        list_remove(op->clients, &op->client);
    op->answer(op);
    op_free_if_over(op);
}

static void op_back(void *context)
{
    struct sim_op *op = context;
    op->lost |= !op->arrived;
    op_tell(op);
}

/* What was sent before on the same connection arrives before. */
static void arrive_and_die(struct sim_op *op)
{
    LIST_EACH(op->clients, node)
    {
        struct sim_op *earlier = container_of(node, struct sim_op, client);
        if (earlier->arrived || (earlier != op && op->door == SIM_HTTP))
            continue;
        sim_event_cancel(&earlier->there);
        op_arrive(earlier);
    }
    op->process->killed = true;
}

/* The caller of what is lost without a broken connection finds out when it gives up. */
static int64_t answered_at(const struct sim_op *op, int64_t back_us)
{
    bool lost = (op->way == SIM_NEVER || op->way == SIM_NO_ANSWER) && !op->cut;
    return (lost || op->way == SIM_LATE) && op->give_up_us > back_us ? op->give_up_us : back_us;
}

void sim_op_start(struct sim *sim, struct sim_process *process, struct list *clients,
                  struct sim_op *op, int64_t there_us, int64_t back_us)
{
    op->sim = sim;
    op->process = process;
    op->clients = clients;
    list_append(&sim->ops, &op->node);
    if (clients)
        list_append(clients, &op->client);
    if (there_us >= 0 && !process->killed && op->way != SIM_REFUSE)
        sim_event_set(sim, &op->there, NULL, there_us, op_there, op);
    else
        op->arrived = op->lost = true;
    sim_event_set(sim, &op->back, process,
                  op->way == SIM_REFUSE ? sim->now_us : answered_at(op, back_us), op_back, op);
    if (op->way == SIM_DIE_AFTER && !op->arrived)
        arrive_and_die(op);
}

void sim_op_lose(struct sim_op *op)
{
    sim_event_cancel(&op->back);
    op->lost = true;
    sim_wake(op->process);
    op_tell(op);
}

/* A process that was killed takes with it what has not arrived. */
void sim_ops_abandon(struct list *ops)
{
    for (struct list_node *node; (node = list_pop(ops));) {
        struct sim_op *op = container_of(node, struct sim_op, client);
        sim_event_cancel(&op->back);
        op->answered = true;
        if (op->process->killed && !op->arrived) {
            sim_event_cancel(&op->there);
            op->arrived = true;
        }
        op_free_if_over(op);
    }
}

/* Time */

static int64_t next_moment(const struct sim *sim)
{
    struct heap_node *first = heap_first(&sim->events);
    int64_t at = first ? first->key : INT64_MAX;
    LIST_EACH(&sim->processes, node)
    {
        struct sim_process *process = container_of(node, struct sim_process, node);
        if (!process->running || (process->stopped && !process->killed))
            continue;
        int64_t wants =
            process->woken || process->killed ? sim->now_us : loop_next_us(process->loop);
        if (wants < process->frozen_until_us && !process->killed)
            wants = process->frozen_until_us;
        at = wants < at ? wants : at;
    }
    return at < sim->now_us ? sim->now_us : at;
}

static void run_events(struct sim *sim)
{
    struct heap_node *first;
    uint64_t seq_end = sim->events.next_seq; /* what is set meanwhile waits for the next step */
    while ((first = heap_first(&sim->events)) && first->key <= sim->now_us && first->seq < seq_end)
        event_run(sim, container_of(first, struct sim_event, node));
}

static void run_processes(struct sim *sim)
{
    LIST_EACH(&sim->processes, node)
    {
        struct sim_process *process = container_of(node, struct sim_process, node);
        sim_process_check(process);
        if (!process->running || process->stopped || process->frozen_until_us > sim->now_us)
            continue;
        if (!process->woken && loop_next_us(process->loop) > sim->now_us)
            continue;
        process->woken = false;
        loop_turn(process->loop, 0);
        sim_process_check(process);
    }
}

/* False: nothing happens until `end_us`. */
static bool step(struct sim *sim, int64_t end_us)
{
    int64_t at = next_moment(sim);
    if (at > end_us)
        return false;
    sim->now_us = at;
    run_events(sim);
    run_processes(sim);
    return true;
}

bool sim_run_until(struct sim *sim, bool (*true_now)(struct sim *sim, void *context), void *context,
                   int64_t ms_max)
{
    int64_t end_us = sim->now_us + ms_max * 1000, last_us = -1;
    unsigned spins = 0;
    while (!(true_now && true_now(sim, context))) {
        if (!step(sim, end_us)) {
            sim->now_us = end_us;
            return true_now && true_now(sim, context);
        }
        spins = sim->now_us == last_us ? spins + 1 : 0;
        last_us = sim->now_us;
        if (spins > SPIN_MAX)
            must_not_reach("a simulation whose clock goes on");
    }
    return true;
}

void sim_run_ms(struct sim *sim, int64_t ms)
{
    sim_run_until(sim, NULL, NULL, ms);
}

static bool all_committed(struct sim *sim, void *context)
{
    (void)context;
    return sim_kafka_all_committed(sim->kafka) &&
           (!sim_aggregators_work(sim) || (sim_outbox_rows(sim) == 0 && sim_kafka_all_stored(sim)));
}

bool sim_settled(struct sim *sim)
{
    return all_committed(sim, NULL);
}

bool sim_settle(struct sim *sim)
{
    return sim_run_until(sim, all_committed, NULL, SETTLE_MS_MAX);
}
