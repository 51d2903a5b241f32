/*
 * table.h -- rows of text in columns, or the same rows as JSON.
 *
 * Columns are as wide as their widest cell; a column of numbers only is aligned to the right. Width
 * counts code points. As JSON it is a list of objects, with the numbers as numbers.
 */
#ifndef QUERN_PRODUCER_CLI_TABLE_H
#define QUERN_PRODUCER_CLI_TABLE_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/str.h"

enum { TABLE_COLUMNS_MAX = 32 };

struct table {
    struct arena *arena;
    const char *titles[TABLE_COLUMNS_MAX];
    size_t columns;
    struct str *cells; /* row by row */
    size_t count, cap; /* of cells */
};

/* `titles` are ended by NULL. Everything the table needs lives in the arena. */
void table_init(struct table *table, struct arena *arena, const char *const *titles);
/* The next cell; rows fill up from the left. Copied. */
void table_add(struct table *table, struct str cell);
void table_printf(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
size_t table_rows(const struct table *table);
void table_text(const struct table *table, bool bold_titles, struct buf *ret);
/* RFC 4180, with a line of titles. */
void table_csv(const struct table *table, struct buf *ret);
void table_json(const struct table *table, struct buf *ret);

/* "1 234 567" of a count, "1.5 s" and "20 ms" of milliseconds, in the arena. */
struct str table_count(struct arena *arena, int64_t count);
struct str table_ms(struct arena *arena, int64_t ms);

#endif
