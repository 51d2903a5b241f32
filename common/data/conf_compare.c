/*
 * conf_compare.c -- two loaded structs side by side (reload), and the secrets of one.
 *
 * Values are compared by the text they would be written as, so a new type needs nothing here.
 */
#include "common/data/conf.h"
#include "common/data/conf_value.h"

enum { TEXT_BYTES_MAX = 4 << 20 };

static void write_whole(const struct conf_row *row, const void *target, struct buf *ret)
{
    const struct conf_props *props = conf_member_const(row, target);
    const struct conf_items *items = conf_member_const(row, target);

    if (row->type == CONF_PROPS) {
        for (size_t i = 0; i < props->count; i++)
            buf_printf(ret, STR_FMT "=" STR_FMT "\n", STR_ARG(props->keys[i]),
                       STR_ARG(props->values[i]));
        return;
    }
    if (row->type != CONF_ITEMS) {
        conf_value_write(row, target, ret);
        buf_add_char(ret, '\n');
        return;
    }
    for (size_t i = 0; i < items->count; i++)
        for (const struct conf_row *inner = row->items; inner->key; inner++)
            write_whole(inner, (const char *)items->items + i * row->item_size, ret);
}

static bool differs(const struct conf_row *row, const void *old, const void *new)
{
    struct buf before, after;

    buf_init(&before, TEXT_BYTES_MAX);
    buf_init(&after, TEXT_BYTES_MAX);
    write_whole(row, old, &before);
    write_whole(row, new, &after);
    bool different = !str_eq(buf_str(&before), buf_str(&after));
    buf_done(&before);
    buf_done(&after);
    return different;
}

struct str conf_fixed_changes(const struct conf_row *rows, const void *old, const void *new,
                              struct arena *arena)
{
    struct str names = STR("");

    for (const struct conf_row *row = rows; row->key; row++) {
        if (row->reloadable || !differs(row, old, new))
            continue;
        names =
            arena_printf(arena, STR_FMT "%s%s", STR_ARG(names), names.len ? ", " : "", row->key);
    }
    return names;
}

static void copy_strs(struct str **items, size_t count, struct arena *arena)
{
    struct str *copy = arena_array(arena, struct str, count + 1);

    for (size_t i = 0; i < count; i++)
        copy[i] = arena_str(arena, (*items)[i]);
    *items = copy;
}

static void copy_member(const struct conf_row *row, const void *from, void *to,
                        struct arena *arena);

static void copy_items(const struct conf_row *row, struct conf_items *items, struct arena *arena)
{
    const char *from = items->items;
    char *to = arena_zalloc(arena, (items->count + 1) * row->item_size);

    for (size_t i = 0; i < items->count; i++)
        for (const struct conf_row *inner = row->items; inner->key; inner++)
            copy_member(inner, from + i * row->item_size, to + i * row->item_size, arena);
    items->items = to;
}

static void copy_member(const struct conf_row *row, const void *from, void *to, struct arena *arena)
{
    void *member = conf_member(row, to);
    const void *old = conf_member_const(row, from);
    struct conf_props *props = member;
    struct conf_strs *strs = member;

    switch (row->type) {
    case CONF_STR:
    case CONF_SECRET:
    case CONF_ENUM:
        *(struct str *)member = arena_str(arena, *(const struct str *)old);
        break;
    case CONF_INT:
    case CONF_BYTES:
    case CONF_DURATION:
        *(int64_t *)member = *(const int64_t *)old;
        break;
    case CONF_REAL:
        *(double *)member = *(const double *)old;
        break;
    case CONF_BOOL:
        *(bool *)member = *(const bool *)old;
        break;
    case CONF_STRS:
    case CONF_SECRETS:
        *strs = *(const struct conf_strs *)old;
        copy_strs(&strs->items, strs->count, arena);
        break;
    case CONF_PROPS:
        *props = *(const struct conf_props *)old;
        copy_strs(&props->keys, props->count, arena);
        copy_strs(&props->values, props->count, arena);
        break;
    case CONF_ITEMS:
        *(struct conf_items *)member = *(const struct conf_items *)old;
        copy_items(row, member, arena);
        break;
    }
}

void conf_keep_fixed(const struct conf_row *rows, const void *old, void *new, struct arena *arena)
{
    for (const struct conf_row *row = rows; row->key; row++)
        if (!row->reloadable)
            copy_member(row, old, new, arena);
}

/* The password inside of a URL or of libpq's key=value form shows up alone in messages of others.
 */
static struct str password_part(struct str secret)
{
    static const char word[] = "password=";
    size_t scheme = str_index(secret, ':');
    struct str rest = str_slice(secret, scheme, secret.len);

    if (str_starts(rest, STR("://"))) {
        rest = str_slice(rest, 3, rest.len);
        struct str user = str_slice(rest, 0, str_index(rest, '@'));
        size_t colon = str_index(user, ':');
        return user.len < rest.len && colon < user.len ? str_slice(user, colon + 1, user.len)
                                                       : (struct str){NULL, 0};
    }
    for (size_t i = 0; i + sizeof(word) - 1 < secret.len; i++) {
        rest = str_slice(secret, i, secret.len);
        if (!str_starts(rest, str_of(word)))
            continue;
        rest = str_slice(rest, sizeof(word) - 1, rest.len);
        bool quoted = rest.data[0] == '\'';
        rest = str_slice(rest, quoted ? 1 : 0, rest.len);
        return str_slice(rest, 0, str_index(rest, quoted ? '\'' : ' '));
    }
    return (struct str){NULL, 0};
}

static void each_of_secret(struct str secret, void (*each)(struct str secret, void *context),
                           void *context)
{
    struct str part = password_part(secret);

    each(secret, context);
    if (!str_empty(part))
        each(part, context);
}

void conf_each_secret(const struct conf_row *rows, const void *target,
                      void (*each)(struct str secret, void *context), void *context)
{
    for (const struct conf_row *row = rows; row->key; row++) {
        const void *member = conf_member_const(row, target);
        const struct conf_props *props = member;
        const struct conf_items *items = member;
        const struct conf_strs *strs = member;
        for (size_t i = 0; row->type == CONF_SECRETS && i < strs->count; i++)
            each_of_secret(strs->items[i], each, context);
        if (row->type == CONF_SECRET && !str_empty(*(const struct str *)member))
            each_of_secret(*(const struct str *)member, each, context);
        for (size_t i = 0; row->type == CONF_PROPS && i < props->count; i++)
            if (conf_is_secret_name(props->keys[i]) && !str_empty(props->values[i]))
                each(props->values[i], context);
        for (size_t i = 0; row->type == CONF_ITEMS && i < items->count; i++)
            conf_each_secret(row->items, (const char *)items->items + i * row->item_size, each,
                             context);
    }
}
