/*
 * kafka_outgoing.c -- see kafka_outgoing.h.
 *
 * The value stands first in the block, so that the block is what the library frees (MSG_F_FREE). It
 * copies the key, and the topic's name only where it has no handle of ours.
 */
#include "common/io/kafka_outgoing.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/xalloc.h"

enum { VALUES_MAX = 6 };

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

static rd_kafka_headers_t *copy_headers(const struct kafka_produce *record)
{
    if (record->header_count == 0)
        return NULL;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
    for (size_t i = 0; i < record->header_count; i++) {
        const struct kafka_header *one = &record->headers[i];
        rd_kafka_header_add(headers, one->name.data, (ssize_t)one->name.len, one->value.data,
                            (ssize_t)one->value.len);
    }
    return headers;
}

void kafka_outgoing_make(const struct kafka_produce *record, struct kafka_outgoing *ret)
{
    struct str topic = {record->topic, strlen(record->topic) + 1}; /* with its NUL */
    ret->block = xrealloc(NULL, record->value.len + record->key.len + topic.len);
    char *at = ret->block;
    ret->value = put(&at, record->value);
    ret->key = put(&at, record->key);
    ret->topic = put(&at, topic);
    ret->topic.len--;
    ret->headers = copy_headers(record);
}

void kafka_outgoing_drop(struct kafka_outgoing *outgoing)
{
    free(outgoing->block);
    if (outgoing->headers)
        rd_kafka_headers_destroy(outgoing->headers);
    *outgoing = (struct kafka_outgoing){0};
}

static rd_kafka_vu_t memory(rd_kafka_vtype_t type, struct str s)
{
    return (rd_kafka_vu_t){.vtype = type,
                           .u.mem = {.ptr = (void *)(uintptr_t)s.data, .size = s.len}};
}

rd_kafka_resp_err_t kafka_outgoing_send(struct kafka_outgoing *outgoing, rd_kafka_t *rk,
                                        rd_kafka_topic_t *handle, void *opaque)
{
    bool whole = outgoing->value.data != NULL;
    rd_kafka_vu_t vus[VALUES_MAX] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = outgoing->topic.data},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS,
         .u.i = whole ? RD_KAFKA_MSG_F_FREE : RD_KAFKA_MSG_F_COPY},
        memory(RD_KAFKA_VTYPE_KEY, outgoing->key),
        memory(RD_KAFKA_VTYPE_VALUE, outgoing->value),
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = outgoing->headers},
    };
    if (handle)
        vus[0] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = handle};
    rd_kafka_error_t *error =
        rd_kafka_produceva(rk, vus, outgoing->headers ? VALUES_MAX : VALUES_MAX - 1);
    if (error) {
        rd_kafka_resp_err_t code = rd_kafka_error_code(error);
        rd_kafka_error_destroy(error);
        return code;
    }
    outgoing->headers = NULL;
    if (whole)
        outgoing->block = NULL;
    kafka_outgoing_drop(outgoing);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}
