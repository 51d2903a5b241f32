/*
 * conf.c -- tables, a file, the environment and flags become a struct; see conf.h.
 *
 * First the names are checked (conf_unknown.c), so that a misspelled key is called misspelled and
 * not missing; variables behind the rest, as their names may hold those of items. Then each row is
 * filled from the strongest source that names it: flag, environment, credential, file, default;
 * weaker ones are not even looked at, so a broken one that is overruled does no harm. Every text
 * goes through conf_value_set() together with the place it came from, so that an error tells where
 * to look.
 *
 * To add a source: a function like from_environment() and its turn in find_text().
 */
#include "common/data/conf.h"

#include "common/base/must.h"
#include "common/data/conf_source.h"
#include "common/data/conf_tree.h"
#include "common/data/conf_unknown.h"
#include "common/data/conf_value.h"

enum { FILE_BYTES_MAX = 1 << 20 };

struct loader {
    const struct conf_source *source;
    struct arena *arena;
    struct err *err;
};

/* One level of rows: the file's map for it, and what stands in front of its names. */
struct level {
    const struct conf_node *map; /* NULL: no file */
    struct str key, environment; /* "models.gpt." and "QUERN_MODELS__GPT__" */
};

/* One setting being looked for, and what was found: `where` NULL means nothing yet. */
struct found {
    const struct conf_row *row;
    struct str key, environment;
    struct str text;
    const struct conf_node *list; /* instead of text */
    const char *where;
};

static bool read_file(struct loader *l, struct conf_node **ret);
static bool fill_rows(struct loader *l, const struct conf_row *rows, const struct level *level,
                      void *target);
static bool fill_text(struct loader *l, const struct conf_row *row, const struct level *level,
                      void *target);
static bool fill_properties(struct loader *l, const struct conf_row *row, const struct level *level,
                            void *target);
static bool fill_items(struct loader *l, const struct conf_row *row, const struct level *level,
                       void *target);

bool conf_load(const struct conf_row *rows, const struct conf_source *source, struct arena *arena,
               void *target, struct err *err)
{
    struct loader l = {.source = source, .arena = arena, .err = err};
    struct conf_node *root = NULL;

    if ((source->file && !read_file(&l, &root)) ||
        !conf_check_names(rows, source, root, arena, err))
        return false;
    const struct level top = {.map = root, .key = STR(""), .environment = STR("QUERN_")};
    if (!fill_rows(&l, rows, &top, target) ||
        !conf_check_environment(rows, source, target, arena, err))
        return false;
    if (arena_overflowed(arena)) {
        err_set(err, ERR_CONFIG, "the configuration needs more than %zu bytes", arena->max_bytes);
        return false;
    }
    return true;
}

static bool read_file(struct loader *l, struct conf_node **ret)
{
    struct buf text;
    bool good = conf_file_read(l->source->file, FILE_BYTES_MAX, &text, l->err) &&
                conf_tree_read(buf_str(&text), l->source->file, l->arena, ret, l->err);
    buf_done(&text);
    return good;
}

static bool fill_rows(struct loader *l, const struct conf_row *rows, const struct level *level,
                      void *target)
{
    for (const struct conf_row *row = rows; row->key; row++) {
        bool good = row->type == CONF_ITEMS   ? fill_items(l, row, level, target)
                    : row->type == CONF_PROPS ? fill_properties(l, row, level, target)
                                              : fill_text(l, row, level, target);
        if (!good)
            return false;
    }
    return true;
}

/* Names and places */

/* The node of "a.b" below `root`, NULL when there is none. */
static const struct conf_node *find_node(const struct conf_node *root, struct str key)
{
    const struct conf_node *node = root;
    struct str part;

    while (node && str_split(&key, '.', &part))
        node = node->kind == CONF_NODE_MAP ? conf_node_child(node, part) : NULL;
    return node;
}

static const char *place(struct loader *l, const struct conf_node *node)
{
    return arena_printf(l->arena, "%s:%u", l->source->file, node->line).data;
}

static void note(struct loader *l, struct str key, const char *where)
{
    if (l->source->places && where)
        conf_places_add(l->source->places, l->arena, key, where);
}

static struct str join(struct loader *l, struct str prefix, struct str key)
{
    return arena_printf(l->arena, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(key));
}

static bool expand(struct loader *l, struct str text, const char *where, struct str *ret)
{
    return conf_expand(text, l->source->environment, where, l->arena, ret, l->err);
}

/* One text per setting */

static void from_flags(struct loader *l, struct found *found)
{
    for (size_t i = 0; i < l->source->flag_count; i++)
        if (str_is(found->key, l->source->flags[i].key)) {
            found->text = str_of(l->source->flags[i].value);
            found->where = "command line";
        }
}

/* NAME, or NAME_FILE with the name of a file. */
static bool from_environment(struct loader *l, struct found *found)
{
    struct str file_name = join(l, found->environment, STR("_FILE"));
    struct str value = conf_environment_get(l->source->environment, found->environment);
    struct str path = conf_environment_get(l->source->environment, file_name);

    if (value.data && !str_empty(path)) {
        err_set(l->err, ERR_CONFIG, "environment: both " STR_FMT " and " STR_FMT " are set",
                STR_ARG(found->environment), STR_ARG(file_name));
        return false;
    }
    if (value.data) {
        found->text = value;
        found->where = join(l, STR("environment "), found->environment).data;
    } else if (!str_empty(path)) {
        found->where = join(l, STR("environment "), file_name).data;
        return conf_secret_read(path, found->where, l->arena, &found->text, l->err);
    }
    return true;
}

/* systemd's LoadCredential=postgres.password:/some/file */
static bool from_credentials(struct loader *l, struct found *found)
{
    struct str folder = conf_environment_get(l->source->environment, STR("CREDENTIALS_DIRECTORY"));

    if (!conf_is_secret(found->row) || str_empty(folder) ||
        str_index(found->key, '/') < found->key.len)
        return true;
    struct str path =
        arena_printf(l->arena, STR_FMT "/" STR_FMT, STR_ARG(folder), STR_ARG(found->key));
    if (access(path.data, F_OK) != 0)
        return true;
    found->where = "credential";
    return conf_secret_read(path, found->where, l->arena, &found->text, l->err);
}

/* KEY, or for secrets KEY_file with the name of a file. */
static bool from_file(struct loader *l, const struct level *level, struct found *found)
{
    const struct conf_row *row = found->row;
    const struct conf_node *node = find_node(level->map, str_of(row->key));
    const struct conf_node *file =
        conf_is_secret(row) ? find_node(level->map, join(l, str_of(row->key), STR("_file"))) : NULL;
    struct str path;

    if (node && conf_node_is_null(node))
        node = NULL;
    if (!node && !file)
        return true;
    found->where = place(l, node ? node : file);
    if (node && file) {
        err_set(l->err, ERR_CONFIG, "%s: both '" STR_FMT "' and '" STR_FMT "_file' (%s) are set",
                found->where, STR_ARG(found->key), STR_ARG(found->key), place(l, file));
        return false;
    }
    bool is_list = row->type == CONF_STRS || row->type == CONF_SECRETS;
    if (node && node->kind == CONF_NODE_LIST && is_list) {
        found->list = node;
        return true;
    }
    if ((node ? node : file)->kind != CONF_NODE_SCALAR) {
        err_set(l->err, ERR_CONFIG, "%s: '" STR_FMT "' must be one value%s", found->where,
                STR_ARG(found->key), is_list ? " or a list" : "");
        return false;
    }
    if (node)
        return expand(l, node->text, found->where, &found->text);
    return expand(l, file->text, found->where, &path) &&
           conf_secret_read(path, found->where, l->arena, &found->text, l->err);
}

/* Strongest source first. */
static bool find_text(struct loader *l, const struct level *level, struct found *found)
{
    from_flags(l, found);
    if (!found->where && !from_environment(l, found))
        return false;
    if (!found->where && !from_credentials(l, found))
        return false;
    if (!found->where && !from_file(l, level, found))
        return false;
    if (found->where)
        return true;
    found->text = str_of(found->row->otherwise);
    if (!found->text.data)
        err_set(l->err, ERR_CONFIG, "%s%s'" STR_FMT "' is required and not set",
                level->map && level->key.len ? place(l, level->map) : "",
                level->map && level->key.len ? ": " : "", STR_ARG(found->key));
    return found->text.data != NULL;
}

static bool set_list(struct loader *l, const struct found *found, void *target)
{
    struct conf_strs strs = {0};
    size_t count = 0;

    for (const struct conf_node *item = found->list->first; item; item = item->next)
        count++;
    strs.items = arena_array(l->arena, struct str, count + 1);
    for (const struct conf_node *item = found->list->first; item; item = item->next) {
        struct str text;
        if (item->kind != CONF_NODE_SCALAR || conf_node_is_null(item)) {
            err_set(l->err, ERR_CONFIG, "%s: '" STR_FMT "' must be a list of plain values",
                    place(l, item), STR_ARG(found->key));
            return false;
        }
        if (!expand(l, item->text, place(l, item), &text))
            return false;
        note(l, arena_printf(l->arena, STR_FMT "[%zu]", STR_ARG(found->key), strs.count),
             place(l, item));
        strs.items[strs.count++] = arena_str(l->arena, text);
    }
    *(struct conf_strs *)conf_member(found->row, target) = strs;
    return true;
}

static bool fill_text(struct loader *l, const struct conf_row *row, const struct level *level,
                      void *target)
{
    struct found found = {
        .row = row,
        .key = join(l, level->key, str_of(row->key)),
        .environment = conf_environment_name(l->arena, level->environment, str_of(row->key)),
    };

    if (!find_text(l, level, &found))
        return false;
    note(l, found.key, found.where);
    if (found.list)
        return set_list(l, &found, target);
    return conf_value_set(row, found.key, found.text, found.where ? found.where : "default",
                          l->arena, target, l->err);
}

/* Free properties: all sources are put together, the stronger one wins per name */

struct properties {
    struct conf_props props;
    struct str key;
    size_t room;
};

static void put_property(struct loader *l, struct properties *p, struct str name, struct str value,
                         const char *where)
{
    struct conf_props *props = &p->props;
    size_t at = 0;

    while (at < props->count && !str_eq(props->keys[at], name))
        at++;
    must(at < p->room);
    if (at == props->count)
        props->keys[props->count++] = arena_str(l->arena, name);
    props->values[at] = arena_str(l->arena, value);
    note(l, arena_printf(l->arena, STR_FMT "." STR_FMT, STR_ARG(p->key), STR_ARG(name)), where);
}

static bool properties_from_file(struct loader *l, struct str key, const struct conf_node *map,
                                 struct properties *p)
{
    for (const struct conf_node *child = map ? map->first : NULL; child; child = child->next) {
        struct str value = STR("");
        if (child->kind != CONF_NODE_SCALAR) {
            err_set(l->err, ERR_CONFIG, "%s: '" STR_FMT "." STR_FMT "' must be one value",
                    place(l, child), STR_ARG(key), STR_ARG(child->key));
            return false;
        }
        if (child->text.data && !expand(l, child->text, place(l, child), &value))
            return false;
        put_property(l, p, child->key, value, place(l, child));
    }
    return true;
}

static bool properties_from_environment(struct loader *l, const struct conf_row *row,
                                        struct str environment, struct properties *p)
{
    struct str prefix = join(l, environment, STR("__"));

    for (const char *const *e = l->source->environment; e && *e; e++) {
        struct str value = str_of(*e), name;
        if (!str_starts(value, prefix) || !str_split(&value, '=', &name) || !value.data)
            continue;
        struct str word = str_slice(name, prefix.len, name.len);
        const char *where = join(l, STR("environment "), name).data;
        if (conf_property_is_file(word)) {
            word = str_slice(word, 0, word.len - strlen("_FILE"));
            if (!conf_secret_read(value, where, l->arena, &value, l->err))
                return false;
        }
        if (!str_empty(word))
            put_property(l, p, conf_property_name(l->arena, row, word), value, where);
    }
    return true;
}

static void properties_from_flags(struct loader *l, struct str key, struct properties *p)
{
    struct str prefix = join(l, key, STR("."));

    for (size_t i = 0; i < l->source->flag_count; i++) {
        struct str name = str_of(l->source->flags[i].key);
        if (str_starts(name, prefix))
            put_property(l, p, str_slice(name, prefix.len, name.len),
                         str_of(l->source->flags[i].value), "command line");
    }
}

static size_t properties_most(struct loader *l, const struct conf_node *map)
{
    size_t count = l->source->flag_count;

    for (const struct conf_node *child = map ? map->first : NULL; child; child = child->next)
        count++;
    for (const char *const *e = l->source->environment; e && *e; e++)
        count += str_starts(str_of(*e), STR("QUERN_"));
    return count;
}

static bool fill_properties(struct loader *l, const struct conf_row *row, const struct level *level,
                            void *target)
{
    const struct conf_node *map = find_node(level->map, str_of(row->key));
    struct str key = join(l, level->key, str_of(row->key));
    struct str environment = conf_environment_name(l->arena, level->environment, str_of(row->key));
    struct properties p = {.key = key, .room = properties_most(l, map)};

    if (map && map->kind != CONF_NODE_MAP && !conf_node_is_null(map)) {
        err_set(l->err, ERR_CONFIG, "%s: '" STR_FMT "' must be a map", place(l, map), STR_ARG(key));
        return false;
    }
    if (map)
        note(l, key, place(l, map));
    p.props.keys = arena_array(l->arena, struct str, p.room + 1);
    p.props.values = arena_array(l->arena, struct str, p.room + 1);
    if (!properties_from_file(l, key, map, &p) ||
        !properties_from_environment(l, row, environment, &p))
        return false;
    properties_from_flags(l, key, &p);
    *(struct conf_props *)conf_member(row, target) = p.props;
    return true;
}

/* Items: a map of name to map, or a list of maps that have a "name" */

/* The item's map with its name in it: the key of a map's item stands for the row "name". */
static bool named_map(struct loader *l, const struct conf_row *row, const struct conf_node *node,
                      struct conf_node *ret, struct str *ret_name)
{
    struct conf_node *name = arena_new(l->arena, struct conf_node);

    *ret = *node;
    if (node->key.data && conf_node_is_null(node))
        ret->kind = CONF_NODE_MAP; /* `name:` with nothing behind it: all defaults */
    if (ret->kind != CONF_NODE_MAP) {
        err_set(l->err, ERR_CONFIG, "%s: an item of '%s' must be a map", place(l, node), row->key);
        return false;
    }
    const struct conf_node *own = conf_node_child(ret, STR("name"));
    if (!own && node->key.data) {
        *name = (struct conf_node){.kind = CONF_NODE_SCALAR,
                                   .key = STR("name"),
                                   .text = node->key,
                                   .line = node->line,
                                   .next = ret->first};
        ret->first = name;
        own = name;
    }
    if (!own || own->kind != CONF_NODE_SCALAR || str_empty(own->text)) {
        err_set(l->err, ERR_CONFIG, "%s: an item of '%s' has no name", place(l, node), row->key);
        return false;
    }
    *ret_name = own->text;
    return true;
}

static bool fill_item(struct loader *l, const struct conf_row *row, const struct level *level,
                      const struct conf_node *node, void *item)
{
    struct conf_node map;
    struct str name;

    if (!named_map(l, row, node, &map, &name))
        return false;
    struct str environment = conf_environment_name(l->arena, level->environment, str_of(row->key));
    struct str word = conf_environment_word(l->arena, name);
    const struct level inner = {
        .map = &map,
        .key = arena_printf(l->arena, STR_FMT "%s." STR_FMT ".", STR_ARG(level->key), row->key,
                            STR_ARG(name)),
        .environment =
            arena_printf(l->arena, STR_FMT "__" STR_FMT "__", STR_ARG(environment), STR_ARG(word)),
    };
    note(l, str_slice(inner.key, 0, inner.key.len - 1), place(l, node));
    return fill_rows(l, row->items, &inner, item);
}

/* `first` is the first item's node, `node` the one at `at`. */
static bool is_first_of_its_name(struct loader *l, const struct conf_row *row,
                                 const struct conf_items *items, size_t at,
                                 const struct conf_node *first, const struct conf_node *node)
{
    const struct conf_row *name_row = row->items;

    while (name_row->key && strcmp(name_row->key, "name") != 0)
        name_row++;
    must(name_row->key && name_row->type == CONF_STR);
    const char *names = (const char *)items->items + name_row->offset;
    const struct str *name = (const void *)(names + at * row->item_size);
    for (size_t i = 0; i < at; i++, first = first->next) {
        if (!str_eq(*(const struct str *)(const void *)(names + i * row->item_size), *name))
            continue;
        err_set(l->err, ERR_CONFIG, "%s: '%s' has two items named '" STR_FMT "', the first at %s",
                place(l, node), row->key, STR_ARG(*name), place(l, first));
        return false;
    }
    return true;
}

static bool fill_items(struct loader *l, const struct conf_row *row, const struct level *level,
                       void *target)
{
    const struct conf_node *node = find_node(level->map, str_of(row->key));
    struct conf_items items = {0};

    if (node && node->kind == CONF_NODE_SCALAR && !conf_node_is_null(node)) {
        err_set(l->err, ERR_CONFIG, "%s: '%s' must be a map or a list of maps", place(l, node),
                row->key);
        return false;
    }
    if (node)
        note(l, join(l, level->key, str_of(row->key)), place(l, node));
    for (const struct conf_node *child = node ? node->first : NULL; child; child = child->next)
        items.count++;
    items.items = arena_zalloc(l->arena, (items.count + 1) * row->item_size);
    size_t at = 0;
    for (const struct conf_node *child = node ? node->first : NULL; child; child = child->next) {
        void *item = (char *)items.items + at * row->item_size;
        if (!fill_item(l, row, level, child, item) ||
            !is_first_of_its_name(l, row, &items, at, node->first, child))
            return false;
        at++;
    }
    *(struct conf_items *)conf_member(row, target) = items;
    return true;
}
