/*
 * redis.c -- commands and their answers: who asked, until when, and what a miss costs.
 *
 * `asked` is a ring of everything that was written and not yet answered, in order; replies always
 * belong to its front. A command that times out keeps its place, with nobody behind it, because its
 * reply may still come: the ring's front part [head, live) is of such commands, [live, tail) is
 * still waited for. All have the same time-out, so deadlines rise along the ring and one timer, set
 * for the first of them and looked after lazily, is enough.
 *
 * `missed` holds the callers who will hear NULL at the next turn.
 *
 * Scripts are asked with EVALSHA; the hash is what SCRIPT LOAD answered on this connection. Words
 * of a script's command are kept until its reply, so that NOSCRIPT (somebody flushed the scripts)
 * is answered by sending it once more as EVAL.
 *
 * When no byte came for SILENT_TIMEOUTS command time-outs while commands wait, the connection is
 * given up. What stays true: `done` is never called from inside redis_ask(); it may ask again but
 * must not free the door. Rings and kept words are recycled: a warm door allocates nothing.
 */
#include "common/io/redis.h"

#include <hiredis/hiredis.h>

#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/redis_channel.h"
#include "common/io/redis_link.h"
#include "common/io/redis_pending.h"
#include "common/io/redis_refusals.h"
#include "common/io/redis_resp.h"
#include "common/io/redis_url.h"

#define MAGIC 0x4ed15u

#define CONNECT_TIMEOUT_MS_DEFAULT 1000
#define COMMAND_TIMEOUT_MS_DEFAULT 500
#define PENDING_MAX_DEFAULT        65536
#define SCRIPTS_MAX                16
#define SILENT_TIMEOUTS            3
#define OUT_BYTES_FULL             (64u << 20) /* more unsent than this: misses */
#define SHA_LEN                    40

struct script {
    struct redis_script row; /* a copy: the texts are constants, the struct need not be */
    char sha[SHA_LEN + 1];   /* "" until it is loaded on this connection */
};

struct redis {
    unsigned magic;
    bool off;
    bool told_down;
    bool inside;           /* a `done` is running */
    int64_t down_since_ms; /* or since the start */
    struct loop *loop;
    struct redis_conf conf;
    struct redis_url url;
    struct redis_link link;
    struct redis_channel *channels[REDIS_CHANNELS_MAX];
    size_t channel_count;

    struct redis_ring asked;
    size_t live;
    struct timer expiry;
    int64_t busy_ms; /* since when something is asked */

    struct redis_ring missed;
    struct timer miss_timer;

    struct script scripts[SCRIPTS_MAX];
    unsigned script_count;
    struct redis_kept_pool kept;

    struct redis_stats stats;
    struct redis_refusals refusals;
};

/* ---- Misses ---- */

static void answer(struct redis *redis, const struct redis_entry *entry,
                   const struct redis_reply *reply)
{
    if (!entry->done)
        return;
    redis->inside = true;
    entry->done(reply, entry->context);
    redis->inside = false;
}

/* Those who are added meanwhile wait for the next turn. */
static void misses_deliver(void *context)
{
    struct redis *redis = context;
    must_be(redis, MAGIC);
    for (size_t left = redis_ring_count(&redis->missed); left > 0; left--) {
        struct redis_entry entry = redis_ring_pop(&redis->missed);
        answer(redis, &entry, NULL);
    }
}

static void miss(struct redis *redis, redis_done *done, void *context)
{
    redis->stats.misses++;
    if (!done)
        return;
    redis_ring_push(&redis->missed, (struct redis_entry){.done = done, .context = context});
    if (!timer_is_set(&redis->miss_timer))
        timer_set(redis->loop, &redis->miss_timer, loop_now_ms(redis->loop), misses_deliver, redis);
}

/* ---- Time-outs ---- */

static void expire(void *context);

static int64_t silent_until_ms(const struct redis *redis)
{
    int64_t heard_ms = redis->link.heard_ms;
    if (heard_ms < redis->busy_ms)
        heard_ms = redis->busy_ms;
    return heard_ms + SILENT_TIMEOUTS * redis->conf.command_timeout_ms;
}

static void expiry_arm(struct redis *redis)
{
    int64_t at_ms;
    if (redis_ring_count(&redis->asked) == 0 || redis->link.state != REDIS_LINK_UP)
        return;
    at_ms = silent_until_ms(redis);
    if (redis->live != redis->asked.tail) {
        int64_t deadline_ms = redis_ring_at(&redis->asked, redis->live)->deadline_ms;
        at_ms = deadline_ms < at_ms ? deadline_ms : at_ms;
    }
    timer_set(redis->loop, &redis->expiry, at_ms, expire, redis);
}

static void expire(void *context)
{
    struct redis *redis = context;
    must_be(redis, MAGIC);
    int64_t now_ms = loop_now_ms(redis->loop);
    while (redis->live != redis->asked.tail) {
        struct redis_entry *at = redis_ring_at(&redis->asked, redis->live);
        if (at->deadline_ms > now_ms)
            break;
        struct redis_entry entry = *at;
        at->done = NULL;
        at->kept = NULL; /* nobody is left to send it for once more */
        redis_kept_give(&redis->kept, entry.kept);
        redis->live++;
        redis->stats.timeouts++;
        redis->stats.misses++;
        answer(redis, &entry, NULL);
    }
    if (redis_ring_count(&redis->asked) > 0 && now_ms >= silent_until_ms(redis)) {
        struct err why;
        err_set(&why, ERR_TIMEOUT, "redis: silent for %lld ms",
                (long long)(SILENT_TIMEOUTS * redis->conf.command_timeout_ms));
        redis_link_break(&redis->link, &why);
        return;
    }
    expiry_arm(redis);
}

/* ---- Asking ---- */

static void push(struct redis *redis, redis_done *done, void *context, struct redis_kept *kept)
{
    int64_t now_ms = loop_now_ms(redis->loop);
    bool was_idle = redis_ring_count(&redis->asked) == 0;
    redis_ring_push(&redis->asked, (struct redis_entry){
                                       .done = done,
                                       .context = context,
                                       .deadline_ms = now_ms + redis->conf.command_timeout_ms,
                                       .kept = kept,
                                   });
    if (!was_idle)
        return;
    redis->busy_ms = now_ms;
    if (!timer_is_set(&redis->expiry))
        expiry_arm(redis);
}

/* Whether a command of this size may be written now. */
static bool admit(const struct redis *redis, size_t size)
{
    return !redis->off && redis->link.state == REDIS_LINK_UP && !redis->link.broken &&
           redis_ring_count(&redis->asked) < redis->conf.pending_max &&
           redis->link.out.len + size <= OUT_BYTES_FULL;
}

void redis_ask(struct redis *redis, const struct str *words, size_t count, redis_done *done,
               void *context)
{
    must(count > 0);
    redis->stats.commands++;
    if (!admit(redis, redis_resp_size(words, count))) {
        miss(redis, done, context);
        return;
    }
    redis_resp_command(redis_link_out(&redis->link), words, count);
    push(redis, done, context, NULL);
}

static void script_write(struct redis *redis, const struct redis_kept *kept, bool by_hash)
{
    const struct script *script = &redis->scripts[kept->script];
    struct buf *out = redis_link_out(&redis->link);
    redis_resp_header(out, 2 + kept->count);
    redis_resp_word(out, by_hash ? STR("EVALSHA") : STR("EVAL"));
    redis_resp_word(out, str_of(by_hash ? script->sha : script->row.lua));
    buf_add_str(out, buf_str(&kept->words));
}

void redis_script_ask(struct redis *redis, unsigned script, size_t key_count,
                      const struct str *words, size_t count, redis_done *done, void *context)
{
    must(script < redis->script_count && key_count <= count);
    redis->stats.commands++;
    size_t size = redis_resp_size(words, count) + strlen(redis->scripts[script].row.lua);
    if (!admit(redis, size)) {
        miss(redis, done, context);
        return;
    }
    char keys[24];
    snprintf(keys, sizeof(keys), "%zu", key_count);
    struct redis_kept *kept = redis_kept_take(&redis->kept);
    kept->script = script;
    kept->count = 1 + count;
    redis_resp_word(&kept->words, str_of(keys));
    for (size_t i = 0; i < count; i++)
        redis_resp_word(&kept->words, words[i]);
    bool by_hash = redis->scripts[script].sha[0] != '\0';
    script_write(redis, kept, by_hash);
    if (!by_hash) { /* EVAL needs no second try */
        redis_kept_give(&redis->kept, kept);
        kept = NULL;
    }
    push(redis, done, context, kept);
}

/* ---- Replies ---- */

static struct redis_reply reply_of(const redisReply *raw)
{
    struct redis_reply reply = {.kind = REDIS_FAILED, .handle = raw};
    switch (raw->type) {
    case REDIS_REPLY_NIL:
        reply.kind = REDIS_NIL;
        break;
    case REDIS_REPLY_INTEGER:
        reply.kind = REDIS_NUMBER;
        reply.number = raw->integer;
        break;
    case REDIS_REPLY_ARRAY:
        reply.kind = REDIS_LIST;
        reply.count = raw->elements;
        break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        reply.kind = REDIS_TEXT;
        reply.text = str_from(raw->str, (size_t)raw->len);
        break;
    case REDIS_REPLY_ERROR:
        reply.text = str_from(raw->str, (size_t)raw->len);
        break;
    default: /* types of RESP3, which we never ask for */
        reply.text = STR("unknown type of reply");
    }
    return reply;
}

struct redis_reply redis_item(const struct redis_reply *list, size_t index)
{
    must(list->kind == REDIS_LIST && index < list->count);
    const redisReply *raw = list->handle;
    return reply_of(raw->element[index]);
}

static bool script_is_missing(const struct redis_entry *entry, const redisReply *raw)
{
    return entry->kept && entry->done && raw->type == REDIS_REPLY_ERROR &&
           str_starts(str_from(raw->str, (size_t)raw->len), STR("NOSCRIPT"));
}

static void take_refusal(struct redis *redis, struct str error)
{
    struct err why;
    if (!redis_refused(&redis->refusals, error, loop_now_ms(redis->loop)))
        return;
    err_set(&why, ERR_UNAVAILABLE, "redis: %.*s", (int)str_utf8_cut(error, 200).len, error.data);
    redis_link_break(&redis->link, &why);
}

static void take_reply(const struct redisReply *raw, void *context)
{
    struct redis *redis = context;
    must_be(redis, MAGIC);
    if (redis_ring_count(&redis->asked) == 0) {
        struct err why;
        err_set(&why, ERR_UNAVAILABLE, "redis: a reply nobody asked for");
        redis_link_break(&redis->link, &why);
        return;
    }
    if (redis->live == redis->asked.head)
        redis->live++;
    struct redis_entry entry = redis_ring_pop(&redis->asked);
    if (script_is_missing(&entry, raw)) {
        script_write(redis, entry.kept, false); /* EVAL also loads it for those who come after */
        push(redis, entry.done, entry.context, NULL);
    } else {
        struct redis_reply reply = reply_of(raw);
        bool greets = redis->link.state != REDIS_LINK_UP; /* and tells of its errors itself */
        answer(redis, &entry, &reply);
        if (reply.kind == REDIS_FAILED && !greets)
            take_refusal(redis, reply.text);
    }
    redis_kept_give(&redis->kept, entry.kept);
}

/* ---- The connection's states ---- */

static void script_loaded(const struct redis_reply *reply, void *context)
{
    struct script *script = context;
    if (reply && reply->kind == REDIS_TEXT && reply->text.len == SHA_LEN) {
        memcpy(script->sha, reply->text.data, SHA_LEN);
    } else if (reply && reply->kind == REDIS_FAILED) {
        log_warn("redis does not take a script", LOG_C("script", script->row.name),
                 LOG_S("error", str_utf8_cut(reply->text, 200)));
    }
}

static void script_load(struct redis *redis, struct script *script)
{
    struct str words[] = {STR("SCRIPT"), STR("LOAD"), str_of(script->row.lua)};
    redis_resp_command(redis_link_out(&redis->link), words, 3);
    push(redis, script_loaded, script, NULL);
}

/* The last answer of the greeting. An error here (LOADING, NOAUTH, MASTERDOWN) means that nothing
 * else would be answered either. */
static void greeted(const struct redis_reply *reply, void *context)
{
    struct redis *redis = context;
    if (!reply)
        return;
    if (reply->kind == REDIS_FAILED) {
        struct err why;
        err_set(&why, ERR_UNAVAILABLE, "redis: not ready: %.*s",
                (int)str_utf8_cut(reply->text, 200).len, reply->text.data);
        redis_link_break(&redis->link, &why);
        return;
    }
    redis_link_greeted(&redis->link);
    if (redis->link.connected > 1)
        redis->stats.reconnects++;
    redis->told_down = false;
    log_info("redis is there",
             LOG_C("host", redis->url.path[0] ? redis->url.path : redis->url.host),
             LOG_I("port", redis->url.port),
             LOG_I("away_ms", loop_now_ms(redis->loop) - redis->down_since_ms));
    if (redis->conf.on_state)
        redis->conf.on_state(true, NULL, redis->conf.context);
}

static void opened(void *context)
{
    struct redis *redis = context;
    for (unsigned i = 0; i < redis->script_count; i++)
        script_load(redis, &redis->scripts[i]);
    redis_resp_command(redis_link_out(&redis->link), (struct str[]){STR("PING")}, 1);
    push(redis, greeted, redis, NULL);
}

static void closed(const struct err *why, void *context)
{
    struct redis *redis = context;
    must_be(redis, MAGIC);
    timer_cancel(redis->loop, &redis->expiry);
    while (redis_ring_count(&redis->asked) > 0) {
        struct redis_entry entry = redis_ring_pop(&redis->asked);
        redis_kept_give(&redis->kept, entry.kept);
        if (entry.done && entry.done != script_loaded && entry.done != greeted)
            miss(redis, entry.done, entry.context);
    }
    redis->live = redis->asked.head;
    for (unsigned i = 0; i < redis->script_count; i++)
        redis->scripts[i].sha[0] = '\0';
    if (redis->told_down)
        return;
    redis->told_down = true;
    redis->down_since_ms = loop_now_ms(redis->loop);
    log_warn("redis is away", LOG_C("error", why->text),
             LOG_C("hint", "start Redis, or correct redis.url; it is tried again by itself"));
    if (redis->conf.on_state)
        redis->conf.on_state(false, why, redis->conf.context);
}

static const struct redis_link_calls link_calls = {
    .opened = opened,
    .reply = take_reply,
    .closed = closed,
};

/* ---- Life cycle ---- */

static void conf_defaults(struct redis_conf *conf)
{
    conf->url = conf->password = (struct str){NULL, 0}; /* the caller's memory; parsed already */
    if (!conf->connect_timeout_ms)
        conf->connect_timeout_ms = CONNECT_TIMEOUT_MS_DEFAULT;
    if (!conf->command_timeout_ms)
        conf->command_timeout_ms = COMMAND_TIMEOUT_MS_DEFAULT;
    if (!conf->pending_max)
        conf->pending_max = PENDING_MAX_DEFAULT;
}

struct redis *redis_new(struct loop *loop, const struct redis_conf *conf, struct err *err)
{
    struct redis *redis = xzalloc(sizeof(*redis));
    redis->magic = MAGIC;
    redis->loop = loop;
    redis->down_since_ms = loop_now_ms(loop);
    redis->conf = *conf;
    conf_defaults(&redis->conf);
    redis->off = str_empty(conf->url);
    if (redis->off)
        return redis;
    if (!redis_url_parse(conf->url, &redis->url, err) ||
        !redis_url_password(&redis->url, conf->password, err)) {
        free(redis);
        return NULL;
    }
    redis_link_init(&redis->link, loop, &redis->url, redis->conf.connect_timeout_ms, &link_calls,
                    redis);
    return redis;
}

void redis_free(struct redis *redis)
{
    if (!redis)
        return;
    must_be(redis, MAGIC);
    must(!redis->inside);
    for (size_t i = 0; i < redis->channel_count; i++)
        redis_channel_free(redis->channels[i]);
    if (!redis->off)
        redis_link_done(&redis->link);
    timer_cancel(redis->loop, &redis->expiry);
    timer_cancel(redis->loop, &redis->miss_timer);
    while (redis_ring_count(&redis->asked) > 0)
        redis_kept_give(&redis->kept, redis_ring_pop(&redis->asked).kept);
    redis_kept_done(&redis->kept);
    redis_ring_done(&redis->asked);
    redis_ring_done(&redis->missed);
    explicit_bzero(&redis->url, sizeof(redis->url));
    redis->magic = 0;
    free(redis);
}

unsigned redis_script_add(struct redis *redis, const struct redis_script *row)
{
    must(redis->script_count < SCRIPTS_MAX);
    unsigned number = redis->script_count++;
    struct script *script = &redis->scripts[number];
    *script = (struct script){.row = *row};
    if (!redis->off && redis->link.state == REDIS_LINK_UP && !redis->link.broken)
        script_load(redis, script);
    return number;
}

void redis_subscribe(struct redis *redis, struct str channel,
                     void (*on_message)(struct str message, void *context), void *context)
{
    must(redis->channel_count < REDIS_CHANNELS_MAX);
    if (!redis->off)
        redis->channels[redis->channel_count++] = redis_channel_new(
            redis->loop, &redis->url, redis->conf.connect_timeout_ms, channel, on_message, context);
}

bool redis_enabled(const struct redis *redis)
{
    return !redis->off;
}

bool redis_up(const struct redis *redis)
{
    return redis->link.state == REDIS_LINK_UP && !redis->link.broken;
}

void redis_stats(const struct redis *redis, struct redis_stats *ret)
{
    *ret = redis->stats;
    ret->refused = redis->refusals.count;
    ret->pending = redis_ring_count(&redis->asked) + redis_ring_count(&redis->missed);
}
