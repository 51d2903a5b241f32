/*
 * http_pool.c -- see http_pool.h.
 */
#include "common/io/http_pool.h"

#include <stdlib.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/http_shard.h"

enum { KEY_BYTES_MAX = 8192 };

static struct http_pool *pool_new(struct http_shards *set, struct str key,
                                  enum http_version version)
{
    struct http_pool *pool = xzalloc(sizeof(*pool) + key.len);
    pool->set = set;
    pool->version = version;
    pool->calls_per_shard = version == HTTP_2 ? HTTP_2_CALLS_PER_SHARD : set->calls_per_shard;
    pool->key_len = key.len;
    memcpy(pool->key, key.data, key.len);
    map_add(&set->pools, &pool->node, str_from(pool->key, key.len));
    return pool;
}

/* libcurl 7.88 cannot share a connection that speaks HTTP/2 without TLS: it begins the protocol
 * anew with each request. */
enum http_version http_version_of(const struct http_request *request)
{
    struct str scheme = STR("https:");
    bool tls = request->url.len > scheme.len &&
               str_eq_nocase(str_slice(request->url, 0, scheme.len), scheme);
    return tls ? request->version : HTTP_1_1;
}

/* Lengths tell where a part ends, so no two requests' parts make one key. */
struct http_pool *http_pool_hold(struct http_shards *set, const struct http_request *request)
{
    enum http_version version = http_version_of(request);
    char room[KEY_BYTES_MAX];
    const uint32_t numbers[] = {version, (uint32_t)request->ca_file.len};
    const struct str parts[] = {
        {(const char *)numbers, sizeof(numbers)}, request->ca_file, request->pool};
    struct str key = {room, 0};
    for (size_t i = 0; i < 3; i++) {
        if (parts[i].len > sizeof(room) - key.len)
            return NULL;
        if (parts[i].len)
            memcpy(room + key.len, parts[i].data, parts[i].len);
        key.len += parts[i].len;
    }
    struct map_node *node = map_find(&set->pools, key);
    struct http_pool *pool =
        node ? container_of(node, struct http_pool, node) : pool_new(set, key, version);
    pool->holders++;
    return pool;
}

static void free_if_unused(struct http_pool *pool)
{
    if (pool->holders || pool->open)
        return;
    map_remove(&pool->set->pools, &pool->node);
    for (size_t i = 0; i < pool->count; i++)
        free(pool->all[i]);
    free(pool->all);
    free(pool);
}

void http_pool_release(struct http_pool *pool)
{
    if (!pool)
        return;
    must(pool->holders > 0);
    pool->holders--;
    free_if_unused(pool);
}

void http_pool_closed_one(struct http_pool *pool)
{
    must(pool->open > 0);
    pool->open--;
    free_if_unused(pool);
}

static struct http_shard *shard_new(struct http_pool *pool)
{
    struct http_shard *shard = xzalloc(sizeof(*shard));
    shard->set = pool->set;
    shard->pool = pool;
    shard->number = pool->count;
    list_init(&shard->calls);
    list_init(&shard->waiting);
    pool->all = xrealloc(pool->all, (pool->count + 1) * sizeof(struct http_shard *));
    pool->all[pool->count++] = shard;
    return shard;
}

static bool is_full(const struct http_shard *shard)
{
    return shard->calls.count + shard->waiting.count >= shard->pool->calls_per_shard;
}

struct http_shard *http_pool_shard(struct http_pool *pool)
{
    while (pool->lowest < pool->count && is_full(pool->all[pool->lowest]))
        pool->lowest++;
    return pool->lowest < pool->count ? pool->all[pool->lowest] : shard_new(pool);
}

void http_pool_has_room(struct http_shard *shard)
{
    if (shard->number < shard->pool->lowest)
        shard->pool->lowest = shard->number;
}
