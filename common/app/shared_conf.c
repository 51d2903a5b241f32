/*
 * shared_conf.c -- see shared_conf.h.
 */
#include "common/app/shared_conf.h"

#define ROW(key, kind, otherwise, min, max, choices, field, sentence)                              \
    {                                                                                              \
        key, kind, otherwise, min, max, choices, true, offsetof(struct model_conf, field), NULL,   \
            0, sentence                                                                            \
    }

/* clang-format off */
const struct conf_row model_conf_rows[] = {
    ROW("name", CONF_STR, NULL, 0, 0, NULL, name, "Name by which requests ask for the model"),
    ROW("provider", CONF_ENUM, "openai", 0, 0, "openai|anthropic|ollama", provider, "Whose dialect is spoken; openai also for every compatible server"),
    ROW("model", CONF_STR, "", 0, 0, NULL, model, "The provider's name for it; empty: the same name"),
    ROW("base_url", CONF_STR, "", 0, 0, NULL, base_url, "Address without /v1; empty: the provider's own"),
    ROW("api_key", CONF_SECRET, "", 0, 0, NULL, api_key, "Key; better as ${OPENAI_API_KEY} or api_key_file"),
    ROW("api", CONF_ENUM, "chat", 0, 0, "chat|generate", api, "Ollama: /api/chat or /api/generate"),
    ROW("max_tokens", CONF_INT, "0", 0, 10000000, NULL, max_tokens, "Most tokens of an answer when the request does not say; 0: the provider's own"),
    ROW("temperature", CONF_REAL, "", 0, 2, NULL, temperature, "Temperature when the request does not say; empty: the provider's own"),
    ROW("timeout", CONF_DURATION, "120s", 10, 86400000, NULL, timeout_ms, "Longest call, from connect to the last byte"),
    ROW("connect_timeout", CONF_DURATION, "5s", 10, 600000, NULL, connect_timeout_ms, "Longest connect, TLS included"),
    ROW("attempts_max", CONF_INT, "4", 1, 50, NULL, attempts_max, "Most calls for one answer, the first included"),
    ROW("price_input", CONF_REAL, "", 0, 1000000, NULL, price_input, "US dollars per million input tokens; empty: no cost is computed"),
    ROW("price_output", CONF_REAL, "", 0, 1000000, NULL, price_output, "US dollars per million output tokens"),
    ROW("price_cached_input", CONF_REAL, "", 0, 1000000, NULL, price_cached_input, "US dollars per million cached input tokens; empty: as other input"),
    ROW("headers", CONF_PROPS, "", 0, 0, NULL, headers, "Further HTTP headers"),
    {0},
};

/* Ours alone: the guarantees stand on them. */
static const char *const reserved[] = {
    "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset", "enable.idempotence",
    "acks", "request.required.acks", "partitioner", "group.id", "group.instance.id",
    "partition.assignment.strategy", "enable.partition.eof", "session.timeout.ms",
    "bootstrap.servers", "metadata.broker.list", "message.timeout.ms", "delivery.timeout.ms",
    "transactional.id", "client.id",
};
/* clang-format on */

static bool check_properties(const struct conf_props *properties, struct err *err)
{
    for (size_t i = 0; i < properties->count; i++)
        for (size_t k = 0; k < sizeof(reserved) / sizeof(reserved[0]); k++)
            if (str_is(properties->keys[i], reserved[k])) {
                err_set(err, ERR_CONFIG,
                        "kafka.properties: '%s' belongs to quern, its guarantees depend on it; "
                        "see the kafka.* settings",
                        reserved[k]);
                return false;
            }
    return true;
}

static bool has_line_break(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < ' ')
            return true;
    return false;
}

static bool check_model(const struct model_conf *model, struct err *err)
{
    if (!str_empty(model->base_url) && !str_starts(model->base_url, STR("http://")) &&
        !str_starts(model->base_url, STR("https://"))) {
        err_set(err, ERR_CONFIG,
                "models." STR_FMT ".base_url: '" STR_FMT
                "' begins neither with http:// nor with https://",
                STR_ARG(model->name), STR_ARG(model->base_url));
        return false;
    }
    bool broken = has_line_break(model->api_key) || has_line_break(model->base_url);
    for (size_t i = 0; i < model->headers.count; i++)
        broken |=
            has_line_break(model->headers.keys[i]) || has_line_break(model->headers.values[i]);
    if (broken)
        err_set(err, ERR_CONFIG, "models." STR_FMT ": a key, address or header has a line break",
                STR_ARG(model->name));
    return !broken;
}

bool shared_conf_check(const struct shared_conf *conf, struct err *err)
{
    const struct model_conf *models = conf->models.items;
    if (!check_properties(&conf->kafka_properties, err))
        return false;
    for (size_t i = 0; i < conf->models.count; i++)
        if (!check_model(&models[i], err))
            return false;
    return true;
}

void shared_kafka_conf(const struct shared_conf *conf, struct kafka_conf *ret)
{
    *ret = (struct kafka_conf){
        .bootstrap_servers = conf->kafka_servers,
        .properties = &conf->kafka_properties,
        .session_timeout_ms = conf->session_timeout_ms,
        .fetch_bytes_max = conf->fetch_bytes_max,
        .message_bytes_max = conf->message_bytes_max,
        .linger_ms = conf->linger_ms,
        .delivery_timeout_ms = conf->delivery_timeout_ms,
    };
}

void shared_postgres_conf(const struct shared_conf *conf, struct postgres_conf *ret)
{
    *ret = (struct postgres_conf){
        .conninfo = conf->postgres_conninfo,
        .password = str_empty(conf->postgres_password) ? (struct str){0} : conf->postgres_password,
    };
}

void shared_redis_conf(const struct shared_conf *conf, struct redis_conf *ret)
{
    *ret = (struct redis_conf){
        .url = str_empty(conf->redis_url) ? (struct str){0} : conf->redis_url,
        .password = str_empty(conf->redis_password) ? (struct str){0} : conf->redis_password,
        .command_timeout_ms = conf->redis_timeout_ms,
    };
}
