/*
 * redis_url.h -- where a Redis is, out of redis://[user:password@]host[:port][/db] or
 * unix://[user:password@]/path[?db=n]; pure.
 *
 * User and password may be percent-encoded. Error texts name the part that is wrong and never
 * repeat the URL, because it may hold a password.
 */
#ifndef QUERN_COMMON_IO_REDIS_URL_H
#define QUERN_COMMON_IO_REDIS_URL_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/str.h"

struct redis_url {
    char host[256]; /* "" for a Unix socket */
    char path[108]; /* "" for TCP */
    int port;
    int db;
    char user[128];
    char password[512];
};

bool redis_url_parse(struct str url, struct redis_url *ret, struct err *err);
/* A password that was given apart takes the place of the URL's; absent or empty: nothing. */
bool redis_url_password(struct redis_url *url, struct str password, struct err *err);

#endif
