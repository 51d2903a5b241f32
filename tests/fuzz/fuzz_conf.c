/*
 * fuzz_conf.c -- whatever file is taken as a configuration is printed, read and printed again to
 * the same bytes; whatever is refused says where.
 */
#include <sys/mman.h>

#include "common/base/must.h"
#include "common/data/conf.h"

struct item {
    struct str name;
    double price;
    struct conf_props headers;
};

struct settings {
    struct str name, kind;
    int64_t count, bytes, wait_ms;
    double ratio;
    bool on;
    struct conf_strs list;
    struct conf_props props;
    struct conf_items items;
};

/* clang-format off */
#define ROW(type_, key, kind, otherwise, min, max, choices, member) \
    {key, kind, otherwise, min, max, choices, true, offsetof(type_, member), NULL, 0, "About"}

static const struct conf_row item_rows[] = {
    ROW(struct item, "name", CONF_STR, NULL, 0, 0, NULL, name),
    ROW(struct item, "price", CONF_REAL, "", 0, 100, NULL, price),
    ROW(struct item, "headers", CONF_PROPS, "", 0, 0, "-", headers),
    {0},
};
static const struct conf_row rows[] = {
    ROW(struct settings, "s.name", CONF_STR, "quern", 0, 0, NULL, name),
    ROW(struct settings, "s.kind", CONF_ENUM, "fast", 0, 0, "fast|slow", kind),
    ROW(struct settings, "s.count", CONF_INT, "100", 0, 0, NULL, count),
    ROW(struct settings, "s.bytes", CONF_BYTES, "64KiB", 0, 0, NULL, bytes),
    ROW(struct settings, "s.wait", CONF_DURATION, "30s", 0, 0, NULL, wait_ms),
    ROW(struct settings, "s.ratio", CONF_REAL, "0.5", 0, 1, NULL, ratio),
    ROW(struct settings, "s.on", CONF_BOOL, "yes", 0, 0, NULL, on),
    ROW(struct settings, "s.list", CONF_STRS, "a,b", 0, 0, NULL, list),
    ROW(struct settings, "p", CONF_PROPS, "", 0, 0, NULL, props),
    {"m", CONF_ITEMS, "", 0, 0, NULL, true, offsetof(struct settings, items), item_rows,
     sizeof(struct item), "Items"},
    {0},
};
/* clang-format on */

/* The arena is the caller's. */
static bool load(const void *data, size_t size, struct arena *arena, struct settings *ret,
                 struct err *err)
{
    static const char *const environment[] = {"A=one", "S=", NULL};
    char path[64];
    int fd = memfd_create("conf", MFD_CLOEXEC);

    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const struct conf_source source = {.file = path, .environment = environment};
    arena_init(arena, NULL, 8 << 20);
    bool good = conf_load(rows, &source, arena, ret, err);
    close(fd);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena, other;
    struct settings conf = {0}, again = {0};
    struct err err = {0};
    struct buf first, second;

    if (!load(data, size, &arena, &conf, &err)) {
        must(err.code == ERR_CONFIG && err.text[0]);
        arena_done(&arena);
        return 0;
    }
    buf_init(&first, 1 << 24);
    buf_init(&second, 1 << 24);
    conf_print(rows, &conf, &first);
    /* `***` of secret names and `$` of texts do not come back as they were. */
    if (!memchr(first.data, '$', first.len)) {
        must(load(first.data, first.len, &other, &again, &err));
        conf_print(rows, &again, &second);
        must(str_eq(buf_str(&first), buf_str(&second)));
        arena_done(&other);
    }
    arena_done(&arena);
    buf_done(&first);
    buf_done(&second);
    return 0;
}
