/*
 * prompt.c -- reading requests; see prompt.h.
 *
 * Small bodies are parsed into one block that is kept for ever, larger ones into memory of their
 * own; nothing of the JSON document outlives prompt_read().
 */
#include "tests/fake/prompt.h"

#include "tests/fake/digest.h"
#include "tests/fake/embed.h"

#include <stdio.h>
#include <yyjson.h>

struct reading {
    enum dialect dialect;
    struct slice model; /* from outside of the body; empty: the body's */
    yyjson_val *root;
    struct prompt *prompt;
    const char *why;
};

static bool refuse(struct reading *reading, const char *why)
{
    reading->why = why;
    return false;
}

static bool utf8_starts(char byte)
{
    return ((unsigned char)byte & 0xc0) != 0x80;
}

/* Keeps the first LAST_CHARS code points of what is added. */
static void last_add(struct prompt *prompt, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (utf8_starts(text.at[i]) && ++prompt->last.chars > LAST_CHARS)
            return;
        if (prompt->last.chars > LAST_CHARS)
            return;
        prompt->last.bytes[prompt->last.len++] = text.at[i];
    }
}

static void content_add(struct prompt *prompt, struct slice text, bool is_user)
{
    prompt->digest = digest_add(prompt->digest, text.at, text.len);
    prompt->content_bytes += text.len;
    if (is_user)
        last_add(prompt, text);
}

static bool content_part(struct reading *reading, yyjson_val *part, bool is_user)
{
    yyjson_val *type = yyjson_obj_get(part, "type");
    if (!yyjson_is_str(type))
        return refuse(reading, "each content part needs a 'type'");
    if (!yyjson_equals_str(type, "text"))
        return true; /* images, tool calls and the like are no text */
    yyjson_val *text = yyjson_obj_get(part, "text");
    if (!yyjson_is_str(text))
        return refuse(reading, "a content part of type 'text' needs a string 'text'");
    content_add(reading->prompt, (struct slice){yyjson_get_str(text), yyjson_get_len(text)},
                is_user);
    return true;
}

static bool message_add(struct reading *reading, struct slice role, yyjson_val *content)
{
    struct prompt *prompt = reading->prompt;
    bool is_user = slice_is(role, "user");
    if (is_user)
        prompt->last.len = prompt->last.chars = 0;
    prompt->turns++;
    prompt->digest = digest_add(prompt->digest, role.at, role.len);
    prompt->digest = digest_add(prompt->digest, "", 1);
    if (yyjson_is_str(content)) {
        content_add(prompt, (struct slice){yyjson_get_str(content), yyjson_get_len(content)},
                    is_user);
    } else if (yyjson_is_arr(content)) {
        yyjson_val *part;
        size_t i, count;
        yyjson_arr_foreach(content, i, count, part)
        {
            if (!content_part(reading, part, is_user))
                return false;
        }
    } else if (content && !yyjson_is_null(content)) {
        return refuse(reading, "'content' must be a string or an array of parts");
    }
    prompt->digest = digest_add(prompt->digest, "", 1);
    return true;
}

static bool role_known(enum dialect dialect, struct slice role)
{
    if (slice_is(role, "user") || slice_is(role, "assistant"))
        return true;
    if (dialect == ANTHROPIC_MESSAGES)
        return false;
    if (slice_is(role, "system") || slice_is(role, "tool"))
        return true;
    return dialect == OPENAI_CHAT && (slice_is(role, "developer") || slice_is(role, "function"));
}

/* Only an assistant that called a tool may have said nothing. */
static bool message_read(struct reading *reading, yyjson_val *message)
{
    yyjson_val *name = yyjson_obj_get(message, "role");
    if (!yyjson_is_str(name))
        return refuse(reading, "each message needs a 'role'");
    struct slice role = {yyjson_get_str(name), yyjson_get_len(name)};
    if (!role_known(reading->dialect, role))
        return refuse(reading, "unknown 'role' in 'messages'");
    yyjson_val *content = yyjson_obj_get(message, "content");
    if ((!content || yyjson_is_null(content)) && !slice_is(role, "assistant"))
        return refuse(reading, "each message needs 'content'");
    return message_add(reading, role, content);
}

static bool messages_read(struct reading *reading)
{
    yyjson_val *messages = yyjson_obj_get(reading->root, "messages");
    if (!yyjson_is_arr(messages))
        return refuse(reading, "missing required parameter: 'messages'");
    if (yyjson_arr_size(messages) == 0)
        return refuse(reading, "'messages' must not be empty");
    yyjson_val *message;
    size_t i, count;
    yyjson_arr_foreach(messages, i, count, message)
    {
        if (!message_read(reading, message))
            return false;
    }
    return true;
}

/* A 'system' beside the messages; null and empty count as absent. */
static bool system_read(struct reading *reading)
{
    yyjson_val *system = yyjson_obj_get(reading->root, "system");
    if (!system || yyjson_is_null(system) || yyjson_equals_str(system, ""))
        return true;
    return message_add(reading, slice_of("system"), system);
}

static bool openai_read(struct reading *reading)
{
    yyjson_val *options = yyjson_obj_get(reading->root, "stream_options");
    if (options && !yyjson_is_null(options) && !reading->prompt->stream)
        return refuse(reading, "'stream_options' is only allowed when 'stream' is true");
    reading->prompt->include_usage = yyjson_is_true(yyjson_obj_get(options, "include_usage"));
    return messages_read(reading);
}

static bool anthropic_read(struct reading *reading)
{
    yyjson_val *max_tokens = yyjson_obj_get(reading->root, "max_tokens");
    if (!max_tokens)
        return refuse(reading, "max_tokens: Field required");
    if (!yyjson_is_uint(max_tokens) || yyjson_get_uint(max_tokens) == 0)
        return refuse(reading, "max_tokens: must be a positive integer");
    return system_read(reading) && messages_read(reading);
}

static bool generate_read(struct reading *reading)
{
    yyjson_val *prompt = yyjson_obj_get(reading->root, "prompt");
    if (!yyjson_is_str(prompt))
        return refuse(reading, "missing required parameter: 'prompt'");
    return system_read(reading) && message_add(reading, slice_of("user"), prompt);
}

static bool texts_read(struct reading *reading)
{
    return embed_read(reading->root, reading->prompt, &reading->why);
}

static const struct {
    bool (*read)(struct reading *reading);
    bool stream_default;
} readers[] = {
    [OPENAI_CHAT] = {openai_read, false},  [ANTHROPIC_MESSAGES] = {anthropic_read, false},
    [OLLAMA_CHAT] = {messages_read, true}, [OLLAMA_GENERATE] = {generate_read, true},
    [OPENAI_EMBED] = {texts_read, false},  [OLLAMA_EMBED] = {texts_read, false},
};

static bool model_read(struct reading *reading)
{
    struct slice model = reading->model;
    if (model.len == 0) {
        yyjson_val *value = yyjson_obj_get(reading->root, "model");
        model = (struct slice){yyjson_get_str(value), yyjson_get_len(value)};
    }
    if (model.len == 0)
        return refuse(reading, "you must provide a 'model' parameter");
    if (model.len > MODEL_NAME_MAX)
        return refuse(reading, "'model' is too long");
    snprintf(reading->prompt->model, sizeof(reading->prompt->model), "%.*s", (int)model.len,
             model.at);
    return true;
}

/* However the vendors call it. */
static void max_tokens_read(struct reading *reading)
{
    yyjson_val *root = reading->root, *value = yyjson_obj_get(root, "max_tokens");
    if (!value)
        value = yyjson_obj_get(root, "max_completion_tokens");
    if (!value)
        value = yyjson_obj_get(yyjson_obj_get(root, "options"), "num_predict");
    reading->prompt->max_tokens = yyjson_get_uint(value);
}

static bool document_read(struct reading *reading)
{
    struct prompt *prompt = reading->prompt;
    if (!yyjson_is_obj(reading->root))
        return refuse(reading, "the body must be a JSON object");
    if (!model_read(reading))
        return false;
    max_tokens_read(reading);
    yyjson_val *stream = yyjson_obj_get(reading->root, "stream");
    if (stream && !yyjson_is_bool(stream) && !yyjson_is_null(stream))
        return refuse(reading, "'stream' must be a boolean");
    prompt->stream =
        yyjson_is_bool(stream) ? yyjson_get_bool(stream) : readers[reading->dialect].stream_default;
    return readers[reading->dialect].read(reading);
}

/* The block for small bodies: no allocation on the usual path. */
static yyjson_doc *parse(struct slice body, yyjson_read_err *err)
{
    static char block[256 << 10];
    yyjson_alc pool;
    const yyjson_alc *from = NULL;
    if (yyjson_read_max_memory_usage(body.len, 0) + 256 <= sizeof(block) &&
        yyjson_alc_pool_init(&pool, block, sizeof(block)))
        from = &pool;
    return yyjson_read_opts((char *)(uintptr_t)body.at, body.len, 0, from, err);
}

bool prompt_read(enum dialect dialect, struct slice model, struct slice body, struct prompt *ret,
                 const char **ret_why)
{
    static char sentence[256];
    *ret = (struct prompt){.digest = DIGEST_START};
    yyjson_read_err err;
    yyjson_doc *doc = parse(body, &err);
    if (!doc) {
        snprintf(sentence, sizeof(sentence), "could not parse the JSON body: %s at byte %zu",
                 err.msg, err.pos);
        *ret_why = sentence;
        return false;
    }
    struct reading reading = {
        .dialect = dialect, .model = model, .root = yyjson_doc_get_root(doc), .prompt = ret};
    bool ok = document_read(&reading);
    yyjson_doc_free(doc);
    if (!ok)
        *ret_why = reading.why;
    return ok;
}
