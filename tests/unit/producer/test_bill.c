/*
 * Goal: each form of a bill becomes the same rows, and what cannot be read is said with file, line
 * and what to do. Method: tables of texts; a row is written as "day model input output
 * nanodollars".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "producer/cli/bill.h"

static bool read_text(const char *text, struct arena *arena, struct buf *ret, struct err *err)
{
    struct bill bill;
    bill_init(&bill, arena);
    bool good = bill_read(&bill, STR("the-file"), str_of(text), err);
    for (size_t i = 0; good && i < bill.count; i++)
        buf_printf(ret, STR_FMT " " STR_FMT " %lld %lld %lld\n", STR_ARG(bill.rows[i].day),
                   STR_ARG(bill.rows[i].model), (long long)bill.rows[i].input,
                   (long long)bill.rows[i].output, (long long)bill.rows[i].nanousd);
    buf_printf(ret, "%s%s%s", bill.vendor ? bill.vendor : "anybody's",
               bill.has_tokens ? ", tokens" : "", bill.has_money ? ", money" : "");
    return good;
}

/* clang-format off */
static const struct {
    const char *name, *text, *want;
} good_bills[] = {
    {"ours", "day,model,input_tokens,output_tokens,cost\n2026-11-01,gpt-x,120,7,0.0015\n",
     "2026-11-01 gpt-x 120 7 1500000\nanybody's, tokens, money"},
    {"other order, other columns, CRLF, quotes, a byte order mark, no last line end",
     "\xef\xbb\xbfoutput_tokens,\"note\",Model,Day,input_tokens\r\n7,\"one, \"\"two\"\"\nthree\",gpt-x,2026-11-01,120\r\n\r\n8,,y,2026-11-02,9.0",
     "2026-11-01 gpt-x 120 7 0\n2026-11-02 y 9 8 0\nanybody's, tokens"},
    {"tabs", "day\tmodel\tcost\n2026-11-01\tm\t1e-05\n", "2026-11-01 m 0 0 10000\nanybody's, money"},
    {"OpenAI's usage export; a day without use",
     "start_time,end_time,start_time_iso,end_time_iso,num_model_requests,model,input_tokens,output_tokens,input_cached_tokens\n"
     "1759622400,1759708800,2025-10-05T00:00:00+00:00,2025-10-06T00:00:00+00:00,3,gpt-5-mini-2025-08-07,100,20,60\n"
     "1759708800,1759795200,2025-10-06T00:00:00+00:00,2025-10-07T00:00:00+00:00,,,,,\n",
     "2025-10-05 gpt-5-mini-2025-08-07 100 20 0\nopenai, tokens"},
    {"OpenAI's usage export without days in words", "start_time,model,input_tokens\n1759622400,m,5\n",
     "2025-10-05 m 5 0 0\nopenai, tokens"},
    {"OpenAI's cost export",
     "start_time,start_time_iso,amount_value,amount_currency,line_item\n"
     "1759622400,2025-10-05T00:00:00+00:00,0.8958740000000000,usd,\"gpt-5-mini-2025-08-07, input\"\n"
     "1759622400,2025-10-05T00:00:00+00:00,0.1,usd,\"gpt-5-mini-2025-08-07, output\"\n"
     "1759708800,2025-10-06T00:00:00+00:00,,,\n",
     "2025-10-05 gpt-5-mini-2025-08-07 0 0 895874000\n2025-10-05 gpt-5-mini-2025-08-07 0 0 100000000\nopenai, money"},
    {"Anthropic's usage export",
     "usage_date_utc,model_version,api_key,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,"
     "usage_input_tokens_cache_read,usage_output_tokens\n2026-08-05,claude-x,app,46981,15969,1,2,16932\n",
     "2026-08-05 claude-x 62953 16932 0\nanthropic, tokens"},
    {"Anthropic's cost export",
     "usage_date_utc,model,token_type,cost_usd,list_price_usd\n2026-08-04,Claude Haiku 4.5,input_no_cache,0.05,0.05\n",
     "2026-08-04 Claude Haiku 4.5 0 0 50000000\nanthropic, money"},
    {"OpenAI's usage API",
     "{\"object\":\"page\",\"data\":[{\"object\":\"bucket\",\"start_time\":1759622400,\"end_time\":1759708800,\"results\":[\n"
     "{\"object\":\"organization.usage.completions.result\",\"input_tokens\":100,\"input_cached_tokens\":60,\"output_tokens\":20,\"model\":\"m\"}]},\n"
     "{\"object\":\"bucket\",\"start_time\":1759708800,\"results\":[]}],\"has_more\":false,\"next_page\":null}",
     "2025-10-05 m 100 20 0\nopenai, tokens"},
    {"OpenAI's cost API, two pages",
     "{\"data\":[{\"start_time\":1759622400,\"results\":[{\"amount\":{\"value\":0.06,\"currency\":\"usd\"},\"line_item\":\"m, input\"}]}],\"has_more\":true}\n"
     "{\"data\":[{\"start_time\":1759708800,\"results\":[{\"amount\":{\"value\":\"0.01\",\"currency\":\"usd\"},\"line_item\":\"m, input\"}]}],\"has_more\":false}\n",
     "2025-10-05 m 0 0 60000000\n2025-10-06 m 0 0 10000000\nopenai, money"},
    {"Anthropic's usage API",
     "{\"data\":[{\"starting_at\":\"2026-08-05T00:00:00Z\",\"results\":[{\"uncached_input_tokens\":10,\"cache_creation\":"
     "{\"ephemeral_1h_input_tokens\":1,\"ephemeral_5m_input_tokens\":2},\"cache_read_input_tokens\":3,\"output_tokens\":4,\"model\":\"c\"}]}],\"has_more\":false}",
     "2026-08-05 c 16 4 0\nanthropic, tokens"},
    {"Anthropic's cost API counts in cents",
     "{\"data\":[{\"starting_at\":\"2026-08-05T00:00:00Z\",\"results\":[{\"amount\":\"123.45\",\"currency\":\"USD\",\"model\":\"c\"}]}]}",
     "2026-08-05 c 0 0 1234500000\nanthropic, money"},
    {"rows as lines of JSON",
     "{\"day\":\"2026-11-01\",\"model\":\"m\",\"input_tokens\":1,\"output_tokens\":2,\"cost\":0.5}\n\n{\"day\":\"2026-11-02\",\"model\":\"m\",\"cost\":\"1\"}\n",
     "2026-11-01 m 1 2 500000000\n2026-11-02 m 0 0 1000000000\nanybody's, tokens, money"},
    {"rows as a list", "[\n{\"day\":\"2026-11-01\",\"model\":\"m\",\"input_tokens\":1}\n]", "2026-11-01 m 1 0 0\nanybody's, tokens"},
    {"a credit", "day,model,cost\n2026-11-01,m,-2\n", "2026-11-01 m 0 0 -2000000000\nanybody's, money"},
};

static const struct {
    const char *text, *want; /* a piece of the error */
} bad_bills[] = {
    {" \n", "'the-file' is empty"},
    {"what is this?", "line 1: no column is the day: a bill begins with titles, as day,model"},
    {"day,cost\n2026-11-01,1\n", "line 1: no column is the model: export it by model"},
    {"day,model\n2026-11-01,m\n", "line 1: no column has tokens or costs"},
    {"day,model,cost\n2026-11-01,m\n", "line 2 has 2 fields, and there are 3 titles"},
    {"day,model,cost\n2026-11-01,\"m,1\n", "line 2: the quotes that begin here do not end"},
    {"day,model,cost\n2026-11-01,m,1\n2026-11-31,m,1\n", "line 3: the day is '2026-11-31', must be"},
    {"day,model,cost\n,m,1\n", "line 2: the day is '', must be"},
    {"day,model,input_tokens\n2026-11-01,m,\"1,200\"\n", "line 2: input_tokens is '1,200', must be a whole number of tokens, without separators"},
    {"day,model,output_tokens\n2026-11-01,m,-1\n", "line 2: output_tokens is '-1', must be a whole number"},
    {"day,model,output_tokens\n2026-11-01,m,1.5\n", "line 2: output_tokens is '1.5', must be a whole number"},
    {"day,model,cost\n2026-11-01,m,$1\n", "line 2: cost is '$1', must be a number of dollars"},
    {"day,model,cost,currency\n2026-11-01,m,1,eur\n", "line 2: the cost is in 'eur', and the ledger has dollars"},
    {"start_time,model,cost\nyesterday,m,1\n", "line 2: start_time is 'yesterday', must be seconds since 1970"},
    {"day,model,cost\n2026-11-01,,1\n", "'the-file' names no model: export it by model"},
    {"{\"data\":[", "neither one document nor a document a line"},
    {"{\"day\":\"2026-11-01\",\"model\":\"m\",\"cost\":1}\nnonsense\n", "line 2: not valid JSON"},
    {"{\"day\":\"2026-11-01\",\"model\":\"m\"}", "line 1: neither tokens nor a cost"},
    {"{\"day\":\"2026-11-01\",\"model\":\"m\",\"input_tokens\":-1}", "line 1: tokens must be whole numbers"},
    {"{\"day\":\"2026-11-01\",\"model\":\"m\",\"input_tokens\":\"5\"}", "line 1: tokens must be whole numbers"},
    {"{\"day\":\"2026-11-01\",\"model\":\"m\",\"cost\":\"free\"}", "line 1: the cost must be a number"},
    {"{\"data\":[{\"start_time\":1759622400,\"results\":[{\"model\":\"m\",\"input_tokens\":1},{\"model\":\"m\",\"output_tokens\":true}]}]}", "line 1, bucket 1, result 2: tokens must be"},
    {"{\"data\":[{\"results\":[{\"model\":\"m\",\"input_tokens\":1}]}]}", "line 1, bucket 1, result 1: the day is ''"},
    {"{\"data\":[{\"start_time\":1759622400,\"results\":[{\"model\":null,\"input_tokens\":1}]}]}", "names no model"},
    {"{\"data\":[],\"has_more\":true}", "has_more is true in the last page: put the next pages behind it"},
    {"[5]", "a row must be an object"},
    {"[[5]]", "a row must be an object"},
};
/* clang-format on */

static void each_form_becomes_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_bills) / sizeof(good_bills[0]); i++) {
        struct arena arena;
        struct err err = {0};
        struct buf text;
        arena_init(&arena, NULL, 1 << 20);
        buf_init(&text, 1 << 20);
        if (!read_text(good_bills[i].text, &arena, &text, &err))
            fail_msg("%s: %s", good_bills[i].name, err.text);
        assert_string_equal(text.data, good_bills[i].want);
        buf_done(&text);
        arena_done(&arena);
    }
}

static void what_cannot_be_read_is_said_with_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_bills) / sizeof(bad_bills[0]); i++) {
        struct arena arena;
        struct err err = {0};
        struct buf text;
        arena_init(&arena, NULL, 1 << 20);
        buf_init(&text, 1 << 20);
        if (read_text(bad_bills[i].text, &arena, &text, &err))
            fail_msg("%s\nwas read as\n%s", bad_bills[i].text, text.data);
        if (!strstr(err.text, bad_bills[i].want) || !strstr(err.text, "'the-file'"))
            fail_msg("%s\ngave    %s\nwanted  %s", bad_bills[i].text, err.text, bad_bills[i].want);
        assert_int_equal(err.code, ERR_USAGE);
        buf_done(&text);
        arena_done(&arena);
    }
}

static void files_of_two_vendors_are_everybodys(void **state)
{
    (void)state;
    static const char *const openai = "start_time,model,input_tokens\n1759622400,m,5\n";
    static const char *const anthropic = "usage_date_utc,model,cost_usd\n2025-10-05,m,1\n";
    static const char *const ours = "day,model,cost\n2025-10-05,m,1\n";
    static const struct {
        const char *first, *second, *vendor;
    } cases[] = {{openai, openai, "openai"}, {openai, anthropic, NULL}, {openai, ours, NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena;
        struct bill bill;
        struct err err = {0};
        arena_init(&arena, NULL, 1 << 20);
        bill_init(&bill, &arena);
        assert_true(bill_read(&bill, STR("a"), str_of(cases[i].first), &err));
        assert_true(bill_read(&bill, STR("b"), str_of(cases[i].second), &err));
        assert_int_equal(bill.count, 2);
        assert_true(str_eq(str_of(bill.vendor), str_of(cases[i].vendor)));
        arena_done(&arena);
    }
}

/* A bill cut anywhere is read or refused; the sanitizers see to the rest. */
static void a_bill_may_end_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_bills) / sizeof(good_bills[0]); i++)
        for (size_t len = 0; len < strlen(good_bills[i].text); len++) {
            struct arena arena;
            struct bill bill;
            struct err err = {0};
            arena_init(&arena, NULL, 1 << 20);
            bill_init(&bill, &arena);
            struct str text = arena_str(&arena, str_from(good_bills[i].text, len));
            assert_true(bill_read(&bill, STR("cut"), text, &err) || err.text[0]);
            arena_done(&arena);
        }
}

static void more_rows_than_a_bill_may_have_are_refused(void **state)
{
    (void)state;
    struct arena arena;
    struct bill bill;
    struct err err = {0};
    struct buf text;
    arena_init(&arena, NULL, 256 << 20);
    buf_init(&text, BILL_BYTES_MAX);
    bill_init(&bill, &arena);
    buf_add_str(&text, STR("day,model,cost\n"));
    for (int i = 0; i <= BILL_ROWS_MAX; i++)
        buf_add_str(&text, STR("2026-11-01,m,1\n"));
    assert_false(bill_read(&bill, STR("large"), buf_str(&text), &err));
    assert_int_equal(err.code, ERR_TOO_BIG);
    assert_non_null(strstr(err.text, "line 200002: more than 200000 rows"));
    buf_done(&text);
    arena_done(&arena);
}

static void sums_that_would_overflow_are_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"2026-11-01,m,900000000000000,0\n",
                                       "2026-11-01,m,0,-999999999\n"};
    for (size_t i = 0; i < 2; i++) {
        struct arena arena;
        struct bill bill;
        struct err err = {0};
        struct buf text;
        arena_init(&arena, NULL, 16 << 20);
        buf_init(&text, BILL_BYTES_MAX);
        bill_init(&bill, &arena);
        buf_add_str(&text, STR("day,model,input_tokens,cost\n"));
        for (int k = 0; k < 10000; k++)
            buf_add_str(&text, str_of(rows[i]));
        assert_false(bill_read(&bill, STR("absurd"), buf_str(&text), &err));
        assert_int_equal(err.code, ERR_TOO_BIG);
        assert_non_null(strstr(err.text, "larger than any bill"));
        buf_done(&text);
        arena_done(&arena);
    }
}

static void names_of_one_model_have_one_key(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"Claude Sonnet 4.5", "claude-sonnet-4-5"},
        {"claude-sonnet-4-5-20250929", "claude-sonnet-4-5"},
        {"Claude 3.5 Sonnet 2024-10-22", "claude-3-5-sonnet"},
        {"claude-3-5-sonnet-latest", "claude-3-5-sonnet"},
        {"gpt-4o-mini-2024-07-18", "gpt-4o-mini"},
        {"gpt-4o-mini", "gpt-4o-mini"},
        {"gpt-4-0613", "gpt-4"},
        {"gpt-4o-2024-13-18", "gpt-4o-2024-13-18"},
        {"llama-3-70", "llama-3-70"},
        {"-20250929", "-20250929"},
        {"20250929", "20250929"},
        {"", ""},
    };
    struct arena arena;
    arena_init(&arena, NULL, 1 << 16);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct str key = bill_key(&arena, str_of(names[i][0]));
        if (!str_is(key, names[i][1]))
            fail_msg("%s became " STR_FMT, names[i][0], STR_ARG(key));
    }
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_becomes_rows),
        cmocka_unit_test(what_cannot_be_read_is_said_with_its_place),
        cmocka_unit_test(files_of_two_vendors_are_everybodys),
        cmocka_unit_test(a_bill_may_end_anywhere),
        cmocka_unit_test(more_rows_than_a_bill_may_have_are_refused),
        cmocka_unit_test(sums_that_would_overflow_are_refused),
        cmocka_unit_test(names_of_one_model_have_one_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
