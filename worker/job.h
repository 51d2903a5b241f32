/*
 * job.h -- the worker's two subjects: a job is one request on its way through the worker, a slot is
 * one model's answer to it.
 *
 * A job walks `job_steps` (admit, recognise, refuse, retrieve, answer, settle); its `answer` step
 * starts one walk through `slot_steps` (claim, prompt, call, validate, report) per model and waits
 * for all of them. All memory of a job and its slots is one arena, freed when the job has ended.
 * Nothing outside keeps a pointer to a job longer than the job is registered there (session queue,
 * active map, waiting for storage).
 *
 * What one step leaves for the next is a field below, under the step that fills it.
 */
#ifndef QUERN_WORKER_JOB_H
#define QUERN_WORKER_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/last_words.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/contract/contract.h"
#include "common/flow/flow.h"
#include "common/io/kafka.h"
#include "worker/call/gate.h"
#include "worker/call/provider.h"
#include "worker/call/turns.h"
#include "worker/deliver.h"
#include "worker/ledger.h"
#include "worker/put_off.h"
#include "worker/worker.h"

#define JOB_SLOTS_MAX 16
/* A slot whose claim lapses oftener goes on without one. */
#define CLAIMS_LAPSED_MAX 3
#define JOB_MAGIC         0x6a0b6a0bu
#define SLOT_MAGIC        0x510751u

struct partition; /* intake's */
struct tenant_queue;
struct session;     /* intake's */
struct recognition; /* recognise's */
struct stream;      /* call's */
struct relay;       /* call's */
struct retrieval;   /* retrieve's */
struct candidate;   /* call's */
struct kind;        /* kind.h */
struct cause;       /* intake's */
struct job;

enum claim_state {
    CLAIM_NONE, /* nobody is known to work on it: go on (Redis is away, or it said so) */
    CLAIM_MINE,
    CLAIM_HELD, /* another process is at it */
    CLAIM_KEPT, /* the packed result was found: produce it, call nobody */
};

struct slot {
    unsigned magic;
    struct walk walk;
    struct job *job;
    int number;

    /* recognise, claim */
    enum claim_state claim;
    int64_t held_seen_ms;        /* when Redis said so */
    struct str holder;           /* the claim when somebody else held it: schemas/lua/claim.lua */
    struct str packed;           /* CLAIM_KEPT, later: the packed result */
    int look;                    /* what the claim step waits for */
    struct str done_text;        /* the holder's answer was found stored */
    bool stored;                 /* its part is in the store already: nothing to do */
    int64_t claimed_ms;          /* CLAIM_MINE: when it was asked for */
    unsigned char claims_lapsed; /* how often it was too long ago, and asked for again */

    /* prompt */
    const struct model *model; /* that is asked now, or was last */
    struct prompt prompt;
    const struct provider_request *request; /* as that model is asked, with that key */
    struct candidate *candidates;           /* the models it may be asked of: call/candidates.h */
    unsigned candidate_count, candidate;
    enum route_part part; /* of the route, that is asked now */
    int key;              /* of the model */
    struct quota *quota;  /* of that key: the limits that hold; NULL: none */

    /* call */
    struct list_node permit_node; /* in worker->permit_queue or worker->resting */
    struct gate_place place;      /* at the model's gate */
    struct crowd_place crowd;     /* among the model's calls in this process */
    struct limit_place share;     /* on its way past the fleet's limits */
    uint64_t turn;                /* among those who wait; 0: it did not have to */
    struct http_call *call;
    struct attempt *row;   /* of the newest call, in `attempts` */
    bool awaited;          /* the walk waits for news of the call, or of its hedge's */
    bool cut_short;        /* by the deadline: it has less time than the model's own */
    unsigned attempt;      /* calls made so far, behind those */
    bool calling;          /* a call is in flight or has just ended */
    bool paid;             /* a provider counted tokens for one of them */
    unsigned calls_before; /* the rows of which are told already */
    int64_t call_started_ms;
    struct attempt *attempts;    /* not told yet; room for candidate_rows() */
    unsigned attempts_room;      /* calls that it may make, with those before */
    unsigned sends;              /* of the call that just ended; 0: it never left */
    bool withheld;               /* .. because another may have taken over meanwhile */
    struct provider_reply reply; /* of the call that just ended; reply.status 0: see call_err */
    int64_t first_byte_ms;
    struct stream *stream; /* being read; NULL: the reply comes whole, or no byte of it came yet */
    bool streamed;         /* `answer` and `call_err` are what became of a stream */
    int64_t heard_ms;      /* when the last piece came */
    int64_t sign_ms;       /* until the first sign of an answer; INT_ABSENT: there is none */
    struct timer silence;
    bool silence_kept;   /* it ends with the job's memory */
    struct relay *relay; /* NULL: nobody wants the chunks */

    /* call: a second call for the same answer, in a slot of its own (call/hedge.h) */
    struct slot *hedge;    /* NULL: none was made */
    struct slot *hedge_of; /* NULL: it is one of its job's slots */
    struct slot *speaker;  /* whose text is passed on; NULL: neither's yet */
    int64_t slow_ms;       /* silent for so long, the call is slow */
    struct timer hedge_timer;
    bool hedge_timer_kept; /* it ends with the job's memory */
    bool lost;             /* the other call was faster */

    struct answer answer; /* unless `err` is set */

    /* report */
    struct buf pack; /* the packed result, malloc'ed; released with the job */
    struct delivery *delivery;
    bool keeping;   /* the report step waits for Redis to keep it */
    bool abandoned; /* given up before a call was paid for */
    bool reported;  /* it has ended well: nothing is left to do for it */

    /* ledger: calls of unknown fate, in front of the attempts (worker/ledger.h) */
    struct attempt *notes;
    unsigned note_count;
    bool told; /* a part tells of all of them, or a result of their own */

    struct err err; /* ERR_NONE: there is an answer */
    struct err call_err;
};

struct job {
    unsigned magic;
    struct worker *worker;
    struct arena arena;
    struct walk walk;
    struct list_node node; /* in its tenant's queue, then in intake's list of all */
    int64_t began_ms, began_wall_ms;

    /* intake */
    struct kafka_record *record; /* NULL: it is fetched again */
    struct partition *partition;
    struct tenant_queue *queue;
    struct tenant_turn *tenant_turn; /* in the queue: of its calls that wait */
    int64_t cost;                    /* tokens it is estimated at */
    size_t ahead_bytes;              /* of its record */
    int64_t ahead_offset, ahead_deadline_at;
    bool replayed; /* below the high watermark seen at assignment: may be known already */
    bool active;   /* counts against max_in_flight */
    bool batch;    /* of the lane of work that may wait */

    /* put off (put_off.h): before this reading, and at the end of it */
    bool was_put_off, is_looked_at; /* before; and it was fetched before its time */
    struct cause *coming;           /* that it was fetched for; NULL: it has arrived */
    struct cause *came;             /* the same from then until a call of it leaves */
    struct cause *keeper_of;        /* it has kept its place, and tries; NULL: no cause's */
    struct put_off_memo *memo;      /* NULL: there is nothing to remember */
    struct record *fetched_for;     /* it was put off, and has not been admitted again */
    bool put_off;                   /* it leaves its place */
    struct put_off_reason reason;

    /* admit */
    struct model_table *models; /* the configuration it began with */
    const struct route *route;  /* NULL: it names models */
    const struct kind *kind;    /* of work; NULL: it could not be read */
    enum encoding encoding;
    struct request request;
    struct str id, tenant; /* absent id: it could not be read, there will be no result */
    char body_hash[65];
    int64_t created_at, deadline_at; /* wall ms */
    int64_t deadline_ms;             /* loop time */
    struct map_node active_node;     /* in intake's map of ids at work */
    struct list followers;           /* jobs of the same id that came while this one is at work */
    struct list_node follower_node;
    struct job *follows;
    struct session *session;
    struct list_node session_node;
    const char *previous_id; /* id of the session's newest stored turn; NULL: not known */

    /* recognise */
    struct recognition *recognition;
    bool known;     /* final in the store: nothing to call */
    bool cancelled; /* nobody wants an answer any more */
    bool repeat;    /* another record asked the same: the stored answer is sent again */
    bool conflict;  /* same id, other body: dead letter and error reply only */

    /* refuse */
    struct delivery *burial;
    bool buried_whole; /* with all its bytes */

    /* retrieve */
    struct retrieval *retrieval;
    const struct value *history; /* list of messages of earlier turns */

    /* prompt, of the first slot that gets there */
    const struct value *messages; /* what the models are given */
    const struct value *question; /* what the conversation will remember of this turn */

    /* answer */
    struct slot *slots;
    int slot_count;

    /* settle */
    struct map_node
        stored_node; /* in the map of jobs that wait for their final result to be stored */
    struct list_node stored_list_node;
    int64_t stored_since_ms;
    int64_t stored_asked_ms;
    bool waiting_for_store, is_stored, told_waiting;
    struct delivery *notice;

    struct err err; /* set: invalid; goes to the dead letters, gets a failed result */
};

/* Where it came from, for whoever may die at it. */
void job_record(const struct job *job, struct last_words *ret);
/* The partition it came from is still ours; what is not yet paid for need not be done otherwise. */
bool job_owned(const struct job *job);
/* Replies may go to that topic: it begins with one of replies.allowed_prefixes. */
bool job_may_reply_to(const struct job *job, struct str topic);
/* Slots 0 to count - 1 of the job, with nothing in them; in its arena. */
struct slot *slots_new(struct job *job, int count);
/* Nothing is left to do for the slot but to report: it has an answer, or never will. */
bool slot_decided(const struct slot *slot);
/* The job's slot that a hedge belongs to; a job's slot: itself. */
struct slot *slot_owner(struct slot *slot);
/* Something became of one of its calls: the walk looks. For callbacks of doors. */
void slot_has_news(struct slot *slot);
/* A result with nothing but whose it is. */
void slot_result(const struct slot *slot, struct result *ret);
/* The job's desk ran over: err is set, true. */
bool job_overflowed(const struct job *job, struct err *err);

/* The steps; each begin and finish is named after its step. */
enum verdict admit_begin(void *subject);
enum verdict admit_finish(void *subject);
enum verdict recognise_begin(void *subject);
enum verdict recognise_finish(void *subject);
enum verdict refuse_begin(void *subject);
enum verdict refuse_finish(void *subject);
enum verdict retrieve_begin(void *subject);
enum verdict retrieve_finish(void *subject);
enum verdict answer_begin(void *subject);
enum verdict answer_finish(void *subject);
enum verdict settle_begin(void *subject);
enum verdict settle_finish(void *subject);

enum verdict claim_begin(void *subject);
enum verdict claim_finish(void *subject);
enum verdict prompt_begin(void *subject);
/* Once the messages are known: which model is asked first, and its request; or slot->err. */
void call_choose(struct slot *slot);
enum verdict call_begin(void *subject);
enum verdict call_finish(void *subject);
/* Slots without an answer whose partition is gone, or whose worker leaves, give up at once. */
void call_wake_unpaid(struct worker *worker);
/* Nobody wants an answer any more: calls in flight are ended, others not begun. */
void call_cancel(struct job *job);
enum verdict validate_begin(void *subject);
enum verdict report_begin(void *subject);
enum verdict report_finish(void *subject);

#endif
