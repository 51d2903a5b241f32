/*
 * kafka_producer.c -- records go out, delivery reports come back.
 *
 * A record that was accepted is a `struct delivery`. It waits until the next round
 * (kafka_rounds.h), is then handed to the library with the delivery as the message's opaque
 * pointer, and found again in its delivery report; deliveries come from slabs and are reused. A
 * record the library refuses for good (too large) is reported the same way in the next turn: `done`
 * is never called from within kafka_produce(). Each delivery is in one list: unused, waiting, under
 * way, or refused.
 *
 * Breaking down. The library (before 2.3, its pull request 4438) now and then loses count of its
 * sequence numbers when a broker was killed, and is broken for good ("rewound sequence number",
 * "sequence desynchronization"). The producer is then made anew: reports that are there already are
 * passed on, every other record is answered with ERR_TIMEOUT, for nobody knows whether the broker
 * has it, and the client is renewed; those that wait go to the new one. A record of the old handle
 * may still arrive behind those of the new one. Renewals are bounded, both in a row without a
 * record written in between and per minute; beyond that it is not this fault, and on_fatal is told.
 *
 * Topic handles are cached for the first TOPICS_MAX names; beyond that the library looks the name
 * up by itself. There is no compression by default: it costs latency and the records are small;
 * kafka.properties may say otherwise.
 */
#include "common/io/kafka_client.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/kafka_outgoing.h"
#include "common/io/kafka_rounds.h"

#define PRODUCER_MAGIC   0x4b50524fu
#define TOPICS_MAX       64
#define SLAB             256
#define REPORTS_PER_TURN 2000
#define PURGE_WAIT_MS    500
#define FULL_WAIT_MS     10 /* until a queue of the library that was full is tried again */
#define DESTROY_WAIT_MS  500
#define RENEWALS_MAX     3 /* in a row */
#define RENEWAL_STEP_MS  1000
#define RENEWALS_MINUTE  10 /* in a minute */

struct delivery {
    struct list_node node;
    void (*done)(const struct err *err, void *context);
    void *context;
    rd_kafka_resp_err_t refused;
    struct kafka_outgoing record; /* while it waits */
    size_t bytes;
    uint64_t round; /* while it is under way */
};

struct slab {
    struct slab *next;
    struct delivery deliveries[SLAB];
};

struct topic {
    struct map_node node;
    rd_kafka_topic_t *handle;
};

struct kafka_producer {
    unsigned magic;
    struct kafka_client client;
    void (*on_fatal)(const struct err *err, void *context);
    void *context;

    struct slab *slabs;
    struct list unused, waiting, under_way, refused;
    struct map topics;
    size_t pending, pending_bytes;
    size_t pending_max, pending_bytes_max; /* what the library's queue takes */
    struct kafka_rounds rounds;
    struct timer round;        /* the next one may begin */
    rd_kafka_event_t *reports; /* delivery reports not yet looked at to the end */

    bool broken;       /* the handle is of no use, `renewal` is set */
    struct err reason; /* while broken */
    struct timer renewal;
    unsigned in_a_row;                   /* renewals without a record written since */
    uint64_t renewals;                   /* of all time */
    int64_t renewed_ms[RENEWALS_MINUTE]; /* the last ones, in a ring */
};

/* ---- deliveries ---- */

static struct delivery *delivery_take(struct kafka_producer *producer)
{
    if (list_empty(&producer->unused)) {
        struct slab *slab = xzalloc(sizeof(*slab));
        slab->next = producer->slabs;
        producer->slabs = slab;
        for (size_t i = 0; i < SLAB; i++)
            list_append(&producer->unused, &slab->deliveries[i].node);
    }
    return container_of(list_pop(&producer->unused), struct delivery, node);
}

static void report(struct kafka_producer *producer, struct delivery *delivery,
                   rd_kafka_resp_err_t code)
{
    struct delivery copy = *delivery;
    list_prepend(&producer->unused, &delivery->node);
    producer->pending--;
    producer->pending_bytes -= copy.bytes;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        producer->in_a_row = 0;
        copy.done(NULL, copy.context);
        return;
    }
    struct err err;
    kafka_err_set(&err, code, "kafka did not take the record", NULL);
    copy.done(&err, copy.context);
}

/* What fails while the handle is broken may have been written all the same. */
static rd_kafka_resp_err_t meaning(const struct kafka_producer *producer, rd_kafka_resp_err_t code)
{
    bool sure = code == RD_KAFKA_RESP_ERR_NO_ERROR || kafka_err_code(code) == ERR_TOO_BIG;
    return producer->broken && !sure ? RD_KAFKA_RESP_ERR__PURGE_INFLIGHT : code;
}

static void report_refused(struct kafka_producer *producer)
{
    for (size_t n = producer->refused.count; n > 0; n--) {
        struct delivery *delivery =
            container_of(list_pop(&producer->refused), struct delivery, node);
        report(producer, delivery, delivery->refused);
    }
}

/* One event carries the reports of a whole batch; returns how many were dealt with. */
static unsigned report_some(struct kafka_producer *producer, unsigned budget)
{
    unsigned n = 0;
    const rd_kafka_message_t *message;
    while (n < budget && (message = rd_kafka_event_message_next(producer->reports))) {
        struct delivery *delivery = message->_private;
        list_remove(&producer->under_way, &delivery->node);
        kafka_rounds_done(&producer->rounds, delivery->round);
        report(producer, delivery, meaning(producer, message->err));
        n++;
    }
    if (n < budget) {
        rd_kafka_event_destroy(producer->reports);
        producer->reports = NULL;
    }
    return n;
}

static void handle(struct kafka_producer *producer, rd_kafka_event_t *event)
{
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
        producer->reports = event;
        return;
    case RD_KAFKA_EVENT_ERROR:
        kafka_client_error(&producer->client, event);
        break;
    case RD_KAFKA_EVENT_LOG:
        kafka_client_log(event);
        break;
    default:
        break;
    }
    rd_kafka_event_destroy(event);
}

/* Waits at most `wait_ms` for the first event. */
static bool serve(struct kafka_producer *producer, int wait_ms)
{
    report_refused(producer);
    for (unsigned n = 0; n < REPORTS_PER_TURN; n++) {
        if (producer->reports) {
            n += report_some(producer, REPORTS_PER_TURN - n);
            continue;
        }
        rd_kafka_event_t *event = rd_kafka_queue_poll(producer->client.queue, wait_ms);
        if (!event)
            return !list_empty(&producer->refused);
        handle(producer, event);
        wait_ms = 0;
    }
    return true;
}

static void break_down(struct kafka_producer *producer, const struct err *err);

static bool collect(void *context)
{
    struct kafka_producer *producer = context;
    must_be(producer, PRODUCER_MAGIC);
    return serve(producer, 0);
}

/* ---- producing ---- */

static rd_kafka_topic_t *topic_handle(struct kafka_producer *producer, struct str name)
{
    struct map_node *node = map_find(&producer->topics, name);
    if (node)
        return container_of(node, struct topic, node)->handle;
    if (producer->topics.count >= TOPICS_MAX)
        return NULL;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(producer->client.rk, name.data, NULL);
    if (!handle)
        return NULL;
    struct topic *topic = xzalloc(sizeof(*topic));
    topic->handle = handle;
    map_add(&producer->topics, &topic->node, str_of(rd_kafka_topic_name(handle)));
    return handle;
}

static void refuse(struct kafka_producer *producer, struct delivery *delivery,
                   rd_kafka_resp_err_t code)
{
    delivery->refused = code;
    list_append(&producer->refused, &delivery->node);
    kafka_client_more(&producer->client);
}

/* A fatal error may show here first; the event that tells of it is on its way. */
static bool is_of_no_use(struct kafka_producer *producer)
{
    char text[256];
    struct err err;
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(producer->client.rk, text, sizeof(text));
    if (!code || producer->client.fatal_told)
        return false;
    kafka_err_set(&err, code, producer->client.what, text);
    break_down(producer, &err);
    return true;
}

static void next_round(void *context);

static void wait_for_round(struct kafka_producer *producer, int64_t at_ms)
{
    timer_set(producer->client.loop, &producer->round, at_ms, next_round, producer);
}

/* False: it waits on, and so do those behind it. */
static bool hand_over(struct kafka_producer *producer, struct delivery *delivery)
{
    rd_kafka_topic_t *handle = topic_handle(producer, delivery->record.topic);
    rd_kafka_resp_err_t code =
        kafka_outgoing_send(&delivery->record, producer->client.rk, handle, delivery);
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL || (code && is_of_no_use(producer)))
        return false;
    list_remove(&producer->waiting, &delivery->node);
    if (code) {
        kafka_outgoing_drop(&delivery->record);
        refuse(producer, delivery, code);
        return true;
    }
    delivery->round = kafka_rounds_add(&producer->rounds);
    list_append(&producer->under_way, &delivery->node);
    return true;
}

static void hand_over_all(struct kafka_producer *producer)
{
    int64_t now_ms = loop_now_ms(producer->client.loop);
    kafka_rounds_begin(&producer->rounds, now_ms);
    for (struct list_node *node; !producer->broken && (node = list_first(&producer->waiting));)
        if (!hand_over(producer, container_of(node, struct delivery, node))) {
            wait_for_round(producer, now_ms + FULL_WAIT_MS);
            return;
        }
}

/* At the end of each turn, so that what one turn produces stays together. */
static void round_begin(void *context)
{
    struct kafka_producer *producer = context;
    if (list_empty(&producer->waiting) || producer->broken)
        return;
    if (kafka_rounds_open(&producer->rounds, loop_now_ms(producer->client.loop)))
        hand_over_all(producer);
    else
        wait_for_round(producer, kafka_rounds_open_at(&producer->rounds));
}

static void next_round(void *context)
{
    (void)context; /* the turn's end does it */
}

/* As the library would say it, which hears of the record later. */
static bool is_full(const struct kafka_producer *producer, const struct kafka_produce *record)
{
    size_t bytes = record->value.len + record->key.len;
    return producer->pending >= producer->pending_max ||
           (producer->pending && producer->pending_bytes + bytes > producer->pending_bytes_max);
}

bool kafka_produce(struct kafka_producer *producer, const struct kafka_produce *record)
{
    must_be(producer, PRODUCER_MAGIC);
    if (producer->broken || is_full(producer, record))
        return false;
    struct delivery *delivery = delivery_take(producer);
    *delivery = (struct delivery){.done = record->done, .context = record->context};
    kafka_outgoing_make(record, &delivery->record);
    delivery->bytes = kafka_outgoing_bytes(&delivery->record);
    producer->pending++;
    producer->pending_bytes += delivery->bytes;
    if (list_empty(&producer->waiting))
        loop_again(producer->client.loop); /* this turn's end may be over */
    list_append(&producer->waiting, &delivery->node);
    return true;
}

size_t kafka_producer_pending(const struct kafka_producer *producer)
{
    must_be(producer, PRODUCER_MAGIC);
    return producer->pending;
}

bool kafka_producer_up(const struct kafka_producer *producer)
{
    must_be(producer, PRODUCER_MAGIC);
    return producer->client.up;
}

uint64_t kafka_producer_renewals(const struct kafka_producer *producer)
{
    must_be(producer, PRODUCER_MAGIC);
    return producer->renewals;
}

/* ---- breaking down ---- */

static void free_topic(struct map_node *node, void *context)
{
    struct kafka_producer *producer = context;
    struct topic *topic = container_of(node, struct topic, node);
    map_remove(&producer->topics, node);
    rd_kafka_topic_destroy(topic->handle);
    free(topic);
}

/* Nothing of the handle may be left when it is closed. */
static void let_go(struct kafka_producer *producer)
{
    if (producer->reports)
        rd_kafka_event_destroy(producer->reports);
    producer->reports = NULL;
    map_each(&producer->topics, free_topic, producer);
}

static bool too_often(const struct kafka_producer *producer)
{
    int64_t oldest_ms = producer->renewed_ms[producer->renewals % RENEWALS_MINUTE];
    return producer->in_a_row >= RENEWALS_MAX ||
           (producer->renewals >= RENEWALS_MINUTE &&
            loop_now_ms(producer->client.loop) - oldest_ms < 60000);
}

static void give_up(struct kafka_producer *producer)
{
    struct err err;
    err_set(&err, ERR_UNAVAILABLE,
            "the kafka producer was made anew %u times %s and broke down again, look into the"
            " brokers' logs and start the program again: %s",
            producer->in_a_row >= RENEWALS_MAX ? RENEWALS_MAX : RENEWALS_MINUTE,
            producer->in_a_row >= RENEWALS_MAX ? "without success" : "in a minute",
            producer->reason.text);
    producer->broken = false;
    kafka_client_fatal(&producer->client, &err);
}

static void pass_on_reports(struct kafka_producer *producer)
{
    size_t turns = producer->under_way.count / REPORTS_PER_TURN + 1;
    while (turns-- > 0 && serve(producer, 0))
        continue;
}

/* A timer's work: neither in a hook nor with an event of the old handle in hand. The new one is
 * there before anybody hears of his record. */
static void renew(void *context)
{
    struct kafka_producer *producer = context;
    struct err err;
    pass_on_reports(producer);
    if (too_often(producer)) {
        give_up(producer);
        return;
    }
    log_warn("the kafka producer broke down and is made anew",
             LOG_I("unacknowledged", producer->under_way.count),
             LOG_I("before", producer->in_a_row), LOG_C("reason", producer->reason.text));
    let_go(producer);
    producer->renewed_ms[producer->renewals++ % RENEWALS_MINUTE] =
        loop_now_ms(producer->client.loop);
    producer->in_a_row++;
    bool ok = kafka_client_renew(&producer->client, &err);
    for (struct list_node *node; (node = list_pop(&producer->under_way));)
        refuse(producer, container_of(node, struct delivery, node),
               RD_KAFKA_RESP_ERR__PURGE_INFLIGHT);
    producer->broken = !ok;
    if (!ok)
        kafka_client_fatal(&producer->client, &err);
}

static void break_down(struct kafka_producer *producer, const struct err *err)
{
    if (producer->broken || producer->client.fatal_told)
        return;
    producer->broken = true;
    producer->reason = *err;
    int64_t pause_ms = too_often(producer) ? 0 : producer->in_a_row * RENEWAL_STEP_MS;
    timer_set(producer->client.loop, &producer->renewal,
              loop_now_ms(producer->client.loop) + pause_ms, renew, producer);
}

/* ---- birth and death ---- */

static bool on_broken(const struct err *err, void *context)
{
    break_down(context, err);
    return true;
}

static void on_fatal(const struct err *err, void *context)
{
    struct kafka_producer *producer = context;
    if (producer->on_fatal)
        producer->on_fatal(err, producer->context);
}

/* kafka.properties may have changed it. */
static size_t queue_max(const struct kafka_producer *producer, const char *name, size_t unit)
{
    char text[32];
    size_t size = sizeof(text);
    must(rd_kafka_conf_get(rd_kafka_conf(producer->client.rk), name, text, &size) ==
         RD_KAFKA_CONF_OK);
    return strtoul(text, NULL, 10) * unit;
}

struct kafka_producer *kafka_producer_new(struct loop *loop, const struct kafka_conf *conf,
                                          void (*fatal)(const struct err *err, void *context),
                                          void *context, struct err *err)
{
    struct kafka_producer *producer = xzalloc(sizeof(*producer));
    producer->magic = PRODUCER_MAGIC;
    producer->on_fatal = fatal;
    producer->context = context;
    producer->rounds.linger_ms = kafka_or(conf->linger_ms, KAFKA_LINGER_MS);
    list_init(&producer->unused);
    list_init(&producer->waiting);
    list_init(&producer->under_way);
    list_init(&producer->refused);
    map_init(&producer->topics);
    producer->client = (struct kafka_client){.loop = loop,
                                             .what = "producer",
                                             .collect = collect,
                                             .flush = round_begin,
                                             .on_fatal = on_fatal,
                                             .on_broken = on_broken,
                                             .context = producer};
    if (!kafka_client_open(&producer->client, conf, KAFKA_PRODUCER, RD_KAFKA_EVENT_DR, err)) {
        kafka_producer_free(producer, 0);
        return NULL;
    }
    producer->pending_max = queue_max(producer, "queue.buffering.max.messages", 1);
    producer->pending_bytes_max = queue_max(producer, "queue.buffering.max.kbytes", 1024);
    return producer;
}

static void serve_until_done(struct kafka_producer *producer, int64_t wait_ms)
{
    int64_t until_us = loop_exact_us(producer->client.loop) + wait_ms * 1000;
    while (producer->pending > 0 && loop_exact_us(producer->client.loop) < until_us)
        serve(producer, 10);
}

static void give_up_waiting(struct kafka_producer *producer)
{
    for (struct list_node *node; (node = list_pop(&producer->waiting));) {
        struct delivery *delivery = container_of(node, struct delivery, node);
        kafka_outgoing_drop(&delivery->record);
        refuse(producer, delivery, RD_KAFKA_RESP_ERR__PURGE_QUEUE);
    }
}

/* Everybody hears of his record: what is not through by then is given up and reported so. */
static void settle(struct kafka_producer *producer, int64_t flush_ms_max)
{
    if (!list_empty(&producer->waiting))
        hand_over_all(producer);
    serve_until_done(producer, flush_ms_max);
    if (producer->pending == 0)
        return;
    log_warn("kafka records were given up at the end", LOG_I("records", producer->pending));
    give_up_waiting(producer);
    rd_kafka_purge(producer->client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    serve_until_done(producer, PURGE_WAIT_MS);
}

void kafka_producer_free(struct kafka_producer *producer, int64_t flush_ms_max)
{
    if (!producer)
        return;
    must_be(producer, PRODUCER_MAGIC);
    if (producer->client.rk) {
        settle(producer, flush_ms_max);
        let_go(producer);
        kafka_client_close(&producer->client, DESTROY_WAIT_MS);
    }
    give_up_waiting(producer); /* of a renewal that failed */
    report_refused(producer);
    timer_cancel(producer->client.loop, &producer->renewal);
    timer_cancel(producer->client.loop, &producer->round);
    map_done(&producer->topics);
    while (producer->slabs) {
        struct slab *slab = producer->slabs;
        producer->slabs = slab->next;
        free(slab);
    }
    producer->magic = 0;
    free(producer);
}
