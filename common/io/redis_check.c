/*
 * redis_check.c -- "is there a Redis?", for the command line: blocking, with a time-out.
 */
#include <hiredis/hiredis.h>
#include <sys/time.h>

#include "common/io/redis.h"
#include "common/io/redis_url.h"

/* What a server says that is there, and does not want us: password, user, database. */
static bool refuses(struct str error)
{
    static const char *const words[] = {"NOAUTH",      "WRONGPASS",
                                        "NOPERM",      "ERR invalid password",
                                        "ERR AUTH",    "ERR Client sent AUTH",
                                        "ERR DB index"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (str_starts(error, str_of(words[i])))
            return true;
    return false;
}

/* One command; the reply must not be an error. */
static bool say(redisContext *hiredis, const char **words, int count, struct err *err)
{
    redisReply *reply = redisCommandArgv(hiredis, count, words, NULL);
    if (!reply) {
        err_set(err, ERR_UNAVAILABLE, "redis: %s: %s", words[0], hiredis->errstr);
        return false;
    }
    bool ok = reply->type != REDIS_REPLY_ERROR;
    if (!ok)
        err_set(err, refuses(str_of(reply->str)) ? ERR_CONFIG : ERR_UNAVAILABLE,
                "redis: %s: %.200s", words[0], reply->str);
    freeReplyObject(reply);
    return ok;
}

static bool greet(redisContext *hiredis, const struct redis_url *url, struct err *err)
{
    char db[16];
    snprintf(db, sizeof(db), "%d", url->db);
    const char *with_user[] = {"AUTH", url->user, url->password};
    const char *without[] = {"AUTH", url->password};
    const char *select_db[] = {"SELECT", db};
    const char *ping[] = {"PING"};
    if (url->password[0] &&
        !say(hiredis, url->user[0] ? with_user : without, url->user[0] ? 3 : 2, err))
        return false;
    if (url->db && !say(hiredis, select_db, 2, err))
        return false;
    return say(hiredis, ping, 1, err);
}

bool redis_check(const struct redis_conf *conf, int64_t timeout_ms, struct err *err)
{
    struct redis_url url;
    if (str_empty(conf->url)) {
        err_set(err, ERR_CONFIG, "redis.url is not set, so Redis is switched off");
        return false;
    }
    if (!redis_url_parse(conf->url, &url, err) || !redis_url_password(&url, conf->password, err))
        return false;
    struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    redisContext *hiredis = url.path[0] ? redisConnectUnixWithTimeout(url.path, limit)
                                        : redisConnectWithTimeout(url.host, url.port, limit);
    bool ok = false;
    if (!hiredis || hiredis->err)
        err_set(err, ERR_UNAVAILABLE, "redis: connect: %s",
                hiredis ? hiredis->errstr : "out of memory");
    else if (redisSetTimeout(hiredis, limit) == REDIS_OK)
        ok = greet(hiredis, &url, err);
    else
        err_set(err, ERR_UNAVAILABLE, "redis: %s", hiredis->errstr);
    if (hiredis)
        redisFree(hiredis);
    explicit_bzero(&url, sizeof(url));
    return ok;
}
