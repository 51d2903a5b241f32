/*
 * doors_check.c -- see doors_check.h.
 *
 * Reserved Kafka properties are those a guarantee stands on: a deployment that set them would lose
 * or repeat work without a word. The door has a list of its own for what only it knows.
 */
#include "common/app/doors_check.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/io/redis_url.h"

enum { TOPIC_PREFIX_BYTES_MAX = 100, KEY_BYTES_MAX = 256 };

/* clang-format off */
struct reserved {
    const char *name;
    const char *why;
};

static const struct reserved reserved[] = {
    {"enable.auto.commit", "offsets are committed when work is finished"},
    {"auto.commit.enable", "offsets are committed when work is finished"},
    {"enable.auto.offset.store", "offsets are committed when work is finished"},
    {"auto.offset.reset", "a lost offset stops the program instead of skipping messages"},
    {"enable.idempotence", "the producer is always idempotent"},
    {"transactional.id", "Kafka transactions are not used"},
    {"acks", "a record is safe only when all in-sync replicas have it"},
    {"request.required.acks", "a record is safe only when all in-sync replicas have it"},
    {"partitioner", "all publishers must put one session into the same partition"},
    {"partition.assignment.strategy", "assignment is eager"},
    {"enable.partition.eof", "the end of a partition is a signal the programs need"},
    {"group.id", "use the program's 'group' setting"},
    {"group.instance.id", "it is made of the program's 'instance' setting and a number"},
    {"client.id", "it is made of the program's 'instance' setting and a number"},
    {"session.timeout.ms", "use 'kafka.session_timeout'"},
    {"bootstrap.servers", "use 'kafka.bootstrap_servers'"},
    {"metadata.broker.list", "use 'kafka.bootstrap_servers'"},
    {"message.timeout.ms", "use 'kafka.delivery_timeout'"},
    {"delivery.timeout.ms", "use 'kafka.delivery_timeout'"},
    {"message.max.bytes", "use 'kafka.message_bytes_max'"},
    {"linger.ms", "use 'kafka.linger'"},
    {"queue.buffering.max.ms", "use 'kafka.linger'"},
    {NULL, NULL},
};
/* clang-format on */

/* What names a file that must be there. ssl.ca.location may also be a folder, or "probe". */
static const char *const file_properties[] = {"ssl.ca.location", "ssl.certificate.location",
                                              "ssl.key.location", "ssl.keystore.location",
                                              "ssl.crl.location"};

/* "host:9092", "[::1]:9092"; the port may be missing where it has a default. */
static bool is_host_port(struct str text, bool may_lack_port, int64_t port_min)
{
    size_t colon = text.len;
    int64_t port;

    while (colon > 0 && text.data[colon - 1] != ':' && text.data[colon - 1] != ']')
        colon--;
    if (colon == 0 || text.data[colon - 1] == ']')
        return may_lack_port && text.len > 0;
    struct str host = str_slice(text, 0, colon - 1); /* with colons of its own only in brackets */
    if (str_index(host, ':') < host.len && !(host.data[0] == '[' && str_ends(host, STR("]"))))
        return false;
    return str_to_i64(str_slice(text, colon, text.len), port_min, 65535, &port);
}

bool doors_check_port(struct str key, struct str address, const struct conf_places *places,
                      struct err *err)
{
    if (str_empty(address) || is_host_port(address, false, 0))
        return true;
    return conf_refuse(places, key, err, "must be HOST:PORT, is '" STR_FMT "'",
                       STR_ARG(str_utf8_cut(address, 80)));
}

/* One of kafka.bootstrap_servers. The library takes SCHEME:// in front of it, too. */
static bool is_broker(struct str server)
{
    for (size_t i = 0; i + 3 <= server.len; i++)
        if (str_eq(str_slice(server, i, i + 3), STR("://"))) {
            server = str_slice(server, i + 3, server.len);
            break;
        }
    for (size_t i = 0; i < server.len; i++)
        if (server.data[i] <= ' ' || server.data[i] == '/' || server.data[i] == '@')
            return false;
    return server.len > 0 && server.data[0] != ':' && is_host_port(server, true, 1);
}

static bool check_brokers(const struct shared_conf *conf, const struct conf_places *places,
                          struct err *err)
{
    struct str rest = conf->kafka_servers, server;

    if (str_empty(str_trim(rest)))
        return conf_refuse(places, STR("kafka.bootstrap_servers"), err,
                           "is empty: name at least one broker, host:port");
    while (str_split(&rest, ',', &server))
        if (!is_broker(str_trim(server)))
            return conf_refuse(places, STR("kafka.bootstrap_servers"), err,
                               "must be host:port, several with ',' between them; '" STR_FMT
                               "' is none",
                               STR_ARG(str_utf8_cut(str_trim(server), 80)));
    return true;
}

/* "kafka.properties.NAME" */
static struct str key_of(struct str property, char room[KEY_BYTES_MAX])
{
    snprintf(room, KEY_BYTES_MAX, "kafka.properties." STR_FMT, STR_ARG(property));
    return str_of(room);
}

static bool check_reserved(struct str name, const struct conf_places *places, struct err *err)
{
    char key[KEY_BYTES_MAX];

    for (const struct reserved *row = reserved; row->name; row++)
        if (str_is(name, row->name))
            return conf_refuse(places, key_of(name, key), err, "cannot be set: %s", row->why);
    return true;
}

static bool check_file(struct str name, struct str value, const struct conf_places *places,
                       struct err *err)
{
    char path[PATH_MAX], key[KEY_BYTES_MAX];
    bool is_file = false;

    for (size_t i = 0; i < sizeof(file_properties) / sizeof(file_properties[0]); i++)
        is_file |= str_is(name, file_properties[i]);
    if (!is_file || str_empty(value) || str_is(value, "probe"))
        return true;
    snprintf(path, sizeof(path), STR_FMT, STR_ARG(value));
    return access(path, R_OK) == 0 ||
           conf_refuse(places, key_of(name, key), err, "names '" STR_FMT "', which cannot be read",
                       STR_ARG(str_utf8_cut(value, 120)));
}

static bool check_properties(const struct shared_conf *conf, const struct conf_places *places,
                             struct err *err)
{
    const struct conf_props *properties = &conf->kafka_properties;
    char key[KEY_BYTES_MAX];

    for (size_t i = 0; i < properties->count; i++) {
        struct err why = {0};
        if (!check_reserved(properties->keys[i], places, err))
            return false;
        if (!kafka_property_check(properties->keys[i], properties->values[i], &why))
            return conf_refuse(places, key_of(properties->keys[i], key), err, "%s", why.text);
        if (!check_file(properties->keys[i], properties->values[i], places, err))
            return false;
    }
    return true;
}

static bool check_postgres(const struct shared_conf *conf, const struct conf_places *places,
                           struct err *err)
{
    struct err why = {0};
    return postgres_conninfo_check(conf->postgres_conninfo, &why) ||
           conf_refuse(places, STR("postgres.conninfo"), err, "%s", why.text);
}

static bool check_redis(const struct shared_conf *conf, const struct conf_places *places,
                        struct err *err)
{
    struct redis_url url;
    struct err why = {0};
    struct str key = STR("redis.url");
    bool good = str_empty(conf->redis_url) || redis_url_parse(conf->redis_url, &url, &why);

    if (good && !str_empty(conf->redis_url)) {
        key = STR("redis.password");
        good = redis_url_password(&url, conf->redis_password, &why);
    }
    explicit_bzero(&url, sizeof(url));
    if (good)
        return true;
    struct str text = str_of(why.text); /* "redis.url: the scheme is .." */
    size_t colon = str_index(text, ':');
    if (colon < text.len)
        text = str_trim(str_slice(text, colon + 1, text.len));
    return conf_refuse(places, key, err, "cannot be used: " STR_FMT, STR_ARG(text));
}

/* What Kafka takes as a topic's name, with room for our own part behind it. */
static bool check_topics(const struct shared_conf *conf, const struct conf_places *places,
                         struct err *err)
{
    struct str prefix = conf->topic_prefix;
    bool good = prefix.len > 0 && prefix.len <= TOPIC_PREFIX_BYTES_MAX;

    for (size_t i = 0; i < prefix.len; i++) {
        char c = prefix.data[i];
        good &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                c == '.' || c == '_' || c == '-';
    }
    return good || conf_refuse(places, STR("topics.prefix"), err,
                               "must be 1 to %d letters, digits, '.', '_' or '-', is '" STR_FMT "'",
                               TOPIC_PREFIX_BYTES_MAX, STR_ARG(str_utf8_cut(prefix, 80)));
}

bool doors_check(const struct shared_conf *conf, const struct conf_places *places, struct err *err)
{
    return check_brokers(conf, places, err) && check_properties(conf, places, err) &&
           check_postgres(conf, places, err) && check_redis(conf, places, err) &&
           check_topics(conf, places, err);
}
