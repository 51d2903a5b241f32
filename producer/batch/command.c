/*
 * command.c -- `quern batch run`: options to struct batch_options.
 */
#include "common/app/app.h"
#include "producer/batch/batch.h"

enum { IN_FLIGHT = 10000, DAY_MS = 86400000 };

static bool read_encoding(const struct cli *cli, enum batch_encoding *ret, struct err *err)
{
    struct str name = cli_option(cli, "encoding");
    static const char *const names[] = {"json", "msgpack", "alternate"};
    *ret = BATCH_JSON;
    for (int i = 0; name.data && i < 3; i++)
        if (str_is(name, names[i])) {
            *ret = (enum batch_encoding)i;
            return true;
        }
    if (name.data)
        err_set(err, ERR_USAGE, "--encoding must be json, msgpack or alternate");
    return !name.data;
}

static bool read_progress(const struct cli *cli, bool *ret, struct err *err)
{
    struct str name = cli_option(cli, "progress");
    *ret = !str_is(name, "never");
    if (!name.data || str_is(name, "never") || str_is(name, "auto"))
        return true;
    err_set(err, ERR_USAGE, "--progress must be auto or never");
    return false;
}

static bool read_batch_id(const struct cli *cli, struct str *ret, struct err *err)
{
    *ret = cli_option(cli, "batch-id");
    if (!ret->data || (ret->len > 0 && ret->len <= BATCH_ID_BYTES_MAX))
        return true;
    err_set(err, ERR_USAGE, "--batch-id must have 1 to %d bytes", BATCH_ID_BYTES_MAX);
    return false;
}

static bool read_options(struct cli *cli, struct batch_options *ret, struct err *err)
{
    struct str output = cli_option(cli, "output");
    *ret = (struct batch_options){
        .path = cli->words[0],
        .in_flight = IN_FLIGHT,
        .resume = cli_has(cli, "resume"),
        .defaults = {.model = cli_option(cli, "model"),
                     .tenant = cli_option(cli, "tenant"),
                     .deadline_ms = DAY_MS},
    };
    ret->output =
        output.data ? output.data : arena_printf(&cli->arena, "%s.out.jsonl", ret->path).data;
    if (strcmp(ret->output, ret->path) == 0) {
        err_set(err, ERR_USAGE, "--output must be another file than the input");
        return false;
    }
    return read_encoding(cli, &ret->encoding, err) && read_progress(cli, &ret->progress, err) &&
           read_batch_id(cli, &ret->defaults.batch_id, err) &&
           cli_option_i64(cli, "in-flight", 1, 1000000, &ret->in_flight, err) &&
           cli_option_duration(cli, "deadline", &ret->defaults.deadline_ms, err) &&
           cli_option_duration(cli, "timeout", &ret->timeout_ms, err);
}

int run_batch(struct cli *cli)
{
    struct batch_options options;
    struct err err = {0};
    return read_options(cli, &options, &err) ? batch_run(cli, &options) : cli_fail(cli, &err);
}
