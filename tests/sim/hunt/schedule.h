/*
 * schedule.h -- what happens in one simulated run, as a list: what is published, what the providers
 * answer, who is killed or cut off when, which call of a door goes wrong.
 *
 * A schedule is drawn from its seed, item by item, so that the list can be printed, replayed, and
 * made smaller by leaving items out (shrink.h): the same seed with the same items gives the same
 * run. Which kinds of trouble a schedule may have is drawn first ("swarm testing": most bugs need a
 * few kinds of trouble at once and are hidden by the others).
 *
 * To add a kind of trouble: a row in EVENTS of schedule.c and a case in play.c.
 */
#ifndef QUERN_TESTS_SIM_HUNT_SCHEDULE_H
#define QUERN_TESTS_SIM_HUNT_SCHEDULE_H

#include <stdio.h>

#include "common/base/rand.h"
#include "tests/sim/sim.h"

enum { WORKERS_MAX = 3, AGGREGATORS_MAX = 2, ITEMS_MAX = 320, PROVIDERS = 3, SESSIONS_MAX = 4 };

/* Of a request: fit; published once more as it was; the same id with another body; no model of that
 * name; bytes that are no request; too late when it is read; time enough for a quick answer only;
 * wrong in one of the ways of unfit.c.
 */
enum sort {
    SORT_FIT,
    SORT_AGAIN,
    SORT_OTHER_BODY,
    SORT_NO_MODEL,
    SORT_GARBAGE,
    SORT_LATE,
    SORT_HASTY,
    SORT_UNFIT
};

struct ask {
    enum sort sort;
    int number;  /* its id is "r<number>" */
    int session; /* -1: none */
    int models;  /* row of models_of() */
    int tenant;  /* row of tenant_of() */
    bool first;  /* merge policy: the first good answer, else all */
    bool reads;  /* somebody reads along */
    int unfit;   /* of SORT_UNFIT: in which way */
};

enum event_kind {
    EVENT_KILL_WORKER,
    EVENT_KILL_AGGREGATOR,
    EVENT_TERM_WORKER,
    EVENT_TERM_AGGREGATOR,
    EVENT_FREEZE_WORKER,
    EVENT_FREEZE_AGGREGATOR,
    EVENT_REBALANCE,
    EVENT_LOSE_WORKER,
    EVENT_LOSE_AGGREGATOR,
    EVENT_REDIS_DOWN,
    EVENT_REDIS_FLUSH,
    EVENT_REDIS_DEAF,
    EVENT_POSTGRES_DOWN,
    EVENT_POSTGRES_SLOW,
    EVENT_KAFKA_DOWN,
    EVENT_COMMITS_FAIL,
    EVENT_PROVIDER_DOWN,
    EVENT_RELOAD,
    EVENT_CANCEL,        /* `who`: of the requests that are published then; drawn by itself */
    EVENT_FREEZE_CALLER, /* a worker, when it hands over its next call; drawn by stalls.c */
    EVENT_KINDS
};

struct event {
    enum event_kind kind;
    int who;
    int64_t for_ms; /* how long it lasts, or how long until the process is back */
};

enum item_kind { ITEM_ASK, ITEM_EVENT, ITEM_FAULT, ITEM_REPLY };

struct item {
    enum item_kind kind;
    int64_t at_ms; /* of asks and events */
    bool off;      /* left out */
    union {
        struct ask ask;
        struct event event;
        struct sim_fault fault;
        struct {
            int provider, nth;
            struct sim_reply reply;
        } reply;
    };
};

struct schedule {
    uint64_t seed;
    int partitions, workers, aggregators, sessions, max_in_flight;
    unsigned troubles; /* bit per event_kind that may happen */
    int redis_connect_ms;
    bool burst; /* nothing but one tenant's very many, and a few of another's */
    struct {
        bool on, calm;
        int status;      /* alpha's answer to all; 0: it answers */
        int refused_key; /* the status that one of alpha's two keys gets; 0: it has one key */
    } route;             /* routes.h */
    struct {
        bool on, stream;
        bool calm;   /* alpha is slow at times, and nothing else */
        bool struck; /* the same, but workers die in the midst of it */
        bool none;   /* all is like that, but alpha gets no second calls */
        bool away;   /* alpha goes away at times, and who waits for it is put off */
        int asks, percent;
    } hedge; /* hedges.h */
    struct {
        bool on, calm;
        bool all; /* but one: few stay where they are otherwise */
    } put_off;    /* put_off.h */
    struct {
        bool on;
        int provider;
    } stall; /* stalls.h */
    struct {
        bool on, calm;
        int most;     /* calls of alpha at once in a process; 0: any number, but they fail */
        int after_ms; /* that each takes */
        int asks;     /* of alpha */
    } room;           /* rooms.h */
    int64_t end_ms;   /* then all that is broken is mended */
    struct item items[ITEMS_MAX];
    size_t count;
};

void schedule_draw(struct schedule *ret, uint64_t seed);
struct item *schedule_add(struct schedule *schedule, enum item_kind kind, int64_t at_ms);
/* From 0 up to, not including, the bound. */
static inline int below(struct rand *rand, int bound)
{
    return (int)rand_below(rand, (uint64_t)bound);
}
/* Nothing of what was drawn so far stays: whoever goes on draws it all himself. */
void schedule_empty(struct schedule *schedule);
/* One to three of what befalls a worker, within three seconds from then on. */
void schedule_trouble(struct schedule *schedule, int64_t from_ms, struct rand *rand);
/* For schedules that are written by hand. */
void schedule_ask(struct schedule *s, int64_t at_ms, int number, int session, int models,
                  bool first);
void schedule_ask_sort(struct schedule *s, int64_t at_ms, int number, int session, enum sort sort);
void schedule_event(struct schedule *s, int64_t at_ms, enum event_kind kind, int who,
                    int64_t for_ms);
void schedule_reply(struct schedule *s, int provider, int nth, struct sim_reply reply);
void schedule_fault(struct schedule *s, enum sim_door door, uint64_t nth, enum sim_way way);
void schedule_print(const struct schedule *schedule, FILE *file);
void item_print(const struct item *item, FILE *file);

/* "alpha,beta", ..; behind the rows that are drawn: a route */
const char *models_of(int row);
int models_rows(void);
const char *provider_of(int number);
const char *tenant_of(int row); /* NULL: the request names none */

enum { TENANT_NONE, TENANT_BULK, TENANT_LIGHT, TENANTS };

/* Whether an item of that kind is left in. */
bool schedule_has(const struct schedule *schedule, enum event_kind kind);
bool schedule_has_fault(const struct schedule *schedule, enum sim_door door, enum sim_way way);

#endif
