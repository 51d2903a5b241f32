/*
 * str.h -- a view of bytes: pointer and length, never owned, not NUL-terminated.
 *
 * A `struct str` is passed by value and is valid as long as what it points into. {NULL, 0} is
 * "absent", {"", 0} is "present and empty"; str_empty() is true for both.
 */
#ifndef QUERN_COMMON_BASE_STR_H
#define QUERN_COMMON_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *data;
    size_t len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_FMT      "%.*s"
#define STR_ARG(s)   (int)(s).len, (s).data ? (s).data : ""

static inline struct str str_of(const char *text)
{
    return text ? (struct str){text, strlen(text)} : (struct str){NULL, 0};
}

static inline struct str str_from(const void *data, size_t len)
{
    return (struct str){data, len};
}

static inline bool str_empty(struct str s)
{
    return s.len == 0;
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool str_is(struct str a, const char *text)
{
    return str_eq(a, str_of(text));
}

/* Bytewise order, shorter first when one is the other's beginning. */
int str_cmp(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* Index of the first `c`, or s.len. */
size_t str_index(struct str s, char c);
struct str str_slice(struct str s, size_t from, size_t to);
struct str str_trim(struct str s);
/* Cuts the part before the first `sep` off `*rest` and returns it; false when `*rest` is absent. */
bool str_split(struct str *rest, char sep, struct str *ret);
/* Whole string is one decimal number within the bounds; else false and `ret` untouched. */
bool str_to_i64(struct str s, int64_t min, int64_t max, int64_t *ret);
/* In decimal, written into the room. */
#define STR_I64_MAX 20
struct str str_i64(int64_t n, char room[STR_I64_MAX]);
bool str_to_f64(struct str s, double *ret);
/* Valid UTF-8 without surrogates and overlong forms (RFC 3629). NUL bytes are allowed. */
bool str_utf8_valid(struct str s);
/* Bytes of the valid code point that `s` begins with; 0 when there is none. */
size_t str_utf8_step(struct str s);
/* At most `max` bytes of `s`, cut at a code point's border. */
struct str str_utf8_cut(struct str s, size_t max);
/* Seeded 64-bit hash (seed drawn once per process, so that keys cannot be crafted to collide). */
uint64_t str_hash(struct str s);
void str_hash_seed_set(uint64_t seed); /* for tests, before the first map is filled */
/* Edit distance, capped at 64 bytes each; used for "did you mean". */
unsigned str_distance(struct str a, struct str b);

#endif
