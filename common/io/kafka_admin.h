/*
 * kafka_admin.h -- administration of Kafka for the command line: topics, watermarks, reading a
 * range. These calls block, at most `timeout_ms`; workers and aggregators do not use them.
 */
#ifndef QUERN_COMMON_IO_KAFKA_ADMIN_H
#define QUERN_COMMON_IO_KAFKA_ADMIN_H

#include "common/io/kafka.h"

struct kafka_admin;

struct kafka_topic_want {
    const char *name;
    int32_t partitions;
    int32_t replication;       /* -1: the broker's default */
    const char *const *config; /* name, value, name, value, .. NULL */
};

struct kafka_topic_is {
    bool exists;
    int32_t partitions;
    int32_t replication;
};

struct kafka_admin *kafka_admin_new(const struct kafka_conf *conf, struct err *err);
void kafka_admin_free(struct kafka_admin *admin); /* takes NULL */
/* Brokers known, cluster id; fails with ERR_UNAVAILABLE. The text lives as long as the admin. */
bool kafka_admin_cluster(struct kafka_admin *admin, int64_t timeout_ms, int *ret_brokers,
                         struct str *ret_cluster_id, struct err *err);
bool kafka_admin_topic(struct kafka_admin *admin, const char *name, int64_t timeout_ms,
                       struct kafka_topic_is *ret, struct err *err);
/* An existing topic is no error. */
bool kafka_admin_create(struct kafka_admin *admin, const struct kafka_topic_want *want,
                        int64_t timeout_ms, struct err *err);
/* Value of one topic setting as text, in `arena`; absent when the broker does not tell. */
bool kafka_admin_topic_config(struct kafka_admin *admin, const char *topic, const char *setting,
                              int64_t timeout_ms, struct arena *arena, struct str *ret,
                              struct err *err);
bool kafka_admin_watermarks(struct kafka_admin *admin, const char *topic, int32_t partition,
                            int64_t timeout_ms, int64_t *ret_low, int64_t *ret_high,
                            struct err *err);
/* Calls `each` for the records from `from` up to, not including, `to`; stops when it returns false.
 */
bool kafka_admin_read(struct kafka_admin *admin, const char *topic, int32_t partition, int64_t from,
                      int64_t to, int64_t timeout_ms,
                      bool (*each)(struct kafka_record *record, void *context), void *context,
                      struct err *err);

#endif
