/*
 * respond.c -- carries out a plan; see respond.h and plan.h.
 *
 * The body is written whole; what is wrong with its frame (lengths, codings, endless repetition) is
 * put around it afterwards, so that every trouble works in every dialect, streamed or not.
 */
#include "tests/fake/respond.h"

#include "tests/fake/gzip.h"
#include "tests/fake/reply.h"

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

/* More text, or more padding, to be sent again and again. */
static void repeat(struct call *call, const struct reply *reply)
{
    static struct buf more; /* room for one block, kept */
    struct answer *answer = call->answer;
    struct pace *pace = &answer->pace;
    bool bounded = pace->repeat_bytes != UINT64_MAX;
    size_t len = bounded ? HUGE_PADDING : ENDLESS_TEXT, before = answer->body.len;
    more.len = 0;
    buf_reserve(&more, len);
    memset(more.at, call->prompt.stream ? 'x' : ' ', len);
    struct reply longer = *reply;
    longer.text = (struct slice){.at = more.at, .len = len};
    if (call->prompt.stream)
        reply_stream_more(&longer, !answer->chunked, &answer->body);
    else
        buf_add(&answer->body, more.at, len);
    pace->repeat_len = (uint32_t)(answer->body.len - before);
    pace->repeat_bytes -= pace->repeat_bytes % pace->repeat_len;
    if (call->prompt.stream)
        pace->end = END_CLOSE; /* without its end, which would have come after all that */
    else
        answer->length_wrong = bounded ? (int64_t)pace->repeat_bytes : INT64_MAX / 2;
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
