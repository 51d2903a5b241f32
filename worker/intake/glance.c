/*
 * glance.c -- see glance.h.
 */
#include "worker/intake/glance.h"

#include "worker/intake/members.h"

static const struct glance nothing = {{NULL, 0}, INT_ABSENT, INT_ABSENT, INT_ABSENT};

void glance_parsed(const struct value *document, struct glance *ret)
{
    const struct value *body = contract_unwrap(document);
    const struct value *params = value_get_map(body, "params");
    *ret = nothing;
    ret->tenant = value_get_str(body, "tenant");
    ret->created_at = value_get_int(body, "created_at", INT_ABSENT);
    ret->deadline_ms = value_get_int(body, "deadline_ms", INT_ABSENT);
    if (params)
        ret->max_tokens = value_get_int(params, "max_tokens", INT_ABSENT);
}

/* ---- JSON ---- */

static bool has_escape(struct str s)
{
    return str_index(s, '\\') < s.len;
}

static bool json_int(struct view *v, int64_t *ret)
{
    json_peek(v);
    const char *from = (const char *)v->at;
    if (!json_skip(v))
        return false;
    struct str text = str_from(from, (size_t)((const char *)v->at - from));
    if (!str_to_i64(text, 0, INT64_MAX, ret))
        *ret = INT_ABSENT;
    return true;
}

static bool json_param(struct view *v, struct str name, void *context)
{
    struct glance *ret = context;
    if (has_escape(name))
        return false;
    return str_is(name, "max_tokens") ? json_int(v, &ret->max_tokens) : json_skip(v);
}

static bool json_member(struct view *v, struct str name, void *context)
{
    struct glance *ret = context;
    if (has_escape(name))
        return false;
    if (str_is(name, "tenant") && json_peek(v) == '"')
        return !ret->tenant.data && json_string(v, &ret->tenant) && !has_escape(ret->tenant);
    if (str_is(name, "created_at"))
        return json_int(v, &ret->created_at);
    if (str_is(name, "deadline_ms"))
        return json_int(v, &ret->deadline_ms);
    if (str_is(name, "params") && json_peek(v) == '{')
        return json_members(v, json_param, ret);
    return !str_is(name, "specversion") && json_skip(v);
}

/* ---- MessagePack ---- */

static bool pack_int(struct view *v, int64_t *ret)
{
    struct view ahead = *v;
    struct pack_head head;
    if (!pack_head(&ahead, &head))
        return false;
    if (head.is_int && head.number <= INT64_MAX)
        *ret = (int64_t)head.number;
    return pack_skip(v);
}

static bool pack_param(struct view *v, struct str name, void *context)
{
    struct glance *ret = context;
    return str_is(name, "max_tokens") ? pack_int(v, &ret->max_tokens) : pack_skip(v);
}

static bool pack_member(struct view *v, struct str name, void *context)
{
    struct glance *ret = context;
    if (str_is(name, "tenant"))
        return !ret->tenant.data && pack_text(v, &ret->tenant);
    if (str_is(name, "created_at"))
        return pack_int(v, &ret->created_at);
    if (str_is(name, "deadline_ms"))
        return pack_int(v, &ret->deadline_ms);
    if (str_is(name, "params"))
        return pack_members(v, pack_param, ret);
    return !str_is(name, "specversion") && pack_skip(v);
}

bool glance_at(struct str bytes, enum encoding encoding, struct glance *ret)
{
    struct view v = view_of(bytes);
    *ret = nothing;
    if (str_empty(bytes))
        return false;
    if (encoding == ENCODING_MSGPACK)
        return pack_members(&v, pack_member, ret);
    return json_members(&v, json_member, ret);
}
