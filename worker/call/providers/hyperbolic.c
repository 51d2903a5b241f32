/*
 * hyperbolic.c -- Hyperbolic, open models behind OpenAI's form.
 *
 * Format: openai_form.h with docs.hyperbolic.xyz, "REST API", and docs.hyperbolic.ai, "Text
 * Generation APIs". The models' servers are vLLM: its errors come without names, as
 * {"object":"error","message","code":400} or {"detail":".."}, and its usage often without details.
 */
#include "worker/call/openai_form.h"

static const struct openai_form form = {
    .home = provider_home_hyperbolic,
    .takes = OPENAI_TAKES_SEED | OPENAI_TAKES_TOP_K | OPENAI_TAKES_FREQUENCY_PENALTY |
             OPENAI_TAKES_PRESENCE_PENALTY | OPENAI_TAKES_STREAM_OPTIONS,
};

OPENAI_FORM_PROVIDER(hyperbolic, form);
