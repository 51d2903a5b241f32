/*
 * metrics.c -- plain arrays of cells, one per row and label value.
 *
 * A label's values are found by a linear look over at most METRIC_LABELS_MAX names, the last found
 * first; what comes beyond the bound is added up under "other". A row without a label is written
 * from the start, with 0; one with a label when its first value appears.
 */
#include "common/app/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

enum { LABEL_BYTES_MAX = 128 };

enum kind { COUNTER, GAUGE, SECONDS };

struct row {
    const char *name;
    enum kind kind;
    const char *label;
    const char *program;
    const char *sentence;
};

static const struct row rows[METRIC_COUNT] = {
#define METRIC(name, kind, label, programs, sentence) {#name, kind, label, programs, sentence},
#include "schemas/metric.def"
#undef METRIC
};

/* Upper bounds in milliseconds: the buckets OpenTelemetry's GenAI conventions give for durations.
 */
static const double bounds_ms[] = {10,   20,   40,   80,    160,   320,   640,
                                   1280, 2560, 5120, 10240, 20480, 40960, 81920};
enum { BUCKETS = sizeof(bounds_ms) / sizeof(bounds_ms[0]) };

struct cell {
    char *label; /* NULL: the row has none */
    int64_t number;
    double sum_ms;
    uint64_t count;
    uint64_t *buckets; /* of SECONDS */
};

struct series {
    struct cell *cells;
    size_t count, last;
};

static struct series all[METRIC_COUNT];

static struct cell *add_cell(enum metric metric, struct str label)
{
    struct series *series = &all[metric];
    series->cells = xrealloc(series->cells, (series->count + 1) * sizeof(*series->cells));
    struct cell *cell = &series->cells[series->count];
    *cell = (struct cell){.label = label.data ? xstrndup(label) : NULL};
    if (rows[metric].kind == SECONDS)
        cell->buckets = xcalloc(BUCKETS, sizeof(*cell->buckets));
    series->last = series->count++;
    return cell;
}

static struct cell *find_cell(enum metric metric, struct str label)
{
    struct series *series = &all[metric];
    if (series->count && str_is(label, series->cells[series->last].label))
        return &series->cells[series->last];
    for (size_t i = 0; i < series->count; i++) {
        if (!str_is(label, series->cells[i].label))
            continue;
        series->last = i;
        return &series->cells[i];
    }
    if (series->count >= METRIC_LABELS_MAX && !str_is(label, "other"))
        return find_cell(metric, STR("other"));
    return add_cell(metric, label);
}

static struct cell *plain_cell(enum metric metric)
{
    must(metric < METRIC_COUNT && rows[metric].label[0] == '\0');
    return all[metric].count ? &all[metric].cells[0] : add_cell(metric, (struct str){0});
}

static struct cell *label_cell(enum metric metric, struct str label)
{
    must(metric < METRIC_COUNT && rows[metric].label[0] != '\0');
    /* One bad byte would make Prometheus refuse the whole page. */
    if (!label.data || !str_utf8_valid(label))
        label = STR("invalid");
    return find_cell(metric, str_utf8_cut(label, LABEL_BYTES_MAX));
}

static void observe(struct cell *cell, double ms)
{
    cell->sum_ms += ms;
    cell->count++;
    for (size_t i = 0; i < BUCKETS; i++) {
        if (ms > bounds_ms[i])
            continue;
        cell->buckets[i]++;
        return;
    }
}

void metric_add(enum metric metric, int64_t amount)
{
    plain_cell(metric)->number += amount;
}

void metric_set(enum metric metric, int64_t amount)
{
    plain_cell(metric)->number = amount;
}

void metric_add_for(enum metric metric, struct str label, int64_t amount)
{
    label_cell(metric, label)->number += amount;
}

void metric_set_for(enum metric metric, struct str label, int64_t amount)
{
    label_cell(metric, label)->number = amount;
}

void metric_observe_ms(enum metric metric, double ms)
{
    must(rows[metric].kind == SECONDS);
    observe(plain_cell(metric), ms);
}

void metric_observe_ms_for(enum metric metric, struct str label, double ms)
{
    must(rows[metric].kind == SECONDS);
    observe(label_cell(metric, label), ms);
}

int64_t metric_get(enum metric metric)
{
    return plain_cell(metric)->number;
}

void metric_reset_all(void)
{
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        for (size_t k = 0; k < all[i].count; k++) {
            free(all[i].cells[k].label);
            free(all[i].cells[k].buckets);
        }
        free(all[i].cells);
        all[i] = (struct series){0};
    }
}

/* Backslash, quote and line feed are escaped, as the format asks. */
static void write_label(struct buf *ret, const struct row *row, const struct cell *cell,
                        const char *le)
{
    if (!cell->label && !le)
        return;
    buf_add_char(ret, '{');
    if (cell->label) {
        buf_printf(ret, "%s=\"", row->label);
        for (const char *c = cell->label; *c; c++) {
            if (*c == '\\' || *c == '"')
                buf_add_char(ret, '\\');
            buf_add_str(ret, *c == '\n' ? STR("\\n") : str_from(c, 1));
        }
        buf_add_char(ret, '"');
    }
    if (le)
        buf_printf(ret, "%sle=\"%s\"", cell->label ? "," : "", le);
    buf_add_char(ret, '}');
}

static void write_bucket(struct buf *ret, const struct row *row, const struct cell *cell,
                         const char *le, uint64_t count)
{
    buf_printf(ret, "quern_%s_bucket", row->name);
    write_label(ret, row, cell, le);
    buf_printf(ret, " %llu\n", (unsigned long long)count);
}

static void write_histogram(struct buf *ret, const struct row *row, const struct cell *cell)
{
    uint64_t below = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        char le[32];
        snprintf(le, sizeof(le), "%g", bounds_ms[i] / 1000);
        below += cell->buckets[i];
        write_bucket(ret, row, cell, le, below);
    }
    write_bucket(ret, row, cell, "+Inf", cell->count);
    buf_printf(ret, "quern_%s_sum", row->name);
    write_label(ret, row, cell, NULL);
    buf_printf(ret, " %.6f\n", cell->sum_ms / 1000);
    buf_printf(ret, "quern_%s_count", row->name);
    write_label(ret, row, cell, NULL);
    buf_printf(ret, " %llu\n", (unsigned long long)cell->count);
}

static const char *type_name(enum kind kind)
{
    return kind == COUNTER ? "counter" : kind == GAUGE ? "gauge" : "histogram";
}

static void write_series(struct buf *ret, enum metric metric)
{
    const struct row *row = &rows[metric];
    const struct series *series = &all[metric];
    if (row->label[0] == '\0')
        plain_cell(metric); /* a plain metric is there from the start, with 0 */
    if (series->count == 0)
        return;
    buf_printf(ret, "# HELP quern_%s %s\n", row->name, row->sentence);
    buf_printf(ret, "# TYPE quern_%s %s\n", row->name, type_name(row->kind));
    for (size_t i = 0; i < series->count; i++) {
        const struct cell *cell = &series->cells[i];
        if (row->kind == SECONDS) {
            write_histogram(ret, row, cell);
            continue;
        }
        buf_printf(ret, "quern_%s", row->name);
        write_label(ret, row, cell, NULL);
        buf_printf(ret, " %lld\n", (long long)cell->number);
    }
}

void metrics_write(const char *program, struct buf *ret)
{
    for (size_t i = 0; i < METRIC_COUNT; i++)
        if (strcmp(rows[i].program, "all") == 0 || strcmp(rows[i].program, program) == 0)
            write_series(ret, (enum metric)i);
}

void metrics_reference(struct buf *ret)
{
    buf_printf(ret, "| Metric | Type | Label | Program | What it says |\n"
                    "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < METRIC_COUNT; i++)
        buf_printf(ret, "| `quern_%s` | %s | %s | %s | %s |\n", rows[i].name,
                   type_name(rows[i].kind), rows[i].label, rows[i].program, rows[i].sentence);
}
