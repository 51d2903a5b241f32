/*
 * lines.c -- bytes in, lines out.
 *
 * The next LF is looked for once and remembered: a piece that has many CRs and one LF far behind
 * would otherwise be searched to its end for each of them.
 */
#include "common/data/lines.h"

#include <string.h>

#include "common/base/must.h"

void lines_init(struct lines *lines, enum lines_kind kind, size_t line_max)
{
    *lines = (struct lines){.kind = kind};
    buf_init(&lines->held, line_max);
}

void lines_done(struct lines *lines)
{
    buf_done(&lines->held);
}

void lines_feed(struct lines *lines, struct str bytes)
{
    must(lines->at == lines->end && "the piece before has been read");
    lines->at = bytes.data;
    lines->end = bytes.len ? bytes.data + bytes.len : bytes.data;
    lines->lf = NULL;
}

/* NULL when no line ends in what is left. */
static const char *find_end(struct lines *lines)
{
    size_t left = (size_t)(lines->end - lines->at);
    if (!left)
        return NULL;
    if (!lines->lf || lines->lf < lines->at) {
        const char *lf = memchr(lines->at, '\n', left);
        lines->lf = lf ? lf : lines->end;
    }
    const char *cr =
        lines->kind == LINES_ANY ? memchr(lines->at, '\r', (size_t)(lines->lf - lines->at)) : NULL;
    if (cr)
        return cr;
    return lines->lf == lines->end ? NULL : lines->lf;
}

static enum lines_next too_long(struct lines *lines)
{
    lines->too_long = true;
    lines->at = lines->end;
    return LINES_TOO_LONG;
}

/* The line that ends at `stop`, which is CR or LF. */
static struct str take(struct lines *lines, const char *stop)
{
    struct str line = {lines->at, (size_t)(stop - lines->at)};
    if (lines->held.len) {
        buf_add_str(&lines->held, line);
        lines->held_is_line = true;
        line = buf_str(&lines->held);
    }
    lines->at = stop + 1;
    lines->after_cr = *stop == '\r';
    if (lines->kind == LINES_LF && line.len && line.data[line.len - 1] == '\r')
        line.len--;
    return line;
}

enum lines_next lines_next(struct lines *lines, struct str *ret)
{
    if (lines->too_long)
        return too_long(lines);
    if (lines->held_is_line) {
        buf_clear(&lines->held);
        lines->held_is_line = false;
    }
    if (lines->after_cr && lines->at < lines->end) {
        lines->at += *lines->at == '\n';
        lines->after_cr = false;
    }
    const char *stop = find_end(lines);
    size_t part = (size_t)((stop ? stop : lines->end) - lines->at);
    if (part > lines->held.max - lines->held.len)
        return too_long(lines);
    if (!stop) {
        buf_add(&lines->held, lines->at, part);
        lines->at = lines->end;
        return LINES_MORE;
    }
    *ret = take(lines, stop);
    return LINES_LINE;
}

bool lines_is_in_place(const struct lines *lines)
{
    return !lines->held_is_line;
}

struct str lines_rest(const struct lines *lines)
{
    return lines->held_is_line ? STR("") : buf_str(&lines->held);
}
