/*
 * bill_json.c -- a bill as JSON: pages of the usage and cost APIs of OpenAI and Anthropic, or rows
 * of our own form, as one document or as lines; see bill.h.
 *
 * A page has "data", a list of buckets; a bucket has a beginning and "results"; a result is a row.
 * What has neither "data" nor "results" is a row itself, with a day of its own. The last page must
 * not say that there are more.
 */
#include <math.h>

#include "common/data/json.h"
#include "producer/cli/bill.h"

struct reader {
    struct bill *bill;
    struct str file;
    struct err *err;
    size_t line;   /* 0: the file is one document */
    size_t bucket; /* of the page, from 1; 0: outside of one */
    size_t result;
    bool more; /* the page that was read last is not the last there is */
};

static const char *const inputs[] = {
    "input_tokens",                   /* OpenAI: all of them; ours */
    "prompt_tokens",                  /* likewise */
    "uncached_input_tokens",          /* Anthropic, and with it: */
    "cache_read_input_tokens",        /**/
    "cache_creation_input_tokens",    /**/
    "cache_creation_5m_input_tokens", /**/
    "cache_creation_1h_input_tokens",
};
static const char *const written[] = {"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"};
static const char *const outputs[] = {"output_tokens", "completion_tokens"};

static bool refuse(const struct reader *r, const char *why)
{
    if (r->line)
        err_set(r->err, ERR_USAGE, "'" STR_FMT "', line %zu: %s", STR_ARG(r->file), r->line, why);
    else
        err_set(r->err, ERR_USAGE, "'" STR_FMT "': %s", STR_ARG(r->file), why);
    return false;
}

static const char *place_of(const struct reader *r)
{
    struct buf text;
    buf_init(&text, 128);
    if (r->line)
        buf_printf(&text, "line %zu", r->line);
    if (r->bucket)
        buf_printf(&text, "%sbucket %zu", text.len ? ", " : "", r->bucket);
    if (r->result)
        buf_printf(&text, "%sresult %zu", text.len ? ", " : "", r->result);
    const char *place = arena_cstr(r->bill->arena, buf_str(&text));
    buf_done(&text);
    return place;
}

/* ---- rows ---- */

/* Adds what these members say; -1 in `sum` when one of them is no number of tokens. */
static void add_up(const struct value *map, const char *const *names, size_t count, int64_t *sum,
                   bool *any)
{
    for (size_t i = 0; i < count; i++) {
        const struct value *v = value_get(map, str_of(names[i]));
        if (!v || v->kind == VALUE_NULL)
            continue;
        *any = true;
        bool good = v->kind == VALUE_INT && v->number >= 0 && v->number < 1000000000000000;
        *sum = good && *sum >= 0 ? *sum + v->number : -1;
    }
}

static double number(const struct value *v)
{
    double real = 0;
    if (v->kind == VALUE_INT)
        return (double)v->number;
    if (v->kind == VALUE_REAL)
        return v->real;
    return v->kind == VALUE_STR && str_to_f64(v->text, &real) ? real : INFINITY;
}

static const struct value *first_of(const struct value *map, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct value *v = value_get(map, str_of(names[i]));
        if (v && v->kind != VALUE_NULL)
            return v;
    }
    return NULL;
}

/* OpenAI: {"value": dollars, "currency": ..}. Anthropic: a text, in cents. */
static void take_money(const struct value *row, struct bill_told *told)
{
    static const char *const costs[] = {"cost", "cost_usd"};
    const struct value *amount = value_get(row, STR("amount")), *cost = first_of(row, costs, 2);
    const struct value *inside = value_get(amount, STR("value"));
    told->currency = value_get_str(row, "currency");
    told->money = true;
    if (inside && inside->kind != VALUE_NULL) {
        told->dollars = number(inside);
        told->currency = value_get_str(amount, "currency");
    } else if (amount && amount->kind == VALUE_STR) {
        told->dollars = number(amount) / 100;
    } else if (cost) {
        told->dollars = number(cost);
    } else {
        told->money = false;
    }
}

static struct str model_of(const struct value *row)
{
    static const char *const names[] = {"model", "model_version"};
    const struct value *model = first_of(row, names, 2);
    struct str item = value_get_str(row, "line_item");
    if (model && model->kind == VALUE_STR)
        return model->text;
    return str_trim(str_slice(item, 0, str_index(item, ',')));
}

static struct str day_of(struct reader *r, const struct value *map)
{
    static const char *const names[] = {"day", "date", "usage_date_utc", "starting_at"};
    const struct value *text = first_of(map, names, 4),
                       *seconds = value_get(map, STR("start_time"));
    bool begins = value_get(map, STR("starting_at")) != NULL;
    if (begins || seconds)
        r->bill->vendor = begins ? "anthropic" : "openai";
    if (text && text->kind == VALUE_STR)
        return str_slice(text->text, 0, text->text.len < 10 ? text->text.len : 10);
    if (seconds && seconds->kind == VALUE_INT && seconds->number >= 0 &&
        seconds->number < 253402300800)
        return bill_day_of(r->bill->arena, seconds->number);
    return (struct str){NULL, 0};
}

static bool take_row(struct reader *r, const struct value *row, struct str day)
{
    struct bill_told told = {.day = day, .model = model_of(row)};
    if (row->kind != VALUE_MAP)
        return refuse(r, "a row must be an object with day, model and tokens or cost");
    if (!day.data)
        told.day = day_of(r, row);
    told.place = place_of(r);
    add_up(row, inputs, sizeof(inputs) / sizeof(inputs[0]), &told.input, &told.tokens);
    add_up(value_get(row, STR("cache_creation")), written, 2, &told.input, &told.tokens);
    add_up(row, outputs, 2, &told.output, &told.tokens);
    take_money(row, &told);
    if (!told.tokens && !told.money)
        return refuse(r, "neither tokens nor a cost: the usage or cost report of OpenAI or"
                         " Anthropic, or rows with day, model, input_tokens, output_tokens, cost");
    return bill_add(r->bill, r->file, &told, r->err);
}

/* ---- pages ---- */

static bool take_bucket(struct reader *r, const struct value *bucket)
{
    const struct value *results = value_get_list(bucket, "results");
    if (!results)
        return take_row(r, bucket, (struct str){NULL, 0});
    struct str day = day_of(r, bucket);
    for (r->result = 1; r->result <= results->count; r->result++)
        if (!take_row(r, &results->items[r->result - 1], day.data ? day : STR("")))
            return false;
    r->result = 0;
    return true;
}

static bool take_document(struct reader *r, const struct value *document)
{
    const struct value *list = value_get_list(document, "data");
    const struct value *more = value_get(document, STR("has_more"));
    if (document->kind == VALUE_LIST)
        list = document;
    if (!list)
        return take_bucket(r, document);
    r->more = more && more->kind == VALUE_BOOL && more->truth;
    for (r->bucket = 1; r->bucket <= list->count; r->bucket++)
        if (!take_bucket(r, &list->items[r->bucket - 1]))
            return false;
    r->bucket = 0;
    return true;
}

static bool take_text(struct reader *r, struct str text)
{
    struct value document;
    struct err why = {0};
    if (json_read(text, r->bill->arena, &document, &why))
        return take_document(r, &document);
    char sentence[sizeof(why.text) + 64];
    snprintf(sentence, sizeof(sentence), "%s: neither one document nor a document a line",
             why.text);
    return refuse(r, sentence);
}

static bool is_document(struct bill *bill, struct str line)
{
    struct value value;
    return json_read(line, bill->arena, &value, NULL);
}

static bool take_lines(struct reader *r, struct str text)
{
    struct str line;
    bool good = true;
    while (good && str_split(&text, '\n', &line)) {
        r->line++;
        if (!str_empty(str_trim(line)))
            good = take_text(r, str_trim(line));
    }
    return good;
}

bool bill_read_json(struct bill *bill, struct str file, struct str text, struct err *err)
{
    struct reader r = {.bill = bill, .file = file, .err = err};
    struct str rest = str_trim(text);
    bool good;
    if (!is_document(bill, str_slice(rest, 0, str_index(rest, '\n'))))
        good = take_text(&r, rest);
    else
        good = take_lines(&r, text);
    return good && (!r.more || refuse(&r, "has_more is true in the last page: put the next pages"
                                          " behind it, one a line"));
}
