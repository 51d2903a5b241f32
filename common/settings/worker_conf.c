/*
 * worker_conf.c -- see worker_conf.h.
 */
#include "common/settings/worker_conf.h"

#include "common/app/doors_check.h"
#include "common/app/prices.h"

#define ROW(key, type, otherwise, min, max, live, member, sentence)                                \
    {                                                                                              \
        key, type, otherwise, min, max, NULL, live, offsetof(struct worker_conf, member), NULL, 0, \
            sentence                                                                               \
    }

/* clang-format off */
const struct conf_row worker_conf_rows[] = {
    APP_CONF_ROWS("worker", "127.0.0.1:9101"),
    SHARED_CONF_ROWS(struct worker_conf, shared),
    ROW("worker.group", CONF_STR, "quern-worker", 0, 0, false, group,
        "Consumer group of the workers"),
    ROW("worker.instance", CONF_STR, "", 0, 0, false, instance,
        "Base of this process's name in the group; empty: the host's name"),
    ROW("worker.lock_dir", CONF_STR, "", 0, 0, false, lock_dir,
        "Folder of the files that number the processes of this host; empty: $XDG_RUNTIME_DIR or /tmp"),
    ROW("worker.lanes", CONF_STRS, "requests,requests.batch", 0, 0, false, lanes,
        "Topics behind the prefix that are read, most urgent first: requests, requests.batch"),
    ROW("worker.max_in_flight", CONF_INT, "2000", 1, 50000, false, max_in_flight,
        "Most provider calls in flight, and most requests at work, in this process"),
    ROW("worker.read_ahead_bytes", CONF_BYTES, "64MiB", 65536, 1LL << 34, true, read_ahead_bytes,
        "Bytes of requests that are kept before they begin, of all tenants; of those beyond it only the place is kept"),
    ROW("worker.read_ahead", CONF_INT, "4000", 1, 1000000, true, read_ahead,
        "Number of requests that are kept before they begin, of all tenants"),
    ROW("worker.stubs_max", CONF_INT, "1000000", 1, 100000000, true, stubs_max,
        "Requests of which only the place is kept (40 bytes each), per lane; beyond it partitions are paused"),
    ROW("worker.stub_bytes", CONF_BYTES, "32MiB", 0, 1LL << 34, true, stub_bytes,
        "Bytes of such requests that are kept all the same, so that they need not be fetched again"),
    ROW("worker.headroom", CONF_INT, "10", 0, 50, true, headroom,
        "Percent of max_in_flight that is kept for tenants with few requests while there are several"),
    ROW("worker.batch_floor", CONF_INT, "10", 0, 90, false, batch_floor,
        "Percent of the tokens that the batch lane has at least while both lanes want some"),
    ROW("worker.parked_max", CONF_INT, "10000", 1, 1000000, true, parked_max,
        "Requests that wait for an earlier turn of their session; beyond it no more of their tenants begin"),
    ROW("worker.put_off_max", CONF_INT, "500000", 0, 10000000, true, put_off_max,
        "Requests that let go of their place at work while their provider makes them wait (about 150 bytes each); beyond it they keep it"),
    ROW("worker.put_off_after", CONF_DURATION, "1s", 10, 600000, true, put_off_after_ms,
        "What a long wait is: for longer a request without a session does not keep its place at work"),
    ROW("worker.put_off_keep", CONF_INT, "4", 1, 10000, true, put_off_keep,
        "Requests per model that keep their place all the same, and try whether the provider is back"),
    ROW("worker.default_deadline", CONF_DURATION, "10m", 1, 604800000, true, default_deadline_ms,
        "Deadline of requests that name none"),
    ROW("worker.request_bytes_max", CONF_BYTES, "8MiB", 1024, 1 << 25, false, request_bytes_max,
        "Largest request"),
    ROW("worker.reply_bytes_max", CONF_BYTES, "8MiB", 1024, 1 << 25, false, reply_bytes_max,
        "Largest reply of a provider"),
    ROW("worker.history_turns", CONF_INT, "50", 0, 10000, true, history_turns,
        "Most earlier turns of a conversation that a model is given"),
    ROW("worker.history_bytes", CONF_BYTES, "256KiB", 0, 1 << 25, true, history_bytes_max,
        "Most bytes of earlier turns that a model is given"),
    ROW("worker.commit_interval", CONF_DURATION, "100ms", 10, 60000, true, commit_interval_ms,
        "How often offsets are committed"),
    ROW("worker.revoke_drain", CONF_DURATION, "1s", 0, 60000, false, revoke_drain_ms,
        "When partitions are taken away: how long calls under way may still end"),
    ROW("worker.leave_group", CONF_BOOL, "false", 0, 0, true, leave_group,
        "Whether a worker that ends gives its place in the group up at once; off: it keeps it over a"
        " restart, for a session time-out"),
    ROW("worker.retry_base", CONF_DURATION, "250ms", 1, 600000, true, retry_base_ms,
        "First ceiling of the random pause before a provider is tried again; doubles each time"),
    ROW("worker.retry_cap", CONF_DURATION, "20s", 1, 600000, true, retry_cap_ms,
        "Largest ceiling of that pause"),
    ROW("worker.recognise_fresh", CONF_BOOL, "true", 0, 0, true, recognise_fresh,
        "Look up every request's id in PostgreSQL, not only those that may be read a second time"),
    {0},
};
/* clang-format on */

static bool check_lanes(const struct worker_conf *conf, const struct conf_places *places,
                        struct err *err)
{
    const struct conf_strs *lanes = &conf->lanes;
    struct str key = STR("worker.lanes");

    for (size_t i = 0; i < lanes->count; i++)
        if (!str_is(lanes->items[i], "requests") && !str_is(lanes->items[i], "requests.batch"))
            return conf_refuse(places, key, err,
                               "'" STR_FMT "' is neither requests nor requests.batch",
                               STR_ARG(str_utf8_cut(lanes->items[i], 80)));
    if (lanes->count == 0 || lanes->count > 2)
        return conf_refuse(places, key, err, "must name one or two lanes");
    if (lanes->count == 2 && str_eq(lanes->items[0], lanes->items[1]))
        return conf_refuse(places, key, err, "names '" STR_FMT "' twice", STR_ARG(lanes->items[0]));
    return true;
}

static bool check_retries(const struct worker_conf *conf, const struct conf_places *places,
                          struct err *err)
{
    return conf->retry_base_ms <= conf->retry_cap_ms ||
           conf_refuse(places, STR("worker.retry_base"), err,
                       "is %lldms, more than worker.retry_cap, %lldms%s",
                       (long long)conf->retry_base_ms, (long long)conf->retry_cap_ms,
                       conf_aside(places, STR("worker.retry_cap")).text);
}

static bool check_prices(const struct worker_conf *conf, const struct conf_places *places,
                         struct err *err)
{
    struct prices *prices = prices_load(conf->shared.prices_file, err);
    const char *where = conf_place(places, STR("prices_file"));

    if (!prices && where)
        err_prefix(err, "%s", where);
    prices_free(prices);
    return prices != NULL;
}

bool worker_conf_check(const struct worker_conf *conf, const struct conf_places *places,
                       struct err *err)
{
    return shared_conf_check(&conf->shared, places, err) &&
           doors_check_port(STR("worker.http_address"), conf->app.http_address, places, err) &&
           check_lanes(conf, places, err) && check_retries(conf, places, err) &&
           check_prices(conf, places, err);
}
