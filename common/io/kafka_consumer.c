/*
 * kafka_consumer.c -- group membership: assignments come and go, offsets are committed.
 *
 *   NONE --assign--> LOOKUP --offsets known, on_assigned--> STARTING --all started--> READING
 *     ^                 |                                       |                        |
 *     +-----------------+------------- release <-- REVOKING <---+------- revoke ---------+
 *
 * An assignment is acknowledged to the group at once, with an empty list of partitions, and the
 * partitions are given to the library when all of them have been started. So neither a slow look-up
 * nor a slow program holds up the rebalance of the whole group.
 *
 * `epoch` counts assignments. Answers of the helper and results of commits carry the epoch they
 * were made in; those of an earlier one are dropped.
 *
 * Commits. One is on its way at a time, newer offsets wait for its result: the library retries a
 * commit that met a lost connection, and of two it could bring the older one home last. Within an
 * assignment an offset never moves back. Commits leave at the end of the turn.
 *
 * Being fenced. When a member's session has ended while Kafka was away, the library joins anew with
 * an empty member id. A static member's place is then given to that new id, and whatever is still
 * under way under the old one (a commit, a join sent twice) is answered with "fenced", as if
 * another process had taken the instance's name. The library (2.0.2) cannot tell the two apart and
 * is broken for good. We can: a fence is taken for our own doing while we are not settled, that is
 * before the first join, after a loss until a session time-out behind the next join, or while no
 * broker answers. Then the assignment is lost and the client is renewed. A settled member that is
 * fenced has met another process of the same name, and so has one that is fenced over and over
 * without another outage in between: fatal.
 *
 * Leaving. The library sends no LeaveGroup for a static member that closes, but it does for one
 * that unsubscribes first; `leave` uses that. A dynamic member always leaves.
 */
#include "common/io/kafka_reader.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"

#define CONSUMER_MAGIC  0x4b434f4eu
#define LOOKUP_WAIT_MS  2000 /* one question to the brokers */
#define LOOKUP_RETRY_MS 250
#define EVENTS_PER_TURN 1000
#define LEAVE_WAIT_MS   400
#define CLOSE_WAIT_MS   700 /* includes leaving */
#define DESTROY_WAIT_MS 300
#define RENEWALS_MAX    3 /* in a row */
#define RENEWAL_STEP_MS 1000

enum phase { PHASE_NONE, PHASE_LOOKUP, PHASE_STARTING, PHASE_READING, PHASE_REVOKING };

struct kafka_consumer {
    unsigned magic;
    struct loop *loop;
    struct kafka_client client;
    struct kafka_reader reader;
    struct kafka_consumer_events events;
    char *instance; /* NULL: a dynamic member */
    int64_t revoke_ms_max, session_ms;
    unsigned records_per_turn;

    enum phase phase;
    bool lost; /* while revoking */
    uintptr_t epoch;
    struct timer revoke_timer, lookup_timer;
    bool lookup_warned;
    bool committing; /* a commit of this epoch is on its way */

    bool disturbed;              /* the last assignment was lost */
    int64_t joined_ms, doubt_ms; /* the last join; until when a fence may be our own doing */
    unsigned renewals;           /* without a join that lasted, nor an outage */
    unsigned outages_seen;       /* at the last of them */
    struct timer renewal;

    char **topics;                  /* names, for good: partitions point here */
    size_t topic_count, subscribed; /* the first ones */
};

static void lookup_begin(void *context);
static bool on_broken(const struct err *err, void *context);

/* ---- names ---- */

static const char *topic_name(struct kafka_consumer *consumer, const char *name)
{
    for (size_t i = 0; i < consumer->topic_count; i++)
        if (strcmp(consumer->topics[i], name) == 0)
            return consumer->topics[i];
    size_t at = consumer->topic_count++;
    consumer->topics =
        xrealloc(consumer->topics, consumer->topic_count * sizeof(*consumer->topics));
    return consumer->topics[at] = xstrdup(name);
}

/* ---- commits ---- */

static void send_commit(struct kafka_consumer *consumer)
{
    struct kafka_reader *reader = &consumer->reader;
    rd_kafka_topic_partition_list_t *list = NULL;
    for (size_t i = 0; i < reader->count; i++) {
        struct kafka_part *part = &reader->parts[i];
        if (!part->commit_due)
            continue;
        part->commit_due = false;
        if (!list)
            list = rd_kafka_topic_partition_list_new((int)reader->count);
        rd_kafka_topic_partition_list_add(list, part->topic, part->number)->offset = part->commit;
    }
    if (!list)
        return;
    consumer->committing = true;
    rd_kafka_commit_queue(consumer->client.rk, list, consumer->client.queue, NULL,
                          (void *)consumer->epoch);
    rd_kafka_topic_partition_list_destroy(list);
}

static void flush_commits(void *context)
{
    struct kafka_consumer *consumer = context;
    if (!consumer->committing)
        send_commit(consumer);
}

void kafka_commit(struct kafka_consumer *consumer, const struct kafka_offset *offsets, size_t count)
{
    must_be(consumer, CONSUMER_MAGIC);
    if (consumer->phase == PHASE_REVOKING && consumer->lost)
        return;
    for (size_t i = 0; i < count; i++) {
        struct kafka_part *part =
            kafka_reader_find(&consumer->reader, offsets[i].topic, offsets[i].partition);
        if (!part || offsets[i].offset < part->commit)
            continue;
        part->commit = offsets[i].offset;
        part->commit_due = true;
    }
}

/* Reports the partitions of one result that share `code`. */
static void report_committed(struct kafka_consumer *consumer,
                             const rd_kafka_topic_partition_list_t *list, rd_kafka_resp_err_t all,
                             bool failed)
{
    struct kafka_offset *offsets = xcalloc((size_t)list->cnt, sizeof(*offsets));
    size_t count = 0;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &list->elems[i];
        rd_kafka_resp_err_t its = all ? all : one->err;
        if ((its != RD_KAFKA_RESP_ERR_NO_ERROR) != failed)
            continue;
        code = its;
        offsets[count++] = (struct kafka_offset){.topic = topic_name(consumer, one->topic),
                                                 .partition = one->partition,
                                                 .offset = one->offset};
    }
    struct err err;
    if (failed)
        kafka_err_set(&err, code, "offset commit failed", NULL);
    if (count > 0 && consumer->events.on_committed)
        consumer->events.on_committed(offsets, count, failed ? &err : NULL,
                                      consumer->events.context);
    free(offsets);
}

static void on_committed(struct kafka_consumer *consumer, rd_kafka_event_t *event)
{
    if ((uintptr_t)rd_kafka_event_opaque(event) != consumer->epoch)
        return;
    consumer->committing = false;
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    if (!list)
        return;
    rd_kafka_resp_err_t all = rd_kafka_event_error(event);
    report_committed(consumer, list, all, false);
    report_committed(consumer, list, all, true);
}

/* ---- settled or not ---- */

static void joined(struct kafka_consumer *consumer)
{
    int64_t now_ms = loop_now_ms(consumer->loop);
    consumer->joined_ms = now_ms;
    if (consumer->disturbed)
        consumer->doubt_ms = now_ms + consumer->session_ms;
    consumer->disturbed = false;
}

static bool settled(const struct kafka_consumer *consumer)
{
    return consumer->phase != PHASE_NONE && consumer->client.up && !consumer->disturbed &&
           loop_now_ms(consumer->loop) >= consumer->doubt_ms;
}

/* ---- assignment ---- */

static void forget_assignment(struct kafka_consumer *consumer)
{
    timer_cancel(consumer->loop, &consumer->revoke_timer);
    timer_cancel(consumer->loop, &consumer->lookup_timer);
    kafka_reader_clear(&consumer->reader);
    consumer->phase = PHASE_NONE;
    consumer->committing = false;
    consumer->epoch++;
}

static void release(struct kafka_consumer *consumer)
{
    if (!consumer->lost)
        send_commit(consumer); /* what waited for the one before has no other chance */
    rd_kafka_assign(consumer->client.rk, NULL);
    forget_assignment(consumer);
}

void kafka_release(struct kafka_consumer *consumer)
{
    must_be(consumer, CONSUMER_MAGIC);
    if (consumer->phase == PHASE_REVOKING)
        release(consumer);
}

static void on_revoke_timer(void *context)
{
    struct kafka_consumer *consumer = context;
    log_warn("partitions were not released in time", LOG_I("ms", consumer->revoke_ms_max));
    release(consumer);
}

static void on_revoke(struct kafka_consumer *consumer, bool lost)
{
    bool told = consumer->phase == PHASE_STARTING || consumer->phase == PHASE_READING;
    consumer->lost = lost;
    consumer->disturbed |= lost;
    consumer->reader.reading = false;
    if (!told) {
        release(consumer);
        return;
    }
    consumer->phase = PHASE_REVOKING;
    timer_set(consumer->loop, &consumer->revoke_timer,
              loop_now_ms(consumer->loop) + consumer->revoke_ms_max, on_revoke_timer, consumer);
    uintptr_t epoch = consumer->epoch;
    consumer->events.on_revoked(lost, consumer->events.context);
    if (lost && consumer->phase == PHASE_REVOKING && consumer->epoch == epoch)
        release(consumer);
}

static void assigned(struct kafka_consumer *consumer, const rd_kafka_topic_partition_list_t *list)
{
    if (consumer->phase != PHASE_NONE)
        on_revoke(consumer, true);
    consumer->epoch++;
    consumer->lookup_warned = false;
    joined(consumer);

    size_t count = (size_t)list->cnt;
    struct kafka_part *parts = xcalloc(count + 1, sizeof(*parts));
    for (size_t i = 0; i < count; i++) {
        parts[i].topic = topic_name(consumer, list->elems[i].topic);
        parts[i].number = list->elems[i].partition;
    }
    kafka_reader_set(&consumer->reader, parts, count);
    consumer->phase = PHASE_LOOKUP;

    rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(0);
    rd_kafka_assign(consumer->client.rk, none);
    rd_kafka_topic_partition_list_destroy(none);
    lookup_begin(consumer);
}

static void on_rebalance(struct kafka_consumer *consumer, rd_kafka_event_t *event)
{
    if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        assigned(consumer, rd_kafka_event_topic_partition_list(event));
    else
        on_revoke(consumer, rd_kafka_assignment_lost(consumer->client.rk));
}

/* ---- looking up offsets and watermarks ---- */

struct lookup {
    struct kafka_job job;
    struct kafka_consumer *consumer;
    uintptr_t epoch;
    rd_kafka_topic_partition_list_t *list; /* gets the committed offsets */
    int64_t *low, *high;
    struct err err; /* code ERR_NONE: done */
};

static void lookup_run(struct kafka_job *job, rd_kafka_t *rk)
{
    struct lookup *lookup = container_of(job, struct lookup, job);
    rd_kafka_resp_err_t code = rd_kafka_committed(rk, lookup->list, LOOKUP_WAIT_MS);
    if (code) {
        kafka_err_set(&lookup->err, code, "committed offsets", NULL);
        return;
    }
    for (int i = 0; i < lookup->list->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &lookup->list->elems[i];
        code = one->err ? one->err
                        : rd_kafka_query_watermark_offsets(rk, one->topic, one->partition,
                                                           &lookup->low[i], &lookup->high[i],
                                                           LOOKUP_WAIT_MS);
        if (code) {
            kafka_err_set(&lookup->err, code, "watermarks", NULL);
            return;
        }
    }
}

static void lookup_free(struct kafka_job *job)
{
    struct lookup *lookup = container_of(job, struct lookup, job);
    rd_kafka_topic_partition_list_destroy(lookup->list);
    free(lookup->low);
    free(lookup->high);
    free(lookup);
}

static void tell_assigned(struct kafka_consumer *consumer, const struct lookup *lookup)
{
    size_t count = consumer->reader.count;
    struct kafka_partition *partitions = xcalloc(count + 1, sizeof(*partitions));
    for (size_t i = 0; i < count; i++) {
        int64_t offset = lookup->list->elems[i].offset;
        partitions[i] = (struct kafka_partition){.topic = consumer->reader.parts[i].topic,
                                                 .partition = consumer->reader.parts[i].number,
                                                 .committed = offset >= 0 ? offset : -1,
                                                 .low = lookup->low[i],
                                                 .high = lookup->high[i]};
    }
    consumer->phase = count ? PHASE_STARTING : PHASE_READING;
    consumer->events.on_assigned(partitions, count, consumer->events.context);
    free(partitions);
}

static void lookup_finish(struct kafka_job *job)
{
    struct lookup *lookup = container_of(job, struct lookup, job);
    struct kafka_consumer *consumer = lookup->consumer;
    if (lookup->epoch == consumer->epoch && consumer->phase == PHASE_LOOKUP) {
        if (lookup->err.code == ERR_NONE) {
            tell_assigned(consumer, lookup);
        } else {
            if (!consumer->lookup_warned)
                log_warn("kafka offsets could not be looked up, trying again",
                         LOG_C("error", lookup->err.text));
            consumer->lookup_warned = true;
            timer_set(consumer->loop, &consumer->lookup_timer,
                      loop_now_ms(consumer->loop) + LOOKUP_RETRY_MS, lookup_begin, consumer);
        }
    }
    lookup_free(job);
}

static void lookup_begin(void *context)
{
    struct kafka_consumer *consumer = context;
    const struct kafka_reader *reader = &consumer->reader;
    struct lookup *lookup = xzalloc(sizeof(*lookup));
    lookup->job =
        (struct kafka_job){.run = lookup_run, .finish = lookup_finish, .discard = lookup_free};
    lookup->consumer = consumer;
    lookup->epoch = consumer->epoch;
    lookup->list = rd_kafka_topic_partition_list_new((int)reader->count);
    for (size_t i = 0; i < reader->count; i++)
        rd_kafka_topic_partition_list_add(lookup->list, reader->parts[i].topic,
                                          reader->parts[i].number);
    lookup->low = xcalloc(reader->count + 1, sizeof(*lookup->low));
    lookup->high = xcalloc(reader->count + 1, sizeof(*lookup->high));
    if (reader->count == 0) {
        lookup_finish(&lookup->job); /* nothing to ask */
        return;
    }
    kafka_client_submit(&consumer->client, &lookup->job);
}

/* ---- what the program asks ---- */

void kafka_start(struct kafka_consumer *consumer, const char *topic, int32_t partition,
                 int64_t offset)
{
    must_be(consumer, CONSUMER_MAGIC);
    if (consumer->phase != PHASE_STARTING)
        return; /* taken away in the meantime */
    struct kafka_part *part = kafka_reader_find(&consumer->reader, topic, partition);
    if (!part || part->started)
        return;
    kafka_reader_start(&consumer->reader, part, offset);
    kafka_client_more(&consumer->client);
}

void kafka_pause(struct kafka_consumer *consumer, const char *topic, int32_t partition)
{
    must_be(consumer, CONSUMER_MAGIC);
    struct kafka_part *part = kafka_reader_find(&consumer->reader, topic, partition);
    if (part)
        kafka_reader_pause(&consumer->reader, part);
}

void kafka_resume(struct kafka_consumer *consumer, const char *topic, int32_t partition)
{
    must_be(consumer, CONSUMER_MAGIC);
    struct kafka_part *part = kafka_reader_find(&consumer->reader, topic, partition);
    if (part)
        kafka_reader_resume(&consumer->reader, part);
}

bool kafka_consumer_up(const struct kafka_consumer *consumer)
{
    must_be(consumer, CONSUMER_MAGIC);
    return consumer->client.up;
}

bool kafka_consumer_joined(const struct kafka_consumer *consumer)
{
    must_be(consumer, CONSUMER_MAGIC); /* while it is looked up, on_assigned() is still to come */
    return consumer->phase == PHASE_STARTING || consumer->phase == PHASE_READING;
}

/* ---- one turn ---- */

static void handle(struct kafka_consumer *consumer, rd_kafka_event_t *event)
{
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_REBALANCE:
        on_rebalance(consumer, event);
        break;
    case RD_KAFKA_EVENT_OFFSET_COMMIT:
        on_committed(consumer, event);
        break;
    case RD_KAFKA_EVENT_ERROR:
        kafka_client_error(&consumer->client, event);
        break;
    case RD_KAFKA_EVENT_LOG:
        kafka_client_log(event);
        break;
    default:
        break;
    }
}

/*
 * The control queue is emptied before the library is told where to read: a revoke that is already
 * waiting there must win over the assign.
 */
static bool collect(void *context)
{
    struct kafka_consumer *consumer = context;
    must_be(consumer, CONSUMER_MAGIC);
    rd_kafka_event_t *event;
    unsigned events = 0;
    while (!timer_is_set(&consumer->renewal) && events++ < EVENTS_PER_TURN &&
           (event = rd_kafka_queue_poll(consumer->client.queue, 0))) {
        handle(consumer, event);
        rd_kafka_event_destroy(event);
    }
    if (timer_is_set(&consumer->renewal))
        return false;
    if (events > EVENTS_PER_TURN)
        return true;
    if (consumer->phase == PHASE_STARTING && consumer->reader.unstarted == 0 &&
        !rd_kafka_assignment_lost(consumer->client.rk)) {
        consumer->phase = PHASE_READING;
        kafka_reader_begin(&consumer->reader);
    }
    return kafka_reader_pull(&consumer->reader, consumer->records_per_turn);
}

static void on_fatal(const struct err *err, void *context)
{
    struct kafka_consumer *consumer = context;
    consumer->events.on_fatal(err, consumer->events.context);
}

/* ---- birth, renewal and death ---- */

static void name_topics(struct kafka_consumer *consumer, const struct kafka_conf *conf)
{
    for (size_t i = 0; i < conf->topic_count; i++) {
        char *name = xstrndup(conf->topics[i]);
        topic_name(consumer, name);
        free(name);
    }
    consumer->subscribed = consumer->topic_count;
}

static bool subscribe(struct kafka_consumer *consumer, struct err *err)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)consumer->subscribed);
    for (size_t i = 0; i < consumer->subscribed; i++)
        rd_kafka_topic_partition_list_add(list, consumer->topics[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(consumer->client.rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        err_set(err, ERR_CONFIG, "kafka subscription: %s", rd_kafka_err2str(code));
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

struct kafka_consumer *kafka_consumer_new(struct loop *loop, const struct kafka_conf *conf,
                                          const struct kafka_consumer_events *events,
                                          struct err *err)
{
    struct kafka_consumer *consumer = xzalloc(sizeof(*consumer));
    consumer->magic = CONSUMER_MAGIC;
    consumer->loop = loop;
    consumer->events = *events;
    consumer->instance = str_empty(conf->instance) ? NULL : xstrndup(conf->instance);
    consumer->session_ms = kafka_or(conf->session_timeout_ms, KAFKA_SESSION_TIMEOUT_MS);
    consumer->revoke_ms_max = kafka_or(conf->revoke_ms_max, KAFKA_REVOKE_MS_MAX);
    consumer->records_per_turn = (unsigned)kafka_or(conf->records_per_turn, KAFKA_RECORDS_PER_TURN);
    consumer->client = (struct kafka_client){.loop = loop,
                                             .what = "consumer",
                                             .collect = collect,
                                             .flush = flush_commits,
                                             .on_fatal = on_fatal,
                                             .on_broken = on_broken,
                                             .context = consumer};
    if (str_empty(conf->group) || conf->topic_count == 0) {
        err_set(err, ERR_CONFIG, "a kafka consumer needs a group and a topic");
        goto fail;
    }
    if (!kafka_client_open(
            &consumer->client, conf, KAFKA_CONSUMER,
            RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_OFFSET_COMMIT, err))
        goto fail;
    kafka_reader_init(&consumer->reader, &consumer->client, &consumer->events,
                      (size_t)kafka_or(conf->fetch_bytes_max, KAFKA_FETCH_BYTES_MAX));
    name_topics(consumer, conf);
    if (!subscribe(consumer, err))
        goto fail;
    return consumer;

fail:
    kafka_consumer_free(consumer, false);
    return NULL;
}

/* A timer's work: neither in a hook nor with an event of the old handle in hand. */
static void renew(void *context)
{
    struct kafka_consumer *consumer = context;
    size_t held_bytes_max = consumer->reader.held_bytes_max;
    struct err err;
    kafka_reader_done(&consumer->reader);
    bool ok = kafka_client_renew(&consumer->client, &err);
    if (ok) {
        kafka_reader_init(&consumer->reader, &consumer->client, &consumer->events, held_bytes_max);
        ok = subscribe(consumer, &err);
    }
    if (!ok)
        kafka_client_fatal(&consumer->client, &err);
}

static bool on_broken(const struct err *why, void *context)
{
    struct kafka_consumer *consumer = context;
    if (why->code != ERR_FENCED)
        return false;
    int64_t now_ms = loop_now_ms(consumer->loop);
    bool lasted =
        consumer->phase != PHASE_NONE && now_ms - consumer->joined_ms > consumer->session_ms;
    if (lasted || consumer->outages_seen != consumer->client.outages)
        consumer->renewals = 0;
    consumer->outages_seen = consumer->client.outages;
    if (settled(consumer) || consumer->renewals == RENEWALS_MAX) {
        struct err err;
        err_set(&err, ERR_FENCED, "another process has joined the group as instance '%s'",
                consumer->instance ? consumer->instance : "");
        kafka_client_fatal(&consumer->client, &err);
        return true;
    }
    on_revoke(consumer, true);
    log_warn("the consumer was fenced while it was not settled, joining anew",
             LOG_I("renewals", consumer->renewals));
    timer_set(consumer->loop, &consumer->renewal, now_ms + consumer->renewals++ * RENEWAL_STEP_MS,
              renew, consumer);
    return true;
}

static void serve_farewell(struct kafka_consumer *consumer)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(consumer->client.queue, 10);
    if (!event)
        return;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
        rd_kafka_assign(consumer->client.rk, NULL);
    rd_kafka_event_destroy(event);
}

static bool is_member(rd_kafka_t *rk)
{
    char *id = rd_kafka_memberid(rk);
    bool member = id && *id;
    rd_kafka_mem_free(rk, id);
    return member;
}

/* The member id is gone once LeaveGroup was sent; before that, closing would suppress it. */
static void leave_group(struct kafka_consumer *consumer)
{
    int64_t until_us = loop_exact_us(consumer->loop) + LEAVE_WAIT_MS * 1000;
    rd_kafka_unsubscribe(consumer->client.rk);
    while (is_member(consumer->client.rk) && loop_exact_us(consumer->loop) < until_us)
        serve_farewell(consumer);
}

static void close_group(struct kafka_consumer *consumer, bool leave)
{
    rd_kafka_t *rk = consumer->client.rk;
    int64_t until_us = loop_exact_us(consumer->loop) + CLOSE_WAIT_MS * 1000;
    if (leave && consumer->instance)
        leave_group(consumer);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(rk, consumer->client.queue);
    if (error) {
        rd_kafka_error_destroy(error);
        return;
    }
    while (!rd_kafka_consumer_closed(rk) && loop_exact_us(consumer->loop) < until_us)
        serve_farewell(consumer);
}

void kafka_consumer_free(struct kafka_consumer *consumer, bool leave)
{
    if (!consumer)
        return;
    must_be(consumer, CONSUMER_MAGIC);
    timer_cancel(consumer->loop, &consumer->renewal);
    if (consumer->client.rk) {
        send_commit(consumer);
        forget_assignment(consumer);
        close_group(consumer, leave);
        kafka_reader_done(&consumer->reader);
        kafka_client_close(&consumer->client, DESTROY_WAIT_MS);
    }
    for (size_t i = 0; i < consumer->topic_count; i++)
        free(consumer->topics[i]);
    free(consumer->topics);
    free(consumer->instance);
    consumer->magic = 0;
    free(consumer);
}
