/*
 * lines.h -- cuts bytes that arrive in any pieces into lines.
 *
 * Feed a piece, then call lines_next() until it says LINES_MORE. A line that lies whole in the
 * piece is a view of it and costs no copy; only a line that lies across pieces is put together in a
 * buffer. What stands behind the last line end waits for the next piece: a line without its end is
 * not a line (lines_rest() shows it to those for whom the end of the body is an end as good).
 *
 * Two kinds: LINES_LF for NDJSON (LF or CRLF; a lone CR belongs to the line, where JSON allows it
 * between its words), LINES_ANY for Server-Sent Events (LF, CRLF or CR).
 *
 * Bounded: a line longer than `line_max` bytes ends the reading; no more than that is ever held.
 * Any bytes are fine; nothing here knows of encodings.
 */
#ifndef QUERN_COMMON_DATA_LINES_H
#define QUERN_COMMON_DATA_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/str.h"

enum lines_kind { LINES_LF, LINES_ANY };
enum lines_next { LINES_LINE, LINES_MORE, LINES_TOO_LONG };

struct lines {
    enum lines_kind kind;
    struct buf held;   /* the beginning of a line whose end has not come */
    bool held_is_line; /* it was given out as a line and is over with the next call */
    bool after_cr;     /* a LF that comes next belongs to the line end before it */
    bool too_long;
    const char *at, *end; /* what was fed and not yet read */
    const char *lf; /* the next LF in it, `end` when there is none, NULL when not looked for */
};

void lines_init(struct lines *lines, enum lines_kind kind, size_t line_max);
void lines_done(struct lines *lines);

/* `bytes` must stay where they are until lines_next() says LINES_MORE, and may be fed only then. */
void lines_feed(struct lines *lines, struct str bytes);
/* The next line without its end; a view that is valid until the next call. LINES_TOO_LONG stays. */
enum lines_next lines_next(struct lines *lines, struct str *ret);
/* The line returned last lies in the bytes that were fed, so it lives as long as they do. */
bool lines_is_in_place(const struct lines *lines);
/* What waits for its line end, after LINES_MORE. */
struct str lines_rest(const struct lines *lines);

#endif
