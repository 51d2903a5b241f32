/*
 * cancel.c -- `quern cancel ID`: nobody wants an answer to this request any more.
 *
 * A key in Redis stops it where it has not begun, a message ends the calls that are under way. What
 * was answered before stays answered; the reply says which it was.
 */
#include "common/contract/redis_keys.h"
#include "producer/cli/redis_session.h"

static void count_workers(const struct redis_reply *reply, void *context)
{
    *(int64_t *)context = reply->number;
}

static bool cancel(struct redis_session *session, struct cli *cli, struct str tenant, struct str id,
                   int64_t *ret_workers, struct err *err)
{
    struct arena *arena = &cli->arena;
    struct str prefix = cli->conf->redis_key_prefix;
    const struct str key[] = {
        STR("SET"), redis_key_cancelled(arena, prefix, tenant, id), STR("1"), STR("EX"),
        arena_printf(arena, "%lld", (long long)redis_key_lifetime_s(REDIS_KEY_CANCELLED))};
    const struct str message[] = {
        STR("PUBLISH"), arena_printf(arena, STR_FMT REDIS_CHANNEL_CANCEL, STR_ARG(prefix)),
        arena_printf(arena, STR_FMT "\x1f" STR_FMT, STR_ARG(tenant), STR_ARG(id))};
    return redis_session_ask(session, key, 5, NULL, NULL, err) &&
           redis_session_ask(session, message, 3, count_workers, ret_workers, err);
}

int run_cancel(struct cli *cli)
{
    struct err err;
    struct str id = str_of(cli->words[0]), tenant = cli_option(cli, "tenant");
    int64_t workers = 0;
    if (str_empty(tenant))
        tenant = STR("default");
    struct redis_session *session = redis_session_new(cli, &err);
    bool good = session && cancel(session, cli, tenant, id, &workers, &err);
    redis_session_free(session);
    if (!good)
        return cli_fail(cli, &err);
    struct buf text;
    buf_init(&text, 4096);
    if (cli->json)
        buf_printf(&text, "{\"workers\":%lld}\n", (long long)workers);
    else
        buf_printf(&text, "%lld %s told; 'quern show " STR_FMT "' says how it ended\n",
                   (long long)workers, workers == 1 ? "worker was" : "workers were", STR_ARG(id));
    int code = cli_out(&text);
    buf_done(&text);
    return code;
}
