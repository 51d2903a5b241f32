/*
 * read.c -- value trees into structs, checked against their rows.
 *
 * Two halves: taking a value over into its member (right type, or a sentence saying what is wrong),
 * and checking a member against its limits. The second half alone is contract_check().
 *
 * Where we are in the document is a chain of `struct path` on the stack; it becomes text only when
 * something is wrong.
 */
#include "common/contract/field.h"

#include "common/base/must.h"

#define NO_INDEX SIZE_MAX

struct path {
    const struct path *outer; /* NULL: the document itself */
    const struct contract *contract;
    const struct field *field; /* NULL: the object as a whole */
    size_t index;
};

struct reader {
    struct arena *arena;
    struct err *err;
};

static size_t path_text(const struct path *path, char *ret, size_t room)
{
    size_t len = path->outer ? path_text(path->outer, ret, room) : 0;
    if (len < room && path->field)
        len += (size_t)snprintf(ret + len, room - len, "%s%s", len > 0 ? "." : "",
                                path->field->name.data);
    if (len < room && path->index != NO_INDEX)
        len += (size_t)snprintf(ret + len, room - len, "[%zu]", path->index);
    return len;
}

/* "merge.quorum must be ..."; false, so that callers return it. */
__attribute__((format(printf, 4, 5))) static bool
complain(const struct path *path, enum err_code code, struct err *err, const char *format, ...)
{
    char where[128] = "";
    path_text(path, where, sizeof(where));
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    if (where[0])
        err_set(err, code, "%s %s", where, what);
    else
        err_set(err, code, "the %s %s", path->contract->name, what);
    return false;
}

static const char *kind_words(enum value_kind kind)
{
    static const char *const words[] = {
        [VALUE_NULL] = "null",     [VALUE_BOOL] = "true or false", [VALUE_INT] = "a number",
        [VALUE_REAL] = "a number", [VALUE_STR] = "text",           [VALUE_LIST] = "a list",
        [VALUE_MAP] = "a map",
    };
    must((size_t)kind < sizeof(words) / sizeof(words[0]));
    return words[kind];
}

/* What a free value may be, as its row names it. */
static const char *kinds_words(const char *choices)
{
    static const struct {
        const char *choices, *words;
    } rows[] = {
        {"list", "a list"},
        {"map", "a map"},
        {"str|map", "text or a map"},
        {"str|list", "text or a list"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].choices, choices) == 0)
            return rows[i].words;
    must_not_reach("kinds of a free value");
}

static bool wrong_kind(const struct path *path, const char *expected, const struct value *value,
                       struct err *err)
{
    return complain(path, ERR_INVALID_REQUEST, err, "must be %s, is %s", expected,
                    kind_words(value->kind));
}

/* Checking: a member against its row. */

static bool check_text(const struct path *path, struct str text, size_t bytes_max, struct err *err)
{
    if (text.len > bytes_max)
        return complain(path, ERR_TOO_BIG, err, "must be at most %zu bytes long, is %zu", bytes_max,
                        text.len);
    if (text.len > 0 && memchr(text.data, '\0', text.len))
        return complain(path, ERR_INVALID_REQUEST, err, "must not contain the character U+0000");
    return true;
}

/* The choice as it stands in the row: a name that outlives the document. */
static struct str choice(const char *choices, struct str name)
{
    struct str rest = str_of(choices), one;
    while (str_split(&rest, '|', &one)) {
        if (str_eq(one, name))
            return one;
    }
    return (struct str){NULL, 0};
}

static bool check_choice(const struct path *path, struct str name, struct err *err)
{
    if (choice(path->field->choices, name).data)
        return true;
    struct str shown = str_utf8_cut(name, 32);
    return complain(path, ERR_INVALID_REQUEST, err, "must be one of %s, is '" STR_FMT "'",
                    path->field->choices, STR_ARG(shown));
}

static bool check_int(const struct path *path, int64_t n, struct err *err)
{
    const struct field *field = path->field;
    if (n >= field->min && n <= field->max)
        return true;
    if (field->max == INT64_MAX)
        return complain(path, ERR_INVALID_REQUEST, err, "must be at least %lld, is %lld",
                        (long long)field->min, (long long)n);
    return complain(path, ERR_INVALID_REQUEST, err, "must be between %lld and %lld, is %lld",
                    (long long)field->min, (long long)field->max, (long long)n);
}

static bool check_real(const struct path *path, double d, struct err *err)
{
    const struct field *field = path->field;
    if (d >= field->low && d <= field->high) /* false for NaN */
        return true;
    return complain(path, ERR_INVALID_REQUEST, err, "must be between %g and %g, is %g", field->low,
                    field->high, d);
}

static bool check_free(const struct path *path, const struct value *value, size_t bytes_max,
                       struct err *err)
{
    struct value_size size = value_measure(value);
    if (value->kind == VALUE_STR)
        size.bytes = value->text.len;
    if (size.bytes > bytes_max)
        return complain(path, ERR_TOO_BIG, err, "must be at most %zu bytes long, is %zu", bytes_max,
                        size.bytes);
    if (size.nodes > FREE_NODES_MAX)
        return complain(path, ERR_TOO_BIG, err, "must have at most %d values, has %zu",
                        FREE_NODES_MAX, size.nodes);
    if (size.depth > FREE_DEPTH_MAX)
        return complain(path, ERR_TOO_DEEP, err, "must nest at most %d levels, has %u",
                        FREE_DEPTH_MAX, size.depth);
    if (size.nul)
        return complain(path, ERR_INVALID_REQUEST, err, "must not contain the character U+0000");
    return true;
}

static bool check_count(const struct path *path, size_t count, struct err *err)
{
    if (count <= path->field->items_max)
        return true;
    return complain(path, ERR_INVALID_REQUEST, err, "must have at most %zu items, has %zu",
                    path->field->items_max, count);
}

static bool check_texts(struct path *path, const struct str_list *list, struct err *err)
{
    if (!check_count(path, list->count, err))
        return false;
    for (path->index = 0; path->index < list->count; path->index++) {
        if (!check_text(path, list->items[path->index], path->field->bytes_max, err))
            return false;
    }
    path->index = NO_INDEX;
    return true;
}

/* A member that is no object of its own. */
static bool check_plain(struct path *path, const void *object, struct err *err)
{
    const struct field *field = path->field;
    switch (field->type) {
    case FIELD_STR:
        return check_text(path, *FIELD_AT(object, field, struct str), field->bytes_max, err);
    case FIELD_ENUM: {
        struct str name = *FIELD_AT(object, field, struct str);
        return !name.data || check_choice(path, name, err);
    }
    case FIELD_INT: {
        int64_t n = *FIELD_AT(object, field, int64_t);
        return n == INT_ABSENT || check_int(path, n, err);
    }
    case FIELD_REAL: {
        double d = *FIELD_AT(object, field, double);
        return isnan(d) || check_real(path, d, err);
    }
    case FIELD_ANY: {
        const struct value *value = field_free(object, field);
        return !value || check_free(path, value, field->bytes_max, err);
    }
    case FIELD_STRS:
        return check_texts(path, FIELD_AT(object, field, struct str_list), err);
    case FIELD_BOOL:
    case FIELD_SUB:
    case FIELD_SUBS:
        return true;
    }
    must_not_reach("type of field");
}

/* What is known only when all fields are there: the required ones and the unknown ones. */
static bool check_whole(struct path *path, const void *object, struct err *err)
{
    const struct contract *contract = path->contract;
    for (size_t i = 0; i < contract->field_count; i++) {
        path->field = &contract->fields[i];
        if (path->field->must && path->field->type == FIELD_STR &&
            str_empty(*FIELD_AT(object, path->field, struct str)))
            return complain(path, ERR_INVALID_REQUEST, err, "is missing");
    }
    path->field = NULL;
    const struct value *extra = contract_extra(contract, object);
    return !extra || check_free(path, extra, EXTRA_BYTES_MAX, err);
}

static bool check_object(const struct path *outer, const struct contract *contract,
                         const void *object, struct err *err);

static bool check_parts(struct path *path, const void *object, struct err *err)
{
    const struct contract *part = path->field->part;
    struct part_list list = field_parts(object, path->field);
    if (!check_count(path, list.count, err))
        return false;
    for (path->index = 0; path->index < list.count; path->index++) {
        if (!check_object(path, part, list.items + path->index * part->size, err))
            return false;
    }
    path->index = NO_INDEX;
    return true;
}

static bool check_object(const struct path *outer, const struct contract *contract,
                         const void *object, struct err *err)
{
    struct path path = {outer, contract, NULL, NO_INDEX};
    if (contract_untouched(contract, object)) /* no field breaks a rule; some may be missing */
        return check_whole(&path, object, err);
    for (size_t i = 0; i < contract->field_count; i++) {
        path.field = &contract->fields[i];
        bool ok;
        if (path.field->type == FIELD_SUB)
            ok = check_object(&path, path.field->part, FIELD_AT(object, path.field, char), err);
        else if (path.field->type == FIELD_SUBS)
            ok = check_parts(&path, object, err);
        else
            ok = check_plain(&path, object, err);
        if (!ok)
            return false;
    }
    return check_whole(&path, object, err);
}

bool contract_check(const struct contract *contract, const void *object, struct err *err)
{
    return check_object(NULL, contract, object, err);
}

/* Reading: a value into its member. */

static bool read_object(const struct reader *reader, const struct path *outer,
                        const struct contract *contract, const struct value *map, void *ret);

static bool read_int(const struct path *path, const struct value *value, int64_t *ret,
                     struct err *err)
{
    if (value->kind == VALUE_INT) {
        *ret = value->number;
    } else if (value->kind != VALUE_REAL) {
        return wrong_kind(path, "a whole number", value, err);
    } else if (value->real != trunc(value->real) || fabs(value->real) >= 0x1p63) {
        return complain(path, ERR_INVALID_REQUEST, err, "must be a whole number, is %g",
                        value->real);
    } else {
        *ret = (int64_t)value->real;
    }
    return check_int(path, *ret, err);
}

static bool read_real(const struct path *path, const struct value *value, double *ret,
                      struct err *err)
{
    if (value->kind != VALUE_INT && value->kind != VALUE_REAL)
        return wrong_kind(path, "a number", value, err);
    *ret = value->kind == VALUE_INT ? (double)value->number : value->real;
    return check_real(path, *ret, err);
}

static bool read_choice(const struct path *path, const struct value *value, struct str *ret,
                        struct err *err)
{
    if (value->kind != VALUE_STR)
        return wrong_kind(path, "text", value, err);
    if (!check_choice(path, value->text, err))
        return false;
    *ret = choice(path->field->choices, value->text);
    return true;
}

struct str_list str_list_of(const struct value *list, struct arena *arena)
{
    struct str_list texts = {0};
    if (!list || list->kind != VALUE_LIST)
        return texts;
    texts.items = arena_array(arena, struct str, list->count);
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].kind == VALUE_STR)
            texts.items[texts.count++] = list->items[i].text;
    return texts;
}

static bool read_texts(const struct reader *reader, struct path *path, const struct value *value,
                       struct str_list *ret)
{
    if (value->kind != VALUE_LIST)
        return wrong_kind(path, "a list of texts", value, reader->err);
    if (!check_count(path, value->count, reader->err))
        return false;
    ret->items = arena_array(reader->arena, struct str, value->count);
    ret->count = value->count;
    for (path->index = 0; path->index < value->count; path->index++) {
        const struct value *item = &value->items[path->index];
        if (item->kind != VALUE_STR)
            return wrong_kind(path, "text", item, reader->err);
        ret->items[path->index] = item->text;
    }
    path->index = NO_INDEX;
    return check_texts(path, ret, reader->err);
}

static bool read_free(const struct path *path, const struct value *value, const struct value **ret,
                      struct err *err)
{
    if (!choice(path->field->choices, str_of(value_kind_name(value->kind))).data) {
        return wrong_kind(path, kinds_words(path->field->choices), value, err);
    }
    *ret = value;
    return check_free(path, value, path->field->bytes_max, err);
}

static bool read_parts(const struct reader *reader, struct path *path, const struct value *value,
                       void *object)
{
    if (value->kind != VALUE_LIST)
        return wrong_kind(path, "a list", value, reader->err);
    if (!check_count(path, value->count, reader->err))
        return false;
    const struct contract *part = path->field->part;
    struct part_list list = {arena_alloc(reader->arena, part->size * value->count), value->count};
    for (path->index = 0; path->index < value->count; path->index++) {
        char *item = list.items + path->index * part->size;
        contract_init(part, item);
        if (!read_object(reader, path, part, &value->items[path->index], item))
            return false;
    }
    path->index = NO_INDEX;
    memcpy(FIELD_TO(object, path->field, char), &list, sizeof(list));
    return true;
}

static bool read_field(const struct reader *reader, struct path *path, const struct value *value,
                       void *object)
{
    const struct field *field = path->field;
    switch (field->type) {
    case FIELD_STR:
        if (value->kind != VALUE_STR)
            return wrong_kind(path, "text", value, reader->err);
        *FIELD_TO(object, field, struct str) = value->text;
        return check_text(path, value->text, field->bytes_max, reader->err);
    case FIELD_ENUM:
        return read_choice(path, value, FIELD_TO(object, field, struct str), reader->err);
    case FIELD_INT:
        return read_int(path, value, FIELD_TO(object, field, int64_t), reader->err);
    case FIELD_REAL:
        return read_real(path, value, FIELD_TO(object, field, double), reader->err);
    case FIELD_BOOL:
        if (value->kind != VALUE_BOOL)
            return wrong_kind(path, "true or false", value, reader->err);
        *FIELD_TO(object, field, bool) = value->truth;
        return true;
    case FIELD_ANY:
        return read_free(path, value, FIELD_TO(object, field, const struct value *), reader->err);
    case FIELD_STRS:
        return read_texts(reader, path, value, FIELD_TO(object, field, struct str_list));
    case FIELD_SUB:
        return read_object(reader, path, field->part, value, FIELD_TO(object, field, char));
    case FIELD_SUBS:
        return read_parts(reader, path, value, object);
    }
    must_not_reach("type of field");
}

/* Documents mostly have their fields in the order of the rows, so the search goes on where the last
 * one ended. NULL for an unknown field. */
static const struct field *find_field(const struct contract *contract, struct str key,
                                      size_t *start)
{
    size_t at = *start;
    for (size_t i = 0; i < contract->field_count; i++, at++) {
        if (at >= contract->field_count)
            at = 0;
        const struct field *field = &contract->fields[at];
        if (field->name.len == key.len && memcmp(field->name.data, key.data, key.len) == 0) {
            *start = at + 1;
            return field;
        }
    }
    return NULL;
}

static bool read_object(const struct reader *reader, const struct path *outer,
                        const struct contract *contract, const struct value *map, void *ret)
{
    struct path path = {outer, contract, NULL, NO_INDEX};
    if (map->kind != VALUE_MAP)
        return wrong_kind(outer ? outer : &path, "a map", map, reader->err);

    struct value *extra = NULL;
    uint64_t seen = 0;
    size_t start = 0;
    for (uint32_t i = 0; i < map->count; i++) {
        const struct value_pair *pair = &map->pairs[i];
        path.field = find_field(contract, pair->key, &start);
        if (!path.field) {
            if (!extra)
                extra = value_map_new(reader->arena, map->count - i);
            value_map_add(extra, pair->key, pair->value);
            continue;
        }
        uint64_t bit = 1ULL << (path.field - contract->fields);
        if (seen & bit)
            return complain(&path, ERR_INVALID_REQUEST, reader->err, "is given twice");
        seen |= bit;
        if (pair->value.kind != VALUE_NULL && !read_field(reader, &path, &pair->value, ret))
            return false;
    }
    *(const struct value **)(void *)((char *)ret + contract->extra) = extra;
    return check_whole(&path, ret, reader->err);
}

bool contract_read(const struct contract *contract, const struct value *document,
                   struct arena *arena, void *ret, struct err *err)
{
    const struct reader reader = {arena, err};
    contract_init(contract, ret);
    return read_object(&reader, NULL, contract, document, ret);
}
