/*
 * redis_keys.h -- the keys quern uses in Redis, and the scripts that run there.
 *
 * A key is its pattern of schemas/redis.def behind the prefix, with the parts in capitals filled
 * in. Each part is escaped (':' '{' '}' '%' and control characters become %XX), so two different
 * requests never share a key, and no part can move a key to another slot of a Redis Cluster. The
 * prefix is taken as it is. Keys live in the arena.
 *
 * The scripts are schemas/lua/<name>.lua, made into strings by the build; each file says what its
 * KEYS and ARGV are.
 *
 * To add a key: a row in redis.def and its function here. To add a script: the file, and its line
 * here.
 */
#ifndef QUERN_COMMON_CONTRACT_REDIS_KEYS_H
#define QUERN_COMMON_CONTRACT_REDIS_KEYS_H

#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/str.h"

enum redis_key {
#define REDIS_KEY(name, pattern, lifetime_s, sentence) REDIS_KEY_##name,
#include "schemas/redis.def"
#undef REDIS_KEY
    REDIS_KEY_COUNT
};

struct str redis_key_conversation(struct arena *arena, struct str prefix, struct str tenant,
                                  struct str session);
struct str redis_key_claim(struct arena *arena, struct str prefix, struct str tenant, struct str id,
                           int slot);
struct str redis_key_kept(struct arena *arena, struct str prefix, struct str tenant, struct str id,
                          int slot);
struct str redis_key_done(struct arena *arena, struct str prefix, struct str tenant, struct str id);
struct str redis_key_cancelled(struct arena *arena, struct str prefix, struct str tenant,
                               struct str id);
struct str redis_key_chunks(struct arena *arena, struct str prefix, struct str tenant,
                            struct str id);
struct str redis_key_alive(struct arena *arena, struct str prefix, struct str instance);
struct str redis_key_limit(struct arena *arena, struct str prefix, struct str limit);
struct str redis_key_members(struct arena *arena, struct str prefix, struct str group);
struct str redis_key_doctor(struct arena *arena, struct str prefix, struct str name);

/* Behind the prefix: the channel that is told of a cancelled request, as TENANT 0x1f ID. */
#define REDIS_CHANNEL_CANCEL "cancel"

/* How long a key of this kind lives, from its row; 0: as long as its writer says. */
int64_t redis_key_lifetime_s(enum redis_key key);

extern const char lua_claim[];
extern const char lua_hedge[];
extern const char lua_limit[];
extern const char lua_conversation[];
extern const char lua_members[];
extern const char lua_release[];
extern const char lua_settled[];
extern const char lua_steal[];

#endif
