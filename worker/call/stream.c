/*
 * stream.c -- the part of reading a stream that all vendors share: framing, limits, what is kept,
 * and the verdict at the end.
 *
 * Each event is parsed into a scratch arena that is emptied before the next one, so a stream of a
 * million small events needs no more memory than one of them and the answer. What has to last is
 * copied: text and arguments into buffers, ids into the arena, all counted against one limit.
 */
#include "worker/call/stream.h"

#include "common/base/must.h"

/* A tree is larger than its text; beyond this an event is not what a model says. */
#define SCRATCH_FACTOR 32
#define SCRATCH_MIN    (1 << 16)

static void stream_release(void *object)
{
    struct stream *stream = object;
    for (size_t i = 0; i < stream->call_count; i++)
        buf_done(&stream->calls[i].arguments);
    buf_done(&stream->text);
    buf_done(&stream->refusal);
    buf_done(&stream->reasoning);
    sse_done(&stream->sse);
    lines_done(&stream->lines);
    arena_done(&stream->scratch);
}

struct stream *stream_new(const struct provider *provider, const struct stream_limits *limits,
                          struct arena *arena)
{
    must(provider->stream);
    struct stream *stream = arena_new(arena, struct stream);
    stream->provider = provider;
    stream->limits = *limits;
    stream->arena = arena;
    sse_init(&stream->sse, limits->event_bytes_max);
    lines_init(&stream->lines, LINES_LF, limits->event_bytes_max);
    arena_init(&stream->scratch, arena->pool,
               limits->event_bytes_max * SCRATCH_FACTOR + SCRATCH_MIN);
    buf_init(&stream->text, limits->answer_bytes_max);
    buf_init(&stream->refusal, limits->answer_bytes_max);
    buf_init(&stream->reasoning, limits->answer_bytes_max);
    arena_defer(arena, stream_release, stream);
    return stream;
}

/* A server that was asked for Server-Sent Events and cannot give them sends one JSON document. One
 * that was asked for lines sends one line then, which is a stream too. */
bool stream_expected(const struct provider_stream *row, int status, struct str content_type)
{
    struct str media = str_trim(str_slice(content_type, 0, str_index(content_type, ';')));
    return status == 200 &&
           (row->framing == STREAM_LINES || !str_eq_nocase(media, STR("application/json")));
}

static void fail_too_big(struct stream *stream, const char *what, size_t max)
{
    err_set(&stream->err, ERR_TOO_BIG, "%s of the provider's stream is larger than %zu bytes", what,
            max);
    stream->failed = true;
}

void stream_feed(struct stream *stream, struct str bytes)
{
    if (stream->failed || stream->over)
        return;
    size_t room = stream->limits.stream_bytes_max - stream->bytes;
    stream->is_too_long = bytes.len > room;
    bytes = str_slice(bytes, 0, room);
    stream->bytes += bytes.len;
    if (stream->provider->stream->framing == STREAM_SSE)
        sse_feed(&stream->sse, bytes);
    else
        lines_feed(&stream->lines, bytes);
}

/* False when there is no further event in what was fed. */
static bool next_fed(struct stream *stream, struct stream_event *ret, bool *ret_too_big)
{
    struct sse_event event;
    if (stream->provider->stream->framing == STREAM_LINES) {
        enum lines_next next = lines_next(&stream->lines, &ret->data);
        *ret_too_big = next == LINES_TOO_LONG;
        return next == LINES_LINE;
    }
    enum sse_next next = sse_next(&stream->sse, &event);
    *ret_too_big = next == SSE_TOO_BIG;
    if (next == SSE_EVENT)
        *ret = (struct stream_event){.type = event.type, .data = event.data};
    return next == SSE_EVENT;
}

/* Into the scratch arena, which the event before has left. */
static bool parse(struct stream *stream, struct str data, struct value *ret)
{
    struct err why;
    arena_reset(&stream->scratch);
    return json_read(data, &stream->scratch, ret, &why) && ret->kind == VALUE_MAP;
}

/* JSON says itself where it ends, so the last line of a body that ended as it should needs no line
 * end. What is no JSON then is the beginning of a line that was cut. */
static bool next_rest(struct stream *stream, struct stream_event *ret)
{
    struct value document;
    if (!stream->closed || stream->end != STREAM_END_CLEAN || stream->rest_read ||
        stream->provider->stream->framing != STREAM_LINES)
        return false;
    stream->rest_read = true;
    ret->data = str_trim(lines_rest(&stream->lines));
    return !str_empty(ret->data) && parse(stream, ret->data, &document);
}

static bool next_event(struct stream *stream, struct stream_event *ret)
{
    bool too_big;
    *ret = (struct stream_event){.type = STR("")};
    if (next_fed(stream, ret, &too_big))
        return true;
    if (too_big)
        fail_too_big(stream, "an event", stream->limits.event_bytes_max);
    else if (stream->is_too_long)
        fail_too_big(stream, "the whole", stream->limits.stream_bytes_max);
    else
        return next_rest(stream, ret);
    return false;
}

static void take(struct stream *stream, const struct stream_event *event)
{
    struct err err = {0};
    if (stream->provider->stream->event(stream, event, &err))
        return;
    stream->failed = true;
    stream->err = err;
}

static void read_event(struct stream *stream, struct stream_event *event)
{
    const char *plain = stream->provider->stream->plain;
    struct value document;
    event->data = str_trim(event->data);
    if (str_empty(event->data))
        return; /* some servers keep the connection alive this way */
    stream->events++;
    if (plain && str_is(event->data, plain)) {
        take(stream, event);
    } else if (parse(stream, event->data, &document)) {
        event->document = &document;
        take(stream, event);
    } else {
        stream->failed = true;
        err_set(&stream->err, ERR_PROVIDER_BAD_REPLY,
                "event %zu of the provider's stream is not a JSON object", stream->events);
    }
}

enum stream_step stream_next(struct stream *stream, struct stream_chunk *ret)
{
    struct stream_event event;
    while (!stream->failed && !stream->over) {
        size_t before = stream->text.len;
        if (!next_event(stream, &event))
            return stream->failed ? STREAM_FAILED : STREAM_MORE;
        read_event(stream, &event);
        if (stream->text.len == before)
            continue;
        ret->text = str_slice(buf_str(&stream->text), before, stream->text.len);
        ret->first = before == 0;
        return STREAM_CHUNK;
    }
    return stream->failed ? STREAM_FAILED : STREAM_OVER;
}

bool stream_has_begun(const struct stream *stream)
{
    return stream->text.len || stream->reasoning.len || stream->refusal.len || stream->call_count;
}

static struct value call_value(const struct stream_call *call, struct arena *arena)
{
    struct value *function = value_map_new(arena, 2), *item = value_map_new(arena, 3);
    value_map_add(function, STR("name"), value_str(call->name));
    value_map_add(function, STR("arguments"), value_str(buf_str(&call->arguments)));
    value_map_add(item, STR("id"), value_str(call->id));
    value_map_add(item, STR("type"), value_str(STR("function")));
    value_map_add(item, STR("function"), *function);
    return *item;
}

/* OpenAI's form, as decode() gives it: only when there is more than text. */
static const struct value *message_of(struct stream *stream)
{
    if (!stream->call_count && !stream->refusal.len)
        return NULL;
    struct value *message = value_map_new(stream->arena, 5);
    value_map_add(message, STR("role"), value_str(STR("assistant")));
    value_map_add(message, STR("content"),
                  stream->has_content ? value_str(buf_str(&stream->text)) : (struct value){0});
    if (stream->refusal.len)
        value_map_add(message, STR("refusal"), value_str(buf_str(&stream->refusal)));
    if (stream->reasoning.len) /* some want it back with the calls */
        value_map_add(message, STR("reasoning_content"), value_str(buf_str(&stream->reasoning)));
    if (!stream->call_count)
        return message;
    struct value *items = arena_array(stream->arena, struct value, stream->call_count);
    for (size_t i = 0; i < stream->call_count; i++)
        items[i] = call_value(&stream->calls[i], stream->arena);
    value_map_add(
        message, STR("tool_calls"),
        (struct value){.kind = VALUE_LIST, .count = (uint32_t)stream->call_count, .items = items});
    return message;
}

static void set_cut(const struct stream *stream, struct err *err)
{
    static const char *const how[] = {
        [STREAM_END_CLEAN] = "the provider's stream ended",
        [STREAM_END_RESET] = "the connection was lost",
        [STREAM_END_TIMEOUT] = "the provider's stream fell silent",
    };
    err_set(err, ERR_PROVIDER_CUT, "%s after %zu events, %s", how[stream->end], stream->events,
            stream->finished ? "between the finish reason and the end marker"
            : stream->over   ? "its end marker without a finish reason"
                             : "before its finish marker");
}

void stream_close(struct stream *stream, enum stream_end end)
{
    must(!stream->closed);
    stream->closed = true;
    stream->end = end;
}

bool stream_finish(struct stream *stream, struct answer *ret, struct err *err)
{
    must(stream->closed);
    *ret = (struct answer){
        .text = buf_str(&stream->text),
        .usage = stream->usage,
        .usage_known = stream->usage_known,
        .provider_id = stream->id,
        .model = stream->model,
    };
    if (stream->failed) {
        *err = stream->err;
        return false;
    }
    if (!stream->finished || (!stream->over && stream->end != STREAM_END_CLEAN)) {
        set_cut(stream, err);
        return false;
    }
    ret->finish_reason = stream->finish_reason[0] ? str_of(stream->finish_reason) : STR("stop");
    if (!stream->provider->stream->finish(stream, ret, err))
        return false;
    ret->message = message_of(stream);
    return true;
}

static bool count(struct stream *stream, size_t bytes, struct err *err)
{
    if (bytes > stream->limits.answer_bytes_max - stream->answer_bytes) {
        err_set(err, ERR_TOO_BIG, "the provider's answer is larger than %zu bytes",
                stream->limits.answer_bytes_max);
        return false;
    }
    stream->answer_bytes += bytes;
    return true;
}

bool stream_add(struct stream *stream, struct buf *to, struct str piece, struct err *err)
{
    if (!count(stream, piece.len, err))
        return false;
    buf_add_str(to, piece);
    return true;
}

bool stream_add_text(struct stream *stream, struct str piece, struct err *err)
{
    return stream_add(stream, &stream->text, piece, err);
}

bool stream_keep(struct stream *stream, struct str *to, struct str value, struct err *err)
{
    if (str_empty(value) || !str_empty(*to))
        return true;
    if (!count(stream, value.len, err))
        return false;
    char *copy = arena_try(stream->arena, value.len);
    if (!copy) {
        err_set(err, ERR_TOO_BIG, "the provider's answer needs more memory than one request has");
        return false;
    }
    memcpy(copy, value.data, value.len);
    *to = str_from(copy, value.len);
    return true;
}

void stream_set_reason(struct stream *stream, struct str reason)
{
    reason = str_utf8_cut(reason, sizeof(stream->finish_reason) - 1);
    if (!str_empty(reason))
        memcpy(stream->finish_reason, reason.data, reason.len);
    stream->finish_reason[reason.len] = '\0';
}

struct stream_call *stream_find_call(struct stream *stream, int64_t index)
{
    for (size_t i = stream->call_count; i > 0; i--)
        if (stream->calls[i - 1].index == index)
            return &stream->calls[i - 1];
    return NULL;
}

struct stream_call *stream_add_call(struct stream *stream, int64_t index, struct err *err)
{
    if (stream->call_count == STREAM_CALLS_MAX) {
        err_set(err, ERR_TOO_BIG, "the provider's answer has more than %d tool calls",
                STREAM_CALLS_MAX);
        return NULL;
    }
    if (!stream->calls)
        stream->calls = arena_array(stream->arena, struct stream_call, STREAM_CALLS_MAX);
    struct stream_call *call = &stream->calls[stream->call_count++];
    *call = (struct stream_call){.index = index, .id = STR(""), .name = STR("")};
    buf_init(&call->arguments, stream->limits.answer_bytes_max);
    return call;
}

/* The vendor's decode() knows its errors by name; it is shown the event as a body. */
bool stream_vendor_error(struct stream *stream, const struct stream_event *event, int status,
                         struct err *err)
{
    const struct provider_reply reply = {.status = status, .body = event->data};
    struct answer none;
    if (stream->provider->decode(&reply, &stream->scratch, &none, err))
        err_set(err, ERR_PROVIDER_BAD_REPLY, "an error that is none");
    err_prefix(err, "within the stream");
    return false;
}

int stream_status_of(const struct stream_named_status *table, struct str name, int otherwise)
{
    for (; table->name; table++)
        if (str_is(name, table->name))
            return table->status;
    return otherwise;
}
