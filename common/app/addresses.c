/*
 * addresses.c -- see addresses.h.
 */
#include "common/app/addresses.h"

/* What stands between "//" and the first '/': a backslash is one to some. */
static struct str authority(struct str url)
{
    static const struct str mark = {"://", 3};
    for (size_t at = 0; at + mark.len <= url.len; at++) {
        if (!str_eq(str_slice(url, at, at + mark.len), mark))
            continue;
        struct str rest = str_slice(url, at + mark.len, url.len);
        size_t slash = str_index(rest, '/'), back = str_index(rest, '\\');
        return str_slice(rest, 0, slash < back ? slash : back);
    }
    return (struct str){"", 0};
}

struct str address_host(struct str url)
{
    struct str host = authority(url);
    for (size_t at = str_index(host, '@'); at < host.len; at = str_index(host, '@'))
        host = str_slice(host, at + 1, host.len);
    size_t bracket = str_index(host, ']'); /* an IPv6 address has colons of its own */
    if (bracket < host.len)
        return str_slice(host, 0, bracket + 1);
    return str_slice(host, 0, str_index(host, ':'));
}

bool address_plain(struct str url)
{
    struct str place = authority(url), host = address_host(url);
    struct str rest = str_slice(url, 0, str_index(url, '\\'));
    int64_t port;
    if (rest.len < url.len || str_index(place, '@') < place.len || str_empty(host))
        return false;
    if (str_starts(host, STR("[")) && !str_ends(host, STR("]")))
        return false;
    rest = str_slice(place, host.len, place.len);
    return str_empty(rest) ||
           (rest.data[0] == ':' && str_to_i64(str_slice(rest, 1, rest.len), 1, 65535, &port));
}

static bool begins_with(struct str url, struct str prefix)
{
    if (url.len < prefix.len || !str_eq_nocase(str_slice(url, 0, prefix.len), prefix))
        return false;
    return url.len == prefix.len || str_ends(prefix, STR("/")) || url.data[prefix.len] == '/' ||
           (url.data[prefix.len] == ':' && str_index(authority(url), '@') == authority(url).len);
}

static bool host_below(struct str host, struct str suffix)
{
    return host.len > suffix.len &&
           str_eq_nocase(str_slice(host, host.len - suffix.len, host.len), suffix);
}

static bool entry_allows(struct str entry, struct str url)
{
    if (authority(entry).len > 0)
        return begins_with(url, entry);
    if (str_starts(entry, STR(".")))
        return host_below(address_host(url), entry);
    return !str_empty(entry) && str_eq_nocase(address_host(url), entry);
}

bool address_allowed(struct str url, const struct conf_strs *allowed)
{
    for (size_t i = 0; i < allowed->count; i++)
        if (entry_allows(allowed->items[i], url))
            return true;
    return allowed->count == 0;
}
