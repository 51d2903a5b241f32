/*
 * conf_print.c -- the tables as pages: values in force, sample file, reference, JSON Schema.
 */
#include <stdio.h>

#include "common/data/conf.h"
#include "common/data/conf_value.h"
#include "common/data/json.h"

static struct str section_of(struct str key)
{
    size_t dot = str_index(key, '.');
    return dot == key.len ? (struct str){0} : str_slice(key, 0, dot);
}

static struct str leaf_of(struct str key)
{
    size_t dot = str_index(key, '.');
    return dot == key.len ? key : str_slice(key, dot + 1, key.len);
}

static void indent(struct buf *ret, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        buf_add_str(ret, STR("  "));
}

/* YAML takes JSON's quoted form for any text. */
static void print_text(struct buf *ret, const struct conf_row *row, struct str text)
{
    bool quoted = row->type == CONF_STR || row->type == CONF_SECRET || row->type == CONF_ENUM;
    if (row->type == CONF_SECRET && !str_empty(text))
        text = STR("***");
    if (row->type == CONF_STRS)
        buf_printf(ret, "[" STR_FMT "]", STR_ARG(text));
    else if (quoted)
        buf_add_json_str(ret, text);
    else
        buf_add_str(ret, text);
}

static void print_scalar(struct buf *ret, const struct conf_row *row, const void *target)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    conf_value_write(row, target, &text);
    print_text(ret, row, buf_str(&text));
    buf_done(&text);
    buf_add_char(ret, '\n');
}

static bool is_secret_property(struct str key)
{
    return str_ends(key, STR("password")) || str_ends(key, STR("secret")) ||
           str_ends(key, STR("key.pem")) || str_ends(key, STR("sasl.jaas.config"));
}

static void print_props(struct buf *ret, const struct conf_props *props, unsigned depth)
{
    buf_add_str(ret, props->count ? STR("\n") : STR(" {}\n"));
    for (size_t i = 0; i < props->count; i++) {
        indent(ret, depth);
        buf_add_json_str(ret, props->keys[i]);
        buf_add_str(ret, STR(": "));
        buf_add_json_str(ret, is_secret_property(props->keys[i]) ? STR("***") : props->values[i]);
        buf_add_char(ret, '\n');
    }
}

static void print_items(struct buf *ret, const struct conf_row *row, const void *target)
{
    const struct conf_items *items = conf_member_const(row, target);
    buf_add_str(ret, items->count ? STR("\n") : STR(" []\n"));
    for (size_t i = 0; i < items->count; i++) {
        const void *item = (const char *)items->items + i * row->item_size;
        for (const struct conf_row *inner = row->items; inner->key; inner++) {
            buf_printf(ret, "%s%s:", inner == row->items ? "  - " : "    ", inner->key);
            if (inner->type == CONF_PROPS) {
                print_props(ret, conf_member_const(inner, item), 3);
                continue;
            }
            buf_add_char(ret, ' ');
            print_scalar(ret, inner, item);
        }
    }
}

void conf_print(const struct conf_row *rows, const void *target, struct buf *ret)
{
    struct str section = {0};
    for (const struct conf_row *row = rows; row->key; row++) {
        struct str key = str_of(row->key), mine = section_of(key);
        if (mine.data && !str_eq(mine, section))
            buf_printf(ret, STR_FMT ":\n", STR_ARG(mine));
        section = mine;
        indent(ret, mine.data ? 1 : 0);
        buf_printf(ret, STR_FMT ":", STR_ARG(leaf_of(key)));
        if (row->type == CONF_PROPS) {
            print_props(ret, conf_member_const(row, target), 2);
        } else if (row->type == CONF_ITEMS) {
            print_items(ret, row, target);
        } else {
            buf_add_char(ret, ' ');
            print_scalar(ret, row, target);
        }
    }
}

static void sample_row(struct buf *ret, const struct conf_row *row, const char *margin)
{
    struct str leaf = leaf_of(str_of(row->key));
    buf_printf(ret, "%s# %s", margin, row->sentence);
    if (row->choices)
        buf_printf(ret, " (%s)", row->choices);
    buf_printf(ret, "\n%s# " STR_FMT ": ", margin, STR_ARG(leaf));
    if (row->type == CONF_PROPS)
        buf_add_str(ret, STR("{}"));
    else
        print_text(ret, &(struct conf_row){.type = row->type == CONF_SECRET ? CONF_STR : row->type},
                   str_of(row->otherwise ? row->otherwise : ""));
    buf_add_char(ret, '\n');
}

void conf_sample(const struct conf_row *rows, struct buf *ret)
{
    struct str section = {0};
    buf_add_str(ret, STR("# Every setting with its default, commented out.\n"));
    for (const struct conf_row *row = rows; row->key; row++) {
        struct str mine = section_of(str_of(row->key));
        if (mine.data && !str_eq(mine, section))
            buf_printf(ret, "\n" STR_FMT ":\n", STR_ARG(mine));
        else if (!mine.data)
            buf_add_char(ret, '\n');
        section = mine;
        if (row->type != CONF_ITEMS) {
            sample_row(ret, row, mine.data ? "  " : "");
            continue;
        }
        buf_printf(ret, "# %s\n%s:\n#  example:\n", row->sentence, row->key);
        for (const struct conf_row *inner = row->items; inner->key; inner++)
            if (strcmp(inner->key, "name") != 0)
                sample_row(ret, inner, "    ");
    }
}

static const char *type_words(enum conf_type type)
{
    static const char *const words[] = {"text",     "secret", "number",      "size",
                                        "duration", "number", "boolean",     "choice",
                                        "list",     "map",    "list of maps"};
    return words[type];
}

static void reference_row(struct buf *ret, const struct conf_row *row, const char *prefix)
{
    buf_printf(ret, "| `%s%s` | %s", prefix, row->key, type_words(row->type));
    for (const char *c = row->choices; c && *c; c++) {
        if (c == row->choices)
            buf_add_str(ret, STR(": "));
        buf_add_str(ret, *c == '|' ? STR(", ") : str_from(c, 1));
    }
    if (row->min || row->max)
        buf_printf(ret, ", %lld to %lld%s", (long long)row->min, (long long)row->max,
                   row->type == CONF_DURATION ? " ms" : "");
    buf_printf(ret, " | %s%s%s | %s | %s |\n", row->otherwise && *row->otherwise ? "`" : "",
               row->otherwise ? row->otherwise : "required",
               row->otherwise && *row->otherwise ? "`" : "", row->reloadable ? "yes" : "no",
               row->sentence);
}

void conf_reference(const struct conf_row *rows, struct buf *ret)
{
    buf_add_str(ret, STR("| Setting | Type | Default | Reload | Meaning |\n"
                         "| --- | --- | --- | --- | --- |\n"));
    for (const struct conf_row *row = rows; row->key; row++) {
        reference_row(ret, row, "");
        for (const struct conf_row *inner = row->items; inner && inner->key; inner++)
            reference_row(ret, inner, "models.NAME.");
    }
}

static const char *json_type(enum conf_type type)
{
    switch (type) {
    case CONF_INT:
        return "integer";
    case CONF_REAL:
        return "number";
    case CONF_BOOL:
        return "boolean";
    case CONF_PROPS:
    case CONF_ITEMS:
        return "object";
    default:
        return "string";
    }
}

static void schema_rows(struct json_writer *w, const struct conf_row *rows, struct str section);

static void schema_row(struct json_writer *w, const struct conf_row *row)
{
    struct str rest = str_of(row->choices), choice;
    json_open(w, '{');
    json_key(w, "description");
    json_str(w, str_of(row->sentence));
    if (row->type == CONF_ENUM) {
        json_key(w, "enum");
        json_open(w, '[');
        while (str_split(&rest, '|', &choice))
            json_str(w, choice);
        json_close(w, ']');
    } else if (row->type != CONF_ITEMS && row->type != CONF_STRS) {
        json_key(w, "type");
        json_str(w, str_of(json_type(row->type)));
    }
    if (row->type == CONF_INT && (row->min || row->max)) {
        json_key(w, "minimum");
        json_int(w, row->min);
        json_key(w, "maximum");
        json_int(w, row->max);
    }
    if (row->type == CONF_ITEMS) {
        json_key(w, "type");
        json_str(w, STR("object"));
        json_key(w, "additionalProperties");
        json_open(w, '{');
        json_key(w, "type");
        json_str(w, STR("object"));
        schema_rows(w, row->items, (struct str){0});
        json_close(w, '}');
    }
    json_close(w, '}');
}

/* The rows of one section, or all that are in none. */
static void schema_rows(struct json_writer *w, const struct conf_row *rows, struct str section)
{
    json_key(w, "additionalProperties");
    json_bool(w, false);
    json_key(w, "properties");
    json_open(w, '{');
    for (const struct conf_row *row = rows; row->key; row++) {
        struct str key = str_of(row->key);
        if (!str_eq(section_of(key), section))
            continue;
        char name[128];
        snprintf(name, sizeof(name), STR_FMT, STR_ARG(leaf_of(key)));
        json_key(w, name);
        schema_row(w, row);
    }
    if (section.data) {
        json_close(w, '}');
        return;
    }
    struct str last = {0};
    for (const struct conf_row *row = rows; row->key; row++) {
        struct str mine = section_of(str_of(row->key));
        char name[128];
        if (!mine.data || str_eq(mine, last))
            continue;
        last = mine;
        snprintf(name, sizeof(name), STR_FMT, STR_ARG(mine));
        json_key(w, name);
        json_open(w, '{');
        json_key(w, "type");
        json_str(w, STR("object"));
        schema_rows(w, rows, mine);
        json_close(w, '}');
    }
    json_close(w, '}');
}

void conf_json_schema(const struct conf_row *rows, const char *title, struct buf *ret)
{
    struct json_writer w = {.out = ret};
    json_open(&w, '{');
    json_key(&w, "$schema");
    json_str(&w, STR("https://json-schema.org/draft/2020-12/schema"));
    json_key(&w, "title");
    json_str(&w, str_of(title));
    json_key(&w, "type");
    json_str(&w, STR("object"));
    schema_rows(&w, rows, (struct str){0});
    json_close(&w, '}');
    buf_add_char(ret, '\n');
}
