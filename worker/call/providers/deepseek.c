/*
 * deepseek.c -- DeepSeek.
 *
 * Format: openai_form.h with api-docs.deepseek.com, "Create Chat Completion" and "Error Codes".
 * There is no seed. Cached input is prompt_cache_hit_tokens; with prompt_cache_miss_tokens it makes
 * prompt_tokens. The reasoning stands in message.reasoning_content and is no part of the text; a
 * message with tool calls keeps it, because it must be sent back with them. Errors all have the
 * same code, so their words tell; a lack of machines ends an answer in the middle.
 */
#include "worker/call/openai_form.h"

static void count(const struct value *usage, struct usage *ret)
{
    int64_t hit = provider_count(usage, "prompt_cache_hit_tokens");
    if (value_get(usage, STR("prompt_cache_hit_tokens")))
        ret->cached_input = hit;
    if (!value_get(usage, STR("prompt_tokens")))
        ret->input = hit + provider_count(usage, "prompt_cache_miss_tokens");
}

static const struct openai_error errors[] = {
    {NULL, "Content Exists Risk", ERR_PROVIDER_FILTER},
    {0},
};

static const struct openai_finish finishes[] = {
    {"insufficient_system_resource", "length", ERR_PROVIDER_DOWN},
    {0},
};

static const struct openai_form form = {
    .home = provider_home_deepseek,
    .takes = OPENAI_TAKES_FREQUENCY_PENALTY | OPENAI_TAKES_PRESENCE_PENALTY |
             OPENAI_TAKES_STREAM_OPTIONS,
    .errors = errors,
    .finishes = finishes,
    .count = count,
};

OPENAI_FORM_PROVIDER(deepseek, form);
