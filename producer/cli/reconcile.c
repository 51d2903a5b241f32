/*
 * reconcile.c -- see reconcile.h.
 *
 * Ours are the sums of usage_daily, by day, provider and model; theirs are the rows of bill.h. Both
 * meet under the day and the provider's name of the model (bill_key()), since several of our models
 * may be one of theirs. What a bill does not tell (tokens, or money) is not compared.
 *
 * Money: our cost is rounded to a millionth of a dollar per call and theirs is not, so half a
 * millionth for each call is no difference.
 */
#include "producer/cli/reconcile.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/map.h"
#include "common/data/json.h"
#include "producer/cli/bill.h"
#include "producer/cli/input.h"
#include "producer/cli/table.h"

enum { PAGE_MAX = 128 << 20 };

#define OURS_SQL                                                                                   \
    "SELECT to_char(day, 'YYYY-MM-DD'), model, sum(calls)::bigint,"                                \
    " sum(cancelled_calls + cut_calls + hedged_calls + ambiguous_calls)::bigint,"                  \
    " sum(unpriced_calls)::bigint, sum(input_tokens)::bigint, sum(output_tokens)::bigint,"         \
    " sum(cost_microusd)::bigint FROM usage_daily"                                                 \
    " WHERE day BETWEEN $1::date AND $2::date AND ($3::text IS NULL OR tenant = $3)"               \
    " AND ($4::text IS NULL OR user_id = $4) AND ($5::text IS NULL OR model = $5)"                 \
    " AND ($6::text IS NULL OR provider = $6) AND model <> '' GROUP BY 1, 2 ORDER BY 1, 2"

/* What both sides count. */
struct side {
    int64_t input, output;
    int64_t nanousd;
};

struct day_line {
    struct map_node node; /* by day and key */
    struct str day, model, key;
    int64_t calls, unsure, unpriced;
    struct side ours, theirs;
    bool equal;
};

struct reconcile {
    struct cli *cli;
    struct bill bill;
    struct str since, until, provider;
    double tolerance; /* share, of the larger side */
    struct map map;
    struct day_line **lines;
    size_t count, cap, differing;
    struct day_line total;
};

/* ---- the two sides ---- */

static bool read_files(struct reconcile *r, struct err *err)
{
    struct str path;
    bill_init(&r->bill, &r->cli->arena);
    for (size_t i = 0; (path = cli_option_nth(r->cli, "reconcile", i)).data; i++) {
        struct buf text;
        buf_init(&text, BILL_BYTES_MAX);
        bool good = input_read(path.data, &text, err) &&
                    bill_read(&r->bill, path, arena_str(&r->cli->arena, buf_str(&text)), err);
        buf_done(&text);
        if (!good)
            return false;
    }
    if (r->bill.count)
        return true;
    err_set(err, ERR_USAGE, "--reconcile FILE: nothing was used according to what was read");
    return false;
}

/* The days asked for; without, those from the bill's first to its last. */
static void read_days(struct reconcile *r)
{
    struct str first = r->bill.rows[0].day, last = first;
    for (size_t i = 1; i < r->bill.count; i++) {
        if (str_cmp(r->bill.rows[i].day, first) < 0)
            first = r->bill.rows[i].day;
        if (str_cmp(r->bill.rows[i].day, last) > 0)
            last = r->bill.rows[i].day;
    }
    r->since = cli_has(r->cli, "since") ? cli_option(r->cli, "since") : first;
    r->until = cli_has(r->cli, "until") ? cli_option(r->cli, "until") : last;
}

/* Its provider's name for a model of the configuration; one that is not there any more keeps its
 * own. */
static struct str provider_name(const struct reconcile *r, struct str model)
{
    const struct model_conf *models = r->cli->conf->models.items;
    for (size_t i = 0; i < r->cli->conf->models.count; i++)
        if (str_eq(models[i].name, model) && !str_empty(models[i].model))
            return models[i].model;
    return model;
}

static struct day_line *line_of(struct reconcile *r, struct str day, struct str model)
{
    struct arena *arena = &r->cli->arena;
    struct str key = bill_key(arena, model);
    struct str both = arena_printf(arena, STR_FMT " " STR_FMT, STR_ARG(day), STR_ARG(key));
    struct map_node *found = map_find(&r->map, both);
    if (found)
        return container_of(found, struct day_line, node);
    struct day_line *line = arena_new(arena, struct day_line);
    line->day = arena_str(arena, day);
    line->model = str_empty(model) ? STR("(no model)") : arena_str(arena, model);
    line->key = key;
    map_add(&r->map, &line->node, both);
    if (r->count == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 64;
        struct day_line **lines = arena_array(arena, struct day_line *, r->cap);
        if (r->count)
            memcpy(lines, r->lines, r->count * sizeof(struct day_line *));
        r->lines = lines;
    }
    r->lines[r->count++] = line;
    return line;
}

static void take_ours(const struct postgres_rows *rows, void *context)
{
    struct reconcile *r = context;
    for (size_t row = 0; row < rows->count; row++) {
        struct str model = provider_name(r, postgres_cell(rows, row, 1));
        struct day_line *line = line_of(r, postgres_cell(rows, row, 0), model);
        line->calls += postgres_cell_i64(rows, row, 2);
        line->unsure += postgres_cell_i64(rows, row, 3);
        line->unpriced += postgres_cell_i64(rows, row, 4);
        line->ours.input += postgres_cell_i64(rows, row, 5);
        line->ours.output += postgres_cell_i64(rows, row, 6);
        line->ours.nanousd += 1000 * postgres_cell_i64(rows, row, 7);
    }
}

static bool ask_ours(struct reconcile *r, struct err *err)
{
    struct cli *cli = r->cli;
    struct str params[6] = {r->since,
                            r->until,
                            cli_option(cli, "tenant"),
                            cli_option(cli, "user"),
                            cli_option(cli, "model"),
                            r->provider};
    struct postgres_session *session = cli_postgres(cli, CLI_TIMEOUT_MS, err);
    bool good = session && postgres_session_query(session, OURS_SQL, params, 6, take_ours, r, err);
    postgres_session_close(session);
    return good;
}

static void take_theirs(struct reconcile *r)
{
    struct arena *arena = &r->cli->arena;
    bool one = cli_has(r->cli, "model");
    struct str only = bill_key(arena, provider_name(r, cli_option(r->cli, "model")));
    for (size_t i = 0; i < r->bill.count; i++) {
        const struct bill_row *row = &r->bill.rows[i];
        if (str_cmp(row->day, r->since) < 0 || str_cmp(row->day, r->until) > 0 ||
            (one && !str_eq(bill_key(arena, row->model), only)))
            continue;
        struct side *theirs = &line_of(r, row->day, row->model)->theirs;
        theirs->input += row->input;
        theirs->output += row->output;
        theirs->nanousd += row->nanousd;
    }
}

/* ---- comparing ---- */

static bool is_near(const struct reconcile *r, int64_t ours, int64_t theirs, double rounding)
{
    double larger = fmax(fabs((double)ours), fabs((double)theirs));
    return fabs((double)theirs - (double)ours) <= r->tolerance * larger + rounding;
}

static void judge(const struct reconcile *r, struct day_line *line)
{
    const struct side *ours = &line->ours, *theirs = &line->theirs;
    line->equal = true;
    if (r->bill.has_tokens)
        line->equal = is_near(r, ours->input, theirs->input, 0) &&
                      is_near(r, ours->output, theirs->output, 0);
    if (r->bill.has_money)
        line->equal &=
            is_near(r, ours->nanousd, theirs->nanousd, 500.0 * (double)(line->calls + 1));
}

static void add_up(struct day_line *total, const struct day_line *line)
{
    total->calls += line->calls;
    total->unsure += line->unsure;
    total->unpriced += line->unpriced;
    total->ours.input += line->ours.input;
    total->ours.output += line->ours.output;
    total->ours.nanousd += line->ours.nanousd;
    total->theirs.input += line->theirs.input;
    total->theirs.output += line->theirs.output;
    total->theirs.nanousd += line->theirs.nanousd;
}

static int by_day_and_model(const void *a, const void *b)
{
    const struct day_line *x = *(struct day_line *const *)a, *y = *(struct day_line *const *)b;
    int days = str_cmp(x->day, y->day);
    return days ? days : str_cmp(x->key, y->key);
}

static void compare(struct reconcile *r)
{
    r->total.day = STR("total");
    r->total.model = STR("");
    for (size_t i = 0; i < r->count; i++) {
        judge(r, r->lines[i]);
        add_up(&r->total, r->lines[i]);
        r->differing += !r->lines[i]->equal;
    }
    r->total.equal = !r->differing;
    if (r->count)
        qsort(r->lines, r->count, sizeof(struct day_line *), by_day_and_model);
}

/* ---- what is printed ---- */

static int64_t micro(int64_t nanousd)
{
    return (nanousd + (nanousd < 0 ? -500 : 500)) / 1000;
}

static void add_dollars(struct table *table, int64_t nanousd)
{
    int64_t n = micro(nanousd);
    table_printf(table, "%s%lld.%06lld", n < 0 ? "-" : "", (long long)(llabs(n) / 1000000),
                 (long long)(llabs(n) % 1000000));
}

static void add_tokens(struct table *table, int64_t ours, int64_t theirs)
{
    table_printf(table, "%lld", (long long)ours);
    table_printf(table, "%lld", (long long)theirs);
    table_printf(table, "%lld", (long long)(theirs - ours));
}

static void add_line(const struct reconcile *r, const struct day_line *line, struct table *table)
{
    table_add(table, line->day);
    table_add(table, line->model);
    table_printf(table, "%lld", (long long)line->calls);
    table_printf(table, "%lld", (long long)line->unsure);
    if (r->bill.has_tokens) {
        add_tokens(table, line->ours.input, line->theirs.input);
        add_tokens(table, line->ours.output, line->theirs.output);
    }
    if (r->bill.has_money) {
        add_dollars(table, line->ours.nanousd);
        add_dollars(table, line->theirs.nanousd);
        add_dollars(table, line->theirs.nanousd - line->ours.nanousd);
    }
    table_add(table, line->equal ? STR("equal") : STR("differs"));
}

static void write_table(const struct reconcile *r, struct buf *ret)
{
    static const char *const tokens[] = {"input",       "input_bill",  "input_diff", "output",
                                         "output_bill", "output_diff", NULL};
    static const char *const money[] = {"cost_usd", "cost_bill", "cost_diff", NULL};
    const char *titles[16] = {"day", "model", "calls", "unsure"};
    size_t count = 4;
    struct table table;
    for (size_t i = 0; r->bill.has_tokens && tokens[i]; i++)
        titles[count++] = tokens[i];
    for (size_t i = 0; r->bill.has_money && money[i]; i++)
        titles[count++] = money[i];
    titles[count] = "verdict";
    table_init(&table, &r->cli->arena, titles);
    for (size_t i = 0; i < r->count; i++)
        add_line(r, r->lines[i], &table);
    if (r->cli->csv) {
        table_csv(&table, ret);
        return;
    }
    add_line(r, &r->total, &table);
    table_text(&table, r->cli->color, ret);
}

static void write_pair(struct json_writer *w, const char *name, int64_t ours, int64_t theirs)
{
    json_key(w, name);
    json_open(w, '{');
    json_key(w, "ours");
    json_int(w, ours);
    json_key(w, "bill");
    json_int(w, theirs);
    json_key(w, "difference");
    json_int(w, theirs - ours);
    json_close(w, '}');
}

static void write_line(const struct reconcile *r, struct json_writer *w,
                       const struct day_line *line, bool is_total)
{
    json_open(w, '{');
    if (!is_total) {
        json_key(w, "day");
        json_str(w, line->day);
        json_key(w, "model");
        json_str(w, line->model);
    }
    json_key(w, "calls");
    json_int(w, line->calls);
    json_key(w, "unsure");
    json_int(w, line->unsure);
    json_key(w, "unpriced");
    json_int(w, line->unpriced);
    if (r->bill.has_tokens) {
        write_pair(w, "input_tokens", line->ours.input, line->theirs.input);
        write_pair(w, "output_tokens", line->ours.output, line->theirs.output);
    }
    if (r->bill.has_money)
        write_pair(w, "cost_microusd", micro(line->ours.nanousd), micro(line->theirs.nanousd));
    json_key(w, "equal");
    json_bool(w, line->equal);
    json_close(w, '}');
}

static void write_json(const struct reconcile *r, struct buf *ret)
{
    struct json_writer w = {.out = ret, .pretty = true};
    json_open(&w, '{');
    json_key(&w, "rows");
    json_open(&w, '[');
    for (size_t i = 0; i < r->count; i++)
        write_line(r, &w, r->lines[i], false);
    json_close(&w, ']');
    json_key(&w, "total");
    write_line(r, &w, &r->total, true);
    json_close(&w, '}');
    buf_add_char(ret, '\n');
}

static void say_findings(const struct reconcile *r)
{
    if (r->differing)
        cli_say("%zu of %zu rows differ (bill minus ours); docs/ledger.md says what to look at",
                r->differing, r->count);
    if (r->total.unsure)
        cli_say("%lld call(s) were cancelled, cut, overtaken or of unknown fate: only the bill says"
                " whether they were charged",
                (long long)r->total.unsure);
    if (r->bill.has_money && r->total.unpriced)
        cli_say("%lld call(s) have tokens and no price: they are not in our cost; see prices_file",
                (long long)r->total.unpriced);
    if (!r->bill.has_tokens)
        cli_say("the bill tells no tokens: only money was compared");
    if (!r->bill.has_money)
        cli_say("the bill tells no costs: only tokens were compared");
}

static int print(const struct reconcile *r)
{
    struct buf text;
    buf_init(&text, PAGE_MAX);
    if (r->cli->json)
        write_json(r, &text);
    else
        write_table(r, &text);
    int code = cli_out(&text);
    buf_done(&text);
    say_findings(r);
    return code ? code : r->differing ? 1 : 0;
}

/* ---- the command ---- */

static bool read_options(struct reconcile *r, struct err *err)
{
    struct cli *cli = r->cli;
    double percent = 0;
    const char *wrong = NULL;
    if (!cli_has(cli, "reconcile"))
        wrong = "--tolerance is of --reconcile FILE, which is not there";
    else if (cli_has(cli, "by"))
        wrong = "--reconcile compares by day and model: leave --by away";
    else if (cli_has(cli, "since") && !bill_is_day(cli_option(cli, "since")))
        wrong = "with --reconcile --since must be a day (2026-01-31)";
    else if (cli_has(cli, "until") && !bill_is_day(cli_option(cli, "until")))
        wrong = "--until must be a day (2026-01-31)";
    if (wrong)
        err_set(err, ERR_USAGE, "%s", wrong);
    if (wrong || !cli_option_real(cli, "tolerance", 0, 100, &percent, err))
        return false;
    r->tolerance = percent / 100;
    return true;
}

int run_reconcile(struct cli *cli)
{
    struct reconcile *r = arena_new(&cli->arena, struct reconcile);
    struct err err = {0};
    r->cli = cli;
    map_init(&r->map);
    bool good = read_options(r, &err) && read_files(r, &err);
    if (good) {
        read_days(r);
        r->provider =
            cli_has(cli, "provider") ? cli_option(cli, "provider") : str_of(r->bill.vendor);
        good = ask_ours(r, &err);
    }
    if (good) {
        take_theirs(r);
        compare(r);
    }
    int code = good ? print(r) : cli_fail(cli, &err);
    map_done(&r->map);
    return code;
}
