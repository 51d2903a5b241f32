/*
 * shared_conf.h -- the settings that all programs share: the servers, the topics, the models.
 *
 * Every program's configuration struct holds a `struct shared_conf`, and its table of rows begins
 * with SHARED_CONF_ROWS(type, member). To add a shared setting: a member here and a row below.
 */
#ifndef QUERN_COMMON_APP_SHARED_CONF_H
#define QUERN_COMMON_APP_SHARED_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/data/conf.h"
#include "common/io/kafka.h"
#include "common/io/postgres.h"
#include "common/io/redis.h"

/* One item of `models`. */
struct model_conf {
    struct str name, provider, model, base_url, api_key, api, api_version, stream, http, ca_file;
    struct conf_strs api_keys; /* beside api_key */
    struct conf_strs fallback; /* names of models */
    int64_t context_tokens;    /* 0: not known */
    struct str latency_class;
    bool local;
    int64_t max_tokens; /* 0: the provider's own */
    double temperature; /* NAN: the provider's own */
    int64_t timeout_ms, connect_timeout_ms, attempts_max;
    int64_t first_token_timeout_ms, idle_timeout_ms; /* of streams */
    int64_t breaker_failures, breaker_pause_max_ms, retry_budget;
    struct str hedge; /* "off" or "p95" */
    int64_t hedge_floor_ms, hedge_percent;
    int64_t requests_per_minute, tokens_per_minute;                          /* 0: no limit */
    struct str limits;                                                       /* "learn" or "off" */
    double budget_day, budget_month;                                         /* dollars; 0: none */
    int64_t concurrency_min, concurrency_max;                                /* max 0: none */
    double price_input, price_output, price_cached_input, price_cache_write; /* NAN: see prices.h */
    struct conf_props headers;
};
extern const struct conf_row model_conf_rows[];

/* One item of `tenants`. */
struct tenant_conf {
    struct str name;
    int64_t weight;
    int64_t requests_per_minute, tokens_per_minute;           /* 0: no limit */
    int64_t user_requests_per_minute, user_tokens_per_minute; /* of each user */
    double budget_day, budget_month;                          /* dollars; 0: none */
};
extern const struct conf_row tenant_conf_rows[];
/* One item of `routes`. Names of models may have a weight: "large=3". */
struct route_conf {
    struct str name, policy;
    struct conf_strs models, context_models, filter_models;
    bool prefer_local;
    int64_t local_under_ms;
};
extern const struct conf_row route_conf_rows[];
/* "large=3": the name, and 3; 1 where none is given, -1 where it is no number from 0 to 1,000,000.
 */
struct str route_conf_model(struct str item, double *ret_weight);

struct shared_conf {
    struct str kafka_servers;
    struct conf_props kafka_properties;
    int64_t session_timeout_ms, fetch_bytes_max, delivery_timeout_ms, linger_ms;
    int64_t message_bytes_max;
    struct str postgres_conninfo, postgres_password;
    struct str redis_url, redis_password, redis_key_prefix;
    int64_t redis_timeout_ms;
    struct str topic_prefix;
    struct conf_strs allowed_prefixes, allowed_addresses;
    struct conf_items models;  /* of struct model_conf */
    struct conf_items tenants; /* of struct tenant_conf */
    struct conf_items routes;  /* of struct route_conf */
    struct str default_model, default_route;
    struct str prices_file;
};

#define SHARED_ROW(type, member, key, kind, otherwise, min, max, live, field, sentence)            \
    {                                                                                              \
        key, kind, otherwise, min, max, NULL, live, offsetof(type, member.field), NULL, 0,         \
            sentence                                                                               \
    }

/* clang-format off */
#define SHARED_CONF_ROWS(type, member) \
    SHARED_ROW(type, member, "kafka.bootstrap_servers", CONF_STR, "127.0.0.1:9092", 0, 0, false, kafka_servers, \
        "Kafka brokers, host:port, separated by commas"), \
    SHARED_ROW(type, member, "kafka.properties", CONF_PROPS, "", 0, 0, false, kafka_properties, \
        "Any librdkafka property by its own name, passed through untouched (security.protocol, sasl.*, ssl.*, ..)"), \
    SHARED_ROW(type, member, "kafka.session_timeout", CONF_DURATION, "6s", 1000, 600000, false, session_timeout_ms, \
        "After this long without a sign of life a member's partitions go to others"), \
    SHARED_ROW(type, member, "kafka.fetch_bytes", CONF_BYTES, "16MiB", 65536, 1LL << 31, false, fetch_bytes_max, \
        "Read-ahead inside the Kafka library"), \
    SHARED_ROW(type, member, "kafka.delivery_timeout", CONF_DURATION, "30s", 1000, 600000, false, delivery_timeout_ms, \
        "How long one record is tried to be produced before it is taken up anew"), \
    SHARED_ROW(type, member, "kafka.linger", CONF_DURATION, "5ms", 1, 1000, false, linger_ms, \
        "While records keep coming they are sent together, at most so often; the first one after a pause leaves at once"), \
    SHARED_ROW(type, member, "kafka.message_bytes_max", CONF_BYTES, "32MiB", 65536, 1 << 28, false, message_bytes_max, \
        "Largest record; the topics' max.message.bytes"), \
    SHARED_ROW(type, member, "postgres.conninfo", CONF_SECRET, "", 0, 0, false, postgres_conninfo, \
        "libpq connection string or URI; PG* variables fill the gaps"), \
    SHARED_ROW(type, member, "postgres.password", CONF_SECRET, "", 0, 0, false, postgres_password, \
        "Password, when it is not in conninfo"), \
    SHARED_ROW(type, member, "redis.url", CONF_SECRET, "redis://127.0.0.1:6379/0", 0, 0, false, redis_url, \
        "redis://[user:password@]host:port/db or unix:///path; empty: work without Redis"), \
    SHARED_ROW(type, member, "redis.password", CONF_SECRET, "", 0, 0, false, redis_password, \
        "Password, when it is not in url"), \
    SHARED_ROW(type, member, "redis.key_prefix", CONF_STR, "quern:", 0, 0, false, redis_key_prefix, \
        "Before every key"), \
    SHARED_ROW(type, member, "redis.command_timeout", CONF_DURATION, "500ms", 10, 60000, false, redis_timeout_ms, \
        "After this long a command counts as a miss"), \
    SHARED_ROW(type, member, "topics.prefix", CONF_STR, "quern", 0, 0, false, topic_prefix, \
        "Before every topic's name"), \
    SHARED_ROW(type, member, "replies.allowed_prefixes", CONF_STRS, "quern.replies", 0, 0, true, allowed_prefixes, \
        "A request's reply_to must begin with one of these"), \
    SHARED_ROW(type, member, "providers.allowed_addresses", CONF_STRS, "", 0, 0, true, allowed_addresses, \
        "Models may be asked at these addresses only: a host, .domain for all hosts below it, or the beginning of an address (https://host/path); empty: anywhere"), \
    {"models", CONF_ITEMS, "", 0, 0, NULL, true, offsetof(type, member.models), model_conf_rows, sizeof(struct model_conf), \
        "The models that requests may name"}, \
    {"tenants", CONF_ITEMS, "", 0, 0, NULL, true, offsetof(type, member.tenants), tenant_conf_rows, sizeof(struct tenant_conf), \
        "Tenants that are not as all others"}, \
    {"routes", CONF_ITEMS, "", 0, 0, NULL, true, offsetof(type, member.routes), route_conf_rows, sizeof(struct route_conf), \
        "Lists of models of which one answers, by name; a request names one as `route`"}, \
    SHARED_ROW(type, member, "default_route", CONF_STR, "", 0, 0, true, default_route, \
        "Route of requests that name neither models nor a route"), \
    SHARED_ROW(type, member, "default_model", CONF_STR, "", 0, 0, true, default_model, \
        "Model of requests that name none"), \
    SHARED_ROW(type, member, "prices_file", CONF_STR, "", 0, 0, true, prices_file, \
        "YAML file of what providers' tokens cost, as deploy/prices.yaml; read by workers at start and reload; empty: only models.*.price_* count")
/* clang-format on */

/* One row of schemas/provider.def. */
struct provider_facts {
    const char *name;
    const char *home; /* "": each customer has an address of his own */
    const char *key;  /* usual variable of the API key; "": there are no keys */
};
/* NULL: there is no such provider. */
const struct provider_facts *provider_facts(struct str name);

/* Such bytes in a header, a log line or a key would begin another one. */
bool conf_has_control(struct str s);
bool shared_conf_has_model(const struct shared_conf *conf, struct str name);
/* What the table cannot check, each with the places of what does not fit together. `places` may be
 * NULL. Part of shared_conf_check: one model, whose address must be among `allowed`; routes and
 * fallbacks. */
bool model_conf_check(const struct model_conf *model, const struct conf_strs *allowed,
                      const struct conf_places *places, struct err *err);
bool route_conf_check(const struct shared_conf *conf, const struct conf_places *places,
                      struct err *err);
bool shared_conf_check(const struct shared_conf *conf, const struct conf_places *places,
                       struct err *err);
/* `key` names a model that is not there: with the nearest one, and where it stands. False. */
bool shared_conf_refuse_model(const struct shared_conf *conf, struct str key, struct str name,
                              const struct conf_places *places, struct err *err);
/* Whether the vendor will surely miss a key: his own address, and neither key nor a header that
 * carries one. */
bool model_conf_lacks_key(const struct model_conf *model);
/* What is suspect but not refused, a sentence each: models without a key, or without a price. */
void shared_conf_each_warning(const struct shared_conf *conf,
                              void (*visit)(const char *text, void *context), void *context);
/* Fill the doors' settings, the rest is left at the doors' defaults. */
void shared_kafka_conf(const struct shared_conf *conf, struct kafka_conf *ret);
void shared_postgres_conf(const struct shared_conf *conf, struct postgres_conf *ret);
void shared_redis_conf(const struct shared_conf *conf, struct redis_conf *ret);

#endif
