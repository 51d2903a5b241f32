/*
 * redis_channel.h -- the messages of one channel, on a connection of their own. Only for
 * common/io/redis*.c.
 *
 * A subscriber that hears nothing cannot tell a quiet channel from a dead line, so it sends a PING
 * every few seconds and drops a connection that does not answer. What is published while it is away
 * is lost; that is Redis' promise, and callers must not depend on more.
 */
#ifndef QUERN_COMMON_IO_REDIS_CHANNEL_H
#define QUERN_COMMON_IO_REDIS_CHANNEL_H

#include "common/io/redis_link.h"

struct redis_channel;

struct redis_channel *redis_channel_new(struct loop *loop, const struct redis_url *url,
                                        int64_t connect_timeout_ms, struct str channel,
                                        void (*on_message)(struct str message, void *context),
                                        void *context);
void redis_channel_free(struct redis_channel *channel); /* takes NULL */

#endif
