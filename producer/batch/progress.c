/*
 * progress.c -- see progress.h.
 */
#include "producer/batch/progress.h"

#include <stdio.h>

#include "producer/cli/table.h"

enum {
    BAR_MS = 200,
    LINE_MS = 5000,
    RATE_MS = 1000,
    BAR_CELLS = 30,
    TEXT_MAX = 4096,
};

void progress_init(struct progress *progress, bool on, bool bar, int64_t total, int64_t done,
                   int64_t now_ms)
{
    *progress = (struct progress){
        .on = on,
        .bar = bar,
        .total = total,
        .begun_ms = now_ms,
        .begun_done = done,
        .shown_ms = now_ms,
        .rate_ms = now_ms,
        .rate_done = done,
    };
}

/* Half of the new second, half of what was: quick enough to follow, slow enough to read. */
static void measure(struct progress *progress, int64_t done, int64_t now_ms)
{
    int64_t ms = now_ms - progress->rate_ms;
    if (ms < RATE_MS)
        return;
    double rate = (double)(done - progress->rate_done) * 1000 / (double)ms;
    progress->rate = progress->rate > 0 ? (progress->rate + rate) / 2 : rate;
    progress->rate_ms = now_ms;
    progress->rate_done = done;
}

bool progress_due(struct progress *progress, int64_t done, int64_t now_ms)
{
    measure(progress, done, now_ms);
    if (!progress->on || now_ms - progress->shown_ms < (progress->bar ? BAR_MS : LINE_MS))
        return false;
    progress->shown_ms = now_ms;
    return true;
}

static void add_bar(const struct progress *progress, int64_t done, struct buf *ret)
{
    int64_t full = progress->total > 0 ? done * BAR_CELLS / progress->total : BAR_CELLS;
    buf_add_char(ret, '[');
    for (int64_t i = 0; i < BAR_CELLS; i++)
        buf_add_char(ret, i < full ? '#' : '.');
    buf_add_str(ret, STR("] "));
}

void progress_text(const struct progress *progress, int64_t done, int64_t failed, struct buf *ret)
{
    struct arena arena;
    arena_init(&arena, NULL, 65536);
    if (progress->bar)
        add_bar(progress, done, ret);
    buf_printf(ret, STR_FMT "/" STR_FMT, STR_ARG(table_count(&arena, done)),
               STR_ARG(table_count(&arena, progress->total)));
    buf_printf(ret, "  %.1f/s", progress->rate);
    if (progress->rate > 0.05 && done < progress->total) {
        int64_t left_ms = (int64_t)((double)(progress->total - done) * 1000 / progress->rate);
        buf_printf(ret, "  " STR_FMT " left", STR_ARG(table_ms(&arena, left_ms)));
    }
    if (failed > 0)
        buf_printf(ret, "  " STR_FMT " failed", STR_ARG(table_count(&arena, failed)));
    arena_done(&arena);
}

void progress_wipe(const struct progress *progress)
{
    if (progress->on && progress->bar)
        fputs("\r\033[K", stderr);
}

static void show(const struct progress *progress, int64_t done, int64_t failed, bool stays)
{
    struct buf text;
    if (!progress->on)
        return;
    buf_init(&text, TEXT_MAX);
    progress_text(progress, done, failed, &text);
    progress_wipe(progress);
    fwrite(text.data, 1, text.len, stderr);
    if (stays)
        fputc('\n', stderr);
    buf_done(&text);
}

void progress_show(const struct progress *progress, int64_t done, int64_t failed)
{
    show(progress, done, failed, !progress->bar);
}

void progress_end(struct progress *progress, int64_t done, int64_t failed, int64_t now_ms)
{
    int64_t ms = now_ms - progress->begun_ms;
    progress->rate = ms > 0 ? (double)(done - progress->begun_done) * 1000 / (double)ms : 0;
    show(progress, done, failed, true);
}
