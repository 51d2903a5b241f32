/*
 * test_metrics.c -- counting, and the page Prometheus reads: every line of it is parsed here by the
 * rules of the text format 0.0.4.
 */
#include "common/app/metrics.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct buf page;

static int set_up(void **state)
{
    (void)state;
    metric_reset_all();
    buf_init(&page, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    metric_reset_all();
    buf_done(&page);
    return 0;
}

static void write_page(const char *program)
{
    buf_clear(&page);
    metrics_write(program, &page);
}

static void assert_has(const char *line)
{
    if (!strstr(page.data, line))
        fail_msg("'%s' is not in:\n%s", line, page.data);
}

static void counters_add_up_and_gauges_are_set(void **state)
{
    (void)state;
    metric_add(METRIC_records_total, 2);
    metric_add(METRIC_records_total, 3);
    metric_set(METRIC_requests_in_flight, 7);
    metric_set(METRIC_requests_in_flight, 4);
    assert_int_equal(metric_get(METRIC_records_total), 5);
    write_page("worker");
    assert_has("# TYPE quern_records_total counter\nquern_records_total 5\n");
    assert_has("# TYPE quern_requests_in_flight gauge\nquern_requests_in_flight 4\n");
}

static void plain_metrics_are_there_before_anything_happened(void **state)
{
    (void)state;
    write_page("worker");
    assert_has("\nquern_records_total 0\n");
    assert_null(strstr(page.data, "quern_calls_total"));
}

static void pages_hold_the_programs_own_rows_and_the_common_ones(void **state)
{
    (void)state;
    write_page("aggregator");
    assert_has("quern_groups_open 0\n");
    assert_has("quern_loop_turns_total 0\n");
    assert_null(strstr(page.data, "quern_records_total"));
}

static void label_values_are_escaped(void **state)
{
    (void)state;
    metric_add_for(METRIC_calls_total, STR("a\"b\\c\nd"), 1);
    metric_add_for(METRIC_calls_total, STR("bad \xff byte"), 1);
    metric_add_for(METRIC_calls_total, STR(""), 1);
    write_page("worker");
    assert_has("quern_calls_total{model=\"a\\\"b\\\\c\\nd\"} 1\n");
    assert_has("quern_calls_total{model=\"invalid\"} 1\n");
    assert_has("quern_calls_total{model=\"\"} 1\n");
}

static void label_values_beyond_the_bound_count_as_other(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < METRIC_LABELS_MAX + 10; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        metric_add_for(METRIC_calls_total, str_of(name), 1);
    }
    metric_add_for(METRIC_calls_total, STR("m3"), 1);
    write_page("worker");
    assert_has("{model=\"other\"} 10\n");
    assert_has("{model=\"m3\"} 2\n");
    assert_null(strstr(page.data, "\"m70\""));
}

static void histogram_buckets_are_cumulative_seconds(void **state)
{
    (void)state;
    metric_observe_ms_for(METRIC_call_seconds, STR("m"), 10); /* on the bound: inside */
    metric_observe_ms_for(METRIC_call_seconds, STR("m"), 11);
    metric_observe_ms_for(METRIC_call_seconds, STR("m"), 1e7);
    write_page("worker");
    assert_has("# TYPE quern_call_seconds histogram\n");
    assert_has("quern_call_seconds_bucket{model=\"m\",le=\"0.01\"} 1\n");
    assert_has("quern_call_seconds_bucket{model=\"m\",le=\"0.02\"} 2\n");
    assert_has("quern_call_seconds_bucket{model=\"m\",le=\"+Inf\"} 3\n");
    assert_has("quern_call_seconds_sum{model=\"m\"} 10000.021");
    assert_has("quern_call_seconds_count{model=\"m\"} 3\n");
    metric_observe_ms(METRIC_transaction_seconds, 5);
    write_page("aggregator");
    assert_has("quern_transaction_seconds_bucket{le=\"0.01\"} 1\n");
    assert_has("quern_transaction_seconds_count 1\n");
}

/* A name of the format; returns what follows it. */
static const char *skip_name(const char *at)
{
    assert_true(isalpha((unsigned char)*at) || *at == '_');
    while (isalnum((unsigned char)*at) || *at == '_' || *at == ':')
        at++;
    return at;
}

static const char *skip_labels(const char *at)
{
    if (*at != '{')
        return at;
    do {
        at = skip_name(at + 1);
        assert_int_equal(*at++, '=');
        assert_int_equal(*at++, '"');
        for (; *at != '"'; at++) {
            assert_int_not_equal(*at, '\n');
            at += *at == '\\';
        }
        at++;
    } while (*at == ',');
    assert_int_equal(*at++, '}');
    return at;
}

static void every_line_obeys_the_format(void **state)
{
    (void)state;
    metric_add_for(METRIC_calls_total, STR("a\"}b, c=\"\\"), 1);
    metric_observe_ms_for(METRIC_call_seconds, STR("x"), 0.5);
    metric_observe_ms_for(METRIC_call_seconds, STR("y"), 50);
    write_page("worker");
    struct str rest = buf_str(&page), line;
    char family[128] = "";
    assert_int_equal(page.data[page.len - 1], '\n');
    while (str_split(&rest, '\n', &line) && line.len) {
        char text[512];
        snprintf(text, sizeof(text), STR_FMT, STR_ARG(line));
        if (sscanf(text, "# HELP %127s ", family) == 1)
            continue;
        if (strncmp(text, "# TYPE ", 7) == 0) {
            assert_memory_equal(text + 7, family, strlen(family)); /* right behind its HELP */
            const char *type = text + 8 + strlen(family);
            size_t len = strlen(family);
            bool total = len > 6 && strcmp(family + len - 6, "_total") == 0;
            assert_true(!strcmp(type, "counter") || !strcmp(type, "gauge") ||
                        !strcmp(type, "histogram"));
            assert_int_equal(total, !strcmp(type, "counter"));
            continue;
        }
        assert_memory_equal(text, family, strlen(family)); /* families are not mixed */
        const char *at = skip_labels(skip_name(text));
        char *end;
        assert_int_equal(*at, ' ');
        strtod(at + 1, &end);
        assert_true(end != at + 1 && *end == '\0');
    }
}

static void reference_lists_every_metric(void **state)
{
    (void)state;
    metrics_reference(&page);
    size_t lines = 0;
    for (size_t i = 0; i < page.len; i++)
        lines += page.data[i] == '\n';
    assert_int_equal(lines, METRIC_COUNT + 2);
    assert_has("| `quern_call_seconds` | histogram | model | worker |");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(counters_add_up_and_gauges_are_set),
        T(plain_metrics_are_there_before_anything_happened),
        T(pages_hold_the_programs_own_rows_and_the_common_ones),
        T(label_values_are_escaped),
        T(label_values_beyond_the_bound_count_as_other),
        T(histogram_buckets_are_cumulative_seconds),
        T(every_line_obeys_the_format),
        T(reference_lists_every_metric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
