/*
 * reference.c -- `quern reference PAGE` and `quern completion bash`: pages made from the tables.
 *
 * To add a page: a row below, and a line in docs/reference/generate.
 */
#include "common/app/app.h"
#include "common/app/metrics.h"
#include "common/contract/contract.h"
#include "producer/cli/cli.h"

enum { PAGE_BYTES_MAX = 8 << 20 };

static void errors_page(struct cli *cli, struct buf *ret)
{
    (void)cli;
    buf_add_str(ret, STR("# Errors\n\nPrinted from `schemas/error.def`; do not edit.\n\n"
                         "| Code | Ask again | HTTP | Meaning |\n| --- | --- | --- | --- |\n"));
    for (int code = 1; code < ERR_CODE_COUNT; code++)
        buf_printf(ret, "| `%s` | %s | %d | %s |\n", err_name((enum err_code)code),
                   err_retry_name(err_retry_of((enum err_code)code)), err_http((enum err_code)code),
                   err_sentence((enum err_code)code));
}

static struct str prefix_of(const struct cli *cli)
{
    struct str prefix = cli_option(cli, "prefix");
    return prefix.data ? prefix : STR("quern");
}

static void topics_page(struct cli *cli, struct buf *ret)
{
    buf_add_str(ret, STR("# Topics\n\nPrinted from `schemas/topic.def`; do not edit. "
                         "`quern topics create` makes them; none is compacted.\n\n"
                         "| Topic | Partitions | Kept (h) | Largest record (MiB) | Key | What |\n"
                         "| --- | --- | --- | --- | --- | --- |\n"));
    for (int id = 0; id < TOPIC_COUNT; id++)
        buf_printf(ret, "| `" STR_FMT "` | %d | %lld | %lld | %s | %s |\n",
                   STR_ARG(topic_name(&cli->arena, prefix_of(cli), (enum topic_id)id)),
                   (int)topics[id].partitions, (long long)(topics[id].retention_ms / 3600000),
                   (long long)(topics[id].message_bytes_max >> 20), topics[id].key,
                   topics[id].sentence);
}

static void metrics_page(struct cli *cli, struct buf *ret)
{
    (void)cli;
    buf_add_str(ret, STR("# Metrics\n\nPrinted from `schemas/metric.def`; do not edit. Each program"
                         " serves its own at `/metrics`, in Prometheus' text format.\n\n"));
    metrics_reference(ret);
}

static void messages_page(struct cli *cli, struct buf *ret)
{
    (void)cli;
    contract_reference(ret);
}

static void asyncapi_page(struct cli *cli, struct buf *ret)
{
    contract_asyncapi(prefix_of(cli), ret);
}

static void command_page(const struct command *command, struct buf *ret)
{
    buf_printf(ret, "\n## quern %s\n\n```\n", command->name);
    cli_help(command, ret);
    buf_add_str(ret, STR("```\n"));
}

static void commands_page(struct cli *cli, struct buf *ret)
{
    (void)cli;
    buf_add_str(ret, STR("# The command line\n\nPrinted by the program; do not edit.\n\n```\n"));
    cli_help(NULL, ret);
    buf_add_str(ret, STR("```\n"));
    for (const struct command *command = commands; command->name; command++)
        command_page(command, ret);
}

static void crash_points_page(struct cli *cli, struct buf *ret)
{
    static const struct {
        const char *programs, *name, *text;
        bool is_step;
    } rows[] = {
#define CRASH_STEP(program, step, text)  {program, #step, text, true},
#define CRASH_ROW(programs, point, text) {programs, #point, text, false},
#include "schemas/crash_points.def"
#undef CRASH_STEP
#undef CRASH_ROW
    };
    (void)cli;
    buf_add_str(ret,
                STR("# Crash points\n\nPrinted from `schemas/crash_points.def`; do not edit. How to"
                    " use them: [crash-points.md](../development/crash-points.md). A step has"
                    " two: before it begins, and, behind `.end`, after it has ended.\n\n"
                    "| Point | Program | What has just happened |\n| --- | --- | --- |\n"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].is_step)
            buf_printf(ret, "| `%s`, `%s.end` | %s | step: %s |\n", rows[i].name, rows[i].name,
                       rows[i].programs, rows[i].text);
        else
            buf_printf(ret, "| `%s` | %s | %s |\n", rows[i].name, rows[i].programs, rows[i].text);
    }
}

static const struct {
    const char *name;
    void (*print)(struct cli *cli, struct buf *ret);
} pages[] = {
    {"messages", messages_page},         {"errors", errors_page},     {"topics", topics_page},
    {"metrics", metrics_page},           {"asyncapi", asyncapi_page}, {"commands", commands_page},
    {"crash-points", crash_points_page},
};

static bool print_page(struct cli *cli, struct buf *ret, struct err *err)
{
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        if (strcmp(cli->words[0], pages[i].name) == 0) {
            pages[i].print(cli, ret);
            return true;
        }
    err_set(err, ERR_USAGE,
            "there is no page '%s', only messages, errors, topics, metrics, asyncapi, commands,"
            " crash-points and schema request|result|reply",
            cli->words[0]);
    return false;
}

static bool print_schema(struct cli *cli, struct buf *ret, struct err *err)
{
    const char *name = cli->word_count > 1 ? cli->words[1] : "";
    if (strcmp(name, "request") == 0)
        contract_json_schema(&contract_request, ret);
    else if (strcmp(name, "result") == 0)
        contract_json_schema(&contract_result, ret);
    else if (strcmp(name, "reply") == 0)
        contract_json_schema(&contract_reply, ret);
    else
        err_set(err, ERR_USAGE, "the schemas are request, result and reply");
    return ret->len > 0;
}

int run_reference(struct cli *cli)
{
    struct err err = {0};
    struct buf text;
    buf_init(&text, PAGE_BYTES_MAX);
    bool good = strcmp(cli->words[0], "schema") == 0 ? print_schema(cli, &text, &err)
                                                     : print_page(cli, &text, &err);
    int code = good ? cli_out(&text) : cli_fail(cli, &err);
    buf_done(&text);
    return code;
}

int run_completion(struct cli *cli)
{
    struct buf text;
    if (strcmp(cli->words[0], "bash") != 0) {
        cli_say("only bash is known, not '%s'", cli->words[0]);
        return EXIT_USAGE;
    }
    buf_init(&text, PAGE_BYTES_MAX);
    cli_completion_bash(&text);
    int code = cli_out(&text);
    buf_done(&text);
    return code;
}
