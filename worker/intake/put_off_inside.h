/*
 * put_off_inside.h -- what put_off.c (records), put_off_causes.c (causes, who keeps its place) and
 * put_off_back.c (how they come back) share.
 */
#ifndef QUERN_WORKER_INTAKE_PUT_OFF_INSIDE_H
#define QUERN_WORKER_INTAKE_PUT_OFF_INSIDE_H

#include "common/base/heap.h"
#include "worker/intake/ahead.h"

enum {
    LATE_MAX = 256, /* being fetched, or at work beyond max_in_flight, because they are late */
    LINES_PER_TURN = 256, /* that are looked at, of a cause */
    CAUSES_MAX = 256,     /* sets of hurdles */
    LOOKS_AT_LEAST = 50,
    LOOKS_MS = 1000, /* between looks at some of those who wait for any others */
    LOOK_MS_MAX = 250,
    IN_VAIN_MS = 100,
    SPARE_MS = 1000 /* whoever has less time behind a long wait may as well stay */
};

enum cause_kind {
    CAUSE_HURDLES,
    CAUSE_MANY, /* one of very many sets of hurdles, or of very many hurdles */
    CAUSE_TIME, /* nothing but the time */
    CAUSE_NONE, /* any more: they are fetched as there is room */
};

struct cause {
    struct list_node node; /* in put_offs->causes */
    enum cause_kind kind;
    struct hurdle hurdles[PUT_OFF_HURDLES_MAX]; /* any of which would do; kept */
    unsigned count;
    bool has_queue;        /* they are not all gates */
    struct list lines;     /* that have records; whose turn it is first */
    size_t coming;         /* jobs that were fetched for it and have not got there yet */
    size_t arrived;        /* that have, and made no call since */
    int64_t not_before_ms; /* somebody came in vain: nobody comes until then */
    size_t keepers;        /* jobs that keep their place, and try whether a gate opens */
};

struct line {
    struct list_node cause_node, queue_node;
    struct cause *cause;
    struct tenant_queue *queue;
    struct list records;
};

struct record {
    struct list_node node; /* in line->records */
    struct heap_node due;
    struct record *same; /* in a bucket of the index */
    uint64_t id;         /* hash of tenant and id */
    struct line *line;
    struct put_off_memo *memo;
    struct stub stub;
    bool is_looked_at; /* it may have been cancelled */
};

struct put_offs {
    struct intake *intake;
    struct list causes; /* of hurdles */
    size_t queues;      /* of them that are not all gates */
    size_t coming;      /* jobs that were fetched for any, and have not got there yet */
    struct cause time, none, many;
    size_t in_vain;   /* that came back from `many`, since .. */
    int64_t looks_ms; /* .. and until when */
    struct heap due;  /* all records */
    struct record **index;
    size_t buckets;
    struct list late; /* jobs that are fetched because of their deadline */
    struct timer look;
};

int64_t put_off_now_ms(const struct put_offs *p);
int64_t put_off_deadline_ms(const struct put_offs *p, const struct record *r);
void put_off_record_free(struct put_offs *p, struct record *r);
/* The job that takes its place, without its bytes. The record leaves its line, but until the job is
 * admitted it stays in the index: a later one with its id, which may be here already, is behind. */
struct job *put_off_record_job(struct put_offs *p, struct record *r);
void put_off_record_leave(struct put_offs *p, struct record *r);
void put_off_admitted(struct job *job);
void put_off_let_go_on(struct put_offs *p, struct record *r);

/* put_off_causes.c */
struct cause *put_off_cause_of(struct put_offs *p, const struct put_off_reason *reason);
void put_off_cause_unused(struct put_offs *p, struct cause *cause);
/* The job is put off again, for that. */
void put_off_came_in_vain(struct put_offs *p, const struct job *job, struct cause *cause);
void put_off_line_up(struct record *r, struct tenant_queue *queue, struct cause *cause);
void put_off_leave_line(struct put_offs *p, struct record *r);
void put_off_keeps_no_more(struct job *job);
size_t put_off_seats(const struct worker *worker);
size_t put_off_waiters(const struct worker *worker, const struct hurdle *hurdle);
bool put_off_told_later(const struct hurdle *gates, unsigned count, int64_t now_ms);

#endif
