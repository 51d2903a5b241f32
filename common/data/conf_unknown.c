/*
 * conf_unknown.c -- what nobody asked for: keys of the file, flags and environment variables
 * without a row.
 *
 * Such a name is an error, with the nearest known one as a guess: a misspelled limit that silently
 * does nothing is worse than a program that does not start. Sections of other programs
 * (conf_source.ignore_prefixes) are passed over, and so are variables that are no settings and
 * known as such (conf_source.variables, is_foreign).
 */
#include "common/data/conf_unknown.h"

#include "common/data/conf_source.h"
#include "common/data/conf_value.h"

enum { GUESS_DISTANCE_MAX = 4, SCRATCH_BYTES_MAX = 512 << 20 };

struct names {
    const struct conf_source *source;
    struct arena *arena;
    struct err *err;
};

/* One map of the file: its rows, and what stands in front of its keys in rows and in messages. */
struct level {
    const struct conf_row *rows;
    struct str prefix, shown;
};

static bool check_map(struct names *n, const struct conf_node *map, const struct level *level);

static const struct conf_row *row_by_key(const struct conf_row *rows, struct str key)
{
    for (const struct conf_row *row = rows; row->key; row++)
        if (str_is(key, row->key))
            return row;
    return NULL;
}

static bool is_section(const struct conf_row *rows, struct str key)
{
    for (const struct conf_row *row = rows; row->key; row++)
        if (str_starts(str_of(row->key), key) && row->key[key.len] == '.')
            return true;
    return false;
}

/* "api_key_file" beside a row "api_key" that is a secret */
static bool is_secret_file(const struct conf_row *rows, struct str key)
{
    if (!str_ends(key, STR("_file")))
        return false;
    const struct conf_row *row = row_by_key(rows, str_slice(key, 0, key.len - 5));
    return row && conf_is_secret(row);
}

static bool is_ignored(const struct names *n, struct str section)
{
    struct str rest = str_of(n->source->ignore_prefixes), name;
    while (str_split(&rest, ',', &name))
        if (str_eq(name, section))
            return true;
    return false;
}

/* The part of a row's key that is as deep as `key`: sections are guessed like settings. */
static struct str same_depth(struct str row_key, struct str key)
{
    size_t dots = 0, end = 0;

    for (size_t i = 0; i < key.len; i++)
        dots += key.data[i] == '.';
    for (; end < row_key.len; end++)
        if (row_key.data[end] == '.' && dots-- == 0)
            break;
    return str_slice(row_key, 0, end);
}

/* Absent when nothing is near. */
static struct str nearest(const struct conf_row *rows, struct str key)
{
    unsigned best = key.len < 6 ? 2 : GUESS_DISTANCE_MAX;
    struct str found = {NULL, 0};

    for (const struct conf_row *row = rows; row->key; row++) {
        struct str candidate = same_depth(str_of(row->key), key);
        unsigned distance = str_distance(key, candidate);
        if (distance > best || (distance == best && found.data))
            continue;
        best = distance;
        found = candidate;
    }
    return found;
}

static bool unknown(struct names *n, const char *where, const struct level *level, struct str key)
{
    struct str guess = nearest(level->rows, key);

    if (guess.data)
        err_set(n->err, ERR_CONFIG,
                "%s: unknown key '" STR_FMT STR_FMT "', did you mean '" STR_FMT STR_FMT "'?", where,
                STR_ARG(level->shown), STR_ARG(key), STR_ARG(level->shown), STR_ARG(guess));
    else
        err_set(n->err, ERR_CONFIG,
                "%s: unknown key '" STR_FMT STR_FMT "'; --help lists all settings", where,
                STR_ARG(level->shown), STR_ARG(key));
    return false;
}

static bool check_items(struct names *n, const struct conf_node *list, const struct conf_row *row)
{
    for (const struct conf_node *item = list->first; item; item = item->next) {
        const struct conf_node *named = item->key.data ? item : NULL;
        if (!named && item->kind == CONF_NODE_MAP)
            named = conf_node_child(item, STR("name"));
        struct str name = {NULL, 0};
        if (named)
            name = named == item ? item->key : named->text;
        const struct level inner = {
            .rows = row->items,
            .prefix = STR(""),
            .shown = arena_printf(n->arena, "%s." STR_FMT ".", row->key, STR_ARG(name))};
        if (item->kind == CONF_NODE_MAP && !check_map(n, item, &inner))
            return false;
    }
    return true;
}

/* "kafka.linger: 5ms" is how messages and flags say it; in the file it would set nothing. */
static bool refuse_dots(struct names *n, const char *where, const struct level *level,
                        const struct conf_node *child)
{
    struct str key = child->key;
    size_t dot = str_index(key, '.');

    err_set(n->err, ERR_CONFIG,
            "%s: unknown key '" STR_FMT STR_FMT STR_FMT "': in the file '" STR_FMT
            "' stands below '" STR_FMT ":'",
            where, STR_ARG(level->shown), STR_ARG(level->prefix), STR_ARG(key),
            STR_ARG(str_slice(key, dot + 1, key.len)), STR_ARG(str_slice(key, 0, dot)));
    return false;
}

static bool check_child(struct names *n, const struct conf_node *child, const struct level *level)
{
    struct str key =
        arena_printf(n->arena, STR_FMT STR_FMT, STR_ARG(level->prefix), STR_ARG(child->key));
    const struct conf_row *row = row_by_key(level->rows, key);
    const char *where = arena_printf(n->arena, "%s:%u", n->source->file, child->line).data;

    if (row && str_index(child->key, '.') < child->key.len)
        return refuse_dots(n, where, level, child);
    if (row)
        return row->type != CONF_ITEMS || check_items(n, child, row);
    if (is_secret_file(level->rows, key))
        return true;
    if (!is_section(level->rows, key))
        return unknown(n, where, level, key);
    if (child->kind == CONF_NODE_MAP) {
        const struct level deeper = {.rows = level->rows,
                                     .prefix = arena_printf(n->arena, STR_FMT ".", STR_ARG(key)),
                                     .shown = level->shown};
        return check_map(n, child, &deeper);
    }
    if (conf_node_is_null(child))
        return true;
    err_set(n->err, ERR_CONFIG, "%s: '" STR_FMT STR_FMT "' must be a map of settings", where,
            STR_ARG(level->shown), STR_ARG(key));
    return false;
}

static bool check_map(struct names *n, const struct conf_node *map, const struct level *level)
{
    for (const struct conf_node *child = map->first; child; child = child->next)
        if (!check_child(n, child, level))
            return false;
    return true;
}

/* "kafka.properties.linger.ms" and "models.gpt.timeout": the rest belongs to the row. */
static bool is_open(const struct conf_row *rows, struct str key)
{
    for (const struct conf_row *row = rows; row->key; row++)
        if ((row->type == CONF_PROPS || row->type == CONF_ITEMS) &&
            str_starts(key, str_of(row->key)) && key.len > strlen(row->key) + 1 &&
            key.data[strlen(row->key)] == '.')
            return true;
    return false;
}

static bool check_flags(struct names *n, const struct level *level)
{
    for (size_t i = 0; i < n->source->flag_count; i++) {
        struct str key = str_of(n->source->flags[i].key), rest = key, section;
        bool ignored = str_split(&rest, '.', &section) && rest.data && is_ignored(n, section);
        const struct conf_row *row = row_by_key(level->rows, key);
        if (row && (row->type == CONF_PROPS || row->type == CONF_ITEMS)) {
            err_set(n->err, ERR_CONFIG, "command line: '%s' is a map, give '%s.NAME'", row->key,
                    row->key);
            return false;
        }
        if (!row && !ignored && !is_open(level->rows, key))
            return unknown(n, "command line", level, key);
    }
    return true;
}

bool conf_check_names(const struct conf_row *rows, const struct conf_source *source,
                      const struct conf_node *root, struct arena *arena, struct err *err)
{
    struct names n = {.source = source, .arena = arena, .err = err};
    const struct level top = {.rows = rows, .prefix = STR(""), .shown = STR("")};

    for (const struct conf_node *child = root ? root->first : NULL; child; child = child->next)
        if (!is_ignored(&n, child->key) && !check_child(&n, child, &top))
            return false;
    return check_flags(&n, &top);
}

/* The environment */

/* One variable beside the names of all settings. */
struct variables {
    struct arena *arena;
    struct str name; /* the one in question */
    bool known;
    bool guess; /* it is not known: look for the nearest, among all items */
    struct str nearest;
    unsigned distance;
};

static void see_rows(struct variables *v, const struct conf_row *rows, struct str prefix,
                     const void *target);

static void see(struct variables *v, struct str candidate)
{
    v->known |= str_eq(v->name, candidate);
    unsigned distance = v->guess ? str_distance(v->name, candidate) : v->distance;
    if (distance >= v->distance)
        return;
    v->distance = distance;
    v->nearest = candidate;
}

static void see_items(struct variables *v, const struct conf_row *row, struct str environment,
                      const void *target)
{
    const struct conf_items *items = (const void *)((const char *)target + row->offset);
    const struct conf_row *name_row = row_by_key(row->items, STR("name"));

    for (size_t i = 0; name_row && i < items->count; i++) {
        const void *item = (const char *)items->items + i * row->item_size;
        const struct str *name = (const void *)((const char *)item + name_row->offset);
        struct str word = conf_environment_word(v->arena, *name);
        struct str prefix =
            arena_printf(v->arena, STR_FMT "__" STR_FMT "__", STR_ARG(environment), STR_ARG(word));
        if (v->guess || str_starts(v->name, prefix))
            see_rows(v, row->items, prefix, item);
    }
}

static void see_rows(struct variables *v, const struct conf_row *rows, struct str prefix,
                     const void *target)
{
    for (const struct conf_row *row = rows; row->key && !v->known; row++) {
        struct arena *arena = v->arena;
        struct str own = conf_environment_name(arena, prefix, str_of(row->key));
        if (row->type == CONF_ITEMS) {
            see_items(v, row, own, target);
        } else if (row->type == CONF_PROPS) {
            struct str open = arena_printf(arena, STR_FMT "__", STR_ARG(own));
            v->known |= str_starts(v->name, open);
        } else {
            see(v, own);
            if (conf_is_secret(row) || str_ends(v->name, STR("_FILE")))
                see(v, arena_printf(arena, STR_FMT "_FILE", STR_ARG(own)));
        }
    }
}

static bool variable_is_ignored(struct names *n, struct str name, struct str value)
{
    struct str rest = str_of(n->source->ignore_prefixes), section;

    while (str_split(&rest, ',', &section)) {
        struct str own = conf_environment_name(n->arena, STR("QUERN_"), section);
        if (str_starts(name, arena_printf(n->arena, STR_FMT "__", STR_ARG(own))))
            return true;
    }
    return n->source->is_foreign && n->source->is_foreign(name, value);
}

static void see_all(struct variables *v, const struct names *n, const struct conf_row *rows,
                    const void *target)
{
    for (const char *const *own = n->source->variables; own && *own; own++)
        see(v, str_of(*own));
    see_rows(v, rows, STR("QUERN_"), target);
}

static void refuse_variable(const struct variables *v, struct err *err)
{
    struct str shown = str_utf8_cut(v->name, 100);

    if (v->nearest.data)
        err_set(err, ERR_CONFIG,
                "environment: " STR_FMT " names no setting, did you mean " STR_FMT "?",
                STR_ARG(shown), STR_ARG(v->nearest));
    else
        err_set(err, ERR_CONFIG,
                "environment: " STR_FMT " names no setting; unset it, or see --help for all of "
                "them",
                STR_ARG(shown));
}

/* Names are made in memory of their own: with thousands of models they are many. */
static bool check_variable(struct names *n, const struct conf_row *rows, const void *target,
                           struct str name)
{
    struct arena scratch;
    struct variables v = {.arena = &scratch,
                          .name = name,
                          .distance = name.len < strlen("QUERN_") + 6 ? 3 : GUESS_DISTANCE_MAX + 1};

    arena_init(&scratch, NULL, SCRATCH_BYTES_MAX);
    see_all(&v, n, rows, target);
    if (!v.known) {
        v.guess = true;
        see_all(&v, n, rows, target);
        refuse_variable(&v, n->err);
    }
    arena_done(&scratch);
    return v.known;
}

bool conf_check_environment(const struct conf_row *rows, const struct conf_source *source,
                            const void *target, struct arena *arena, struct err *err)
{
    struct names n = {.source = source, .arena = arena, .err = err};

    for (const char *const *e = source->environment; e && *e; e++) {
        struct str rest = str_of(*e), name;
        if (!str_starts(rest, STR("QUERN_")) || !str_split(&rest, '=', &name))
            continue;
        if (!variable_is_ignored(&n, name, rest) && !check_variable(&n, rows, target, name))
            return false;
    }
    return true;
}
