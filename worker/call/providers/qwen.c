/*
 * qwen.c -- Alibaba's Qwen, DashScope's OpenAI-compatible mode.
 *
 * Format: openai_form.h with help.aliyun.com/model-studio, "OpenAI compatible - Chat" and "Error
 * codes". Other regions by base_url (https://dashscope-intl.aliyuncs.com/compatible-mode). Cached
 * and reasoning tokens are counted as OpenAI counts them. An insufficient_quota with 429 is the
 * limit of tokens a minute, which passes; a free quota that is used up does not. Embeddings
 * ("OpenAI compatible - Embedding"): numbers only, ten texts a call with v3 and v4.
 */
#include "worker/call/openai_form.h"

static const struct openai_error errors[] = {
    {NULL, "Free allocated quota exceeded", ERR_PROVIDER_QUOTA},
    {"AllocationQuota.FreeTierOnly", NULL, ERR_PROVIDER_QUOTA},
    {"Arrearage", NULL, ERR_PROVIDER_QUOTA},
    {"insufficient_quota", NULL, ERR_PROVIDER_RATE},
    {"data_inspection_failed", NULL, ERR_PROVIDER_FILTER},
    {"DataInspectionFailed", NULL, ERR_PROVIDER_FILTER},
    {NULL, "Range of input length should be", ERR_PROVIDER_CONTEXT},
    {0},
};

static const struct openai_form form = {
    .home = provider_home_qwen,
    .takes = OPENAI_TAKES_SEED | OPENAI_TAKES_TOP_K | OPENAI_TAKES_PRESENCE_PENALTY |
             OPENAI_TAKES_STREAM_OPTIONS,
    .errors = errors,
    .embeds = OPENAI_EMBEDS_DIMENSIONS,
};

OPENAI_FORM_EMBED(form);
OPENAI_FORM_PROVIDER(qwen, form, .embed = &form_embed);
