/*
 * members.c -- see members.h.
 */
#include "worker/intake/members.h"

#include <string.h>

/* ---- JSON ---- */

int json_peek(struct view *v)
{
    while (v->at < v->end && (*v->at == ' ' || *v->at == '\n' || *v->at == '\t' || *v->at == '\r'))
        v->at++;
    return v->at < v->end ? *v->at : -1;
}

static bool json_take(struct view *v, char c)
{
    if (json_peek(v) != c)
        return false;
    v->at++;
    return true;
}

bool json_string(struct view *v, struct str *ret)
{
    if (!json_take(v, '"'))
        return false;
    const unsigned char *from = v->at;
    for (const unsigned char *p = from; p < v->end; p++) {
        p = memchr(p, '"', (size_t)(v->end - p));
        if (!p)
            return false;
        const unsigned char *slash = p;
        while (slash > from && slash[-1] == '\\')
            slash--;
        if ((p - slash) % 2)
            continue;
        v->at = p + 1;
        *ret = str_from((const char *)from, (size_t)(p - from));
        return true;
    }
    return false;
}

bool json_skip(struct view *v)
{
    struct str text;
    int depth = 0;
    do {
        int c = json_peek(v);
        if (c == '"') {
            if (!json_string(v, &text))
                return false;
            continue;
        }
        if (c < 0)
            return false;
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        v->at++;
        if (depth == 0 && c != '}' && c != ']') /* a number or a word */
            while (v->at < v->end && !strchr(",]} \n\t\r", *v->at))
                v->at++;
    } while (depth > 0);
    return depth == 0;
}

bool json_members(struct view *v, members_each *each, void *context)
{
    if (!json_take(v, '{'))
        return false;
    if (json_take(v, '}'))
        return true;
    do {
        struct str name;
        if (!json_string(v, &name) || !json_take(v, ':') || !each(v, name, context))
            return false;
    } while (json_take(v, ','));
    return json_take(v, '}');
}

/* ---- MessagePack ---- */

static bool pack_number(struct view *v, unsigned bytes, uint64_t *ret)
{
    if ((size_t)(v->end - v->at) < bytes)
        return false;
    *ret = 0;
    for (unsigned i = 0; i < bytes; i++)
        *ret = *ret << 8 | *v->at++;
    return true;
}

/* The heads whose length or value stands in bytes of its own: 0xc0 to 0xdf. */
static bool pack_long_head(struct view *v, struct pack_head *ret)
{
    static const unsigned char width[32] = {0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 0, 0, 1, 2, 4, 8,
                                            0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};
    static const unsigned char fixed[32] = {
        [0x07] = 1, [0x08] = 1, [0x09] = 1, [0x0a] = 4, [0x0b] = 8, [0x10] = 1, [0x11] = 2,
        [0x12] = 4, [0x13] = 8, [0x14] = 2, [0x15] = 3, [0x16] = 5, [0x17] = 9, [0x18] = 17};
    unsigned kind = ret->tag - 0xc0u;
    if (ret->tag == 0xc1 || !pack_number(v, width[kind], &ret->number))
        return false;
    bool is_list = kind == 0x1c || kind == 0x1d;
    ret->is_map = kind == 0x1e || kind == 0x1f;
    ret->is_text = kind >= 0x19 && kind <= 0x1b;
    ret->is_int = kind >= 0x0c && kind <= 0x0f;
    ret->values = ret->is_map ? ret->number * 2 : is_list ? ret->number : 0;
    ret->bytes = fixed[kind];
    if (ret->is_text || (kind >= 0x04 && kind <= 0x09)) /* texts, bytes, extensions */
        ret->bytes += ret->number;
    return true;
}

bool pack_head(struct view *v, struct pack_head *ret)
{
    *ret = (struct pack_head){0};
    if (v->at >= v->end)
        return false;
    unsigned char tag = ret->tag = *v->at++;
    if (tag >= 0xc0 && tag < 0xe0)
        return pack_long_head(v, ret) && ret->bytes <= (uint64_t)(v->end - v->at);
    ret->is_int = tag < 0x80;
    ret->is_map = (tag & 0xf0) == 0x80;
    ret->is_text = (tag & 0xe0) == 0xa0;
    ret->number = ret->is_int ? tag : ret->is_text ? tag & 0x1fu : tag & 0x0fu;
    ret->bytes = ret->is_text ? ret->number : 0;
    ret->values = ret->is_map ? ret->number * 2 : (tag & 0xf0) == 0x90 ? ret->number : 0;
    return ret->bytes <= (uint64_t)(v->end - v->at);
}

bool pack_skip(struct view *v)
{
    struct pack_head head;
    for (uint64_t left = 1; left > 0; left--) {
        if (!pack_head(v, &head) || head.values > (uint64_t)(v->end - v->at))
            return false;
        v->at += head.bytes;
        left += head.values;
    }
    return true;
}

bool pack_text(struct view *v, struct str *ret)
{
    struct pack_head head;
    if (!pack_head(v, &head) || !head.is_text)
        return false;
    *ret = str_from((const char *)v->at, (size_t)head.bytes);
    v->at += head.bytes;
    return true;
}

bool pack_members(struct view *v, members_each *each, void *context)
{
    struct pack_head head;
    if (!pack_head(v, &head) || !head.is_map)
        return false;
    for (uint64_t i = 0; i < head.values / 2; i++) {
        struct str name;
        if (!pack_text(v, &name) || !each(v, name, context))
            return false;
    }
    return true;
}
