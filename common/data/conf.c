/*
 * conf.c -- tables, a file, the environment and flags become a struct; see conf.h.
 *
 * Each row is filled from the strongest source that names it: flag, environment, file, default.
 * What the file has and no row has looked at is an unknown key.
 */
#include "common/data/conf.h"

#include <ctype.h>
#include <math.h>

#include "common/base/must.h"
#include "common/data/conf_tree.h"
#include "common/data/conf_value.h"

enum { FILE_BYTES_MAX = 1 << 20, SECRET_FILE_BYTES_MAX = 65536, NAME_MAX_BYTES = 256 };

struct loader {
    const struct conf_source *source;
    struct arena *arena;
    struct err *err;
};

/* --- names --- */

/* kafka.bootstrap_servers -> QUERN_KAFKA__BOOTSTRAP_SERVERS */
static struct str environment_name(struct arena *arena, const char *prefix, struct str key)
{
    struct str name = arena_printf(arena, "%s", prefix);
    for (size_t i = 0; i < key.len; i++) {
        char c = key.data[i];
        name = c == '.' ? arena_printf(arena, STR_FMT "__", STR_ARG(name))
                        : arena_printf(arena, STR_FMT "%c", STR_ARG(name),
                                       isalnum((unsigned char)c) ? toupper((unsigned char)c) : '_');
    }
    return name;
}

static bool read_secret_file(struct loader *l, struct str path, const char *where, struct str *ret)
{
    if (!conf_file_read(arena_cstr(l->arena, path), SECRET_FILE_BYTES_MAX, l->arena, ret, l->err)) {
        err_prefix(l->err, "%s", where);
        return false;
    }
    while (ret->len && (ret->data[ret->len - 1] == '\n' || ret->data[ret->len - 1] == '\r'))
        ret->len--;
    return true;
}

/* NAME, NAME_FILE, and for secrets $CREDENTIALS_DIRECTORY/key. `ret` absent: none is set. */
static bool from_environment(struct loader *l, struct str name, const struct conf_row *row,
                             struct str full_key, struct str *ret, const char **ret_where)
{
    const char *const *environment = l->source->environment;
    struct str file_name = arena_printf(l->arena, STR_FMT "_FILE", STR_ARG(name));
    struct str path = conf_environment_get(environment, file_name);
    *ret = conf_environment_get(environment, name);
    *ret_where = arena_printf(l->arena, "environment " STR_FMT, STR_ARG(name)).data;
    if (ret->data)
        return true;
    if (!str_empty(path)) {
        *ret_where = arena_printf(l->arena, "environment " STR_FMT, STR_ARG(file_name)).data;
        return read_secret_file(l, path, *ret_where, ret);
    }
    struct str folder = conf_environment_get(environment, STR("CREDENTIALS_DIRECTORY"));
    if (row->type != CONF_SECRET || str_empty(folder))
        return true;
    path = arena_printf(l->arena, STR_FMT "/" STR_FMT, STR_ARG(folder), STR_ARG(full_key));
    if (access(path.data, R_OK) != 0)
        return true;
    *ret_where = path.data;
    return read_secret_file(l, path, path.data, ret);
}

/* The node of "a.b" below `root`; marks what it passes. */
static struct conf_node *find_node(struct conf_node *root, struct str key)
{
    struct str rest = key, part;
    struct conf_node *node = root;
    while (node && str_split(&rest, '.', &part)) {
        if (node->kind != CONF_NODE_MAP)
            return NULL;
        node = conf_node_child(node, part);
        if (node)
            node->used = true;
    }
    return node;
}

static const char *place(struct loader *l, const struct conf_node *node)
{
    return arena_printf(l->arena, "%s:%u", l->source->file, node->line).data;
}

/* A YAML list of plain texts counts as comma separated. */
static bool node_text(struct loader *l, const struct conf_row *row, const struct conf_node *node,
                      struct str *ret)
{
    const char *where = place(l, node);
    if (node->kind == CONF_NODE_SCALAR) {
        *ret = (struct str){0};
        return !node->text.data ||
               conf_expand(node->text, l->source->environment, where, l->arena, ret, l->err);
    }
    bool list = node->kind == CONF_NODE_LIST && row->type == CONF_STRS;
    *ret = STR("");
    for (struct conf_node *item = node->first; list && item; item = item->next) {
        struct str text;
        list = item->kind == CONF_NODE_SCALAR && item->text.data;
        if (!list ||
            !conf_expand(item->text, l->source->environment, where, l->arena, &text, l->err))
            break;
        *ret = arena_printf(l->arena, STR_FMT STR_FMT ",", STR_ARG(*ret), STR_ARG(text));
    }
    if (!list)
        err_set(l->err, ERR_CONFIG, "%s: '%s' must be one value%s", where, row->key,
                row->type == CONF_STRS ? " or a list of plain values" : "");
    return list;
}

/* KEY in the file, or KEY_file with the name of a file that holds it. */
static bool from_file(struct loader *l, struct conf_node *root, const struct conf_row *row,
                      struct str *ret, const char **ret_where)
{
    struct conf_node *node = root ? find_node(root, str_of(row->key)) : NULL;
    *ret = (struct str){0};
    if (node) {
        *ret_where = place(l, node);
        return node_text(l, row, node, ret);
    }
    struct str file_key = arena_printf(l->arena, "%s_file", row->key);
    node = root && row->type == CONF_SECRET ? find_node(root, file_key) : NULL;
    if (!node || !node->text.data)
        return true;
    *ret_where = place(l, node);
    struct str path;
    return conf_expand(node->text, l->source->environment, *ret_where, l->arena, &path, l->err) &&
           read_secret_file(l, path, *ret_where, ret);
}

static struct str from_flags(struct loader *l, struct str key)
{
    struct str found = {0};
    for (size_t i = 0; i < l->source->flag_count; i++)
        if (str_is(key, l->source->flags[i].key))
            found = str_of(l->source->flags[i].value);
    return found;
}

static bool fill_scalar(struct loader *l, struct conf_node *root, const struct conf_row *row,
                        struct str environment, struct str full_key, void *target)
{
    struct str in_file, in_environment, text = from_flags(l, full_key);
    const char *file_where = "", *environment_where = "", *where = "command line";
    if (!from_file(l, root, row, &in_file, &file_where) ||
        !from_environment(l, environment, row, full_key, &in_environment, &environment_where))
        return false;
    if (!text.data) {
        text = in_environment.data ? in_environment : in_file;
        where = in_environment.data ? environment_where : file_where;
    }
    if (!text.data) {
        text = str_of(row->otherwise);
        where = "default";
    }
    if (!text.data) {
        err_set(l->err, ERR_CONFIG, "'" STR_FMT "' is required and not set", STR_ARG(full_key));
        return false;
    }
    return conf_value_set(row, text, where, l->arena, target, l->err);
}

/* --- properties --- */

static void set_property(struct loader *l, struct conf_props *props, size_t room, struct str key,
                         struct str value)
{
    for (size_t i = 0; i < props->count; i++)
        if (str_eq(props->keys[i], key)) {
            props->values[i] = value;
            return;
        }
    must(props->count < room);
    props->keys[props->count] = arena_str(l->arena, key);
    props->values[props->count++] = arena_str(l->arena, value);
}

/* "SECURITY_PROTOCOL" -> "security.protocol" */
static struct str property_name(struct arena *arena, struct str name)
{
    char *text = arena_cstr(arena, name);
    for (char *c = text; *c; c++)
        *c = *c == '_' ? '.' : (char)tolower((unsigned char)*c);
    return str_of(text);
}

static size_t count_properties(struct loader *l, const struct conf_node *node)
{
    size_t count = l->source->flag_count;
    for (struct conf_node *child = node ? node->first : NULL; child; child = child->next)
        count++;
    for (const char *const *e = l->source->environment; e && *e; e++)
        count++;
    return count;
}

static bool properties_from_file(struct loader *l, struct conf_node *node, struct conf_props *props,
                                 size_t room)
{
    for (struct conf_node *child = node ? node->first : NULL; child; child = child->next) {
        struct str value;
        child->used = true;
        if (child->kind != CONF_NODE_SCALAR) {
            err_set(l->err, ERR_CONFIG, "%s: '" STR_FMT "' must be one value", place(l, child),
                    STR_ARG(child->key));
            return false;
        }
        if (!conf_expand(child->text.data ? child->text : STR(""), l->source->environment,
                         place(l, child), l->arena, &value, l->err))
            return false;
        set_property(l, props, room, child->key, value);
    }
    return true;
}

static bool fill_properties(struct loader *l, struct conf_node *root, const struct conf_row *row,
                            struct str environment, struct str full_key, void *target)
{
    struct conf_node *node = root ? find_node(root, str_of(row->key)) : NULL;
    size_t room = count_properties(l, node);
    struct conf_props props = {.keys = arena_array(l->arena, struct str, room + 1),
                               .values = arena_array(l->arena, struct str, room + 1)};
    if (!properties_from_file(l, node, &props, room))
        return false;
    struct str prefix = arena_printf(l->arena, STR_FMT "__", STR_ARG(environment)), name;
    for (const char *const *e = l->source->environment; e && *e; e++) {
        struct str entry = str_of(*e);
        if (!str_starts(entry, prefix))
            continue;
        struct str value = str_slice(entry, prefix.len, entry.len);
        if (str_split(&value, '=', &name) && value.data)
            set_property(l, &props, room, property_name(l->arena, name), value);
    }
    struct str start = arena_printf(l->arena, STR_FMT ".", STR_ARG(full_key));
    for (size_t i = 0; i < l->source->flag_count; i++) {
        struct str key = str_of(l->source->flags[i].key);
        if (str_starts(key, start))
            set_property(l, &props, room, str_slice(key, start.len, key.len),
                         str_of(l->source->flags[i].value));
    }
    *(struct conf_props *)conf_member(row, target) = props;
    return true;
}

/* --- rows --- */

static bool fill_rows(struct loader *l, struct conf_node *root, const struct conf_row *rows,
                      const char *environment, const char *key_prefix, void *target);

/* The key of a map item stands for its row "name". */
static void give_name(struct loader *l, struct conf_node *item)
{
    if (!item->key.data || item->kind != CONF_NODE_MAP || conf_node_child(item, STR("name")))
        return;
    struct conf_node *name = arena_new(l->arena, struct conf_node);
    name->kind = CONF_NODE_SCALAR;
    name->key = STR("name");
    name->text = item->key;
    name->line = item->line;
    name->next = item->first;
    item->first = name;
    if (!item->last)
        item->last = name;
}

static bool fill_item(struct loader *l, const struct conf_row *row, struct conf_node *node,
                      void *item)
{
    if (node->kind == CONF_NODE_SCALAR && !node->text.data)
        node->kind = CONF_NODE_MAP; /* `name:` with nothing behind it: all defaults */
    if (node->kind != CONF_NODE_MAP) {
        err_set(l->err, ERR_CONFIG, "%s: an item of '%s' must be a map", place(l, node), row->key);
        return false;
    }
    give_name(l, node);
    struct conf_node *name = conf_node_child(node, STR("name"));
    struct str text = name && name->text.data ? name->text : STR("");
    struct str key = arena_printf(l->arena, "%s." STR_FMT, row->key, STR_ARG(text));
    struct str clean = arena_printf(l->arena, "%s.", row->key);
    for (size_t i = 0; i < text.len; i++)
        clean = arena_printf(l->arena, STR_FMT "%c", STR_ARG(clean),
                             isalnum((unsigned char)text.data[i]) ? text.data[i] : '_');
    struct str environment = environment_name(l->arena, "QUERN_", clean);
    return fill_rows(l, node, row->items,
                     arena_printf(l->arena, STR_FMT "__", STR_ARG(environment)).data,
                     arena_printf(l->arena, STR_FMT ".", STR_ARG(key)).data, item);
}

static bool fill_items(struct loader *l, struct conf_node *root, const struct conf_row *row,
                       void *target)
{
    struct conf_node *node = root ? find_node(root, str_of(row->key)) : NULL;
    struct conf_items items = {0};
    if (node && node->kind == CONF_NODE_SCALAR && node->text.data) {
        err_set(l->err, ERR_CONFIG, "%s: '%s' must be a map or a list of maps", place(l, node),
                row->key);
        return false;
    }
    for (struct conf_node *child = node ? node->first : NULL; child; child = child->next)
        items.count++;
    items.items = arena_zalloc(l->arena, (items.count + 1) * row->item_size);
    size_t at = 0;
    for (struct conf_node *child = node ? node->first : NULL; child; child = child->next) {
        child->used = true;
        if (!fill_item(l, row, child, (char *)items.items + at++ * row->item_size))
            return false;
    }
    *(struct conf_items *)conf_member(row, target) = items;
    return true;
}

static bool fill_rows(struct loader *l, struct conf_node *root, const struct conf_row *rows,
                      const char *environment, const char *key_prefix, void *target)
{
    for (const struct conf_row *row = rows; row->key; row++) {
        struct str name = environment_name(l->arena, environment, str_of(row->key));
        struct str key = arena_printf(l->arena, "%s%s", key_prefix, row->key);
        bool good = row->type == CONF_ITEMS   ? fill_items(l, root, row, target)
                    : row->type == CONF_PROPS ? fill_properties(l, root, row, name, key, target)
                                              : fill_scalar(l, root, row, name, key, target);
        if (!good)
            return false;
    }
    return true;
}

/* --- unknown keys --- */

static void nearest(const struct conf_row *rows, struct str key, const char **ret, unsigned *best)
{
    for (const struct conf_row *row = rows; row->key; row++) {
        unsigned distance = str_distance(key, str_of(row->key));
        if (distance < *best) {
            *best = distance;
            *ret = row->key;
        }
    }
}

static bool unknown(struct loader *l, const struct conf_row *rows, const struct conf_node *node,
                    struct str key)
{
    const char *guess = NULL;
    unsigned best = key.len < 6 ? 3 : 5;
    nearest(rows, key, &guess, &best);
    err_set(l->err, ERR_CONFIG, "%s: unknown key '" STR_FMT "'%s%s%s", place(l, node), STR_ARG(key),
            guess ? ", did you mean '" : "; see `quern config reference`", guess ? guess : "",
            guess ? "'?" : "");
    return false;
}

static const struct conf_row *row_by_key(const struct conf_row *rows, struct str key)
{
    for (const struct conf_row *row = rows; row->key; row++)
        if (str_is(key, row->key))
            return row;
    return NULL;
}

static bool is_ignored(const struct loader *l, struct str section)
{
    struct str rest = str_of(l->source->ignore_prefixes), name;
    while (str_split(&rest, ',', &name))
        if (str_eq(name, section))
            return true;
    return false;
}

static bool check_unknown(struct loader *l, const struct conf_row *rows,
                          const struct conf_node *map, struct str prefix)
{
    for (const struct conf_node *child = map->first; child; child = child->next) {
        struct str key =
            arena_printf(l->arena, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(child->key));
        const struct conf_row *row = row_by_key(rows, key);
        if (str_empty(prefix) && is_ignored(l, key))
            continue;
        if (row && row->type == CONF_ITEMS) {
            for (struct conf_node *item = child->first; item; item = item->next)
                if (!check_unknown(l, row->items, item, STR("")))
                    return false;
        } else if (!row && !child->used) {
            return unknown(l, rows, child, key);
        } else if (!row && child->kind == CONF_NODE_MAP) {
            struct str deeper = arena_printf(l->arena, STR_FMT ".", STR_ARG(key));
            if (!check_unknown(l, rows, child, deeper))
                return false;
        }
    }
    return true;
}

/* A flag that no row takes is a mistake of whoever typed it. */
static bool check_flags(struct loader *l, const struct conf_row *rows)
{
    for (size_t i = 0; i < l->source->flag_count; i++) {
        struct str key = str_of(l->source->flags[i].key), first, rest = key;
        bool taken = row_by_key(rows, key) != NULL;
        for (const struct conf_row *row = rows; row->key && !taken; row++)
            taken = (row->type == CONF_PROPS || row->type == CONF_ITEMS) &&
                    str_starts(key, str_of(row->key)) && key.data[strlen(row->key)] == '.';
        taken |= str_split(&rest, '.', &first) && is_ignored(l, first);
        if (taken)
            continue;
        const char *guess = NULL;
        unsigned best = 5;
        nearest(rows, key, &guess, &best);
        err_set(l->err, ERR_CONFIG, "command line: unknown key '" STR_FMT "'%s%s%s", STR_ARG(key),
                guess ? ", did you mean '" : "", guess ? guess : "", guess ? "'?" : "");
        return false;
    }
    return true;
}

bool conf_load(const struct conf_row *rows, const struct conf_source *source, struct arena *arena,
               void *target, struct err *err)
{
    struct loader l = {.source = source, .arena = arena, .err = err};
    struct conf_node *root = NULL;
    struct str text;
    if (source->file && (!conf_file_read(source->file, FILE_BYTES_MAX, arena, &text, err) ||
                         !conf_tree_read(text, source->file, arena, &root, err)))
        return false;
    return fill_rows(&l, root, rows, "QUERN_", "", target) &&
           (!root || check_unknown(&l, rows, root, STR(""))) && check_flags(&l, rows);
}

/* --- after loading --- */

static void write_whole(const struct conf_row *row, const void *target, struct buf *ret)
{
    const struct conf_props *props = conf_member_const(row, target);
    if (row->type == CONF_PROPS) {
        for (size_t i = 0; i < props->count; i++)
            buf_printf(ret, STR_FMT "=" STR_FMT "\n", STR_ARG(props->keys[i]),
                       STR_ARG(props->values[i]));
        return;
    }
    if (row->type != CONF_ITEMS) {
        conf_value_write(row, target, ret);
        return;
    }
    const struct conf_items *items = conf_member_const(row, target);
    for (size_t i = 0; i < items->count; i++)
        for (const struct conf_row *inner = row->items; inner->key; inner++)
            write_whole(inner, (const char *)items->items + i * row->item_size, ret);
}

struct str conf_fixed_changes(const struct conf_row *rows, const void *old, const void *new,
                              struct arena *arena)
{
    struct str names = {0};
    struct buf before, after;
    buf_init(&before, FILE_BYTES_MAX);
    buf_init(&after, FILE_BYTES_MAX);
    for (const struct conf_row *row = rows; row->key; row++) {
        if (row->reloadable)
            continue;
        buf_clear(&before);
        buf_clear(&after);
        write_whole(row, old, &before);
        write_whole(row, new, &after);
        if (str_eq(buf_str(&before), buf_str(&after)))
            continue;
        names = names.data ? arena_printf(arena, STR_FMT ", %s", STR_ARG(names), row->key)
                           : arena_printf(arena, "%s", row->key);
    }
    buf_done(&before);
    buf_done(&after);
    return names;
}

void conf_each_secret(const struct conf_row *rows, const void *target,
                      void (*each)(struct str secret, void *context), void *context)
{
    for (const struct conf_row *row = rows; row->key; row++) {
        const void *member = conf_member_const(row, target);
        if (row->type == CONF_SECRET && !str_empty(*(const struct str *)member))
            each(*(const struct str *)member, context);
        const struct conf_items *items = member;
        for (size_t i = 0; row->type == CONF_ITEMS && i < items->count; i++)
            conf_each_secret(row->items, (const char *)items->items + i * row->item_size, each,
                             context);
    }
}
