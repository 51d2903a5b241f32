/*
 * bill.c -- see bill.h. What the two readers share: names, days, and what a row may hold.
 */
#include "producer/cli/bill.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/clock.h"

static const double dollars_max = 1e9;
static const int64_t sum_max = 4000000000000000000; /* four thousand million dollars */

void bill_init(struct bill *bill, struct arena *arena)
{
    *bill = (struct bill){.arena = arena};
}

static bool all_unnamed(const struct bill *bill, size_t from)
{
    for (size_t i = from; i < bill->count; i++)
        if (!str_empty(bill->rows[i].model))
            return false;
    return bill->count > from;
}

bool bill_read(struct bill *bill, struct str file, struct str text, struct err *err)
{
    size_t from = bill->count;
    const char *before = bill->vendor;
    bill->vendor = NULL;
    if (str_starts(text, STR("\xef\xbb\xbf"))) /* spreadsheets begin a file so */
        text = str_slice(text, 3, text.len);
    struct str begin = str_trim(text);
    if (str_empty(begin)) {
        err_set(err, ERR_USAGE, "'" STR_FMT "' is empty", STR_ARG(file));
        return false;
    }
    bool json = begin.data[0] == '{' || begin.data[0] == '[';
    if (!(json ? bill_read_json : bill_read_csv)(bill, file, text, err))
        return false;
    if (from && (!before || !bill->vendor || strcmp(before, bill->vendor) != 0))
        bill->vendor = NULL; /* files of several vendors: everybody's */
    if (all_unnamed(bill, from))
        err_set(err, ERR_USAGE,
                "'" STR_FMT "' names no model: export it by model (costs of OpenAI: by line item)",
                STR_ARG(file));
    else
        return true;
    return false;
}

/* ---- days ---- */

static int64_t days_of(int64_t year, int64_t month)
{
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 ? (leap ? 29 : 28) : 30 + ((month + (month > 7)) & 1);
}

bool bill_is_day(struct str s)
{
    int64_t year, month, day;
    return s.len == 10 && s.data[4] == '-' && s.data[7] == '-' &&
           str_to_i64(str_slice(s, 0, 4), 1, 9999, &year) &&
           str_to_i64(str_slice(s, 5, 7), 1, 12, &month) &&
           str_to_i64(str_slice(s, 8, 10), 1, days_of(year, month), &day);
}

struct str bill_day_of(struct arena *arena, int64_t seconds)
{
    char text[25];
    clock_format(seconds * 1000, text);
    return arena_str(arena, str_from(text, 10));
}

/* ---- names ---- */

/* How many of the last bytes are digits. */
static size_t digits_at_end(struct str s)
{
    size_t n = 0;
    while (n < s.len && s.data[s.len - 1 - n] >= '0' && s.data[s.len - 1 - n] <= '9')
        n++;
    return n;
}

/* Without "-20250929", "-2024-07-18", "-0613" or "-latest". */
static struct str without_date(struct str s)
{
    struct str none = STR("-latest");
    if (str_ends(s, none))
        return str_slice(s, 0, s.len - none.len);
    if (s.len > 11 && bill_is_day(str_slice(s, s.len - 10, s.len)) && s.data[s.len - 11] == '-')
        return str_slice(s, 0, s.len - 11);
    size_t digits = digits_at_end(s);
    if ((digits == 8 || digits == 4) && s.len > digits + 1 && s.data[s.len - digits - 1] == '-')
        return str_slice(s, 0, s.len - digits - 1);
    return s;
}

struct str bill_key(struct arena *arena, struct str model)
{
    char *copy = arena_cstr(arena, model);
    for (char *c = copy; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
        else if (*c == ' ' || *c == '.' || *c == '_')
            *c = '-';
    return without_date(str_from(copy, model.len));
}

/* ---- rows ---- */

static bool check(const struct bill *bill, struct str file, const struct bill_told *told,
                  struct err *err)
{
    if (!bill_is_day(told->day))
        err_set(err, ERR_USAGE,
                "'" STR_FMT "', %s: the day is '" STR_FMT "', must be a day of UTC as 2026-01-31",
                STR_ARG(file), told->place, STR_ARG(str_utf8_cut(told->day, 40)));
    else if (told->tokens && (told->input < 0 || told->output < 0))
        err_set(err, ERR_USAGE, "'" STR_FMT "', %s: tokens must be whole numbers from 0 on",
                STR_ARG(file), told->place);
    else if (told->money && !(fabs(told->dollars) <= dollars_max))
        err_set(err, ERR_USAGE, "'" STR_FMT "', %s: the cost must be a number of dollars",
                STR_ARG(file), told->place);
    else if (told->money && told->currency.data && !str_eq_nocase(told->currency, STR("usd")))
        err_set(err, ERR_USAGE,
                "'" STR_FMT "', %s: the cost is in '" STR_FMT
                "', and the ledger has dollars: export the bill in USD",
                STR_ARG(file), told->place, STR_ARG(str_utf8_cut(told->currency, 40)));
    else if (bill->tokens > sum_max || bill->nanousd > sum_max)
        err_set(err, ERR_TOO_BIG,
                "'" STR_FMT "', %s: the sums are larger than any bill: is this one?", STR_ARG(file),
                told->place);
    else if (bill->count == BILL_ROWS_MAX)
        err_set(err, ERR_TOO_BIG,
                "'" STR_FMT "', %s: more than %d rows: export it by day, or fewer days",
                STR_ARG(file), told->place, BILL_ROWS_MAX);
    else
        return true;
    return false;
}

static void make_room(struct bill *bill)
{
    if (bill->count < bill->cap)
        return;
    size_t cap = bill->cap ? 2 * bill->cap : 256;
    struct bill_row *rows = arena_array(bill->arena, struct bill_row, cap);
    if (bill->count)
        memcpy(rows, bill->rows, bill->count * sizeof(*rows));
    bill->rows = rows;
    bill->cap = cap;
}

bool bill_add(struct bill *bill, struct str file, const struct bill_told *told, struct err *err)
{
    if (!told->tokens && !told->money) /* a day on which nothing was used */
        return true;
    if (!check(bill, file, told, err))
        return false;
    make_room(bill);
    bill->rows[bill->count++] = (struct bill_row){
        .day = told->day,
        .model = told->model,
        .input = told->tokens ? told->input : 0,
        .output = told->tokens ? told->output : 0,
        .nanousd = told->money ? (int64_t)llround(told->dollars * 1e9) : 0,
    };
    bill->tokens += bill->rows[bill->count - 1].input + bill->rows[bill->count - 1].output;
    bill->nanousd += llabs(bill->rows[bill->count - 1].nanousd);
    bill->has_tokens |= told->tokens;
    bill->has_money |= told->money;
    return true;
}
