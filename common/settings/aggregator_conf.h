/*
 * aggregator_conf.h -- the settings of quern-aggregator.
 *
 * To add one: a member here and a row in aggregator_conf.c.
 */
#ifndef QUERN_COMMON_SETTINGS_AGGREGATOR_CONF_H
#define QUERN_COMMON_SETTINGS_AGGREGATOR_CONF_H

#include "common/app/app.h"
#include "common/app/shared_conf.h"

struct aggregator_conf {
    struct app_conf app;
    struct shared_conf shared;
    struct str group, instance, lock_dir;
    int64_t batch_parts_max, batch_bytes_max;
    int64_t backlog_parts_max, backlog_bytes_max;
    int64_t deadline_grace_ms, open_max_ms;
    int64_t history_turns;
    int64_t reply_attempts_max, reply_retry_ms;
    int64_t commit_interval_ms;
    bool leave_group;
};

extern const struct conf_row aggregator_conf_rows[];
/* What the table cannot check. */
bool aggregator_conf_check(const struct aggregator_conf *conf, const struct conf_places *places,
                           struct err *err);

#endif
