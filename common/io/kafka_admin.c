/*
 * kafka_admin.c -- topics, settings, watermarks and ranges of records, for the command line.
 *
 * One consumer handle without a group does it all; every call blocks its thread for at most the
 * time it was given. Log lines of the library gather in the main queue and are written at the end
 * of each call.
 */
#include "common/io/kafka_admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/kafka_client.h"

/* What the broker may need beyond the time it was told to take itself. */
#define ANSWER_MS 1000
#define POLL_MS   50
/* Who is told that nobody is there should not have to wait for it as long as for an answer. */
#define FIRST_ANSWER_MS 5000

struct kafka_admin {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    bool met; /* somebody has answered */
    char *cluster_id;
    char reason[200]; /* of the last failed connection */
};

struct kafka_admin *kafka_admin_new(const struct kafka_conf *want, struct err *err)
{
    rd_kafka_conf_t *conf =
        kafka_conf_new(want, KAFKA_ADMIN, RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG, err);
    if (!conf)
        return NULL;
    char text[256];
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        err_set(err, ERR_CONFIG, "kafka: %s", text);
        return NULL;
    }
    struct kafka_admin *admin = xzalloc(sizeof(*admin));
    admin->rk = rk;
    admin->queue = rd_kafka_queue_get_main(rk);
    rd_kafka_set_log_queue(rk, admin->queue);
    return admin;
}

static void write_log(struct kafka_admin *admin)
{
    for (rd_kafka_event_t *event; (event = rd_kafka_queue_poll(admin->queue, 0));) {
        if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_ERROR)
            kafka_client_log(event);
        else if (kafka_client_is_connect_error(rd_kafka_event_error(event)))
            kafka_outage_reason(rd_kafka_event_error_string(event), admin->reason,
                                sizeof(admin->reason));
        rd_kafka_event_destroy(event);
    }
}

void kafka_admin_free(struct kafka_admin *admin)
{
    if (!admin)
        return;
    write_log(admin);
    rd_kafka_queue_destroy(admin->queue);
    rd_kafka_destroy(admin->rk);
    free(admin->cluster_id);
    free(admin);
}

static bool answer(struct kafka_admin *admin, rd_kafka_resp_err_t code, const char *what,
                   struct err *err)
{
    write_log(admin);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return true;
    if (!admin->met && kafka_client_is_connect_error(code))
        err_set(err, ERR_UNAVAILABLE, "kafka cannot be reached: %s",
                admin->reason[0] ? admin->reason : "no broker answers");
    else
        kafka_err_set(err, code, what, NULL);
    return false;
}

static rd_kafka_resp_err_t ask_metadata(struct kafka_admin *admin, rd_kafka_topic_t *topic,
                                        int64_t timeout_ms, const struct rd_kafka_metadata **ret)
{
    if (!admin->met && timeout_ms > FIRST_ANSWER_MS)
        timeout_ms = FIRST_ANSWER_MS;
    rd_kafka_resp_err_t code = rd_kafka_metadata(admin->rk, 0, topic, ret, (int)timeout_ms);
    admin->met = admin->met || !code;
    return code;
}

/* ---- metadata ---- */

bool kafka_admin_cluster(struct kafka_admin *admin, int64_t timeout_ms, int *ret_brokers,
                         struct str *ret_cluster_id, struct err *err)
{
    const struct rd_kafka_metadata *metadata;
    if (!answer(admin, ask_metadata(admin, NULL, timeout_ms, &metadata), "kafka cluster", err))
        return false;
    *ret_brokers = metadata->broker_cnt;
    rd_kafka_metadata_destroy(metadata);

    char *id = rd_kafka_clusterid(admin->rk, (int)timeout_ms);
    free(admin->cluster_id);
    admin->cluster_id = xstrdup(id ? id : "");
    if (id)
        rd_kafka_mem_free(admin->rk, id);
    *ret_cluster_id = str_of(admin->cluster_id);
    return true;
}

static bool topic_missing(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
}

bool kafka_admin_topic(struct kafka_admin *admin, const char *name, int64_t timeout_ms,
                       struct kafka_topic_is *ret, struct err *err)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(admin->rk, name, NULL);
    if (!topic) {
        err_set(err, ERR_USAGE, "'%s' is not a topic name", name);
        return false;
    }
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = ask_metadata(admin, topic, timeout_ms, &metadata);
    rd_kafka_topic_destroy(topic);
    if (!answer(admin, code, name, err))
        return false;

    struct kafka_topic_is is = {0};
    code = metadata->topic_cnt ? metadata->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    if (!code) {
        is.exists = true;
        is.partitions = metadata->topics[0].partition_cnt;
        is.replication = is.partitions ? metadata->topics[0].partitions[0].replica_cnt : 0;
    }
    rd_kafka_metadata_destroy(metadata);
    if (code && !topic_missing(code))
        return answer(admin, code, name, err);
    *ret = is;
    return true;
}

bool kafka_admin_watermarks(struct kafka_admin *admin, const char *topic, int32_t partition,
                            int64_t timeout_ms, int64_t *ret_low, int64_t *ret_high,
                            struct err *err)
{
    int64_t low, high;
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(admin->rk, topic, partition, &low, &high, (int)timeout_ms);
    if (!answer(admin, code, topic, err))
        return false;
    *ret_low = low;
    *ret_high = high;
    return true;
}

/* ---- requests to the controller ---- */

static rd_kafka_AdminOptions_t *options_new(struct kafka_admin *admin, rd_kafka_admin_op_t op,
                                            int64_t timeout_ms)
{
    char text[128];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->rk, op);
    must(options);
    rd_kafka_AdminOptions_set_request_timeout(options, (int)timeout_ms, text, sizeof(text));
    if (op == RD_KAFKA_ADMIN_OP_CREATETOPICS)
        rd_kafka_AdminOptions_set_operation_timeout(options, (int)timeout_ms, text, sizeof(text));
    return options;
}

/* The event that answers, with the library's own error in `err`; the caller destroys it. */
static rd_kafka_event_t *await(struct kafka_admin *admin, rd_kafka_queue_t *queue, const char *what,
                               int64_t timeout_ms, struct err *err)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, (int)(timeout_ms + ANSWER_MS));
    write_log(admin);
    if (!event) {
        kafka_err_set(err, RD_KAFKA_RESP_ERR__TIMED_OUT, what, NULL);
        return NULL;
    }
    if (rd_kafka_event_error(event)) {
        kafka_err_set(err, rd_kafka_event_error(event), what, rd_kafka_event_error_string(event));
        rd_kafka_event_destroy(event);
        return NULL;
    }
    return event;
}

static bool set_config(rd_kafka_NewTopic_t *topic, const char *const *config, struct err *err)
{
    for (; config && config[0]; config += 2)
        if (rd_kafka_NewTopic_set_config(topic, config[0], config[1])) {
            err_set(err, ERR_USAGE, "topic setting '%s' cannot be '%s'", config[0], config[1]);
            return false;
        }
    return true;
}

static bool send_create(struct kafka_admin *admin, rd_kafka_NewTopic_t *topic, const char *name,
                        int64_t timeout_ms, struct err *err)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->rk);
    rd_kafka_AdminOptions_t *options =
        options_new(admin, RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout_ms);
    rd_kafka_CreateTopics(admin->rk, &topic, 1, options, queue);
    rd_kafka_event_t *event = await(admin, queue, name, timeout_ms, err);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    if (!event)
        return false;

    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[0]);
    bool ok = code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
    if (!ok)
        kafka_err_set(err, code, name, rd_kafka_topic_result_error_string(results[0]));
    rd_kafka_event_destroy(event);
    return ok;
}

/* The controller answers before the brokers know: whoever asks next should find the topic. */
static bool wait_for_topic(struct kafka_admin *admin, const char *name, int64_t timeout_ms,
                           struct err *err)
{
    int64_t until_us = clock_monotonic_us() + timeout_ms * 1000;
    struct kafka_topic_is is;
    while (kafka_admin_topic(admin, name, timeout_ms, &is, err)) {
        if (is.exists)
            return true;
        if (clock_monotonic_us() > until_us) {
            kafka_err_set(err, RD_KAFKA_RESP_ERR__TIMED_OUT, name, NULL);
            return false;
        }
        rd_kafka_event_t *event = rd_kafka_queue_poll(admin->queue, POLL_MS);
        if (event) {
            kafka_client_log(event);
            rd_kafka_event_destroy(event);
        }
    }
    return false;
}

bool kafka_admin_create(struct kafka_admin *admin, const struct kafka_topic_want *want,
                        int64_t timeout_ms, struct err *err)
{
    char text[256];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(want->name, want->partitions, want->replication, text, sizeof(text));
    if (!topic) {
        err_set(err, ERR_USAGE, "topic '%s': %s", want->name, text);
        return false;
    }
    bool ok = set_config(topic, want->config, err) &&
              send_create(admin, topic, want->name, timeout_ms, err) &&
              wait_for_topic(admin, want->name, timeout_ms, err);
    rd_kafka_NewTopic_destroy(topic);
    return ok;
}

static struct str find_setting(const rd_kafka_ConfigResource_t *resource, const char *setting,
                               struct arena *arena)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), setting) == 0) {
            const char *value = rd_kafka_ConfigEntry_value(entries[i]);
            return value ? arena_str(arena, str_of(value)) : (struct str){NULL, 0};
        }
    return (struct str){NULL, 0};
}

bool kafka_admin_topic_config(struct kafka_admin *admin, const char *topic, const char *setting,
                              int64_t timeout_ms, struct arena *arena, struct str *ret,
                              struct err *err)
{
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->rk);
    rd_kafka_AdminOptions_t *options =
        options_new(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout_ms);
    rd_kafka_DescribeConfigs(admin->rk, &resource, 1, options, queue);
    rd_kafka_event_t *event = await(admin, queue, topic, timeout_ms, err);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy(resource);
    if (!event)
        return false;

    size_t count;
    const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &count);
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(found[0]);
    if (code)
        kafka_err_set(err, code, topic, rd_kafka_ConfigResource_error_string(found[0]));
    else
        *ret = find_setting(found[0], setting, arena);
    rd_kafka_event_destroy(event);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* ---- reading a range ---- */

struct range {
    const char *topic;
    int64_t to;
    int64_t until_us;
    bool (*each)(struct kafka_record *record, void *context);
    void *context;
};

static void destroy_message(void *message)
{
    rd_kafka_message_destroy(message);
}

/* False: that was the last one. */
static bool hand_out(const struct range *range, rd_kafka_message_t *message)
{
    bool more = message->offset < range->to;
    if (more) {
        struct kafka_hold object = {.object = message, .release = destroy_message};
        struct kafka_record record;
        int64_t next = message->offset + 1;
        kafka_record_fill(&record, message, range->topic, &object);
        more = range->each(&record, range->context) && next < range->to;
        message = object.object;
    }
    if (message)
        rd_kafka_message_destroy(message);
    return more;
}

static rd_kafka_resp_err_t read_range(rd_kafka_topic_t *topic, int32_t partition,
                                      const struct range *range)
{
    for (;;) {
        int64_t left_ms = (range->until_us - clock_monotonic_us()) / 1000;
        rd_kafka_message_t *message =
            left_ms > 0 ? rd_kafka_consume(topic, partition, (int)left_ms) : NULL;
        if (!message)
            return RD_KAFKA_RESP_ERR__TIMED_OUT;
        rd_kafka_resp_err_t code = message->err;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            if (!hand_out(range, message))
                return code;
            continue;
        }
        rd_kafka_message_destroy(message);
        /* The last offsets of the range may be gaps. */
        return code == RD_KAFKA_RESP_ERR__PARTITION_EOF ? RD_KAFKA_RESP_ERR_NO_ERROR : code;
    }
}

bool kafka_admin_read(struct kafka_admin *admin, const char *name, int32_t partition, int64_t from,
                      int64_t to, int64_t timeout_ms,
                      bool (*each)(struct kafka_record *record, void *context), void *context,
                      struct err *err)
{
    if (from >= to)
        return true;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(admin->rk, name, NULL);
    if (!topic || rd_kafka_consume_start(topic, partition, from) != 0) {
        rd_kafka_resp_err_t code = rd_kafka_last_error();
        if (topic)
            rd_kafka_topic_destroy(topic);
        return answer(admin, code ? code : RD_KAFKA_RESP_ERR__INVALID_ARG, name, err);
    }
    struct range range = {.topic = name,
                          .to = to,
                          .until_us = clock_monotonic_us() + timeout_ms * 1000,
                          .each = each,
                          .context = context};
    rd_kafka_resp_err_t code = read_range(topic, partition, &range);
    rd_kafka_consume_stop(topic, partition);
    rd_kafka_topic_destroy(topic);
    return answer(admin, code, name, err);
}
