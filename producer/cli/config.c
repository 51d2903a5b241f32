/*
 * config.c -- `quern config check|print|sample|reference|schema`, for the file of all programs.
 */
#include "common/app/app.h"
#include "common/settings/settings.h"
#include "producer/cli/cli.h"

enum { PAGE_BYTES_MAX = 4 << 20 };

static bool load(struct cli *cli, struct settings *ret, struct err *err)
{
    struct conf_places places = {0};
    return cli_load(cli, settings_rows(&cli->arena), "producer", ret, &places, err) &&
           settings_check(ret, &places, err);
}

static void say_warning(const char *text, void *context)
{
    (void)context;
    cli_say("warning: %s", text);
}

int run_config_check(struct cli *cli)
{
    struct settings *settings = arena_new(&cli->arena, struct settings);
    struct err err = {0};
    if (!load(cli, settings, &err))
        return cli_fail(cli, &err);
    shared_conf_each_warning(&settings->worker.shared, say_warning, NULL);
    cli_say("the configuration is usable%s%s%s: %zu model(s)", cli->file ? " ('" : "",
            cli->file ? cli->file : "", cli->file ? "')" : "",
            settings->worker.shared.models.count);
    return EXIT_OK;
}

int run_config_print(struct cli *cli)
{
    struct settings *settings = arena_new(&cli->arena, struct settings);
    struct err err = {0};
    struct buf text;
    if (!load(cli, settings, &err))
        return cli_fail(cli, &err);
    buf_init(&text, PAGE_BYTES_MAX);
    conf_print(settings_rows(&cli->arena), settings, &text);
    int code = cli_out(&text);
    buf_done(&text);
    return code;
}

static int print_page(struct cli *cli, void (*page)(const struct conf_row *rows, struct buf *ret))
{
    struct buf text;
    buf_init(&text, PAGE_BYTES_MAX);
    page(settings_rows(&cli->arena), &text);
    int code = cli_out(&text);
    buf_done(&text);
    return code;
}

static void schema(const struct conf_row *rows, struct buf *ret)
{
    conf_json_schema(rows, "Configuration of quern", ret);
}

static void reference(const struct conf_row *rows, struct buf *ret)
{
    buf_add_str(ret,
                STR("# Configuration\n\nPrinted from the programs' tables; do not edit. Later"
                    " sources win: these defaults, the file (`--config`, `QUERN_CONFIG`), the"
                    " environment (`QUERN_KAFKA__BOOTSTRAP_SERVERS` for"
                    " `kafka.bootstrap_servers`; with `_FILE` behind it the name of a file that"
                    " holds the value), flags (`--set`, `-X`).\n\n"));
    conf_reference(rows, ret);
}

int run_config_sample(struct cli *cli)
{
    return print_page(cli, conf_sample);
}

int run_config_reference(struct cli *cli)
{
    return print_page(cli, reference);
}

int run_config_schema(struct cli *cli)
{
    return print_page(cli, schema);
}
