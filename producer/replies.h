/*
 * replies.h -- a program that waits for replies: the reply topic, read from where it ended before
 * the first request was published.
 *
 * replies_new() asks Kafka for the ends of all partitions (it blocks, bounded) and reads on from
 * there. on_reply gets every record's key first: replies of other publishers share the topic, and
 * only what is awaited is worth reading.
 */
#ifndef QUERN_PRODUCER_REPLIES_H
#define QUERN_PRODUCER_REPLIES_H

#include "common/app/shared_conf.h"
#include "common/contract/contract.h"
#include "common/loop/loop.h"

struct replies;

struct replies_events {
    /* True: the reply to this request is wanted; the key is its id. */
    bool (*wanted)(struct str id, void *context);
    /* Valid during the call. */
    void (*on_reply)(const struct reply *reply, const struct value *document, void *context);
    void (*on_fatal)(const struct err *err, void *context);
    void *context;
};

struct replies *replies_new(struct loop *loop, const struct shared_conf *conf, const char *topic,
                            int64_t timeout_ms, const struct replies_events *events,
                            struct err *err);
void replies_free(struct replies *replies); /* takes NULL */

#endif
