/*
 * conf_reference.c -- tables as pages for people (Markdown) and for editors (JSON Schema).
 *
 * In the schema every plain value may also be a string, as strings may hold ${NAME}.
 */
#include "common/data/conf.h"
#include "common/data/conf_sections.h"
#include "common/data/conf_value.h"
#include "common/data/json.h"

struct type_words {
    const char *people;
    const char *schema; /* beside "string" */
};

static const struct type_words types[] = {
    [CONF_STR] = {"text", NULL},          [CONF_SECRET] = {"secret", NULL},
    [CONF_INT] = {"number", "integer"},   [CONF_BYTES] = {"size", "integer"},
    [CONF_DURATION] = {"duration", NULL}, [CONF_REAL] = {"number", "number"},
    [CONF_BOOL] = {"boolean", "boolean"}, [CONF_ENUM] = {"choice", NULL},
    [CONF_STRS] = {"list", "array"},      [CONF_SECRETS] = {"list of secrets", "array"},
    [CONF_PROPS] = {"map", NULL},         [CONF_ITEMS] = {"map of maps", NULL},
};

/* Markdown */

static void write_choices(const char *choices, struct buf *ret)
{
    struct str rest = str_of(choices), choice;

    for (bool first = true; str_split(&rest, '|', &choice); first = false)
        buf_printf(ret, "%s" STR_FMT, first ? ": " : ", ", STR_ARG(choice));
}

static void reference_row(const struct conf_row *row, const char *prefix, struct buf *ret)
{
    bool plain = row->otherwise && *row->otherwise;

    buf_printf(ret, "| `%s%s` | %s", prefix, row->key, types[row->type].people);
    if (row->type == CONF_ENUM)
        write_choices(row->choices, ret);
    if (row->min || row->max)
        buf_printf(ret, ", %lld to %lld%s", (long long)row->min, (long long)row->max,
                   row->type == CONF_DURATION ? " ms"
                   : row->type == CONF_BYTES  ? " bytes"
                                              : "");
    buf_printf(ret, " | %s%s%s", plain ? "`" : "", row->otherwise ? row->otherwise : "required",
               plain ? "`" : "");
    buf_printf(ret, " | %s | %s |\n", row->reloadable ? "yes" : "no", row->sentence);
}

void conf_reference(const struct conf_row *rows, struct buf *ret)
{
    buf_add_str(ret, STR("| Setting | Type | Default | Reload | Meaning |\n"
                         "| --- | --- | --- | --- | --- |\n"));
    CONF_EACH_BY_SECTION(rows, first, row)
    {
        char prefix[128];
        reference_row(row, "", ret);
        snprintf(prefix, sizeof(prefix), "%s.NAME.", row->key);
        for (const struct conf_row *inner = row->items; inner && inner->key; inner++)
            reference_row(inner, prefix, ret);
    }
}

/* JSON Schema */

static void schema_map(struct json_writer *w, const struct conf_row *rows, struct str section);

static void schema_types(struct json_writer *w, const char *const *names)
{
    json_key(w, "type");
    json_open(w, '[');
    for (; *names; names++)
        json_str(w, str_of(*names));
    json_close(w, ']');
}

static void schema_enum(struct json_writer *w, const char *choices)
{
    struct str rest = str_of(choices), choice;

    json_key(w, "enum");
    json_open(w, '[');
    while (str_split(&rest, '|', &choice))
        json_str(w, choice);
    json_close(w, ']');
}

/* A map of name to map; or a list, whose items have a name each. */
static void schema_items(struct json_writer *w, const struct conf_row *row)
{
    static const char *const both[] = {"object", "array", "null", NULL};
    static const char *const inner[] = {"object", "null", NULL};
    static const char *const kinds[] = {"additionalProperties", "items"};

    schema_types(w, both);
    for (size_t i = 0; i < 2; i++) {
        json_key(w, kinds[i]);
        json_open(w, '{');
        schema_types(w, inner);
        schema_map(w, row->items, (struct str){NULL, 0});
        json_close(w, '}');
    }
}

static void schema_props(struct json_writer *w)
{
    static const char *const map[] = {"object", "null", NULL};
    static const char *const value[] = {"string", "number", "boolean", "null", NULL};

    schema_types(w, map);
    json_key(w, "additionalProperties");
    json_open(w, '{');
    schema_types(w, value);
    json_close(w, '}');
}

static void schema_row(struct json_writer *w, const struct conf_row *row)
{
    const char *const plain[] = {"string", "null", types[row->type].schema, NULL};
    static const char *const zero_too[] = {"string", "null", "integer", NULL};

    json_open(w, '{');
    json_key(w, "description");
    json_str(w, str_of(row->sentence));
    switch (row->type) {
    case CONF_ENUM:
        schema_enum(w, row->choices);
        break;
    case CONF_ITEMS:
        schema_items(w, row);
        break;
    case CONF_PROPS:
        schema_props(w);
        break;
    case CONF_DURATION: /* as text, with its unit; the one number is 0 */
        schema_types(w, row->min ? plain : zero_too);
        break;
    default:
        schema_types(w, plain);
    }
    if (row->type == CONF_DURATION && !row->min) {
        json_key(w, "maximum");
        json_int(w, 0);
    }
    if ((row->min || row->max) && row->type != CONF_DURATION) {
        json_key(w, "minimum");
        json_int(w, row->min);
        json_key(w, "maximum");
        json_int(w, row->max);
    }
    json_close(w, '}');
}

static void schema_secret_file(struct json_writer *w, const struct conf_row *row)
{
    char name[128];

    snprintf(name, sizeof(name), STR_FMT "_file", STR_ARG(conf_leaf(row)));
    json_key(w, name);
    json_open(w, '{');
    json_key(w, "description");
    json_str(w, STR("A file that holds this secret"));
    json_key(w, "type");
    json_str(w, STR("string"));
    json_close(w, '}');
}

static void schema_leaf(struct json_writer *w, const struct conf_row *row)
{
    json_key_str(w, conf_leaf(row));
    schema_row(w, row);
    if (conf_is_secret(row))
        schema_secret_file(w, row);
}

/* The rows of one section; without a section: the rows that are in none, and all sections. */
static void schema_map(struct json_writer *w, const struct conf_row *rows, struct str section)
{
    static const char *const map[] = {"object", "null", NULL};

    json_key(w, "additionalProperties");
    json_bool(w, false);
    json_key(w, "properties");
    json_open(w, '{');
    CONF_EACH_BY_SECTION(rows, first, row)
    {
        struct str mine = conf_section(row);
        if (str_eq(mine, section)) {
            schema_leaf(w, row);
        } else if (!section.data && row == first) {
            json_key_str(w, mine);
            json_open(w, '{');
            schema_types(w, map);
            schema_map(w, rows, mine);
            json_close(w, '}');
        }
    }
    json_close(w, '}');
}

void conf_json_schema(const struct conf_row *rows, const char *title, struct buf *ret)
{
    struct json_writer w = {.out = ret, .pretty = true};

    json_open(&w, '{');
    json_key(&w, "$schema");
    json_str(&w, STR("https://json-schema.org/draft/2020-12/schema"));
    json_key(&w, "title");
    json_str(&w, str_of(title));
    json_key(&w, "type");
    json_str(&w, STR("object"));
    schema_map(&w, rows, (struct str){NULL, 0});
    json_close(&w, '}');
    buf_add_char(ret, '\n');
}
