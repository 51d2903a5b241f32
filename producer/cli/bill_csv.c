/*
 * bill_csv.c -- a bill as comma (or tab) separated values with a line of titles, see bill.h.
 *
 * RFC 4180: fields may stand in quotes, with commas, line ends and doubled quotes in them.
 */
#include "producer/cli/bill.h"

enum { COLUMNS_MAX = 64 };
static const int64_t tokens_max = 1000000000000000;

enum column { OTHER, DAY, SECONDS, MODEL, LINE_ITEM, INPUT, OUTPUT, COST, CURRENCY };

static const struct {
    const char *title;
    enum column column;
    const char *vendor; /* whose form this word tells */
} columns[] = {
    {"day", DAY, NULL},
    {"date", DAY, NULL},
    {"usage_date_utc", DAY, "anthropic"},
    {"start_time_iso", DAY, "openai"},
    {"start_time", SECONDS, "openai"},
    {"model", MODEL, NULL},
    {"model_version", MODEL, "anthropic"},
    {"line_item", LINE_ITEM, "openai"}, /* "gpt-4o-mini-2024-07-18, input" */
    {"input_tokens", INPUT, NULL},      /* several columns of input are added up */
    {"prompt_tokens", INPUT, NULL},
    {"usage_input_tokens_no_cache", INPUT, "anthropic"},
    {"usage_input_tokens_cache_write_5m", INPUT, "anthropic"},
    {"usage_input_tokens_cache_write_1h", INPUT, "anthropic"},
    {"usage_input_tokens_cache_read", INPUT, "anthropic"},
    {"output_tokens", OUTPUT, NULL},
    {"completion_tokens", OUTPUT, NULL},
    {"usage_output_tokens", OUTPUT, "anthropic"},
    {"cost", COST, NULL},
    {"cost_usd", COST, NULL},
    {"amount_value", COST, "openai"},
    {"currency", CURRENCY, NULL},
    {"amount_currency", CURRENCY, "openai"},
};

struct reader {
    struct bill *bill;
    struct str file, rest;
    struct err *err;
    char separator;
    size_t line; /* of the record that was read last, from 1 */
    size_t next_line;
    struct str titles[COLUMNS_MAX], fields[COLUMNS_MAX];
    enum column kinds[COLUMNS_MAX];
    size_t title_count, field_count;
};

/* ---- fields ---- */

/* Index of the quote that ends the field which `s` begins with; s.len: none does. */
static size_t end_of_quoted(struct str s)
{
    size_t i = 1;
    for (; i < s.len; i++) {
        bool quote = s.data[i] == '"';
        if (quote && !(i + 1 < s.len && s.data[i + 1] == '"'))
            return i;
        i += quote; /* doubled: one of the text */
    }
    return s.len;
}

/* A field in quotes, which the rest begins with; false when they do not end. */
static bool quoted(struct reader *r, struct str *ret)
{
    size_t end = end_of_quoted(r->rest), len = 0;
    if (end == r->rest.len)
        return false;
    char *copy = arena_alloc(r->bill->arena, end);
    for (size_t i = 1; i < end; i++) {
        copy[len++] = r->rest.data[i];
        r->next_line += r->rest.data[i] == '\n';
        i += r->rest.data[i] == '"';
    }
    r->rest = str_slice(r->rest, end + 1, r->rest.len);
    *ret = str_from(copy, len);
    return true;
}

static struct str plain(struct reader *r)
{
    size_t end = 0;
    while (end < r->rest.len && r->rest.data[end] != r->separator && r->rest.data[end] != '\n')
        end++;
    struct str field = str_slice(r->rest, 0, end);
    r->rest = str_slice(r->rest, end, r->rest.len);
    return str_trim(field);
}

static bool refuse(const struct reader *r, const char *why)
{
    err_set(r->err, ERR_USAGE, "'" STR_FMT "', line %zu: %s", STR_ARG(r->file), r->line, why);
    return false;
}

/* The next record's fields; there is something left. */
static bool read_record(struct reader *r)
{
    r->line = r->next_line;
    r->field_count = 0;
    for (;;) {
        struct str field;
        if (r->field_count == COLUMNS_MAX)
            return refuse(r, "more than 64 columns: is this a bill?");
        if (!str_empty(r->rest) && r->rest.data[0] == '"') {
            if (!quoted(r, &field))
                return refuse(r, "the quotes that begin here do not end: export the file anew");
            plain(r); /* what stands between the quotes and the separator, as a carriage return */
        } else {
            field = plain(r);
        }
        r->fields[r->field_count++] = field;
        if (str_empty(r->rest))
            return true;
        bool over = r->rest.data[0] == '\n';
        r->rest = str_slice(r->rest, 1, r->rest.len);
        r->next_line += over;
        if (over)
            return true;
    }
}

/* ---- titles ---- */

static enum column column_of(struct bill *bill, struct str title)
{
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        if (str_eq_nocase(title, str_of(columns[i].title))) {
            if (columns[i].vendor)
                bill->vendor = columns[i].vendor;
            return columns[i].column;
        }
    return OTHER;
}

static bool has(const struct reader *r, enum column column)
{
    for (size_t i = 0; i < r->title_count; i++)
        if (r->kinds[i] == column)
            return true;
    return false;
}

static bool read_titles(struct reader *r)
{
    struct str first = str_slice(r->rest, 0, str_index(r->rest, '\n'));
    r->separator =
        str_index(first, ',') == first.len && str_index(first, '\t') < first.len ? '\t' : ',';
    if (!read_record(r))
        return false;
    r->title_count = r->field_count;
    for (size_t i = 0; i < r->field_count; i++) {
        r->titles[i] = r->fields[i];
        r->kinds[i] = column_of(r->bill, r->fields[i]);
    }
    if (!has(r, DAY) && !has(r, SECONDS))
        return refuse(r, "no column is the day: a bill begins with titles, as"
                         " day,model,input_tokens,output_tokens,cost");
    if (!has(r, MODEL) && !has(r, LINE_ITEM))
        return refuse(r, "no column is the model: export it by model, with a column 'model'");
    if (!has(r, INPUT) && !has(r, OUTPUT) && !has(r, COST))
        return refuse(r, "no column has tokens or costs: input_tokens and output_tokens, or cost");
    return true;
}

/* ---- rows ---- */

static bool bad_field(const struct reader *r, size_t i, const char *must)
{
    err_set(r->err, ERR_USAGE, "'" STR_FMT "', line %zu: " STR_FMT " is '" STR_FMT "', must be %s",
            STR_ARG(r->file), r->line, STR_ARG(str_utf8_cut(r->titles[i], 40)),
            STR_ARG(str_utf8_cut(r->fields[i], 40)), must);
    return false;
}

/* Some exports write whole numbers as "120.0". */
static bool whole(struct str s, int64_t *ret)
{
    double real;
    if (str_to_i64(s, 0, tokens_max, ret))
        return true;
    if (!str_to_f64(s, &real) || !(real >= 0 && real < 1e15) || real != (double)(int64_t)real)
        return false;
    *ret = (int64_t)real;
    return true;
}

static bool take_field(const struct reader *r, size_t i, struct bill_told *told)
{
    struct str field = r->fields[i];
    int64_t n = 0;
    if (str_empty(field))
        return true;
    switch (r->kinds[i]) {
    case DAY: /* of a time only the day counts */
        told->day = str_slice(field, 0, field.len > 10 && field.data[10] != '-' ? 10 : field.len);
        return true;
    case SECONDS:
        if (!str_to_i64(field, 0, 253402300799, &n))
            return bad_field(r, i, "seconds since 1970");
        if (!told->day.data)
            told->day = bill_day_of(r->bill->arena, n);
        return true;
    case MODEL:
        told->model = field;
        return true;
    case LINE_ITEM:
        if (!told->model.data)
            told->model = str_trim(str_slice(field, 0, str_index(field, ',')));
        return true;
    case INPUT:
    case OUTPUT:
        if (!whole(field, &n))
            return bad_field(r, i, "a whole number of tokens, without separators");
        *(r->kinds[i] == INPUT ? &told->input : &told->output) += n;
        told->tokens = true;
        return true;
    case COST:
        told->money = str_to_f64(field, &told->dollars);
        return told->money || bad_field(r, i, "a number of dollars, without their sign");
    case CURRENCY:
        told->currency = field;
        return true;
    case OTHER:
        break;
    }
    return true;
}

static bool take_record(struct reader *r)
{
    char place[32];
    struct bill_told told = {.place = place};
    if (r->field_count == 1 && str_empty(r->fields[0])) /* an empty line */
        return true;
    if (r->field_count != r->title_count) {
        err_set(r->err, ERR_USAGE,
                "'" STR_FMT "', line %zu has %zu fields, and there are %zu titles: put what has a"
                " comma in it into quotes, or export the file anew",
                STR_ARG(r->file), r->line, r->field_count, r->title_count);
        return false;
    }
    for (size_t i = 0; i < r->field_count; i++)
        if (!take_field(r, i, &told))
            return false;
    snprintf(place, sizeof(place), "line %zu", r->line);
    return bill_add(r->bill, r->file, &told, r->err);
}

bool bill_read_csv(struct bill *bill, struct str file, struct str text, struct err *err)
{
    struct reader *r = arena_new(bill->arena, struct reader);
    *r = (struct reader){.bill = bill, .file = file, .rest = text, .err = err, .next_line = 1};
    if (!read_titles(r))
        return false;
    while (!str_empty(r->rest))
        if (!read_record(r) || !take_record(r))
            return false;
    return true;
}
