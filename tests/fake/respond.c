/*
 * respond.c -- carries out a plan; see respond.h and plan.h.
 *
 * The body is written whole; what is wrong with its frame (lengths, codings, endless repetition) is
 * put around it afterwards, so that every trouble works in every dialect, streamed or not.
 */
#include "tests/fake/respond.h"

#include "tests/fake/gzip.h"
#include "tests/fake/reply.h"

#include <stdio.h>

#define LENGTH_WRONG 20
#define ENDLESS_TEXT 1024
#define HUGE_PADDING ((size_t)64 << 10)

void respond_error(struct call *call, const struct error_facts *facts)
{
    struct answer *answer = call->answer;
    const struct plan *plan = &call->plan;
    int status = plan->status, retry_after_s = plan->retry_after_s;
    answer->status = status;
    answer->type = error_type(call->vendor, plan->kind, status);
    if (retry_after_s < 0 && !call->limit.refused &&
        (status == 429 || status == 503 || status == 529))
        retry_after_s = call->service->behave.conf.retry_after_s;
    if (retry_after_s >= 0)
        buf_format(&answer->extra, "\r\nretry-after: %d", retry_after_s);
    error_body(call->vendor, plan->kind, status, facts, &answer->body);
}

static void respond_redirect(struct call *call)
{
    struct answer *answer = call->answer;
    struct slice path = call->request->path;
    answer->status = call->plan.status;
    answer->type = "text/html";
    buf_format(&answer->extra, "\r\nlocation: %s", call->service->behave.conf.redirect);
    buf_add(&answer->extra, path.at, path.len);
    buf_text(&answer->body, "<html><body>It is elsewhere.</body></html>\n");
}

static struct reply reply_of(const struct call *call, struct slice text)
{
    enum manner manner = call->plan.manner;
    return (struct reply){
        .dialect = call->door->dialect,
        .vendor = call->vendor,
        .prompt = &call->prompt,
        .text = text,
        .id = call->answer->call,
        .wall_ms = call->now.wall_ms,
        .delay_ms = call->plan.delay_ms,
        .cut_by_length = manner == MANNER_LENGTH,
        .empty = manner == MANNER_EMPTY,
        .usage = call->plan.usage,
        .finish = call->plan.finish,
        .broken = manner == MANNER_ERROR200 || manner == MANNER_MIDSTREAM,
        .broken_after = manner == MANNER_MIDSTREAM ? text.len / 2 : 0,
    };
}

/* The general delays of streams; a model that has a pace of its own keeps it. */
static void stream_pace(struct call *call)
{
    const struct behave_conf *conf = &call->service->behave.conf;
    struct pace *pace = &call->answer->pace;
    if (pace->kind != PACE_WHOLE || !(conf->first_token_ms || conf->chunk_delay_ms))
        return;
    pace->kind = PACE_EVENTS;
    pace->first_ms = conf->first_token_ms;
    pace->gap_ms = conf->chunk_delay_ms;
}

/* Puts the body into an HTTP chunk of its own. */
static void frame(struct buf *body, size_t from)
{
    char size[32];
    int len = snprintf(size, sizeof(size), "%zx\r\n", body->len - from);
    buf_reserve(body, (size_t)len + 2);
    memmove(body->at + from + len, body->at + from, body->len - from);
    memcpy(body->at + from, size, (size_t)len);
    body->len += (size_t)len;
    buf_text(body, "\r\n");
}

/* White space after the JSON: as long as was asked for, or without end in chunks. */
static void pad(struct call *call, size_t len)
{
    struct answer *answer = call->answer;
    bool bounded = answer->pace.repeat_bytes != UINT64_MAX;
    answer->chunked = !bounded && !call->request->version_10;
    if (answer->chunked)
        frame(&answer->body, 0);
    size_t from = answer->body.len;
    buf_reserve(&answer->body, len);
    memset(answer->body.at + from, ' ', len);
    answer->body.len += len;
    if (answer->chunked)
        frame(&answer->body, from);
    answer->pace.repeat_len = (uint32_t)(answer->body.len - from);
    uint64_t more = answer->pace.repeat_bytes - answer->pace.repeat_bytes % len;
    answer->length_wrong = bounded ? (int64_t)more : INT64_MAX / 2;
}

/* One more piece of text, to be sent again and again. The end of the stream never comes. */
static void lengthen(struct call *call, const struct reply *reply, size_t len)
{
    static struct buf more; /* room for the text, kept */
    struct reply longer = *reply;
    more.len = 0;
    buf_reserve(&more, len);
    memset(more.at, 'x', len);
    longer.text = (struct slice){.at = more.at, .len = len};
    size_t from = call->answer->body.len;
    reply_stream_more(&longer, !call->answer->chunked, &call->answer->body);
    call->answer->pace.repeat_len = (uint32_t)(call->answer->body.len - from);
    call->answer->pace.end = END_CLOSE;
}

static void repeat(struct call *call, const struct reply *reply)
{
    size_t len = call->answer->pace.repeat_bytes == UINT64_MAX ? ENDLESS_TEXT : HUGE_PADDING;
    if (call->prompt.stream)
        lengthen(call, reply, len);
    else
        pad(call, len);
}

static void respond_text(struct call *call, struct slice text)
{
    struct answer *answer = call->answer;
    struct reply reply = reply_of(call, text);
    bool framed = call->plan.wire == WIRE_RIGHT || call->plan.wire == WIRE_EARLY;
    if (call->prompt.stream) {
        answer->type = reply_stream_type(call->door->dialect);
        answer->chunked = framed && !call->request->version_10;
        reply_stream(&reply, !answer->chunked, &answer->body);
        stream_pace(call);
    } else if (reply.broken) {
        reply_error200(&reply, &answer->body);
    } else {
        reply_whole(&reply, &answer->body);
    }
    if (call->plan.finish == FINISH_NEVER)
        repeat(call, &reply);
}

static void wire(struct call *call)
{
    struct answer *answer = call->answer;
    switch (call->plan.wire) {
    case WIRE_RIGHT:
        return;
    case WIRE_LONG:
        answer->length_wrong = LENGTH_WRONG;
        return;
    case WIRE_SHORT:
        answer->length_wrong = -LENGTH_WRONG;
        return;
    case WIRE_GZIP:
        gzip_wrap(&answer->body);
        buf_text(&answer->extra, "\r\ncontent-encoding: gzip");
        return;
    case WIRE_EARLY:
        answer->early = !call->request->version_10;
        return;
    }
}

void respond(struct call *call, struct slice text)
{
    struct answer *answer = call->answer;
    struct error_facts facts;
    answer->pace = call->plan.pace;
    answer->delay_ms = call->plan.delay_ms;
    switch (call->plan.manner) {
    case MANNER_HANG:
        answer->pace.kind = PACE_HANG;
        return;
    case MANNER_ERROR:
        facts = error_facts_sample(slice_of(call->prompt.model), answer->call);
        if (call->plan.retry_after_s > 0)
            facts.wait_ms = (uint64_t)call->plan.retry_after_s * 1000;
        respond_error(call, &facts);
        return;
    case MANNER_REDIRECT:
        respond_redirect(call);
        return;
    case MANNER_GARBAGE:
        buf_text(&answer->body, "<html><body>upstream connect error</body>{\"choices\":[");
        return;
    case MANNER_ANSWER:
    case MANNER_EMPTY:
    case MANNER_ERROR200:
    case MANNER_MIDSTREAM:
    case MANNER_LENGTH:
        break;
    }
    respond_text(call, text);
    wire(call);
}
