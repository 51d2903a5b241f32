/*
 * reply.c -- whole answers and errors; see reply.h.
 */
#include "tests/fake/reply.h"

#include "tests/fake/digest.h"

#include <time.h>

void reply_text(const struct prompt *prompt, size_t bytes_min, struct buf *out)
{
    char hex[16];
    digest_hex(prompt->digest, hex);
    buf_text(out, "digest=");
    buf_add(out, hex, sizeof(hex));
    buf_text(out, " turns=");
    buf_number(out, prompt->turns);
    buf_text(out, " last=\"");
    buf_add(out, prompt->last.bytes, prompt->last.len);
    buf_text(out, "\"");
    static const char padding[] = " and so on and on and on";
    buf_reserve(out, bytes_min);
    while (out->len < bytes_min) {
        size_t part = bytes_min - out->len;
        buf_add(out, padding, part < sizeof(padding) - 1 ? part : sizeof(padding) - 1);
    }
}

static void number(struct buf *out, const char *before, uint64_t value)
{
    buf_text(out, before);
    buf_number(out, value);
}

static void id(struct buf *out, const char *prefix, uint64_t value)
{
    char hex[16];
    digest_hex(value, hex);
    buf_text(out, prefix);
    buf_add(out, hex, sizeof(hex));
    buf_text(out, "\"");
}

void reply_openai_usage(const struct reply *reply, struct buf *out)
{
    size_t input = tokens_of(reply->prompt->content_bytes), output = tokens_of(reply->text.len);
    number(out, "{\"prompt_tokens\":", input);
    number(out, ",\"completion_tokens\":", output);
    number(out, ",\"total_tokens\":", input + output);
    buf_text(out, ",\"prompt_tokens_details\":{\"cached_tokens\":0},"
                  "\"completion_tokens_details\":{\"reasoning_tokens\":0}}");
}

static void openai_whole(const struct reply *reply, struct buf *out)
{
    id(out, "{\"id\":\"chatcmpl-", reply->id);
    number(out, ",\"object\":\"chat.completion\",\"created\":", reply->wall_ms / 1000);
    buf_text(out, ",\"model\":");
    buf_json(out, slice_of(reply->prompt->model));
    buf_text(out, ",\"choices\":[");
    if (!reply->empty) {
        buf_text(out, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
        buf_json(out, reply->text);
        buf_text(out, ",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"");
        buf_text(out, reply->cut_by_length ? "length\"}" : "stop\"}");
    }
    buf_text(out, "],\"usage\":");
    reply_openai_usage(reply, out);
    buf_text(out, ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_fake\"}");
}

static void anthropic_whole(const struct reply *reply, struct buf *out)
{
    id(out, "{\"id\":\"msg_", reply->id);
    buf_text(out, ",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    buf_json(out, slice_of(reply->prompt->model));
    buf_text(out, ",\"content\":[");
    if (!reply->empty) {
        buf_text(out, "{\"type\":\"text\",\"text\":");
        buf_json(out, reply->text);
        buf_text(out, "}");
    }
    buf_text(out, "],\"stop_reason\":\"");
    buf_text(out, reply->cut_by_length ? "max_tokens" : "end_turn");
    buf_text(out, "\",\"stop_sequence\":null,\"usage\":");
    number(out, "{\"input_tokens\":", tokens_of(reply->prompt->content_bytes));
    number(out, ",\"output_tokens\":", tokens_of(reply->text.len));
    buf_text(out, ",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0}}");
}

void reply_time(uint64_t wall_ms, struct buf *out)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char text[32];
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    buf_format(out, "%s.%03uZ", text, (unsigned)(wall_ms % 1000));
}

/* Durations in nanoseconds; the delay is booked on writing the answer, a millisecond on reading. */
void reply_ollama_counts(const struct reply *reply, struct buf *out)
{
    uint64_t read_ns = 1000000, write_ns = (reply->delay_ms + 1) * 1000000;
    number(out, ",\"total_duration\":", read_ns + write_ns);
    buf_text(out, ",\"load_duration\":0");
    number(out, ",\"prompt_eval_count\":", tokens_of(reply->prompt->content_bytes));
    number(out, ",\"prompt_eval_duration\":", read_ns);
    number(out, ",\"eval_count\":", tokens_of(reply->text.len));
    number(out, ",\"eval_duration\":", write_ns);
}

static void ollama_whole(const struct reply *reply, struct buf *out)
{
    buf_text(out, "{\"model\":");
    buf_json(out, slice_of(reply->prompt->model));
    buf_text(out, ",\"created_at\":\"");
    reply_time(reply->wall_ms, out);
    if (reply->dialect == OLLAMA_CHAT) {
        buf_text(out, "\",\"message\":{\"role\":\"assistant\",\"content\":");
        buf_json(out, reply->text);
        buf_text(out, "}");
    } else {
        buf_text(out, "\",\"response\":");
        buf_json(out, reply->text);
    }
    buf_text(out, ",\"done\":true,\"done_reason\":\"");
    buf_text(out, reply->cut_by_length ? "length\"" : "stop\"");
    reply_ollama_counts(reply, out);
    buf_text(out, "}");
}

void reply_whole(const struct reply *reply, struct buf *out)
{
    switch (reply->dialect) {
    case OPENAI_CHAT:
        openai_whole(reply, out);
        return;
    case ANTHROPIC_MESSAGES:
        anthropic_whole(reply, out);
        return;
    case OLLAMA_CHAT:
    case OLLAMA_GENERATE:
        ollama_whole(reply, out);
        return;
    }
}

// clang-format off
static const struct vendor_error {
    int status;
    const char *openai_type, *openai_code, *anthropic_type, *text;
} vendor_errors[] = {
    {400, "invalid_request_error", NULL,                  "invalid_request_error", "the request is not valid"},
    {401, "invalid_request_error", "invalid_api_key",     "authentication_error",  "incorrect API key provided"},
    {403, "invalid_request_error", NULL,                  "permission_error",      "you are not allowed to use this model"},
    {404, "invalid_request_error", "model_not_found",     "not_found_error",       "the model does not exist"},
    {413, "invalid_request_error", NULL,                  "request_too_large",     "the request is too large"},
    {429, "requests",              "rate_limit_exceeded", "rate_limit_error",      "rate limit reached, slow down"},
    {500, "server_error",          NULL,                  "api_error",             "the server had an error"},
    {503, "server_error",          NULL,                  "overloaded_error",      "the server is busy, please try again"},
    {529, "server_error",          NULL,                  "overloaded_error",      "overloaded"},
};
// clang-format on

/* Rows are in order, so the last one not above `status` is the nearest of its hundred. */
static const struct vendor_error *vendor_error(int status)
{
    const struct vendor_error *best = &vendor_errors[0];
    for (size_t i = 0; i < sizeof(vendor_errors) / sizeof(vendor_errors[0]); i++) {
        const struct vendor_error *row = &vendor_errors[i];
        if (row->status == status)
            return row;
        if (row->status / 100 == status / 100 && row->status % 100 == 0)
            best = row;
    }
    return best;
}

const char *reply_error_text(int status)
{
    return vendor_error(status)->text;
}

void reply_error(enum dialect dialect, int status, const char *text, struct buf *out)
{
    const struct vendor_error *row = vendor_error(status);
    if (dialect == OPENAI_CHAT) {
        buf_text(out, "{\"error\":{\"message\":");
        buf_json(out, slice_of(text));
        buf_format(out, ",\"type\":\"%s\",\"param\":null,\"code\":", row->openai_type);
        if (row->openai_code)
            buf_format(out, "\"%s\"}}", row->openai_code);
        else
            buf_text(out, "null}}");
    } else if (dialect == ANTHROPIC_MESSAGES) {
        buf_format(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
                   row->anthropic_type);
        buf_json(out, slice_of(text));
        buf_text(out, "}}");
    } else {
        buf_text(out, "{\"error\":");
        buf_json(out, slice_of(text));
        buf_text(out, "}");
    }
}
