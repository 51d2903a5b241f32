/*
 * relay.c -- see relay.h.
 */
#include "worker/call/relay.h"

#include "common/contract/redis_keys.h"
#include "worker/job.h"

enum { EXPIRE_AGAIN_MS = 60000 };

struct relay {
    struct worker *worker;
    struct str key, lifetime; /* lifetime: milliseconds, as text */
    struct str run;
    int slot;
    bool spoke;
    uint64_t number; /* of the newest entry of this run */
    int64_t expires_said_ms;
    struct timer flush;
    struct buf text; /* gathered, not yet sent */
};

static void relay_release(void *object)
{
    struct relay *relay = object;
    timer_cancel(relay->worker->loop, &relay->flush);
    buf_done(&relay->text);
}

static struct relay *relay_new(struct slot *slot)
{
    struct job *job = slot->job;
    struct relay *relay = arena_new(&job->arena, struct relay);
    int64_t lifetime_ms = redis_key_lifetime_s(REDIS_KEY_CHUNKS) * 1000;
    *relay = (struct relay){
        .worker = job->worker,
        .key = redis_key_chunks(&job->arena, job->worker->conf->shared.redis_key_prefix,
                                job->tenant, job->id),
        .lifetime = arena_i64(&job->arena, lifetime_ms),
        .run = STR(""),
        .slot = slot->number,
        .expires_said_ms = -EXPIRE_AGAIN_MS,
    };
    buf_init(&relay->text, RELAY_BYTES_MAX + (size_t)job->worker->conf->reply_bytes_max);
    arena_defer(&job->arena, relay_release, relay);
    return relay;
}

static void expire_later(struct relay *relay, bool now)
{
    int64_t now_ms = loop_now_ms(relay->worker->loop);
    if (!now && now_ms - relay->expires_said_ms < EXPIRE_AGAIN_MS)
        return;
    const struct str words[] = {STR("PEXPIRE"), relay->key, relay->lifetime};
    redis_ask(relay->worker->redis, words, 3, NULL, NULL);
    relay->expires_said_ms = now_ms;
}

/* One entry, whose last field is this one. */
static void add_entry(struct relay *relay, struct str field, struct str value)
{
    char slot[12], number[24], most[12];
    snprintf(slot, sizeof(slot), "%d", relay->slot);
    snprintf(most, sizeof(most), "%d", RELAY_ENTRIES_MAX);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)++relay->number);
    const struct str words[] = {
        STR("XADD"),  relay->key, STR("MAXLEN"), STR("~"), str_of(most),   STR("*"), STR("slot"),
        str_of(slot), STR("run"), relay->run,    STR("n"), str_of(number), field,    value};
    redis_ask(relay->worker->redis, words, sizeof(words) / sizeof(*words), NULL, NULL);
}

static void flush(struct relay *relay)
{
    timer_cancel(relay->worker->loop, &relay->flush);
    if (!relay->text.len)
        return;
    add_entry(relay, STR("text"), buf_str(&relay->text));
    buf_clear(&relay->text);
    expire_later(relay, false);
}

static void flush_due(void *context)
{
    flush(context);
}

void relay_begin(struct slot *slot, struct str run)
{
    if (!slot->relay)
        slot->relay = relay_new(slot);
    struct relay *relay = slot->relay;
    timer_cancel(relay->worker->loop, &relay->flush);
    buf_clear(&relay->text); /* of a call that is over, and will not be the answer */
    relay->run = run;
    relay->number = 0;
}

void relay_add(struct relay *relay, struct str text)
{
    struct loop *loop = relay->worker->loop;
    relay->spoke = true;
    buf_add_str(&relay->text, text);
    if (relay->text.len >= RELAY_BYTES_MAX)
        flush(relay);
    else if (!timer_is_set(&relay->flush))
        timer_set(loop, &relay->flush, loop_now_ms(loop) + RELAY_FLUSH_MS, flush_due, relay);
}

bool relay_has_spoken(const struct slot *slot)
{
    return slot->relay && slot->relay->spoke;
}

void relay_end(struct slot *slot)
{
    struct relay *relay = slot->relay;
    if (!relay)
        return;
    flush(relay);
    add_entry(relay, STR("end"), slot->err.code ? str_of(err_name(slot->err.code)) : STR("ok"));
    expire_later(relay, true);
    slot->relay = NULL;
}
