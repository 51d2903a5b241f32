/*
 * loop.c -- the simulated body of the loop door: no descriptors, and time is the simulation's.
 *
 * One turn is the real loop's without the wait: timers that are due, ready hooks, turn-end hooks. A
 * timer that is set while timers run waits for the next turn, as in the real one.
 */
#include "tests/sim/inside.h"

struct post {
    void (*call)(void *context);
    void *context;
};

struct loop {
    struct sim *sim;
    struct sim_process *process;
    struct heap timers;
    struct list ready, turn_end;
    struct list_node *hook_next;
    struct post *posts;
    size_t post_count, post_cap;
    struct rand rand;
    struct loop_stats stats;
    bool again, stopped;
};

struct loop *sim_loop_new(struct sim *sim, struct sim_process *process, uint64_t seed)
{
    struct loop *loop = xzalloc(sizeof(*loop));
    loop->sim = sim;
    loop->process = process;
    heap_init(&loop->timers);
    list_init(&loop->ready);
    list_init(&loop->turn_end);
    rand_init(&loop->rand, seed);
    loop->again = true;
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    heap_done(&loop->timers);
    free(loop->posts);
    free(loop);
}

struct sim_process *loop_process(const struct loop *loop)
{
    return loop->process;
}

int64_t loop_next_us(const struct loop *loop)
{
    struct heap_node *first = heap_first(&loop->timers);
    if (loop->again || loop->post_count || loop->stopped)
        return loop->sim->now_us;
    return first ? first->key * 1000 : INT64_MAX;
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->sim->now_us / 1000;
}

int64_t loop_wall_ms(const struct loop *loop)
{
    return SIM_WALL_MS + loop->sim->now_us / 1000;
}

int64_t loop_exact_us(const struct loop *loop)
{
    return loop->sim->now_us;
}

struct rand *loop_rand(struct loop *loop)
{
    return &loop->rand;
}

void timer_set(struct loop *loop, struct timer *timer, int64_t at_ms, void (*fire)(void *context),
               void *context)
{
    int64_t now = loop_now_ms(loop);
    heap_remove(&loop->timers, &timer->node);
    timer->fire = fire;
    timer->context = context;
    heap_add(&loop->timers, &timer->node, at_ms > now ? at_ms : now);
}

void timer_cancel(struct loop *loop, struct timer *timer)
{
    heap_remove(&loop->timers, &timer->node);
}

void loop_add_ready(struct loop *loop, struct loop_hook *hook)
{
    list_append(&loop->ready, &hook->node);
}

void loop_add_turn_end(struct loop *loop, struct loop_hook *hook)
{
    list_append(&loop->turn_end, &hook->node);
}

void loop_remove_hook(struct loop *loop, struct loop_hook *hook)
{
    struct list *home = &loop->turn_end;
    if (!list_linked(&hook->node))
        return;
    LIST_EACH(&loop->ready, node)
    {
        if (node == &hook->node)
            home = &loop->ready;
    }
    if (loop->hook_next == &hook->node)
        loop->hook_next = list_next(home, &hook->node);
    list_remove(home, &hook->node);
}

void loop_again(struct loop *loop)
{
    loop->again = true;
}

void loop_post(struct loop *loop, void (*call)(void *context), void *context)
{
    if (loop->post_count == loop->post_cap) {
        loop->post_cap = loop->post_cap ? loop->post_cap * 2 : 16;
        loop->posts = xrealloc(loop->posts, loop->post_cap * sizeof(*loop->posts));
    }
    loop->posts[loop->post_count++] = (struct post){call, context};
}

static void run_posts(struct loop *loop)
{
    size_t count = loop->post_count;
    struct post *posts = loop->posts;
    loop->posts = NULL;
    loop->post_count = loop->post_cap = 0;
    for (size_t i = 0; i < count; i++)
        posts[i].call(posts[i].context);
    free(posts);
}

static void run_timers(struct loop *loop)
{
    uint64_t seq_end = loop->timers.next_seq;
    struct heap_node *first;
    while ((first = heap_first(&loop->timers)) && first->key <= loop_now_ms(loop) &&
           first->seq < seq_end) {
        struct timer *timer = container_of(first, struct timer, node);
        heap_remove(&loop->timers, first);
        timer->fire(timer->context);
    }
}

static bool run_hooks(struct loop *loop, struct list *hooks)
{
    bool left_over = false;
    for (struct list_node *node = list_first(hooks); node; node = loop->hook_next) {
        struct loop_hook *hook = container_of(node, struct loop_hook, node);
        loop->hook_next = list_next(hooks, node);
        left_over |= hook->run(hook->context);
    }
    loop->hook_next = NULL;
    return left_over;
}

bool loop_turn(struct loop *loop, int64_t wait_ms_max)
{
    (void)wait_ms_max;
    run_posts(loop);
    loop->again = false;
    run_timers(loop);
    bool left_over = run_hooks(loop, &loop->ready);
    left_over |= run_hooks(loop, &loop->turn_end);
    loop->again |= left_over;
    loop->stats.turns++;
    return !loop->stopped;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

void loop_stats_take(struct loop *loop, struct loop_stats *ret)
{
    *ret = loop->stats;
}
