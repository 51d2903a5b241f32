/*
 * table.c -- see table.h.
 */
#include "producer/cli/table.h"

#include "common/base/must.h"
#include "common/data/json.h"

void table_init(struct table *table, struct arena *arena, const char *const *titles)
{
    *table = (struct table){.arena = arena};
    for (; titles[table->columns]; table->columns++) {
        must(table->columns < TABLE_COLUMNS_MAX);
        table->titles[table->columns] = titles[table->columns];
    }
}

void table_add(struct table *table, struct str cell)
{
    if (table->count == table->cap) {
        size_t cap = table->cap ? table->cap * 2 : 64;
        struct str *cells = arena_array(table->arena, struct str, cap);
        if (table->count)
            memcpy(cells, table->cells, table->count * sizeof(*cells));
        table->cells = cells;
        table->cap = cap;
    }
    table->cells[table->count++] = arena_str(table->arena, cell);
}

void table_printf(struct table *table, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    table_add(table, arena_vprintf(table->arena, format, args));
    va_end(args);
}

size_t table_rows(const struct table *table)
{
    return table->columns ? table->count / table->columns : 0;
}

static bool is_number(struct str s)
{
    double number;
    return str_to_f64(s, &number);
}

/* Code points; what is no UTF-8 counts bytes. */
static size_t width_of(struct str s)
{
    size_t width = 0;
    for (size_t i = 0; i < s.len; i++)
        width += ((unsigned char)s.data[i] & 0xc0) != 0x80;
    return width;
}

static struct str cell_at(const struct table *table, size_t row, size_t column)
{
    return table->cells[row * table->columns + column];
}

static bool numeric(const struct table *table, size_t column)
{
    for (size_t row = 0; row < table_rows(table); row++) {
        struct str cell = cell_at(table, row, column);
        if (!str_empty(cell) && !is_number(cell))
            return false;
    }
    return true;
}

static size_t widest(const struct table *table, size_t column)
{
    size_t width = strlen(table->titles[column]);
    for (size_t row = 0; row < table_rows(table); row++) {
        size_t cell = width_of(cell_at(table, row, column));
        width = cell > width ? cell : width;
    }
    return width;
}

static void pad(struct buf *ret, size_t n)
{
    while (n-- > 0)
        buf_add_char(ret, ' ');
}

static void add_cell(struct buf *ret, struct str cell, size_t width, bool right, bool last)
{
    size_t missing = width - width_of(cell);
    if (right)
        pad(ret, missing);
    /* A line break or an escape sequence in data must not reach the terminal. */
    for (size_t i = 0; i < cell.len; i++)
        buf_add_char(ret,
                     (unsigned char)cell.data[i] < ' ' || cell.data[i] == 127 ? ' ' : cell.data[i]);
    if (!right && !last)
        pad(ret, missing);
    buf_add_str(ret, last ? STR("\n") : STR("  "));
}

void table_text(const struct table *table, bool bold_titles, struct buf *ret)
{
    size_t width[TABLE_COLUMNS_MAX];
    bool right[TABLE_COLUMNS_MAX];
    for (size_t i = 0; i < table->columns; i++) {
        width[i] = widest(table, i);
        right[i] = numeric(table, i);
    }
    if (bold_titles)
        buf_add_str(ret, STR("\033[1m"));
    for (size_t i = 0; i < table->columns; i++)
        add_cell(ret, str_of(table->titles[i]), width[i], right[i], i + 1 == table->columns);
    if (bold_titles)
        buf_add_str(ret, STR("\033[0m"));
    for (size_t row = 0; row < table_rows(table); row++)
        for (size_t i = 0; i < table->columns; i++)
            add_cell(ret, cell_at(table, row, i), width[i], right[i], i + 1 == table->columns);
}

static void json_cell(struct json_writer *w, struct str cell)
{
    int64_t number;
    double real;
    if (!cell.data || str_empty(cell))
        json_null(w);
    else if (str_to_i64(cell, INT64_MIN, INT64_MAX, &number))
        json_int(w, number);
    else if (str_to_f64(cell, &real))
        json_real(w, real);
    else
        json_str(w, cell);
}

void table_json(const struct table *table, struct buf *ret)
{
    struct json_writer w = {.out = ret, .pretty = true};
    json_open(&w, '[');
    for (size_t row = 0; row < table_rows(table); row++) {
        json_open(&w, '{');
        for (size_t i = 0; i < table->columns; i++) {
            json_key(&w, table->titles[i]);
            json_cell(&w, cell_at(table, row, i));
        }
        json_close(&w, '}');
    }
    json_close(&w, ']');
    buf_add_char(ret, '\n');
}

static void csv_cell(struct buf *ret, struct str cell, bool last)
{
    bool quote = false;
    for (size_t i = 0; i < cell.len; i++)
        quote |= strchr(",\"\r\n", cell.data[i]) != NULL;
    if (quote)
        buf_add_char(ret, '"');
    for (size_t i = 0; i < cell.len; i++) {
        if (cell.data[i] == '"')
            buf_add_char(ret, '"');
        buf_add_char(ret, cell.data[i]);
    }
    if (quote)
        buf_add_char(ret, '"');
    buf_add_str(ret, last ? STR("\r\n") : STR(","));
}

void table_csv(const struct table *table, struct buf *ret)
{
    for (size_t i = 0; i < table->columns; i++)
        csv_cell(ret, str_of(table->titles[i]), i + 1 == table->columns);
    for (size_t row = 0; row < table_rows(table); row++)
        for (size_t i = 0; i < table->columns; i++)
            csv_cell(ret, cell_at(table, row, i), i + 1 == table->columns);
}

struct str table_count(struct arena *arena, int64_t count)
{
    char digits[32];
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)count);
    char *out = arena_alloc(arena, (size_t)len * 2 + 1);
    size_t n = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-')
            out[n++] = ' ';
        out[n++] = digits[i];
    }
    return str_from(out, n);
}

struct str table_ms(struct arena *arena, int64_t ms)
{
    if (ms < 1000)
        return arena_printf(arena, "%lld ms", (long long)ms);
    if (ms < 60000)
        return arena_printf(arena, "%.1f s", (double)ms / 1000);
    int64_t s = ms / 1000;
    if (s < 3600)
        return arena_printf(arena, "%lld:%02lld min", (long long)(s / 60), (long long)(s % 60));
    return arena_printf(arena, "%lld:%02lld h", (long long)(s / 3600), (long long)(s / 60 % 60));
}
