/*
 * bill.h -- a provider's own account of what was used or paid, read from a file. Pure.
 *
 * Four forms, told apart by the content:
 *   - a CSV (or TSV) with a line of titles: ours (day, model, input_tokens, output_tokens, cost),
 *     the exports of OpenAI's usage and cost pages, those of Anthropic's console;
 *   - one JSON document: a page of OpenAI's or Anthropic's usage and cost API, or a list of rows;
 *   - lines of such documents, one page, bucket or row each.
 * Columns and members beyond those that are known do not matter. Tokens come in one sense, ours:
 * the input includes what was read from a cache and written to it.
 *
 * Models have two names: as the bill writes it, and a key that is the same for all ways to write it
 * (bill_key()). Days are UTC. Money is in thousandths of a millionth of a dollar here, since a bill
 * adds up what is far below a millionth.
 *
 * To add a column's name: a row of `columns` in bill_csv.c, or of the members in bill_json.c.
 */
#ifndef QUERN_PRODUCER_CLI_BILL_H
#define QUERN_PRODUCER_CLI_BILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"

enum { BILL_BYTES_MAX = 32 << 20, BILL_ROWS_MAX = 200000 };

struct bill_row {
    struct str day; /* 2026-01-31 */
    struct str model;
    int64_t input, output;
    int64_t nanousd;
};

struct bill {
    struct arena *arena;
    struct bill_row *rows; /* as they stand in the files, not summed */
    size_t count, cap;
    int64_t tokens, nanousd; /* of all rows, without signs: bounded, so that no sum overflows */
    bool has_tokens, has_money;
    const char *vendor; /* by the form: a name of schemas/provider.def; NULL: anybody's */
};

void bill_init(struct bill *bill, struct arena *arena);
/* Adds the rows of a file. ERR_USAGE names the file, the line (or the place in the document) and
 * what to do; the bill is of no use then. `text` must live as long as the bill. */
bool bill_read(struct bill *bill, struct str file, struct str text, struct err *err);

/* "Claude Sonnet 4.5" and "claude-sonnet-4-5-20250929" are "claude-sonnet-4-5": lower case, a dash
 * for space and dot, no snapshot's date at the end. */
struct str bill_key(struct arena *arena, struct str model);
/* A day that exists, as 2026-01-31. */
bool bill_is_day(struct str s);

/* For the readers. A row as it was told; absent where the form has no such thing. */
struct bill_told {
    struct str day, model, currency;
    const char *place; /* "line 7" */
    int64_t input, output;
    double dollars;
    bool tokens, money;
};
bool bill_add(struct bill *bill, struct str file, const struct bill_told *told, struct err *err);
bool bill_read_csv(struct bill *bill, struct str file, struct str text, struct err *err);
bool bill_read_json(struct bill *bill, struct str file, struct str text, struct err *err);
/* The UTC day of seconds since 1970. */
struct str bill_day_of(struct arena *arena, int64_t seconds);

#endif
