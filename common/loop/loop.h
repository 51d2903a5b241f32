/*
 * loop.h -- one thread, one loop; and the only source of time.
 *
 * One turn: (1) wait for file descriptors and the next timer, not at all if something was left
 * over; (2) the clock is read once; (3) doors collect what arrived: they only record and wake;
 * (4) due timers run; (5) the ready hooks run (flow's ready queue, bounded); (6) the turn-end hooks
 * run: flush produces, pipelines and offsets, recycle what finished. The clock is read behind the
 * wait, so that nobody measures a deadline from before a long sleep.
 *
 * Timers are intrusive and one-shot. All functions belong to the loop's thread, but loop_post().
 * The simulated body (tests/sim) has a clock of its own and no file descriptors.
 */
#ifndef QUERN_COMMON_LOOP_LOOP_H
#define QUERN_COMMON_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/heap.h"
#include "common/base/list.h"

struct loop;
struct rand;

struct loop *loop_new(struct err *err);
void loop_free(struct loop *loop); /* takes NULL */

/* Monotonic milliseconds, as read at the beginning of this turn. */
int64_t loop_now_ms(const struct loop *loop);
/* Unix time in milliseconds: wall clock at the beginning of this turn. Never for deadlines. */
int64_t loop_wall_ms(const struct loop *loop);
/* Microseconds of the monotonic clock now, not cached; for measuring pieces of a turn. */
int64_t loop_exact_us(const struct loop *loop);
/* The process's random numbers; seeded from the system, or by tests. */
struct rand *loop_rand(struct loop *loop);

struct timer {
    struct heap_node node;
    void (*fire)(void *context);
    void *context;
};

/* Sets or moves the timer; `at_ms` is in loop_now_ms() time; in the past: next turn. */
void timer_set(struct loop *loop, struct timer *timer, int64_t at_ms, void (*fire)(void *context),
               void *context);
void timer_cancel(struct loop *loop, struct timer *timer); /* not set: does nothing */
static inline bool timer_is_set(const struct timer *timer)
{
    return heap_linked(&timer->node);
}

/* Hooks live as long as the loop or until removed. `run` returns true when it left work over. */
struct loop_hook {
    struct list_node node;
    bool (*run)(void *context);
    void *context;
};
void loop_add_ready(struct loop *loop, struct loop_hook *hook);
void loop_add_turn_end(struct loop *loop, struct loop_hook *hook);
void loop_remove_hook(struct loop *loop, struct loop_hook *hook);
/* The next wait is zero. For work that appears after its hook has run (in a turn-end hook). */
void loop_again(struct loop *loop);

/* File descriptors; only doors use them. A watch may be changed or removed from its callback. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_watch;
struct loop_watch *loop_watch_new(struct loop *loop, int fd, int what,
                                  void (*ready)(int fd, int what, void *context), void *context);
void loop_watch_change(struct loop_watch *watch, int what); /* 0: keep quiet */
void loop_watch_free(struct loop_watch *watch);             /* takes NULL */

/* Runs `call(context)` in the loop's thread at the next turn; may be called from any thread. Calls
 * that have not run when the loop is freed never run. */
void loop_post(struct loop *loop, void (*call)(void *context), void *context);

/* SIGTERM and friends, delivered as ordinary calls in the loop; a second call takes the place of
 * the first. Only one loop of a process may use signals. */
void loop_on_signal(struct loop *loop, int signal, void (*call)(int signal, void *context),
                    void *context);

void loop_run(struct loop *loop); /* until loop_stop() */
/* One turn that waits at most so long, -1: no bound of its own; false once loop_stop() was called.
 * For command-line programs and tests. */
bool loop_turn(struct loop *loop, int64_t wait_ms_max);
void loop_stop(struct loop *loop);

/* The event_base, for the doors whose library wants it (evhttp). */
void *loop_event_base(struct loop *loop);

struct loop_stats {
    uint64_t turns;
    int64_t turn_us_max; /* longest turn since the last look, waiting left out */
};
void loop_stats_take(struct loop *loop, struct loop_stats *ret);

#endif
