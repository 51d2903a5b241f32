/*
 * str.c -- what can be asked of a view of bytes.
 *
 * Nothing here allocates or changes bytes. Every function takes absent strings; "letters" and
 * "space" are those of ASCII, whatever the locale says.
 */
#include "common/base/str.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/base/must.h"

#define DISTANCE_MAX 64 /* bytes of a name that str_distance() looks at */
#define NUMBER_MAX   127

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

int str_cmp(struct str a, struct str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    if (order)
        return order < 0 ? -1 : 1;
    return (a.len > b.len) - (a.len < b.len);
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    }
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_slice(s, 0, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_eq(str_slice(s, s.len - suffix.len, s.len), suffix);
}

size_t str_index(struct str s, char c)
{
    const char *found = s.len ? memchr(s.data, c, s.len) : NULL;
    return found ? (size_t)(found - s.data) : s.len;
}

struct str str_slice(struct str s, size_t from, size_t to)
{
    if (!s.data)
        return s;
    if (to > s.len)
        to = s.len;
    if (from > to)
        from = to;
    return (struct str){s.data + from, to - from};
}

struct str str_trim(struct str s)
{
    size_t from = 0;
    size_t to = s.len;
    while (from < to && is_space(s.data[from]))
        from++;
    while (to > from && is_space(s.data[to - 1]))
        to--;
    return str_slice(s, from, to);
}

bool str_split(struct str *rest, char sep, struct str *ret)
{
    struct str whole = *rest;
    if (!whole.data)
        return false;
    size_t at = str_index(whole, sep);
    *ret = str_slice(whole, 0, at);
    *rest = at < whole.len ? str_slice(whole, at + 1, whole.len) : (struct str){NULL, 0};
    return true;
}

/* Counts downwards, because the negative numbers reach one further than the positive ones. */
bool str_to_i64(struct str s, int64_t min, int64_t max, int64_t *ret)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    size_t at = negative ? 1 : 0;
    if (at == s.len)
        return false;
    int64_t value = 0;
    for (; at < s.len; at++) {
        if (!is_digit(s.data[at]) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, s.data[at] - '0', &value))
            return false;
    }
    if (!negative && __builtin_sub_overflow(0, value, &value))
        return false;
    if (value < min || value > max)
        return false;
    *ret = value;
    return true;
}

struct str str_i64(int64_t n, char room[STR_I64_MAX])
{
    size_t at = STR_I64_MAX;
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    do {
        room[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (n < 0)
        room[--at] = '-';
    return str_from(room + at, STR_I64_MAX - at);
}

/* Steps over digits; false when there is not one. */
static bool skip_digits(struct str s, size_t *at)
{
    size_t from = *at;
    while (*at < s.len && is_digit(s.data[*at]))
        ++*at;
    return *at > from;
}

/* [-] digits [. digits] [e [+-] digits]: what JSON calls a number, with leading zeros allowed. */
static bool is_number(struct str s)
{
    size_t at = s.len > 0 && s.data[0] == '-' ? 1 : 0;
    if (!skip_digits(s, &at))
        return false;
    if (at < s.len && s.data[at] == '.') {
        at++;
        if (!skip_digits(s, &at))
            return false;
    }
    if (at < s.len && lower(s.data[at]) == 'e') {
        at++;
        if (at < s.len && (s.data[at] == '-' || s.data[at] == '+'))
            at++;
        if (!skip_digits(s, &at))
            return false;
    }
    return at == s.len;
}

bool str_to_f64(struct str s, double *ret)
{
    if (s.len > NUMBER_MAX || !is_number(s))
        return false;
    char text[NUMBER_MAX + 1];
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    char *end;
    double value = strtod(text, &end);
    /* Not at the end: the program runs in a locale that writes numbers with a comma. */
    if (*end || !isfinite(value))
        return false;
    *ret = value;
    return true;
}

static bool is_continuation(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/*
 * The table 3-7 of the Unicode standard as code: the second byte has narrower bounds after E0 (no
 * overlong form), ED (no surrogates), F0 (no overlong form) and F4 (nothing above U+10FFFF).
 */
size_t str_utf8_step(struct str s)
{
    if (s.len == 0)
        return 0;
    const unsigned char *c = (const unsigned char *)s.data;
    if (c[0] < 0x80)
        return 1;
    size_t len = c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : c[0] < 0xf5 ? 4 : 0;
    if (len == 0 || len > s.len || !is_continuation(c[1]))
        return 0;
    if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
        (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (!is_continuation(c[i]))
            return 0;
    }
    return len;
}

bool str_utf8_valid(struct str s)
{
    size_t at = 0;
    while (at < s.len) {
        uint64_t eight;
        if (s.len - at >= sizeof(eight)) { /* most text is ASCII, eight bytes a time */
            memcpy(&eight, s.data + at, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof(eight);
                continue;
            }
        }
        size_t step = str_utf8_step(str_slice(s, at, s.len));
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

struct str str_utf8_cut(struct str s, size_t max)
{
    if (s.len <= max)
        return s;
    /* A code point has at most three continuation bytes; more of them are no text anyway. */
    size_t at = max;
    for (int i = 0; i < 3 && at > 0 && is_continuation((unsigned char)s.data[at]); i++)
        at--;
    if (is_continuation((unsigned char)s.data[at]))
        at = max;
    return str_slice(s, 0, at);
}

/*
 * SipHash-1-3: Aumasson, Bernstein, "SipHash: a fast short-input PRF" (2012), with one round per
 * word and three at the end, as hash tables use it elsewhere. The key is drawn before main(), so a
 * hash needs no test for it and no lock.
 */
static uint64_t hash_key[2];

__attribute__((constructor)) static void hash_key_draw(void)
{
    ssize_t got;
    do {
        got = getrandom(hash_key, sizeof(hash_key), 0);
    } while (got < 0 && errno == EINTR);
    must(got == (ssize_t)sizeof(hash_key));
}

void str_hash_seed_set(uint64_t seed)
{
    hash_key[0] = hash_key[1] = seed;
}

static inline uint64_t rotate_left(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate_left(v[1], 13) ^ v[0];
    v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] = rotate_left(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate_left(v[1], 17) ^ v[2];
    v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] = rotate_left(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* Words are taken in the machine's byte order: a hash never leaves the process. */
uint64_t str_hash(struct str s)
{
    uint64_t v[4] = {
        hash_key[0] ^ UINT64_C(0x736f6d6570736575),
        hash_key[1] ^ UINT64_C(0x646f72616e646f6d),
        hash_key[0] ^ UINT64_C(0x6c7967656e657261),
        hash_key[1] ^ UINT64_C(0x7465646279746573),
    };
    size_t whole = s.len & ~(size_t)7;
    uint64_t word;
    for (size_t at = 0; at < whole; at += 8) {
        memcpy(&word, s.data + at, 8);
        sip_word(v, word);
    }
    word = (uint64_t)s.len << 56;
    for (size_t i = 0; i < s.len - whole; i++)
        word |= (uint64_t)(unsigned char)s.data[whole + i] << (8 * i);
    sip_word(v, word);

    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Levenshtein's distance, one row of the table at a time. */
unsigned str_distance(struct str a, struct str b)
{
    a = str_slice(a, 0, DISTANCE_MAX);
    b = str_slice(b, 0, DISTANCE_MAX);
    unsigned row[DISTANCE_MAX + 1];
    for (unsigned j = 0; j <= b.len; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            unsigned change = diagonal + (a.data[i - 1] != b.data[j - 1]);
            unsigned gap = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            diagonal = row[j];
            row[j] = change < gap ? change : gap;
        }
    }
    return row[b.len];
}
