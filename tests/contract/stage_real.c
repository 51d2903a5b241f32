/*
 * stage_real.c -- the stage over real servers.
 *
 * Addresses: QUERN_KAFKA__BOOTSTRAP_SERVERS, QUERN_REDIS__URL (its data is erased), and
 * QUERN_POSTGRES__CONNINFO with QUERN_POSTGRES__PASSWORD or _FILE, a user who may create databases.
 * Servers are stopped and started by the program QUERN_STACK names (deploy/local/stack) in its
 * QUERN_RUN_DIR; where that is not set, tests that need it are skipped. Meanwhile the loops turn.
 */
#include "tests/contract/stage.h"

#include <glob.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/kafka_admin.h"
#include "tests/contract/origin.h"

#define ADMIN_MS   10000
#define SECRET_MAX 256

extern char **environ;

static const char *const addresses[] = {
    [STAGE_KAFKA] = "QUERN_KAFKA__BOOTSTRAP_SERVERS",
    [STAGE_REDIS] = "QUERN_REDIS__URL",
    [STAGE_POSTGRES] = "QUERN_POSTGRES__CONNINFO",
};
static const char *const names[] = {"kafka", "redis", "postgres"};

struct stage {
    struct loop *loops[STAGE_ACTORS];
    struct kafka_admin *admin;
    char topics[16][64];
    size_t topic_count;
    struct postgres_session *session; /* of the database the tests' one is made in */
    char conninfo[512], secret[SECRET_MAX];
    struct loop *redis_loop;
    struct redis *redis; /* for what an administrator does */
    struct origin *origin;
    bool down[3];
};

static unsigned stages; /* so far: part of names */

bool stage_has(enum stage_server server)
{
    return getenv(addresses[server]) != NULL;
}

struct stage *stage_new(void)
{
    log_init("contract", "text", getenv("STAGE_LOG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    stages++;
    return xzalloc(sizeof(struct stage));
}

/* ---- time ---- */

struct loop *stage_loop(struct stage *stage, unsigned actor)
{
    struct err err = {0};
    must(actor < STAGE_ACTORS);
    if (!stage->loops[actor])
        stage->loops[actor] = loop_new(&err);
    if (!stage->loops[actor])
        fail_msg("%s", err.text);
    return stage->loops[actor];
}

int64_t stage_now_ms(struct stage *stage)
{
    (void)stage;
    return clock_monotonic_us() / 1000;
}

void stage_step(struct stage *stage)
{
    bool any = false;
    for (unsigned i = 0; i < STAGE_ACTORS; i++) {
        if (stage->loops[i])
            loop_turn(stage->loops[i], 1);
        any |= stage->loops[i] != NULL;
    }
    if (!any)
        poll(NULL, 0, 1);
}

void stage_run_ms(struct stage *stage, int64_t ms)
{
    int64_t until_ms = stage_now_ms(stage) + ms;
    while (stage_now_ms(stage) < until_ms)
        stage_step(stage);
}

void stage_stand_still(struct stage *stage, int64_t ms)
{
    (void)stage;
    poll(NULL, 0, (int)ms);
}

/* ---- servers that go away ---- */

static bool stack(struct stage *stage, const char *verb, enum stage_server server)
{
    const char *program = getenv("QUERN_STACK");
    if (!program || !getenv("QUERN_RUN_DIR"))
        return false;
    char command[512];
    snprintf(command, sizeof(command), "exec '%s' %s %s </dev/null >/dev/null 2>&1", program, verb,
             names[server]);
    const char *const argv[] = {"bash", "-c", command, NULL};
    pid_t pid;
    int status;
    must(posix_spawnp(&pid, "bash", NULL, NULL, (char *const *)(uintptr_t)argv, environ) == 0);
    while (waitpid(pid, &status, WNOHANG) == 0)
        stage_step(stage);
    if (status != 0)
        fail_msg("%s %s: %d", verb, names[server], status);
    return true;
}

bool stage_down(struct stage *stage, enum stage_server server)
{
    return stage->down[server] = stack(stage, "stop", server);
}

void stage_up(struct stage *stage, enum stage_server server)
{
    stack(stage, "start", server);
    stage->down[server] = false;
}

static void cut_postgres(struct stage *stage)
{
    struct err err = {0};
    if (!postgres_session_query(stage->session,
                                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                                "application_name = 'contract' AND pid <> pg_backend_pid()",
                                NULL, 0, NULL, NULL, &err))
        fail_msg("%s", err.text);
}

static void redis_says(struct stage *stage, const struct str *words, size_t count);

void stage_cut(struct stage *stage, enum stage_server server)
{
    const struct str words[] = {STR("CLIENT"), STR("KILL"),   STR("TYPE"),
                                STR("normal"), STR("SKIPME"), STR("yes")};
    if (server == STAGE_POSTGRES)
        cut_postgres(stage);
    else
        redis_says(stage, words, 6);
}

/* ---- Kafka ---- */

struct kafka_conf stage_kafka_conf(struct stage *stage)
{
    (void)stage;
    return (struct kafka_conf){.bootstrap_servers = str_of(getenv(addresses[STAGE_KAFKA])),
                               .client_id = STR("contract"),
                               .session_timeout_ms = 3000};
}

const char *stage_topic(struct stage *stage, int32_t partitions)
{
    struct err err = {0};
    struct kafka_conf conf = stage_kafka_conf(stage);
    if (!stage->admin)
        stage->admin = kafka_admin_new(&conf, &err);
    must(stage->topic_count < 16);
    char *name = stage->topics[stage->topic_count++];
    snprintf(name, sizeof(stage->topics[0]), "contract.%d.%u.%zu", (int)getpid(), stages,
             stage->topic_count);
    const char *const config[] = {"max.message.bytes", "33554432", NULL};
    const struct kafka_topic_want want = {name, partitions, -1, config};
    if (!stage->admin || !kafka_admin_create(stage->admin, &want, ADMIN_MS, &err))
        fail_msg("%s", err.text);
    return name;
}

/* ---- Redis ---- */

struct answered {
    bool done, ok;
};

static void note(const struct redis_reply *reply, void *context)
{
    struct answered *answered = context;
    answered->done = true;
    answered->ok = reply && reply->kind != REDIS_FAILED;
}

static struct redis_conf redis_conf(void)
{
    return (struct redis_conf){.url = str_of(getenv(addresses[STAGE_REDIS]))};
}

static void redis_says(struct stage *stage, const struct str *words, size_t count)
{
    struct err err = {0};
    struct redis_conf conf = redis_conf();
    conf.command_timeout_ms = 10000;
    if (!stage->redis) {
        stage->redis_loop = loop_new(&err);
        stage->redis = redis_new(stage->redis_loop, &conf, &err);
    }
    must(stage->redis);
    int64_t until_ms = stage_now_ms(stage) + ADMIN_MS;
    while (!redis_up(stage->redis) && stage_now_ms(stage) < until_ms)
        loop_turn(stage->redis_loop, 5);
    struct answered answered = {0};
    redis_ask(stage->redis, words, count, note, &answered);
    while (!answered.done)
        loop_turn(stage->redis_loop, 5);
    if (!answered.ok)
        fail_msg("%.*s was refused", (int)words[0].len, words[0].data);
}

struct redis_conf stage_redis_conf(struct stage *stage)
{
    const struct str flush[] = {STR("FLUSHALL")};
    redis_says(stage, flush, 1);
    return redis_conf();
}

/* ---- PostgreSQL ---- */

static struct str secret(struct stage *stage)
{
    const char *value = getenv("QUERN_POSTGRES__PASSWORD");
    const char *path = getenv("QUERN_POSTGRES__PASSWORD_FILE");
    FILE *file = value || !path ? NULL : fopen(path, "r");
    if (!file)
        return str_of(value);
    size_t len = fread(stage->secret, 1, sizeof(stage->secret), file);
    fclose(file);
    return str_trim(str_from(stage->secret, len));
}

static void script(struct postgres_session *session, const char *sql)
{
    struct err err = {0};
    if (!session || !postgres_session_script(session, sql, &err))
        fail_msg("%s", err.text);
}

static void run_file(struct postgres_session *session, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("no file %s", path);
    static char sql[1 << 18];
    size_t len = fread(sql, 1, sizeof(sql) - 1, file);
    fclose(file);
    sql[len] = 0;
    script(session, sql);
}

/* All of them, in the order of their numbers. */
static void migrate(struct postgres_session *session)
{
    glob_t files;
    if (glob(TEST_SOURCE_DIR "/schemas/sql/*.sql", 0, NULL, &files) != 0)
        fail_msg("there are no migrations");
    for (size_t i = 0; i < files.gl_pathc; i++)
        run_file(session, files.gl_pathv[i]);
    globfree(&files);
}

/* A database of its own for each stage. */
static void make_database(struct stage *stage, struct postgres_conf *conf)
{
    struct err err = {0};
    conf->conninfo = str_of(getenv(addresses[STAGE_POSTGRES]));
    stage->session = postgres_session_open(conf, &err);
    if (!stage->session)
        fail_msg("%s", err.text);
    script(stage->session, "DROP DATABASE IF EXISTS quern_contract WITH (FORCE)");
    script(stage->session, "CREATE DATABASE quern_contract");
    snprintf(stage->conninfo, sizeof(stage->conninfo), "%s dbname=quern_contract",
             getenv(addresses[STAGE_POSTGRES]));
    conf->conninfo = str_of(stage->conninfo);
    struct postgres_session *session = postgres_session_open(conf, &err);
    if (!session)
        fail_msg("%s", err.text);
    migrate(session);
    postgres_session_close(session);
}

/* The server may have been away meanwhile. */
static void drop_database(struct stage *stage)
{
    struct err err = {0};
    struct postgres_conf conf = {.application_name = STR("contract"), .password = secret(stage)};
    conf.conninfo = str_of(getenv(addresses[STAGE_POSTGRES]));
    postgres_session_close(stage->session);
    stage->session = postgres_session_open(&conf, &err);
    if (!stage->session)
        fail_msg("%s", err.text);
    script(stage->session, "DROP DATABASE IF EXISTS quern_contract WITH (FORCE)");
    postgres_session_close(stage->session);
}

struct postgres_conf stage_postgres_conf(struct stage *stage)
{
    struct postgres_conf conf = {.application_name = STR("contract"), .password = secret(stage)};
    if (!stage->session)
        make_database(stage, &conf);
    conf.conninfo = str_of(stage->conninfo);
    return conf;
}

/* ---- HTTP ---- */

static struct origin *origin_of(struct stage *stage)
{
    if (!stage->origin)
        stage->origin = origin_new();
    return stage->origin;
}

void stage_http_answers(struct stage *stage, struct stage_reply reply)
{
    origin_answers(origin_of(stage), reply);
}

struct str stage_http_url(struct stage *stage)
{
    return origin_url(origin_of(stage));
}

size_t stage_http_calls(struct stage *stage)
{
    return origin_calls(origin_of(stage));
}

void stage_free(struct stage *stage)
{
    for (unsigned i = 0; i < STAGE_ACTORS; i++) {
        loop_free(stage->loops[i]);
        stage->loops[i] = NULL;
    }
    for (int i = 0; i < 3; i++) /* a test that failed has left it so */
        if (stage->down[i])
            stack(stage, "start", (enum stage_server)i);
    kafka_admin_free(stage->admin);
    if (stage->session)
        drop_database(stage);
    redis_free(stage->redis);
    loop_free(stage->redis_loop);
    origin_free(stage->origin);
    free(stage);
}
