/*
 * stream_corpus.h -- a hundred and forty streams, made from a table of what is said (shapes) and a
 * table of how each vendor's server says it (styles), each with the whole reply that says the same.
 *
 * While a stream is written its maker notes where its markers stand: `said` is behind the last byte
 * of the marker's data, `line` behind its line end, `whole` behind the byte that makes an event of
 * it. So what is complete where is known from the writing, not from the reading.
 */
#ifndef QUERN_TESTS_UNIT_WORKER_STREAM_CORPUS_H
#define QUERN_TESTS_UNIT_WORKER_STREAM_CORPUS_H

#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/must.h"

enum vendor { OPENAI, ANTHROPIC, OLLAMA }; /* forms; the first provider of each has its name */
enum told { USAGE_END, USAGE_MISSING, USAGE_ALWAYS, USAGE_EARLY };

struct corpus_call {
    const char *id, *name;
    const char *arguments[5]; /* pieces */
};

/* What is said. Pieces are the inside of JSON strings. */
struct shape {
    const char *name;
    const char *pieces[8];
    struct corpus_call calls[3];
    const char *reason; /* OpenAI's word; NULL: an error comes instead */
    enum told usage;
};

static const struct shape shapes[] = {
    {"short", {"Hi"}, {{0}}, "stop", USAGE_END},
    {"pieces", {"The", " sky", " is", " blue", ".", "\\n"}, {{0}}, "stop", USAGE_END},
    {"unicode",
     {"\\u00fc\xc3\xa4", "\\ud83d\\ude00", "\xf0\x9f\x98\x80\xe2\x82\xac", "\\\"\\\\\\/",
      "\\r\\n\\n", "data: [DONE]\\n\\n", "\\u0000\\u2028"},
     {{0}},
     "stop",
     USAGE_ALWAYS},
    {"long",
     {"0123456789012345678901234567890123456789012345678901234567890123456789",
      "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
      "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
      "{\\\"done\\\":true}\\n\\n"},
     {{0}},
     "stop",
     USAGE_MISSING},
    {"empty", {0}, {{0}}, "stop", USAGE_END},
    {"one call",
     {0},
     {{"call_0", "weather", {"{\"city\":\"", "K\xc3\xb6ln", "\",\"days\":", "3}"}}},
     "tool_calls",
     USAGE_END},
    {"two calls",
     {"I look", " it up"},
     {{"call_0", "weather", {"{\"city\":", "\"Rome\"}"}}, {"call_1", "now", {"{}"}}},
     "tool_calls",
     USAGE_ALWAYS},
    {"length", {"once upon", " a"}, {{0}}, "length", USAGE_EARLY},
    {"filtered", {"I can"}, {{0}}, "content_filter", USAGE_END},
    {"error", {"so", " far"}, {{0}}, NULL, USAGE_ALWAYS},
};

enum { LF, CRLF, CR };

/* How it is said. */
struct style {
    enum vendor vendor;
    const char *name;
    int eol;
    bool no_space;      /* "data:{}" */
    bool comments;      /* keep-alive comments; empty lines among lines */
    bool pings;         /* events without an answer in them; empty deltas */
    bool ids;           /* id fields, no event names where there could be some */
    bool others;        /* other choices; thinking; unknown members */
    bool no_end;        /* no [DONE] */
    bool split;         /* the JSON stands in two data lines */
    bool joined;        /* the reason comes with the last text */
    bool empty_reasons; /* "" instead of null */
    const char *row;    /* the provider who says it; NULL: the form's first */
    bool reasoning;     /* reasoning_content comes before the text */
    bool hits;          /* cached input is prompt_cache_hit_tokens */
    bool filters;       /* results of filters, in an event of their own and in each choice */
    bool sensitive;     /* his word for content_filter */
};

static const struct style styles[] = {
    {.vendor = OPENAI, .name = "plain", .eol = LF},
    {.vendor = OPENAI, .name = "comments", .eol = CRLF, .comments = true},
    {.vendor = OPENAI, .name = "ids", .eol = CR, .no_space = true, .ids = true, .joined = true},
    {.vendor = OPENAI, .name = "noise", .eol = LF, .pings = true, .others = true},
    {.vendor = OPENAI,
     .name = "no end",
     .eol = LF,
     .no_end = true,
     .split = true,
     .empty_reasons = true},
    {.vendor = OPENAI,
     .name = "hits",
     .row = "deepseek",
     .eol = LF,
     .comments = true,
     .reasoning = true,
     .hits = true},
    {.vendor = OPENAI, .name = "filters", .row = "azure", .eol = LF, .filters = true},
    {.vendor = OPENAI, .name = "reasoning", .row = "qwen", .eol = LF, .reasoning = true},
    {.vendor = OPENAI,
     .name = "sensitive",
     .row = "hunyuan",
     .eol = LF,
     .reasoning = true,
     .sensitive = true,
     .joined = true},
    {.vendor = ANTHROPIC, .name = "plain", .eol = LF},
    {.vendor = ANTHROPIC,
     .name = "noise",
     .eol = CRLF,
     .comments = true,
     .pings = true,
     .others = true},
    {.vendor = ANTHROPIC, .name = "ids", .eol = CR, .ids = true, .no_space = true, .split = true},
    {.vendor = OLLAMA, .name = "chat", .eol = LF},
    {.vendor = OLLAMA, .name = "generate", .eol = CRLF, .comments = true, .others = true},
};

enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]), STYLES = sizeof(styles) / sizeof(styles[0]) };
_Static_assert(SHAPES *STYLES == 140, "a hundred and forty streams");

#define NOWHERE SIZE_MAX

struct mark {
    size_t said, line, whole;
};

struct made {
    const struct shape *shape;
    const struct style *style;
    struct buf bytes; /* the stream */
    struct buf reply; /* the same as a whole reply */
    struct mark reason, end, error;
    size_t starts[200]; /* of events */
    size_t start_count;
    struct buf event; /* the JSON under way */
};

static const char *eol(const struct made *made)
{
    static const char *const ends[] = {[LF] = "\n", [CRLF] = "\r\n", [CR] = "\r"};
    return ends[made->style->eol];
}

static void start(struct made *made)
{
    must(made->start_count < sizeof(made->starts) / sizeof(made->starts[0]));
    made->starts[made->start_count++] = made->bytes.len;
}

static void comment(struct made *made)
{
    if (!made->style->comments)
        return;
    start(made);
    buf_printf(&made->bytes, "%s%s%s", made->style->vendor == OLLAMA ? "" : ": alive", eol(made),
               eol(made));
}

static void write_data(struct made *made)
{
    struct buf *to = &made->bytes;
    struct str data = buf_str(&made->event);
    const char *field = made->style->no_space ? "data:" : "data: ";
    size_t comma = made->style->split ? str_index(data, ',') + 1 : data.len + 1;
    buf_printf(to, "%s" STR_FMT, field, STR_ARG(str_slice(data, 0, comma)));
    if (comma < data.len)
        buf_printf(to, "%s%s" STR_FMT, eol(made), field, STR_ARG(str_slice(data, comma, data.len)));
}

/* Sends the JSON under way; `name` is the event's, where the vendor has one. */
static void emit(struct made *made, const char *name, struct mark *ret)
{
    struct buf *to = &made->bytes;
    struct mark mark;
    size_t second = made->style->eol == CRLF; /* the LF of CRLF decides nothing */
    comment(made);
    start(made);
    if (made->style->vendor == OLLAMA) {
        buf_add_str(to, buf_str(&made->event));
        mark.said = to->len;
        buf_printf(to, "%s", eol(made));
        mark.line = mark.whole = to->len;
    } else {
        if (made->style->ids)
            buf_printf(to, "id: %zu%s", made->start_count, eol(made));
        else if (name)
            buf_printf(to, "event: %s%s", name, eol(made));
        write_data(made);
        mark.said = to->len;
        buf_printf(to, "%s", eol(made));
        mark.line = to->len - second;
        buf_printf(to, "%s", eol(made));
        mark.whole = to->len - second;
    }
    if (ret)
        *ret = mark;
    buf_clear(&made->event);
}

static size_t count_pieces(const struct shape *shape)
{
    size_t count = 0;
    while (count < 8 && shape->pieces[count])
        count++;
    return count;
}

static size_t count_calls(const struct shape *shape)
{
    size_t count = 0;
    while (count < 3 && shape->calls[count].id)
        count++;
    return count;
}

static void add_text(struct buf *to, const struct shape *shape)
{
    buf_add_char(to, '"');
    for (size_t i = 0; i < count_pieces(shape); i++)
        buf_add_str(to, str_of(shape->pieces[i]));
    buf_add_char(to, '"');
}

static void add_arguments(struct buf *to, const struct corpus_call *call)
{
    for (size_t i = 0; i < 5 && call->arguments[i]; i++)
        buf_add_str(to, str_of(call->arguments[i]));
}

/* OpenAI */

static void openai_usage(const struct made *made, struct buf *to, int output)
{
    buf_printf(to, ",\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":%d,%s%s}", output,
               made->style->hits ? "\"prompt_cache_hit_tokens\":4,\"prompt_cache_miss_tokens\":7"
                                 : "\"prompt_tokens_details\":{\"cached_tokens\":4}",
               made->style->reasoning ? ",\"completion_tokens_details\":{\"reasoning_tokens\":3}"
                                      : "");
}

static const char *openai_reason(const struct made *made)
{
    const char *reason = made->shape->reason;
    bool other = reason && made->style->sensitive && strcmp(reason, "content_filter") == 0;
    return other ? "sensitive" : reason;
}

static void openai_chunk(struct made *made, const char *delta, const char *reason, int output)
{
    buf_printf(&made->event,
               "{\"id\":\"chatcmpl-7\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\","
               "\"choices\":[");
    if (made->style->others)
        buf_printf(&made->event, "{\"index\":1,\"delta\":{\"content\":\"other\"},"
                                 "\"finish_reason\":\"length\"},");
    buf_printf(&made->event, "{\"index\":0,%s\"delta\":{%s},\"finish_reason\":",
               made->style->filters ? "\"content_filter_results\":{\"hate\":{\"filtered\":false}},"
                                    : "",
               delta);
    if (reason)
        buf_printf(&made->event, "\"%s\"}]", reason);
    else
        buf_printf(&made->event, made->style->empty_reasons ? "\"\"}]" : "null}]");
    if (output)
        openai_usage(made, &made->event, output);
    buf_add_char(&made->event, '}');
    emit(made, NULL, reason ? &made->reason : NULL);
}

static void openai_call(struct made *made, size_t index, const struct corpus_call *call)
{
    struct buf delta;
    buf_init(&delta, 1 << 12);
    buf_printf(&delta,
               "\"tool_calls\":[{\"index\":%zu,\"id\":\"%s\",\"type\":\"function\",\"function\":"
               "{\"name\":\"%s\",\"arguments\":\"\"}}]",
               index, call->id, call->name);
    openai_chunk(made, delta.data, NULL, 0);
    for (size_t i = 0; i < 5 && call->arguments[i]; i++) {
        buf_clear(&delta);
        buf_printf(&delta, "\"tool_calls\":[{\"index\":%zu,\"function\":{\"arguments\":", index);
        buf_add_json_str(&delta, str_of(call->arguments[i]));
        buf_printf(&delta, "}}]");
        openai_chunk(made, delta.data, NULL, 0);
    }
    buf_done(&delta);
}

static void openai_texts(struct made *made, const char *joined)
{
    const struct shape *shape = made->shape;
    size_t count = count_pieces(shape);
    for (size_t i = 0; i < count; i++) {
        char delta[400];
        bool told = shape->usage == USAGE_ALWAYS || (shape->usage == USAGE_EARLY && i == 0);
        bool last = joined && i + 1 == count;
        snprintf(delta, sizeof(delta), "\"content\":\"%s\"", shape->pieces[i]);
        openai_chunk(made, delta, last ? joined : NULL, last && told ? 9 : told ? (int)i + 1 : 0);
        if (made->style->pings) {
            openai_chunk(made, "", NULL, 0);
            openai_chunk(made, "\"content\":\"\"", NULL, 0);
        }
    }
}

static void openai_filters(struct made *made)
{
    buf_printf(&made->event,
               "{\"id\":\"\",\"object\":\"\",\"model\":\"\",\"created\":0,\"choices\":[],"
               "\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":"
               "{\"hate\":{\"filtered\":false,\"severity\":\"safe\"}}}]}");
    emit(made, NULL, NULL);
}

static void openai_thoughts(struct made *made)
{
    openai_chunk(made, "\"content\":null,\"reasoning_content\":\"Hm,\"", NULL, 0);
    openai_chunk(made, "\"content\":null,\"reasoning_content\":\" \\u00fc\"", NULL, 0);
}

static void openai_error(struct made *made)
{
    buf_printf(&made->event, "{\"error\":{\"message\":\"slow down\",\"type\":\"requests\","
                             "\"code\":\"rate_limit_exceeded\"}}");
    emit(made, made->style->others ? "error" : NULL, &made->error);
}

static void openai_end(struct made *made, bool joined)
{
    const struct shape *shape = made->shape;
    if (!joined)
        openai_chunk(made, made->style->others ? "\"content\":null" : "", openai_reason(made),
                     shape->usage == USAGE_ALWAYS ? 9 : 0);
    if (shape->usage == USAGE_END) {
        buf_printf(&made->event, "{\"id\":\"chatcmpl-7\",\"model\":\"gpt-4o\",\"choices\":[]");
        openai_usage(made, &made->event, 9);
        buf_add_char(&made->event, '}');
        emit(made, NULL, NULL);
    }
    if (made->style->no_end)
        return;
    buf_printf(&made->event, "[DONE]");
    emit(made, NULL, &made->end);
}

static void openai_make(struct made *made)
{
    const struct shape *shape = made->shape;
    size_t calls = count_calls(shape);
    bool joined = made->style->joined && shape->reason && count_pieces(shape) && !calls;
    if (made->style->filters)
        openai_filters(made);
    openai_chunk(made,
                 calls && !count_pieces(shape) ? "\"role\":\"assistant\",\"content\":null"
                                               : "\"role\":\"assistant\",\"content\":\"\"",
                 NULL, 0);
    if (made->style->reasoning)
        openai_thoughts(made);
    openai_texts(made, joined ? openai_reason(made) : NULL);
    for (size_t i = 0; i < calls; i++)
        openai_call(made, i, &shape->calls[i]);
    if (shape->reason)
        openai_end(made, joined);
    else
        openai_error(made);
}

static void openai_reply(struct made *made)
{
    const struct shape *shape = made->shape;
    struct buf *to = &made->reply;
    buf_printf(to, "{\"id\":\"chatcmpl-7\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,"
                   "\"message\":{\"role\":\"assistant\",\"content\":");
    if (count_calls(shape) && !count_pieces(shape))
        buf_printf(to, "null");
    else
        add_text(to, shape);
    if (made->style->reasoning)
        buf_printf(to, ",\"reasoning_content\":\"Hm, \\u00fc\"");
    for (size_t i = 0; i < count_calls(shape); i++) {
        const struct corpus_call *call = &shape->calls[i];
        struct buf arguments;
        buf_init(&arguments, 1 << 12);
        add_arguments(&arguments, call);
        buf_printf(
            to,
            "%s{\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":\"%s\",\"arguments\":",
            i ? "," : ",\"tool_calls\":[", call->id, call->name);
        buf_add_json_str(to, buf_str(&arguments));
        buf_printf(to, i + 1 == count_calls(shape) ? "}}]" : "}}");
        buf_done(&arguments);
    }
    buf_printf(to, "},\"finish_reason\":\"%s\"}]", openai_reason(made));
    if (shape->usage == USAGE_END || shape->usage == USAGE_ALWAYS)
        openai_usage(made, to, 9);
    buf_add_char(to, '}');
}

/* Anthropic */

static const char *anthropic_reason(const char *openai)
{
    return strcmp(openai, "stop") == 0         ? "end_turn"
           : strcmp(openai, "length") == 0     ? "max_tokens"
           : strcmp(openai, "tool_calls") == 0 ? "tool_use"
                                               : "refusal";
}

static void anthropic_event(struct made *made, const char *name, const char *rest, struct mark *ret)
{
    buf_printf(&made->event, "{\"type\":\"%s\"%s}", name, rest);
    emit(made, name, ret);
}

static void anthropic_ping(struct made *made)
{
    if (made->style->pings)
        anthropic_event(made, "ping", "", NULL);
}

static void anthropic_block(struct made *made, int index, const char *block, const char *delta_type,
                            const char *member, const char *const *pieces, size_t count)
{
    char rest[500];
    snprintf(rest, sizeof(rest), ",\"index\":%d,\"content_block\":{%s}", index, block);
    anthropic_event(made, "content_block_start", rest, NULL);
    for (size_t i = 0; i < count && pieces[i]; i++) {
        anthropic_ping(made);
        snprintf(rest, sizeof(rest), ",\"index\":%d,\"delta\":{\"type\":\"%s\",\"%s\":\"%s\"}",
                 index, delta_type, member, pieces[i]);
        anthropic_event(made, "content_block_delta", rest, NULL);
    }
    snprintf(rest, sizeof(rest), ",\"index\":%d", index);
    anthropic_event(made, "content_block_stop", rest, NULL);
}

static void anthropic_call(struct made *made, int index, const struct corpus_call *call)
{
    char block[200], escaped[5][100];
    const char *pieces[5] = {0};
    snprintf(block, sizeof(block),
             "\"type\":\"tool_use\",\"id\":\"%s\",\"name\":\"%s\",\"input\":{}", call->id,
             call->name);
    for (size_t i = 0; i < 5 && call->arguments[i]; i++) {
        struct buf piece;
        buf_init(&piece, sizeof(escaped[i]));
        buf_add_json_str(&piece, str_of(call->arguments[i]));
        snprintf(escaped[i], sizeof(escaped[i]), "%.*s", (int)piece.len - 2, piece.data + 1);
        pieces[i] = strcmp(call->arguments[i], "{}") == 0 ? "" : escaped[i];
        buf_done(&piece);
    }
    anthropic_block(made, index, block, "input_json_delta", "partial_json", pieces, 5);
}

static void anthropic_end(struct made *made)
{
    const struct shape *shape = made->shape;
    char rest[300];
    bool told = shape->usage == USAGE_END || shape->usage == USAGE_ALWAYS;
    snprintf(rest, sizeof(rest), ",\"delta\":{\"stop_reason\":\"%s\",\"stop_sequence\":null}%s",
             anthropic_reason(shape->reason),
             !told                          ? ""
             : shape->usage == USAGE_ALWAYS ? ",\"usage\":{\"input_tokens\":5,\"cache_read_input_"
                                              "tokens\":6,\"output_tokens\":9}"
                                            : ",\"usage\":{\"output_tokens\":9}");
    anthropic_event(made, "message_delta", rest, &made->reason);
    anthropic_ping(made);
    anthropic_event(made, "message_stop", "", &made->end);
}

static void anthropic_make(struct made *made)
{
    const struct shape *shape = made->shape;
    static const char *const thoughts[] = {"Hm", " hm"};
    int index = 0;
    anthropic_event(made, "message_start",
                    ",\"message\":{\"id\":\"msg_7\",\"role\":\"assistant\",\"model\":\"claude\","
                    "\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":5,"
                    "\"cache_read_input_tokens\":6,\"output_tokens\":1}}",
                    NULL);
    if (made->style->others)
        anthropic_block(made, index++, "\"type\":\"thinking\",\"thinking\":\"\"", "thinking_delta",
                        "thinking", thoughts, 2);
    if (count_pieces(shape))
        anthropic_block(made, index++, "\"type\":\"text\",\"text\":\"\"", "text_delta", "text",
                        shape->pieces, 8);
    for (size_t i = 0; i < count_calls(shape); i++)
        anthropic_call(made, index++, &shape->calls[i]);
    if (shape->reason)
        anthropic_end(made);
    else
        anthropic_event(made, "error",
                        ",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down\"}",
                        &made->error);
}

static void anthropic_reply(struct made *made)
{
    const struct shape *shape = made->shape;
    struct buf *to = &made->reply;
    buf_printf(to, "{\"id\":\"msg_7\",\"type\":\"message\",\"model\":\"claude\",\"content\":["
                   "{\"type\":\"text\",\"text\":");
    add_text(to, shape);
    for (size_t i = 0; i < count_calls(shape); i++) {
        const struct corpus_call *call = &shape->calls[i];
        buf_printf(to,
                   "},{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":\"%s\",\"input\":", call->id,
                   call->name);
        add_arguments(to, call);
    }
    buf_printf(to, "}],\"stop_reason\":\"%s\"", anthropic_reason(shape->reason));
    if (shape->usage == USAGE_END || shape->usage == USAGE_ALWAYS)
        buf_printf(to, ",\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":6,"
                       "\"output_tokens\":9}");
    buf_add_char(to, '}');
}

/* Ollama */

static void ollama_head(struct made *made, struct buf *to)
{
    buf_printf(to, "{\"model\":\"llama\",\"created_at\":\"2025-01-01T00:00:00Z\",%s",
               made->style->others ? "\"new\":[1]," : "");
}

/* The piece in either form; generate knows no calls. */
static void ollama_text(struct made *made, struct buf *to, const char *piece)
{
    if (made->style->others && !count_calls(made->shape))
        buf_printf(to, "\"response\":\"%s\"", piece);
    else
        buf_printf(to, "\"message\":{\"role\":\"assistant\",\"content\":\"%s\"}", piece);
}

static void ollama_end(struct made *made, struct buf *to)
{
    const char *reason = made->shape->reason;
    bool told = made->shape->usage == USAGE_END || made->shape->usage == USAGE_ALWAYS;
    buf_printf(to, ",\"done_reason\":\"%s\",\"total_duration\":7%s,\"done\":true}",
               strcmp(reason, "length") == 0 ? "length" : "stop",
               told ? ",\"prompt_eval_count\":11,\"eval_count\":9" : "");
}

static void ollama_call(struct buf *to, const struct corpus_call *call)
{
    buf_printf(to, "{\"function\":{\"name\":\"%s\",\"arguments\":", call->name);
    add_arguments(to, call);
    buf_printf(to, "}}");
}

static void ollama_make(struct made *made)
{
    const struct shape *shape = made->shape;
    for (size_t i = 0; i < count_pieces(shape); i++) {
        ollama_head(made, &made->event);
        ollama_text(made, &made->event, shape->pieces[i]);
        buf_printf(&made->event, ",\"done\":false}");
        emit(made, NULL, NULL);
    }
    for (size_t i = 0; i < count_calls(shape); i++) {
        ollama_head(made, &made->event);
        buf_printf(&made->event, "\"message\":{\"role\":\"assistant\",\"content\":\"\","
                                 "\"tool_calls\":[");
        ollama_call(&made->event, &shape->calls[i]);
        buf_printf(&made->event, "]},\"done\":false}");
        emit(made, NULL, NULL);
    }
    if (!shape->reason) {
        buf_printf(&made->event, "{\"error\":\"the model runner stopped\"}");
        emit(made, NULL, &made->error);
        return;
    }
    ollama_head(made, &made->event);
    ollama_text(made, &made->event, "");
    ollama_end(made, &made->event);
    emit(made, NULL, &made->end);
    made->reason = made->end;
}

static void ollama_reply(struct made *made)
{
    const struct shape *shape = made->shape;
    struct buf *to = &made->reply;
    ollama_head(made, to);
    buf_printf(to, "\"message\":{\"role\":\"assistant\",\"content\":");
    add_text(to, shape);
    for (size_t i = 0; i < count_calls(shape); i++) {
        buf_printf(to, i ? "," : ",\"tool_calls\":[");
        ollama_call(to, &shape->calls[i]);
        buf_printf(to, i + 1 == count_calls(shape) ? "]" : "");
    }
    buf_add_char(to, '}');
    ollama_end(made, to);
}

/* number: 0..139 */
static void corpus_make(size_t number, struct made *ret)
{
    static void (*const make[])(struct made *) = {openai_make, anthropic_make, ollama_make};
    static void (*const reply[])(struct made *) = {openai_reply, anthropic_reply, ollama_reply};
    const struct mark nowhere = {NOWHERE, NOWHERE, NOWHERE};
    *ret = (struct made){
        .shape = &shapes[number % SHAPES],
        .style = &styles[number / SHAPES],
        .reason = nowhere,
        .end = nowhere,
        .error = nowhere,
    };
    buf_init(&ret->bytes, 1 << 16);
    buf_init(&ret->reply, 1 << 16);
    buf_init(&ret->event, 1 << 14);
    make[ret->style->vendor](ret);
    if (ret->shape->reason)
        reply[ret->style->vendor](ret);
}

static void corpus_done(struct made *made)
{
    buf_done(&made->bytes);
    buf_done(&made->reply);
    buf_done(&made->event);
}

#endif
