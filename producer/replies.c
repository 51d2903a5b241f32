/*
 * replies.c -- see replies.h.
 */
#include "producer/replies.h"

#include "common/base/log.h"
#include "common/base/xalloc.h"
#include "common/io/kafka_admin.h"
#include "common/io/kafka_tail.h"

enum { REPLY_ARENA_BYTES = 128 << 20, ARENA_BLOCK = 65536 };

struct replies {
    struct replies_events events;
    struct kafka_tail *tail;
    struct arena_pool *pool;
    struct arena arena; /* of one reply */
    int64_t bytes_max;
};

static bool read_reply(struct replies *replies, const struct kafka_record *record,
                       struct reply *ret, struct value *document, struct err *err)
{
    enum encoding encoding;
    struct str type = kafka_record_header(record, HEADER_CONTENT_TYPE);
    if (!encoding_by_type(type, &encoding)) {
        err_set(err, ERR_INVALID_ENCODING, "content-type '" STR_FMT "' is unknown", STR_ARG(type));
        return false;
    }
    return contract_parse(record->value, encoding, &replies->arena, document, err) &&
           contract_read(&contract_reply, contract_unwrap(document), &replies->arena, ret, err);
}

static void on_record(struct kafka_record *record, void *context)
{
    struct replies *replies = context;
    struct reply reply;
    struct value document;
    struct err err;
    if (!replies->events.wanted(record->key, replies->events.context))
        return;
    if (read_reply(replies, record, &reply, &document, &err))
        replies->events.on_reply(&reply, contract_unwrap(&document), replies->events.context);
    else
        log_warn("a reply cannot be read", LOG_S("id", record->key), LOG_C("error", err.text));
    arena_reset(&replies->arena);
}

static void on_fatal(const struct err *err, void *context)
{
    struct replies *replies = context;
    replies->events.on_fatal(err, replies->events.context);
}

static void on_end(const char *topic, int32_t partition, int64_t next_offset, void *context)
{
    (void)topic, (void)partition, (void)next_offset, (void)context;
}

/* Where each partition ends now; the caller frees `ret`. */
static bool find_ends(const struct kafka_conf *conf, const char *topic, int64_t timeout_ms,
                      struct kafka_offset **ret, size_t *ret_count, struct err *err)
{
    struct kafka_topic_is is = {0};
    struct kafka_admin *admin = kafka_admin_new(conf, err);
    bool good = admin && kafka_admin_topic(admin, topic, timeout_ms, &is, err);
    if (good && !is.exists) {
        err_set(err, ERR_UNAVAILABLE, "topic '%s' does not exist: 'quern topics create' makes it",
                topic);
        good = false;
    }
    struct kafka_offset *ends = good ? xcalloc((size_t)is.partitions, sizeof(*ends)) : NULL;
    for (int32_t i = 0; good && i < is.partitions; i++) {
        int64_t low;
        ends[i] = (struct kafka_offset){.topic = topic, .partition = i};
        good = kafka_admin_watermarks(admin, topic, i, timeout_ms, &low, &ends[i].offset, err);
    }
    kafka_admin_free(admin);
    if (!good) {
        free(ends);
        return false;
    }
    *ret = ends;
    *ret_count = (size_t)is.partitions;
    return true;
}

struct replies *replies_new(struct loop *loop, const struct shared_conf *conf, const char *topic,
                            int64_t timeout_ms, const struct replies_events *events,
                            struct err *err)
{
    struct kafka_conf kafka_conf;
    struct kafka_offset *ends;
    size_t count;
    shared_kafka_conf(conf, &kafka_conf);
    kafka_conf.client_id = STR("quern");
    if (!find_ends(&kafka_conf, topic, timeout_ms, &ends, &count, err))
        return NULL;
    struct replies *replies = xzalloc(sizeof(*replies));
    replies->events = *events;
    replies->pool = arena_pool_new(ARENA_BLOCK, 64);
    arena_init(&replies->arena, replies->pool, REPLY_ARENA_BYTES);
    const struct kafka_consumer_events tail_events = {
        .on_record = on_record, .on_end = on_end, .on_fatal = on_fatal, .context = replies};
    replies->tail = kafka_tail_new(loop, &kafka_conf, ends, count, &tail_events, err);
    free(ends);
    if (replies->tail)
        return replies;
    replies_free(replies);
    return NULL;
}

void replies_free(struct replies *replies)
{
    if (!replies)
        return;
    kafka_tail_free(replies->tail);
    arena_done(&replies->arena);
    arena_pool_free(replies->pool);
    free(replies);
}
