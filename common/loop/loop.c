/*
 * loop.c -- the real body of loop.h, over libevent.
 *
 * libevent waits for file descriptors and signals; timers are our own heap, so that their order is
 * the same as in the simulation. loop_post() puts the call on a locked queue and writes to an
 * eventfd.
 */
#include "common/loop/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "common/base/clock.h"
#include "common/base/must.h"
#include "common/base/rand.h"
#include "common/base/xalloc.h"

enum { SIGNALS_MAX = 8, WAIT_MS_MAX = 1000 };

struct post {
    struct list_node node;
    void (*call)(void *context);
    void *context;
};

struct signal_watch {
    struct event *event;
    void (*call)(int signal, void *context);
    void *context;
};

struct loop {
    struct event_base *base;
    int64_t now_us, wall_ms;
    struct heap timers;
    struct list ready, turn_end;
    struct rand rand;
    bool stopped, left_over;
    struct event *alarm; /* ends a wait */
    struct loop_stats stats;
    struct signal_watch signals[SIGNALS_MAX];
    size_t signal_count;
    int post_fd;
    struct event *post_event;
    pthread_mutex_t post_lock;
    struct list posts; /* under post_lock */
};

struct loop_watch {
    struct loop *loop;
    struct event *event;
    int fd, what;
    void (*ready)(int fd, int what, void *context);
    void *context;
};

static void read_clock(struct loop *loop)
{
    loop->now_us = clock_monotonic_us();
    loop->wall_ms = clock_wall_ms();
}

static void run_posts(evutil_socket_t fd, short what, void *context)
{
    struct loop *loop = context;
    uint64_t count;
    (void)what;
    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
    for (;;) {
        pthread_mutex_lock(&loop->post_lock);
        struct list_node *node = list_pop(&loop->posts);
        pthread_mutex_unlock(&loop->post_lock);
        if (!node)
            return;
        struct post *post = container_of(node, struct post, node);
        post->call(post->context);
        free(post);
    }
}

static bool open_posts(struct loop *loop)
{
    loop->post_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->post_fd < 0)
        return false;
    loop->post_event = event_new(loop->base, loop->post_fd, EV_READ | EV_PERSIST, run_posts, loop);
    return loop->post_event && event_add(loop->post_event, NULL) == 0;
}

static void alarm_rang(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what, (void)context;
}

static bool make_alarm(struct loop *loop)
{
    loop->alarm = evtimer_new(loop->base, alarm_rang, loop);
    return loop->alarm != NULL;
}

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

struct loop *loop_new(struct err *err)
{
    struct loop *loop = xzalloc(sizeof(*loop));
    heap_init(&loop->timers);
    list_init(&loop->ready);
    list_init(&loop->turn_end);
    list_init(&loop->posts);
    pthread_mutex_init(&loop->post_lock, NULL);
    rand_init_system(&loop->rand);
    loop->post_fd = -1;
    loop->base = new_base();
    if (!loop->base || !make_alarm(loop) || !open_posts(loop)) {
        err_set(err, ERR_INTERNAL, "the event loop could not be made: %s", strerror(errno));
        loop_free(loop);
        return NULL;
    }
    read_clock(loop);
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    for (size_t i = 0; i < loop->signal_count; i++)
        event_free(loop->signals[i].event);
    if (loop->alarm)
        event_free(loop->alarm);
    if (loop->post_event)
        event_free(loop->post_event);
    if (loop->post_fd >= 0)
        close(loop->post_fd);
    for (struct list_node *node; (node = list_pop(&loop->posts));)
        free(container_of(node, struct post, node));
    if (loop->base)
        event_base_free(loop->base);
    heap_done(&loop->timers);
    pthread_mutex_destroy(&loop->post_lock);
    free(loop);
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_us / 1000;
}

int64_t loop_wall_ms(const struct loop *loop)
{
    return loop->wall_ms;
}

int64_t loop_exact_us(const struct loop *loop)
{
    (void)loop;
    return clock_monotonic_us();
}

struct rand *loop_rand(struct loop *loop)
{
    return &loop->rand;
}

void timer_set(struct loop *loop, struct timer *timer, int64_t at_ms, void (*fire)(void *context),
               void *context)
{
    heap_remove(&loop->timers, &timer->node);
    timer->fire = fire;
    timer->context = context;
    heap_add(&loop->timers, &timer->node, at_ms);
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

/* Which of the two lists it is on does not matter to the links, but to the count. */
void loop_remove_hook(struct loop *loop, struct loop_hook *hook)
{
    if (!list_linked(&hook->node))
        return;
    LIST_EACH(&loop->ready, node)
    if (node == &hook->node) {
        list_remove(&loop->ready, node);
        return;
    }
    list_remove(&loop->turn_end, &hook->node);
}

static short event_what(int what)
{
    int flags = EV_PERSIST;
    flags |= what & LOOP_READ ? EV_READ : 0;
    flags |= what & LOOP_WRITE ? EV_WRITE : 0;
    return (short)flags;
}

static void watch_ready(evutil_socket_t fd, short what, void *context)
{
    struct loop_watch *watch = context;
    int seen = (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0);
    watch->ready(fd, seen, watch->context);
}

struct loop_watch *loop_watch_new(struct loop *loop, int fd, int what,
                                  void (*ready)(int fd, int what, void *context), void *context)
{
    struct loop_watch *watch = xzalloc(sizeof(*watch));
    *watch = (struct loop_watch){
        .loop = loop, .fd = fd, .what = what, .ready = ready, .context = context};
    watch->event = event_new(loop->base, fd, event_what(what), watch_ready, watch);
    must(watch->event);
    if (what)
        must(event_add(watch->event, NULL) == 0);
    return watch;
}

void loop_watch_change(struct loop_watch *watch, int what)
{
    if (watch->what == what)
        return;
    if (watch->what)
        event_del(watch->event);
    watch->what = what;
    if (!what)
        return;
    must(event_assign(watch->event, watch->loop->base, watch->fd, event_what(what), watch_ready,
                      watch) == 0);
    must(event_add(watch->event, NULL) == 0);
}

void loop_watch_free(struct loop_watch *watch)
{
    if (!watch)
        return;
    event_free(watch->event);
    free(watch);
}

void loop_post(struct loop *loop, void (*call)(void *context), void *context)
{
    struct post *post = xzalloc(sizeof(*post));
    const uint64_t one = 1;
    post->call = call;
    post->context = context;
    pthread_mutex_lock(&loop->post_lock);
    list_append(&loop->posts, &post->node);
    pthread_mutex_unlock(&loop->post_lock);
    while (write(loop->post_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void signal_came(evutil_socket_t signal, short what, void *context)
{
    struct signal_watch *watch = context;
    (void)what;
    watch->call((int)signal, watch->context);
}

void loop_on_signal(struct loop *loop, int signal, void (*call)(int signal, void *context),
                    void *context)
{
    must(loop->signal_count < SIGNALS_MAX);
    struct signal_watch *watch = &loop->signals[loop->signal_count++];
    watch->call = call;
    watch->context = context;
    watch->event = evsignal_new(loop->base, signal, signal_came, watch);
    must(watch->event && event_add(watch->event, NULL) == 0);
}

/* Timers set while these run, even for now, wait for the next turn, so a turn always ends. */
static void run_timers(struct loop *loop)
{
    int64_t now = loop_now_ms(loop);
    uint64_t before = loop->timers.next_seq;
    for (;;) {
        struct heap_node *node = heap_first(&loop->timers);
        if (!node || node->key > now || node->seq >= before)
            return;
        struct timer *timer = container_of(node, struct timer, node);
        heap_remove(&loop->timers, node);
        timer->fire(timer->context);
    }
}

static int64_t wait_ms(const struct loop *loop, int64_t max)
{
    const struct heap_node *first = heap_first(&loop->timers);
    int64_t wait = max;
    if (loop->left_over || loop->stopped)
        return 0;
    if (first && first->key - loop_now_ms(loop) < wait)
        wait = first->key - loop_now_ms(loop);
    return wait < 0 ? 0 : wait;
}

static void wait_and_collect(struct loop *loop, int64_t wait)
{
    if (wait > 0) {
        const struct timeval tv = {.tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000};
        event_add(loop->alarm, &tv);
        event_base_loop(loop->base, EVLOOP_ONCE);
    } else {
        event_base_loop(loop->base, EVLOOP_NONBLOCK);
    }
}

static bool run_hooks(struct list *hooks)
{
    bool more = false;
    LIST_EACH(hooks, node)
    more |= container_of(node, struct loop_hook, node)
                ->run(container_of(node, struct loop_hook, node)->context);
    return more;
}

static void count_turn(struct loop *loop, int64_t busy_us)
{
    loop->stats.turns++;
    if (busy_us > loop->stats.turn_us_max)
        loop->stats.turn_us_max = busy_us;
}

bool loop_turn(struct loop *loop, int64_t wait_ms_max)
{
    read_clock(loop);
    int64_t began_us = loop->now_us;
    run_timers(loop);
    int64_t wait_from_us = clock_monotonic_us();
    int64_t wait = wait_ms(loop, wait_ms_max);
    if (wait > 0) {
        wait_and_collect(loop, wait);
        /* What was collected is stamped with the time it came, not the time we began to wait. */
        int64_t waited_from = began_us;
        read_clock(loop);
        began_us = loop->now_us - (wait_from_us - waited_from);
    } else {
        wait_and_collect(loop, 0);
    }
    loop->left_over = run_hooks(&loop->ready);
    loop->left_over |= run_hooks(&loop->turn_end);
    count_turn(loop, clock_monotonic_us() - began_us);
    return !loop->stopped;
}

void loop_run(struct loop *loop)
{
    loop->stopped = false;
    while (loop_turn(loop, WAIT_MS_MAX))
        ;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

void *loop_event_base(struct loop *loop)
{
    return loop->base;
}

void loop_stats_take(struct loop *loop, struct loop_stats *ret)
{
    *ret = loop->stats;
    loop->stats.turn_us_max = 0;
}
