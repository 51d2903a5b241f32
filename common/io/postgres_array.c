/*
 * postgres_array.c -- array literals in text form, `{"a","say \"hi\"",NULL}`; pure.
 *
 * Items are always quoted, so no item is ever taken for NULL or for a nested array, and the array's
 * own opening brace is the only one that can stand at the end of the buffer.
 */
#include <math.h>

#include "common/io/postgres.h"

void postgres_array_begin(struct buf *array)
{
    buf_add_char(array, '{');
}

static void separate(struct buf *array)
{
    if (array->len > 0 && array->data[array->len - 1] != '{')
        buf_add_char(array, ',');
}

void postgres_array_add(struct buf *array, struct str item)
{
    separate(array);
    if (!item.data) {
        buf_add_str(array, STR("NULL"));
        return;
    }
    buf_add_char(array, '"');
    size_t from = 0; /* runs without quotes and backslashes are copied whole */
    for (size_t i = 0; i < item.len; i++) {
        if (item.data[i] != '"' && item.data[i] != '\\')
            continue;
        buf_add(array, item.data + from, i - from);
        buf_add_char(array, '\\');
        from = i;
    }
    buf_add(array, item.data + from, item.len - from);
    buf_add_char(array, '"');
}

void postgres_array_add_i64(struct buf *array, int64_t number)
{
    separate(array);
    buf_printf(array, "%lld", (long long)number);
}

void postgres_array_add_f64(struct buf *array, double number)
{
    separate(array);
    if (isfinite(number))
        buf_printf(array, "%.17g", number);
    else
        buf_add_str(array, STR("NULL"));
}

void postgres_array_end(struct buf *array)
{
    buf_add_char(array, '}');
}
