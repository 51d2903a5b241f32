/*
 * doctor.c -- `quern doctor`: every dependency, a line each, with what to do about what is wrong.
 *
 * The exit code is that of the worst finding, in the order in which things are put right: what the
 * configuration has wrong (78), then who is away (69), then all else (1). Warnings end with 0.
 *
 * To add a check: a function that reports, and a line in run_doctor().
 */
#include "common/app/app.h"
#include "common/app/prices.h"
#include "common/contract/contract.h"
#include "common/contract/redis_keys.h"
#include "common/io/http_client.h"
#include "common/io/kafka_outage.h"
#include "common/io/redis.h"
#include "common/settings/settings.h"
#include "producer/cli/cli.h"
#include "producer/cli/migrate.h"
#include "producer/cli/topics.h"

enum { ASK_MS = 5000, PAGE_BYTES_MAX = 1 << 20, TURN_MS = 100, URL_BYTES_MAX = 2048 };

enum health { HEALTH_OK, HEALTH_WARN, HEALTH_FAIL, HEALTH_AWAY, HEALTH_WRONG };

struct doctor {
    struct cli *cli;
    struct table table;
    enum health worst;
    struct loop *loop;
};

static void report(struct doctor *doctor, const char *what, enum health health, struct str finding,
                   const char *fix)
{
    static const char *const names[] = {"ok", "warn", "fail", "away", "wrong"};
    table_add(&doctor->table, str_of(what));
    table_add(&doctor->table, str_of(names[health]));
    table_add(&doctor->table, finding);
    table_add(&doctor->table, str_of(health == HEALTH_OK ? "" : fix));
    if (health > doctor->worst)
        doctor->worst = health;
}

static enum health health_of(const struct err *err)
{
    switch (err->code) {
    case ERR_CONFIG:
    case ERR_USAGE:
        return HEALTH_WRONG;
    case ERR_UNAVAILABLE:
    case ERR_TIMEOUT:
        return HEALTH_AWAY;
    default:
        return HEALTH_FAIL;
    }
}

/* ---- configuration ---- */

static void check_configuration(struct doctor *doctor)
{
    struct cli *cli = doctor->cli;
    struct settings *settings = arena_new(&cli->arena, struct settings);
    struct err err;
    struct conf_places places = {0};
    if (!cli_load(cli, settings_rows(&cli->arena), "producer", settings, &places, &err) ||
        !settings_check(settings, &places, &err)) {
        report(doctor, "configuration", HEALTH_WRONG, str_of(err.text),
               "see 'quern config reference'");
        return;
    }
    report(doctor, "configuration", HEALTH_OK,
           arena_printf(&cli->arena, "%s, %zu model(s)", cli->file ? cli->file : "no file",
                        settings->worker.shared.models.count),
           "");
}

/* ---- kafka ---- */

static void check_topics(struct doctor *doctor, struct kafka_admin *admin)
{
    struct table table;
    struct err err;
    if (!topics_check(doctor->cli, admin, 0, &table, &err)) {
        report(doctor, "topics", health_of(&err), str_of(err.text), "see 'quern topics check'");
        return;
    }
    size_t missing = 0, rows = table_rows(&table);
    for (size_t i = 0; i < rows; i++)
        missing += str_is(table.cells[i * table.columns + 3], "missing");
    if (missing > 0)
        report(doctor, "topics", HEALTH_FAIL,
               arena_printf(&doctor->cli->arena, "%zu of %d missing", missing, (int)TOPIC_COUNT),
               "quern topics create");
    else if (rows > 0)
        report(doctor, "topics", HEALTH_WARN,
               arena_printf(&doctor->cli->arena, "%zu setting(s) differ", rows),
               "see 'quern topics check'");
    else
        report(doctor, "topics", HEALTH_OK,
               arena_printf(&doctor->cli->arena, "all %d are as they should be", (int)TOPIC_COUNT),
               "");
}

static void check_kafka(struct doctor *doctor)
{
    struct err err;
    struct str cluster;
    int brokers;
    struct kafka_admin *admin = cli_kafka_admin(doctor->cli, &err);
    if (!admin) {
        report(doctor, "kafka", HEALTH_WRONG, str_of(err.text), "correct kafka.properties");
        return;
    }
    if (kafka_admin_cluster(admin, ASK_MS, &brokers, &cluster, &err)) {
        report(doctor, "kafka", HEALTH_OK,
               arena_printf(&doctor->cli->arena, "%d broker(s), cluster " STR_FMT ", librdkafka %s",
                            brokers, STR_ARG(cluster), kafka_library_version()),
               "");
        check_topics(doctor, admin);
    } else {
        report(doctor, "kafka", HEALTH_AWAY, str_of(err.text), kafka_outage_hint(err.text));
    }
    kafka_admin_free(admin);
}

/* ---- postgresql ---- */

static void take_text(const struct postgres_rows *rows, void *context)
{
    struct doctor *doctor = context;
    if (rows->count > 0)
        report(doctor, "postgresql", HEALTH_OK,
               arena_printf(&doctor->cli->arena, "server " STR_FMT ", %s",
                            STR_ARG(postgres_cell(rows, 0, 0)), postgres_library_version()),
               "");
}

static void report_migrations(struct doctor *doctor, const struct migration_state *state)
{
    struct arena *arena = &doctor->cli->arena;
    if (state->changed > 0)
        report(doctor, "migrations", HEALTH_FAIL,
               arena_printf(arena, "%d changed since applied", state->changed),
               "see 'quern migrate status'");
    else if (state->pending > 0)
        report(doctor, "migrations", HEALTH_FAIL, arena_printf(arena, "%d pending", state->pending),
               "quern migrate up");
    else if (state->unknown > 0)
        report(doctor, "migrations", HEALTH_WARN,
               arena_printf(arena, "%d unknown to this program", state->unknown),
               "the database belongs to a newer version: update this program");
    else
        report(doctor, "migrations", HEALTH_OK, arena_printf(arena, "%d applied", state->applied),
               "");
}

static void check_postgres(struct doctor *doctor)
{
    struct err err;
    struct migration_state *state = arena_new(&doctor->cli->arena, struct migration_state);
    struct postgres_session *session = cli_postgres(doctor->cli, ASK_MS, &err);
    if (!session || !postgres_session_query(session, "SELECT current_setting('server_version')",
                                            NULL, 0, take_text, doctor, &err))
        report(doctor, "postgresql", health_of(&err), str_of(err.text),
               err.code == ERR_CONFIG
                   ? "correct postgres.conninfo, its password (or PG* variables)"
                   : "start PostgreSQL, or correct postgres.conninfo (or PG* variables)");
    else if (migrate_look(doctor->cli, session, state, &err))
        report_migrations(doctor, state);
    else
        report(doctor, "migrations", health_of(&err), str_of(err.text),
               "see 'quern migrate status'");
    postgres_session_close(session);
}

/* ---- redis ---- */

struct policy {
    bool back, written;
    char name[64];
    char refusal[160]; /* "": it may be written to */
};

static void take_policy(const struct redis_reply *reply, void *context)
{
    struct policy *policy = context;
    policy->back = true;
    if (!reply || reply->kind != REDIS_LIST || reply->count < 2)
        return;
    struct redis_reply item = redis_item(reply, 1);
    snprintf(policy->name, sizeof(policy->name), STR_FMT, STR_ARG(item.text));
}

static void take_written(const struct redis_reply *reply, void *context)
{
    struct policy *policy = context;
    policy->written = true;
    if (reply && reply->kind == REDIS_FAILED)
        snprintf(policy->refusal, sizeof(policy->refusal), STR_FMT,
                 STR_ARG(str_utf8_cut(reply->text, sizeof(policy->refusal) - 1)));
}

/* "" when the server does not tell (managed ones forbid CONFIG). */
static void ask_policy(struct doctor *doctor, const struct redis_conf *conf, struct policy *ret)
{
    static const struct str words[] = {{"CONFIG", 6}, {"GET", 3}, {"maxmemory-policy", 16}};
    struct str prefix = doctor->cli->conf->redis_key_prefix;
    struct str key = redis_key_doctor(&doctor->cli->arena, prefix, STR("write"));
    const struct str write[] = {STR("SET"), key, STR("1"), STR("PX"), STR("1000")};
    struct err err;
    struct redis *redis = redis_new(doctor->loop, conf, &err);
    int64_t until_ms = loop_now_ms(doctor->loop) + ASK_MS;
    while (redis && !redis_up(redis) && loop_now_ms(doctor->loop) < until_ms)
        loop_turn(doctor->loop, TURN_MS);
    if (redis) {
        redis_ask(redis, words, 3, take_policy, ret);
        redis_ask(redis, write, 5, take_written, ret);
    }
    while (redis && !(ret->back && ret->written) && loop_now_ms(doctor->loop) < until_ms)
        loop_turn(doctor->loop, TURN_MS);
    redis_free(redis);
}

static void check_redis(struct doctor *doctor)
{
    struct redis_conf conf;
    struct policy policy = {0};
    struct err err;
    shared_redis_conf(doctor->cli->conf, &conf);
    if (!conf.url.data) {
        report(doctor, "redis", HEALTH_WARN, STR("switched off"),
               "answers may be paid twice after a crash; set redis.url");
        return;
    }
    if (!redis_check(&conf, ASK_MS, &err)) {
        report(doctor, "redis", health_of(&err), str_of(err.text),
               err.code == ERR_CONFIG ? "correct redis.url, or redis.password"
                                      : "start Redis, or correct redis.url");
        return;
    }
    ask_policy(doctor, &conf, &policy);
    struct str finding = arena_printf(&doctor->cli->arena, "maxmemory-policy %s",
                                      *policy.name ? policy.name : "not told");
    if (*policy.refusal)
        report(doctor, "redis", HEALTH_FAIL, str_of(policy.refusal),
               "it cannot be written to: see 'Redis' in docs/operation.md");
    else if (strncmp(policy.name, "allkeys", 7) == 0)
        report(doctor, "redis", HEALTH_WARN, finding,
               "claims and kept answers may be thrown out: use noeviction or volatile-ttl");
    else
        report(doctor, "redis", HEALTH_OK, finding, "");
}

/* ---- models ---- */

struct probe {
    bool back;
    int status;
    struct err err;
};

static void take_probe(const struct http_reply *reply, const struct err *err, void *context)
{
    struct probe *probe = context;
    probe->back = true;
    probe->status = reply ? reply->status : 0;
    if (err)
        probe->err = *err;
}

/* Any HTTP answer will do: it shows that the address is right and somebody is there. */
static void check_model(struct doctor *doctor, struct http_client *http,
                        const struct model_conf *model)
{
    struct arena *arena = &doctor->cli->arena;
    struct probe probe = {0};
    struct err err;
    const struct provider_facts *facts = provider_facts(model->provider);
    struct str url = str_empty(model->base_url) ? str_of(facts->home) : model->base_url;
    const struct http_request request = {
        .method = STR("GET"),
        .url = url,
        .connect_timeout_ms = ASK_MS,
        .total_timeout_ms = ASK_MS,
        .ca_file = str_empty(model->ca_file) ? (struct str){0} : model->ca_file,
    };
    const char *name = arena_printf(arena, "model " STR_FMT, STR_ARG(model->name)).data;
    if (model_conf_lacks_key(model)) {
        report(doctor, name, str_empty(model->base_url) ? HEALTH_WRONG : HEALTH_WARN,
               STR("no api_key"),
               arena_printf(arena, "set api_key: ${%s}, or api_key_file", facts->key).data);
        return;
    }
    if (!http_call(http, &request, take_probe, &probe, &err)) {
        report(doctor, name, HEALTH_WRONG, str_of(err.text), "correct its base_url");
        return;
    }
    while (!probe.back)
        loop_turn(doctor->loop, TURN_MS);
    if (probe.status == 0)
        report(doctor, name, probe.err.code == ERR_PROVIDER_TLS ? HEALTH_FAIL : HEALTH_AWAY,
               arena_printf(arena, STR_FMT ": %s", STR_ARG(url), probe.err.text),
               probe.err.code == ERR_PROVIDER_TLS ? "correct base_url, or set ca_file"
                                                  : "start the server, or correct base_url");
    else
        report(doctor, name, HEALTH_OK, arena_printf(arena, STR_FMT " answers", STR_ARG(url)), "");
}

static void check_models(struct doctor *doctor)
{
    const struct conf_items *models = &doctor->cli->conf->models;
    const struct http_client_conf conf = {.calls_max = 4,
                                          .user_agent = STR("quern/" QUERN_VERSION)};
    struct err err;
    if (models->count == 0) {
        report(doctor, "models", HEALTH_WARN, STR("none configured"),
               "every request will fail; see 'models' in 'quern config sample'");
        return;
    }
    struct http_client *http = http_client_new(doctor->loop, &conf, &err);
    for (size_t i = 0; http && i < models->count; i++)
        check_model(doctor, http, &((const struct model_conf *)models->items)[i]);
    http_client_free(http);
}

/* Which models cost nobody knows what. */
static void check_prices(struct doctor *doctor)
{
    const struct shared_conf *conf = doctor->cli->conf;
    const struct model_conf *models = conf->models.items;
    struct arena *arena = &doctor->cli->arena;
    struct str missing = STR("");
    struct price price;
    struct err err;
    struct prices *prices = prices_load(conf->prices_file, &err);
    if (!prices) {
        report(doctor, "prices", HEALTH_WRONG, str_of(err.text), "correct prices_file");
        return;
    }
    for (size_t i = 0; i < conf->models.count; i++)
        if (!prices_of(prices, &models[i], &price))
            missing = arena_printf(arena, STR_FMT "%s" STR_FMT, STR_ARG(missing),
                                   missing.len ? ", " : "", STR_ARG(models[i].name));
    if (missing.len)
        report(doctor, "prices", HEALTH_WARN,
               arena_printf(arena, "none for " STR_FMT ": their cost is null", STR_ARG(missing)),
               "add them to prices_file, or set price_input and price_output");
    else if (str_empty(conf->prices_file))
        report(doctor, "prices", HEALTH_OK, STR("all in the configuration"), "");
    else
        report(doctor, "prices", HEALTH_OK,
               arena_printf(arena, STR_FMT " of " STR_FMT, STR_ARG(conf->prices_file),
                            STR_ARG(prices_date(prices))),
               "");
    prices_free(prices);
}

static const int exit_codes[] = {
    [HEALTH_OK] = EXIT_OK,        [HEALTH_WARN] = EXIT_OK,
    [HEALTH_FAIL] = EXIT_FAILED,  [HEALTH_AWAY] = EXIT_UNAVAILABLE,
    [HEALTH_WRONG] = EXIT_CONFIG,
};

static int print_findings(const struct doctor *doctor)
{
    struct buf text;
    buf_init(&text, PAGE_BYTES_MAX);
    if (doctor->cli->json)
        table_json(&doctor->table, &text);
    else
        table_text(&doctor->table, doctor->cli->color, &text);
    int code = cli_out(&text);
    buf_done(&text);
    return code != EXIT_OK ? code : exit_codes[doctor->worst];
}

int run_doctor(struct cli *cli)
{
    struct doctor doctor = {.cli = cli};
    struct err err;
    doctor.loop = loop_new(&err);
    if (!doctor.loop)
        return cli_fail(cli, &err);
    table_init(&doctor.table, &cli->arena,
               (const char *const[]){"what", "state", "finding", "fix", NULL});
    check_configuration(&doctor);
    check_kafka(&doctor);
    check_postgres(&doctor);
    check_redis(&doctor);
    check_models(&doctor);
    check_prices(&doctor);
    loop_free(doctor.loop);
    return print_findings(&doctor);
}
