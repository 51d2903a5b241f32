/*
 * usage.c -- `quern usage`: what was asked, called, used and paid, summed by day, tenant, user,
 * model or provider.
 *
 * It reads usage_daily, where each transaction of the aggregator has added what it stored, so the
 * totals are the same however they are grouped, and the same as those of inference_runs. A request
 * counts for the model that answered it, a call for the model that was called.
 */
#include "common/app/app.h"
#include "common/data/json.h"
#include "producer/cli/bill.h"
#include "producer/cli/cli.h"
#include "producer/cli/reconcile.h"
#include "producer/cli/table.h"

enum { PAGE_BYTES_MAX = 128 << 20, GROUPS = 5, SUMS = 16, DAYS_MAX = 36500, DAYS = 30 };

static const char *const group_names[GROUPS] = {"day", "tenant", "user", "model", "provider"};

/* Columns of the answer behind the groups. OK is the rest of the calls. */
enum sum {
    REQUESTS,
    CALLS,
    CALLS_OK,
    FAILED,
    CANCELLED,
    CUT,
    LATE,
    HEDGED,
    AMBIGUOUS,
    UNPRICED,
    INPUT,
    CACHED,
    WRITTEN,
    OUTPUT,
    REASONING,
    COST
};
static const char *const sum_names[SUMS] = {"requests",
                                            "calls",
                                            "ok",
                                            "failed",
                                            "cancelled",
                                            "cut",
                                            "late",
                                            "hedged",
                                            "ambiguous",
                                            "unpriced",
                                            "input_tokens",
                                            "cached_input_tokens",
                                            "cache_write_tokens",
                                            "output_tokens",
                                            "reasoning_tokens",
                                            "cost_microusd"};

#define USAGE_SQL                                                                                  \
    "SELECT CASE WHEN $1::boolean THEN to_char(day, 'YYYY-MM-DD') END,"                            \
    " CASE WHEN $2::boolean THEN tenant END, CASE WHEN $3::boolean THEN user_id END,"              \
    " CASE WHEN $4::boolean THEN model END, CASE WHEN $5::boolean THEN provider END,"              \
    " sum(requests)::bigint, sum(calls)::bigint,"                                                  \
    " sum(calls - failed_calls - cancelled_calls - cut_calls - late_calls - hedged_calls"          \
    " - ambiguous_calls)::bigint, sum(failed_calls)::bigint, sum(cancelled_calls)::bigint,"        \
    " sum(cut_calls)::bigint, sum(late_calls)::bigint, sum(hedged_calls)::bigint,"                 \
    " sum(ambiguous_calls)::bigint, sum(unpriced_calls)::bigint, sum(input_tokens)::bigint,"       \
    " sum(cached_input_tokens)::bigint, sum(cache_write_tokens)::bigint,"                          \
    " sum(output_tokens)::bigint, sum(reasoning_tokens)::bigint, sum(cost_microusd)::bigint"       \
    " FROM usage_daily"                                                                            \
    " WHERE day >= coalesce($6::date, (now() AT TIME ZONE 'UTC')::date + 1 - $7::integer)"         \
    " AND ($8::date IS NULL OR day <= $8::date) AND ($9::text IS NULL OR tenant = $9)"             \
    " AND ($10::text IS NULL OR user_id = $10) AND ($11::text IS NULL OR model = $11)"             \
    " AND ($12::text IS NULL OR provider = $12) GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"

struct usage_page {
    struct cli *cli;
    bool by[GROUPS];
    struct str since, until, days; /* texts of the statement */
    size_t count, cap;
    struct usage_line {
        struct str groups[GROUPS];
        int64_t sums[SUMS];
    } * lines, total;
};

/* ---- what is asked ---- */

static bool read_by(struct usage_page *page, struct err *err)
{
    struct str list = cli_has(page->cli, "by") ? cli_option(page->cli, "by") : STR("day"), word;
    while (list.data && str_split(&list, ',', &word)) {
        size_t i = 0;
        while (i < GROUPS && !str_is(word, group_names[i]))
            i++;
        if (i == GROUPS) {
            err_set(err, ERR_USAGE,
                    "--by takes day, tenant, user, model and provider, several with commas between"
                    " them, not '" STR_FMT "'",
                    STR_ARG(word));
            return false;
        }
        page->by[i] = true;
    }
    return true;
}

static bool read_days(struct usage_page *page, struct err *err)
{
    struct cli *cli = page->cli;
    struct str since = cli_option(cli, "since"), until = cli_option(cli, "until");
    int64_t days = DAYS;
    bool back = str_ends(since, STR("d")) &&
                str_to_i64(str_slice(since, 0, since.len - 1), 1, DAYS_MAX, &days);
    page->days = arena_printf(&cli->arena, "%lld", (long long)days);
    page->since = back ? (struct str){0} : since;
    page->until = until;
    if (cli_has(cli, "since") && !back && !bill_is_day(since))
        err_set(err, ERR_USAGE,
                "--since must be a day (2026-01-31) or so many days back (7d), is '" STR_FMT "'",
                STR_ARG(since));
    else if (cli_has(cli, "until") && !bill_is_day(until))
        err_set(err, ERR_USAGE, "--until must be a day (2026-01-31), is '" STR_FMT "'",
                STR_ARG(until));
    else
        return true;
    return false;
}

static void take_rows(const struct postgres_rows *rows, void *context)
{
    struct usage_page *page = context;
    page->lines = arena_array(&page->cli->arena, struct usage_line, rows->count + 1);
    page->count = rows->count;
    for (size_t row = 0; row < rows->count; row++) {
        struct usage_line *line = &page->lines[row];
        for (size_t i = 0; i < GROUPS; i++)
            line->groups[i] = arena_str(&page->cli->arena, postgres_cell(rows, row, i));
        for (size_t i = 0; i < SUMS; i++) {
            line->sums[i] = postgres_cell_i64(rows, row, GROUPS + i);
            page->total.sums[i] += line->sums[i];
        }
    }
}

static bool ask(struct usage_page *page, struct err *err)
{
    struct cli *cli = page->cli;
    struct str params[12];
    for (size_t i = 0; i < GROUPS; i++)
        params[i] = page->by[i] ? STR("true") : STR("false");
    params[5] = page->since;
    params[6] = page->days;
    params[7] = page->until;
    params[8] = cli_option(cli, "tenant");
    params[9] = cli_option(cli, "user");
    params[10] = cli_option(cli, "model");
    params[11] = cli_option(cli, "provider");
    struct postgres_session *session = cli_postgres(cli, CLI_TIMEOUT_MS, err);
    bool good =
        session && postgres_session_query(session, USAGE_SQL, params, 12, take_rows, page, err);
    postgres_session_close(session);
    return good;
}

/* ---- what is printed ---- */

static struct str dollars(struct arena *arena, int64_t microusd)
{
    return arena_printf(arena, "%lld.%06lld", (long long)(microusd / 1000000),
                        (long long)(microusd % 1000000));
}

/* For people, columns of what never happened are left out. */
static bool is_shown(const struct usage_page *page, size_t sum)
{
    bool rare = (sum >= FAILED && sum <= UNPRICED) || sum == WRITTEN || sum == REASONING;
    return page->cli->csv || !rare || page->total.sums[sum];
}

static void add_line(const struct usage_page *page, const struct usage_line *line, bool is_total,
                     struct table *table)
{
    struct str total = STR("total");
    for (size_t i = 0; i < GROUPS; i++) {
        if (!page->by[i])
            continue;
        table_add(table, is_total ? total : line->groups[i]);
        total = STR("");
    }
    for (size_t i = 0; i < SUMS; i++)
        if (i == COST)
            table_add(table, dollars(table->arena, line->sums[i]));
        else if (is_shown(page, i))
            table_printf(table, "%lld", (long long)line->sums[i]);
}

static void write_table(const struct usage_page *page, struct buf *ret)
{
    const char *titles[GROUPS + SUMS + 1] = {0};
    size_t count = 0;
    struct table table;
    for (size_t i = 0; i < GROUPS; i++)
        if (page->by[i])
            titles[count++] = group_names[i];
    for (size_t i = 0; i < SUMS; i++)
        if (is_shown(page, i))
            titles[count++] = i == COST ? "cost_usd" : sum_names[i];
    table_init(&table, &page->cli->arena, titles);
    for (size_t i = 0; i < page->count; i++)
        add_line(page, &page->lines[i], false, &table);
    if (page->cli->csv) {
        table_csv(&table, ret);
        return;
    }
    add_line(page, &page->total, true, &table);
    table_text(&table, page->cli->color, ret);
}

static void write_sums(struct json_writer *w, const struct usage_line *line)
{
    for (size_t i = 0; i < SUMS; i++) {
        json_key(w, sum_names[i]);
        json_int(w, line->sums[i]);
    }
}

static void write_json(const struct usage_page *page, struct buf *ret)
{
    struct json_writer w = {.out = ret, .pretty = true};
    json_open(&w, '{');
    json_key(&w, "rows");
    json_open(&w, '[');
    for (size_t row = 0; row < page->count; row++) {
        json_open(&w, '{');
        for (size_t i = 0; i < GROUPS; i++) {
            if (!page->by[i])
                continue;
            json_key(&w, group_names[i]);
            json_str(&w, page->lines[row].groups[i]);
        }
        write_sums(&w, &page->lines[row]);
        json_close(&w, '}');
    }
    json_close(&w, ']');
    json_key(&w, "total");
    json_open(&w, '{');
    write_sums(&w, &page->total);
    json_close(&w, '}');
    json_close(&w, '}');
    buf_add_char(ret, '\n');
}

/* What the sums do not have in them must not be overlooked. */
static void say_doubts(const struct usage_page *page)
{
    const int64_t *total = page->total.sums;
    long long unsure = (long long)(total[CANCELLED] + total[CUT] + total[AMBIGUOUS]);
    if (total[UNPRICED])
        cli_say("%lld call(s) have tokens and no price: they are not in the cost; see prices_file",
                (long long)total[UNPRICED]);
    if (unsure)
        cli_say(
            "%lld call(s) were cancelled, cut or of unknown fate: their provider may have charged"
            " more tokens than it told",
            unsure);
}

static int print(const struct usage_page *page)
{
    struct buf text;
    buf_init(&text, PAGE_BYTES_MAX);
    if (page->cli->json)
        write_json(page, &text);
    else
        write_table(page, &text);
    int code = cli_out(&text);
    buf_done(&text);
    say_doubts(page);
    return code;
}

int run_usage(struct cli *cli)
{
    struct usage_page *page = arena_new(&cli->arena, struct usage_page);
    struct err err = {0};
    if (cli_has(cli, "reconcile") || cli_has(cli, "tolerance"))
        return run_reconcile(cli);
    *page = (struct usage_page){.cli = cli};
    if (!read_by(page, &err) || !read_days(page, &err) || !ask(page, &err))
        return cli_fail(cli, &err);
    return print(page);
}
