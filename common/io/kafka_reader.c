/*
 * kafka_reader.c -- from the library's record queue to on_record and on_end.
 *
 * An item is a record, or the news that a partition's end was reached; both travel through the
 * same list while a partition is paused, so their order is kept. An item belongs to us from the
 * moment it was taken from the queue; report() or clearing destroys its event.
 */
#include "common/io/kafka_reader.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

struct item {
    rd_kafka_event_t *event;
    const rd_kafka_message_t *message; /* NULL: end of the partition at `offset` */
    int64_t offset;
};

struct held {
    struct list_node node;
    struct item item;
};

static size_t item_bytes(const struct item *item)
{
    return item->message ? item->message->len + item->message->key_len + 512 : 512;
}

void kafka_reader_init(struct kafka_reader *reader, struct kafka_client *client,
                       const struct kafka_consumer_events *events, size_t held_bytes_max)
{
    *reader =
        (struct kafka_reader){.client = client, .events = events, .held_bytes_max = held_bytes_max};
    reader->records = rd_kafka_queue_new(client->rk);
    kafka_client_wake_on(client, reader->records);
}

void kafka_reader_done(struct kafka_reader *reader)
{
    if (!reader->records)
        return;
    kafka_reader_clear(reader);
    rd_kafka_queue_destroy(reader->records);
    reader->records = NULL;
}

/* ---- the assignment ---- */

void kafka_reader_set(struct kafka_reader *reader, struct kafka_part *parts, size_t count)
{
    must(!reader->parts);
    reader->parts = parts;
    reader->count = reader->unstarted = count;
    for (size_t i = 0; i < count; i++)
        list_init(&parts[i].held);
}

static void drop_queued(struct kafka_reader *reader)
{
    for (rd_kafka_event_t *event; (event = rd_kafka_queue_poll(reader->records, 0));)
        rd_kafka_event_destroy(event);
}

static bool pop_held(struct kafka_reader *reader, struct kafka_part *part, struct item *ret)
{
    struct list_node *node = list_pop(&part->held);
    if (!node)
        return false;
    struct held *held = container_of(node, struct held, node);
    *ret = held->item;
    reader->held_count--;
    reader->held_bytes -= item_bytes(ret);
    free(held);
    return true;
}

static void unpause_library(struct kafka_reader *reader, const struct kafka_part *part)
{
    rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(one, part->topic, part->number);
    rd_kafka_resume_partitions(reader->client->rk, one);
    rd_kafka_topic_partition_list_destroy(one);
}

void kafka_reader_clear(struct kafka_reader *reader)
{
    struct item item;
    for (size_t i = 0; i < reader->count; i++) {
        while (pop_held(reader, &reader->parts[i], &item))
            rd_kafka_event_destroy(item.event);
        /* The mark would outlive the assignment and silence the next one. */
        if (reader->parts[i].stopped)
            unpause_library(reader, &reader->parts[i]);
    }
    free(reader->parts);
    reader->parts = reader->last = NULL;
    reader->count = reader->unstarted = reader->paused_count = 0;
    reader->reading = false;
    drop_queued(reader);
}

struct kafka_part *kafka_reader_find(struct kafka_reader *reader, const char *topic, int32_t number)
{
    struct kafka_part *last = reader->last;
    if (last && last->number == number && strcmp(last->topic, topic) == 0)
        return last;
    for (size_t i = 0; i < reader->count; i++) {
        struct kafka_part *part = &reader->parts[i];
        if (part->number == number && strcmp(part->topic, topic) == 0)
            return reader->last = part;
    }
    return NULL;
}

void kafka_reader_start(struct kafka_reader *reader, struct kafka_part *part, int64_t offset)
{
    must(!part->started && offset >= 0);
    part->started = true;
    part->fetched = offset;
    reader->unstarted--;
}

/* The application's own forwarding wins over the one assign() makes. */
static void forward(struct kafka_reader *reader, const struct kafka_part *part)
{
    rd_kafka_queue_t *queue =
        rd_kafka_queue_get_partition(reader->client->rk, part->topic, part->number);
    if (!queue)
        return;
    rd_kafka_queue_forward(queue, reader->records);
    rd_kafka_queue_destroy(queue);
}

void kafka_reader_begin(struct kafka_reader *reader)
{
    must(reader->unstarted == 0 && !reader->reading);
    drop_queued(reader); /* leftovers of an earlier assignment */

    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)reader->count);
    for (size_t i = 0; i < reader->count; i++) {
        const struct kafka_part *part = &reader->parts[i];
        rd_kafka_topic_partition_list_add(list, part->topic, part->number)->offset = part->fetched;
        forward(reader, part);
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(reader->client->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    reader->reading = true;
    if (code && code != RD_KAFKA_RESP_ERR__FATAL) { /* of that an event tells the reason */
        struct err err;
        kafka_err_set(&err, code, "assignment was refused", NULL);
        kafka_client_fatal(reader->client, &err);
    }
}

/* ---- pausing ---- */

void kafka_reader_pause(struct kafka_reader *reader, struct kafka_part *part)
{
    if (part->paused)
        return;
    part->paused = true;
    reader->paused_count++;
}

/*
 * Resume first, then seek: the seek starts a new version of the partition, so whatever the library
 * may have fetched from its own idea of the position is dropped, and it wakes the broker's thread.
 */
static void go_on(struct kafka_reader *reader, struct kafka_part *part)
{
    unpause_library(reader, part);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(reader->client->rk, part->topic, NULL);
    if (topic) {
        rd_kafka_seek(topic, part->number, part->fetched, 0);
        rd_kafka_topic_destroy(topic);
    }
    part->stopped = false;
}

void kafka_reader_resume(struct kafka_reader *reader, struct kafka_part *part)
{
    if (!part->paused)
        return;
    part->paused = false;
    reader->paused_count--;
    if (part->stopped)
        go_on(reader, part);
    kafka_client_more(reader->client);
}

static void hold(struct kafka_reader *reader, struct kafka_part *part, const struct item *item)
{
    struct held *held = xzalloc(sizeof(*held));
    held->item = *item;
    list_append(&part->held, &held->node);
    reader->held_count++;
    reader->held_bytes += item_bytes(item);
    if (part->stopped || reader->held_bytes <= reader->held_bytes_max)
        return;

    part->stopped = true;
    rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(one, part->topic, part->number);
    rd_kafka_pause_partitions(reader->client->rk, one);
    rd_kafka_topic_partition_list_destroy(one);
}

/* ---- reporting ---- */

static void destroy_event(void *event)
{
    rd_kafka_event_destroy(event);
}

static void report(struct kafka_reader *reader, struct kafka_part *part, const struct item *item)
{
    const struct kafka_consumer_events *events = reader->events;
    if (!item->message) {
        rd_kafka_event_destroy(item->event);
        if (events->on_end)
            events->on_end(part->topic, part->number, item->offset, events->context);
        return;
    }
    struct kafka_hold object = {.object = item->event, .release = destroy_event};
    struct kafka_record record;
    kafka_record_fill(&record, item->message, part->topic, &object);
    events->on_record(&record, events->context);
    if (object.object)
        rd_kafka_event_destroy(object.object);
}

static void offset_lost(struct kafka_reader *reader, const rd_kafka_topic_partition_t *where,
                        const char *text)
{
    struct kafka_part *part = kafka_reader_find(reader, where->topic, where->partition);
    struct err err;
    err_set(&err, ERR_OFFSET_LOST, "partition %d of topic '%s' has no offset %lld any more: %s",
            (int)where->partition, where->topic,
            (long long)(part && where->offset < 0 ? part->fetched : where->offset), text);
    kafka_client_fatal(reader->client, &err);
}

/* True: an item for `ret_part`; false: the event is dealt with. */
static bool take_error(struct kafka_reader *reader, rd_kafka_event_t *event, struct item *ret,
                       struct kafka_part **ret_part)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    rd_kafka_topic_partition_t *where = rd_kafka_event_topic_partition(event);
    bool taken = false;
    if (where && code == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        *ret_part = kafka_reader_find(reader, where->topic, where->partition);
        *ret = (struct item){.event = event, .offset = where->offset};
        taken = *ret_part && where->offset >= (*ret_part)->fetched;
    } else if (where && (code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                         code == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)) {
        offset_lost(reader, where, rd_kafka_event_error_string(event));
    } else {
        kafka_client_error(reader->client, event);
    }
    if (where)
        rd_kafka_topic_partition_destroy(where);
    if (taken)
        (*ret_part)->fetched = ret->offset;
    return taken;
}

static bool take_record(struct kafka_reader *reader, rd_kafka_event_t *event, struct item *ret,
                        struct kafka_part **ret_part)
{
    const rd_kafka_message_t *message = rd_kafka_event_message_next(event);
    if (!message || message->err)
        return false;
    struct kafka_part *part =
        kafka_reader_find(reader, rd_kafka_topic_name(message->rkt), message->partition);
    if (!part || message->offset < part->fetched)
        return false;
    part->fetched = message->offset + 1;
    *ret = (struct item){.event = event, .message = message, .offset = message->offset};
    *ret_part = part;
    return true;
}

static bool take(struct kafka_reader *reader, rd_kafka_event_t *event, struct item *ret,
                 struct kafka_part **ret_part)
{
    bool taken = false;
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_FETCH:
        taken = take_record(reader, event, ret, ret_part);
        break;
    case RD_KAFKA_EVENT_ERROR:
        taken = take_error(reader, event, ret, ret_part);
        break;
    default:
        break;
    }
    if (!taken)
        rd_kafka_event_destroy(event);
    return taken;
}

/* Held items of partitions that go on come before anything from the queue. */
static bool next_held(struct kafka_reader *reader, struct item *ret, struct kafka_part **ret_part)
{
    for (size_t i = 0; reader->held_count > 0 && i < reader->count; i++)
        if (!reader->parts[i].paused && pop_held(reader, &reader->parts[i], ret)) {
            *ret_part = &reader->parts[i];
            return true;
        }
    return false;
}

bool kafka_reader_pull(struct kafka_reader *reader, unsigned budget)
{
    for (; reader->reading && budget > 0; budget--) {
        struct item item;
        struct kafka_part *part;
        if (next_held(reader, &item, &part)) {
            report(reader, part, &item);
            continue;
        }
        if (reader->paused_count == reader->count)
            return false;
        rd_kafka_event_t *event = rd_kafka_queue_poll(reader->records, 0);
        if (!event)
            return false;
        if (!take(reader, event, &item, &part))
            continue;
        if (part->paused)
            hold(reader, part, &item);
        else
            report(reader, part, &item);
    }
    return reader->reading;
}
