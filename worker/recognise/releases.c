/*
 * releases.c -- see releases.h; the script is schemas/lua/release.lua, which looks whose the claim
 * is before it drops it.
 */
#include "worker/recognise/releases.h"

#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/xalloc.h"

struct releases {
    struct worker *worker;
    struct str incarnation;
    struct map by_key;
    struct list all;
    bool full_told;
};

struct release {
    struct map_node key_node; /* unlinked: forgotten while under way */
    struct list_node node;
    struct releases *releases;
    int64_t lapses_ms;
    unsigned holds;
    bool wanted, under_way; /* the claim is given back; and Redis is being told so */
    char key[];
};

static void release_free(struct release *release)
{
    map_remove(&release->releases->by_key, &release->key_node);
    list_remove(&release->releases->all, &release->node);
    free(release);
}

static void free_if_done(struct release *release)
{
    if (!release->wanted && !release->holds && !release->under_way)
        release_free(release);
}

static void told(const struct redis_reply *reply, void *context)
{
    struct release *release = context;
    release->under_way = false;
    bool answered = reply && reply->kind == REDIS_NUMBER;
    if (answered || !release->key_node.linked)
        release->wanted = false;
    free_if_done(release);
}

static void say(struct releases *releases, struct str key, redis_done *done, void *context)
{
    struct worker *worker = releases->worker;
    const struct str words[] = {key, str_of(worker->instance), releases->incarnation};
    redis_script_ask(worker->redis, worker->script_release, 1, words, 3, done, context);
}

static void say_if_due(struct release *release)
{
    if (!release->wanted || release->holds || release->under_way)
        return;
    release->under_way = true;
    say(release->releases, str_of(release->key), told, release);
}

static struct release *release_new(struct releases *releases, struct str key)
{
    struct release *release = xzalloc(sizeof(*release) + key.len + 1);
    release->releases = releases;
    memcpy(release->key, key.data, key.len);
    map_add(&releases->by_key, &release->key_node, str_from(release->key, key.len));
    list_append(&releases->all, &release->node);
    return release;
}

static bool is_full(struct releases *releases)
{
    bool full = releases->all.count >= RELEASES_MAX;
    if (full && !releases->full_told)
        log_warn("too many claims wait for Redis to take them back; further ones are given back"
                 " once, and if that is lost, they are waited for until their request's deadline",
                 LOG_I("waiting", RELEASES_MAX));
    releases->full_told = full;
    return full;
}

static struct release *find(const struct releases *releases, struct str claim_key)
{
    struct map_node *node = map_find(&releases->by_key, claim_key);
    return node ? container_of(node, struct release, key_node) : NULL;
}

/* NULL: there are too many. */
static struct release *find_or_new(struct releases *releases, struct str claim_key)
{
    struct release *release = find(releases, claim_key);
    if (release || is_full(releases))
        return release;
    return release_new(releases, claim_key);
}

void releases_give(struct releases *releases, struct str claim_key, int64_t lapses_ms)
{
    struct release *release = find_or_new(releases, claim_key);
    if (!release) {
        say(releases, claim_key, NULL, NULL);
        return;
    }
    release->lapses_ms = lapses_ms;
    release->wanted = true;
    say_if_due(release);
}

bool releases_hold(struct releases *releases, struct str claim_key)
{
    struct release *release = find_or_new(releases, claim_key);
    if (release)
        release->holds++;
    return release != NULL;
}

void releases_let(struct releases *releases, struct str claim_key)
{
    struct release *release = find(releases, claim_key);
    if (!release || !release->holds)
        return;
    release->holds--;
    say_if_due(release);
    free_if_done(release);
}

void releases_let_all(struct releases *releases)
{
    LIST_EACH(&releases->all, node)
    {
        struct release *release = container_of(node, struct release, node);
        release->holds = 0;
        say_if_due(release);
    }
}

void releases_forget(struct releases *releases, struct str claim_key)
{
    struct release *release = find(releases, claim_key);
    if (!release)
        return;
    release->wanted = false;
    if (release->under_way) { /* its answer is about the claim as it was */
        map_remove(&releases->by_key, &release->key_node);
        release->holds = 0;
    }
    free_if_done(release);
}

void releases_repeat(struct releases *releases)
{
    int64_t now_ms = loop_now_ms(releases->worker->loop);
    LIST_EACH(&releases->all, node)
    {
        struct release *release = container_of(node, struct release, node);
        if (release->wanted && now_ms >= release->lapses_ms)
            release->wanted = false;
        say_if_due(release);
        free_if_done(release);
    }
}

struct releases *releases_new(struct worker *worker, struct str incarnation)
{
    struct releases *releases = xzalloc(sizeof(*releases));
    releases->worker = worker;
    releases->incarnation = incarnation;
    map_init(&releases->by_key);
    list_init(&releases->all);
    return releases;
}

void releases_free(struct releases *releases)
{
    if (!releases)
        return;
    for (struct list_node *node; (node = list_first(&releases->all));)
        release_free(container_of(node, struct release, node));
    map_done(&releases->by_key);
    free(releases);
}
