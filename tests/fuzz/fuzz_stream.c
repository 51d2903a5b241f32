/*
 * fuzz_stream.c -- whatever a provider streams is an answer or an error with a reason, the same
 * for the same bytes in any pieces, and within its limits. The first byte chooses the vendor, the
 * end and the pieces.
 */
#include "common/base/must.h"
#include "worker/call/stream.h"

enum { ARENA_MAX = 1 << 22 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct stream_limits limits = {
    .event_bytes_max = 1 << 14, .answer_bytes_max = 1 << 12, .stream_bytes_max = 1 << 16};

static void feed(struct stream *stream, struct str piece, struct buf *chunks)
{
    struct stream_chunk chunk;
    stream_feed(stream, piece);
    while (stream_next(stream, &chunk) == STREAM_CHUNK) {
        must(chunk.first == (chunks->len == 0) && chunk.text.len > 0);
        buf_add_str(chunks, chunk.text);
    }
}

/* The answer lives in the arena, which is the caller's. */
static bool read_all(uint8_t choice, struct str bytes, bool in_pieces, struct arena *arena,
                     struct answer *ret)
{
    static const char *const vendors[] = {"openai", "anthropic", "ollama", "deepseek"};
    struct buf chunks;
    struct err err = {0};
    arena_init(arena, NULL, ARENA_MAX);
    buf_init(&chunks, limits.answer_bytes_max);
    struct stream *stream =
        stream_new(provider_by_name(str_of(vendors[choice & 3])), &limits, arena);
    size_t step = in_pieces ? 1 + (choice >> 4) : bytes.len;
    for (size_t at = 0; at < bytes.len; at += step)
        feed(stream, str_slice(bytes, at, at + step), &chunks);
    stream_close(stream, (enum stream_end)((choice >> 2 & 3) % 3));
    feed(stream, STR(""), &chunks);
    bool good = stream_finish(stream, ret, &err);
    must(good || (err.code != ERR_NONE && err.text[0]));
    must(!good || ret->finish_reason.len > 0);
    must(str_eq(buf_str(&chunks), ret->text) && !arena_overflowed(arena));
    buf_done(&chunks);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena first, second;
    struct answer whole, pieces;
    if (size == 0)
        return 0;
    struct str bytes = str_from(data + 1, size - 1);
    bool good = read_all(data[0], bytes, false, &first, &whole);
    must(good == read_all(data[0], bytes, true, &second, &pieces));
    must(str_eq(whole.text, pieces.text) && str_eq(whole.finish_reason, pieces.finish_reason));
    must(!whole.message == !pieces.message &&
         (!whole.message || value_eq(whole.message, pieces.message)));
    arena_done(&first);
    arena_done(&second);
    return 0;
}
