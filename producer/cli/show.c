/*
 * show.c -- `quern show ID`: what became of a request, as a story or as JSON.
 *
 * PostgreSQL puts everything it knows into one JSON document; the page is printed from that. The
 * story in it has each moment in milliseconds since the request was published: taken up, each call
 * with the wait before it, its outcome, tokens, cost and reason, the parts, the final result.
 */
#include "common/app/app.h"
#include "common/data/json.h"
#include "producer/cli/cli.h"
#include "producer/cli/table.h"

enum {
    DOCUMENT_BYTES_MAX = 128 << 20,
    PAGE_BYTES_MAX = 128 << 20,
    CELL_BYTES = 60,
    TOLD_BYTES = 240
};

/* Calls of a slot, when they were made, and how long it had nothing under way before: a pause
 * between attempts, a closed gate, or no room in a limit. Less than nothing: another one was. */
#define CALLS_SQL                                                                                  \
    "SELECT i.*, round(extract(epoch FROM i.created_at - r.created_at) * 1000) AS at_ms,"          \
    " round(extract(epoch FROM i.created_at - r.created_at) * 1000 - coalesce(max("                \
    "  extract(epoch FROM i.created_at - r.created_at) * 1000 + i.latency_ms) OVER earlier,"       \
    "  r.queued_ms, 0)) AS waited_ms"                                                              \
    " FROM inference_runs i WHERE i.tenant = r.tenant AND i.request_id = r.id"                     \
    " WINDOW earlier AS (PARTITION BY i.slot ORDER BY i.created_at, i.attempt"                     \
    "  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"

#define CALL_TOLD_SQL                                                                              \
    "concat_ws(', ', CASE WHEN c.outcome = 'ambiguous' THEN NULL WHEN c.waited_ms >= 5"            \
    "  THEN 'waited ' || c.waited_ms || ' ms before it' WHEN c.waited_ms < -1"                     \
    "  THEN 'beside the one before it' END, c.outcome, 'HTTP ' || c.http_status,"                  \
    " round(c.latency_ms::numeric) || ' ms', CASE WHEN c.tokens > 0 THEN c.input_tokens"           \
    "  || ' tokens in (' || c.cached_input_tokens || ' cached), ' || c.output_tokens || ' out' "   \
    "END,"                                                                                         \
    " CASE WHEN c.cost_microusd IS NOT NULL"                                                       \
    "  THEN to_char(c.cost_microusd / 1000000.0, 'FM999999990.000000') || ' USD'"                  \
    "  WHEN c.tokens > 0 THEN 'no price' END, c.error_code, c.error_message)"

#define STORY_SQL                                                                                  \
    "SELECT 0 AS at_ms, 0 AS n, NULL::integer AS slot, 'published' AS what, concat_ws(', ',"       \
    "  'user ' || r.user_id, 'session ' || r.session_id || ' turn ' || r.turn) AS told"            \
    " UNION ALL SELECT r.queued_ms, 1, NULL, 'taken up',"                                          \
    "  'after ' || r.queued_ms || ' ms in the queue' WHERE r.queued_ms IS NOT NULL"                \
    " UNION ALL SELECT c.at_ms, 2, c.slot, 'call ' || c.attempt || ' to ' || coalesce(c.model, "   \
    "'?'),"                                                                                        \
    "  " CALL_TOLD_SQL " FROM (" CALLS_SQL ") c"                                                   \
    " UNION ALL SELECT round(extract(epoch FROM p.received_at - r.created_at) * 1000), 3, p.slot," \
    "  'part', p.status FROM parts p WHERE p.tenant = r.tenant AND p.request_id = r.id"            \
    " UNION ALL SELECT round(extract(epoch FROM r.finished_at - r.created_at) * 1000), 4, NULL,"   \
    "  'final', concat_ws(', ', r.status, 'policy ' || r.merge_policy, 'winner ' || r.winner,"     \
    "  'agreement ' || r.agreement, r.error_code, r.error_message) WHERE r.finished_at IS NOT "    \
    "NULL"

#define SHOW_SQL                                                                                   \
    "SELECT jsonb_build_object("                                                                   \
    "'request', to_jsonb(r),"                                                                      \
    "'story', (SELECT jsonb_agg(jsonb_build_object('at_ms', s.at_ms, 'slot', s.slot, 'what', "     \
    "s.what,"                                                                                      \
    "  'told', s.told) ORDER BY s.at_ms, s.n, s.slot) FROM (" STORY_SQL ") s),"                    \
    "'parts', (SELECT coalesce(jsonb_agg(jsonb_build_object('slot', p.slot, 'status', p.status,"   \
    "  'received_at', p.received_at, 'bytes', length(p.result)) ORDER BY p.slot), '[]')"           \
    "  FROM parts p WHERE p.tenant = r.tenant AND p.request_id = r.id),"                           \
    "'inference_runs', (SELECT coalesce(jsonb_agg(to_jsonb(i) ORDER BY i.slot, i.attempt,"         \
    "  i.created_at), '[]') FROM inference_runs i"                                                 \
    "  WHERE i.tenant = r.tenant AND i.request_id = r.id),"                                        \
    "'messages', (SELECT coalesce(jsonb_agg(to_jsonb(m) ORDER BY m.position), '[]')"               \
    "  FROM conversations c JOIN messages m ON m.conversation_id = c.id AND m.turn = r.turn"       \
    "  WHERE c.tenant = r.tenant AND c.session_id = r.session_id),"                                \
    "'embeddings', (SELECT jsonb_build_object('vectors', jsonb_array_length(e.vectors), "          \
    "'numbers',"                                                                                   \
    "  octet_length(decode(e.vectors->>0, 'base64')) / 4) FROM request_embeddings e"               \
    "  WHERE e.tenant = r.tenant AND e.request_id = r.id),"                                        \
    "'outbox', (SELECT coalesce(jsonb_agg(jsonb_build_object('topic', o.topic, 'attempts',"        \
    "  o.attempts, 'last_error', o.last_error)), '[]') FROM outbox o"                              \
    "  WHERE o.result_partition = r.result_partition AND o.tenant = r.tenant"                      \
    "  AND o.request_id = r.id))::text"                                                            \
    " FROM requests r WHERE r.tenant = $1 AND r.id = $2"

static void take_document(const struct postgres_rows *rows, void *context)
{
    struct buf *document = context;
    if (rows->count > 0)
        buf_add_str(document, postgres_cell(rows, 0, 0));
}

/* ---- the story ---- */

/* Any value as text: numbers and truths as JSON writes them, absent and null as nothing. */
static struct str text_of(struct arena *arena, const struct value *map, const char *key)
{
    const struct value *value = value_get(map, str_of(key));
    struct buf text;
    if (!value || value->kind == VALUE_NULL)
        return STR("");
    if (value->kind == VALUE_STR)
        return value->text;
    buf_init(&text, PAGE_BYTES_MAX);
    json_write(value, &text);
    struct str copy = arena_str(arena, buf_str(&text));
    buf_done(&text);
    return copy;
}

static void say_line(struct buf *ret, const char *what, struct str value)
{
    if (!str_empty(value))
        buf_printf(ret, "  %-14s " STR_FMT "\n", what, STR_ARG(value));
}

static void tell_request(struct arena *arena, const struct value *request, struct buf *ret)
{
    static const struct {
        const char *what, *key;
    } lines[] = {
        {"kind", "kind"},
        {"user", "user_id"},
        {"session", "session_id"},
        {"turn", "turn"},
        {"created", "created_at"},
        {"accepted", "accepted_at"},
        {"finished", "finished_at"},
        {"models asked", "slots"},
        {"merge policy", "merge_policy"},
        {"winner", "winner"},
        {"agreement", "agreement"},
        {"finish reason", "finish_reason"},
        {"queued ms", "queued_ms"},
        {"first token ms", "first_token_ms"},
        {"total ms", "total_ms"},
        {"tokens in", "input_tokens"},
        {"tokens out", "output_tokens"},
        {"cost microusd", "cost_microusd"},
        {"reply to", "reply_to"},
        {"error", "error_code"},
        {"error text", "error_message"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        say_line(ret, lines[i].what, text_of(arena, request, lines[i].key));
    struct str topic = text_of(arena, request, "origin_topic");
    if (!str_empty(topic))
        say_line(ret, "read from",
                 arena_printf(arena, STR_FMT "/" STR_FMT "@" STR_FMT, STR_ARG(topic),
                              STR_ARG(text_of(arena, request, "origin_partition")),
                              STR_ARG(text_of(arena, request, "origin_offset"))));
}

static void tell_list(struct arena *arena, const struct value *document, const char *list_name,
                      const char *const *keys, bool color, struct buf *ret)
{
    const struct value *list = value_get_list(document, list_name);
    struct table table;
    if (!list || list->count == 0)
        return;
    table_init(&table, arena, keys);
    for (uint32_t i = 0; i < list->count; i++)
        for (size_t k = 0; keys[k]; k++)
            table_add(&table, str_utf8_cut(text_of(arena, &list->items[i], keys[k]),
                                           strcmp(keys[k], "told") == 0 ? TOLD_BYTES : CELL_BYTES));
    buf_printf(ret, "\n%s\n", list_name);
    table_text(&table, color, ret);
}

static void tell(struct cli *cli, const struct value *document, struct buf *ret)
{
    static const char *const runs[] = {
        "slot",       "attempt",      "model",         "provider",      "outcome",    "http_status",
        "latency_ms", "input_tokens", "output_tokens", "cost_microusd", "error_code", NULL};
    static const char *const story[] = {"at_ms", "slot", "what", "told", NULL};
    static const char *const parts[] = {"slot", "status", "received_at", "bytes", NULL};
    static const char *const said[] = {"turn", "position", "role", "content", NULL};
    static const char *const outbox[] = {"topic", "attempts", "last_error", NULL};
    const struct value *request = value_get_map(document, "request");
    struct arena *arena = &cli->arena;
    buf_printf(ret, "request " STR_FMT " of tenant " STR_FMT ": " STR_FMT "\n",
               STR_ARG(text_of(arena, request, "id")), STR_ARG(text_of(arena, request, "tenant")),
               STR_ARG(text_of(arena, request, "status")));
    tell_request(arena, request, ret);
    tell_list(arena, document, "story", story, cli->color, ret);
    tell_list(arena, document, "inference_runs", runs, cli->color, ret);
    tell_list(arena, document, "parts", parts, cli->color, ret);
    tell_list(arena, document, "messages", said, cli->color, ret);
    tell_list(arena, document, "outbox", outbox, cli->color, ret);
    const struct value *embeddings = value_get_map(document, "embeddings");
    if (embeddings)
        buf_printf(ret, "\nembeddings\n" STR_FMT " vectors of " STR_FMT " numbers\n",
                   STR_ARG(text_of(arena, embeddings, "vectors")),
                   STR_ARG(text_of(arena, embeddings, "numbers")));
    struct str answer = text_of(arena, request, "text");
    if (!str_empty(answer))
        buf_printf(ret, "\nanswer\n" STR_FMT "\n", STR_ARG(answer));
}

static int print(struct cli *cli, struct str text)
{
    struct value *document = arena_new(&cli->arena, struct value);
    struct err err = {0};
    struct buf page;
    struct json_writer w = {.out = &page, .pretty = true};
    if (!json_read(text, &cli->arena, document, &err))
        return cli_fail(cli, &err);
    buf_init(&page, PAGE_BYTES_MAX);
    if (cli->json) {
        json_value(&w, document);
        buf_add_char(&page, '\n');
    } else {
        tell(cli, document, &page);
    }
    int code = cli_out(&page);
    buf_done(&page);
    return code;
}

int run_show(struct cli *cli)
{
    struct err err = {0};
    struct buf document;
    struct str id = str_of(cli->words[0]);
    struct str tenant = cli_has(cli, "tenant") ? cli_option(cli, "tenant") : STR("default");
    struct postgres_session *session = cli_postgres(cli, CLI_TIMEOUT_MS, &err);
    buf_init(&document, DOCUMENT_BYTES_MAX);
    bool good =
        session && postgres_session_query(session, SHOW_SQL, (const struct str[]){tenant, id}, 2,
                                          take_document, &document, &err);
    postgres_session_close(session);
    int code = EXIT_FAILED;
    if (!good)
        code = cli_fail(cli, &err);
    else if (document.len == 0)
        cli_say("tenant '" STR_FMT "' has no request '" STR_FMT
                "' in the store: it is not final yet, of another tenant (--tenant), or its record"
                " was refused (quern dead list)",
                STR_ARG(tenant), STR_ARG(id));
    else
        code = print(cli, buf_str(&document));
    buf_done(&document);
    return code;
}
