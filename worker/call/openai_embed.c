/*
 * openai_embed.c -- embeddings in OpenAI's form, for every vendor that speaks it.
 *
 * Format: openai-openapi, "CreateEmbeddingRequest" and "CreateEmbeddingResponse". The vectors stand
 * in `data`, each with its `index`, in no order that is promised; where a server leaves the index
 * out, its place counts. Errors and usage are those of openai_form.c.
 */
#include "common/base/plant.h"
#include "worker/call/embed.h"
#include "worker/call/openai_form.h"

bool openai_form_embed_body(const struct openai_form *form, struct str model,
                            const struct prompt *prompt, struct arena *arena, struct str *ret,
                            struct err *err)
{
    struct provider_body body;
    int64_t dimensions = prompt->params->dimensions;
    if (dimensions != INT_ABSENT && !(form->embeds & OPENAI_EMBEDS_DIMENSIONS)) {
        err_set(err, ERR_INVALID_REQUEST,
                "the provider of model '" STR_FMT "' takes no dimensions; leave params.dimensions "
                "out",
                STR_ARG(str_utf8_cut(model, 80)));
        return false;
    }
    provider_body_open(&body, arena);
    json_key(&body.json, "model");
    json_str(&body.json, model);
    embed_write_inputs(&body.json, prompt);
    provider_write_int(&body.json, "dimensions", dimensions);
    if (form->embeds & OPENAI_EMBEDS_BASE64) {
        json_key(&body.json, "encoding_format");
        json_str(&body.json, STR("base64"));
    }
    return provider_body_close(&body, ret, err);
}

bool openai_form_embed_encode(const struct provider_embed *embed,
                              const struct provider_model *model, const struct prompt *prompt,
                              struct arena *arena, struct provider_request *ret, struct err *err)
{
    const struct openai_form *form = embed->form;
    struct provider_request request = {0};
    request.url = openai_form_url(model, form->home, "/v1", "/v1/embeddings", arena);
    provider_add_json(&request);
    provider_add_bearer(&request, model, arena);
    provider_add_configured(&request, model);
    if (!openai_form_embed_body(form, model->model, prompt, arena, &request.body, err))
        return false;
    *ret = request;
    return true;
}

/* An index that is no number is none of ours: its vector would be taken for another text's. */
static int64_t place_of(const struct value *item, uint32_t otherwise)
{
    const struct value *index = value_get(item, STR("index"));
    if (!index || index->kind == VALUE_NULL)
        return otherwise;
    if (index->kind == VALUE_REAL && index->real >= 0 && index->real < UINT32_MAX &&
        index->real == (double)(int64_t)index->real)
        return (int64_t)index->real;
    return index->kind == VALUE_INT ? index->number : -1;
}

static bool read_vectors(const struct value *document, const struct prompt *prompt,
                         struct arena *arena, struct answer *ret, struct err *err)
{
    const struct value *data = value_get_list(document, "data");
    struct embed_vectors vectors;
    if (!embed_begin(&vectors, prompt, data, arena, err))
        return false;
    for (uint32_t i = 0; i < data->count; i++) {
        const struct value *item = &data->items[i];
        int64_t place = PLANTED(76) ? i : place_of(item, i);
        if (!embed_put(&vectors, place, value_get(item, STR("embedding")), err))
            return false;
    }
    embed_end(&vectors, ret);
    return true;
}

bool openai_form_embed_decode(const struct provider_embed *embed, const struct prompt *prompt,
                              const struct provider_reply *reply, struct arena *arena,
                              struct answer *ret, struct err *err)
{
    struct value document;
    struct answer answer = {0};
    if (!openai_form_open(embed->form, reply, arena, &document, &answer, err))
        return false;
    bool good = read_vectors(&document, prompt, arena, &answer, err);
    *ret = answer; /* also of a failed call: its tokens are paid */
    return good;
}
