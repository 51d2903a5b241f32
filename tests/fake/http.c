/*
 * http.c -- the request parser; see http.h.
 *
 * The head is parsed when its blank line has arrived, and a second time when the body is whole:
 * the bytes may have moved in between, and parsing twice is cheaper to get right than relocating.
 *
 * A request that two readers could understand differently (both lengths, two different
 * Content-Lengths, white space before a colon) is refused.
 */
#include "tests/fake/http.h"

#include <stdlib.h>
#include <strings.h>

struct head {
    struct http_request request;
    struct slice content_length, transfer_encoding, connection, expect;
};

// clang-format off
static const struct field {
    const char *name;
    size_t at;
} fields[] = {
    {"authorization",       offsetof(struct head, request.authorization)},
    {"x-api-key",           offsetof(struct head, request.api_key)},
    {"api-key",             offsetof(struct head, request.azure_key)},
    {"x-request-id",        offsetof(struct head, request.request_id)},
    {"x-call-id",           offsetof(struct head, request.call_id)},
    {"idempotency-key",     offsetof(struct head, request.idempotency_key)},
    {"content-type",        offsetof(struct head, request.content_type)},
    {"anthropic-version",   offsetof(struct head, request.anthropic_version)},
    {"content-length",      offsetof(struct head, content_length)},
    {"transfer-encoding",   offsetof(struct head, transfer_encoding)},
    {"connection",          offsetof(struct head, connection)},
    {"expect",              offsetof(struct head, expect)},
};
// clang-format on

static bool same_text(struct slice slice, const char *lower)
{
    return slice.len == strlen(lower) && strncasecmp(slice.at, lower, slice.len) == 0;
}

static struct slice trimmed(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
        to--;
    return (struct slice){.at = from, .len = (size_t)(to - from)};
}

static bool header_line(struct head *head, const char *from, const char *to)
{
    const char *colon = memchr(from, ':', (size_t)(to - from));
    if (!colon || colon == from || colon[-1] == ' ' || colon[-1] == '\t')
        return false;
    struct slice name = {.at = from, .len = (size_t)(colon - from)};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (!same_text(name, fields[i].name))
            continue;
        struct slice *value = (struct slice *)((char *)head + fields[i].at);
        struct slice fresh = trimmed(colon + 1, to);
        bool is_length = value == &head->content_length;
        if (is_length && value->at &&
            (value->len != fresh.len || memcmp(value->at, fresh.at, fresh.len) != 0))
            return false;
        *value = fresh;
        return true;
    }
    return true;
}

static bool request_line(struct http_request *request, const char *from, const char *to)
{
    const char *space = memchr(from, ' ', (size_t)(to - from));
    if (!space || space == from)
        return false;
    const char *target = space + 1;
    const char *end = memchr(target, ' ', (size_t)(to - target));
    if (!end || *target != '/')
        return false;
    struct slice version = trimmed(end + 1, to);
    if (!slice_is(version, "HTTP/1.1") && !slice_is(version, "HTTP/1.0"))
        return false;
    request->version_10 = version.at[version.len - 1] == '0';
    request->method = (struct slice){.at = from, .len = (size_t)(space - from)};
    const char *mark = memchr(target, '?', (size_t)(end - target));
    request->path = (struct slice){.at = target, .len = (size_t)((mark ? mark : end) - target)};
    if (mark)
        request->query = (struct slice){.at = mark + 1, .len = (size_t)(end - mark - 1)};
    return true;
}

/* `bytes` ends with the blank line. */
static bool parse_head(const char *bytes, size_t len, struct head *ret)
{
    *ret = (struct head){0};
    const char *end = bytes + len - 2;
    const char *line_end = memchr(bytes, '\n', len);
    if (!request_line(&ret->request, bytes, line_end))
        return false;
    for (const char *line = line_end + 1; line < end; line = line_end + 1) {
        line_end = memchr(line, '\n', (size_t)(bytes + len - line));
        if (!header_line(ret, line, line_end))
            return false;
    }
    if (ret->request.version_10)
        ret->request.keep_alive = same_text(ret->connection, "keep-alive");
    else
        ret->request.keep_alive = !same_text(ret->connection, "close");
    return true;
}

static bool parse_size(struct slice text, int base, size_t *ret)
{
    size_t size = 0;
    if (text.len == 0 || text.len > 15)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = memchr(digits, text.at[i] | 0x20, (size_t)base);
        /* '\x10'..'\x19' would become digits by the lower-casing above */
        if (!digit || text.at[i] < '0')
            return false;
        size = size * (size_t)base + (size_t)(digit - digits);
    }
    *ret = size;
    return true;
}

/* Learns from the head how the body is framed. */
static enum http_verdict plan_body(struct http_reader *reader, const struct head *head)
{
    if (head->transfer_encoding.at) {
        if (head->content_length.at)
            return HTTP_BAD;
        if (!same_text(head->transfer_encoding, "chunked"))
            return HTTP_NOT_IMPLEMENTED;
        reader->chunked = true;
    } else if (head->content_length.at) {
        if (!parse_size(head->content_length, 10, &reader->content_length))
            return HTTP_BAD;
        if (reader->content_length > HTTP_BODY_MAX)
            return HTTP_BODY_TOO_BIG;
    }
    reader->wants_continue = same_text(head->expect, "100-continue");
    return HTTP_READY;
}

static enum http_verdict chunk_size(struct http_reader *reader, const char *line, size_t len)
{
    const char *semicolon = memchr(line, ';', len); /* extensions are ignored */
    struct slice size = trimmed(line, semicolon ? semicolon : line + len);
    if (!parse_size(size, 16, &reader->chunk_left))
        return HTTP_BAD;
    if (reader->chunk_left > HTTP_BODY_MAX - reader->body_len)
        return HTTP_BODY_TOO_BIG;
    reader->chunk_state = reader->chunk_left ? CHUNK_DATA : CHUNK_TRAILER;
    return HTTP_MORE;
}

static void chunk_data(struct http_reader *reader, char *body, size_t len)
{
    size_t part = len - reader->chunk_read;
    if (part > reader->chunk_left)
        part = reader->chunk_left;
    memmove(body + reader->body_len, body + reader->chunk_read, part);
    reader->body_len += part;
    reader->chunk_read += part;
    reader->chunk_left -= part;
    if (reader->chunk_left == 0)
        reader->chunk_state = CHUNK_END;
}

/* Handles one line of framing; HTTP_READY after the last one. */
static enum http_verdict chunk_line(struct http_reader *reader, const char *line, size_t len)
{
    bool empty = len == 0 || (len == 1 && line[0] == '\r');
    switch (reader->chunk_state) {
    case CHUNK_SIZE:
        return chunk_size(reader, line, len);
    case CHUNK_END:
        reader->chunk_state = CHUNK_SIZE;
        return empty ? HTTP_MORE : HTTP_BAD;
    case CHUNK_TRAILER:
        return empty ? HTTP_READY : HTTP_MORE;
    default:
        abort();
    }
}

static enum http_verdict read_chunks(struct http_reader *reader, char *body, size_t len)
{
    while (reader->chunk_read < len) {
        if (reader->chunk_state == CHUNK_DATA) {
            chunk_data(reader, body, len);
            continue;
        }
        char *line = body + reader->chunk_read;
        size_t left = len - reader->chunk_read;
        char *end = memchr(line, '\n', left);
        if (!end)
            return left > HTTP_HEAD_MAX ? HTTP_BAD : HTTP_MORE;
        reader->chunk_read += (size_t)(end - line) + 1;
        enum http_verdict verdict = chunk_line(reader, line, (size_t)(end - line));
        if (verdict != HTTP_MORE)
            return verdict;
    }
    return HTTP_MORE;
}

static enum http_verdict read_head(struct http_reader *reader, const char *bytes, size_t len)
{
    size_t from = reader->scanned > 3 ? reader->scanned - 3 : 0;
    const char *end = memmem(bytes + from, len - from, "\r\n\r\n", 4);
    if (!end) {
        reader->scanned = len;
        return len > HTTP_HEAD_MAX ? HTTP_HEAD_TOO_BIG : HTTP_MORE;
    }
    size_t head_len = (size_t)(end - bytes) + 4;
    if (head_len > HTTP_HEAD_MAX)
        return HTTP_HEAD_TOO_BIG;
    struct head head;
    if (!parse_head(bytes, head_len, &head))
        return HTTP_BAD;
    reader->head_len = head_len;
    return plan_body(reader, &head);
}

enum http_verdict http_read(struct http_reader *reader, char *bytes, size_t len,
                            struct http_request *ret, size_t *ret_used)
{
    if (!reader->head_len) {
        enum http_verdict verdict = read_head(reader, bytes, len);
        if (verdict != HTTP_READY)
            return verdict;
    }
    size_t raw_len = reader->content_length;
    if (reader->chunked) {
        enum http_verdict verdict =
            read_chunks(reader, bytes + reader->head_len, len - reader->head_len);
        if (verdict != HTTP_READY)
            return verdict;
        raw_len = reader->chunk_read;
    } else {
        if (len - reader->head_len < raw_len)
            return HTTP_MORE;
        reader->body_len = raw_len;
    }
    struct head head;
    if (!parse_head(bytes, reader->head_len, &head))
        return HTTP_BAD;
    head.request.body = (struct slice){.at = bytes + reader->head_len, .len = reader->body_len};
    *ret = head.request;
    *ret_used = reader->head_len + raw_len;
    *reader = (struct http_reader){0};
    return HTTP_READY;
}

size_t http_expected(const struct http_reader *reader)
{
    return reader->head_len ? reader->head_len + reader->content_length : 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(const char *from, const char *to, char *ret, size_t size)
{
    size_t len = 0;
    for (; from < to; from++) {
        if (len + 1 >= size)
            return false;
        char c = *from == '+' ? ' ' : *from;
        if (c == '%' && to - from > 2 && hex_digit(from[1]) >= 0 && hex_digit(from[2]) >= 0) {
            c = (char)(hex_digit(from[1]) * 16 + hex_digit(from[2]));
            from += 2;
        }
        ret[len++] = c;
    }
    ret[len] = '\0';
    return true;
}

bool http_query(struct slice query, const char *name, char *ret, size_t size)
{
    size_t name_len = strlen(name);
    if (!query.at)
        return false;
    const char *end = query.at + query.len;
    for (const char *at = query.at; at < end;) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        stop = stop ? stop : end;
        if ((size_t)(stop - at) > name_len && memcmp(at, name, name_len) == 0 &&
            at[name_len] == '=')
            return decode(at + name_len + 1, stop, ret, size);
        at = stop + 1;
    }
    return false;
}

const char *http_reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 301:
        return "Moved Permanently";
    case 302:
        return "Found";
    case 303:
        return "See Other";
    case 307:
        return "Temporary Redirect";
    case 308:
        return "Permanent Redirect";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 402:
        return "Payment Required";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 422:
        return "Unprocessable Content";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 529:
        return "Overloaded";
    default:
        return status < 500 ? "Refused" : "Failed";
    }
}
