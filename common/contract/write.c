/*
 * write.c -- structs into JSON or MessagePack, straight into the buffer, without a tree.
 *
 * MessagePack wants the number of pairs before the pairs, so each object is looked through twice:
 * once for which fields are worth writing (a bit each), once to write those.
 */
#include "common/contract/field.h"

#include "common/base/must.h"
#include "common/contract/write.h"
#include "common/data/json.h"
#include "common/data/wire.h"

struct writer {
    enum contract_form form;
    struct json_writer json;
};

static void put_map(struct writer *w, size_t pairs)
{
    if (w->form == FORM_JSON)
        json_open(&w->json, '{');
    else
        wire_map(w->json.out, pairs);
}

static void put_list(struct writer *w, size_t items)
{
    if (w->form == FORM_JSON)
        json_open(&w->json, '[');
    else
        wire_list(w->json.out, items);
}

static void put_end(struct writer *w, char bracket)
{
    if (w->form == FORM_JSON)
        json_close(&w->json, bracket);
}

static void put_str(struct writer *w, struct str s)
{
    if (w->form == FORM_JSON)
        json_str(&w->json, s);
    else
        wire_str(w->json.out, s);
}

static void put_int(struct writer *w, int64_t n)
{
    if (w->form == FORM_JSON)
        json_int(&w->json, n);
    else
        wire_int(w->json.out, n);
}

static void put_real(struct writer *w, double d)
{
    if (w->form == FORM_JSON)
        json_real(&w->json, d);
    else
        wire_real(w->json.out, d);
}

static void put_bool(struct writer *w, bool b)
{
    if (w->form == FORM_JSON)
        json_bool(&w->json, b);
    else
        wire_bool(w->json.out, b);
}

static void put_value(struct writer *w, const struct value *value)
{
    switch (w->form) {
    case FORM_JSON:
        json_value(&w->json, value);
        return;
    case FORM_MSGPACK:
        wire_write(value, w->json.out);
        return;
    case FORM_CANONICAL:
        wire_write_canonical(value, w->json.out);
        return;
    }
    must_not_reach("form");
}

static void put_key(struct writer *w, struct str name)
{
    if (w->form == FORM_JSON)
        json_key(&w->json, name.data);
    else
        wire_str(w->json.out, name);
}

static bool is_default(const struct contract *contract, const void *object);

static bool has_default(const struct field *field, const void *object)
{
    switch (field->type) {
    case FIELD_STR:
        return !FIELD_AT(object, field, struct str)->data;
    case FIELD_ENUM: {
        struct str name = *FIELD_AT(object, field, struct str);
        return (!name.data || str_eq(name, field->first)) && !str_eq(field->name, STR("status"));
    }
    case FIELD_INT: {
        int64_t n = *FIELD_AT(object, field, int64_t);
        return n == field->otherwise || n == INT_ABSENT;
    }
    case FIELD_REAL:
        return isnan(*FIELD_AT(object, field, double));
    case FIELD_BOOL:
        return *FIELD_AT(object, field, bool) == (field->otherwise != 0);
    case FIELD_ANY:
        return !field_free(object, field);
    case FIELD_STRS:
        return FIELD_AT(object, field, struct str_list)->count == 0;
    case FIELD_SUB:
        return is_default(field->part, FIELD_AT(object, field, char));
    case FIELD_SUBS:
        return field_parts(object, field).count == 0;
    }
    must_not_reach("type of field");
}

static bool is_default(const struct contract *contract, const void *object)
{
    if (contract_untouched(contract, object))
        return true;
    for (size_t i = 0; i < contract->field_count; i++)
        if (!has_default(&contract->fields[i], object))
            return false;
    return !contract_extra(contract, object);
}

static uint64_t worth_writing(const struct contract *contract, const void *object)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < contract->field_count; i++)
        bits |= (uint64_t)!has_default(&contract->fields[i], object) << i;
    return bits;
}

static void put_object(struct writer *w, const struct contract *contract, const void *object);

static void put_texts(struct writer *w, const struct str_list *list)
{
    put_list(w, list->count);
    for (size_t i = 0; i < list->count; i++)
        put_str(w, list->items[i]);
    put_end(w, ']');
}

static void put_parts(struct writer *w, const struct contract *part, struct part_list list)
{
    put_list(w, list.count);
    for (size_t i = 0; i < list.count; i++)
        put_object(w, part, list.items + i * part->size);
    put_end(w, ']');
}

static void put_field(struct writer *w, const struct field *field, const void *object)
{
    put_key(w, field->name);
    switch (field->type) {
    case FIELD_STR:
        put_str(w, *FIELD_AT(object, field, struct str));
        return;
    case FIELD_ENUM: {
        struct str name = *FIELD_AT(object, field, struct str);
        put_str(w, name.data ? name : field->first);
        return;
    }
    case FIELD_INT:
        put_int(w, *FIELD_AT(object, field, int64_t));
        return;
    case FIELD_REAL:
        put_real(w, *FIELD_AT(object, field, double));
        return;
    case FIELD_BOOL:
        put_bool(w, *FIELD_AT(object, field, bool));
        return;
    case FIELD_ANY:
        put_value(w, field_free(object, field));
        return;
    case FIELD_STRS:
        put_texts(w, FIELD_AT(object, field, struct str_list));
        return;
    case FIELD_SUB:
        put_object(w, field->part, FIELD_AT(object, field, char));
        return;
    case FIELD_SUBS:
        put_parts(w, field->part, field_parts(object, field));
        return;
    }
    must_not_reach("type of field");
}

/* In the canonical form the unknown fields are one map under the key "", which sorts them. */
static void put_extra(struct writer *w, const struct value *extra)
{
    if (w->form == FORM_CANONICAL) {
        put_key(w, STR(""));
        put_value(w, extra);
        return;
    }
    for (uint32_t i = 0; i < extra->count; i++) {
        if (w->form == FORM_JSON)
            json_key_str(&w->json, extra->pairs[i].key);
        else
            wire_str(w->json.out, extra->pairs[i].key);
        put_value(w, &extra->pairs[i].value);
    }
}

static void put_object(struct writer *w, const struct contract *contract, const void *object)
{
    const struct value *extra = contract_extra(contract, object);
    uint64_t bits = worth_writing(contract, object);
    size_t pairs = (size_t)__builtin_popcountll(bits);
    if (extra)
        pairs += w->form == FORM_CANONICAL ? 1 : extra->count;

    put_map(w, pairs);
    for (; bits; bits &= bits - 1)
        put_field(w, &contract->fields[__builtin_ctzll(bits)], object);
    if (extra)
        put_extra(w, extra);
    put_end(w, '}');
}

void contract_write_form(const struct contract *contract, const void *object,
                         enum contract_form form, struct buf *ret)
{
    struct writer w = {.form = form, .json = {.out = ret}};
    put_object(&w, contract, object);
}

void contract_write(const struct contract *contract, const void *object, enum encoding encoding,
                    struct buf *ret)
{
    contract_write_form(contract, object, encoding == ENCODING_JSON ? FORM_JSON : FORM_MSGPACK,
                        ret);
}
