/*
 * conf_sections.h -- "kafka.linger" is the leaf "linger" of the section "kafka"; walking a table
 * section by section; inside of conf only.
 *
 * Sections come in the order of their first row. A row without a dot is its own place.
 */
#ifndef QUERN_COMMON_DATA_CONF_SECTIONS_H
#define QUERN_COMMON_DATA_CONF_SECTIONS_H

#include "common/data/conf.h"

/* Absent when the key has no dot. */
static inline struct str conf_section(const struct conf_row *row)
{
    struct str key = str_of(row->key);
    size_t dot = str_index(key, '.');
    return dot == key.len ? (struct str){NULL, 0} : str_slice(key, 0, dot);
}

static inline struct str conf_leaf(const struct conf_row *row)
{
    struct str key = str_of(row->key);
    size_t dot = str_index(key, '.');
    return dot == key.len ? key : str_slice(key, dot + 1, key.len);
}

/* The next row from `row` on that is in this section, NULL when there is none. */
static inline const struct conf_row *conf_section_next(const struct conf_row *row,
                                                       struct str section)
{
    for (; row->key; row++)
        if (section.data && str_eq(conf_section(row), section))
            return row;
    return NULL;
}

/* The next row that opens a section, `row` included; NULL behind the last one. */
static inline const struct conf_row *conf_section_open(const struct conf_row *rows,
                                                       const struct conf_row *row)
{
    for (; row->key; row++)
        if (!conf_section(row).data || conf_section_next(rows, conf_section(row)) == row)
            return row;
    return NULL;
}

/* `first` is the row that opens the section `row` is in. No break in the body. */
#define CONF_EACH_BY_SECTION(rows, first, row)                                                     \
    for (const struct conf_row *first = conf_section_open((rows), (rows)); first;                  \
         first = conf_section_open((rows), first + 1))                                             \
        for (const struct conf_row *row = first; row;                                              \
             row = conf_section_next(row + 1, conf_section(first)))

#endif
