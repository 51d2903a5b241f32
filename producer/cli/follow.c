/*
 * follow.c -- `quern follow ID`: an answer's text while it is being written.
 *
 * Entries of the request's stream in Redis (schemas/redis.def, worker/call/relay.h): the newest run
 * of a slot is the one that counts. When a call begins anew, what stands on the screen is void, and
 * a line on stderr says so.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/contract/contract.h"
#include "common/contract/redis_keys.h"
#include "producer/cli/redis_session.h"

enum { SLOTS_MAX = 16, ENTRIES_MAX = 500, LOOK_AGAIN_MS = 50, RUN_BYTES = 64, ID_BYTES = 48 };

struct follow {
    struct cli *cli;
    int slot;                /* whose text is shown */
    char last[ID_BYTES];     /* the newest entry's id in Redis */
    char run[RUN_BYTES + 1]; /* that is being shown */
    int64_t number;
    bool over;
    char end[RUN_BYTES + 1];
    size_t seen; /* entries of the last question */
};

static void copy_text(char *to, size_t bytes, struct str text)
{
    text = str_slice(text, 0, bytes - 1);
    memcpy(to, text.data, text.len);
    to[text.len] = '\0';
}

static struct str field(const struct redis_reply *fields, const char *name)
{
    for (size_t i = 0; i + 1 < fields->count; i += 2)
        if (str_is(redis_item(fields, i).text, name))
            return redis_item(fields, i + 1).text;
    return (struct str){NULL, 0};
}

/* True: of the run that is shown, or of one that begins now. */
static bool is_current(struct follow *follow, struct str run)
{
    int order = str_cmp(run, str_of(follow->run));
    if (order < 0)
        return false;
    if (order > 0) {
        if (follow->number > 0)
            cli_say("the call was lost in the middle of its answer, it begins anew");
        copy_text(follow->run, sizeof(follow->run), run);
        follow->number = 0;
    }
    return true;
}

static void take_entry(struct follow *follow, const struct redis_reply *fields)
{
    int64_t slot, number;
    struct str end = field(fields, "end");
    if (!str_to_i64(field(fields, "slot"), 0, SLOTS_MAX, &slot) || slot != follow->slot ||
        !str_to_i64(field(fields, "n"), 1, INT64_MAX, &number) ||
        !is_current(follow, field(fields, "run")))
        return;
    if (number != follow->number + 1)
        cli_say("%lld pieces are missing here", (long long)(number - follow->number - 1));
    follow->number = number;
    if (end.data) {
        follow->over = true;
        copy_text(follow->end, sizeof(follow->end), end);
        return;
    }
    struct buf text;
    buf_init(&text, field(fields, "text").len + 1);
    buf_add_str(&text, field(fields, "text"));
    cli_out(&text);
    buf_done(&text);
}

/* [[id, [field, value, ..]], ..] */
static void take_entries(const struct redis_reply *reply, void *context)
{
    struct follow *follow = context;
    follow->seen = reply->kind == REDIS_LIST ? reply->count : 0;
    for (size_t i = 0; i < follow->seen && !follow->over; i++) {
        struct redis_reply entry = redis_item(reply, i);
        if (entry.kind != REDIS_LIST || entry.count < 2)
            continue;
        struct redis_reply fields = redis_item(&entry, 1);
        copy_text(follow->last, sizeof(follow->last), redis_item(&entry, 0).text);
        take_entry(follow, &fields);
    }
}

static bool ask(struct follow *follow, struct redis_session *session, struct str key,
                struct err *err)
{
    char from[ID_BYTES + 2], most[12];
    snprintf(from, sizeof(from), "(%s", follow->last);
    snprintf(most, sizeof(most), "%d", ENTRIES_MAX);
    const struct str words[] = {STR("XRANGE"), key,          str_of(from),
                                STR("+"),      STR("COUNT"), str_of(most)};
    return redis_session_ask(session, words, 6, take_entries, follow, err);
}

static bool follow_to_the_end(struct follow *follow, struct redis_session *session, struct str key,
                              int64_t timeout_ms, struct err *err)
{
    int64_t quiet_since_ms = redis_session_now_ms(session);
    while (!follow->over) {
        if (!ask(follow, session, key, err))
            return false;
        int64_t now_ms = redis_session_now_ms(session);
        if (follow->seen > 0)
            quiet_since_ms = now_ms;
        if (now_ms - quiet_since_ms > timeout_ms) {
            err_set(err, ERR_TIMEOUT,
                    "nothing came for %lld ms; was it published with stream (quern submit "
                    "--stream)? 'quern show' says what became of it",
                    (long long)timeout_ms);
            return false;
        }
        if (follow->seen < ENTRIES_MAX && !follow->over)
            redis_session_sleep(session, LOOK_AGAIN_MS);
    }
    return true;
}

int run_follow(struct cli *cli)
{
    struct err err = {0};
    struct follow follow = {.cli = cli, .last = "0-0"};
    int64_t timeout_ms = 60000, slot = 0;
    struct str tenant = cli_option(cli, "tenant");
    if (!cli_option_duration(cli, "timeout", &timeout_ms, &err) ||
        !cli_option_i64(cli, "slot", 0, SLOTS_MAX - 1, &slot, &err))
        return cli_fail(cli, &err);
    follow.slot = (int)slot;
    struct redis_session *session = redis_session_new(cli, &err);
    if (!session)
        return cli_fail(cli, &err);
    struct str key =
        redis_key_chunks(&cli->arena, cli->conf->redis_key_prefix,
                         str_empty(tenant) ? STR("default") : tenant, str_of(cli->words[0]));
    bool good = follow_to_the_end(&follow, session, key, timeout_ms, &err);
    redis_session_free(session);
    if (good && strcmp(follow.end, "ok") != 0) {
        good = false;
        err_set(&err, err_by_name(str_of(follow.end)), "there is no answer: %s", follow.end);
    }
    if (good && isatty(STDOUT_FILENO))
        putchar('\n');
    return good ? 0 : cli_fail(cli, &err);
}
