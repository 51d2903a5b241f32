/*
 * worker_conf.h -- the settings of quern-worker.
 *
 * To add one: a member here and a row in worker_conf.c.
 */
#ifndef QUERN_COMMON_SETTINGS_WORKER_CONF_H
#define QUERN_COMMON_SETTINGS_WORKER_CONF_H

#include "common/app/app.h"
#include "common/app/shared_conf.h"

struct worker_conf {
    struct app_conf app;
    struct shared_conf shared;
    struct str group;
    struct str instance, lock_dir;
    struct conf_strs lanes;
    int64_t max_in_flight;
    int64_t read_ahead_bytes, read_ahead, stubs_max, stub_bytes;
    int64_t headroom, batch_floor; /* percent */
    int64_t parked_max;
    int64_t put_off_max, put_off_after_ms, put_off_keep;
    int64_t default_deadline_ms;
    int64_t request_bytes_max, reply_bytes_max;
    int64_t history_turns, history_bytes_max;
    int64_t commit_interval_ms, revoke_drain_ms;
    int64_t retry_base_ms, retry_cap_ms;
    bool recognise_fresh, leave_group;
};

extern const struct conf_row worker_conf_rows[];
/* What the table cannot check. The models' addresses and names are checked where they are used. */
bool worker_conf_check(const struct worker_conf *conf, const struct conf_places *places,
                       struct err *err);

#endif
