/*
 * embed.c -- see embed.h.
 */
#include "worker/call/embed.h"

#include <math.h>

#include "common/data/floats.h"

void embed_write_inputs(struct json_writer *json, const struct prompt *prompt)
{
    json_key(json, "input");
    json_open(json, '[');
    for (uint32_t i = 0; i < prompt->input_count; i++)
        json_str(json, prompt->inputs[i].text);
    json_close(json, ']');
}

bool embed_begin(struct embed_vectors *vectors, const struct prompt *prompt,
                 const struct value *list, struct arena *arena, struct err *err)
{
    if (!list || list->count != prompt->input_count) {
        err_set(err, ERR_PROVIDER_BAD_REPLY, "the provider's reply has %u vectors for %u texts",
                list ? list->count : 0, prompt->input_count);
        return false;
    }
    *vectors = (struct embed_vectors){.prompt = prompt, .arena = arena};
    vectors->texts = arena_array(arena, struct str, prompt->input_count);
    return true;
}

/* All have one length, and it is what was asked for: a model that ignores `dimensions` would do it
 * again, and be paid again. */
static bool check_length(struct embed_vectors *vectors, size_t count, struct err *err)
{
    int64_t asked = vectors->prompt->params->dimensions;
    if (count == 0 || count > EMBED_DIMENSIONS_MAX) {
        err_set(err, ERR_PROVIDER_BAD_REPLY,
                "a vector of the provider's reply has %zu numbers, 1 to %d are taken", count,
                EMBED_DIMENSIONS_MAX);
    } else if (vectors->dimensions && vectors->dimensions != count) {
        err_set(err, ERR_PROVIDER_BAD_REPLY,
                "the vectors of the provider's reply have different lengths: %zu and %zu",
                vectors->dimensions, count);
    } else if (asked != INT_ABSENT && (int64_t)count != asked) {
        err_set(err, ERR_PROVIDER_BAD_REPLY,
                "the provider's vectors have %zu numbers, %lld were asked for: the model does not "
                "follow params.dimensions, leave it out",
                count, (long long)asked);
        err->retry = RETRY_NEVER;
    } else {
        vectors->dimensions = count;
        return true;
    }
    return false;
}

static bool read_number(const struct value *value, float *ret)
{
    if (value->kind != VALUE_INT && value->kind != VALUE_REAL)
        return false;
    *ret = value->kind == VALUE_INT ? (float)value->number : (float)value->real;
    return isfinite(*ret);
}

static bool put_numbers(struct embed_vectors *vectors, struct str *text, const struct value *list,
                        struct err *err)
{
    if (!check_length(vectors, list->count, err))
        return false;
    if (!vectors->numbers)
        vectors->numbers = arena_array(vectors->arena, float, list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        if (read_number(&list->items[i], &vectors->numbers[i]))
            continue;
        err_set(err, ERR_PROVIDER_BAD_REPLY,
                "a vector of the provider's reply has something at place %u that is no number of "
                "32 bits",
                i);
        return false;
    }
    *text = floats_text(vectors->numbers, list->count, vectors->arena);
    return true;
}

static bool put_base64(struct embed_vectors *vectors, struct str *text, struct str base64,
                       struct err *err)
{
    size_t count = floats_count(base64);
    if (count == 0) {
        err_set(err, ERR_PROVIDER_BAD_REPLY,
                "a vector of the provider's reply is no base64 of finite 32-bit floats");
        return false;
    }
    *text = base64;
    return check_length(vectors, count, err);
}

bool embed_put(struct embed_vectors *vectors, int64_t place, const struct value *vector,
               struct err *err)
{
    bool known = place >= 0 && place < vectors->prompt->input_count;
    if (!known || vectors->texts[place].data) {
        err_set(err, ERR_PROVIDER_BAD_REPLY,
                "the provider's reply has a vector with index %lld, which is %s", (long long)place,
                known ? "there twice" : "none of ours");
        return false;
    }
    struct str *text = &vectors->texts[place];
    if (vector && vector->kind == VALUE_LIST)
        return put_numbers(vectors, text, vector, err);
    if (vector && vector->kind == VALUE_STR)
        return put_base64(vectors, text, vector->text, err);
    err_set(err, ERR_PROVIDER_BAD_REPLY,
            "a vector of the provider's reply is neither a list nor a text");
    return false;
}

void embed_end(const struct embed_vectors *vectors, struct answer *ret)
{
    ret->embeddings = (struct str_list){vectors->texts, vectors->prompt->input_count};
}
