/*
 * migrate.c -- `quern migrate up|status`.
 *
 * Each file is one transaction together with its row in schema_migrations, under one advisory lock
 * for the whole run: concurrent runs wait for each other and the later one finds nothing to do. A
 * file that changed after it was applied is an error, because nobody knows what the database then
 * looks like. A database that is newer than this program is left alone.
 */
#include "producer/cli/migrate.h"

#include "common/app/app.h"
#include "common/data/digest.h"

enum { PAGE_BYTES_MAX = 1 << 20, SCRIPT_BYTES_MAX = 16 << 20, VERSION_MAX = 9999 };

/* One lock for this purpose; the number is the text "quern" in ASCII. */
#define LOCK_SQL   "SELECT pg_advisory_lock(487300887150)"
#define EXISTS_SQL "SELECT to_regclass('schema_migrations') IS NOT NULL"
#define CREATE_SQL                                                                                 \
    "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT"     \
    " NULL, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
#define APPLIED_SQL                                                                                \
    "SELECT version, name, sha256, to_char(applied_at AT TIME ZONE 'UTC',"                         \
    " 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM schema_migrations ORDER BY version"

static void take_truth(const struct postgres_rows *rows, void *context)
{
    *(bool *)context = rows->count > 0 && postgres_cell_i64(rows, 0, 0) != 0;
}

static const struct migration *find(int64_t version)
{
    for (const struct migration *m = migrations; m->version; m++)
        if (m->version == version)
            return m;
    return NULL;
}

static void take_applied(const struct postgres_rows *rows, void *context)
{
    struct migration_state *state = context;
    for (size_t i = 0; i < rows->count; i++) {
        char sha256[DIGEST_HEX + 1];
        int64_t version = postgres_cell_i64(rows, i, 0);
        const struct migration *m = find(version);
        struct str is = STR("unknown to this program");
        if (version > 0 && version <= VERSION_MAX)
            state->known[version] = true;
        if (m) {
            digest_sha256_hex(str_of(m->sql), sha256, DIGEST_HEX);
            bool same = str_is(postgres_cell(rows, i, 2), sha256);
            is = same ? STR("applied") : STR("changed since it was applied");
            state->applied++;
            state->changed += !same;
        } else {
            state->unknown++;
        }
        table_printf(&state->table, "%lld", (long long)version);
        table_add(&state->table, postgres_cell(rows, i, 1));
        table_add(&state->table, is);
        table_add(&state->table, postgres_cell(rows, i, 3));
    }
}

bool migrate_look(struct cli *cli, struct postgres_session *session, struct migration_state *ret,
                  struct err *err)
{
    bool exists = false;
    *ret = (struct migration_state){0};
    table_init(&ret->table, &cli->arena,
               (const char *const[]){"version", "name", "state", "applied_at", NULL});
    if (!postgres_session_query(session, EXISTS_SQL, NULL, 0, take_truth, &exists, err) ||
        (exists && !postgres_session_query(session, APPLIED_SQL, NULL, 0, take_applied, ret, err)))
        return false;
    for (const struct migration *m = migrations; m->version; m++) {
        if (ret->known[m->version])
            continue;
        ret->pending++;
        table_printf(&ret->table, "%d", m->version);
        table_add(&ret->table, str_of(m->name));
        table_add(&ret->table, STR("pending"));
        table_add(&ret->table, STR(""));
    }
    return true;
}

static bool refuse_changed(const struct migration_state *state, struct err *err)
{
    if (state->changed == 0)
        return true;
    err_set(err, ERR_CONFIG,
            "%d migration(s) were changed after they were applied, see 'quern migrate status';"
            " restore the files, changes belong into a new one",
            state->changed);
    return false;
}

static bool apply(struct postgres_session *session, const struct migration *m, struct err *err)
{
    char sha256[DIGEST_HEX + 1];
    struct buf script;
    buf_init(&script, SCRIPT_BYTES_MAX);
    digest_sha256_hex(str_of(m->sql), sha256, DIGEST_HEX);
    buf_add_str(&script, STR("BEGIN;\n"));
    buf_add_str(&script, str_of(m->sql));
    buf_printf(&script,
               "\n;INSERT INTO schema_migrations (version, name, sha256) VALUES (%d, '%s', '%s');"
               "\nCOMMIT;\n",
               m->version, m->name, sha256);
    bool good = postgres_session_script(session, script.data, err);
    buf_done(&script);
    if (!good)
        err_prefix(err, "migration %04d_%s", m->version, m->name);
    return good;
}

static bool up(struct cli *cli, struct postgres_session *session, int *ret_applied, struct err *err)
{
    struct migration_state *state = arena_new(&cli->arena, struct migration_state);
    if (!postgres_session_query(session, LOCK_SQL, NULL, 0, NULL, NULL, err) ||
        !postgres_session_script(session, CREATE_SQL, err) ||
        !migrate_look(cli, session, state, err) || !refuse_changed(state, err))
        return false;
    for (const struct migration *m = migrations; m->version; m++) {
        if (state->known[m->version])
            continue;
        if (!apply(session, m, err))
            return false;
        cli_say("applied %04d_%s", m->version, m->name);
        (*ret_applied)++;
    }
    return true;
}

int run_migrate_up(struct cli *cli)
{
    struct err err = {0};
    int64_t timeout_ms = 600000;
    int applied = 0;
    if (!cli_option_duration(cli, "timeout", &timeout_ms, &err))
        return cli_fail(cli, &err);
    struct postgres_session *session = cli_postgres(cli, timeout_ms, &err);
    bool good = session && up(cli, session, &applied, &err);
    postgres_session_close(session);
    if (!good)
        return cli_fail(cli, &err);
    if (applied == 0)
        cli_say("the database is up to date");
    return EXIT_OK;
}

static int print_state(const struct cli *cli, const struct migration_state *state)
{
    struct buf text;
    buf_init(&text, PAGE_BYTES_MAX);
    if (cli->json)
        table_json(&state->table, &text);
    else
        table_text(&state->table, cli->color, &text);
    int code = cli_out(&text);
    buf_done(&text);
    return code == EXIT_OK && (state->pending || state->changed) ? EXIT_FAILED : code;
}

int run_migrate_status(struct cli *cli)
{
    struct err err = {0};
    struct migration_state *state = arena_new(&cli->arena, struct migration_state);
    struct postgres_session *session = cli_postgres(cli, CLI_TIMEOUT_MS, &err);
    bool good = session && migrate_look(cli, session, state, &err);
    postgres_session_close(session);
    return good ? print_state(cli, state) : cli_fail(cli, &err);
}
