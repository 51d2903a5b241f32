/*
 * topics.c -- `quern topics create|check`: the topics of schemas/topic.def on the broker.
 *
 * Partition counts are part of the contract (a key must stay in its partition), so an existing
 * topic is never changed here: check says what differs, and what to do about it.
 */
#include "producer/cli/topics.h"
#include "common/app/app.h"
#include "common/contract/contract.h"
#include "producer/cli/cli.h"
#include "producer/cli/table.h"

enum { PAGE_BYTES_MAX = 1 << 20, SETTINGS = 4 };

struct setting {
    const char *name;
    struct str value;
};

static void settings_of(struct arena *arena, const struct topic *topic, int64_t message_bytes_max,
                        struct setting ret[SETTINGS])
{
    int64_t bytes =
        message_bytes_max > topic->message_bytes_max ? message_bytes_max : topic->message_bytes_max;
    ret[0] = (struct setting){"retention.ms",
                              arena_printf(arena, "%lld", (long long)topic->retention_ms)};
    ret[1] = (struct setting){"max.message.bytes", arena_printf(arena, "%lld", (long long)bytes)};
    ret[2] = (struct setting){"cleanup.policy", STR("delete")};
    ret[3] = (struct setting){"message.timestamp.type", STR("CreateTime")};
}

/* ---- create ---- */

static bool create_one(struct cli *cli, struct kafka_admin *admin, enum topic_id id,
                       int64_t partitions, int64_t replication, bool *ret_new, struct err *err)
{
    struct setting settings[SETTINGS];
    const char *config[SETTINGS * 2 + 1] = {0};
    struct str name = topic_name(&cli->arena, cli->conf->topic_prefix, id);
    struct kafka_topic_is is;
    settings_of(&cli->arena, &topics[id], cli->conf->message_bytes_max, settings);
    for (size_t i = 0; i < SETTINGS; i++) {
        config[2 * i] = settings[i].name;
        config[2 * i + 1] = settings[i].value.data;
    }
    const struct kafka_topic_want want = {
        .name = name.data,
        .partitions = partitions ? (int32_t)partitions : topics[id].partitions,
        .replication = (int32_t)replication,
        .config = config,
    };
    if (!kafka_admin_topic(admin, name.data, CLI_TIMEOUT_MS, &is, err))
        return false;
    *ret_new = !is.exists;
    return is.exists || kafka_admin_create(admin, &want, CLI_TIMEOUT_MS, err);
}

static bool create_all(struct cli *cli, struct kafka_admin *admin, struct table *table,
                       struct err *err)
{
    int64_t partitions = 0, replication = -1;
    if (!cli_option_i64(cli, "partitions", 1, 100000, &partitions, err) ||
        !cli_option_i64(cli, "replication", 1, 32, &replication, err))
        return false;
    for (int id = 0; id < TOPIC_COUNT; id++) {
        bool is_new = false;
        if (!create_one(cli, admin, (enum topic_id)id, partitions, replication, &is_new, err))
            return false;
        table_add(table, topic_name(&cli->arena, cli->conf->topic_prefix, (enum topic_id)id));
        table_add(table, is_new ? STR("created") : STR("was there"));
    }
    return true;
}

static int print_table(const struct cli *cli, const struct table *table)
{
    struct buf text;
    buf_init(&text, PAGE_BYTES_MAX);
    if (cli->json)
        table_json(table, &text);
    else
        table_text(table, cli->color, &text);
    int code = cli_out(&text);
    buf_done(&text);
    return code;
}

int run_topics_create(struct cli *cli)
{
    struct err err = {0};
    struct table table;
    table_init(&table, &cli->arena, (const char *const[]){"topic", "result", NULL});
    struct kafka_admin *admin = cli_kafka_admin(cli, &err);
    bool good = admin && create_all(cli, admin, &table, &err);
    kafka_admin_free(admin);
    return good ? print_table(cli, &table) : cli_fail(cli, &err);
}

/* ---- check ---- */

/* A line for each setting that is not as it should be; larger is allowed where it does no harm. */
static bool check_settings(struct cli *cli, struct kafka_admin *admin, enum topic_id id,
                           struct str name, struct table *table, struct err *err)
{
    struct setting settings[SETTINGS];
    settings_of(&cli->arena, &topics[id], cli->conf->message_bytes_max, settings);
    for (size_t i = 0; i < SETTINGS; i++) {
        struct str is;
        int64_t number, want;
        if (!kafka_admin_topic_config(admin, name.data, settings[i].name, CLI_TIMEOUT_MS,
                                      &cli->arena, &is, err))
            return false;
        bool larger = str_to_i64(is, -1, INT64_MAX, &number) &&
                      str_to_i64(settings[i].value, 0, INT64_MAX, &want) &&
                      (number >= want || number == -1);
        if (!is.data || str_eq(is, settings[i].value) || larger)
            continue;
        table_add(table, name);
        table_add(table, str_of(settings[i].name));
        table_add(table, settings[i].value);
        table_add(table, is);
    }
    return true;
}

static bool check_one(struct cli *cli, struct kafka_admin *admin, enum topic_id id,
                      int64_t partitions, struct table *table, struct err *err)
{
    struct str name = topic_name(&cli->arena, cli->conf->topic_prefix, id);
    struct kafka_topic_is is;
    int32_t want = partitions ? (int32_t)partitions : topics[id].partitions;
    if (!kafka_admin_topic(admin, name.data, CLI_TIMEOUT_MS, &is, err))
        return false;
    if (!is.exists) {
        table_add(table, name);
        table_add(table, STR("topic"));
        table_add(table, STR("to be there"));
        table_add(table, STR("missing"));
        return true;
    }
    if (is.partitions != want) {
        table_add(table, name);
        table_add(table, STR("partitions"));
        table_printf(table, "%d", (int)want);
        table_printf(table, "%d", (int)is.partitions);
    }
    return check_settings(cli, admin, id, name, table, err);
}

bool topics_check(struct cli *cli, struct kafka_admin *admin, int64_t partitions,
                  struct table *table, struct err *err)
{
    table_init(table, &cli->arena,
               (const char *const[]){"topic", "setting", "should be", "is", NULL});
    for (int id = 0; id < TOPIC_COUNT; id++)
        if (!check_one(cli, admin, (enum topic_id)id, partitions, table, err))
            return false;
    return true;
}

int run_topics_check(struct cli *cli)
{
    struct err err = {0};
    struct table table;
    int64_t partitions = 0;
    if (!cli_option_i64(cli, "partitions", 1, 100000, &partitions, &err))
        return cli_fail(cli, &err);
    struct kafka_admin *admin = cli_kafka_admin(cli, &err);
    bool good = admin && topics_check(cli, admin, partitions, &table, &err);
    kafka_admin_free(admin);
    if (!good)
        return cli_fail(cli, &err);
    if (table_rows(&table) == 0) {
        if (!cli->json)
            cli_say("all %d topics are as they should be", (int)TOPIC_COUNT);
        return cli->json ? print_table(cli, &table) : EXIT_OK;
    }
    int code = print_table(cli, &table);
    cli_say("missing topics are made by 'quern topics create'; settings are changed with Kafka's"
            " own kafka-configs.sh, partition counts only while a topic is empty");
    return code == EXIT_OK ? EXIT_FAILED : code;
}
