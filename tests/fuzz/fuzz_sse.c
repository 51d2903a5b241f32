/*
 * fuzz_sse.c -- whatever bytes come, in whatever pieces: lines and events are those of the same
 * bytes in one piece, and nothing held is larger than its limit. The first byte says how the pieces
 * are cut.
 */
#include <stdlib.h>

#include "common/base/must.h"
#include "common/data/sse.h"

enum { EVENT_MAX = 100, OUT_MAX = 1 << 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of its own, so that a view that outlives its piece is found. */
static char *copy_of(struct str piece)
{
    char *own = malloc(piece.len + 1);
    must(own);
    memcpy(own, piece.data, piece.len);
    return own;
}

static bool feed_sse(struct sse *sse, struct str piece, struct buf *ret)
{
    char *own = copy_of(piece);
    struct sse_event event;
    enum sse_next next;
    sse_feed(sse, str_from(own, piece.len));
    while ((next = sse_next(sse, &event)) == SSE_EVENT) {
        must(event.data.len <= EVENT_MAX);
        buf_printf(ret, "%zu %zu %zu ", event.type.len, event.data.len, event.id.len);
        buf_add_str(ret, event.type);
        buf_add_str(ret, event.data);
        buf_add_str(ret, event.id);
    }
    free(own);
    return next == SSE_MORE;
}

static bool feed_lines(struct lines *lines, struct str piece, struct buf *ret)
{
    char *own = copy_of(piece);
    struct str line;
    enum lines_next next;
    lines_feed(lines, str_from(own, piece.len));
    while ((next = lines_next(lines, &line)) == LINES_LINE) {
        must(line.len <= EVENT_MAX);
        buf_printf(ret, "%zu ", line.len);
        buf_add_str(ret, line);
    }
    free(own);
    return next == LINES_MORE;
}

/* Pieces of 1 to `step` bytes; 0: one piece. */
static void read_all(struct str bytes, unsigned step, struct buf *ret)
{
    struct sse sse;
    struct lines lines;
    bool sse_goes = true, lines_go = true;
    struct buf of_lines;
    buf_init(&of_lines, OUT_MAX);
    sse_init(&sse, EVENT_MAX);
    lines_init(&lines, LINES_LF, EVENT_MAX);
    for (size_t at = 0, n = 0; at < bytes.len; n++) {
        size_t len = step ? 1 + n * 7 % step : bytes.len;
        struct str piece = str_slice(bytes, at, at + len);
        sse_goes = sse_goes && feed_sse(&sse, piece, ret);
        lines_go = lines_go && feed_lines(&lines, piece, &of_lines);
        at += piece.len;
    }
    must(sse.data.cap <= EVENT_MAX + 1 && lines.held.cap <= EVENT_MAX + 1);
    buf_printf(ret, "%d %d %lld", sse_goes, lines_go, (long long)sse.retry_ms);
    buf_add_str(ret, buf_str(&of_lines));
    buf_done(&of_lines);
    sse_done(&sse);
    lines_done(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, pieces;
    if (size == 0)
        return 0;
    buf_init(&whole, OUT_MAX);
    buf_init(&pieces, OUT_MAX);
    read_all(str_from(data + 1, size - 1), 0, &whole);
    read_all(str_from(data + 1, size - 1), 1 + data[0], &pieces);
    must(str_eq(buf_str(&whole), buf_str(&pieces)));
    buf_done(&whole);
    buf_done(&pieces);
    return 0;
}
