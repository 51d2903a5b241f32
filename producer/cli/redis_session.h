/*
 * redis_session.h -- Redis for commands that ask and wait: each question is answered before the
 * function returns, or an error says that it was not.
 */
#ifndef QUERN_PRODUCER_CLI_REDIS_SESSION_H
#define QUERN_PRODUCER_CLI_REDIS_SESSION_H

#include "common/io/redis.h"
#include "producer/cli/cli.h"

struct redis_session;

/* ERR_UNAVAILABLE when it cannot be reached, ERR_CONFIG when Redis is switched off. */
struct redis_session *redis_session_new(const struct cli *cli, struct err *err);
void redis_session_free(struct redis_session *session); /* takes NULL */
/* `take` sees the answer and may be NULL; ERR_UNAVAILABLE without one, ERR_INTERNAL when Redis
 * refused the command. */
bool redis_session_ask(struct redis_session *session, const struct str *words, size_t count,
                       void (*take)(const struct redis_reply *reply, void *context), void *context,
                       struct err *err);
/* Lets time pass. */
void redis_session_sleep(struct redis_session *session, int64_t ms);
int64_t redis_session_now_ms(const struct redis_session *session);

#endif
