/*
 * request_options.c -- see request_options.h.
 */
#include "producer/cli/request_options.h"

static void fill_text(const struct cli *cli, const char *name, struct str *field)
{
    struct str given = cli_option(cli, name);
    if (!field->data && given.data)
        *field = given;
}

static void fill_models(struct cli *cli, struct request *request)
{
    size_t count = 0;
    while (cli_option_nth(cli, "model", count).data)
        count++;
    if (request->models.count > 0 || count == 0)
        return;
    request->models.items = arena_array(&cli->arena, struct str, count);
    request->models.count = count;
    for (size_t i = 0; i < count; i++)
        request->models.items[i] = cli_option_nth(cli, "model", i);
}

/* Bounds are those of schemas/request.def; contract_check() looks at them. */
static bool fill_params(const struct cli *cli, struct params *params, struct err *err)
{
    if (isnan(params->temperature) &&
        !cli_option_real(cli, "temperature", 0, 2, &params->temperature, err))
        return false;
    if (isnan(params->top_p) && !cli_option_real(cli, "top-p", 0, 1, &params->top_p, err))
        return false;
    if (params->max_tokens == INT_ABSENT &&
        !cli_option_i64(cli, "max-tokens", 1, 10000000, &params->max_tokens, err))
        return false;
    if (params->dimensions == INT_ABSENT &&
        !cli_option_i64(cli, "dimensions", 1, 24576, &params->dimensions, err))
        return false;
    return params->seed != INT_ABSENT ||
           cli_option_i64(cli, "seed", INT64_MIN + 1, INT64_MAX, &params->seed, err);
}

bool request_options(struct cli *cli, struct request *request, struct err *err)
{
    struct str policy = cli_option(cli, "policy");
    fill_text(cli, "id", &request->id);
    fill_text(cli, "session", &request->session);
    fill_text(cli, "tenant", &request->tenant);
    fill_text(cli, "user", &request->user);
    fill_text(cli, "reply-to", &request->reply_to);
    fill_text(cli, "route", &request->route);
    fill_models(cli, request);
    request->stream |= cli_has(cli, "stream");
    if (policy.data)
        request->merge.policy = policy;
    if (cli_has(cli, "kind"))
        request->kind = cli_option(cli, "kind");
    return fill_params(cli, &request->params, err) &&
           (request->deadline_ms != INT_ABSENT ||
            cli_option_duration(cli, "deadline", &request->deadline_ms, err));
}

static void message(struct arena *arena, struct value *ret, const char *role, struct str content)
{
    struct value *map = value_map_new(arena, 2);
    value_map_add(map, STR("role"), value_str(str_of(role)));
    value_map_add(map, STR("content"), value_str(content));
    *ret = *map;
}

void request_question(struct cli *cli, struct request *request, struct str text)
{
    struct str system = cli_option(cli, "system");
    if (!system.data) {
        struct value *input = arena_new(&cli->arena, struct value);
        *input = value_str(text);
        request->input = input;
        return;
    }
    struct value *items = arena_array(&cli->arena, struct value, 2);
    struct value *list = arena_new(&cli->arena, struct value);
    message(&cli->arena, &items[0], "system", system);
    message(&cli->arena, &items[1], "user", text);
    *list = (struct value){.kind = VALUE_LIST, .count = 2, .items = items};
    request->messages = list;
}

bool encoding_option(const struct cli *cli, enum encoding *ret, struct err *err)
{
    struct str name = cli_option(cli, "encoding");
    *ret = str_is(name, "msgpack") ? ENCODING_MSGPACK : ENCODING_JSON;
    if (!name.data || str_is(name, "msgpack") || str_is(name, "json"))
        return true;
    err_set(err, ERR_USAGE, "--encoding must be json or msgpack, is '" STR_FMT "'", STR_ARG(name));
    return false;
}
