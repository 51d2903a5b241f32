/*
 * sse.c -- lines in, events out.
 *
 * The only subtle thing is who owns the data. A first data line is kept as a view when it lies in
 * the bytes that were fed; it is copied as soon as a second one comes or the piece ends. A line
 * that was put together across pieces lies in the line buffer, which the next line may take, so it
 * is copied at once.
 */
#include "common/data/sse.h"

#include <string.h>

#define RETRY_MS_MAX INT64_C(86400000)

void sse_init(struct sse *sse, size_t event_max)
{
    *sse = (struct sse){.event_max = event_max, .retry_ms = -1};
    lines_init(&sse->lines, LINES_ANY, event_max);
    buf_init(&sse->data, event_max);
    buf_init(&sse->type, event_max);
    buf_init(&sse->id, event_max);
}

void sse_done(struct sse *sse)
{
    lines_done(&sse->lines);
    buf_done(&sse->data);
    buf_done(&sse->type);
    buf_done(&sse->id);
}

void sse_feed(struct sse *sse, struct str bytes)
{
    lines_feed(&sse->lines, bytes);
}

static void forget(struct sse *sse)
{
    sse->event_bytes = 0;
    sse->has_data = sse->is_copied = sse->given = false;
    sse->view = (struct str){0};
    buf_clear(&sse->data);
    buf_clear(&sse->type);
}

static void copy_view(struct sse *sse)
{
    if (!sse->has_data || sse->is_copied)
        return;
    buf_add_str(&sse->data, sse->view);
    sse->is_copied = true;
}

static void add_data(struct sse *sse, struct str line)
{
    if (!sse->has_data && lines_is_in_place(&sse->lines)) {
        sse->view = line;
    } else {
        copy_view(sse);
        if (sse->has_data)
            buf_add_char(&sse->data, '\n');
        buf_add_str(&sse->data, line);
        sse->is_copied = true;
    }
    sse->has_data = true;
}

static void keep(struct buf *buf, struct str value)
{
    buf_clear(buf);
    buf_add_str(buf, value);
}

/* Digits only, or it is not meant for us; more than a day is a day. */
static void read_retry(struct sse *sse, struct str value)
{
    int64_t ms = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return;
        ms = ms * 10 + (value.data[i] - '0');
        ms = ms > RETRY_MS_MAX ? RETRY_MS_MAX : ms;
    }
    if (value.len)
        sse->retry_ms = ms;
}

/* "name: value"; one space behind the colon belongs to it. A comment has an empty name. */
static void read_field(struct sse *sse, struct str line)
{
    size_t colon = str_index(line, ':');
    struct str name = str_slice(line, 0, colon);
    struct str value = str_slice(line, colon + 1, line.len);
    if (value.len && value.data[0] == ' ')
        value = str_slice(value, 1, value.len);
    if (str_is(name, "data"))
        add_data(sse, value);
    else if (str_is(name, "event"))
        keep(&sse->type, value);
    else if (str_is(name, "id") && str_index(value, '\0') == value.len)
        keep(&sse->id, value);
    else if (str_is(name, "retry"))
        read_retry(sse, value);
}

static struct str without_mark(struct sse *sse, struct str line)
{
    bool first = !sse->begun;
    sse->begun = true;
    return first && str_starts(line, STR("\xef\xbb\xbf")) ? str_slice(line, 3, line.len) : line;
}

static bool dispatch(struct sse *sse, struct sse_event *ret)
{
    if (!sse->has_data) {
        forget(sse);
        return false;
    }
    sse->given = true;
    ret->type = buf_str(&sse->type);
    ret->data = sse->is_copied ? buf_str(&sse->data) : sse->view;
    ret->id = buf_str(&sse->id);
    return true;
}

static enum sse_next too_big(struct sse *sse)
{
    sse->too_big = true;
    return SSE_TOO_BIG;
}

/* False when the event has grown beyond its limit. */
static bool read_line(struct sse *sse, struct str line)
{
    if (line.data[0] == ':')
        return true;
    sse->event_bytes += line.len + 1;
    if (sse->event_bytes - 1 > sse->event_max)
        return false;
    read_field(sse, line);
    return true;
}

enum sse_next sse_next(struct sse *sse, struct sse_event *ret)
{
    struct str line;
    if (sse->too_big)
        return SSE_TOO_BIG;
    if (sse->given)
        forget(sse);
    for (;;) {
        switch (lines_next(&sse->lines, &line)) {
        case LINES_TOO_LONG:
            return too_big(sse);
        case LINES_MORE:
            copy_view(sse);
            return SSE_MORE;
        case LINES_LINE:
            break;
        }
        line = without_mark(sse, line);
        if (line.len == 0 && dispatch(sse, ret))
            return SSE_EVENT;
        if (line.len > 0 && !read_line(sse, line))
            return too_big(sse);
    }
}
