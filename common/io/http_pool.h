/*
 * http_pool.h -- whose connections a call uses; private to the HTTP door.
 *
 * libcurl takes any kept connection to the same host, whatever key stands in a request's headers.
 * Connections belong to a multi handle, so a pool has shards of its own and nobody else's calls
 * come into them. A pool is told by its name, the version of HTTP and the certificate file.
 *
 * A shard of HTTP/2 takes as many calls as most servers allow on one connection, so it has one, and
 * a second one while the first is being given up. A server that allows fewer makes libcurl open
 * more.
 *
 * Pools come and go with keys: one that holds neither calls nor open shards is freed.
 */
#ifndef QUERN_COMMON_IO_HTTP_POOL_H
#define QUERN_COMMON_IO_HTTP_POOL_H

#include "common/base/map.h"
#include "common/io/http_client.h"

enum { HTTP_2_CALLS_PER_SHARD = 100 };

struct http_shards;
struct http_shard;

struct http_pool {
    struct map_node node;
    struct http_shards *set;
    enum http_version version;
    size_t calls_per_shard;
    struct http_shard **all;
    size_t count;
    size_t lowest;  /* no shard below has room */
    size_t holders; /* calls */
    size_t open;    /* shards with a multi handle */
    size_t key_len;
    char key[];
};

/* The version that is asked for: HTTP/1.1 without TLS. */
enum http_version http_version_of(const struct http_request *request);

/* The request's pool, made when there is none. Each hold is followed by one release. */
struct http_pool *http_pool_hold(struct http_shards *set, const struct http_request *request);
void http_pool_release(struct http_pool *pool); /* takes NULL */

/* The lowest-numbered shard with room; a new one when all are full. */
struct http_shard *http_pool_shard(struct http_pool *pool);
void http_pool_has_room(struct http_shard *shard);
/* One of its shards was closed. */
void http_pool_closed_one(struct http_pool *pool);

#endif
