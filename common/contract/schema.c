/*
 * schema.c -- JSON Schema (draft 2020-12) of a message.
 *
 * Our limits on strings are bytes of UTF-8; JSON Schema counts characters. maxLength is therefore
 * necessary, not sufficient, and the description names the bytes. Fields that may be absent may
 * also be null. What crosses fields (input or messages) is not expressed.
 */
#include "common/contract/schema.h"

#include "common/base/must.h"
#include "common/contract/field.h"

void schema_text(struct json_writer *w, const char *key, const char *text)
{
    json_key(w, key);
    json_str(w, str_of(text));
}

static void describe(struct json_writer *w, const struct field *field)
{
    bool bytes = field->bytes_max > 0;
    if (!field->sentence[0] && !bytes)
        return;
    char text[512];
    if (!bytes)
        snprintf(text, sizeof(text), "%s", field->sentence);
    else if (field->type == FIELD_ANY)
        snprintf(text, sizeof(text), "%s (at most %zu bytes as MessagePack)", field->sentence,
                 field->bytes_max);
    else
        snprintf(text, sizeof(text), "%s (at most %zu bytes of UTF-8%s)", field->sentence,
                 field->bytes_max, field->type == FIELD_STRS ? " each" : "");
    schema_text(w, "description", text);
}

/* "type": "string", or with null for what may be absent. */
static void put_type(struct json_writer *w, const char *type, bool must)
{
    json_key(w, "type");
    if (must) {
        json_str(w, str_of(type));
        return;
    }
    json_open(w, '[');
    json_str(w, str_of(type));
    json_str(w, STR("null"));
    json_close(w, ']');
}

static void put_number(struct json_writer *w, const char *key, int64_t n)
{
    json_key(w, key);
    json_int(w, n);
}

static void put_choices(struct json_writer *w, const struct field *field)
{
    json_key(w, "enum");
    json_open(w, '[');
    struct str rest = str_of(field->choices), one;
    while (str_split(&rest, '|', &one))
        json_str(w, one);
    if (!field->must)
        json_null(w);
    json_close(w, ']');
    json_key(w, "default");
    json_str(w, field->first);
}

static void put_kinds(struct json_writer *w, const struct field *field)
{
    json_key(w, "type");
    json_open(w, '[');
    struct str rest = str_of(field->choices), one;
    while (str_split(&rest, '|', &one)) {
        const char *type = str_is(one, "map") ? "object" : str_is(one, "list") ? "array" : "string";
        json_str(w, str_of(type));
    }
    if (!field->must)
        json_str(w, STR("null"));
    json_close(w, ']');
}

/* Bounds that are those of the type say nothing. */
static void put_int_bounds(struct json_writer *w, const struct field *field)
{
    if (field->min > INT64_MIN + 1)
        put_number(w, "minimum", field->min);
    if (field->max < INT64_MAX)
        put_number(w, "maximum", field->max);
    if (field->otherwise != INT_ABSENT)
        put_number(w, "default", field->otherwise);
}

static void put_ref(struct json_writer *w, const struct contract *part, const char *refs)
{
    char text[128];
    snprintf(text, sizeof(text), "%s%s", refs, part->name);
    json_open(w, '{');
    schema_text(w, "$ref", text);
    json_close(w, '}');
}

static void put_part(struct json_writer *w, const struct field *field, const char *refs)
{
    json_key(w, "anyOf");
    json_open(w, '[');
    put_ref(w, field->part, refs);
    json_open(w, '{');
    schema_text(w, "type", "null");
    json_close(w, '}');
    json_close(w, ']');
}

static void put_list(struct json_writer *w, const struct field *field, const char *refs)
{
    put_type(w, "array", field->must);
    put_number(w, "maxItems", (int64_t)field->items_max);
    json_key(w, "items");
    if (field->type == FIELD_SUBS) {
        put_ref(w, field->part, refs);
        return;
    }
    json_open(w, '{');
    put_type(w, "string", true);
    put_number(w, "maxLength", (int64_t)field->bytes_max);
    json_close(w, '}');
}

static void put_property(struct json_writer *w, const struct field *field, const char *refs)
{
    json_key(w, field->name.data);
    json_open(w, '{');
    describe(w, field);
    switch (field->type) {
    case FIELD_STR:
        put_type(w, "string", field->must);
        if (field->must)
            put_number(w, "minLength", 1);
        put_number(w, "maxLength", (int64_t)field->bytes_max);
        break;
    case FIELD_ENUM:
        put_choices(w, field);
        break;
    case FIELD_INT:
        put_type(w, "integer", field->must);
        put_int_bounds(w, field);
        break;
    case FIELD_REAL:
        put_type(w, "number", field->must);
        json_key(w, "minimum");
        json_real(w, field->low);
        json_key(w, "maximum");
        json_real(w, field->high);
        break;
    case FIELD_BOOL:
        put_type(w, "boolean", field->must);
        json_key(w, "default");
        json_bool(w, field->otherwise != 0);
        break;
    case FIELD_ANY:
        put_kinds(w, field);
        break;
    case FIELD_SUB:
        put_part(w, field, refs);
        break;
    case FIELD_STRS:
    case FIELD_SUBS:
        put_list(w, field, refs);
        break;
    }
    json_close(w, '}');
}

void schema_members(struct json_writer *w, const struct contract *contract, const char *refs)
{
    schema_text(w, "title", contract->name);
    schema_text(w, "description", contract->sentence);
    schema_text(w, "type", "object");
    json_key(w, "properties");
    json_open(w, '{');
    bool required = false;
    for (size_t i = 0; i < contract->field_count; i++) {
        put_property(w, &contract->fields[i], refs);
        required |= contract->fields[i].must;
    }
    json_close(w, '}');
    if (required) {
        json_key(w, "required");
        json_open(w, '[');
        for (size_t i = 0; i < contract->field_count; i++) {
            if (contract->fields[i].must)
                json_str(w, contract->fields[i].name);
        }
        json_close(w, ']');
    }
    json_key(w, "additionalProperties");
    json_bool(w, true);
}

/* Whether `part` is somewhere inside `contract`. */
static bool contains(const struct contract *contract, const struct contract *part)
{
    for (size_t i = 0; i < contract->field_count; i++) {
        const struct contract *inner = contract->fields[i].part;
        if (inner && (inner == part || contains(inner, part)))
            return true;
    }
    return false;
}

void contract_json_schema(const struct contract *contract, struct buf *ret)
{
    struct json_writer w = {.out = ret, .pretty = true};
    char id[64];
    snprintf(id, sizeof(id), "urn:quern:schema:%s", contract->name);

    json_open(&w, '{');
    schema_text(&w, "$schema", "https://json-schema.org/draft/2020-12/schema");
    schema_text(&w, "$id", id);
    schema_members(&w, contract, "#/$defs/");
    json_key(&w, "$defs");
    json_open(&w, '{');
    for (size_t i = 0; i < contract_count; i++) {
        if (!contains(contract, contracts[i]))
            continue;
        json_key(&w, contracts[i]->name);
        json_open(&w, '{');
        schema_members(&w, contracts[i], "#/$defs/");
        json_close(&w, '}');
    }
    json_close(&w, '}');
    json_close(&w, '}');
    buf_add_char(ret, '\n');
}
