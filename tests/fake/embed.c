/*
 * embed.c -- see embed.h.
 */
#include "tests/fake/embed.h"

#include "tests/fake/digest.h"

#define DIMENSIONS     8 /* unless asked otherwise */
#define DIMENSIONS_MAX 4096

/* Digests of the texts that were read last. */
static uint64_t texts[EMBED_TEXTS_MAX];

static bool text_add(struct prompt *prompt, yyjson_val *text, const char **ret_why)
{
    size_t len = yyjson_get_len(text);
    if (!yyjson_is_str(text) || len == 0) {
        *ret_why = "'input' must be a string that is not empty, or an array of such";
        return false;
    }
    const char *bytes = yyjson_get_str(text);
    prompt->digest = digest_add(digest_add(prompt->digest, bytes, len), "", 1);
    prompt->content_bytes += len;
    texts[prompt->text_count++] = digest_add(DIGEST_START, bytes, len);
    return true;
}

static bool texts_read(struct prompt *prompt, yyjson_val *input, const char **ret_why)
{
    yyjson_val *text;
    size_t i, count;
    if (!yyjson_is_arr(input))
        return text_add(prompt, input, ret_why);
    if (yyjson_arr_size(input) == 0 || yyjson_arr_size(input) > EMBED_TEXTS_MAX) {
        *ret_why = "'input' must have 1 to 2048 items";
        return false;
    }
    yyjson_arr_foreach(input, i, count, text)
    {
        if (!text_add(prompt, text, ret_why))
            return false;
    }
    return true;
}

bool embed_read(yyjson_val *root, struct prompt *prompt, const char **ret_why)
{
    yyjson_val *dimensions = yyjson_obj_get(root, "dimensions");
    yyjson_val *format = yyjson_obj_get(root, "encoding_format");
    prompt->texts = texts;
    prompt->dimensions = dimensions ? yyjson_get_uint(dimensions) : DIMENSIONS;
    if (prompt->dimensions < 1 || prompt->dimensions > DIMENSIONS_MAX) {
        *ret_why = "'dimensions' must be 1 to 4096";
        return false;
    }
    prompt->base64 = yyjson_equals_str(format, "base64");
    if (format && !prompt->base64 && !yyjson_equals_str(format, "float")) {
        *ret_why = "'encoding_format' must be float or base64";
        return false;
    }
    return texts_read(prompt, yyjson_obj_get(root, "input"), ret_why);
}

/* Between -1 and 1, exact in 24 bits. */
static double number_of(uint64_t text, size_t k)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%zu", k);
    uint64_t digest = digest_add(digest_add(text, "", 1), digits, (size_t)len);
    return (double)(digest >> 40) / (1 << 23) - 1;
}

static bool is_named(const struct reply *reply, const char *name)
{
    return slice_is(slice_of(reply->prompt->model), name);
}

static size_t length_of(const struct reply *reply, size_t text)
{
    bool longer = is_named(reply, "fake-embed-lengths") && text + 1 == reply->prompt->text_count;
    return reply->prompt->dimensions + longer;
}

static void numbers(const struct reply *reply, size_t text, struct buf *out)
{
    buf_text(out, "[");
    for (size_t k = 0; k < length_of(reply, text); k++)
        buf_format(out, k ? ",%.9g" : "%.9g", number_of(reply->prompt->texts[text], k));
    buf_text(out, is_named(reply, "fake-embed-nan") ? ",NaN]" : "]");
}

static void base64(const struct reply *reply, size_t text, struct buf *out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t group = 0;
    size_t count = length_of(reply, text) * 4, bits = 0;
    unsigned char bytes[4];
    buf_text(out, "\"");
    for (size_t i = 0; i < count; i++) {
        float number = (float)number_of(reply->prompt->texts[text], i / 4);
        if (is_named(reply, "fake-embed-nan"))
            memcpy(&number, "\0\0\xc0\x7f", 4);
        memcpy(bytes, &number, 4);
        group = group << 8 | bytes[i % 4];
        for (bits += 8; bits >= 6; bits -= 6)
            buf_add(out, &letters[group >> (bits - 6) & 63], 1);
    }
    if (bits)
        buf_add(out, &letters[group << (6 - bits) & 63], 1);
    buf_text(out, count % 3 == 1 ? "==\"" : count % 3 == 2 ? "=\"" : "\"");
}

static size_t count_of(const struct reply *reply)
{
    size_t count = reply->empty ? 0 : reply->prompt->text_count;
    return count && is_named(reply, "fake-embed-short") ? count - 1 : count;
}

void embed_openai(const struct reply *reply, struct buf *out)
{
    size_t count = count_of(reply);
    buf_text(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = count; i-- > 0;) {
        buf_text(out, "{\"object\":\"embedding\",\"index\":");
        buf_number(out, is_named(reply, "fake-embed-twice") ? 0 : i);
        buf_text(out, ",\"embedding\":");
        if (reply->prompt->base64 && reply->vendor != QWEN && reply->vendor != HUNYUAN)
            base64(reply, i, out);
        else
            numbers(reply, i, out);
        buf_text(out, i ? "}," : "}");
    }
    buf_text(out, "],\"model\":");
    buf_json(out, slice_of(reply->prompt->model));
    if (reply->usage != USAGE_NONE) {
        buf_text(out, ",\"usage\":{");
        reply_tokens(reply, "prompt_tokens", true, out);
        buf_text(out, ",");
        reply_tokens(reply, "total_tokens", true, out);
        buf_text(out, "}");
    }
    buf_text(out, "}");
}

void embed_ollama(const struct reply *reply, struct buf *out)
{
    size_t count = count_of(reply);
    buf_text(out, "{\"model\":");
    buf_json(out, slice_of(reply->prompt->model));
    buf_text(out, ",\"embeddings\":[");
    for (size_t i = 0; i < count; i++) {
        buf_text(out, i ? "," : "");
        numbers(reply, i, out);
    }
    buf_text(out, "],\"total_duration\":1000000,\"load_duration\":0");
    if (reply->usage != USAGE_NONE) {
        buf_text(out, ",");
        reply_tokens(reply, "prompt_eval_count", true, out);
    }
    buf_text(out, "}");
}
