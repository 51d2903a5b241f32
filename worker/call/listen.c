/*
 * listen.c -- see listen.h.
 *
 * One timer per call, set anew when it strikes and when another limit begins to hold: most pieces
 * note their moment and nothing else.
 */
#include "worker/call/listen.h"

#include "common/base/must.h"
#include "common/base/plant.h"
#include "worker/call/hedge.h"
#include "worker/call/model.h"
#include "worker/call/relay.h"
#include "worker/call/send.h"
#include "worker/call/stream.h"

/* Framing may be many times its text: a token of four bytes comes in two hundred. */
enum { FRAMING_FACTOR = 64, EVENT_BYTES_MAX = 4 << 20, OVER_GRACE_MS = 1000 };

static struct loop *loop_of(const struct slot *slot)
{
    return slot->job->worker->loop;
}

static bool said_something(const struct slot *slot)
{
    return slot->stream && stream_has_begun(slot->stream);
}

/* Whatever still comes does not matter. */
static bool is_over(const struct slot *slot)
{
    return slot->stream && (slot->stream->over || slot->stream->failed);
}

/* When the silence has lasted too long, in loop time. */
static int64_t patience_ends(const struct slot *slot)
{
    if (is_over(slot))
        return slot->heard_ms + OVER_GRACE_MS;
    if (!said_something(slot))
        return slot->call_started_ms + slot->model->first_token_timeout_ms;
    return slot->heard_ms + slot->model->idle_timeout_ms;
}

static void lose_patience(struct slot *slot)
{
    struct err err;
    if (said_something(slot))
        err_set(&err, ERR_PROVIDER_CUT, "nothing came for %lld ms in the middle of the answer",
                (long long)slot->model->idle_timeout_ms);
    else
        err_set(&err, ERR_PROVIDER_TIMEOUT, "no first token within %lld ms",
                (long long)slot->model->first_token_timeout_ms);
    send_stop(slot, &err);
}

static void timer_strikes(void *context)
{
    struct slot *slot = context;
    must_be(slot, SLOT_MAGIC);
    int64_t at_ms = patience_ends(slot);
    if (at_ms > loop_now_ms(loop_of(slot)))
        timer_set(loop_of(slot), &slot->silence, at_ms, timer_strikes, slot);
    else
        lose_patience(slot);
}

/* The program may end in the midst of a call. */
static void forget_timer(void *context)
{
    struct slot *slot = context;
    timer_cancel(loop_of(slot), &slot->silence);
}

void listen_begin(struct slot *slot)
{
    if (!slot->silence_kept) /* once, also when an earlier call was none of a stream */
        arena_defer(&slot->job->arena, forget_timer, slot);
    slot->silence_kept = true;
    slot->stream = NULL;
    slot->heard_ms = slot->call_started_ms;
    timer_set(loop_of(slot), &slot->silence, patience_ends(slot), timer_strikes, slot);
}

static void open_stream(struct slot *slot)
{
    size_t answer = (size_t)slot->job->worker->conf->reply_bytes_max;
    const struct stream_limits limits = {
        .event_bytes_max = answer < EVENT_BYTES_MAX ? answer : EVENT_BYTES_MAX,
        .answer_bytes_max = answer,
        .stream_bytes_max = answer * FRAMING_FACTOR,
    };
    slot->stream = stream_new(slot->model->provider, &limits, &slot->job->arena);
}

static void read_chunks(struct slot *slot, struct stream *stream)
{
    struct stream_chunk chunk;
    while (stream_next(stream, &chunk) == STREAM_CHUNK)
        if (hedge_speaks(slot))
            relay_add(slot_owner(slot)->relay, chunk.text);
}

/* Comes piece by piece, and not as a document. */
static bool is_stream(const struct slot *slot, const struct http_reply *head)
{
    return slot->stream ||
           (slot->prompt.stream && stream_expected(slot->model->provider->stream, head->status,
                                                   http_reply_header(head, "Content-Type")));
}

/* The first of its text, or of a body that comes whole. */
static bool begins(struct slot *slot)
{
    if (slot->sign_ms != INT_ABSENT || (slot->stream && !said_something(slot)))
        return false;
    slot->sign_ms = slot->heard_ms - slot->call_started_ms;
    return true;
}

static bool read_piece(struct slot *slot, const struct http_reply *head, struct str bytes)
{
    if (!is_stream(slot, head)) {
        begins(slot);
        return false;
    }
    if (!slot->stream)
        open_stream(slot);
    stream_feed(slot->stream, bytes);
    read_chunks(slot, slot->stream);
    if (begins(slot) || is_over(slot)) /* another limit holds from now on */
        timer_set(loop_of(slot), &slot->silence, patience_ends(slot), timer_strikes, slot);
    return true;
}

bool listen_heard(const struct slot *slot)
{
    return slot->sign_ms != INT_ABSENT;
}

bool listen_piece(const struct http_reply *head, struct str bytes, void *context)
{
    struct slot *slot = context;
    must_be(slot, SLOT_MAGIC);
    if (!is_over(slot)) /* else a server that goes on would hold the answer back */
        slot->heard_ms = loop_now_ms(loop_of(slot));
    job_record(slot->job, &last_words_now);
    last_words_now.step = "listen";
    bool taken = read_piece(slot, head, bytes);
    last_words_now.topic = NULL;
    return taken;
}

/* Who hung up knows why better than the stream does. */
static bool is_ours(const struct err *err)
{
    return err->code == ERR_PROVIDER_TIMEOUT || err->code == ERR_PROVIDER_CUT ||
           err->code == ERR_CANCELLED;
}

bool listen_end(struct slot *slot, const struct err *err)
{
    timer_cancel(loop_of(slot), &slot->silence);
    if (!slot->stream)
        return false;
    struct stream *stream = slot->stream;
    slot->stream = NULL;
    stream_close(stream, err ? STREAM_END_RESET : STREAM_END_CLEAN);
    read_chunks(slot, stream);
    slot->reply.status = 200;
    err_clear(&slot->call_err);
    if (!stream_finish(stream, &slot->answer, &slot->call_err) && !stream->failed && err &&
        is_ours(err))
        slot->call_err = *err;
    if (PLANTED(62) && slot->call_err.code == ERR_PROVIDER_CUT)
        slot->call_err.code = ERR_NONE;
    return true;
}
