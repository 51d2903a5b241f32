/*
 * conf_tree.c -- libyaml's events become nodes, by recursive descent that is bounded in depth.
 *
 * libyaml stops at syntax; everything beyond it (aliases, twice the same key, a second document) is
 * refused here with the line, as each of them hides something from the reader of the file. Every
 * event is deleted where it was fetched.
 */
#include "common/data/conf_tree.h"

#include <yaml.h>

#include "common/base/must.h"

enum { DEPTH_MAX = 16, NODES_MAX = 20000 };

struct reader {
    yaml_parser_t parser;
    const char *name;
    struct arena *arena;
    unsigned nodes;
    struct err *err;
};

static bool fail(struct reader *r, size_t line, const char *what)
{
    err_set(r->err, ERR_CONFIG, "%s:%zu: %s", r->name, line + 1, what);
    return false;
}

static bool next_event(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event))
        return true;
    return fail(r, r->parser.problem_mark.line,
                r->parser.problem ? r->parser.problem : "not valid YAML");
}

static struct conf_node *new_node(struct reader *r, enum conf_node_kind kind,
                                  const yaml_event_t *event)
{
    struct conf_node *node = arena_new(r->arena, struct conf_node);
    node->kind = kind;
    node->line = (unsigned)event->start_mark.line + 1;
    return node;
}

static void add_child(struct conf_node *parent, struct conf_node *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

/* A plain `~`, `null` or nothing is "not given"; in quotes it is text. */
static struct str scalar_text(struct reader *r, const yaml_event_t *event)
{
    struct str text = str_from((const char *)event->data.scalar.value, event->data.scalar.length);
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (plain && (str_empty(text) || str_is(text, "~") || str_is(text, "null")))
        return (struct str){0};
    return arena_str(r->arena, text);
}

static bool read_node(struct reader *r, yaml_event_t *event, unsigned depth,
                      struct conf_node **ret);

static bool read_list(struct reader *r, struct conf_node *list, unsigned depth)
{
    for (;;) {
        yaml_event_t event;
        struct conf_node *child = NULL;
        if (!next_event(r, &event))
            return false;
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        bool good = end || read_node(r, &event, depth, &child);
        yaml_event_delete(&event);
        if (end || !good)
            return good;
        add_child(list, child);
    }
}

static bool read_key(struct reader *r, struct conf_node *map, const yaml_event_t *event,
                     struct str *ret)
{
    if (event->type != YAML_SCALAR_EVENT)
        return fail(r, event->start_mark.line, "a key must be plain text");
    *ret = arena_str(r->arena,
                     str_from((const char *)event->data.scalar.value, event->data.scalar.length));
    const struct conf_node *first = conf_node_child(map, *ret);
    if (!first)
        return true;
    struct str shown = str_utf8_cut(*ret, 80);
    err_set(r->err, ERR_CONFIG, "%s:%zu: the key '" STR_FMT "' stands there twice, first at %s:%u",
            r->name, event->start_mark.line + 1, STR_ARG(shown), r->name, first->line);
    return false;
}

static bool read_map(struct reader *r, struct conf_node *map, unsigned depth)
{
    for (;;) {
        yaml_event_t event;
        struct conf_node *child = NULL;
        struct str key;
        if (!next_event(r, &event))
            return false;
        bool end = event.type == YAML_MAPPING_END_EVENT;
        unsigned line = (unsigned)event.start_mark.line + 1;
        bool good = end || read_key(r, map, &event, &key);
        yaml_event_delete(&event);
        if (end || !good)
            return good;
        if (!next_event(r, &event))
            return false;
        good = read_node(r, &event, depth, &child);
        yaml_event_delete(&event);
        if (!good)
            return false;
        child->key = key;
        child->line = line;
        add_child(map, child);
    }
}

static bool read_node(struct reader *r, yaml_event_t *event, unsigned depth, struct conf_node **ret)
{
    if (depth >= DEPTH_MAX || ++r->nodes > NODES_MAX)
        return fail(r, event->start_mark.line, "nested too deep or too large");
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        *ret = new_node(r, CONF_NODE_SCALAR, event);
        (*ret)->text = scalar_text(r, event);
        return true;
    case YAML_SEQUENCE_START_EVENT:
        *ret = new_node(r, CONF_NODE_LIST, event);
        return read_list(r, *ret, depth + 1);
    case YAML_MAPPING_START_EVENT:
        *ret = new_node(r, CONF_NODE_MAP, event);
        return read_map(r, *ret, depth + 1);
    default: /* an alias could blow a small file up, and hides where a value comes from */
        return fail(r, event->start_mark.line, "aliases (*name) are not taken");
    }
}

/* stream start, document start, the node, document end, stream end */
static bool read_stream(struct reader *r, struct conf_node **ret)
{
    struct conf_node *root = NULL;
    for (;;) {
        yaml_event_t event;
        if (!next_event(r, &event))
            return false;
        bool end = event.type == YAML_STREAM_END_EVENT, good = true;
        if (event.type == YAML_DOCUMENT_START_EVENT && root)
            good = fail(r, event.start_mark.line, "only one document is taken");
        else if (event.type != YAML_STREAM_START_EVENT && !end &&
                 event.type != YAML_DOCUMENT_START_EVENT && event.type != YAML_DOCUMENT_END_EVENT)
            good = read_node(r, &event, 0, &root);
        yaml_event_delete(&event);
        if (!good)
            return false;
        if (end)
            break;
    }
    if (!root || conf_node_is_null(root)) {
        root = arena_new(r->arena, struct conf_node);
        root->kind = CONF_NODE_MAP;
    }
    if (root->kind != CONF_NODE_MAP)
        return fail(r, 0, "the file must be a map of sections");
    *ret = root;
    return true;
}

bool conf_tree_read(struct str text, const char *name, struct arena *arena, struct conf_node **ret,
                    struct err *err)
{
    struct reader r = {.name = name, .arena = arena, .err = err};
    must(yaml_parser_initialize(&r.parser));
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.data, text.len);
    bool good = read_stream(&r, ret);
    yaml_parser_delete(&r.parser);
    return good;
}

struct conf_node *conf_node_child(const struct conf_node *map, struct str key)
{
    for (struct conf_node *child = map->first; child; child = child->next)
        if (str_eq(child->key, key))
            return child;
    return NULL;
}
