/*
 * vendor.c -- the table of vendors; see vendor.h.
 */
#include "tests/fake/vendor.h"

// clang-format off
static const struct {
    const char *name;
    bool speaks_openai; /* on /v1/chat/completions, so its models are known by their prefix */
    enum limit_headers headers;
} vendors[] = {
    [OPENAI]     = {"openai",     true,  LIMIT_HEADERS_OPENAI},
    [AZURE]      = {"azure",      true,  LIMIT_HEADERS_AZURE},
    [ANTHROPIC]  = {"anthropic",  false, LIMIT_HEADERS_ANTHROPIC},
    [OLLAMA]     = {"ollama",     false, LIMIT_HEADERS_NONE},
    [DEEPSEEK]   = {"deepseek",   true,  LIMIT_HEADERS_NONE},
    [QWEN]       = {"qwen",       true,  LIMIT_HEADERS_NONE},
    [HUNYUAN]    = {"hunyuan",    true,  LIMIT_HEADERS_NONE},
    [HYPERBOLIC] = {"hyperbolic", true,  LIMIT_HEADERS_NONE},
};
// clang-format on

#define VENDORS (sizeof(vendors) / sizeof(vendors[0]))

const char *vendor_name(enum vendor vendor)
{
    return vendors[vendor].name;
}

enum limit_headers vendor_limit_headers(enum vendor vendor)
{
    return vendors[vendor].headers;
}

bool vendor_embeds(enum vendor vendor)
{
    return vendor != ANTHROPIC && vendor != DEEPSEEK && vendor != HYPERBOLIC;
}

bool vendor_parse(struct slice name, enum vendor *ret)
{
    for (size_t i = 0; i < VENDORS; i++) {
        if (slice_is(name, vendors[i].name)) {
            *ret = (enum vendor)i;
            return true;
        }
    }
    return false;
}

bool vendor_of_model(struct slice model, enum vendor *ret)
{
    for (size_t i = 0; i < VENDORS; i++) {
        size_t len = strlen(vendors[i].name);
        if (!vendors[i].speaks_openai || model.len < len ||
            memcmp(model.at, vendors[i].name, len) != 0)
            continue;
        *ret = (enum vendor)i;
        return true;
    }
    return false;
}

struct slice vendor_strip(struct slice model)
{
    const char *slash = memchr(model.at, '/', model.len);
    enum vendor vendor;
    if (!slash ||
        !vendor_parse((struct slice){.at = model.at, .len = (size_t)(slash - model.at)}, &vendor))
        return model;
    return (struct slice){.at = slash + 1, .len = model.len - (size_t)(slash + 1 - model.at)};
}
