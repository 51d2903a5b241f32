/*
 * json.c -- yyjson in, value trees out; and compact JSON straight into a buffer.
 *
 * Reading: the text is copied into the arena once and parsed there in place, so every string of the
 * tree is a view into that copy. yyjson's own nodes go into a scratch block that is kept per thread
 * and reused. Both yyjson's parser and our walk over its nodes are loops, not recursion: ten
 * thousand open brackets cost an error, not the stack.
 */
#include "common/data/json.h"

#include <math.h>
#include <yyjson.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

#define SCRATCH_MIN  (64 * 1024)
#define SCRATCH_KEEP (4 * 1024 * 1024)
/* yyjson asks for more nodes in steps of half of what it has; beyond this it gets none. */
#define SCRATCH_GROW_MAX ((VALUE_NODES_MAX + 1024) * sizeof(yyjson_val))

/* yyjson holds one block while it parses in place; any further one would come from malloc. */
struct scratch {
    void *data;
    size_t cap;
    bool taken;
};

static void *scratch_take(void *context, size_t size)
{
    struct scratch *scratch = context;
    if (scratch->taken)
        return malloc(size);
    if (scratch->cap < size) {
        free(scratch->data);
        scratch->cap = size < SCRATCH_MIN ? SCRATCH_MIN : size;
        scratch->data = malloc(scratch->cap);
        if (!scratch->data)
            scratch->cap = 0;
    }
    scratch->taken = scratch->data != NULL;
    return scratch->data;
}

static void *scratch_grow(void *context, void *old, size_t old_size, size_t size)
{
    struct scratch *scratch = context;
    if (old_size >= SCRATCH_GROW_MAX)
        return NULL;
    if (old != scratch->data)
        return realloc(old, size);
    if (scratch->cap < size) {
        void *grown = realloc(scratch->data, size);
        if (!grown)
            return NULL;
        scratch->data = grown;
        scratch->cap = size;
    }
    return scratch->data;
}

static void scratch_give_back(void *context, void *block)
{
    struct scratch *scratch = context;
    if (block != scratch->data) {
        free(block);
        return;
    }
    scratch->taken = false;
    if (scratch->cap > SCRATCH_KEEP) {
        free(scratch->data);
        scratch->data = NULL;
        scratch->cap = 0;
    }
}

/* One list or map whose items are being filled in. */
struct frame {
    struct value *item;      /* next place of a list; NULL for a map */
    struct value_pair *pair; /* next place of a map */
    uint32_t left;
};

static void fill(yyjson_val *from, struct value *ret)
{
    switch (yyjson_get_type(from)) {
    case YYJSON_TYPE_BOOL:
        *ret = (struct value){.kind = VALUE_BOOL, .truth = unsafe_yyjson_get_bool(from)};
        return;
    case YYJSON_TYPE_NUM:
        if (yyjson_is_real(from))
            *ret = (struct value){.kind = VALUE_REAL, .real = unsafe_yyjson_get_real(from)};
        else if (yyjson_is_sint(from) || unsafe_yyjson_get_uint(from) <= INT64_MAX)
            *ret = value_int(unsafe_yyjson_get_sint(from));
        else
            *ret = (struct value){.kind = VALUE_REAL, .real = (double)unsafe_yyjson_get_uint(from)};
        return;
    case YYJSON_TYPE_STR:
        *ret = value_str((struct str){unsafe_yyjson_get_str(from), unsafe_yyjson_get_len(from)});
        return;
    case YYJSON_TYPE_ARR:
    case YYJSON_TYPE_OBJ:
        *ret = (struct value){
            .kind = yyjson_is_arr(from) ? VALUE_LIST : VALUE_MAP,
            .count = (uint32_t)unsafe_yyjson_get_len(from),
        };
        return;
    default:
        *ret = (struct value){.kind = VALUE_NULL};
    }
}

/* Gives `container` room for its items and puts it on top of the stack. */
static bool open_frame(struct value *container, struct arena *arena, struct frame *ret,
                       struct err *err)
{
    bool list = container->kind == VALUE_LIST;
    size_t each = list ? sizeof(struct value) : sizeof(struct value_pair);
    void *room = arena_try(arena, each * container->count);
    if (!room) {
        err_set(err, ERR_TOO_BIG, "the document needs more memory than one request may use");
        return false;
    }
    *ret = (struct frame){.left = container->count};
    if (list)
        container->items = ret->item = room;
    else
        container->pairs = ret->pair = room;
    return true;
}

/* Where the value after `*val` goes; steps over the key of a map. */
static struct value *next_place(struct frame *frame, yyjson_val **val)
{
    frame->left--;
    if (frame->item)
        return frame->item++;
    struct value_pair *pair = frame->pair++;
    pair->key = (struct str){unsafe_yyjson_get_str(*val), unsafe_yyjson_get_len(*val)};
    (*val)++;
    return &pair->value;
}

/* yyjson keeps its nodes in one array, in the order of the text: key, value, key, value. */
static bool build(yyjson_val *val, struct arena *arena, struct value *ret, struct err *err)
{
    struct frame stack[VALUE_DEPTH_MAX];
    size_t depth = 0;
    struct value *place = ret;
    for (;;) {
        fill(val++, place);
        if (place->kind >= VALUE_LIST) {
            if (depth == VALUE_DEPTH_MAX) {
                err_set(err, ERR_TOO_DEEP, "the document nests deeper than %d levels",
                        VALUE_DEPTH_MAX);
                return false;
            }
            if (place->count > 0 && !open_frame(place, arena, &stack[depth++], err))
                return false;
        }
        while (depth > 0 && stack[depth - 1].left == 0)
            depth--;
        if (depth == 0)
            return true;
        place = next_place(&stack[depth - 1], &val);
    }
}

static bool too_big(struct err *err)
{
    err_set(err, ERR_TOO_BIG, "the document has more than %d values", VALUE_NODES_MAX);
    return false;
}

bool json_read(struct str text, struct arena *arena, struct value *ret, struct err *err)
{
    static _Thread_local struct scratch scratch;
    const yyjson_alc alc = {scratch_take, scratch_grow, scratch_give_back, &scratch};

    char *copy = arena_try(arena, text.len + YYJSON_PADDING_SIZE);
    if (!copy) {
        err_set(err, ERR_TOO_BIG,
                "the document of %zu bytes needs more memory than one request "
                "may use",
                text.len);
        return false;
    }
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    memset(copy + text.len, 0, YYJSON_PADDING_SIZE);

    yyjson_read_err why;
    yyjson_doc *doc = yyjson_read_opts(copy, text.len, YYJSON_READ_INSITU, &alc, &why);
    if (!doc && why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return too_big(err);
    if (!doc) {
        err_set(err, ERR_INVALID_ENCODING, "not valid JSON at byte %zu: %s", why.pos, why.msg);
        return false;
    }
    bool ok = yyjson_doc_get_val_count(doc) <= VALUE_NODES_MAX
                  ? build(yyjson_doc_get_root(doc), arena, ret, err)
                  : too_big(err);
    yyjson_doc_free(doc);
    return ok && value_check_keys(ret, err);
}

static void new_line(struct json_writer *w)
{
    if (!w->pretty)
        return;
    buf_add_char(w->out, '\n');
    for (unsigned i = 0; i < w->depth; i++)
        buf_add(w->out, "  ", 2);
}

/* What stands in front of an item or a key. */
static void begin(struct json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
    } else {
        if (w->comma)
            buf_add_char(w->out, ',');
        if (w->depth > 0)
            new_line(w);
    }
    w->comma = true;
}

void json_open(struct json_writer *w, char bracket)
{
    begin(w);
    buf_add_char(w->out, bracket);
    w->comma = false;
    w->depth++;
}

void json_close(struct json_writer *w, char bracket)
{
    must(w->depth > 0 && !w->after_key);
    w->depth--;
    if (w->comma)
        new_line(w);
    buf_add_char(w->out, bracket);
    w->comma = true;
}

static void colon(struct json_writer *w)
{
    buf_add(w->out, ": ", w->pretty ? 2 : 1);
    w->after_key = true;
}

void json_key(struct json_writer *w, const char *key)
{
    begin(w);
    buf_add_char(w->out, '"');
    buf_add(w->out, key, strlen(key));
    buf_add_char(w->out, '"');
    colon(w);
}

void json_key_str(struct json_writer *w, struct str key)
{
    begin(w);
    buf_add_json_str(w->out, key);
    colon(w);
}

void json_str(struct json_writer *w, struct str s)
{
    if (!s.data) {
        json_null(w);
        return;
    }
    begin(w);
    buf_add_json_str(w->out, s);
}

void json_int(struct json_writer *w, int64_t n)
{
    char digits[STR_I64_MAX];
    begin(w);
    buf_add_str(w->out, str_i64(n, digits));
}

/* One number fits a small block of the caller's. */
struct number {
    char text[512];
};

static void *number_take(void *context, size_t size)
{
    return size <= sizeof(struct number) ? context : NULL;
}

static void *number_grow(void *context, void *old, size_t old_size, size_t size)
{
    (void)old, (void)old_size;
    return number_take(context, size);
}

static void number_give_back(void *context, void *block)
{
    (void)context, (void)block;
}

void json_real(struct json_writer *w, double d)
{
    if (!isfinite(d)) {
        json_null(w);
        return;
    }
    struct number number;
    const yyjson_alc alc = {number_take, number_grow, number_give_back, &number};
    yyjson_val val = {0};
    unsafe_yyjson_set_real(&val, d);
    size_t len = 0;
    const char *text = yyjson_val_write_opts(&val, YYJSON_WRITE_NOFLAG, &alc, &len, NULL);
    must(text);
    begin(w);
    buf_add(w->out, text, len);
}

void json_bool(struct json_writer *w, bool b)
{
    begin(w);
    buf_add_str(w->out, b ? STR("true") : STR("false"));
}

void json_null(struct json_writer *w)
{
    begin(w);
    buf_add_str(w->out, STR("null"));
}

static void json_list(struct json_writer *w, const struct value *list)
{
    json_open(w, '[');
    for (uint32_t i = 0; i < list->count; i++)
        json_value(w, &list->items[i]);
    json_close(w, ']');
}

static void json_map(struct json_writer *w, const struct value *map)
{
    json_open(w, '{');
    for (uint32_t i = 0; i < map->count; i++) {
        json_key_str(w, map->pairs[i].key);
        json_value(w, &map->pairs[i].value);
    }
    json_close(w, '}');
}

void json_value(struct json_writer *w, const struct value *value)
{
    switch (value ? value->kind : VALUE_NULL) {
    case VALUE_NULL:
        json_null(w);
        return;
    case VALUE_BOOL:
        json_bool(w, value->truth);
        return;
    case VALUE_INT:
        json_int(w, value->number);
        return;
    case VALUE_REAL:
        json_real(w, value->real);
        return;
    case VALUE_STR:
        json_str(w, value->text);
        return;
    case VALUE_LIST:
        json_list(w, value);
        return;
    case VALUE_MAP:
        json_map(w, value);
        return;
    }
    must_not_reach("kind of value");
}

void json_write(const struct value *value, struct buf *ret)
{
    struct json_writer w = {.out = ret};
    json_value(&w, value);
}
