/*
 * copies.c -- see copies.h.
 */
#include "worker/intake/copies.h"

#include "common/base/xalloc.h"

size_t copy_bytes(const struct kafka_record *record)
{
    return kafka_record_head_bytes(record) + kafka_record_bytes(record);
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
    char *at = (char *)copy + kafka_record_head_bytes(record);
    memcpy(copy, record, kafka_record_head_bytes(record));
    copy->topic = topic;
    copy->key = put(&at, record->key);
    copy->value = put(&at, record->value);
    for (size_t i = 0; i < record->header_count; i++) {
        copy->headers[i].name = put(&at, record->headers[i].name);
        copy->headers[i].value = put(&at, record->headers[i].value);
    }
    return copy;
}
