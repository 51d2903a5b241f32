/*
 * redis_keys.c -- fills the patterns of schemas/redis.def.
 *
 * A run of capital letters in a pattern is a part; parts are given in the order in which the
 * pattern names them. The bytes are counted before they are written, so a key is one piece of the
 * arena, a little too large by the names of the parts.
 */
#include "common/contract/redis_keys.h"
#include "common/base/plant.h"

#include "common/base/must.h"

enum { PARTS_MAX = 3 };

struct key_row {
    const char *pattern;
    int64_t lifetime_s;
};

static const struct key_row rows[REDIS_KEY_COUNT] = {
#define REDIS_KEY(name, pattern, lifetime_s, sentence) [REDIS_KEY_##name] = {pattern, lifetime_s},
#include "schemas/redis.def"
#undef REDIS_KEY
};

static struct str fill(struct arena *arena, struct str prefix, enum redis_key key,
                       const struct str *parts, size_t part_count);

struct str redis_key_conversation(struct arena *arena, struct str prefix, struct str tenant,
                                  struct str session)
{
    const struct str parts[] = {tenant, PLANTED(17) ? tenant : session};
    return fill(arena, prefix, REDIS_KEY_CONVERSATION, parts, 2);
}

struct str redis_key_claim(struct arena *arena, struct str prefix, struct str tenant, struct str id,
                           int slot)
{
    char number[STR_I64_MAX];
    const struct str parts[] = {tenant, id, str_i64(slot, number)};
    return fill(arena, prefix, REDIS_KEY_CLAIM, parts, 3);
}

struct str redis_key_kept(struct arena *arena, struct str prefix, struct str tenant, struct str id,
                          int slot)
{
    char number[STR_I64_MAX];
    const struct str parts[] = {tenant, id, str_i64(slot, number)};
    return fill(arena, prefix, REDIS_KEY_KEPT, parts, 3);
}

struct str redis_key_done(struct arena *arena, struct str prefix, struct str tenant, struct str id)
{
    const struct str parts[] = {tenant, id};
    return fill(arena, prefix, REDIS_KEY_DONE, parts, 2);
}

struct str redis_key_cancelled(struct arena *arena, struct str prefix, struct str tenant,
                               struct str id)
{
    const struct str parts[] = {tenant, id};
    return fill(arena, prefix, REDIS_KEY_CANCELLED, parts, 2);
}

struct str redis_key_chunks(struct arena *arena, struct str prefix, struct str tenant,
                            struct str id)
{
    const struct str parts[] = {tenant, id};
    return fill(arena, prefix, REDIS_KEY_CHUNKS, parts, 2);
}

struct str redis_key_alive(struct arena *arena, struct str prefix, struct str instance)
{
    return fill(arena, prefix, REDIS_KEY_ALIVE, &instance, 1);
}

struct str redis_key_limit(struct arena *arena, struct str prefix, struct str limit)
{
    return fill(arena, prefix, REDIS_KEY_LIMIT, &limit, 1);
}

struct str redis_key_members(struct arena *arena, struct str prefix, struct str group)
{
    return fill(arena, prefix, REDIS_KEY_MEMBERS, &group, 1);
}

struct str redis_key_doctor(struct arena *arena, struct str prefix, struct str name)
{
    return fill(arena, prefix, REDIS_KEY_DOCTOR, &name, 1);
}

int64_t redis_key_lifetime_s(enum redis_key key)
{
    must(key < REDIS_KEY_COUNT);
    return rows[key].lifetime_s;
}

static bool is_capital(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool needs_escape(unsigned char c)
{
    return c < 0x20 || c == 0x7f || c == ':' || c == '{' || c == '}' || c == '%';
}

static size_t escaped_len(struct str part)
{
    size_t len = part.len;
    for (size_t i = 0; i < part.len; i++)
        len += needs_escape((unsigned char)part.data[i]) ? 2 : 0;
    return len;
}

static char *escape(struct str part, char *to)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < part.len; i++) {
        unsigned char c = (unsigned char)part.data[i];
        if (!needs_escape(c)) {
            *to++ = (char)c;
            continue;
        }
        *to++ = '%';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    return to;
}

/* Most parts have nothing to escape. */
static char *put_part(struct str part, size_t len, char *to)
{
    if (len != part.len)
        return escape(part, to);
    if (len)
        memcpy(to, part.data, len);
    return to + len;
}

static char *write_pattern(const char *pattern, const struct str *parts, const size_t *lens,
                           size_t part_count, char *to)
{
    size_t part = 0;
    while (*pattern) {
        if (!is_capital(*pattern)) {
            *to++ = *pattern++;
            continue;
        }
        while (is_capital(*pattern))
            pattern++;
        must(part < part_count);
        to = put_part(parts[part], lens[part], to);
        part++;
    }
    must(part == part_count);
    return to;
}

static struct str fill(struct arena *arena, struct str prefix, enum redis_key key,
                       const struct str *parts, size_t part_count)
{
    const char *pattern = rows[key].pattern;
    size_t lens[PARTS_MAX], room = prefix.len + strlen(pattern);
    must(part_count <= PARTS_MAX);
    for (size_t i = 0; i < part_count; i++)
        room += lens[i] = escaped_len(parts[i]);
    char *text = arena_alloc(arena, room + 1), *at = text;
    if (prefix.len)
        memcpy(at, prefix.data, prefix.len);
    at = write_pattern(pattern, parts, lens, part_count, at + prefix.len);
    *at = '\0';
    return str_from(text, (size_t)(at - text));
}
