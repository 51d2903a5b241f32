/*
 * kafka_fetcher.c -- see kafka_fetcher.h. Each partition has a queue of its own in the library,
 * which is left alone while nobody asks: the library fills it up to its limit and stops.
 *
 * A question that goes on where the queue stands takes what is in it; any other seeks, which makes
 * the library drop what it had (it numbers its versions of a partition, and what is of an older one
 * never leaves the queue). After it has stopped before a full queue, the library looks again only
 * after up to a second (2.0.2); a seek wakes it, so a question that waits seeks again, after 50 ms,
 * 100, 200 and so on.
 *
 * A seek waits for the answer to the library's last question, which the broker keeps while there is
 * nothing new in any partition. So that wait is short here, and when nobody has asked for a second
 * all partitions are given up, or the library would go on asking.
 */
#include "common/io/kafka_fetcher.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/kafka_client.h"

#define FETCHER_MAGIC   0x4b464554u
#define EVENTS_PER_TURN 1000
#define DESTROY_WAIT_MS 300
#define NUDGE_MS        50
#define FETCH_WAIT_MS   10
#define IDLE_MS         1000
#define PARTS_MAX       32 /* open at once, unless more are asked for at once */
#define BYTES_SHARES    16 /* each part reads ahead this part of fetch_bytes_max */
#define PART_BYTES_MIN  ((int64_t)1 << 20)
#define AHEAD_MAX       4096 /* records that are rather read and left than sought over */

struct kafka_fetch_part {
    struct list_node node;
    char *topic;
    int32_t number;
    rd_kafka_topic_t *handle;
    rd_kafka_queue_t *queue;
    int64_t position; /* the next record of the queue is this one or later */
    struct list asked;
    int64_t nudge_ms, nudge_at_ms;
};

struct kafka_fetcher {
    unsigned magic;
    struct loop *loop;
    struct kafka_client client;
    struct kafka_fetcher_events events;
    struct list parts;
    size_t asked;
    int64_t asked_ms; /* when somebody did last */
    unsigned records_per_turn;
    int64_t timeout_ms;
};

/* ---- partitions ---- */

/* Whoever asks next begins anew. */
static void part_stop(struct kafka_fetch_part *part)
{
    if (!part->queue)
        return;
    rd_kafka_consume_stop(part->handle, part->number);
    rd_kafka_queue_destroy(part->queue);
    part->queue = NULL;
}

static void part_free(struct kafka_fetcher *fetcher, struct kafka_fetch_part *part)
{
    must(list_empty(&part->asked));
    list_remove(&fetcher->parts, &part->node);
    part_stop(part);
    if (part->handle)
        rd_kafka_topic_destroy(part->handle);
    free(part->topic);
    free(part);
}

static void make_room(struct kafka_fetcher *fetcher)
{
    LIST_EACH(&fetcher->parts, node)
    {
        struct kafka_fetch_part *part = container_of(node, struct kafka_fetch_part, node);
        if (fetcher->parts.count >= PARTS_MAX && list_empty(&part->asked))
            part_free(fetcher, part);
    }
}

static struct kafka_fetch_part *part_of(struct kafka_fetcher *fetcher,
                                        const struct kafka_fetch *fetch)
{
    LIST_EACH(&fetcher->parts, node)
    {
        struct kafka_fetch_part *part = container_of(node, struct kafka_fetch_part, node);
        if (part->number == fetch->partition && strcmp(part->topic, fetch->topic) == 0)
            return part;
    }
    make_room(fetcher);
    struct kafka_fetch_part *part = xzalloc(sizeof(*part));
    part->topic = xstrndup(str_of(fetch->topic));
    part->number = fetch->partition;
    list_init(&part->asked);
    list_append(&fetcher->parts, &part->node);
    return part;
}

static void nudge_later(struct kafka_fetcher *fetcher, struct kafka_fetch_part *part, int64_t ms)
{
    part->nudge_ms = ms;
    part->nudge_at_ms = loop_now_ms(fetcher->loop) + ms;
}

static void seek(struct kafka_fetcher *fetcher, struct kafka_fetch_part *part, int64_t offset)
{
    part->position = offset;
    nudge_later(fetcher, part, NUDGE_MS);
    if (part->queue) {
        rd_kafka_seek(part->handle, part->number, offset, 0);
        return;
    }
    if (!part->handle)
        part->handle = rd_kafka_topic_new(fetcher->client.rk, part->topic, NULL);
    part->queue = rd_kafka_queue_new(fetcher->client.rk);
    if (rd_kafka_consume_start_queue(part->handle, part->number, offset, part->queue) != 0)
        log_warn("kafka fetcher cannot read", LOG_C("topic", part->topic),
                 LOG_I("partition", part->number),
                 LOG_C("error", rd_kafka_err2str(rd_kafka_last_error())));
    kafka_client_wake_on(&fetcher->client, part->queue);
}

/* ---- questions ---- */

static void begin(struct kafka_fetcher *fetcher, struct kafka_fetch_part *part)
{
    struct list_node *node = list_first(&part->asked);
    if (!node)
        return;
    struct kafka_fetch *fetch = container_of(node, struct kafka_fetch, node);
    fetch->since_ms = loop_now_ms(fetcher->loop);
    if (!part->queue || fetch->first < part->position || fetch->first - part->position > AHEAD_MAX)
        seek(fetcher, part, fetch->first);
    else
        nudge_later(fetcher, part, NUDGE_MS);
    kafka_client_more(&fetcher->client);
}

void kafka_fetch(struct kafka_fetcher *fetcher, struct kafka_fetch *fetch)
{
    must_be(fetcher, FETCHER_MAGIC);
    must(fetch->first >= 0 && fetch->last >= fetch->first);
    struct kafka_fetch_part *part = fetch->part = part_of(fetcher, fetch);
    list_append(&part->asked, &fetch->node);
    fetcher->asked++;
    if (part->asked.count == 1)
        begin(fetcher, part);
}

static void leave(struct kafka_fetcher *fetcher, struct kafka_fetch *fetch)
{
    struct kafka_fetch_part *part = fetch->part;
    bool was_first = list_first(&part->asked) == &fetch->node;
    list_remove(&part->asked, &fetch->node);
    fetch->part = NULL;
    fetcher->asked--;
    if (was_first)
        begin(fetcher, part);
}

void kafka_fetch_cancel(struct kafka_fetcher *fetcher, struct kafka_fetch *fetch)
{
    must_be(fetcher, FETCHER_MAGIC);
    if (fetch->part)
        leave(fetcher, fetch);
}

static void done(struct kafka_fetcher *fetcher, struct kafka_fetch *fetch, const struct err *err)
{
    leave(fetcher, fetch);
    fetcher->events.on_done(fetch, err, fetcher->events.context);
}

/* ---- what the library has ---- */

static void release_event(void *event)
{
    rd_kafka_event_destroy(event);
}

static void take_record(struct kafka_fetcher *fetcher, struct kafka_fetch_part *part,
                        struct kafka_fetch *fetch, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *message = rd_kafka_event_message_next(event);
    struct kafka_hold hold = {.object = event, .release = release_event};
    if (message && !message->err && message->offset >= part->position) {
        int64_t offset = message->offset, last = fetch->last;
        part->position = offset + 1;
        if (offset >= fetch->first && offset <= last) {
            struct kafka_record record;
            fetch->first = offset + 1;
            fetch->since_ms = loop_now_ms(fetcher->loop);
            nudge_later(fetcher, part, NUDGE_MS);
            kafka_record_fill(&record, message, part->topic, &hold);
            fetcher->events.on_record(fetch, &record, fetcher->events.context);
        }
        /* It may have been cancelled meanwhile. */
        if (offset >= last && list_first(&part->asked) == &fetch->node)
            done(fetcher, fetch, NULL);
    }
    if (hold.object)
        rd_kafka_event_destroy(hold.object);
}

static void lost(struct kafka_fetcher *fetcher, struct kafka_fetch_part *part,
                 struct kafka_fetch *fetch, const char *text)
{
    struct err err;
    err_set(&err, ERR_OFFSET_LOST, "partition %d of topic '%s' has no offset %lld any more: %s",
            (int)part->number, part->topic, (long long)fetch->first, text);
    part_stop(part);
    done(fetcher, fetch, &err);
}

static void take_error(struct kafka_fetcher *fetcher, struct kafka_fetch_part *part,
                       struct kafka_fetch *fetch, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    rd_kafka_topic_partition_t *where = rd_kafka_event_topic_partition(event);
    int64_t offset = where ? where->offset : -1;
    if (where)
        rd_kafka_topic_partition_destroy(where);
    if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (offset <= fetch->first)
            lost(fetcher, part, fetch, "the partition ends before it");
        else
            done(fetcher, fetch, NULL);
    } else if (code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
               code == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
        lost(fetcher, part, fetch, rd_kafka_event_error_string(event));
    } else {
        kafka_client_error(&fetcher->client, event);
    }
    rd_kafka_event_destroy(event);
}

/* True: there was something in its queue. */
static bool take(struct kafka_fetcher *fetcher, struct kafka_fetch_part *part)
{
    struct kafka_fetch *fetch = container_of(list_first(&part->asked), struct kafka_fetch, node);
    rd_kafka_event_t *event = rd_kafka_queue_poll(part->queue, 0);
    if (!event)
        return false;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_FETCH)
        take_record(fetcher, part, fetch, event);
    else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
        take_error(fetcher, part, fetch, event);
    else
        rd_kafka_event_destroy(event);
    return true;
}

static void look_at_time(struct kafka_fetcher *fetcher, struct kafka_fetch_part *part)
{
    struct kafka_fetch *fetch = container_of(list_first(&part->asked), struct kafka_fetch, node);
    int64_t now_ms = loop_now_ms(fetcher->loop);
    if (now_ms - fetch->since_ms >= fetcher->timeout_ms) {
        struct err err;
        err_set(&err, ERR_TIMEOUT,
                "partition %d of topic '%s': offset %lld did not come in %lld ms",
                (int)part->number, part->topic, (long long)fetch->first,
                (long long)fetcher->timeout_ms);
        done(fetcher, fetch, &err);
    } else if (now_ms >= part->nudge_at_ms) {
        int64_t ms = part->nudge_ms * 2;
        seek(fetcher, part, fetch->first);
        nudge_later(fetcher, part, ms);
    }
}

/* ---- the loop ---- */

static void drop_all(struct kafka_fetcher *fetcher)
{
    for (struct list_node *node; (node = list_first(&fetcher->parts));)
        part_free(fetcher, container_of(node, struct kafka_fetch_part, node));
}

static void look_whether_idle(struct kafka_fetcher *fetcher)
{
    int64_t now_ms = loop_now_ms(fetcher->loop);
    if (fetcher->asked)
        fetcher->asked_ms = now_ms;
    else if (now_ms - fetcher->asked_ms >= IDLE_MS)
        drop_all(fetcher);
}

static void serve_client(struct kafka_fetcher *fetcher)
{
    rd_kafka_event_t *event;
    for (unsigned i = 0;
         i < EVENTS_PER_TURN && (event = rd_kafka_queue_poll(fetcher->client.queue, 0)); i++) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
            kafka_client_error(&fetcher->client, event);
        else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LOG)
            kafka_client_log(event);
        rd_kafka_event_destroy(event);
    }
}

static bool collect(void *context)
{
    struct kafka_fetcher *fetcher = context;
    must_be(fetcher, FETCHER_MAGIC);
    serve_client(fetcher);
    look_whether_idle(fetcher);
    unsigned room = fetcher->records_per_turn;
    for (size_t left = fetcher->asked ? fetcher->parts.count : 0; left > 0 && room > 0; left--) {
        struct list_node *node = list_pop(&fetcher->parts);
        struct kafka_fetch_part *part = container_of(node, struct kafka_fetch_part, node);
        list_append(&fetcher->parts, node);
        while (room > 0 && !list_empty(&part->asked) && part->queue && take(fetcher, part))
            room--;
        if (room > 0 && !list_empty(&part->asked))
            look_at_time(fetcher, part);
    }
    return room == 0;
}

static void on_fatal(const struct err *err, void *context)
{
    struct kafka_fetcher *fetcher = context;
    fetcher->events.on_fatal(err, fetcher->events.context);
}

struct kafka_fetcher *kafka_fetcher_new(struct loop *loop, const struct kafka_conf *given,
                                        int64_t timeout_ms,
                                        const struct kafka_fetcher_events *events, struct err *err)
{
    struct kafka_conf conf = *given;
    if (str_empty(conf.group)) /* the library wants a name, nobody joins */
        conf.group = STR("quern-fetcher");
    conf.instance = (struct str){NULL, 0};
    conf.fetch_bytes_max = kafka_or(conf.fetch_bytes_max, KAFKA_FETCH_BYTES_MAX) / BYTES_SHARES;
    conf.fetch_wait_ms = FETCH_WAIT_MS;
    if (conf.fetch_bytes_max < PART_BYTES_MIN)
        conf.fetch_bytes_max = PART_BYTES_MIN;
    struct kafka_fetcher *fetcher = xzalloc(sizeof(*fetcher));
    fetcher->magic = FETCHER_MAGIC;
    fetcher->loop = loop;
    fetcher->events = *events;
    fetcher->timeout_ms = timeout_ms;
    fetcher->records_per_turn = (unsigned)kafka_or(conf.records_per_turn, KAFKA_RECORDS_PER_TURN);
    list_init(&fetcher->parts);
    fetcher->client = (struct kafka_client){.loop = loop,
                                            .what = "fetcher",
                                            .collect = collect,
                                            .on_fatal = on_fatal,
                                            .context = fetcher};
    if (!kafka_client_open(&fetcher->client, &conf, KAFKA_CONSUMER, RD_KAFKA_EVENT_FETCH, err)) {
        kafka_fetcher_free(fetcher);
        return NULL;
    }
    return fetcher;
}

void kafka_fetcher_forget(struct kafka_fetcher *fetcher)
{
    must_be(fetcher, FETCHER_MAGIC);
    must(fetcher->asked == 0);
    drop_all(fetcher);
}

void kafka_fetcher_free(struct kafka_fetcher *fetcher)
{
    if (!fetcher)
        return;
    must_be(fetcher, FETCHER_MAGIC);
    LIST_EACH(&fetcher->parts, node)
    while (list_pop(&container_of(node, struct kafka_fetch_part, node)->asked))
        ;
    if (fetcher->client.rk) {
        drop_all(fetcher);
        kafka_client_close(&fetcher->client, DESTROY_WAIT_MS);
    }
    fetcher->magic = 0;
    free(fetcher);
}
