/*
 * conf_print.c -- tables as YAML: the values in force, and the sample file.
 *
 * Rows of one section need not stand together in the table; they do in what is printed. Texts are
 * quoted. What is printed can be read again (secrets
 * are "***" then).
 */
#include "common/data/conf.h"
#include "common/data/conf_sections.h"
#include "common/data/conf_value.h"

enum { TEXT_BYTES_MAX = 1 << 20 };

static void print_row(const struct conf_row *row, const void *target, unsigned depth,
                      struct buf *ret);

/* The values in force */

/* What YAML 1.1 takes for a line break, or refuses, and JSON leaves as it is. */
static bool is_odd(uint32_t point)
{
    return (point >= 0x7f && point < 0xa0) || point == 0x2028 || point == 0x2029 ||
           point == 0xfeff || point == 0xfffe || point == 0xffff;
}

/* Of a code point of two or three bytes in valid UTF-8; others are never odd but 0x7f. */
static uint32_t code_point(const unsigned char *at, size_t len)
{
    if (len >= 3 && (at[0] & 0xf0) == 0xe0)
        return (at[0] & 0x0fu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
    if (len >= 2 && (at[0] & 0xe0) == 0xc0)
        return (at[0] & 0x1fu) << 6 | (at[1] & 0x3fu);
    return at[0] < 0x80 ? at[0] : 0;
}

/* JSON's quoted form is YAML's as well, once the odd ones are escaped. */
static void print_quoted(struct str text, struct buf *ret)
{
    struct buf json;

    buf_init(&json, 6 * text.len + 2);
    buf_add_json_str(&json, text);
    for (size_t i = 0; i < json.len; i++) {
        uint32_t point = code_point((const unsigned char *)json.data + i, json.len - i);
        if (!is_odd(point)) {
            buf_add_char(ret, json.data[i]);
            continue;
        }
        buf_printf(ret, "\\u%04x", point);
        i += point < 0x80 ? 0 : point < 0x800 ? 1 : 2;
    }
    buf_done(&json);
}

static void indent(struct buf *ret, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        buf_add_str(ret, STR("  "));
}

static void print_strs(const struct conf_strs *strs, struct buf *ret)
{
    buf_add_str(ret, STR(" ["));
    for (size_t i = 0; i < strs->count; i++) {
        buf_add_str(ret, i ? STR(", ") : STR(""));
        print_quoted(strs->items[i], ret);
    }
    buf_add_str(ret, STR("]\n"));
}

static void print_props(const struct conf_props *props, unsigned depth, struct buf *ret)
{
    buf_add_str(ret, props->count ? STR("\n") : STR(" {}\n"));
    for (size_t i = 0; i < props->count; i++) {
        indent(ret, depth);
        print_quoted(props->keys[i], ret);
        buf_add_str(ret, STR(": "));
        print_quoted(conf_is_secret_name(props->keys[i]) ? STR("***") : props->values[i], ret);
        buf_add_char(ret, '\n');
    }
}

/* As a list, as the name is a row like any other. */
static void print_items(const struct conf_row *row, const void *target, unsigned depth,
                        struct buf *ret)
{
    const struct conf_items *items = conf_member_const(row, target);

    buf_add_str(ret, items->count ? STR("\n") : STR(" []\n"));
    for (size_t i = 0; i < items->count; i++) {
        indent(ret, depth);
        buf_add_str(ret, STR("-\n"));
        for (const struct conf_row *inner = row->items; inner->key; inner++)
            print_row(inner, (const char *)items->items + i * row->item_size, depth + 1, ret);
    }
}

static void print_text(const struct conf_row *row, struct str text, struct buf *ret)
{
    buf_add_char(ret, ' ');
    if (row->type == CONF_SECRET && !str_empty(text))
        text = STR("***");
    if (row->type == CONF_STR || row->type == CONF_SECRET || row->type == CONF_ENUM ||
        str_empty(text))
        print_quoted(text, ret);
    else
        buf_add_str(ret, text);
    buf_add_char(ret, '\n');
}

/* How many there are is no secret. */
static void print_hidden(const struct conf_strs *strs, struct buf *ret)
{
    buf_add_str(ret, STR(" ["));
    for (size_t i = 0; i < strs->count; i++)
        buf_printf(ret, "%s\"***\"", i ? ", " : "");
    buf_add_str(ret, STR("]\n"));
}

static void print_row(const struct conf_row *row, const void *target, unsigned depth,
                      struct buf *ret)
{
    struct buf text;

    indent(ret, depth);
    buf_printf(ret, STR_FMT ":", STR_ARG(conf_leaf(row)));
    switch (row->type) {
    case CONF_PROPS:
        print_props(conf_member_const(row, target), depth + 1, ret);
        return;
    case CONF_ITEMS:
        print_items(row, target, depth + 1, ret);
        return;
    case CONF_SECRETS:
        print_hidden(conf_member_const(row, target), ret);
        return;
    case CONF_STRS:
        print_strs(conf_member_const(row, target), ret);
        return;
    default:
        buf_init(&text, TEXT_BYTES_MAX);
        conf_value_write(row, target, &text);
        print_text(row, buf_str(&text), ret);
        buf_done(&text);
    }
}

void conf_print(const struct conf_row *rows, const void *target, struct buf *ret)
{
    CONF_EACH_BY_SECTION(rows, first, row)
    {
        struct str section = conf_section(row);
        if (row == first && section.data)
            buf_printf(ret, STR_FMT ":\n", STR_ARG(section));
        print_row(row, target, section.data ? 1 : 0, ret);
    }
}

/* The sample file */

static void sample_default(const struct conf_row *row, struct buf *ret)
{
    struct str text = str_of(row->otherwise ? row->otherwise : "");

    if (row->type == CONF_PROPS)
        buf_add_str(ret, STR("{}"));
    else if (row->type == CONF_STRS || row->type == CONF_SECRETS)
        buf_printf(ret, "[" STR_FMT "]", STR_ARG(text));
    else if (row->type == CONF_STR || row->type == CONF_SECRET || str_empty(text))
        print_quoted(text, ret);
    else
        buf_add_str(ret, text);
}

static void sample_row(const struct conf_row *row, const char *margin, struct buf *ret)
{
    buf_printf(ret, "%s# %s", margin, row->sentence);
    if (row->type == CONF_ENUM)
        buf_printf(ret, " (%s)", row->choices);
    buf_printf(ret, "\n%s# " STR_FMT ": ", margin, STR_ARG(conf_leaf(row)));
    sample_default(row, ret);
    buf_add_char(ret, '\n');
}

static void sample_items(const struct conf_row *row, const char *margin, struct buf *ret)
{
    buf_printf(ret, "%s# %s\n%s" STR_FMT ":\n%s  # NAME:\n", margin, row->sentence, margin,
               STR_ARG(conf_leaf(row)), margin);
    for (const struct conf_row *inner = row->items; inner->key; inner++) {
        if (strcmp(inner->key, "name") == 0)
            continue; /* the key says it */
        buf_printf(ret, "%s  #   # %s", margin, inner->sentence);
        if (inner->type == CONF_ENUM)
            buf_printf(ret, " (%s)", inner->choices);
        buf_printf(ret, "\n%s  #   %s: ", margin, inner->key);
        sample_default(inner, ret);
        buf_add_char(ret, '\n');
    }
}

void conf_sample(const struct conf_row *rows, struct buf *ret)
{
    buf_add_str(
        ret, STR("# Every setting with its default, commented out. Texts may contain ${NAME} and\n"
                 "# ${NAME:-default} of the environment; KEY_file names a file with a secret.\n"));
    CONF_EACH_BY_SECTION(rows, first, row)
    {
        struct str section = conf_section(row);
        const char *margin = section.data ? "  " : "";
        if (row == first && section.data)
            buf_printf(ret, "\n" STR_FMT ":\n", STR_ARG(section));
        else if (!section.data)
            buf_add_char(ret, '\n');
        if (row->type == CONF_ITEMS)
            sample_items(row, margin, ret);
        else
            sample_row(row, margin, ret);
    }
}
