/*
 * record.h -- a request becomes a record for Kafka: bytes, key and headers.
 *
 * The key is the session if there is one, else the id, so that the turns of a conversation lie in
 * one partition. Headers are CloudEvents' in binary mode.
 */
#ifndef QUERN_PRODUCER_RECORD_H
#define QUERN_PRODUCER_RECORD_H

#include "common/contract/contract.h"
#include "common/io/kafka.h"

enum { RECORD_HEADERS = 5 };

struct record_headers {
    struct kafka_header items[RECORD_HEADERS];
    size_t count;
};

/* `id` may be absent: then only content-type is written. */
void record_headers(struct str id, enum encoding encoding, struct record_headers *ret);
struct str record_key(const struct request *request);
/* Requests with a session may not go to the batch lane. */
enum topic_id record_lane(const struct request *request, bool may_wait);

/* What belongs to a raw document, as far as it can be told. */
struct record_names {
    struct str id, session;
};
bool record_names_of(struct str bytes, enum encoding encoding, struct arena *arena,
                     struct record_names *ret);

#endif
