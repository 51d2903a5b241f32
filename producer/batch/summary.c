/*
 * summary.c -- see summary.h.
 */
#include "producer/batch/summary.h"

#include "common/data/json.h"

enum { PAGE_BYTES_MAX = 1 << 20 };

static void add_number(struct json_writer *w, const char *key, int64_t n)
{
    json_key(w, key);
    json_int(w, n);
}

static void write_json(const struct batch *batch, int64_t took_ms, struct buf *ret)
{
    const struct stats *stats = &batch->stats;
    struct json_writer w = {.out = ret, .pretty = true};
    json_open(&w, '{');
    json_key(&w, "batch");
    json_str(&w, batch->options.defaults.batch_id);
    json_key(&w, "output");
    json_str(&w, str_of(batch->options.output));
    add_number(&w, "lines", batch->total);
    add_number(&w, "done_before", batch->before.lines);
    add_number(&w, "failed_before", batch->before.failed);
    add_number(&w, "answered", stats->answered);
    add_number(&w, "failed", stats->failed);
    add_number(&w, "unanswered", (int64_t)batch->asks.count);
    json_key(&w, "failures");
    json_open(&w, '{');
    for (size_t i = 0; i < stats->code_count; i++) {
        json_key_str(&w, str_of(stats->codes[i].name));
        json_int(&w, stats->codes[i].count);
    }
    json_close(&w, '}');
    add_number(&w, "latency_p50_ms", stats_percentile(stats, 0.5));
    add_number(&w, "latency_p99_ms", stats_percentile(stats, 0.99));
    add_number(&w, "input_tokens", stats->input_tokens);
    add_number(&w, "output_tokens", stats->output_tokens);
    json_key(&w, "cost_usd");
    if (stats->cost_known)
        json_real(&w, (double)stats->cost_microusd / 1e6);
    else
        json_null(&w);
    add_number(&w, "took_ms", took_ms);
    json_close(&w, '}');
    buf_add_char(ret, '\n');
}

static void row(struct table *table, const char *what, struct str value)
{
    table_add(table, str_of(what));
    table_add(table, value);
}

static void write_table(const struct cli *cli, const struct batch *batch, int64_t took_ms,
                        struct buf *ret)
{
    const struct stats *stats = &batch->stats;
    struct table table;
    struct arena arena;
    arena_init(&arena, NULL, PAGE_BYTES_MAX);
    table_init(&table, &arena, (const char *const[]){"batch", batch->options.output, NULL});
    row(&table, "lines", table_count(&arena, batch->total));
    if (batch->before.lines > 0)
        row(&table, "done before", table_count(&arena, batch->before.lines));
    row(&table, "answered", table_count(&arena, stats->answered));
    row(&table, "failed", table_count(&arena, stats->failed));
    for (size_t i = 0; i < stats->code_count; i++) {
        table_printf(&table, "  %s", stats->codes[i].name);
        table_add(&table, table_count(&arena, stats->codes[i].count));
    }
    if (batch->asks.count > 0)
        row(&table, "unanswered", table_count(&arena, (int64_t)batch->asks.count));
    row(&table, "latency p50", table_ms(&arena, stats_percentile(stats, 0.5)));
    row(&table, "latency p99", table_ms(&arena, stats_percentile(stats, 0.99)));
    row(&table, "tokens in", table_count(&arena, stats->input_tokens));
    row(&table, "tokens out", table_count(&arena, stats->output_tokens));
    table_add(&table, STR("cost"));
    if (stats->cost_known)
        table_printf(&table, "$%.6f", (double)stats->cost_microusd / 1e6);
    else
        table_add(&table, STR("not known: no prices configured"));
    row(&table, "took", table_ms(&arena, took_ms));
    table_text(&table, cli->color, ret);
    arena_done(&arena);
}

int summary_print(const struct cli *cli, const struct batch *batch, int64_t took_ms)
{
    struct buf text;
    buf_init(&text, PAGE_BYTES_MAX);
    if (cli->json)
        write_json(batch, took_ms, &text);
    else
        write_table(cli, batch, took_ms, &text);
    int code = cli_out(&text);
    buf_done(&text);
    return code;
}
