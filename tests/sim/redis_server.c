/*
 * redis_server.c -- the simulated Redis: strings, lists, hashes and streams with a lifetime, one
 * command at a time.
 *
 * To add a command: a function and its row in `commands`.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/redis_inside.h"

/* What a key must be if it is there. */
enum kind_of_key { ANY, STRING, LIST, HASH, STREAM };

struct item {
    struct map_node node;
    char *key;
    enum kind_of_key kind;
    struct str *texts; /* one for a string; fields and values of a hash, in turn; owned */
    size_t count;
    int64_t expires_us; /* 0: never */
};

enum { LATENCY_US = 400, CONNECT_US = 500 };

struct sim_redis *sim_redis_new(struct sim *sim)
{
    struct sim_redis *redis = xzalloc(sizeof(*redis));
    redis->sim = sim;
    redis->latency_us = LATENCY_US;
    redis->connect_us = CONNECT_US;
    map_init(&redis->keys);
    list_init(&redis->clients);
    sim_lua_open(redis);
    return redis;
}

static void item_clear(struct item *item)
{
    for (size_t i = 0; i < item->count; i++)
        free((char *)(uintptr_t)item->texts[i].data);
    free(item->texts);
    item->texts = NULL;
    item->count = 0;
}

static void item_free(struct sim_redis *redis, struct item *item)
{
    map_remove(&redis->keys, &item->node);
    item_clear(item);
    free(item->key);
    free(item);
}

void sim_redis_flush(struct sim *sim)
{
    for (struct map_node *node; (node = map_any(&sim->redis->keys));)
        item_free(sim->redis, container_of(node, struct item, node));
}

void sim_redis_free(struct sim_redis *redis)
{
    sim_redis_flush(redis->sim);
    for (size_t i = 0; i < redis->claimed_count; i++)
        free(redis->claimed[i].key);
    free(redis->claimed);
    map_done(&redis->keys);
    sim_lua_close(redis);
    free(redis);
}

void sim_answer_done(struct sim_answer *answer)
{
    for (size_t i = 0; i < answer->count; i++)
        sim_answer_done(&answer->items[i]);
    free(answer->items);
    free(answer->text);
    *answer = (struct sim_answer){0};
}

void sim_answer_text(struct sim_answer *answer, struct str text)
{
    answer->kind = REDIS_TEXT;
    answer->text = xstrndup(text);
    answer->len = text.len;
}

void sim_answer_fail(struct sim_answer *answer, const char *text)
{
    sim_answer_text(answer, str_of(text));
    answer->kind = REDIS_FAILED;
}

static void answer_ok(struct sim_answer *answer)
{
    sim_answer_text(answer, STR("OK"));
    answer->status = true;
}

static void answer_number(struct sim_answer *answer, int64_t number)
{
    answer->kind = REDIS_NUMBER;
    answer->number = number;
}

/* Keys */

static struct item *find(struct sim_redis *redis, struct str key)
{
    struct map_node *node = map_find(&redis->keys, key);
    if (!node)
        return NULL;
    struct item *item = container_of(node, struct item, node);
    if (!item->expires_us || item->expires_us > redis->sim->now_us)
        return item;
    item_free(redis, item);
    return NULL;
}

static struct item *find_or_make(struct sim_redis *redis, struct str key, enum kind_of_key kind)
{
    struct item *item = find(redis, key);
    if (item)
        return item;
    item = xzalloc(sizeof(*item));
    item->key = xstrndup(key);
    item->kind = kind;
    map_add(&redis->keys, &item->node, str_from(item->key, key.len));
    return item;
}

static void item_push(struct item *item, struct str text)
{
    item->texts = xrealloc(item->texts, (item->count + 1) * sizeof(*item->texts));
    item->texts[item->count++] = str_from(xstrndup(text), text.len);
}

static int64_t number_of(struct str text)
{
    int64_t number = 0;
    bool good = str_to_i64(text, INT64_MIN, INT64_MAX, &number);
    must(good);
    return number;
}

/* Commands: words[0] is the name. */

static void do_get(struct sim_redis *redis, const struct str *words, size_t count,
                   struct sim_answer *ret)
{
    struct item *item = find(redis, words[1]);
    (void)count;
    if (item)
        sim_answer_text(ret, item->texts[0]);
}

static void do_set(struct sim_redis *redis, const struct str *words, size_t count,
                   struct sim_answer *ret)
{
    int64_t lifetime_us = 0;
    bool keep_lifetime = false;
    for (size_t i = 3; i < count; i++) {
        if (str_eq_nocase(words[i], STR("KEEPTTL"))) {
            keep_lifetime = true;
        } else if (str_eq_nocase(words[i], STR("NX"))) {
            if (find(redis, words[1]))
                return; /* nil */
        } else if (str_eq_nocase(words[i], STR("PX"))) {
            lifetime_us = number_of(words[++i]) * 1000;
        } else {
            must(str_eq_nocase(words[i], STR("EX")));
            lifetime_us = number_of(words[++i]) * 1000000;
        }
    }
    struct item *item = find_or_make(redis, words[1], STRING);
    item_clear(item);
    item->kind = STRING;
    item_push(item, words[2]);
    if (!keep_lifetime)
        item->expires_us = lifetime_us ? redis->sim->now_us + lifetime_us : 0;
    answer_ok(ret);
}

static void do_del(struct sim_redis *redis, const struct str *words, size_t count,
                   struct sim_answer *ret)
{
    int64_t gone = 0;
    for (size_t i = 1; i < count; i++) {
        struct item *item = find(redis, words[i]);
        if (!item)
            continue;
        item_free(redis, item);
        gone++;
    }
    answer_number(ret, gone);
}

/* Redis's bounds: from the end when negative, both included. */
static void range(const struct item *item, struct str from, struct str to, size_t *ret_begin,
                  size_t *ret_end)
{
    int64_t count = item ? (int64_t)item->count : 0;
    int64_t first = number_of(from), last = number_of(to);
    first = first < 0 ? first + count : first;
    last = last < 0 ? last + count : last;
    first = first < 0 ? 0 : first;
    last = last >= count ? count - 1 : last;
    *ret_begin = (size_t)first;
    *ret_end = last < first ? (size_t)first : (size_t)last + 1;
}

static void do_lrange(struct sim_redis *redis, const struct str *words, size_t count,
                      struct sim_answer *ret)
{
    struct item *item = find(redis, words[1]);
    size_t begin, end;
    (void)count;
    range(item, words[2], words[3], &begin, &end);
    ret->kind = REDIS_LIST;
    ret->items = xcalloc(end - begin + 1, sizeof(*ret->items));
    for (size_t i = begin; i < end; i++)
        sim_answer_text(&ret->items[ret->count++], item->texts[i]);
}

static void do_rpush(struct sim_redis *redis, const struct str *words, size_t count,
                     struct sim_answer *ret)
{
    struct item *item = find_or_make(redis, words[1], LIST);
    for (size_t i = 2; i < count; i++)
        item_push(item, words[i]);
    answer_number(ret, (int64_t)item->count);
}

static void do_ltrim(struct sim_redis *redis, const struct str *words, size_t count,
                     struct sim_answer *ret)
{
    struct item *item = find(redis, words[1]);
    size_t begin, end, kept = 0;
    (void)count;
    answer_ok(ret);
    if (!item)
        return;
    range(item, words[2], words[3], &begin, &end);
    for (size_t i = 0; i < item->count; i++) {
        if (i >= begin && i < end)
            item->texts[kept++] = item->texts[i];
        else
            free((char *)(uintptr_t)item->texts[i].data);
    }
    item->count = kept;
    if (!kept)
        item_free(redis, item);
}

static void do_lindex(struct sim_redis *redis, const struct str *words, size_t count,
                      struct sim_answer *ret)
{
    struct item *item = find(redis, words[1]);
    int64_t at = number_of(words[2]);
    (void)count;
    if (item && at < 0)
        at += (int64_t)item->count;
    if (item && at >= 0 && at < (int64_t)item->count)
        sim_answer_text(ret, item->texts[at]);
}

static void do_llen(struct sim_redis *redis, const struct str *words, size_t count,
                    struct sim_answer *ret)
{
    struct item *item = find(redis, words[1]);
    (void)count;
    answer_number(ret, item ? (int64_t)item->count : 0);
}

static void do_expire(struct sim_redis *redis, const struct str *words, size_t count,
                      struct sim_answer *ret)
{
    struct item *item = find(redis, words[1]);
    (void)count;
    if (item)
        item->expires_us = redis->sim->now_us + number_of(words[2]) * 1000000;
    answer_number(ret, item != NULL);
}

static void do_pexpire(struct sim_redis *redis, const struct str *words, size_t count,
                       struct sim_answer *ret)
{
    struct item *item = find(redis, words[1]);
    (void)count;
    if (item)
        item->expires_us = redis->sim->now_us + number_of(words[2]) * 1000;
    answer_number(ret, item != NULL);
}

/* Where the value of a field is; its item's count: nowhere. */
static size_t value_at(const struct item *item, struct str field)
{
    size_t at = 0;
    while (at < item->count && !str_eq(item->texts[at], field))
        at += 2;
    return at < item->count ? at + 1 : at;
}

static void do_hget(struct sim_redis *redis, const struct str *words, size_t count,
                    struct sim_answer *ret)
{
    struct item *item = find(redis, words[1]);
    size_t at = item ? value_at(item, words[2]) : 0;
    (void)count;
    if (item && at < item->count)
        sim_answer_text(ret, item->texts[at]);
}

/* Whether the field is new. */
static bool put_field(struct item *item, struct str field, struct str value)
{
    size_t at = value_at(item, field);
    if (at == item->count) {
        item_push(item, field);
        item_push(item, value);
        return true;
    }
    free((char *)(uintptr_t)item->texts[at].data);
    item->texts[at] = str_from(xstrndup(value), value.len);
    return false;
}

static void do_hset(struct sim_redis *redis, const struct str *words, size_t count,
                    struct sim_answer *ret)
{
    struct item *item = find_or_make(redis, words[1], HASH);
    int64_t fresh = 0;
    for (size_t i = 2; i + 1 < count; i += 2)
        fresh += put_field(item, words[i], words[i + 1]);
    answer_number(ret, fresh);
}

static void do_hgetall(struct sim_redis *redis, const struct str *words, size_t count,
                       struct sim_answer *ret)
{
    struct item *item = find(redis, words[1]);
    (void)count;
    ret->kind = REDIS_LIST;
    if (!item)
        return;
    ret->items = xcalloc(item->count, sizeof(*ret->items));
    for (size_t i = 0; i < item->count; i++)
        sim_answer_text(&ret->items[ret->count++], item->texts[i]);
}

static void do_hincrby(struct sim_redis *redis, const struct str *words, size_t count,
                       struct sim_answer *ret)
{
    if (str_is(words[3], "-0")) { /* what Lua makes of minus nothing, and Redis does not take */
        sim_answer_fail(ret, "ERR value is not an integer or out of range");
        return;
    }
    struct item *item = find_or_make(redis, words[1], HASH);
    size_t at = value_at(item, words[2]);
    int64_t number = number_of(words[3]) + (at < item->count ? number_of(item->texts[at]) : 0);
    char text[24];
    (void)count;
    snprintf(text, sizeof(text), "%lld", (long long)number);
    put_field(item, words[2], str_of(text));
    answer_number(ret, number);
}

static void do_hdel(struct sim_redis *redis, const struct str *words, size_t count,
                    struct sim_answer *ret)
{
    struct item *item = find(redis, words[1]);
    int64_t gone = 0;
    for (size_t i = 2; item && i < count; i++) {
        size_t at = value_at(item, words[i]);
        if (at == item->count)
            continue;
        free((char *)(uintptr_t)item->texts[at - 1].data);
        free((char *)(uintptr_t)item->texts[at].data);
        item->count -= 2;
        item->texts[at - 1] = item->texts[item->count];
        item->texts[at] = item->texts[item->count + 1];
        gone++;
    }
    if (item && !item->count)
        item_free(redis, item);
    answer_number(ret, gone);
}

/* The wall clock, in seconds and microseconds. */
static void do_time(struct sim_redis *redis, const struct str *words, size_t count,
                    struct sim_answer *ret)
{
    char text[24];
    int64_t now_us = redis->sim->now_us + SIM_WALL_MS * 1000;
    (void)words, (void)count;
    ret->kind = REDIS_LIST;
    ret->items = xcalloc(2, sizeof(*ret->items));
    snprintf(text, sizeof(text), "%lld", (long long)(now_us / 1000000));
    sim_answer_text(&ret->items[ret->count++], str_of(text));
    snprintf(text, sizeof(text), "%lld", (long long)(now_us % 1000000));
    sim_answer_text(&ret->items[ret->count++], str_of(text));
}

/* XADD key MAXLEN ~ most * field value ..; an entry is one text: fields and values, blanks between.
 */
static void do_xadd(struct sim_redis *redis, const struct str *words, size_t count,
                    struct sim_answer *ret)
{
    struct item *item = find_or_make(redis, words[1], STREAM);
    struct buf entry;
    must(count >= 8 && count % 2 == 0 && str_is(words[2], "MAXLEN") && str_is(words[5], "*"));
    buf_init(&entry, SIM_TEXT_MAX);
    for (size_t i = 6; i < count; i++) {
        buf_add_str(&entry, words[i]);
        if (i + 1 < count)
            buf_add_char(&entry, ' ');
    }
    item_push(item, buf_str(&entry));
    buf_done(&entry);
    sim_answer_text(ret, STR("1-1"));
}

static void do_publish(struct sim_redis *redis, const struct str *words, size_t count,
                       struct sim_answer *ret)
{
    (void)count;
    answer_number(ret, (int64_t)sim_redis_publish(redis, words[1], words[2]));
}

static const struct command {
    const char *name;
    size_t words_min;
    void (*run)(struct sim_redis *redis, const struct str *words, size_t count,
                struct sim_answer *ret);
    enum kind_of_key kind;
} commands[] = {
    {"GET", 2, do_get, STRING},       {"SET", 3, do_set, ANY},
    {"DEL", 2, do_del, ANY},          {"LRANGE", 4, do_lrange, LIST},
    {"RPUSH", 3, do_rpush, LIST},     {"LTRIM", 4, do_ltrim, LIST},
    {"LINDEX", 3, do_lindex, LIST},   {"LLEN", 2, do_llen, LIST},
    {"EXPIRE", 3, do_expire, ANY},    {"PUBLISH", 3, do_publish, ANY},
    {"HGET", 3, do_hget, HASH},       {"HSET", 4, do_hset, HASH},
    {"HINCRBY", 4, do_hincrby, HASH}, {"HDEL", 3, do_hdel, HASH},
    {"PEXPIRE", 3, do_pexpire, ANY},  {"TIME", 1, do_time, ANY},
    {"XADD", 8, do_xadd, STREAM},     {"HGETALL", 2, do_hgetall, HASH},
};

static bool is_of_kind(struct sim_redis *redis, const struct command *command, struct str key)
{
    const struct item *item = command->kind == ANY ? NULL : find(redis, key);
    return !item || item->kind == command->kind;
}

void sim_redis_command(struct sim_redis *redis, const struct str *words, size_t count,
                       struct sim_answer *ret)
{
    *ret = (struct sim_answer){.kind = REDIS_NIL};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!str_eq_nocase(words[0], str_of(commands[i].name)))
            continue;
        must(count >= commands[i].words_min);
        if (count < 2 || is_of_kind(redis, &commands[i], words[1]))
            commands[i].run(redis, words, count, ret);
        else
            sim_answer_fail(ret,
                            "WRONGTYPE Operation against a key holding the wrong kind of value");
        return;
    }
    must_not_reach("a Redis command that the simulation knows");
}

/* What scenes do and see */

struct str sim_redis(struct sim *sim, const char *const *words)
{
    struct str list[16], text = {0};
    size_t count = 0;
    struct sim_answer answer;
    for (; words[count]; count++)
        list[count] = str_of(words[count]);
    sim_redis_command(sim->redis, list, count, &answer);
    const struct sim_answer *first = answer.count ? &answer.items[0] : &answer;
    if (first->kind == REDIS_TEXT)
        text = arena_str(&sim->arena, str_from(first->text, first->len));
    sim_answer_done(&answer);
    return text;
}

void sim_redis_set(struct sim *sim, const char *key, struct str value)
{
    const struct str words[] = {STR("SET"), str_of(key), value};
    struct sim_answer answer;
    sim_redis_command(sim->redis, words, 3, &answer);
    sim_answer_done(&answer);
}

struct str sim_redis_entry(struct sim *sim, const char *key, size_t index)
{
    const struct item *item = find(sim->redis, str_of(key));
    return item && index < item->count ? arena_str(&sim->arena, item->texts[index]) : STR("");
}

struct counting {
    const char *part;
    size_t count;
};

static void count_key(struct map_node *node, void *context)
{
    struct counting *counting = context;
    counting->count += strstr(container_of(node, struct item, node)->key, counting->part) != NULL;
}

size_t sim_redis_keys(struct sim *sim, const char *part)
{
    struct counting counting = {part, 0};
    map_each(&sim->redis->keys, count_key, &counting);
    return counting.count;
}

void sim_redis_latency_ms(struct sim *sim, int64_t ms)
{
    sim->redis->latency_us = ms ? ms * 1000 : LATENCY_US;
}

void sim_redis_connect_ms(struct sim *sim, int64_t ms)
{
    sim->redis->connect_us = ms ? ms * 1000 : CONNECT_US;
}

void sim_redis_deaf(struct sim *sim, bool deaf)
{
    sim->redis->deaf = deaf;
}
