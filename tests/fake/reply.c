/*
 * reply.c -- whole answers; see reply.h.
 */
#include "tests/fake/reply.h"

#include "tests/fake/digest.h"
#include "tests/fake/embed.h"

#include <stdio.h>
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

size_t reply_cached(const struct reply *reply)
{
    unsigned percent;
    char rest;
    if (sscanf(reply->prompt->model, "cached-%3u%c", &percent, &rest) != 1 || percent > 100)
        return 0;
    return tokens_of(reply->prompt->content_bytes) * percent / 100;
}

size_t reply_written(const struct reply *reply)
{
    size_t cached = reply_cached(reply);
    bool writes = cached && reply->dialect == ANTHROPIC_MESSAGES;
    return writes ? (tokens_of(reply->prompt->content_bytes) - cached) / 2 : 0;
}

void reply_tokens(const struct reply *reply, const char *name, bool input, struct buf *out)
{
    size_t tokens = tokens_of(input ? reply->prompt->content_bytes : reply->text.len);
    if (input && reply->dialect == ANTHROPIC_MESSAGES)
        tokens -= reply_cached(reply) + reply_written(reply);
    buf_format(out, "\"%s\":", name);
    switch (reply->usage) {
    case USAGE_NEGATIVE:
        buf_text(out, "-7");
        return;
    case USAGE_ABSURD:
        buf_text(out, "9223372036854775807");
        return;
    case USAGE_TEXT:
        buf_format(out, "\"%zu\"", tokens);
        return;
    case USAGE_TRUE:
    case USAGE_NONE:
        buf_number(out, tokens);
        return;
    }
}

void reply_openai_usage(const struct reply *reply, struct buf *out)
{
    size_t input = tokens_of(reply->prompt->content_bytes), output = tokens_of(reply->text.len);
    buf_text(out, "{");
    reply_tokens(reply, "prompt_tokens", true, out);
    buf_text(out, ",");
    reply_tokens(reply, "completion_tokens", false, out);
    number(out, ",\"total_tokens\":", input + output);
    number(out, ",\"prompt_tokens_details\":{\"cached_tokens\":", reply_cached(reply));
    buf_text(out, "},\"completion_tokens_details\":{\"reasoning_tokens\":0}}");
}

static bool says_why(const struct reply *reply)
{
    return reply->finish == FINISH_ONCE || reply->finish == FINISH_TWICE;
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
        buf_text(out, ",\"refusal\":null},\"logprobs\":null,\"finish_reason\":");
        buf_text(out, !says_why(reply)       ? "null}"
                      : reply->cut_by_length ? "\"length\"}"
                                             : "\"stop\"}");
    }
    buf_text(out, "]");
    if (reply->usage != USAGE_NONE) {
        buf_text(out, ",\"usage\":");
        reply_openai_usage(reply, out);
    }
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
    buf_text(out, "],\"stop_reason\":");
    buf_text(out, !says_why(reply)       ? "null"
                  : reply->cut_by_length ? "\"max_tokens\""
                                         : "\"end_turn\"");
    buf_text(out, ",\"stop_sequence\":null");
    if (reply->usage != USAGE_NONE) {
        buf_text(out, ",\"usage\":{");
        reply_tokens(reply, "input_tokens", true, out);
        buf_text(out, ",");
        reply_tokens(reply, "output_tokens", false, out);
        number(out, ",\"cache_creation_input_tokens\":", reply_written(reply));
        number(out, ",\"cache_read_input_tokens\":", reply_cached(reply));
        buf_text(out, "}");
    }
    buf_text(out, "}");
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
    number(out, ",\"prompt_eval_duration\":", read_ns);
    number(out, ",\"eval_duration\":", write_ns);
    if (reply->usage == USAGE_NONE)
        return;
    buf_text(out, ",");
    reply_tokens(reply, "prompt_eval_count", true, out);
    buf_text(out, ",");
    reply_tokens(reply, "eval_count", false, out);
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
    buf_text(out, reply->finish == FINISH_MISSING ? ",\"done\":false" : ",\"done\":true");
    if (says_why(reply))
        buf_text(out, reply->cut_by_length ? ",\"done_reason\":\"length\""
                                           : ",\"done_reason\":\"stop\"");
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
    case OPENAI_EMBED:
        embed_openai(reply, out);
        return;
    case OLLAMA_EMBED:
        embed_ollama(reply, out);
        return;
    }
}

void reply_error200(const struct reply *reply, struct buf *out)
{
    struct error_facts facts = error_facts_sample(slice_of(reply->prompt->model), reply->id);
    error_body(reply->vendor, ERROR_SERVER, 500, &facts, out);
}
