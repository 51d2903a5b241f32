/*
 * loop.c -- libevent waits, this file decides for how long and what runs afterwards.
 *
 * libevent tells which descriptors and signals are there; timers are ours (an intrusive heap), so
 * that setting and moving one costs no allocation and no system call. One libevent time-out, armed
 * before each wait, stands for the first timer of the heap. Other threads reach the loop through
 * the post queue: a locked array and an eventfd.
 *
 * What stays true: callbacks run only inside loop_turn(); the clock is read by whichever callback
 * runs first behind the wait (turn_woke), so libraries that hang on the event_base directly
 * (evhttp) see at worst the previous turn's time; a timer set while timers run waits for the next
 * turn, so a timer that sets itself into the past cannot lock the loop up.
 */
#include "common/loop/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/rand.h"
#include "common/base/xalloc.h"

#define WAIT_MS_MAX 60000 /* no wait is without an end, even when nothing is planned */
#define SIGNALS_MAX 8
#define POSTS_MAX   (1u << 20) /* more than that has gathered: some thread has run wild */

struct post {
    void (*call)(void *context);
    void *context;
};

struct post_queue {
    pthread_mutex_t lock;
    int fd; /* eventfd; readable while something is queued */
    struct loop_watch *watch;
    struct post *items, *taken; /* `taken` is the array being run; both are swapped */
    size_t count, cap, taken_cap;
};

struct loop_signal {
    int number;
    struct event *event;
    void (*call)(int signal, void *context);
    void *context;
};

struct loop {
    struct event_base *base;
    struct event *wake_up; /* stands for the first timer of the heap */
    struct heap timers;
    int64_t now_ms, wall_ms;
    int64_t woke_us; /* 0 while waiting; else when this turn's wait was over */
    struct list ready, turn_end;
    struct list_node *hook_next; /* the hook that runs next, kept right when hooks are removed */
    bool again, stopped;
    struct post_queue posts;
    struct loop_signal signals[SIGNALS_MAX];
    size_t signal_count;
    struct rand rand;
    struct loop_stats stats;
};

struct loop_watch {
    struct loop *loop;
    struct event *event;
    int fd, what;
    void (*ready)(int fd, int what, void *context);
    void *context;
};

static bool base_open(struct loop *loop, struct err *err);
static bool posts_open(struct loop *loop, struct err *err);
static void posts_close(struct post_queue *posts);
static int64_t wait_ms(const struct loop *loop, int64_t wait_ms_max);
static void wait_and_collect(struct loop *loop, int64_t ms);
static void turn_woke(struct loop *loop);
static void run_timers(struct loop *loop);
static bool run_hooks(struct loop *loop, struct list *hooks);

struct loop *loop_new(struct err *err)
{
    struct loop *loop = xzalloc(sizeof(*loop));

    heap_init(&loop->timers);
    list_init(&loop->ready);
    list_init(&loop->turn_end);
    rand_init_system(&loop->rand);
    loop->posts.fd = -1;
    turn_woke(loop);
    if (!base_open(loop, err) || !posts_open(loop, err)) {
        loop_free(loop);
        return NULL;
    }
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    posts_close(&loop->posts);
    for (size_t i = 0; i < loop->signal_count; i++)
        event_free(loop->signals[i].event);
    if (loop->wake_up)
        event_free(loop->wake_up);
    if (loop->base)
        event_base_free(loop->base);
    heap_done(&loop->timers);
    free(loop);
}

bool loop_turn(struct loop *loop, int64_t wait_ms_max)
{
    wait_and_collect(loop, wait_ms(loop, wait_ms_max));
    loop->again = false;
    run_timers(loop);
    bool left_over = run_hooks(loop, &loop->ready);
    left_over |= run_hooks(loop, &loop->turn_end);
    loop->again |= left_over;

    int64_t busy_us = clock_monotonic_us() - loop->woke_us;
    if (busy_us > loop->stats.turn_us_max)
        loop->stats.turn_us_max = busy_us;
    loop->stats.turns++;
    return !loop->stopped;
}

void loop_run(struct loop *loop)
{
    while (loop_turn(loop, -1))
        ;
    loop->stopped = false;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

void loop_again(struct loop *loop)
{
    loop->again = true;
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

int64_t loop_wall_ms(const struct loop *loop)
{
    return loop->wall_ms;
}

int64_t loop_exact_us(const struct loop *loop)
{
    (void)loop; /* the simulated loop has a clock of its own */
    return clock_monotonic_us();
}

struct rand *loop_rand(struct loop *loop)
{
    return &loop->rand;
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

/* Waiting */

/* With `again` set or the loop stopped there is no wait at all: descriptors are only looked at. */
static int64_t wait_ms(const struct loop *loop, int64_t wait_ms_max)
{
    if (loop->again || loop->stopped)
        return 0;
    int64_t ms = wait_ms_max < 0 || wait_ms_max > WAIT_MS_MAX ? WAIT_MS_MAX : wait_ms_max;
    const struct heap_node *first = heap_first(&loop->timers);
    if (!first)
        return ms;
    int64_t until_timer_ms = first->key - clock_monotonic_us() / 1000;
    if (until_timer_ms <= 0)
        return 0;
    return until_timer_ms < ms ? until_timer_ms : ms;
}

static void wait_and_collect(struct loop *loop, int64_t ms)
{
    int flags = EVLOOP_NONBLOCK | EVLOOP_ONCE; /* once: NONBLOCK alone goes on while busy */

    if (ms > 0) {
        struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
        event_add(loop->wake_up, &tv);
        flags = EVLOOP_ONCE;
    }
    loop->woke_us = 0;
    int failed = event_base_loop(loop->base, flags);
    must(failed >= 0);
    turn_woke(loop);
}

/* The first to notice that the wait is over reads the clock for all of this turn. */
static void turn_woke(struct loop *loop)
{
    if (loop->woke_us)
        return;
    loop->woke_us = clock_monotonic_us();
    loop->now_ms = loop->woke_us / 1000;
    loop->wall_ms = clock_wall_ms();
}

static void on_wake_up(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    turn_woke(context);
}

static void log_libevent(int severity, const char *message)
{
    if (severity >= EVENT_LOG_WARN)
        log_warn("libevent", LOG_C("text", message));
}

/* Precise timers: without them libevent rounds waits by a cached, coarse clock. */
static bool base_open(struct loop *loop, struct err *err)
{
    struct event_config *config = event_config_new();

    event_set_log_callback(log_libevent);
    if (config) {
        event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
        loop->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (loop->base)
        loop->wake_up = event_new(loop->base, -1, 0, on_wake_up, loop);
    if (loop->wake_up)
        return true;
    err_set(err, ERR_INTERNAL, "libevent cannot make an event loop: %s", strerror(errno));
    return false;
}

/* Timers */

void timer_set(struct loop *loop, struct timer *timer, int64_t at_ms, void (*fire)(void *context),
               void *context)
{
    heap_remove(&loop->timers, &timer->node);
    timer->fire = fire;
    timer->context = context;
    /* The past becomes the present, so that run_timers() finds new timers behind older ones. */
    heap_add(&loop->timers, &timer->node, at_ms > loop->now_ms ? at_ms : loop->now_ms);
}

void timer_cancel(struct loop *loop, struct timer *timer)
{
    heap_remove(&loop->timers, &timer->node);
}

/* Timers set from here on have a later number and wait for the next turn. */
static void run_timers(struct loop *loop)
{
    uint64_t seq_end = loop->timers.next_seq;
    struct heap_node *first;

    while ((first = heap_first(&loop->timers)) && first->key <= loop->now_ms &&
           first->seq < seq_end) {
        struct timer *timer = container_of(first, struct timer, node);
        heap_remove(&loop->timers, first);
        timer->fire(timer->context);
    }
}

/* Hooks */

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

/* File descriptors */

static void on_ready(evutil_socket_t fd, short events, void *context)
{
    struct loop_watch *watch = context;
    int what = (events & EV_READ ? LOOP_READ : 0) | (events & EV_WRITE ? LOOP_WRITE : 0);

    turn_woke(watch->loop);
    watch->ready(fd, what, watch->context); /* the watch may be gone behind this line */
}

/* EV_PERSIST, so that a watch stays until it is changed. */
static short watch_events(int what)
{
    return (short)((what & LOOP_READ ? EV_READ : 0) | (what & LOOP_WRITE ? EV_WRITE : 0) |
                   EV_PERSIST);
}

struct loop_watch *loop_watch_new(struct loop *loop, int fd, int what,
                                  void (*ready)(int fd, int what, void *context), void *context)
{
    struct loop_watch *watch = xzalloc(sizeof(*watch));

    *watch = (struct loop_watch){
        .loop = loop, .fd = fd, .what = what, .ready = ready, .context = context};
    watch->event = event_new(loop->base, fd, watch_events(what), on_ready, watch);
    must(watch->event);
    if (what)
        event_add(watch->event, NULL);
    return watch;
}

void loop_watch_change(struct loop_watch *watch, int what)
{
    if (watch->what == what)
        return;
    watch->what = what;
    event_del(watch->event);
    if (!what)
        return;
    event_assign(watch->event, watch->loop->base, watch->fd, watch_events(what), on_ready, watch);
    event_add(watch->event, NULL);
}

void loop_watch_free(struct loop_watch *watch)
{
    if (!watch)
        return;
    event_free(watch->event);
    free(watch);
}

/* The post queue */

void loop_post(struct loop *loop, void (*call)(void *context), void *context)
{
    struct post_queue *posts = &loop->posts;

    pthread_mutex_lock(&posts->lock);
    must(posts->count < POSTS_MAX);
    if (posts->count == posts->cap) {
        posts->cap = posts->cap ? posts->cap * 2 : 16;
        posts->items = xrealloc(posts->items, posts->cap * sizeof(*posts->items));
    }
    posts->items[posts->count++] = (struct post){call, context};
    bool first = posts->count == 1;
    pthread_mutex_unlock(&posts->lock);
    if (first)
        eventfd_write(posts->fd, 1);
}

/* Takes the whole array at once: posts made by these calls wait for the next turn. */
static void on_posts(int fd, int what, void *context)
{
    struct post_queue *posts = context;
    eventfd_t ignored;

    (void)what;
    eventfd_read(fd, &ignored);
    pthread_mutex_lock(&posts->lock);
    struct post *items = posts->items;
    size_t count = posts->count, cap = posts->cap;
    posts->items = posts->taken;
    posts->cap = posts->taken_cap;
    posts->count = 0;
    posts->taken = items;
    posts->taken_cap = cap;
    pthread_mutex_unlock(&posts->lock);

    for (size_t i = 0; i < count; i++)
        items[i].call(items[i].context);
}

static bool posts_open(struct loop *loop, struct err *err)
{
    struct post_queue *posts = &loop->posts;

    pthread_mutex_init(&posts->lock, NULL);
    posts->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (posts->fd < 0) {
        err_set(err, ERR_INTERNAL, "eventfd: %s", strerror(errno));
        return false;
    }
    posts->watch = loop_watch_new(loop, posts->fd, LOOP_READ, on_posts, posts);
    return true;
}

static void posts_close(struct post_queue *posts)
{
    loop_watch_free(posts->watch);
    if (posts->fd >= 0)
        close(posts->fd);
    free(posts->items);
    free(posts->taken);
}

/* Signals */

static void on_signal(evutil_socket_t number, short what, void *context)
{
    struct loop *loop = context;

    (void)what;
    turn_woke(loop);
    for (size_t i = 0; i < loop->signal_count; i++)
        if (loop->signals[i].number == number)
            loop->signals[i].call((int)number, loop->signals[i].context);
}

static struct loop_signal *signal_find(struct loop *loop, int number)
{
    for (size_t i = 0; i < loop->signal_count; i++)
        if (loop->signals[i].number == number)
            return &loop->signals[i];
    return NULL;
}

void loop_on_signal(struct loop *loop, int number, void (*call)(int signal, void *context),
                    void *context)
{
    struct loop_signal *slot = signal_find(loop, number);

    if (!slot) {
        must(loop->signal_count < SIGNALS_MAX);
        slot = &loop->signals[loop->signal_count++];
        slot->number = number;
        slot->event = evsignal_new(loop->base, number, on_signal, loop);
        must(slot->event);
        evsignal_add(slot->event, NULL);
    }
    slot->call = call;
    slot->context = context;
}
