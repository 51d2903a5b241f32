/*
 * salvage.c -- see salvage.h.
 *
 * A document that cannot be read as a whole is walked over (members.h), and each wanted member is
 * given to the parser by itself: a question that is no UTF-8, or that nests without end, is none of
 * them and is stepped over.
 */
#include "worker/intake/salvage.h"

#include "worker/intake/members.h"

/* Metadata of 64 KiB with six bytes for each of them. */
enum { MEMBER_BYTES_MAX = 512 * 1024, MEMBERS_MAX = 16 };

static const char *const fields[] = {
    "id", "tenant", "user", "session", "kind", "reply_to", "metadata", "created_at", "deadline_ms",
};
static const char *const event_attributes[] = {"specversion", "source", "type"};

static bool is_one_of(struct str name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_is(name, names[i]))
            return true;
    return false;
}

static bool is_field(struct str name)
{
    return is_one_of(name, fields, sizeof(fields) / sizeof(fields[0]));
}

static bool is_wanted(struct str name)
{
    return is_field(name) || is_one_of(name, event_attributes,
                                       sizeof(event_attributes) / sizeof(event_attributes[0]));
}

/* ---- bytes ---- */

struct walk_over {
    enum encoding encoding;
    struct arena *arena;
    struct value *kept;
    bool inside; /* the event's data */
};

static bool walk_members(struct view *v, struct walk_over *walk);

static bool skip(struct view *v, enum encoding encoding)
{
    return encoding == ENCODING_JSON ? json_skip(v) : pack_skip(v);
}

/* The first of a name that is given twice. */
static void keep(struct value *map, struct str name, const struct value *value)
{
    if (!value_get(map, name))
        value_map_add(map, name, *value);
}

static void keep_member(struct walk_over *walk, struct str name, struct str bytes)
{
    struct value value;
    struct err ignored;
    if (bytes.len <= MEMBER_BYTES_MAX && is_wanted(name) &&
        contract_parse(bytes, walk->encoding, walk->arena, &value, &ignored))
        keep(walk->kept, name, &value);
}

/* An event's request is a document inside the document. */
static bool keep_data(struct walk_over *walk, struct view *v)
{
    struct walk_over inner = *walk;
    inner.inside = true;
    inner.kept = value_map_new(walk->arena, MEMBERS_MAX);
    if (!walk_members(v, &inner))
        return false;
    keep(walk->kept, STR("data"), inner.kept);
    return true;
}

static bool member(struct view *v, struct str name, void *context)
{
    struct walk_over *walk = context;
    struct view ahead = *v;
    if (walk->encoding == ENCODING_JSON)
        json_peek(v);
    const unsigned char *from = v->at;
    if (!skip(v, walk->encoding))
        return false;
    if (!walk->inside && str_is(name, "data"))
        keep_data(walk, &ahead); /* else it is anything but a map: no event's request */
    else
        keep_member(walk, name, str_from((const char *)from, (size_t)(v->at - from)));
    return true;
}

static bool walk_members(struct view *v, struct walk_over *walk)
{
    return walk->encoding == ENCODING_JSON ? json_members(v, member, walk)
                                           : pack_members(v, member, walk);
}

bool salvage_document(struct str bytes, enum encoding encoding, struct arena *arena,
                      struct value *ret)
{
    struct view v = view_of(bytes);
    struct walk_over walk = {.encoding = encoding, .arena = arena};
    walk.kept = value_map_new(arena, MEMBERS_MAX);
    if (str_empty(bytes) || !walk_members(&v, &walk))
        return false;
    if (encoding == ENCODING_JSON)
        json_peek(&v); /* blanks behind it */
    if (v.at != v.end)
        return false;
    *ret = *walk.kept;
    return true;
}

/* ---- documents ---- */

static bool is_fit(struct str name, const struct value *value, struct arena *arena)
{
    struct request alone;
    struct err ignored;
    struct value *map = value_map_new(arena, 1);
    value_map_add(map, name, *value);
    return contract_read(&contract_request, map, arena, &alone, &ignored) &&
           request_check_names(&alone, &ignored);
}

void salvage_request(const struct value *document, struct arena *arena, struct request *ret)
{
    struct err ignored;
    struct value *kept = value_map_new(arena, MEMBERS_MAX);
    for (uint32_t i = 0; document->kind == VALUE_MAP && i < document->count; i++) {
        const struct value_pair *pair = &document->pairs[i];
        if (is_field(pair->key) && is_fit(pair->key, &pair->value, arena))
            keep(kept, pair->key, &pair->value);
    }
    contract_read(&contract_request, kept, arena, ret, &ignored);
}
