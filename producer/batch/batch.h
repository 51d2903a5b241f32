/*
 * batch.h -- a run of `quern batch run`: its options, its doors, and what its parts share.
 *
 *   reader  file -> lines -> requests -> Kafka, as long as fewer than in_flight are unanswered
 *   run     replies -> output lines; time-outs, progress, signals
 *   store   what was not replied for a while is looked up in PostgreSQL
 *
 * What stays true: a line of the input gets at most one line of the output, and gets it only when
 * its request is final or was never published. Memory: one small struct per unanswered line, and 32
 * bytes per line for telling names that come twice.
 */
#ifndef QUERN_PRODUCER_BATCH_BATCH_H
#define QUERN_PRODUCER_BATCH_BATCH_H

#include <stdio.h>

#include "common/base/list.h"
#include "common/base/map.h"
#include "common/loop/loop.h"
#include "producer/batch/line.h"
#include "producer/batch/progress.h"
#include "producer/batch/resume.h"
#include "producer/batch/stats.h"
#include "producer/cli/cli.h"
#include "producer/replies.h"

enum batch_encoding { BATCH_JSON, BATCH_MSGPACK, BATCH_ALTERNATE };

struct batch_options {
    const char *path, *output;
    struct batch_defaults defaults;
    enum batch_encoding encoding;
    int64_t in_flight, timeout_ms; /* 0: no time-out */
    bool resume, progress;
};

/* A line that was published, until its reply is written. */
struct ask {
    struct map_node node;   /* in `asks`, by request id */
    struct list_node order; /* in `waiting`, or in `again` */
    struct batch *batch;
    int64_t number, place; /* line, and its first byte in the file */
    int64_t sent_ms;
    unsigned tries;
    bool openai, numbers, delivering, answered, in_again;
    struct str id, custom_id, model, tenant; /* behind the struct */
};

struct reader;

struct batch {
    struct cli *cli;
    struct batch_options options;
    struct loop *loop;
    struct kafka_producer *producer;
    struct replies *replies;
    struct reader *reader;
    FILE *output;
    const char *topic, *topic_batch;

    struct map asks;
    struct list waiting; /* published, oldest first */
    struct list again;   /* Kafka did not take them: to be published once more */
    struct resume before;
    struct stats stats;
    struct progress progress;
    int64_t total; /* lines of the input */
    int64_t begun_ms, moved_ms, looked_ms, again_ms;

    bool ended, interrupted, gave_up; /* ended: the input was read to its end */
    bool unflushed;                   /* the output's buffer has lines of this turn */
    bool failed;                      /* err says why the run stops */
    struct err err;
};

/* reader.c: reads the file once through, for its hash and its number of lines. */
struct reader *reader_new(struct batch *batch, struct err *err);
void reader_free(struct reader *reader); /* takes NULL */
/* Publishes lines as far as there is room; true when it could go on at once. */
bool reader_go_on(struct batch *batch);

/* run.c */
int batch_run(struct cli *cli, const struct batch_options *options);
void batch_fail(struct batch *batch, const struct err *err); /* the first one counts */
/* Off every list and out of the map; freed once Kafka has reported on it. */
void batch_forget(struct batch *batch, struct ask *ask);
/* Writes the reply's line and forgets the ask. */
void batch_answered(struct batch *batch, struct ask *ask, const struct reply *reply,
                    bool from_store);
void batch_refused(struct batch *batch, const struct batch_line *line, int64_t number,
                   const struct err *err);

/* store.c: takes what is final there; false with a warning when PostgreSQL cannot be asked. */
bool store_look(struct batch *batch);

#endif
