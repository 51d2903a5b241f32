/*
 * copies.c -- see copies.h.
 */
#include "worker/intake/copies.h"

#include "common/base/xalloc.h"

static size_t head_bytes(const struct kafka_record *record)
{
    return offsetof(struct kafka_record, headers) +
           record->header_count * sizeof(struct kafka_header);
}

size_t copy_bytes(const struct kafka_record *record)
{
    size_t bytes = head_bytes(record) + record->key.len + record->value.len;
    for (size_t i = 0; i < record->header_count; i++)
        bytes += record->headers[i].name.len + record->headers[i].value.len;
    return bytes;
}

/* Absent stays absent: a null value is not an empty one. */
static struct str put(char **at, struct str s)
{
    if (!s.data)
        return s;
    struct str there = {*at, s.len};
    if (s.len)
        memcpy(*at, s.data, s.len);
    *at += s.len;
    return there;
}

struct kafka_record *copy_make(const struct kafka_record *record, const char *topic)
{
    struct kafka_record *copy = xrealloc(NULL, copy_bytes(record));
    char *at = (char *)copy + head_bytes(record);
    memcpy(copy, record, head_bytes(record));
    copy->topic = topic;
    copy->key = put(&at, record->key);
    copy->value = put(&at, record->value);
    for (size_t i = 0; i < record->header_count; i++) {
        copy->headers[i].name = put(&at, record->headers[i].name);
        copy->headers[i].value = put(&at, record->headers[i].value);
    }
    return copy;
}
