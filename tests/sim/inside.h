/*
 * inside.h -- what the files of the simulator share, and nobody else.
 *
 * Everything that takes time is an event: a moment, a function, and the process it belongs to
 * (none: a server's or the world's). Questions to servers are ops: they arrive at the server at one
 * moment and are answered in the process at another; either side may be gone by then.
 */
#ifndef QUERN_TESTS_SIM_INSIDE_H
#define QUERN_TESTS_SIM_INSIDE_H

#include "common/app/app.h"
#include "common/base/arena.h"
#include "common/base/heap.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/must.h"
#include "common/base/rand.h"
#include "common/base/xalloc.h"
#include "common/io/http_client.h"
#include "common/io/kafka.h"
#include "common/io/postgres.h"
#include "common/io/redis.h"
#include "common/loop/loop.h"
#include "tests/sim/sim.h"

#include <stdio.h>

#define SIM_WALL_MS  1700000000000 /* the simulation's first moment */
#define SIM_TEXT_MAX (64 << 20)

struct sim_event {
    struct heap_node node; /* key: microseconds */
    struct list_node held; /* in process->held, while it is stopped */
    struct sim *sim;
    struct sim_process *process; /* runs as part of its turn; frozen: later */
    void (*run)(void *context);
    void *context;
};
void sim_event_set(struct sim *sim, struct sim_event *event, struct sim_process *process,
                   int64_t at_us, void (*run)(void *context), void *context);
void sim_event_cancel(struct sim_event *event); /* not set: does nothing */

/* A question on its way to a server and its answer on the way back. It is freed when it has arrived
 * and is answered. */
struct sim_op {
    struct sim_event there, back;
    struct list_node node;   /* in sim->ops */
    struct list_node client; /* in its door's list, while an answer is wanted */
    struct list *clients;
    struct sim *sim;
    struct sim_process *process;
    bool arrived, answered, lost; /* lost: there will be no answer of the server */
    enum sim_door door;
    enum sim_way way;
    int64_t give_up_us;                /* when the caller stops waiting by itself */
    void (*arrive)(struct sim_op *op); /* the server does it and fills in the answer */
    void (*answer)(struct sim_op *op); /* the process hears of it */
    void (*free)(struct sim_op *op);
    void (*cut)(struct sim_op *op); /* the connection breaks; NULL: calls have none in common */
};
/* there_us < 0: it never arrives. */
void sim_op_start(struct sim *sim, struct sim_process *process, struct list *clients,
                  struct sim_op *op, int64_t there_us, int64_t back_us);
void sim_op_lose(struct sim_op *op);    /* answered now, without the server's answer */
void sim_ops_abandon(struct list *ops); /* nobody wants the answers any more */

/* doors.c: a door call begins. Which way it goes; never a way the door does not know. SIM_DIE: the
 * process is dead from here on, though its code runs to the end of its turn. */
enum sim_way sim_door(struct sim_process *process, enum sim_door door, const char *what);
/* A line of the trace, and its part of the fingerprint. */
void sim_note(struct sim *sim, const struct sim_process *process, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct sim_doors {
    uint64_t calls, calls_of[SIM_DOORS];
    unsigned char *seen; /* the door of each call */
    size_t seen_cap;
    struct sim_fault *faults;
    size_t fault_count;
    uint64_t fingerprint;
    FILE *trace;
};

struct sim_kafka;
struct sim_redis;
struct sim_store;
struct sim_http;
struct sim_setting;

struct sim {
    int64_t now_us;
    struct rand rand;
    uint64_t seed;
    struct heap events;
    struct list ops;
    struct list processes; /* of struct sim_process, also ended ones */
    struct list settings;
    struct arena arena; /* what scenes are handed */
    struct sim_kafka *kafka;
    struct sim_redis *redis;
    struct sim_store *store;
    struct sim_http *http;
    unsigned lives; /* processes started so far */
    bool aggregator_wanted, aggregator_unwanted, aggregator_paused;
    struct sim_doors doors;
};

/* The program sees it as its struct app. */
struct app {
    struct sim_process *process;
};

struct generation {
    struct arena arena;
    void *conf;
};

struct sim_process {
    struct list_node node;
    struct sim *sim;
    char *name;
    const struct app_program *program;
    struct loop *loop;
    struct app app;
    struct generation *now, *before;
    void *state;
    struct timer drain_timer, watch_timer; /* in its own loop, as the real body has them */
    struct kafka_consumer *consumer;       /* its door, for looking in */
    size_t records_held, calls_held;       /* given to it, and not given back */
    bool running, killed;                  /* killed: its doors do nothing any more */
    bool woken, draining, drained, leaving;
    int exit_code;
    bool stopped;                                /* until sim_continue() */
    struct list held;                            /* events that wait for it */
    int64_t frozen_until_us, freezes_at_call_us; /* the latter: until then; 0: it does not */
};

/* sim.c */
void sim_wake(struct sim_process *process);
/* What was held back of a stopped process happens now. */
void sim_events_release(struct sim_process *process);
/* Some microseconds around `us`, from the seed. */
int64_t sim_latency_us(struct sim *sim, int64_t us);

/* loop.c */
struct loop *sim_loop_new(struct sim *sim, struct sim_process *process, uint64_t seed);
struct sim_process *loop_process(const struct loop *loop);
/* When it wants its next turn, INT64_MAX: never by itself. */
int64_t loop_next_us(const struct loop *loop);

/* app.c */
void sim_process_check(struct sim_process *process); /* ends it when it wants to leave */
void sim_process_end(struct sim_process *process);
void sim_process_free(struct sim_process *process);
void sim_settings_free(struct sim *sim);
bool sim_is_aggregator(const struct sim_process *process);
/* There are some, and they are not told to pause. */
bool sim_aggregators_work(const struct sim *sim);

/* kafka_broker.c */
struct sim_kafka *sim_kafka_new(struct sim *sim);
void sim_kafka_free(struct sim_kafka *kafka);
bool sim_kafka_all_committed(const struct sim_kafka *kafka);
/* kafka_group.c: PostgreSQL has all of quern.results. */
bool sim_kafka_all_stored(const struct sim *sim);

/* http.c */
struct sim_http *sim_http_new(struct sim *sim);
void sim_http_free(struct sim_http *http);
size_t sim_provider_names(const struct sim *sim, const char **ret, size_t max);

/* redis_*.c */
struct sim_redis *sim_redis_new(struct sim *sim);
void sim_redis_free(struct sim_redis *redis);

/* postgres.c, store.c */
struct sim_store *sim_store_new(struct sim *sim);
void sim_store_free(struct sim_store *store);
/* Somebody's offset of that partition has reached `end`. */
bool sim_store_has(const struct sim *sim, const char *topic, int32_t partition, int64_t end);

#endif
