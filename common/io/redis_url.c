/*
 * redis_url.c -- the URL is taken apart from the left: scheme, what is before the last '@' of the
 * authority, then host and port, then the database.
 */
#include "common/io/redis_url.h"

#include <stdio.h>

#define PORT_DEFAULT 6379
#define DB_MAX       65535

static bool refuse(struct err *err, const char *what)
{
    err_set(err, ERR_CONFIG,
            "redis.url: %s; expected redis://[user:password@]host:port/db or unix:///path", what);
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes into a C string; false when it does not fit or is malformed. */
static bool decode(struct str from, char *ret, size_t room)
{
    size_t len = 0;
    for (size_t i = 0; i < from.len; i++) {
        char c = from.data[i];
        if (c == '%') {
            int high = i + 2 < from.len ? hex_digit(from.data[i + 1]) : -1;
            int low = i + 2 < from.len ? hex_digit(from.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || len + 1 >= room)
            return false;
        ret[len++] = c;
    }
    ret[len] = '\0';
    return true;
}

static bool take_login(struct str login, struct redis_url *url, struct err *err)
{
    size_t colon = str_index(login, ':');
    if (!decode(str_slice(login, 0, colon), url->user, sizeof(url->user)))
        return refuse(err, "the user cannot be decoded or is too long");
    if (colon < login.len &&
        !decode(str_slice(login, colon + 1, login.len), url->password, sizeof(url->password)))
        return refuse(err, "the password cannot be decoded or is too long");
    return true;
}

static bool take_db(struct str db, struct redis_url *url, struct err *err)
{
    int64_t number = 0;
    if (!str_empty(db) && !str_to_i64(db, 0, DB_MAX, &number))
        return refuse(err, "the database is not a number");
    url->db = (int)number;
    return true;
}

static bool take_query(struct str query, struct redis_url *url, struct err *err)
{
    if (str_empty(query))
        return true;
    if (!str_starts(query, STR("db=")))
        return refuse(err, "the only parameter known after '?' is db");
    return take_db(str_slice(query, 3, query.len), url, err);
}

static bool take_port(struct str port, struct redis_url *url, struct err *err)
{
    int64_t number = PORT_DEFAULT;
    if (!str_empty(port) && !str_to_i64(port, 1, 65535, &number))
        return refuse(err, "the port is not a number from 1 to 65535");
    url->port = (int)number;
    return true;
}

static bool take_host(struct str place, struct redis_url *url, struct err *err)
{
    struct str host = place, port = {NULL, 0};
    if (place.len && place.data[0] == '[') { /* [::1]:6379 */
        size_t end = str_index(place, ']');
        if (end == place.len)
            return refuse(err, "a ']' is missing after the address");
        host = str_slice(place, 1, end);
        port = str_slice(place, end + 1, place.len);
        if (!str_empty(port) && port.data[0] != ':')
            return refuse(err, "the port is not a number from 1 to 65535");
        port = str_slice(port, str_empty(port) ? 0 : 1, port.len);
    } else {
        size_t colon = str_index(place, ':');
        host = str_slice(place, 0, colon);
        if (colon < place.len)
            port = str_slice(place, colon + 1, place.len);
    }
    if (str_empty(host))
        host = STR("localhost");
    if (!decode(host, url->host, sizeof(url->host)))
        return refuse(err, "the host is too long");
    return take_port(port, url, err);
}

static size_t last_at(struct str s)
{
    for (size_t i = s.len; i > 0; i--) {
        if (s.data[i - 1] == '@')
            return i - 1;
    }
    return s.len;
}

bool redis_url_parse(struct str url, struct redis_url *ret, struct err *err)
{
    struct redis_url parsed = {0};
    bool is_unix = str_starts(url, STR("unix://"));
    if (str_starts(url, STR("rediss://")))
        return refuse(err, "TLS (rediss://) is not supported");
    if (!is_unix && !str_starts(url, STR("redis://")))
        return refuse(err, "the scheme is missing or unknown");

    struct str rest = str_slice(url, is_unix ? 7 : 8, url.len);
    size_t question = str_index(rest, '?');
    struct str query = str_slice(rest, question < rest.len ? question + 1 : rest.len, rest.len);
    rest = str_slice(rest, 0, question);

    size_t slash = str_index(rest, '/');
    struct str authority = str_slice(rest, 0, slash);
    struct str path = str_slice(rest, slash, rest.len);
    size_t at = last_at(authority);
    if (at < authority.len) {
        if (!take_login(str_slice(authority, 0, at), &parsed, err))
            return false;
        authority = str_slice(authority, at + 1, authority.len);
    }
    if (is_unix) {
        if (str_empty(path) || !decode(path, parsed.path, sizeof(parsed.path)))
            return refuse(err, "the path of the socket is missing or too long");
    } else if (!take_host(authority, &parsed, err) ||
               !take_db(str_slice(path, str_empty(path) ? 0 : 1, path.len), &parsed, err)) {
        return false;
    }
    if (!take_query(query, &parsed, err))
        return false;
    *ret = parsed;
    return true;
}

bool redis_url_password(struct redis_url *url, struct str password, struct err *err)
{
    if (str_empty(password))
        return true;
    if (password.len >= sizeof(url->password) || memchr(password.data, '\0', password.len)) {
        err_set(err, ERR_CONFIG, "redis.password is too long or contains a NUL byte");
        return false;
    }
    memcpy(url->password, password.data, password.len);
    url->password[password.len] = '\0';
    return true;
}
