/*
 * worker.h -- the worker program's desk: its doors, its settings and the rooms that keep state.
 *
 * Steps reach it through their subject (job->worker). Rooms with state of their own are opaque
 * here; only program.c builds them.
 */
#ifndef QUERN_WORKER_WORKER_H
#define QUERN_WORKER_WORKER_H

#include <stdint.h>

#include "common/app/app.h"
#include "common/base/list.h"
#include "common/contract/contract.h"
#include "common/flow/flow.h"
#include "common/io/http_client.h"
#include "common/io/kafka_fetcher.h"
#include "common/io/postgres.h"
#include "common/io/redis.h"
#include "common/settings/worker_conf.h"
#include "worker/call/model.h"
#include "worker/call/turns.h"

/* The statements a worker may send to PostgreSQL (worker/statements.c). */
enum worker_statement {
    STATEMENT_LOOKUP,         /* tenants, ids -> what is known of them */
    STATEMENT_HISTORY,        /* tenant, session, turns -> last turn and messages */
    STATEMENT_FIRST_ASSIGNED, /* group, topic, partition, low -> 1 when the row is new, else 0 */
    STATEMENT_SPENT,          /* first day, day behind the last, tenant, models -> what they cost */
    WORKER_STATEMENT_COUNT
};
extern const struct postgres_statement worker_statements[WORKER_STATEMENT_COUNT];

extern const struct app_program worker_program; /* program.c */

struct intake;
struct lookup;
struct claims;
struct ledger;
struct fleet;
struct stored;
struct slot;
struct job;

struct worker {
    struct app *app;
    struct loop *loop;
    const struct worker_conf *conf;
    struct model_table *models;
    struct quotas *quotas;

    struct kafka_consumer *consumer;
    struct kafka_fetcher *fetcher;
    struct kafka_producer *producer;
    struct http_client *http;
    struct postgres *pg;
    struct redis *redis;
    unsigned script_claim, script_steal, script_release, script_hedge;

    char instance[160];       /* "host-0": who we are in claims and in the consumer group */
    int64_t incarnation;      /* wall milliseconds at start: which life of that instance */
    char notify[192];         /* Redis channel that tells us of stored results */
    char cancel_channel[192]; /* Redis channel that tells of cancelled requests */
    const char *topic_results, *topic_replies, *topic_dead;
    const struct str *lane_topics;
    const bool *lane_batch;
    size_t lane_count;

    struct arena_pool *pool;
    struct arena names; /* topic names */
    struct flow jobs, slots;
    struct list permit_queue; /* slots that wait for room among the calls in flight */
    struct turns turns;
    struct list resting; /* slots that wait for their next attempt */
    size_t calls_in_flight;

    /* From when and until when, in loop time, everybody takes our claims for those of a living
     * worker: others may have taken over what is older, or all of them after it. 0: Redis does not
     * know us. Set by the room recognise. */
    int64_t alive_since_ms, alive_until_ms;

    struct intake *intake;
    struct lookup *lookup;
    struct claims *claims;
    struct stored *stored;
    struct ledger *ledger;
    struct fleet *fleet;
    /* Partitions are gone for good: whoever waits for their sake is let go. Set by program.c. */
    void (*wake_lost)(struct worker *worker);
    /* Gives back what an abandoned slot has claimed. Set by program.c, as above. */
    void (*release_claim)(struct slot *slot);
    /* What is given back of its claim waits, and does so no longer. Set by program.c, as above. */
    struct str (*hold_claim)(struct slot *slot);
    void (*let_claim)(struct worker *worker, struct str key);
    /* Who takes over its claim must know of a second call, too. Set by program.c, as above. */
    void (*claim_hedge)(struct slot *slot);
    /* A revoke or a drain: who has no answer yet need not wait for a call of its own. */
    void (*wake_unpaid)(struct worker *worker);
    /* Ends what is under way for a request that was cancelled. Set by program.c, as above. */
    void (*cancel)(struct job *job);
    bool draining;
};

#endif
