/*
 * kafka_tail.c -- see kafka_tail.h. A consumer's reader without a consumer's group: the partitions
 * are assigned by hand, once.
 */
#include "common/io/kafka_tail.h"

#include <stdlib.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/kafka_reader.h"

#define TAIL_MAGIC      0x4b544149u
#define EVENTS_PER_TURN 1000
#define CLOSE_WAIT_MS   500
#define DESTROY_WAIT_MS 300

struct kafka_tail {
    unsigned magic;
    struct loop *loop;
    struct kafka_client client;
    struct kafka_reader reader;
    struct kafka_consumer_events events;
    unsigned records_per_turn;
    char **names; /* of each partition's topic */
    size_t count;
};

static void handle(struct kafka_tail *tail, rd_kafka_event_t *event)
{
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
        kafka_client_error(&tail->client, event);
    else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LOG)
        kafka_client_log(event);
}

static bool collect(void *context)
{
    struct kafka_tail *tail = context;
    must_be(tail, TAIL_MAGIC);
    rd_kafka_event_t *event;
    unsigned events = 0;
    while (events++ < EVENTS_PER_TURN && (event = rd_kafka_queue_poll(tail->client.queue, 0))) {
        handle(tail, event);
        rd_kafka_event_destroy(event);
    }
    return kafka_reader_pull(&tail->reader, tail->records_per_turn) || events > EVENTS_PER_TURN;
}

static void on_fatal(const struct err *err, void *context)
{
    struct kafka_tail *tail = context;
    tail->events.on_fatal(err, tail->events.context);
}

static void assign(struct kafka_tail *tail, const struct kafka_offset *starts, size_t count)
{
    struct kafka_part *parts = xcalloc(count, sizeof(*parts));
    tail->names = xcalloc(count, sizeof(*tail->names));
    tail->count = count;
    for (size_t i = 0; i < count; i++) {
        tail->names[i] = xstrdup(starts[i].topic);
        parts[i] = (struct kafka_part){
            .topic = tail->names[i], .number = starts[i].partition, .commit = -1};
    }
    kafka_reader_set(&tail->reader, parts, count);
    for (size_t i = 0; i < count; i++)
        kafka_reader_start(&tail->reader, &parts[i], starts[i].offset);
    kafka_reader_begin(&tail->reader);
}

struct kafka_tail *kafka_tail_new(struct loop *loop, const struct kafka_conf *given,
                                  const struct kafka_offset *starts, size_t count,
                                  const struct kafka_consumer_events *events, struct err *err)
{
    struct kafka_conf conf = *given;
    /* The library wants a name for the group even where nobody joins one. */
    conf.group = STR("quern-tail");
    conf.instance = (struct str){NULL, 0};
    struct kafka_tail *tail = xzalloc(sizeof(*tail));
    tail->magic = TAIL_MAGIC;
    tail->loop = loop;
    tail->events = *events;
    tail->records_per_turn = (unsigned)kafka_or(conf.records_per_turn, KAFKA_RECORDS_PER_TURN);
    tail->client = (struct kafka_client){
        .loop = loop, .what = "reader", .collect = collect, .on_fatal = on_fatal, .context = tail};
    if (!kafka_client_open(&tail->client, &conf, KAFKA_CONSUMER, RD_KAFKA_EVENT_FETCH, err)) {
        kafka_tail_free(tail);
        return NULL;
    }
    kafka_reader_init(&tail->reader, &tail->client, &tail->events,
                      (size_t)kafka_or(conf.fetch_bytes_max, KAFKA_FETCH_BYTES_MAX));
    assign(tail, starts, count);
    return tail;
}

static void close_library(struct kafka_tail *tail)
{
    rd_kafka_t *rk = tail->client.rk;
    int64_t until_us = loop_exact_us(tail->loop) + CLOSE_WAIT_MS * 1000;
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(rk, tail->client.queue);
    if (error) {
        rd_kafka_error_destroy(error);
        return;
    }
    while (!rd_kafka_consumer_closed(rk) && loop_exact_us(tail->loop) < until_us) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(tail->client.queue, 10);
        if (event)
            rd_kafka_event_destroy(event);
    }
}

void kafka_tail_free(struct kafka_tail *tail)
{
    if (!tail)
        return;
    must_be(tail, TAIL_MAGIC);
    if (tail->client.rk) {
        kafka_reader_clear(&tail->reader);
        rd_kafka_assign(tail->client.rk, NULL);
        close_library(tail);
        kafka_reader_done(&tail->reader);
        kafka_client_close(&tail->client, DESTROY_WAIT_MS);
    }
    for (size_t i = 0; i < tail->count; i++)
        free(tail->names[i]);
    free(tail->names);
    tail->magic = 0;
    free(tail);
}

bool kafka_tail_up(const struct kafka_tail *tail)
{
    must_be(tail, TAIL_MAGIC);
    return tail->client.up;
}
