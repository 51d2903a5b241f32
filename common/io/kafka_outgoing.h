/*
 * kafka_outgoing.h -- a record that waits to be handed over to the library: a copy that costs
 * nothing, for the library takes the memory over instead of making its own.
 *
 * Private to common/io/kafka*.c.
 */
#ifndef QUERN_COMMON_IO_KAFKA_OUTGOING_H
#define QUERN_COMMON_IO_KAFKA_OUTGOING_H

#include "common/io/kafka_common.h"

struct kafka_outgoing {
    char *block; /* value, key, topic: one behind the other; NULL: nothing is kept */
    struct str value, key, topic;
    rd_kafka_headers_t *headers; /* NULL: it has none */
};

void kafka_outgoing_make(const struct kafka_produce *record, struct kafka_outgoing *ret);
void kafka_outgoing_drop(struct kafka_outgoing *outgoing);
static inline size_t kafka_outgoing_bytes(const struct kafka_outgoing *outgoing)
{
    return outgoing->value.len + outgoing->key.len;
}
/* handle NULL: the library looks the topic up by its name. Taken over, unless it returns an error.
 */
rd_kafka_resp_err_t kafka_outgoing_send(struct kafka_outgoing *outgoing, rd_kafka_t *rk,
                                        rd_kafka_topic_t *handle, void *opaque);

#endif
