/*
 * link.h -- one way through the proxy: a port of ours, a target, and the connections between them.
 *
 * What a client sends goes to the target and back, as the link's rules say. A connection that is
 * broken on one side is broken on the other in the same way: an end is passed on as an end, a reset
 * as a reset. A port is kept while its link is down, so that nobody else can take it.
 * Bounded: two lanes per connection, LINK_CONNECTIONS_MAX connections; further ones are reset.
 */
#ifndef QUERN_TESTS_CHAOS_PROXY_LINK_H
#define QUERN_TESTS_CHAOS_PROXY_LINK_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/loop/loop.h"

enum { LINK_CONNECTIONS_MAX = 2000 };

struct link;

/* `target` is IPv4:PORT; listens on 127.0.0.1, a free port. */
struct link *link_new(struct loop *loop, struct str name, struct str target, struct err *err);
void link_free(struct link *link);

struct str link_name(const struct link *link);
int link_port(const struct link *link);
/* A rule (rules.h), or one of: up (as clear), reset (all connections, now), target IPv4:PORT. */
bool link_command(struct link *link, struct str words, struct err *err);
/* One line for people: port, target, connections, bytes, resets. */
void link_describe(const struct link *link, struct buf *ret);

#endif
