/*
 * wire.c -- MessagePack through msgpack-c's unpack template and packer.
 *
 * msgpack-c's own unpacker stops at 32 levels, believes the length of an array before it has seen
 * one item, and builds objects that would have to be copied. Its template, made for this, takes our
 * callbacks instead: they build the value tree right away, in one pass, without recursion. The
 * template bounds the depth; the callbacks bound the number of nodes by the bytes that are there.
 */
#include "common/data/wire.h"

#include <math.h>
#include <string.h>

#define MSGPACK_EMBED_STACK_SIZE VALUE_DEPTH_MAX
#include <msgpack/pack.h>
#include <msgpack/unpack.h>
#include <msgpack/unpack_define.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

#define UNPACK_FAILED (-100) /* a callback refused and has filled user->err */

struct unpack {
    struct arena *arena;
    struct str bytes;
    size_t claimed; /* values and keys announced so far, the document itself included */
    struct err *err;
};

static int refuse(struct unpack *user, enum err_code code, const char *what)
{
    err_set(user->err, code, "%s", what);
    return UNPACK_FAILED;
}

/* Every value takes a byte at least, so more values than bytes is a lie. */
static int claim(struct unpack *user, size_t values)
{
    user->claimed += values;
    if (user->claimed > user->bytes.len)
        return refuse(user, ERR_INVALID_ENCODING,
                      "not valid MessagePack: a list or map is longer than the document");
    if (user->claimed > VALUE_NODES_MAX)
        return refuse(user, ERR_TOO_BIG, "the document has too many values");
    return 0;
}

static int too_big(struct unpack *user)
{
    return refuse(user, ERR_TOO_BIG, "the document needs more memory than one request may use");
}

#define msgpack_unpack_struct(name)    struct unpack##name
#define msgpack_unpack_func(ret, name) static ret unpack##name
#define msgpack_unpack_callback(name)  on##name
#define msgpack_unpack_object          struct value
#define msgpack_unpack_user            struct unpack

static struct value on_root(struct unpack *user)
{
    (void)user;
    return (struct value){.kind = VALUE_NULL};
}

static int on_nil(struct unpack *user, struct value *ret)
{
    (void)user;
    *ret = (struct value){.kind = VALUE_NULL};
    return 0;
}

static int on_true(struct unpack *user, struct value *ret)
{
    (void)user;
    *ret = (struct value){.kind = VALUE_BOOL, .truth = true};
    return 0;
}

static int on_false(struct unpack *user, struct value *ret)
{
    (void)user;
    *ret = (struct value){.kind = VALUE_BOOL, .truth = false};
    return 0;
}

static int on_int64(struct unpack *user, int64_t n, struct value *ret)
{
    (void)user;
    *ret = value_int(n);
    return 0;
}

static int on_double(struct unpack *user, double d, struct value *ret)
{
    (void)user;
    *ret = (struct value){.kind = VALUE_REAL, .real = d};
    return 0;
}

static int on_uint64(struct unpack *user, uint64_t n, struct value *ret)
{
    return n <= INT64_MAX ? on_int64(user, (int64_t)n, ret) : on_double(user, (double)n, ret);
}

#define on_uint8  on_int64
#define on_uint16 on_int64
#define on_uint32 on_int64
#define on_int8   on_int64
#define on_int16  on_int64
#define on_int32  on_int64
#define on_float  on_double

static int on_str(struct unpack *user, const char *base, const char *at, unsigned len,
                  struct value *ret)
{
    (void)base;
    struct str text = {len > 0 ? at : "", len};
    if (!str_utf8_valid(text))
        return refuse(user, ERR_INVALID_ENCODING, "a string is not valid UTF-8");
    *ret = (struct value){.kind = VALUE_STR, .text = text};
    return 0;
}

#define on_bin on_str

static int on_ext(struct unpack *user, const char *base, const char *at, unsigned len,
                  struct value *ret)
{
    (void)base, (void)at, (void)len, (void)ret;
    return refuse(user, ERR_INVALID_ENCODING, "MessagePack extension types are not accepted");
}

/* While a container is filled, `count` says how many items are there. */
static int on_array(struct unpack *user, unsigned count, struct value *ret)
{
    int refused = claim(user, count);
    if (refused)
        return refused;
    *ret = (struct value){.kind = VALUE_LIST};
    if (count > 0)
        ret->items = arena_try(user->arena, count * sizeof(struct value));
    return count > 0 && !ret->items ? too_big(user) : 0;
}

static int on_map(struct unpack *user, unsigned count, struct value *ret)
{
    int refused = claim(user, (size_t)count * 2);
    if (refused)
        return refused;
    *ret = (struct value){.kind = VALUE_MAP};
    if (count > 0)
        ret->pairs = arena_try(user->arena, count * sizeof(struct value_pair));
    return count > 0 && !ret->pairs ? too_big(user) : 0;
}

static int on_array_item(struct unpack *user, struct value *list, struct value item)
{
    (void)user;
    ((struct value *)(uintptr_t)list->items)[list->count++] = item;
    return 0;
}

static int on_map_item(struct unpack *user, struct value *map, struct value key, struct value value)
{
    if (key.kind != VALUE_STR)
        return refuse(user, ERR_INVALID_ENCODING, "a map has a key that is not a string");
    struct value_pair *pair = (struct value_pair *)(uintptr_t)map->pairs + map->count++;
    *pair = (struct value_pair){key.text, value};
    return 0;
}

#include <msgpack/unpack_template.h>

/* The template's verdict as an error; `at` is where it stopped. */
static bool failed(int verdict, size_t at, struct err *err)
{
    switch (verdict) {
    case UNPACK_FAILED:
        err_prefix(err, "at byte %zu", at);
        return false;
    case MSGPACK_UNPACK_NOMEM_ERROR: /* the stack of VALUE_DEPTH_MAX containers is full */
        err_set(err, ERR_TOO_DEEP, "the document nests deeper than %d levels", VALUE_DEPTH_MAX);
        return false;
    case 0:
        err_set(err, ERR_INVALID_ENCODING, "not valid MessagePack at byte %zu: cut off", at);
        return false;
    default:
        err_set(err, ERR_INVALID_ENCODING, "not valid MessagePack at byte %zu: unknown type", at);
        return false;
    }
}

bool wire_read(struct str bytes, struct arena *arena, struct value *ret, struct err *err)
{
    char *copy = arena_try(arena, bytes.len + 1);
    if (!copy) {
        err_set(err, ERR_TOO_BIG,
                "the document of %zu bytes needs more memory than one request "
                "may use",
                bytes.len);
        return false;
    }
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);

    struct unpack_context context;
    unpack_init(&context);
    context.user = (struct unpack){arena, {copy, bytes.len}, 1, err};
    size_t at = 0;
    int verdict = unpack_execute(&context, copy, bytes.len, &at);
    if (verdict != 1)
        return failed(verdict, at, err);
    if (at != bytes.len) {
        err_set(err, ERR_INVALID_ENCODING, "%zu bytes too many after the document at byte %zu",
                bytes.len - at, at);
        return false;
    }
    *ret = unpack_data(&context);
    return value_check_keys(ret, err);
}

static int append(void *buf, const char *bytes, size_t len)
{
    buf_add(buf, bytes, len);
    return 0;
}

static msgpack_packer packer(struct buf *out)
{
    return (msgpack_packer){.data = out, .callback = append};
}

/* Most of what we write is short, and fits: the format's one-byte heads, without the packer. */
enum { FIX_MAP = 0x80, FIX_STR = 0xa0, FIX_MAP_MAX = 16, FIX_STR_MAX = 32, FIX_INT_MAX = 128 };

static bool put_byte(struct buf *out, unsigned byte)
{
    char *at = buf_room(out, 1);
    if (at)
        *at = (char)byte;
    return at != NULL;
}

static bool put_short(struct buf *out, struct str s)
{
    char *at = buf_room(out, 1 + s.len);
    if (!at)
        return false;
    *at = (char)(FIX_STR | s.len);
    memcpy(at + 1, s.data, s.len);
    return true;
}

void wire_map(struct buf *out, size_t pairs)
{
    if (pairs < FIX_MAP_MAX && put_byte(out, FIX_MAP | (unsigned)pairs))
        return;
    msgpack_packer pk = packer(out);
    msgpack_pack_map(&pk, pairs);
}

void wire_list(struct buf *out, size_t items)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_array(&pk, items);
}

void wire_str(struct buf *out, struct str s)
{
    if (s.data && s.len < FIX_STR_MAX && put_short(out, s))
        return;
    msgpack_packer pk = packer(out);
    if (!s.data) {
        msgpack_pack_nil(&pk);
        return;
    }
    msgpack_pack_str(&pk, s.len);
    buf_add(out, s.data, s.len);
}

void wire_int(struct buf *out, int64_t n)
{
    if (n >= 0 && n < FIX_INT_MAX && put_byte(out, (unsigned)n))
        return;
    msgpack_packer pk = packer(out);
    msgpack_pack_int64(&pk, n);
}

void wire_real(struct buf *out, double d)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_double(&pk, d);
}

void wire_bool(struct buf *out, bool b)
{
    msgpack_packer pk = packer(out);
    if (b)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
}

void wire_null(struct buf *out)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_nil(&pk);
}

static void write_scalar(const struct value *value, struct buf *out)
{
    switch (value->kind) {
    case VALUE_NULL:
        wire_null(out);
        return;
    case VALUE_BOOL:
        wire_bool(out, value->truth);
        return;
    case VALUE_INT:
        wire_int(out, value->number);
        return;
    case VALUE_REAL:
        wire_real(out, value->real);
        return;
    case VALUE_STR:
        wire_str(out, value->text);
        return;
    case VALUE_LIST:
    case VALUE_MAP:
        break;
    }
    must_not_reach("kind of scalar");
}

void wire_write(const struct value *value, struct buf *ret)
{
    if (value->kind == VALUE_LIST) {
        wire_list(ret, value->count);
        for (uint32_t i = 0; i < value->count; i++)
            wire_write(&value->items[i], ret);
    } else if (value->kind == VALUE_MAP) {
        wire_map(ret, value->count);
        for (uint32_t i = 0; i < value->count; i++) {
            wire_str(ret, value->pairs[i].key);
            wire_write(&value->pairs[i].value, ret);
        }
    } else {
        write_scalar(value, ret);
    }
}

/* Equal keys, possible deep down only, keep their order. */
static int by_key(const void *a, const void *b)
{
    const struct value_pair *const *x = a, *const *y = b;
    int order = str_cmp((*x)->key, (*y)->key);
    return order ? order : (*x > *y) - (*x < *y);
}

static void write_sorted(const struct value *map, struct buf *out)
{
    const struct value_pair *few[32], **order = few;
    if (map->count > sizeof(few) / sizeof(few[0]))
        order = xcalloc(map->count, sizeof(struct value_pair *));
    for (uint32_t i = 0; i < map->count; i++)
        order[i] = &map->pairs[i];
    qsort(order, map->count, sizeof(struct value_pair *), by_key);

    wire_map(out, map->count);
    for (uint32_t i = 0; i < map->count; i++) {
        wire_str(out, order[i]->key);
        wire_write_canonical(&order[i]->value, out);
    }
    if (order != few)
        free(order);
}

void wire_write_canonical(const struct value *value, struct buf *ret)
{
    if (value->kind == VALUE_LIST) {
        wire_list(ret, value->count);
        for (uint32_t i = 0; i < value->count; i++)
            wire_write_canonical(&value->items[i], ret);
    } else if (value->kind == VALUE_MAP) {
        write_sorted(value, ret);
    } else if (value->kind == VALUE_REAL && fabs(value->real) < 9007199254740992.0 &&
               value->real == trunc(value->real)) {
        wire_int(ret, (int64_t)value->real);
    } else {
        write_scalar(value, ret);
    }
}
