/*
 * vendor.h -- whom we pretend to be: the vendor decides the words of errors and the headers.
 *
 * The path says the dialect (prompt.h) and mostly the vendor. /v1/chat/completions is everybody's:
 * there the model's name decides ("deepseek-chat", "qwen-plus", "hunyuan/fake-429"), and without a
 * name we know the control setting.
 *
 * To add a vendor: a value here, a row in `vendors` (vendor.c), its rows in errors.def.
 */
#ifndef FAKE_VENDOR_H
#define FAKE_VENDOR_H

#include "tests/fake/buf.h"

enum vendor { OPENAI, AZURE, ANTHROPIC, OLLAMA, DEEPSEEK, QWEN, HUNYUAN, HYPERBOLIC };

/* Which headers tell a client of its limits. */
enum limit_headers {
    LIMIT_HEADERS_NONE,
    LIMIT_HEADERS_OPENAI,
    LIMIT_HEADERS_AZURE, /* OpenAI's without the times */
    LIMIT_HEADERS_ANTHROPIC,
};

const char *vendor_name(enum vendor vendor);
enum limit_headers vendor_limit_headers(enum vendor vendor);

/* By its whole name. */
bool vendor_parse(struct slice name, enum vendor *ret);

/* By what a model's name begins with. */
bool vendor_of_model(struct slice model, enum vendor *ret);

/* The model's name without a leading "VENDOR/". */
struct slice vendor_strip(struct slice model);

/* Whether it has embeddings. */
bool vendor_embeds(enum vendor vendor);

#endif
