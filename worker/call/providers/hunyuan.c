/*
 * hunyuan.c -- Tencent's Hunyuan, its OpenAI-compatible interface.
 *
 * Format: openai_form.h with cloud.tencent.com/document/product/1729/111007. Of the sampling
 * parameters it knows temperature, top_p and seed (1 to 10000). Its errors have numbers for codes,
 * which say nothing that the status does not. A `stop` text is left at the end of the answer, and
 * an answer that the moderation cuts ends with "sensitive". A prompt that is too long is no error:
 * its beginning is cut off there. stream_options is unknown to it; its chunks say the tokens
 * anyway. Its embeddings take model and input only: 1,024 numbers each.
 */
#include "worker/call/openai_form.h"

static const struct openai_finish finishes[] = {
    {"sensitive", "content_filter", ERR_NONE},
    {0},
};

static const struct openai_form form = {
    .home = provider_home_hunyuan,
    .takes = OPENAI_TAKES_SEED,
    .finishes = finishes,
};

OPENAI_FORM_EMBED(form);
OPENAI_FORM_PROVIDER(hunyuan, form, .embed = &form_embed);
