/*
 * prices.c -- see prices.h.
 */
#include "common/app/prices.h"

#include <math.h>

#include "common/base/xalloc.h"

enum { PRICES_BYTES_MAX = 16 << 20, NAME_BYTES_MAX = 512 };

struct price_row {
    struct str name;
    struct price price;
};

struct prices {
    struct arena arena;
    struct str date, currency;
    struct conf_items rows; /* of struct price_row */
};

/* clang-format off */
#define PRICE(key, otherwise, field, sentence) \
    {key, CONF_REAL, otherwise, 0, 1000000, NULL, true, offsetof(struct price_row, price.field), NULL, 0, sentence}

static const struct conf_row price_rows[] = {
    {"name", CONF_STR, NULL, 0, 0, NULL, true, offsetof(struct price_row, name), NULL, 0, "PROVIDER/MODEL, '*' is any text"},
    PRICE("input", NULL, input, "Per million input tokens"),
    PRICE("output", NULL, output, "Per million output tokens"),
    PRICE("cached_input", "", cached_input, "Per million input tokens read from the cache; empty: as other input"),
    PRICE("cache_write", "", cache_write, "Per million input tokens written to the cache; empty: as other input"),
    {0},
};

static const struct conf_row file_rows[] = {
    {"date", CONF_STR, NULL, 0, 0, NULL, true, offsetof(struct prices, date), NULL, 0, "When the prices were looked up"},
    {"currency", CONF_ENUM, "USD", 0, 0, "USD", true, offsetof(struct prices, currency), NULL, 0, "Of all prices"},
    {"prices", CONF_ITEMS, "", 0, 0, NULL, true, offsetof(struct prices, rows), price_rows, sizeof(struct price_row), "Per million tokens"},
    {0},
};
/* clang-format on */

static bool check(const struct prices *prices, const struct conf_places *places, struct err *err)
{
    const struct price_row *rows = prices->rows.items;
    for (size_t i = 0; i < prices->rows.count; i++) {
        struct str rest = rows[i].name, provider;
        str_split(&rest, '/', &provider);
        if (provider_facts(provider) && !str_empty(rest))
            continue;
        char key[256];
        snprintf(key, sizeof(key), "prices." STR_FMT, STR_ARG(rows[i].name));
        return conf_refuse(places, str_of(key), err,
                           "is for no provider of ours; a price is named PROVIDER/MODEL, as "
                           "openai/gpt-4o");
    }
    return true;
}

struct prices *prices_load(struct str path, struct err *err)
{
    struct prices *prices = xzalloc(sizeof(*prices));
    arena_init(&prices->arena, NULL, PRICES_BYTES_MAX);
    if (str_empty(path))
        return prices;
    struct conf_places places = {0};
    const struct conf_source source = {.file = arena_str(&prices->arena, path).data,
                                       .places = &places};
    if (conf_load(file_rows, &source, &prices->arena, prices, err) && check(prices, &places, err))
        return prices;
    err_prefix(err, "prices_file");
    prices_free(prices);
    return NULL;
}

void prices_free(struct prices *prices)
{
    if (!prices)
        return;
    arena_done(&prices->arena);
    free(prices);
}

struct str prices_date(const struct prices *prices)
{
    return prices->date;
}

size_t prices_count(const struct prices *prices)
{
    return prices->rows.count;
}

/* Goes back to the last '*' only: time is their product at worst, and names are short. */
static bool fits(struct str pattern, struct str name)
{
    size_t p = 0, n = 0, star = SIZE_MAX, from = 0;
    while (n < name.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            from = n;
        } else if (p < pattern.len && pattern.data[p] == name.data[n]) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

static size_t letters(struct str pattern)
{
    size_t count = 0;
    for (size_t i = 0; i < pattern.len; i++)
        count += pattern.data[i] != '*';
    return count;
}

static const struct price_row *find(const struct prices *prices, const struct model_conf *model)
{
    const struct price_row *rows = prices->rows.items, *best = NULL;
    char name[NAME_BYTES_MAX];
    struct str theirs = str_empty(model->model) ? model->name : model->model;
    int len = snprintf(name, sizeof(name), STR_FMT "/" STR_FMT, STR_ARG(model->provider),
                       STR_ARG(theirs));
    if (len < 0 || (size_t)len >= sizeof(name))
        return NULL;
    for (size_t i = 0; i < prices->rows.count; i++)
        if (fits(rows[i].name, str_of(name)) &&
            (!best || letters(rows[i].name) > letters(best->name)))
            best = &rows[i];
    return best;
}

static void prefer(double own, double *ret)
{
    if (!isnan(own))
        *ret = own;
}

bool prices_of(const struct prices *prices, const struct model_conf *model, struct price *ret)
{
    bool whole = !isnan(model->price_input) && !isnan(model->price_output);
    const struct price_row *row = whole ? NULL : find(prices, model);
    *ret = row ? row->price : (struct price){NAN, NAN, NAN, NAN};
    prefer(model->price_input, &ret->input);
    prefer(model->price_output, &ret->output);
    prefer(model->price_cached_input, &ret->cached_input);
    prefer(model->price_cache_write, &ret->cache_write);
    return !isnan(ret->input) && !isnan(ret->output);
}
