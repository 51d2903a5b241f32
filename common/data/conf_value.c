/*
 * conf_value.c -- see conf_value.h.
 */
#include "common/data/conf_value.h"

#include <math.h>

#include "common/base/must.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* Longest names first where one ends like another. */
static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit sizes[] = {{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
                                    {"kB", 1000},     {"MB", 1000000},  {"GB", 1000000000},
                                    {"B", 1},         {NULL, 0}};

/* "64MiB", "1.5s", "100" */
static bool read_amount(struct str text, const struct unit *units, int64_t *ret)
{
    int64_t factor = 1;
    double number;
    for (const struct unit *unit = units; unit && unit->name; unit++) {
        if (!str_ends(text, str_of(unit->name)))
            continue;
        factor = unit->factor;
        text = str_trim(str_slice(text, 0, text.len - strlen(unit->name)));
        break;
    }
    if (factor == 1 && str_to_i64(text, INT64_MIN + 1, INT64_MAX, ret))
        return true;
    if (!str_to_f64(text, &number) || !isfinite(number) || fabs(number) > 9e15 / (double)factor)
        return false;
    *ret = llround(number * (double)factor);
    return fabs((double)*ret - number * (double)factor) < 1e-6 * (double)factor;
}

static bool refuse(const struct conf_row *row, const char *where, struct str text,
                   const char *wanted, struct err *err)
{
    bool secret = row->type == CONF_SECRET;
    err_set(err, ERR_CONFIG, "%s: '%s' must be %s, is '" STR_FMT "'", where, row->key, wanted,
            STR_ARG(secret ? STR("***") : str_utf8_cut(text, 80)));
    return false;
}

static bool set_number(const struct conf_row *row, struct str text, const struct unit *units,
                       const char *wanted, const char *where, void *target, struct err *err)
{
    int64_t number;
    char bounds[160];
    if (!read_amount(text, units, &number))
        return refuse(row, where, text, wanted, err);
    if ((row->min || row->max) && (number < row->min || number > row->max)) {
        snprintf(bounds, sizeof(bounds), "between %lld and %lld%s", (long long)row->min,
                 (long long)row->max, row->type == CONF_DURATION ? " ms" : "");
        return refuse(row, where, text, bounds, err);
    }
    memcpy(conf_member(row, target), &number, sizeof(number));
    return true;
}

static bool set_real(const struct conf_row *row, struct str text, const char *where, void *target,
                     struct err *err)
{
    double number = NAN;
    char bounds[160];
    if (!str_empty(text) && !str_to_f64(text, &number))
        return refuse(row, where, text, "a number", err);
    if ((row->min || row->max) && (number < (double)row->min || number > (double)row->max)) {
        snprintf(bounds, sizeof(bounds), "between %lld and %lld", (long long)row->min,
                 (long long)row->max);
        return refuse(row, where, text, bounds, err);
    }
    memcpy(conf_member(row, target), &number, sizeof(number));
    return true;
}

static bool set_bool(const struct conf_row *row, struct str text, const char *where, void *target,
                     struct err *err)
{
    static const char *const words[] = {"false", "true", "off", "on", "no", "yes", "0", "1"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (!str_eq_nocase(text, str_of(words[i])))
            continue;
        bool truth = i % 2 == 1;
        memcpy(conf_member(row, target), &truth, sizeof(truth));
        return true;
    }
    return refuse(row, where, text, "true or false", err);
}

static bool set_enum(const struct conf_row *row, struct str text, const char *where,
                     struct arena *arena, void *target, struct err *err)
{
    struct str rest = str_of(row->choices), choice;
    char wanted[200];
    while (str_split(&rest, '|', &choice)) {
        if (!str_eq(choice, text))
            continue;
        *(struct str *)conf_member(row, target) = arena_str(arena, text);
        return true;
    }
    snprintf(wanted, sizeof(wanted), "one of %s", row->choices);
    return refuse(row, where, text, wanted, err);
}

static void set_strs(const struct conf_row *row, struct str text, struct arena *arena, void *target)
{
    struct conf_strs strs = {0};
    struct str part, rest = text;
    size_t commas = 1;
    for (size_t i = 0; i < text.len; i++)
        commas += text.data[i] == ',';
    strs.items = arena_array(arena, struct str, commas);
    while (str_split(&rest, ',', &part))
        if (!str_empty(str_trim(part)))
            strs.items[strs.count++] = arena_str(arena, str_trim(part));
    *(struct conf_strs *)conf_member(row, target) = strs;
}

bool conf_value_set(const struct conf_row *row, struct str text, const char *where,
                    struct arena *arena, void *target, struct err *err)
{
    struct str trimmed = str_trim(text);
    switch (row->type) {
    case CONF_STR:
    case CONF_SECRET:
        *(struct str *)conf_member(row, target) = arena_str(arena, text);
        return true;
    case CONF_INT:
        return set_number(row, trimmed, NULL, "a whole number", where, target, err);
    case CONF_BYTES:
        return set_number(row, trimmed, sizes, "a size like 64KiB or 16MiB", where, target, err);
    case CONF_DURATION:
        return set_number(row, trimmed, durations, "a duration like 500ms, 30s, 5m or 24h", where,
                          target, err);
    case CONF_REAL:
        return set_real(row, trimmed, where, target, err);
    case CONF_BOOL:
        return set_bool(row, trimmed, where, target, err);
    case CONF_ENUM:
        return set_enum(row, trimmed, where, arena, target, err);
    case CONF_STRS:
        set_strs(row, text, arena, target);
        return true;
    case CONF_PROPS:
    case CONF_ITEMS:
        break;
    }
    return refuse(row, where, text, "a map", err);
}

struct str conf_environment_get(const char *const *environment, struct str name)
{
    for (; environment && *environment; environment++)
        if (strncmp(*environment, name.data, name.len) == 0 && (*environment)[name.len] == '=')
            return str_of(*environment + name.len + 1);
    return (struct str){0};
}

/* "NAME" or "NAME:-default" */
static bool expand_one(struct str inner, const char *const *environment, const char *where,
                       struct str *ret, struct err *err)
{
    size_t colon = str_index(inner, ':');
    bool has_default = colon + 1 < inner.len && inner.data[colon + 1] == '-';
    struct str name = has_default ? str_slice(inner, 0, colon) : inner;
    struct str value = conf_environment_get(environment, name);
    *ret = has_default && str_empty(value) ? str_slice(inner, colon + 2, inner.len) : value;
    if (ret->data)
        return true;
    err_set(err, ERR_CONFIG,
            "%s: the environment has no '" STR_FMT "'; set it, or write ${" STR_FMT ":-default}",
            where, STR_ARG(name), STR_ARG(name));
    return false;
}

bool conf_expand(struct str text, const char *const *environment, const char *where,
                 struct arena *arena, struct str *ret, struct err *err)
{
    struct buf out;
    bool good = true;
    *ret = text;
    if (str_index(text, '$') == text.len)
        return true;
    buf_init(&out, 1 << 20);
    for (size_t i = 0; good && i < text.len; i++) {
        struct str rest = str_slice(text, i, text.len), inner, value;
        if (!str_starts(rest, STR("${")) || str_index(rest, '}') == rest.len) {
            buf_add_char(&out, text.data[i]);
            continue;
        }
        size_t end = str_index(rest, '}');
        inner = str_slice(rest, 2, end);
        good = expand_one(inner, environment, where, &value, err);
        if (good)
            buf_add_str(&out, value);
        i += end;
    }
    *ret = arena_str(arena, buf_str(&out));
    buf_done(&out);
    return good;
}

static void write_amount(int64_t number, const struct unit *units, struct buf *ret)
{
    const struct unit *best = NULL;
    for (const struct unit *unit = units; unit->name; unit++)
        if (number && number % unit->factor == 0 && (!best || unit->factor > best->factor))
            best = unit;
    buf_printf(ret, "%lld%s", (long long)(best ? number / best->factor : number),
               best ? best->name : "");
}

void conf_value_write(const struct conf_row *row, const void *target, struct buf *ret)
{
    const void *member = conf_member_const(row, target);
    const struct conf_strs *strs = member;
    switch (row->type) {
    case CONF_STR:
    case CONF_SECRET:
    case CONF_ENUM:
        buf_add_str(ret, *(const struct str *)member);
        break;
    case CONF_INT:
        buf_printf(ret, "%lld", (long long)*(const int64_t *)member);
        break;
    case CONF_BYTES:
        write_amount(*(const int64_t *)member, sizes, ret);
        break;
    case CONF_DURATION:
        write_amount(*(const int64_t *)member, durations, ret);
        break;
    case CONF_REAL:
        if (!isnan(*(const double *)member))
            buf_printf(ret, "%.10g", *(const double *)member);
        break;
    case CONF_BOOL:
        buf_add_str(ret, *(const bool *)member ? STR("true") : STR("false"));
        break;
    case CONF_STRS:
        for (size_t i = 0; i < strs->count; i++)
            buf_printf(ret, "%s" STR_FMT, i ? "," : "", STR_ARG(strs->items[i]));
        break;
    case CONF_PROPS:
    case CONF_ITEMS:
        must_not_reach("a map has no one-line text");
    }
}
