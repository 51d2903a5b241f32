/*
 * sim.h -- the language of scenes: a whole fleet in one process, one thread and simulated time.
 *
 * A scene says what the world is (providers, topics, settings), starts real programs in it,
 * publishes requests, lets time pass, and asks what a user would notice. Programs run as they are;
 * only the doors have other bodies here (tests/sim/ instead of common/io, common/loop, common/app),
 * chosen when the test is linked. Time jumps to whatever happens next, so an hour costs as much as
 * what happens in it. Everything that is random comes from the seed: the same seed, the same run.
 *
 *     struct sim *sim = sim_new(7);
 *     sim_provider(sim, "alpha", (struct sim_reply){.status = 429, .after_ms = 20});
 *     sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 35});
 *     sim_worker(sim, "w1");
 *     sim_publish(sim, (struct sim_request){.id = "r1", .models = "alpha"});
 *     assert_true(sim_settle(sim));
 *
 * Aggregators are real, too: one starts by itself with the first worker. PostgreSQL has tables,
 * transactions and fencing (store*.c), and answers statements by their names; what their SQL does
 * is done there in C, so a change of a statement is made in both places.
 *
 * Pointers handed out stay valid until sim_free().
 */
#ifndef QUERN_TESTS_SIM_SIM_H
#define QUERN_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/str.h"
#include "common/contract/contract.h"
#include "common/data/value.h"

struct sim;
struct sim_process;

/* ---- the world and its time ---- */

struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *sim); /* ends what still runs */
int64_t sim_now_ms(const struct sim *sim);
void sim_run_ms(struct sim *sim, int64_t ms);
/* Runs until every record of the request topics is committed, and, unless there is no aggregator
 * or they pause, all of quern.results is stored and the outbox is empty. At most an hour; false: it
 * is not so. */
bool sim_settle(struct sim *sim);
/* Whether it would stop at once. */
bool sim_settled(struct sim *sim);
/* Runs until `true_now(sim, context)`, looked at after each turn, at most so long; what it said. */
bool sim_run_until(struct sim *sim, bool (*true_now)(struct sim *sim, void *context), void *context,
                   int64_t ms_max);
/* A number below `bound` from the seed, for scenes that vary. */
uint64_t sim_random(struct sim *sim, uint64_t bound);

/* ---- processes ---- */

/* A setting "worker.max_in_flight" of all workers that start or reload from now on,
 * "aggregator.history_turns" of all aggregators, "redis.url" of both, "models.alpha.timeout" of
 * one model, "routes.fast.models" of a route, which is made by it, "tenants.acme.budget_day" of a
 * tenant. */
void sim_set(struct sim *sim, const char *key, const char *value);
/* Starts the worker program; `name` is its instance. The name of a worker that has ended may be
 * used again: that is its restart. */
struct sim_process *sim_worker(struct sim *sim, const char *name);
/* Starts the aggregator program. A scene that starts none, and does not say sim_no_aggregator(),
 * gets one named "aggregator" with its first worker. */
struct sim_process *sim_aggregator(struct sim *sim, const char *name);
void sim_no_aggregator(struct sim *sim);
/* All aggregators stand still, as if stopped by SIGSTOP, or go on. */
void sim_aggregator_pause(struct sim *sim, bool pause);
/* kill -9: what has not reached a server by now never will. */
void sim_kill(struct sim_process *process);
void sim_term(struct sim_process *process);   /* SIGTERM */
void sim_reload(struct sim_process *process); /* SIGHUP */
/* SIGSTOP for so long; never shortens an earlier one. */
void sim_freeze(struct sim_process *process, int64_t ms);
/* SIGSTOP until the same moment, but when it hands over its next HTTP call, which leaves it when it
 * goes on; never when there is none till then. */
void sim_freeze_at_call(struct sim_process *process, int64_t ms);
/* SIGSTOP until SIGCONT. */
void sim_stop(struct sim_process *process);
void sim_continue(struct sim_process *process);
bool sim_running(const struct sim_process *process);
bool sim_draining(const struct sim_process *process);
int sim_exit_code(const struct sim_process *process);
/* What it has at hand: records that it was given and has not let go of; HTTP calls it waits for.
 * Who has ended has none. */
size_t sim_records_held(const struct sim_process *process);
size_t sim_calls_held(const struct sim_process *process);
/* app_drained() was heard, not the drain's time-out. */
bool sim_drained(const struct sim_process *process);

/* ---- door calls: the questions that programs ask of servers ---- */

enum sim_door { SIM_PRODUCE, SIM_COMMIT, SIM_REDIS, SIM_POSTGRES, SIM_HTTP, SIM_FETCH, SIM_DOORS };
enum sim_way {
    SIM_WELL,
    SIM_DIE,       /* the process dies before the call leaves it */
    SIM_DIE_AFTER, /* .. when the call, and what it sent there before, has just arrived */
    SIM_REFUSE,    /* it fails at once, nothing has arrived */
    SIM_NEVER,     /* it does not arrive, and the caller is not told so: cut or time-out */
    SIM_NO_ANSWER, /* it is done, and the caller is not told so */
    SIM_LATE,      /* it is done, the answer takes its time */
    SIM_WRONG,     /* the server says no, or answers with garbage */
    SIM_TWICE,     /* it arrives twice */
    SIM_WAYS
};
struct sim_fault {
    enum sim_door door; /* SIM_DOORS: any */
    uint64_t nth;       /* call of that door in this simulation, from 1 */
    enum sim_way way;   /* one that the door does not know: nothing happens */
};
void sim_fault(struct sim *sim, struct sim_fault fault);
bool sim_door_knows(enum sim_door door, enum sim_way way);
uint64_t sim_door_calls(const struct sim *sim);
/* Of the nth call, from 1. */
enum sim_door sim_door_at(const struct sim *sim, uint64_t nth);
const char *sim_door_name(enum sim_door door);
const char *sim_way_name(enum sim_way way);
/* Equal when the same things happened at the same moments. */
uint64_t sim_fingerprint(const struct sim *sim);
/* What happens is written there, a line each; NULL: no more. */
void sim_trace(struct sim *sim, FILE *file);

/* ---- providers ---- */

enum sim_trouble { SIM_NO_TROUBLE, SIM_REFUSED, SIM_CUT, SIM_SILENT };

struct sim_reply {
    int status;          /* 0: 200 */
    int64_t after_ms;    /* 0: 1 ms */
    const char *headers; /* "Retry-After: 2\r\n.." */
    const char *body;    /* NULL: 200 answers with a digest of the messages, others with an error */
    enum sim_trouble trouble; /* of a streamed reply: behind half of its pieces */
    /* Of a reply that is asked for as a stream; a body that begins with '{' is none. */
    int64_t first_ms; /* until its first piece; 0: half of after_ms, and none of SIM_SILENT */
    unsigned pieces;  /* at even distances, the last one at after_ms; 0: 3 */
};
/* The first call for a name makes a provider and the model of that name. Replies are used in order,
 * the last one for all further calls. */
void sim_provider(struct sim *sim, const char *name, struct sim_reply reply);
/* Forgets the replies that are left. */
void sim_provider_now(struct sim *sim, const char *name, struct sim_reply reply);
/* Answers calls with this key with that status, and keeps its replies; 0: no more. One key per
 * provider. */
void sim_provider_refuses(struct sim *sim, const char *name, const char *key, int status);
/* Refuses connections; keeps its replies. */
void sim_provider_down(struct sim *sim, const char *name, bool down);

/* One line of the ledger: a call as the provider saw it. */
struct sim_call {
    const char *provider;
    const char *process; /* who called */
    struct str id;       /* X-Request-Id */
    struct str key;      /* the bearer's; absent: none was sent */
    struct str body;
    int64_t begun_ms;             /* when it was handed over; it left at_ms */
    int64_t at_ms, end_ms;        /* end_ms -1: under way */
    int status;                   /* -1: the caller went away meanwhile */
    bool delivered;               /* the caller got the whole reply */
    const struct value *messages; /* of the body */
    struct str answer; /* the digest (of vectors: their list, as it is stored), as the caller got
                        * it; empty: no good answer */
};
size_t sim_call_count(const struct sim *sim);
const struct sim_call *sim_call(const struct sim *sim, size_t index);
/* Calls whose id begins like this, "" counts all. */
size_t sim_calls_of(const struct sim *sim, const char *id_prefix);
size_t sim_calls_at_once_max(const struct sim *sim);

/* ---- Kafka ---- */

struct sim_request {
    const char *id, *tenant, *user, *session, *input; /* input NULL: "hello" */
    const char *models;                               /* "alpha,beta"; NULL: the default model */
    const char *route;                                /* NULL: none */
    int64_t max_latency_ms;                           /* 0: none */
    const char *reply_to, *note;                      /* note: metadata {"note": ".."} */
    int64_t deadline_ms, created_at_ms;               /* 0: none */
    const char *policy;                               /* of the merge; NULL: none is given */
    int64_t quorum, merge_deadline_ms;                /* with the policy; 0: none */
    const char *raw;                                  /* these bytes instead */
    size_t raw_len;                                   /* 0: up to the NUL */
    const char *topic;                                /* NULL: quern.requests */
    const char *content_type;                         /* NULL: none is said */
    const char *const *headers; /* more of them: name, value, .., NULL; NULL: none */
};
struct sim_place {
    const char *topic;
    int32_t partition;
    int64_t offset;
};
struct sim_place sim_publish(struct sim *sim, struct sim_request request);
/* Partitions of the request topics; before anything is published. Default 4. */
void sim_partitions(struct sim *sim, int32_t count);

/* Parts on quern.results that workers wrote, decoded, in the order they were written. */
size_t sim_result_count(struct sim *sim);
const struct result *sim_result(struct sim *sim, size_t index);
/* The only part of that slot; NULL: none, fails the test when there are two that differ in bytes.
 */
const struct result *sim_part(struct sim *sim, const char *id, int slot);
size_t sim_parts_of(struct sim *sim, const char *id);

struct sim_dead {
    struct str id, code, reason, value, topic;
    int32_t partition;
    int64_t offset;
};
size_t sim_dead_count(struct sim *sim);
struct sim_dead sim_dead(struct sim *sim, size_t index);
struct str sim_dead_header(struct sim *sim, size_t index, const char *name); /* absent: none */
/* The first reply of this id; the first that says that the id is taken. NULL: none. */
const struct reply *sim_reply_of(struct sim *sim, const char *id);
const struct reply *sim_conflict_of(struct sim *sim, const char *id);
/* All replies, in whichever topic "quern.replies.." they are: in the order they were written. */
size_t sim_replies(struct sim *sim);
const struct reply *sim_reply_at(struct sim *sim, size_t index);
const char *sim_reply_topic(struct sim *sim, size_t index);
/* Its text; of vectors their list, as it is stored. */
struct str sim_reply_text(struct sim *sim, const struct reply *reply);
size_t sim_replies_of(struct sim *sim, const char *id);

/* What the group has committed of quern.requests; -1: nothing. */
int64_t sim_committed(const struct sim *sim, int32_t partition);
bool sim_commit_went_back(const struct sim *sim);
size_t sim_commits(const struct sim *sim); /* how many were taken */

/* A rebalance in which everybody gives up its partitions; the same members share them anew. */
void sim_rebalance(struct sim *sim);
/* The group has thrown this member out; it finds out now, and joins again. */
void sim_lose(struct sim_process *process);
size_t sim_owned(const struct sim_process *process); /* partitions of quern.requests */
size_t sim_paused(const struct sim_process *process);

enum sim_produce_fault { SIM_NOT_WRITTEN, SIM_WRITTEN_UNKNOWN, SIM_LOST_UNKNOWN };
/* The next `count` produces of workers end like this. */
void sim_produce_fails(struct sim *sim, enum sim_produce_fault fault, unsigned count);
/* The local queue is full for the next `count` tries. */
void sim_produce_full(struct sim *sim, unsigned count);
/* The same for what aggregators produce. */
void sim_replies_fail(struct sim *sim, enum sim_produce_fault fault, unsigned count);
void sim_commits_fail(struct sim *sim, unsigned count);
void sim_kafka_down(struct sim *sim, bool down);
/* Says no to every record, as one that is not there does. */
void sim_topic_refuses(struct sim *sim, const char *topic);
void sim_topic_bytes_max(struct sim *sim, const char *topic, size_t bytes);

/* ---- Redis ---- */

void sim_redis_down(struct sim *sim, bool down); /* keeps its data */
void sim_redis_flush(struct sim *sim);
void sim_redis_latency_ms(struct sim *sim, int64_t ms);
/* How long a first connection takes, for clients that begin from now on. */
void sim_redis_connect_ms(struct sim *sim, int64_t ms);
/* Published messages reach nobody. */
void sim_redis_deaf(struct sim *sim, bool deaf);
/* One command, at once; text of the answer, absent when nil. Lists: their first item. */
struct str sim_redis(struct sim *sim, const char *const *words);
/* An entry of a stream, fields and values with blanks between; "": there is none. */
struct str sim_redis_entry(struct sim *sim, const char *key, size_t index);
/* SET with a value that may hold any byte. */
void sim_redis_set(struct sim *sim, const char *key, struct str value);
size_t sim_redis_keys(struct sim *sim, const char *part); /* keys that contain it */
/* When a process got a slot's claim last, of the key that contains "{TENANT:ID}:SLOT"; -1: never.
 */
int64_t sim_claimed_ms(const struct sim *sim, const char *process, const char *key_part);

/* ---- PostgreSQL ---- */

void sim_postgres_down(struct sim *sim, bool down); /* cuts what is under way */
void sim_postgres_latency_ms(struct sim *sim, int64_t ms);
/* The administrator ends all connections: what has arrived is done, what has not never is. */
void sim_postgres_terminate(struct sim *sim);
/* Of the n-th next transaction: it is done, but nobody hears it; it never arrives. */
void sim_postgres_lose_answer(struct sim *sim, unsigned nth);
void sim_postgres_lose_question(struct sim *sim, unsigned nth);
/* The next `count` times this statement fails with that SQLSTATE, and its transaction with it. */
void sim_postgres_fails(struct sim *sim, const char *statement, const char *sqlstate,
                        unsigned count);
/* Whatever contains this text cannot be stored; NULL: anything can. */
void sim_postgres_refuses(struct sim *sim, const char *text);

struct sim_final { /* text: of vectors their list, as it is stored */
    struct str tenant, id, status, text, body_hash, session;
    struct str topic;
    int32_t partition;
    int64_t offset;
    int64_t turn, stored_ms;
    unsigned slots_stored; /* bit per slot */
    unsigned repeats;      /* how often its reply was asked for again */
};
/* NULL: not stored as final. */
const struct sim_final *sim_final(const struct sim *sim, const char *id);
const struct sim_final *sim_final_of(const struct sim *sim, const char *tenant, const char *id);
size_t sim_final_count(const struct sim *sim);
/* Rows of the tables, in the order in which they were inserted, as they are now. */
struct sim_request_row {
    struct str tenant, id, status, session, body_hash, text, winner, error_code, origin_topic;
    int32_t origin_partition, result_partition;
    int64_t origin_offset, slots, turn;                              /* turn 0: none */
    int64_t input_tokens, output_tokens, cost_microusd, finished_ms; /* finished_ms -1: open */
    unsigned parts;                                                  /* bit per stored part */
    unsigned repeats;
};
struct sim_run_row { /* inference_runs */
    struct str id, tenant, request, user, call_id, provider, model, outcome, error_code, metadata;
    int64_t slot, attempt, tokens, input_tokens, output_tokens, cost_microusd, http_status;
    int64_t created_ms;
};
struct sim_usage_row { /* usage_daily; absent texts are '' there */
    int64_t day;
    struct str tenant, user, model, provider;
    int64_t requests, calls, failed_calls, cancelled_calls, cut_calls, late_calls, hedged_calls;
    int64_t ambiguous_calls, unpriced_calls;
    int64_t input_tokens, output_tokens, cached_input_tokens, cache_write_tokens;
    int64_t reasoning_tokens, cost_microusd, latency_ms;
};
struct sim_offset_row { /* kafka_offsets */
    struct str group, topic, owner;
    int32_t partition;
    int64_t next_offset, epoch;
};
struct sim_conversation_row {
    struct str tenant, session, user, last_request;
    int64_t turn;
};
struct sim_message_row {
    struct str tenant, session, request, role, content, metadata;
    int64_t turn, position;
};
struct sim_outbox_row {
    int64_t id, attempts;
    struct str tenant, request, topic, key, last_error;
    int32_t partition;
    bool has_payload; /* a dead letter; else the reply to `request` */
};
size_t sim_request_rows(const struct sim *sim);
struct sim_request_row sim_request_row(const struct sim *sim, size_t index);
size_t sim_run_rows(const struct sim *sim);
const struct sim_run_row *sim_run_row(const struct sim *sim, size_t index);
size_t sim_usage_rows(const struct sim *sim);
const struct sim_usage_row *sim_usage_row(const struct sim *sim, size_t index);
size_t sim_offset_rows(const struct sim *sim);
const struct sim_offset_row *sim_offset_row(const struct sim *sim, size_t index);
size_t sim_conversation_rows(const struct sim *sim);
const struct sim_conversation_row *sim_conversation_row(const struct sim *sim, size_t index);
size_t sim_message_rows(const struct sim *sim);
const struct sim_message_row *sim_message_row(const struct sim *sim, size_t index);
size_t sim_outbox_rows(const struct sim *sim);
const struct sim_outbox_row *sim_outbox_row(const struct sim *sim, size_t index);
/* Transactions that were refused because their partitions belong to somebody else. */
size_t sim_fenced(const struct sim *sim);
/* How often a statement was asked of PostgreSQL. */
size_t sim_asked(const struct sim *sim, const char *statement);

#endif
