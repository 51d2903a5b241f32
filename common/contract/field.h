/*
 * field.h -- the rows of schemas/ as tables; inside this room only.
 *
 * tables.c makes one `struct contract` per OBJECT and one `struct field` per row. Everything else
 * here walks these tables: read.c, write.c, schema.c, asyncapi.c, reference.c.
 *
 * To add a kind of row: a macro in contract.h (the member) and in tables.c (the field), then the
 * switches over `enum field_type`, which the compiler points out.
 */
#ifndef QUERN_COMMON_CONTRACT_FIELD_H
#define QUERN_COMMON_CONTRACT_FIELD_H

#include "common/contract/contract.h"

enum field_type {
    FIELD_STR,
    FIELD_ENUM,
    FIELD_INT,
    FIELD_REAL,
    FIELD_BOOL,
    FIELD_ANY,
    FIELD_STRS,
    FIELD_SUB,
    FIELD_SUBS,
};

/* What writing looks at comes first, in one cache line: every result walks over all of its rows. */
struct field {
    _Alignas(64) struct str name;
    enum field_type type;
    bool must;
    size_t offset;
    int64_t otherwise;           /* of an integer, of a bool */
    struct str first;            /* default of an enum */
    const struct contract *part; /* of sub-objects */

    size_t bytes_max;    /* of a string, of each string of a list, of a free value */
    size_t items_max;    /* of a list */
    int64_t min, max;    /* of an integer */
    double low, high;    /* of a real */
    const char *choices; /* of an enum "a|b"; of a free value its kinds "list|map" */
    const char *sentence;
};

struct contract {
    const char *name;
    const char *sentence;
    const struct field *fields;
    size_t field_count; /* at most 64: readers and writers keep a bit per field */
    size_t size;        /* of the struct */
    size_t extra;       /* offset of the unknown fields */
    void **blank;       /* a struct with nothing in it, made when it is first wanted */
};

#define FIELDS_MAX 64

/* As contract_init() leaves it, byte for byte. A struct of which this is not true may have nothing
 * in it all the same. */
static inline bool contract_untouched(const struct contract *contract, const void *object)
{
    return *contract->blank && memcmp(object, *contract->blank, contract->size) == 0;
}

extern const struct contract *const contracts[]; /* all of them, in the order of schemas/ */
extern const size_t contract_count;

/* Headers of records, for the pages. */
struct header {
    const char *name;
    bool dead; /* on records of the dead-letter topic only */
    const char *sentence;
};
extern const struct header headers[];
extern const size_t header_count;

/* Free values leave room for the levels and values of the document that they will be part of. */
#define FREE_DEPTH_MAX  (VALUE_DEPTH_MAX - 16)
#define FREE_NODES_MAX  (VALUE_NODES_MAX / 4)
#define EXTRA_BYTES_MAX 262144 /* unknown fields of one object */

/* Any F_SUBS member; the real ones differ in the type of `items` only. */
struct part_list {
    char *items;
    size_t count;
};

/* How a field is reached. `object` points to the struct of the field's contract. */
#define FIELD_AT(object, field, type)                                                              \
    ((const type *)(const void *)((const char *)(object) + (field)->offset))
#define FIELD_TO(object, field, type) ((type *)(void *)((char *)(object) + (field)->offset))

static inline struct part_list field_parts(const void *object, const struct field *field)
{
    struct part_list list;
    memcpy(&list, (const char *)object + field->offset, sizeof(list));
    return list;
}

static inline const struct value *field_free(const void *object, const struct field *field)
{
    return *(const struct value *const *)(const void *)((const char *)object + field->offset);
}

static inline const struct value *contract_extra(const struct contract *contract,
                                                 const void *object)
{
    return *(const struct value *const *)(const void *)((const char *)object + contract->extra);
}

#endif
