/*
 * store_tables.c -- what the tables share: the undo log, arrays and cells.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/store_inside.h"

struct undo {
    struct undo *before;
    void (*run)(struct sim_store *store, void *object); /* NULL: the bytes come back */
    void *object;
    size_t size;
    char bytes[];
};

bool store_refuse(struct sim_store *store, const char *sqlstate, const char *text)
{
    snprintf(store->sqlstate, sizeof(store->sqlstate), "%s", sqlstate);
    snprintf(store->refusal, sizeof(store->refusal), "%s", text);
    return false;
}

static struct undo *note(struct sim_store *store, void *object, size_t size)
{
    struct undo *undo = arena_alloc(&store->scratch, sizeof(*undo) + size);
    *undo = (struct undo){.before = store->undo, .object = object, .size = size};
    store->undo = undo;
    return undo;
}

void store_keep(struct sim_store *store, void *object, size_t size)
{
    memcpy(note(store, object, size)->bytes, object, size);
}

void store_on_undo(struct sim_store *store, void (*undo)(struct sim_store *store, void *object),
                   void *object)
{
    note(store, object, 0)->run = undo;
}

void store_take_back(struct sim_store *store)
{
    for (struct undo *undo = store->undo; undo; undo = undo->before) {
        if (undo->run)
            undo->run(store, undo->object);
        else
            memcpy(undo->object, undo->bytes, undo->size);
    }
    store->undo = NULL;
}

static void forget_last(struct sim_store *store, void *object)
{
    (void)store;
    ((struct table *)object)->count--;
}

void table_add(struct sim_store *store, struct table *table, void *row)
{
    if (table->count == table->cap) {
        table->cap = table->cap ? table->cap * 2 : 32;
        void **rows = arena_alloc(&store->sim->arena, table->cap * sizeof(*rows));
        if (table->count)
            memcpy(rows, table->rows, table->count * sizeof(*rows));
        table->rows = rows;
    }
    table->rows[table->count++] = row;
    store_on_undo(store, forget_last, table);
}

struct str *sim_rows_add(struct sim_rows *rows, size_t columns)
{
    must(rows->count == 0 || rows->columns == columns);
    rows->columns = columns;
    if (rows->count == rows->cap) {
        rows->cap = rows->cap ? rows->cap * 2 : 8;
        rows->cells = xrealloc(rows->cells, rows->cap * columns * sizeof(*rows->cells));
    }
    struct str *cells = &rows->cells[rows->count++ * columns];
    memset(cells, 0, columns * sizeof(*cells));
    return cells;
}

/* One item from `at`, which stands behind a separator; where its own separator stands. */
static char *take_item(char *at, const char *end, struct str *ret)
{
    if (*at != '"') {
        char *from = at;
        while (at < end && *at != ',' && *at != '}')
            at++;
        *ret = str_from(from, (size_t)(at - from));
        if (str_is(*ret, "NULL"))
            *ret = (struct str){0};
        return at;
    }
    char *from = ++at, *to = at;
    for (; at < end && *at != '"'; at++) {
        at += *at == '\\';
        *to++ = *at;
    }
    *ret = str_from(from, (size_t)(to - from));
    return at + 1;
}

struct cells store_column(struct sim_store *store, struct str array)
{
    char *at = (char *)(uintptr_t)array.data + 1;
    const char *end = array.data + array.len;
    struct cells column = {0};
    size_t cap = 0;
    must(array.len >= 2 && array.data[0] == '{' && end[-1] == '}');
    while (*at != '}') {
        if (column.count == cap) {
            struct str *more = arena_array(&store->scratch, struct str, cap ? cap * 2 : 4);
            if (cap)
                memcpy(more, column.items, cap * sizeof(*more));
            column.items = more;
            cap = cap ? cap * 2 : 4;
        }
        at = take_item(at, end, &column.items[column.count++]);
        at += *at == ',';
    }
    return column;
}

bool column_has(const struct cells *column, int64_t number)
{
    for (size_t i = 0; i < column->count; i++)
        if (store_int(column->items[i]) == number)
            return true;
    return false;
}

int64_t store_int(struct str text)
{
    int64_t number = 0;
    bool good = !text.data || str_to_i64(text, INT64_MIN, INT64_MAX, &number);
    must(good);
    return number;
}

struct str store_number(struct sim_store *store, int64_t n)
{
    char text[24], *at = text + sizeof(text);
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (n < 0)
        *--at = '-';
    return arena_str(&store->sim->arena, str_from(at, (size_t)(text + sizeof(text) - at)));
}

int64_t store_now_ms(const struct sim_store *store)
{
    return SIM_WALL_MS + sim_now_ms(store->sim);
}

struct str store_key(struct sim_store *store, struct str a, struct str b)
{
    char *key = arena_alloc(&store->scratch, a.len + b.len + 1);
    if (a.len)
        memcpy(key, a.data, a.len);
    key[a.len] = '\x1f';
    if (b.len)
        memcpy(key + a.len + 1, b.data, b.len);
    return str_from(key, a.len + b.len + 1);
}

struct str store_lasting(struct sim_store *store, struct str text)
{
    return text.data ? arena_str(&store->sim->arena, text) : text;
}
