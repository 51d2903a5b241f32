/*
 * kafka_common.c -- configuration of librdkafka, its errors in our words, and records.
 *
 * Memory of records: a message of librdkafka points into the fetch response it came in, up to a
 * mebibyte per partition, and keeps all of it alive. A small record that waits minutes for its
 * answer would pin a thousand times its size, so kafka_record_keep() copies small records into the
 * arena and takes over the library's object only for large ones.
 *
 * To own another property (so that users cannot change it), add a row to `owned`.
 */
#include "common/io/kafka_common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

/* Records up to this size are copied when kept; see above. */
#define COPY_BYTES_MAX    65536
#define LIBRARY_LINGER_MS "0.2"

/* What correctness rests on; any other name passes through. */
static const struct {
    const char *name, *reason;
} owned[] = {
    {"group.id", "it is 'group' of the program"},
    {"group.instance.id", "it is made of host and slot"},
    {"enable.auto.commit", "offsets are committed when work is finished"},
    {"auto.commit.enable", "offsets are committed when work is finished"},
    {"enable.auto.offset.store", "offsets are committed when work is finished"},
    {"auto.offset.reset", "a lost offset must stop the program, not skip messages"},
    {"enable.partition.eof", "the end of a partition is a signal the programs need"},
    {"partition.assignment.strategy", "assignment is eager"},
    {"enable.idempotence", "the producer is idempotent"},
    {"transactional.id", "kafka transactions are not used"},
    {"acks", "a record is safe only when all in-sync replicas have it"},
    {"request.required.acks", "a record is safe only when all in-sync replicas have it"},
    {"partitioner", "all producers must agree on it, else a session would sit in two partitions"},
    {"log.queue", "log lines go through our log"},
};

static bool set_text(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err)
{
    char text[256];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK)
        return true;
    err_set(err, ERR_CONFIG, "kafka property '%s': %s", name, text);
    return false;
}

static bool set_str(rd_kafka_conf_t *conf, const char *name, struct str value, struct err *err)
{
    if (str_empty(value))
        return true;
    char *text = xstrndup(value);
    bool ok = set_text(conf, name, text, err);
    free(text);
    return ok;
}

static bool set_number(rd_kafka_conf_t *conf, const char *name, int64_t value, struct err *err)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)value);
    return set_text(conf, name, text, err);
}

static int64_t between(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/*
 * The time-outs are far below the library's own: a broker that was restarted should be found again
 * within a second, and a request into a dead connection should not hold a commit for a minute.
 */
static bool advise_all(rd_kafka_conf_t *conf, const struct kafka_conf *want, struct err *err)
{
    return set_str(conf, "client.id", want->client_id, err) &&
           set_text(conf, "socket.nagle.disable", "true", err) &&
           set_text(conf, "socket.keepalive.enable", "true", err) &&
           set_number(conf, "socket.timeout.ms", 10000, err) &&
           set_number(conf, "socket.connection.setup.timeout.ms", 10000, err) &&
           set_number(conf, "reconnect.backoff.max.ms", 1000, err) &&
           set_text(conf, "log.connection.close", "false", err) &&
           set_number(conf, "log_level", 4, err) &&
           set_number(conf, "receive.message.max.bytes",
                      between(larger(kafka_or(want->message_bytes_max, KAFKA_MESSAGE_BYTES_MAX),
                                     kafka_or(want->fetch_bytes_max, KAFKA_FETCH_BYTES_MAX)) +
                                  ((int64_t)1 << 20),
                              100000000, INT32_MAX),
                      err);
}

/*
 * fetch.wait.max.ms bounds no latency (a fetch returns with the first byte), but it is also how
 * often the library looks again at a partition it had stopped fetching. queued.max.messages.kbytes
 * counts all partitions together, because all of them are forwarded to one queue. When it is full
 * the library stops fetching and looks again after up to a second (2.0.2 has no setting for that),
 * so a program slower than Kafka reads at least fetch_bytes_max a second, and about twice that.
 */
static bool advise_consumer(rd_kafka_conf_t *conf, const struct kafka_conf *want, struct err *err)
{
    int64_t session_ms = kafka_or(want->session_timeout_ms, KAFKA_SESSION_TIMEOUT_MS);
    int64_t fetch_bytes = kafka_or(want->fetch_bytes_max, KAFKA_FETCH_BYTES_MAX);
    return set_number(conf, "session.timeout.ms", session_ms, err) &&
           set_number(conf, "heartbeat.interval.ms", between(session_ms / 3, 1, 2000), err) &&
           set_number(conf, "max.poll.interval.ms", larger(60000, session_ms), err) &&
           set_number(conf, "queued.max.messages.kbytes", between(fetch_bytes >> 10, 1, 2097151),
                      err) &&
           set_number(conf, "queued.min.messages", 50000, err) &&
           set_number(conf, "fetch.message.max.bytes", between(fetch_bytes, 1024, 1048576), err) &&
           set_number(conf, "fetch.wait.max.ms", kafka_or(want->fetch_wait_ms, KAFKA_FETCH_WAIT_MS),
                      err) &&
           set_number(conf, "fetch.error.backoff.ms", 100, err);
}

/* The library's own linger bridges only the moment in which a round of records is handed over to it
 * (kafka_rounds.h). */
static bool advise_producer(rd_kafka_conf_t *conf, const struct kafka_conf *want, struct err *err)
{
    int64_t message_bytes = kafka_or(want->message_bytes_max, KAFKA_MESSAGE_BYTES_MAX);
    return set_text(conf, "linger.ms", LIBRARY_LINGER_MS, err) &&
           set_number(conf, "message.timeout.ms",
                      kafka_or(want->delivery_timeout_ms, KAFKA_DELIVERY_TIMEOUT_MS), err) &&
           set_number(conf, "message.max.bytes", between(message_bytes, 1000, 1000000000), err) &&
           set_number(conf, "queue.buffering.max.messages", 200000, err) &&
           set_number(conf, "queue.buffering.max.kbytes",
                      between(larger(message_bytes >> 8, 262144), 1, INT32_MAX), err);
}

static bool insist_consumer(rd_kafka_conf_t *conf, const struct kafka_conf *want, struct err *err)
{
    return set_str(conf, "group.id", want->group, err) &&
           set_str(conf, "group.instance.id", want->instance, err) &&
           set_text(conf, "enable.auto.commit", "false", err) &&
           set_text(conf, "enable.auto.offset.store", "false", err) &&
           set_text(conf, "enable.partition.eof", "true", err) &&
           set_text(conf, "partition.assignment.strategy", "range,roundrobin", err);
}

static bool insist_producer(rd_kafka_conf_t *conf, struct err *err)
{
    return set_text(conf, "enable.idempotence", "true", err) &&
           set_text(conf, "acks", "all", err) &&
           set_text(conf, "partitioner", "murmur2_random", err);
}

static bool apply_properties(rd_kafka_conf_t *conf, const struct conf_props *props, struct err *err)
{
    for (size_t i = 0; props && i < props->count; i++) {
        for (size_t k = 0; k < sizeof(owned) / sizeof(owned[0]); k++)
            if (str_is(props->keys[i], owned[k].name)) {
                err_set(err, ERR_CONFIG, "kafka property '%s' cannot be set: %s", owned[k].name,
                        owned[k].reason);
                return false;
            }
        char *name = xstrndup(props->keys[i]);
        char *value = xstrndup(props->values[i]);
        bool ok = set_text(conf, name, value, err);
        free(name);
        free(value);
        if (!ok)
            return false;
    }
    return true;
}

static bool fill_conf(rd_kafka_conf_t *conf, const struct kafka_conf *want, enum kafka_role role,
                      struct err *err)
{
    return advise_all(conf, want, err) &&
           (role == KAFKA_PRODUCER ? advise_producer(conf, want, err)
                                   : advise_consumer(conf, want, err)) &&
           apply_properties(conf, want->properties, err) &&
           set_str(conf, "bootstrap.servers", want->bootstrap_servers, err) &&
           set_text(conf, "log.queue", "true", err) &&
           (role == KAFKA_PRODUCER   ? insist_producer(conf, err)
            : role == KAFKA_CONSUMER ? insist_consumer(conf, want, err)
                                     : set_text(conf, "enable.partition.eof", "true", err)) &&
           (role == KAFKA_PRODUCER || set_text(conf, "auto.offset.reset", "error", err));
}

rd_kafka_conf_t *kafka_conf_new(const struct kafka_conf *want, enum kafka_role role, int events,
                                struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (!fill_conf(conf, want, role, err)) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    rd_kafka_conf_set_events(conf, events);
    return conf;
}

enum err_code kafka_err_code(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return ERR_NONE;
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        return ERR_TIMEOUT;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return ERR_TOO_BIG;
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
        return ERR_FENCED;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        return ERR_OFFSET_LOST;
    default:
        return ERR_UNAVAILABLE;
    }
}

void kafka_err_set(struct err *err, rd_kafka_resp_err_t code, const char *what, const char *detail)
{
    err_set(err, kafka_err_code(code), "%s: %s", what, detail ? detail : rd_kafka_err2str(code));
}

static void fill_headers(struct kafka_record *ret, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    ret->header_count = 0;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;

    const char *name;
    const void *value;
    size_t len;
    while (ret->header_count < KAFKA_HEADERS_MAX &&
           rd_kafka_header_get_all(headers, ret->header_count, &name, &value, &len) ==
               RD_KAFKA_RESP_ERR_NO_ERROR)
        ret->headers[ret->header_count++] =
            (struct kafka_header){.name = str_of(name), .value = str_from(value, len)};
}

void kafka_record_fill(struct kafka_record *ret, const rd_kafka_message_t *message,
                       const char *topic, struct kafka_hold *hold)
{
    rd_kafka_timestamp_type_t kind;
    int64_t timestamp_ms = rd_kafka_message_timestamp(message, &kind);

    ret->topic = topic;
    ret->partition = message->partition;
    ret->offset = message->offset;
    ret->timestamp_ms = kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? 0 : timestamp_ms;
    ret->key = str_from(message->key, message->key_len);
    ret->value = str_from(message->payload, message->len);
    ret->handle = hold;
    fill_headers(ret, message);
}

struct str kafka_record_header(const struct kafka_record *record, const char *name)
{
    for (size_t i = record->header_count; i-- > 0;)
        if (str_is(record->headers[i].name, name))
            return record->headers[i].value;
    return (struct str){NULL, 0};
}

/* Absent stays absent: a null value is not an empty one. */
static struct str copy(struct arena *arena, struct str s)
{
    return s.data ? arena_str(arena, s) : s;
}

void kafka_record_keep(struct kafka_record *record, struct arena *arena)
{
    struct kafka_hold *hold = record->handle;
    must(hold && hold->object);
    record->handle = NULL;
    if (kafka_record_bytes(record) > COPY_BYTES_MAX) {
        arena_defer(arena, hold->release, hold->object);
        hold->object = NULL;
        return;
    }
    record->key = copy(arena, record->key);
    record->value = copy(arena, record->value);
    for (size_t i = 0; i < record->header_count; i++) {
        record->headers[i].name = copy(arena, record->headers[i].name);
        record->headers[i].value = copy(arena, record->headers[i].value);
    }
}

const char *kafka_library_version(void)
{
    return rd_kafka_version_str();
}
