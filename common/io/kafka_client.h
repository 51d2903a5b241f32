/*
 * kafka_client.h -- one librdkafka handle living in our loop; consumer and producer stand on it.
 *
 * Wake-up. The library writes to an eventfd when a queue of its turns non-empty, and only then; so
 * "there is more" is a flag here (kafka_client_more), the ready hook calls `collect` while it is
 * set, and a tick every 100 ms sets it in any case: the library wants to be polled also when
 * nothing arrives.
 *
 * Helper. One thread per client makes the blocking calls (committed offsets, watermarks, "is
 * anybody there?") as jobs: run() in the helper's thread, then finish() in the loop's, or discard()
 * when the client goes away first. A job must not touch loop or log in run(). The helper also
 * destroys the handle at the end, because that may block for as long as the library likes.
 *
 * Renewal. A handle that met a fatal error is of no use any more, whatever happens. The client can
 * take a new one with the configuration of the old, which its helper destroys behind our back: that
 * takes until the last of its records is given back.
 *
 * Outage. `up` turns false when no broker answered for a second, and true again when one does. The
 * library says only once that all are down, and may say it a moment too early; so for some seconds
 * after a connection broke we ask ourselves. Each is logged once for all handles (kafka_outage.h).
 *
 * Private to common/io/kafka*.c. All functions belong to the loop's thread.
 */
#ifndef QUERN_COMMON_IO_KAFKA_CLIENT_H
#define QUERN_COMMON_IO_KAFKA_CLIENT_H

#include "common/io/kafka_common.h"
#include "common/io/kafka_outage.h"

struct kafka_job {
    struct list_node node;
    void (*run)(struct kafka_job *job, rd_kafka_t *rk);
    void (*finish)(struct kafka_job *job); /* frees the job */
    void (*discard)(struct kafka_job *job);
};

struct kafka_helper;

struct kafka_client {
    struct loop *loop;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue; /* everything but records */
    struct kafka_helper *helper;
    const char *what; /* "kafka consumer", for the log */

    bool (*collect)(void *context); /* true: there is more */
    void (*flush)(void *context);   /* end of the turn; may be NULL */
    void (*on_fatal)(const struct err *err, void *context);
    /* A fatal error of the library, ERR_FENCED if the group takes somebody else for us. True: the
     * owner deals with it, else it is passed to on_fatal; may be NULL. */
    bool (*on_broken)(const struct err *err, void *context);
    void *context;

    int wake_fd;
    struct loop_watch *watch;
    struct loop_hook ready, turn_end;
    struct timer tick;
    bool more;

    bool up, probing, fatal_told;
    bool away;        /* the last probe found nobody */
    unsigned outages; /* since birth */
    struct kafka_witness witness;
    int64_t probe_at_ms;    /* not before */
    int64_t doubt_until_ms; /* a connection broke lately: look whether anybody is there */
    char servers[256];      /* bootstrap.servers, for the log */
    char warned[256];       /* last warning, so that it is not repeated all the time */
    int64_t warned_at_ms;
};

/* Fill loop, what, collect, flush, on_fatal and context first. False: kafka_client_close() is
 * still allowed. */
bool kafka_client_open(struct kafka_client *client, const struct kafka_conf *conf,
                       enum kafka_role role, int events, struct err *err);
/* Leaves the loop at once; waits at most `wait_ms` for the library to stop, and leaves it to the
 * helper's thread if that is not enough. All other queues must have been destroyed. */
void kafka_client_close(struct kafka_client *client, int64_t wait_ms);
/* A new handle in the place of the old one. Not from a hook of the loop; all other queues must have
 * been destroyed. False: the client is closed. */
bool kafka_client_renew(struct kafka_client *client, struct err *err);

/* This queue wakes the loop too. */
void kafka_client_wake_on(struct kafka_client *client, rd_kafka_queue_t *queue);
static inline void kafka_client_more(struct kafka_client *client)
{
    client->more = true;
}

void kafka_client_submit(struct kafka_client *client, struct kafka_job *job);
/* For RD_KAFKA_EVENT_ERROR and RD_KAFKA_EVENT_LOG; the caller destroys the event. While Kafka is
 * away the library's warnings say nothing new, and are written for debugging only. */
void kafka_client_error(struct kafka_client *client, rd_kafka_event_t *event);
void kafka_client_log(rd_kafka_event_t *event);
/* Is this why a broker cannot be reached, as opposed to what one said? */
bool kafka_client_is_connect_error(rd_kafka_resp_err_t code);
/* Reports through on_fatal, the first time only. */
void kafka_client_fatal(struct kafka_client *client, const struct err *err);

#endif
