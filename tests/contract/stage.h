/*
 * stage.h -- where a contract suite plays: the same words over the real servers and over the
 * simulated ones.
 *
 * A suite asks only what a door's header promises. It is linked twice, with stage_real.c and with
 * stage_sim.c; what holds on one stage and not on the other is a mistake of the simulation, for the
 * real server is right by definition. A suite may not ask on which stage it is.
 *
 * Every actor has a loop of its own, as a process has; time passes only in stage_step(), for all of
 * them. Time-outs in suites are upper bounds that a real server under load keeps.
 *
 * To add a server's ability: a function here, and its two bodies.
 */
#ifndef QUERN_TESTS_CONTRACT_STAGE_H
#define QUERN_TESTS_CONTRACT_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/str.h"
#include "common/io/kafka.h"
#include "common/io/postgres.h"
#include "common/io/redis.h"
#include "common/loop/loop.h"

#define STAGE_SKIP    77 /* exit code: there is no address */
#define STAGE_WAIT_MS 20000
#define STAGE_ACTORS  4

enum stage_server { STAGE_KAFKA, STAGE_REDIS, STAGE_POSTGRES };

struct stage;

/* False: the servers this suite needs have no address here. */
bool stage_has(enum stage_server server);
struct stage *stage_new(void);
void stage_free(struct stage *stage); /* doors of its loops must have been freed */

/* The loop of actor 0, 1 .. */
struct loop *stage_loop(struct stage *stage, unsigned actor);
int64_t stage_now_ms(struct stage *stage);
/* A little time passes, and every loop turns. */
void stage_step(struct stage *stage);
void stage_run_ms(struct stage *stage, int64_t ms);
/* Time passes, and no loop turns: processes that were stopped, or a turn that took so long. */
void stage_stand_still(struct stage *stage, int64_t ms);

/* A server goes away with its connections, keeps its data, and comes back. False: this stage cannot
 * do it, the test is skipped. */
bool stage_down(struct stage *stage, enum stage_server server);
void stage_up(struct stage *stage, enum stage_server server);
/* All connections to it break; it stays. */
void stage_cut(struct stage *stage, enum stage_server server);

/* ---- Kafka ---- */

/* A new topic of nobody else; its name stays. */
const char *stage_topic(struct stage *stage, int32_t partitions);
/* Addresses, and a session of 3 s. */
struct kafka_conf stage_kafka_conf(struct stage *stage);

/* ---- Redis: an empty one ---- */

struct redis_conf stage_redis_conf(struct stage *stage);

/* ---- PostgreSQL: migrated, empty ---- */

struct postgres_conf stage_postgres_conf(struct stage *stage);

/* ---- HTTP: a server that answers every call like this ---- */

enum stage_trouble { STAGE_WELL, STAGE_REFUSED, STAGE_CUT, STAGE_SILENT };

struct stage_reply {
    int status; /* 0: 200 */
    int64_t after_ms;
    const char *headers; /* "Name: value\r\n" .. */
    const char *body;
    enum stage_trouble trouble;
};
void stage_http_answers(struct stage *stage, struct stage_reply reply);
struct str stage_http_url(struct stage *stage);
/* Requests that came whole. */
size_t stage_http_calls(struct stage *stage);

/* ---- Words of suites ---- */

/* Lets time pass until `condition` holds; fails the test when it does not within `limit_ms`. */
#define UNTIL_WITHIN(stage, limit_ms, condition)                                                   \
    do {                                                                                           \
        int64_t until_ms_ = stage_now_ms(stage) + (limit_ms);                                      \
        while (!(condition)) {                                                                     \
            if (stage_now_ms(stage) > until_ms_)                                                   \
                fail_msg("not within %d ms: %s", (int)(limit_ms), #condition);                     \
            stage_step(stage);                                                                     \
        }                                                                                          \
    } while (0)
#define UNTIL(stage, condition) UNTIL_WITHIN(stage, STAGE_WAIT_MS, condition)

static inline int stage_set_up(void **state)
{
    *state = stage_new();
    return *state ? 0 : -1;
}

static inline int stage_tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

/* STAGE_ONLY=PATTERN runs only the tests whose name matches it ('*' and '?'). */
static inline void stage_only(void)
{
    cmocka_set_test_filter(getenv("STAGE_ONLY"));
}

#define SCENE(name) cmocka_unit_test_setup_teardown(name, stage_set_up, stage_tear_down)

#endif
