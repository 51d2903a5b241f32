/*
 * inside.h -- the intake room's own structs, shared by its files and nobody else.
 */
#ifndef QUERN_WORKER_INTAKE_INSIDE_H
#define QUERN_WORKER_INTAKE_INSIDE_H

#include "common/io/kafka_fetcher.h"
#include "common/io/offset_tracker.h"
#include "worker/intake/intake.h"
#include "worker/intake/shares.h"
#include "worker/intake/stubs.h"

enum { LANES_MAX = 2, SESSIONS_IDLE_MAX = 65536 };

/* A kind of traffic with a topic of its own; lower index is served first. */
struct lane {
    struct str topic;
    bool batch; /* no sessions here */
    size_t stub_count;
    bool paused;
};

/* What one tenant has in one lane and has not begun: jobs, some of which are being fetched, and
 * stubs behind them (ahead.h). */
struct tenant_queue {
    struct share share;
    const void *conf; /* that its weight is of */
    struct tenant_turn turn;
    struct list jobs;
    struct stubs stubs;
    size_t bytes;                 /* of its jobs */
    size_t copied_bytes;          /* of the copies that its stubs have */
    size_t inside, parked;        /* jobs that have begun and not ended; those that wait */
    double output;                /* tokens that its answers had lately; 0: none seen */
    struct list_node hungry_node; /* in intake->hungry */
    struct list lines; /* of requests that are put off (put_off.c), by what they wait for */
    size_t put_off;    /* how many they are, and those of them that are late */
    bool waits;        /* it has jobs or stubs, and counts in intake->queues_waiting */
    char tenant[];
};

struct partition {
    struct list_node node; /* in intake->partitions from assignment to release, then in none */
    struct lane *lane;
    const char *topic;
    int32_t number;
    bool owned;     /* assigned to us and not revoked */
    bool listed;    /* in that list */
    bool held_back; /* paused by itself: reading is too far ahead of the lowest unfinished offset */
    int64_t high;   /* watermark at assignment: records below it may be known already */
    struct offset_tracker *tracker; /* NULL until reading begins */
    int64_t committed;
    size_t jobs; /* that point here */
    /* while the first offset is being found out, and Redis waited for */
    int64_t first;
    int64_t low;
    struct timer retry;
    struct worker *worker;
    bool asking;
    struct list_node ask_node; /* in intake->asking meanwhile */
};

/* The turns of one conversation: one at work, the others in order. */
struct session {
    struct map_node node;
    struct list_node idle_node; /* in intake->idle while nobody is at work */
    struct job *running;
    struct list waiting;
    int32_t partition;
    bool told;     /* that its turns come in two partitions */
    char *last_id; /* id of the newest stored turn; NULL: not known, ask the store */
    char key[];
};

struct intake {
    struct worker *worker;
    struct lane lanes[LANES_MAX];
    size_t lane_count;
    struct list partitions;
    struct list asking; /* partitions whose first offset PostgreSQL is asked for, also lost ones */
    struct loop_hook ready;
    struct timer commit_timer, release_timer;
    struct map active; /* tenant 0x1f id -> job */
    struct map sessions;
    struct list idle; /* sessions, longest idle first */
    size_t active_count, parked_count, jobs_count;
    size_t parked_bytes; /* of the records of parked jobs */
    struct list spare_jobs;
    bool revoking, releasing;
    /* ahead.h */
    struct shares shares;
    struct list hungry; /* queues whose stubs are wanted soon */
    struct list runs;   /* that are being fetched */
    size_t ahead_jobs, ahead_bytes, queues_waiting;
    size_t copied_bytes; /* of all queues */
    struct put_offs *put_offs;
    struct list jobs; /* every job inside, for tearing down */
};

/* assign.c */
void intake_assigned(const struct kafka_partition *partitions, size_t count, void *context);
void intake_revoked(bool lost, void *context);
void intake_committed(const struct kafka_offset *offsets, size_t count, const struct err *err,
                      void *context);
bool intake_commit(struct intake *intake); /* false: there was nothing to commit */
void intake_check_released(struct intake *intake);
void partition_release(struct partition *partition);

/* sessions.c */
void session_leave(struct intake *intake, struct job *job, bool stored);
void sessions_forget_idle(struct intake *intake);
void sessions_free(struct intake *intake); /* all of them; their jobs are gone */
void followers_release(struct intake *intake, struct job *job);

/* cancel.c */
void intake_hear_of_cancelled(struct intake *intake);

/* intake.c */
/* An empty one, that counts in the partition and the intake; and its record, copied. */
struct job *intake_job_new(struct intake *intake, struct partition *partition);
void intake_job_fill(struct job *job, struct kafka_record *record);
/* The same with a copy, that it frees with its memory. */
void intake_job_adopt(struct job *job, struct kafka_record *copy);
void intake_job_free(struct intake *intake, struct job *job);
void intake_wake_parked(struct intake *intake);

/* queues.c, for refetch.c */
size_t queue_part(const struct intake *intake);
bool queue_has_room(const struct intake *intake, const struct tenant_queue *queue, size_t bytes);
/* Its first stub can wait: it has a copy, and requests enough stand before it. */
bool queue_has_enough(const struct tenant_queue *queue);
void queue_add_job(struct intake *intake, struct tenant_queue *queue, struct job *job,
                   const struct stub *stub);
/* The first of its stubs, taken off; the copy is the caller's now. */
struct stub queue_take_stub(struct intake *intake, struct tenant_queue *queue);
/* After every change of a queue: is it its turn, and does it need something? */
void queue_look(struct intake *intake, struct tenant_queue *queue);

/* Everything of queue_add_job() but its place in the queue. */
void queue_own_job(struct tenant_queue *queue, struct job *job, const struct stub *stub);

/* put_off.c */
void put_offs_init(struct intake *intake);
void put_offs_done(struct intake *intake); /* all were dropped */
/* A request of the same id is put off that came before, or nobody would answer it soon: it need not
 * begin. */
bool put_off_at_once(struct job *job);
/* The job has let go of its place; it ends now. */
void put_off_keep(struct job *job);
/* What it holds of all this is given back. */
void put_off_ended(struct job *job);
/* Fetches those that may go on; those whose deadline has passed do so at once. */
void put_off_fetch(struct intake *intake);
/* One whose deadline has passed; NULL: none is there. */
struct job *put_off_next_late(struct intake *intake);
/* "TENANT 0x1f ID" was cancelled. False: it is not put off. */
bool put_off_cancelled(struct intake *intake, struct str name);
void put_off_drop(struct intake *intake, bool not_owned_only);
void put_off_measure(const struct intake *intake);

/* refetch.c */
/* A stretch of one partition whose jobs stand in `list`, one behind the other: begun with the first
 * one's place, then each of them is added, then it is fetched. */
struct run *run_new(struct intake *intake, struct tenant_queue *queue, struct list *list,
                    const struct stub *first);
/* Whether this one may be the next of it. */
bool run_goes_on(const struct run *run, const struct stub *stub);
void run_add(struct run *run, struct job *job);
void run_fetch(struct run *run);
void refetch_drop(struct intake *intake, bool not_owned_only);

#endif
