/*
 * Goal: of a stream that came whole the same is understood as of a whole reply, and one that did
 * not is never taken for an answer.
 * Method: a hundred and forty streams (stream_corpus.h), each fed whole, by bytes and in random
 * pieces; then cut at every byte and ended in six ways. What is complete where is known from the
 * writing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/worker/stream_corpus.h"
#include "worker/call/stream.h"

enum { CORPUS = SHAPES * STYLES, ARENA_MAX = 1 << 20, ROUNDS = 5 };

static const struct stream_limits limits = {
    .event_bytes_max = 1 << 16, .answer_bytes_max = 1 << 16, .stream_bytes_max = 1 << 20};

static const char *vendor_of(const struct made *made)
{
    static const char *const vendors[] = {"openai", "anthropic", "ollama"};
    return made->style->row ? made->style->row : vendors[made->style->vendor];
}

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* One reading and what came of it. */
struct reading {
    struct arena arena;
    struct stream *stream;
    struct buf chunks; /* their texts joined */
    size_t chunk_count;
    enum stream_step step;
    bool good;
    struct answer answer;
    struct err err;
};

static void begin(struct reading *reading, const char *vendor)
{
    *reading = (struct reading){.step = STREAM_MORE};
    arena_init(&reading->arena, NULL, ARENA_MAX);
    buf_init(&reading->chunks, 1 << 16);
    reading->stream = stream_new(provider_by_name(str_of(vendor)), &limits, &reading->arena);
}

static void take_chunks(struct reading *reading)
{
    struct stream_chunk chunk;
    while ((reading->step = stream_next(reading->stream, &chunk)) == STREAM_CHUNK) {
        assert_true(chunk.text.len > 0);
        assert_int_equal(chunk.first, reading->chunk_count == 0);
        reading->chunk_count++;
        buf_add_str(&reading->chunks, chunk.text);
    }
}

/* The piece lies in memory of its own, which is gone afterwards. */
static void feed(struct reading *reading, struct str piece)
{
    char *own = malloc(piece.len + 1);
    assert_non_null(own);
    memcpy(own, piece.data, piece.len);
    stream_feed(reading->stream, str_from(own, piece.len));
    take_chunks(reading);
    free(own);
}

static void end(struct reading *reading, enum stream_end how)
{
    stream_close(reading->stream, how);
    take_chunks(reading);
    reading->good = stream_finish(reading->stream, &reading->answer, &reading->err);
}

static void done(struct reading *reading)
{
    buf_done(&reading->chunks);
    arena_done(&reading->arena);
}

static void read_whole(struct reading *reading, const char *vendor, struct str bytes)
{
    begin(reading, vendor);
    feed(reading, bytes);
    end(reading, STREAM_END_CLEAN);
}

/* What decode() makes of the whole reply that says the same. */
struct whole {
    struct arena arena;
    struct answer answer;
    struct err err;
};

static void decode_whole(const struct made *made, struct whole *ret)
{
    const struct provider_reply reply = {.status = 200, .body = buf_str(&made->reply)};
    *ret = (struct whole){0};
    arena_init(&ret->arena, NULL, ARENA_MAX);
    if (!made->shape->reason)
        return;
    const struct provider *provider = provider_by_name(str_of(vendor_of(made)));
    if (!provider->decode(&reply, &ret->arena, &ret->answer, &ret->err))
        fail_msg("%s: " STR_FMT, ret->err.text, STR_ARG(buf_str(&made->reply)));
}

static void expect_str(struct str is, struct str want, const struct made *made, size_t cut)
{
    if (!str_eq(is, want))
        fail_msg("%s %s, %s, cut at %zu: '" STR_FMT "' should be '" STR_FMT "' of\n" STR_FMT,
                 vendor_of(made), made->style->name, made->shape->name, cut, STR_ARG(is),
                 STR_ARG(want), STR_ARG(buf_str(&made->bytes)));
}

static void expect(bool holds, const char *what, const struct made *made, size_t cut,
                   const struct reading *reading)
{
    if (!holds)
        fail_msg("%s %s, %s, cut at %zu: %s (%s) of\n" STR_FMT, vendor_of(made), made->style->name,
                 made->shape->name, cut, what, reading->good ? "an answer" : reading->err.text,
                 STR_ARG(buf_str(&made->bytes)));
}

static void expect_same(const struct reading *reading, const struct whole *whole,
                        const struct made *made, size_t cut)
{
    const struct answer *is = &reading->answer, *want = &whole->answer;
    expect_str(is->text, want->text, made, cut);
    expect_str(is->finish_reason, want->finish_reason, made, cut);
    expect_str(is->provider_id, want->provider_id, made, cut);
    expect_str(is->model, want->model, made, cut);
    expect(!is->message == !want->message, "the message", made, cut, reading);
    expect(!want->message || value_eq(is->message, want->message), "the message", made, cut,
           reading);
    if (cut == made->bytes.len)
        expect(is->usage_known == want->usage_known, "whether usage is known", made, cut, reading);
    if (!is->usage_known)
        return;
    expect(is->usage.input == want->usage.input && is->usage.output == want->usage.output &&
               is->usage.cached_input == want->usage.cached_input &&
               is->usage.reasoning == want->usage.reasoning,
           "the usage", made, cut, reading);
}

/* The vendor's own error of the corpus. */
static enum err_code error_of(const struct made *made)
{
    return made->style->vendor == OLLAMA ? ERR_PROVIDER_DOWN : ERR_PROVIDER_RATE;
}

static void expect_end(const struct reading *reading, const struct whole *whole,
                       const struct made *made)
{
    size_t len = made->bytes.len;
    if (made->shape->reason) {
        expect(reading->good, "an answer", made, len, reading);
        expect_same(reading, whole, made, len);
        expect_str(buf_str(&reading->chunks), whole->answer.text, made, len);
    } else {
        expect(!reading->good && reading->err.code == error_of(made), "the error", made, len,
               reading);
    }
}

static void a_whole_stream_says_what_a_whole_reply_says(void **state)
{
    (void)state;
    seed = 3;
    for (size_t i = 0; i < CORPUS; i++) {
        struct made made;
        struct whole whole;
        struct reading reading;
        corpus_make(i, &made);
        decode_whole(&made, &whole);
        struct str bytes = buf_str(&made.bytes);
        read_whole(&reading, vendor_of(&made), bytes);
        expect_end(&reading, &whole, &made);
        size_t chunks = reading.chunk_count;
        done(&reading);
        for (int round = 0; round < ROUNDS; round++) {
            begin(&reading, vendor_of(&made));
            for (size_t at = 0, len; at < bytes.len; at += len) {
                len = round == 0 ? 1 : 1 + draw((uint32_t)(bytes.len - at));
                feed(&reading, str_slice(bytes, at, at + len));
            }
            end(&reading, STREAM_END_CLEAN);
            expect_end(&reading, &whole, &made);
            assert_int_equal(reading.chunk_count, chunks);
            done(&reading);
        }
        arena_done(&whole.arena);
        corpus_done(&made);
    }
}

/* The six ways to end a stream that was cut. */
enum ending { CLEAN, RESET, TIMEOUT, GARBAGE, ERROR_EVENT, TWICE, ENDINGS };

static void feed_error(struct reading *reading, const struct made *made)
{
    static const char *const errors[] = {
        [OPENAI] = "\n\ndata: {\"error\":{\"message\":\"too busy\",\"code\":503}}\n\n",
        [ANTHROPIC] = ("\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                       "\"overloaded_error\",\"message\":\"too busy\"}}\n\n"),
        [OLLAMA] = "\n{\"error\":\"too busy\"}\n",
    };
    feed(reading, str_of(errors[made->style->vendor]));
}

/* Again what came of the event that was under way, as a proxy does that repeats a packet. */
static void feed_again(struct reading *reading, const struct made *made, size_t cut)
{
    size_t from = 0;
    for (size_t i = 0; i < made->start_count && made->starts[i] < cut; i++)
        from = made->starts[i];
    feed(reading, str_slice(buf_str(&made->bytes), from, cut));
}

static void read_cut(struct reading *reading, const struct made *made, size_t cut,
                     enum ending ending)
{
    begin(reading, vendor_of(made));
    feed(reading, str_slice(buf_str(&made->bytes), 0, cut));
    if (ending == GARBAGE)
        feed(reading, STR("\0\xff{]\n\ndata: {\"x\n\n"));
    else if (ending == ERROR_EVENT)
        feed_error(reading, made);
    else if (ending == TWICE)
        feed_again(reading, made, cut);
    end(reading, ending == RESET     ? STREAM_END_RESET
                 : ending == TIMEOUT ? STREAM_END_TIMEOUT
                                     : STREAM_END_CLEAN);
}

/*
 * Complete is what had its end marker as an event; and what follows a cut can make an event of it:
 * an empty line behind its line, a line end behind its data. A body that ends as it should makes an
 * answer of OpenAI's finish_reason, and of JSON that needs no line end.
 */
static bool is_complete(const struct made *made, size_t cut, enum ending ending)
{
    const struct mark *end_mark = &made->end, *reason = &made->reason;
    enum vendor vendor = made->style->vendor;
    bool over = cut >= end_mark->whole;
    switch (ending) {
    case CLEAN:
        return over || (vendor == OPENAI && cut >= reason->whole) ||
               (vendor == OLLAMA && cut >= end_mark->said);
    case RESET:
    case TIMEOUT:
        return over;
    case GARBAGE:
        return cut >= end_mark->line;
    case ERROR_EVENT:
        return cut >= end_mark->said;
    default:
        return over || (vendor == OPENAI && cut >= reason->whole);
    }
}

static bool is_start(const struct made *made, size_t cut)
{
    for (size_t i = 0; i < made->start_count; i++)
        if (made->starts[i] == cut)
            return true;
    return false;
}

static void expect_error(const struct reading *reading, const struct made *made, size_t cut,
                         enum ending ending)
{
    enum err_code code = reading->err.code;
    bool broken = code == ERR_PROVIDER_BAD_REPLY, cut_off = code == ERR_PROVIDER_CUT;
    bool told = cut >= made->error.whole;
    expect(reading->err.text[0] && reading->err.retry == err_retry_of(code), "an error", made, cut,
           reading);
    if (ending <= TIMEOUT)
        expect(told ? code == error_of(made)
                    : cut_off || (ending == CLEAN && cut >= made->error.said),
               "a cut", made, cut, reading);
    else if (ending == ERROR_EVENT && is_start(made, cut) && !told)
        expect(code == ERR_PROVIDER_DOWN, "the vendor's error", made, cut, reading);
    else
        expect(broken || cut_off || code == ERR_PROVIDER_DOWN || code == error_of(made),
               "an error of the stream", made, cut, reading);
}

static void check_cut(const struct made *made, const struct whole *whole, size_t cut,
                      enum ending ending)
{
    struct reading reading;
    read_cut(&reading, made, cut, ending);
    bool complete = is_complete(made, cut, ending);
    expect(reading.good == complete, complete ? "should be an answer" : "is not whole", made, cut,
           &reading);
    if (!complete)
        expect_error(&reading, made, cut, ending);
    else if (ending != TWICE || cut >= made->end.whole)
        expect_same(&reading, whole, made, cut);
    expect_str(buf_str(&reading.chunks), reading.answer.text, made, cut);
    if (made->shape->reason && ending <= TIMEOUT)
        expect(str_starts(whole->answer.text, reading.answer.text), "not a beginning", made, cut,
               &reading);
    done(&reading);
}

/* In parts, so that each stays within the time of a test. */
static void cut_everywhere(enum ending ending)
{
    size_t complete = 0, cuts = 0;
    for (size_t i = 0; i < CORPUS; i++) {
        struct made made;
        struct whole whole;
        corpus_make(i, &made);
        decode_whole(&made, &whole);
        for (size_t cut = 0; cut <= made.bytes.len; cut++) {
            check_cut(&made, &whole, cut, ending);
            complete += is_complete(&made, cut, ending);
            cuts++;
        }
        arena_done(&whole.arena);
        corpus_done(&made);
    }
    printf("%zu cuts, %zu of them complete\n", cuts, complete);
    assert_true(complete >= CORPUS / 2 && complete < cuts / 5);
}

static void a_cut_that_ends_cleanly_is_seen(void **state)
{
    (void)state;
    cut_everywhere(CLEAN);
}

static void a_lost_connection_is_seen(void **state)
{
    (void)state;
    cut_everywhere(RESET);
}

static void a_stream_that_fell_silent_is_seen(void **state)
{
    (void)state;
    cut_everywhere(TIMEOUT);
}

static void garbage_after_a_cut_makes_no_answer(void **state)
{
    (void)state;
    cut_everywhere(GARBAGE);
}

static void an_error_after_a_cut_is_the_vendors_error(void **state)
{
    (void)state;
    cut_everywhere(ERROR_EVENT);
}

static void a_piece_that_came_twice_makes_no_answer(void **state)
{
    (void)state;
    cut_everywhere(TWICE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_stream_says_what_a_whole_reply_says),
        cmocka_unit_test(a_cut_that_ends_cleanly_is_seen),
        cmocka_unit_test(a_lost_connection_is_seen),
        cmocka_unit_test(a_stream_that_fell_silent_is_seen),
        cmocka_unit_test(garbage_after_a_cut_makes_no_answer),
        cmocka_unit_test(an_error_after_a_cut_is_the_vendors_error),
        cmocka_unit_test(a_piece_that_came_twice_makes_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
