/*
 * openai.c -- OpenAI's chat completions, and every server that speaks them (by base_url).
 *
 * Format: openai_form.h. The reasoning models refuse max_tokens and want max_completion_tokens;
 * other servers often know only the old name, so the new one is sent to OpenAI alone. Vectors are
 * asked for as base64, as OpenAI's own clients do; a server that sends numbers instead is
 * understood.
 */
#include "worker/call/openai_form.h"

static bool is_reasoning(struct str model)
{
    return str_starts(model, STR("o1")) || str_starts(model, STR("o3")) ||
           str_starts(model, STR("o4")) || str_starts(model, STR("gpt-5"));
}

static const char *max_tokens_name(const struct provider_model *model)
{
    return str_empty(model->base_url) && is_reasoning(model->model) ? "max_completion_tokens"
                                                                    : "max_tokens";
}

static const struct openai_form form = {
    .home = provider_home_openai,
    .takes = OPENAI_TAKES_SEED | OPENAI_TAKES_FREQUENCY_PENALTY | OPENAI_TAKES_PRESENCE_PENALTY |
             OPENAI_TAKES_STREAM_OPTIONS,
    .max_tokens_name = max_tokens_name,
    .embeds = OPENAI_EMBEDS_DIMENSIONS | OPENAI_EMBEDS_BASE64,
};

OPENAI_FORM_EMBED(form);
OPENAI_FORM_PROVIDER(openai, form, .embed = &form_embed);
