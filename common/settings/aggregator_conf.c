/*
 * aggregator_conf.c -- see aggregator_conf.h.
 */
#include "common/settings/aggregator_conf.h"

#include "common/app/doors_check.h"

#define ROW(key, type, otherwise, min, max, live, member, sentence)                                \
    {                                                                                              \
        key, type, otherwise, min, max, NULL, live, offsetof(struct aggregator_conf, member),      \
            NULL, 0, sentence                                                                      \
    }

/* clang-format off */
const struct conf_row aggregator_conf_rows[] = {
    APP_CONF_ROWS("aggregator", "127.0.0.1:9102"),
    SHARED_CONF_ROWS(struct aggregator_conf, shared),
    ROW("aggregator.group", CONF_STR, "quern-aggregator", 0, 0, false, group,
        "Consumer group of the aggregators; also names their offsets in PostgreSQL"),
    ROW("aggregator.instance", CONF_STR, "", 0, 0, false, instance,
        "Base of this process's name in the group; empty: the host's name"),
    ROW("aggregator.lock_dir", CONF_STR, "", 0, 0, false, lock_dir,
        "Folder of the files that number the processes of this host; empty: $XDG_RUNTIME_DIR or /tmp"),
    ROW("aggregator.batch_parts_max", CONF_INT, "2000", 1, 100000, true, batch_parts_max,
        "Most results in one transaction"),
    ROW("aggregator.batch_bytes_max", CONF_BYTES, "16MiB", 65536, 1 << 28, true, batch_bytes_max,
        "Most bytes of results in one transaction"),
    ROW("aggregator.backlog_parts_max", CONF_INT, "8000", 1, 1000000, true, backlog_parts_max,
        "Results that wait for their transaction; beyond it reading is held until half of them are stored"),
    ROW("aggregator.backlog_bytes_max", CONF_BYTES, "64MiB", 65536, 1LL << 34, true, backlog_bytes_max,
        "The same, in bytes"),
    ROW("aggregator.deadline_grace", CONF_DURATION, "1s", 0, 600000, true, deadline_grace_ms,
        "How long after its deadline a request still waits for parts that are on their way"),
    ROW("aggregator.open_max", CONF_DURATION, "24h", 1000, 2592000000, true, open_max_ms,
        "Longest wait for missing parts, whatever the deadline says"),
    ROW("aggregator.history_turns", CONF_INT, "50", 0, 10000, true, history_turns,
        "Turns of a conversation that are kept in Redis"),
    ROW("aggregator.reply_attempts_max", CONF_INT, "10", 1, 1000, true, reply_attempts_max,
        "After so many failed deliveries a reply stays in the outbox and is not tried any more"),
    ROW("aggregator.reply_retry", CONF_DURATION, "1s", 10, 3600000, true, reply_retry_ms,
        "Pause before a failed reply is tried again; doubles each time"),
    ROW("aggregator.commit_interval", CONF_DURATION, "1s", 100, 600000, true, commit_interval_ms,
        "How often offsets are told to Kafka, for those who watch the lag"),
    ROW("aggregator.leave_group", CONF_BOOL, "false", 0, 0, true, leave_group,
        "Whether an aggregator that ends gives its place in the group up at once; off: it keeps it over a"
        " restart, for a session time-out"),
    {0},
};
/* clang-format on */

bool aggregator_conf_check(const struct aggregator_conf *conf, const struct conf_places *places,
                           struct err *err)
{
    return shared_conf_check(&conf->shared, places, err) &&
           doors_check_port(STR("aggregator.http_address"), conf->app.http_address, places, err);
}
