/*
 * conf_value.c -- one function per type reads, one switch writes; sizes and durations have tables
 * of units.
 *
 * To add a type: a row in enum conf_type, a case in conf_value_set() and conf_value_write(), its
 * words in conf_reference.c.
 */
#include "common/data/conf_value.h"

#include <math.h>
#include <strings.h>

#include "common/base/must.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* Where one name ends like another, the longer one comes first. */
static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit plain[] = {{NULL, 0}};
static const struct unit sizes[] = {{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
                                    {"kB", 1000},     {"MB", 1000000},  {"GB", 1000000000},
                                    {"B", 1},         {NULL, 0}};

static const struct unit *unit_of(struct str text, const struct unit *units)
{
    const struct unit *unit = units;
    while (unit->name && !str_ends(text, str_of(unit->name)))
        unit++;
    return unit;
}

/* "64MiB", "1.5s", "100" */
static bool read_amount(struct str text, const struct unit *units, int64_t *ret)
{
    const struct unit *unit = unit_of(text, units);
    int64_t factor = unit->name ? unit->factor : 1;
    double number;
    if (unit->name)
        text = str_trim(str_slice(text, 0, text.len - strlen(unit->name)));
    if (factor == 1 && str_to_i64(text, INT64_MIN + 1, INT64_MAX, ret))
        return true;
    if (!str_to_f64(text, &number) || !isfinite(number) || fabs(number) > 9e15 / (double)factor)
        return false;
    *ret = llround(number * (double)factor);
    return fabs((double)*ret - number * (double)factor) < 1e-6 * (double)factor;
}

/* What is being set, for messages. */
struct setting {
    const struct conf_row *row;
    struct str key;
    const char *where;
    struct err *err;
};

static bool refuse(const struct setting *s, struct str text, const char *wanted)
{
    err_set(s->err, ERR_CONFIG, "%s: '" STR_FMT "' must be %s, is '" STR_FMT "'", s->where,
            STR_ARG(s->key), wanted,
            STR_ARG(conf_is_secret(s->row) ? STR("***") : str_utf8_cut(text, 80)));
    return false;
}

static void write_amount(int64_t number, const struct unit *units, struct buf *ret);

static bool refuse_bounds(const struct setting *s, struct str text, const struct unit *units)
{
    struct buf wanted;

    buf_init(&wanted, 160);
    buf_add_str(&wanted, STR("between "));
    write_amount(s->row->min, units, &wanted);
    buf_add_str(&wanted, STR(" and "));
    write_amount(s->row->max, units, &wanted);
    refuse(s, text, wanted.data);
    buf_done(&wanted);
    return false;
}

static bool in_bounds(const struct conf_row *row, double number)
{
    return (!row->min && !row->max) || (number >= (double)row->min && number <= (double)row->max);
}

static bool set_number(const struct setting *s, struct str text, const struct unit *units,
                       const char *wanted, void *target)
{
    int64_t number;

    if (!read_amount(text, units, &number))
        return refuse(s, text, wanted);
    if (!in_bounds(s->row, (double)number))
        return refuse_bounds(s, text, units);
    *(int64_t *)conf_member(s->row, target) = number;
    return true;
}

/* What two people read differently: "5" is five seconds to one and five milliseconds to another,
 * "64M" a power of two or of ten. Only 0 is the same in every unit; bytes are the unit of sizes. */
static bool refuse_unit(const struct setting *s, struct str number, const char *const choices[2])
{
    struct str shown = str_utf8_cut(number, 40);
    err_set(s->err, ERR_CONFIG,
            "%s: '" STR_FMT "' needs a unit: write " STR_FMT "%s or " STR_FMT "%s", s->where,
            STR_ARG(s->key), STR_ARG(shown), choices[0], STR_ARG(shown), choices[1]);
    return false;
}

static bool set_duration(const struct setting *s, struct str text, void *target)
{
    static const char *const either[2] = {"s", "ms"};
    double number;

    if (str_to_f64(text, &number) && isfinite(number) && number != 0)
        return refuse_unit(s, text, either);
    return set_number(s, text, durations, "a duration like 500ms, 30s, 5m or 24h", target);
}

static bool set_bytes(const struct setting *s, struct str text, void *target)
{
    static const char letters[] = "KMG";
    static const char *const either[][2] = {{"KiB", "kB"}, {"MiB", "MB"}, {"GiB", "GB"}};
    size_t digits = 0;
    double number;

    while (digits < text.len && strchr("0123456789.", text.data[digits]))
        digits++;
    struct str count = str_slice(text, 0, digits),
               unit = str_trim(str_slice(text, digits, text.len));
    for (size_t i = 0; letters[i]; i++) {
        const char half[] = {letters[i], 'b', '\0'};
        bool open =
            str_eq_nocase(unit, str_from(&letters[i], 1)) || str_eq_nocase(unit, str_of(half));
        if (open && !unit_of(text, sizes)->name && str_to_f64(count, &number))
            return refuse_unit(s, count, either[i]);
    }
    return set_number(s, text, sizes, "a size like 64KiB or 16MiB", target);
}

/* An empty text is NAN, "not given". */
static bool set_real(const struct setting *s, struct str text, void *target)
{
    double number = NAN;

    if (!str_empty(text) && (!str_to_f64(text, &number) || !isfinite(number)))
        return refuse(s, text, "a number");
    if (!isnan(number) && !in_bounds(s->row, number))
        return refuse_bounds(s, text, plain);
    *(double *)conf_member(s->row, target) = number;
    return true;
}

static bool set_bool(const struct setting *s, struct str text, void *target)
{
    static const char *const words[] = {"false", "true", "off", "on", "no", "yes", "0", "1"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (!str_eq_nocase(text, str_of(words[i])))
            continue;
        *(bool *)conf_member(s->row, target) = i % 2 == 1;
        return true;
    }
    return refuse(s, text, "true or false");
}

static bool set_enum(const struct setting *s, struct str text, struct arena *arena, void *target)
{
    struct str rest = str_of(s->row->choices), choice, near = {NULL, 0};
    unsigned best = text.len < 4 ? 1 : 2;

    while (str_split(&rest, '|', &choice)) {
        unsigned distance = str_distance(choice, text);
        if (distance <= best && distance < choice.len) {
            best = distance;
            near = choice;
        }
        if (!str_eq(choice, text))
            continue;
        *(struct str *)conf_member(s->row, target) = arena_str(arena, text);
        return true;
    }
    err_set(s->err, ERR_CONFIG,
            "%s: '" STR_FMT "' must be one of %s, is '" STR_FMT "'%s" STR_FMT "%s", s->where,
            STR_ARG(s->key), s->row->choices, STR_ARG(str_utf8_cut(text, 80)),
            near.data ? ", did you mean '" : "", STR_ARG(near), near.data ? "'?" : "");
    return false;
}

static size_t count_of(struct str text, char c)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == c;
    return count;
}

/* Between commas; secrets also one a line, as they stand in files. */
static void set_strs(const struct conf_row *row, struct str text, struct arena *arena, void *target)
{
    struct conf_strs strs = {0};
    struct str line, part;

    strs.items = arena_array(arena, struct str, count_of(text, ',') + count_of(text, '\n') + 1);
    for (struct str rest = text; str_split(&rest, row->type == CONF_SECRETS ? '\n' : 0, &line);)
        while (str_split(&line, ',', &part))
            if (!str_empty(str_trim(part)))
                strs.items[strs.count++] = arena_str(arena, str_trim(part));
    *(struct conf_strs *)conf_member(row, target) = strs;
}

bool conf_value_set(const struct conf_row *row, struct str key, struct str text, const char *where,
                    struct arena *arena, void *target, struct err *err)
{
    const struct setting s = {.row = row, .key = key, .where = where, .err = err};
    struct str trimmed = str_trim(text);

    if (text.len && memchr(text.data, 0, text.len))
        return refuse(&s, STR(".."), "text without NUL bytes");
    switch (row->type) {
    case CONF_STR:
    case CONF_SECRET:
        *(struct str *)conf_member(row, target) = arena_str(arena, text);
        return true;
    case CONF_INT:
        return set_number(&s, trimmed, plain, "a whole number", target);
    case CONF_BYTES:
        return set_bytes(&s, trimmed, target);
    case CONF_DURATION:
        return set_duration(&s, trimmed, target);
    case CONF_REAL:
        return set_real(&s, trimmed, target);
    case CONF_BOOL:
        return set_bool(&s, trimmed, target);
    case CONF_ENUM:
        return set_enum(&s, trimmed, arena, target);
    case CONF_STRS:
    case CONF_SECRETS:
        set_strs(row, text, arena, target);
        return true;
    case CONF_PROPS:
    case CONF_ITEMS:
        break;
    }
    return refuse(&s, text, "a map");
}

bool conf_is_secret(const struct conf_row *row)
{
    return row->type == CONF_SECRET || row->type == CONF_SECRETS;
}

bool conf_is_secret_name(struct str name)
{
    static const char *const words[] = {"password", "secret", "token",   "authorization", "api-key",
                                        "api_key",  "apikey", "key.pem", "jaas",          "cookie"};
    for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
        for (size_t i = 0; i < name.len; i++)
            if (strncasecmp(name.data + i, words[w], strlen(words[w])) == 0)
                return true;
    return false;
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
            buf_printf(ret, "%.15g", *(const double *)member);
        break;
    case CONF_BOOL:
        buf_add_str(ret, *(const bool *)member ? STR("true") : STR("false"));
        break;
    case CONF_STRS:
    case CONF_SECRETS:
        for (size_t i = 0; i < strs->count; i++)
            buf_printf(ret, "%s" STR_FMT, i ? "," : "", STR_ARG(strs->items[i]));
        break;
    case CONF_PROPS:
    case CONF_ITEMS:
        must_not_reach("a map has no one-line text");
    }
}
