/*
 * err.c -- errors: the table printed from schemas/error.def and the text in front of it.
 *
 * Texts are formatted aside and copied, so that an error's own text may be an argument, and are cut
 * at a code point's border, so that they stay valid UTF-8 when their parts were.
 */
#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/base/must.h"

struct row {
    const char *name;
    enum err_retry retry;
    int http;
    const char *sentence;
};

static const struct row rows[ERR_CODE_COUNT] = {
    [ERR_NONE] = {"none", RETRY_NEVER, 200, "no error"},
#define ERROR(code, name_, retry_, http_, sentence_)                                               \
    [code] = {name_, RETRY_##retry_, http_, sentence_},
#include "schemas/error.def"
#undef ERROR
};

static const struct row *row_of(enum err_code code)
{
    must((unsigned)code < ERR_CODE_COUNT);
    return &rows[code];
}

/* `len` is what the printf family wanted to write into `text` of `size` bytes. */
static void take_text(struct err *err, const char *text, int len, size_t size)
{
    must(len >= 0);
    size_t written = (size_t)len < size ? (size_t)len : size - 1;
    struct str cut = {text, written};
    size_t max = sizeof(err->text) - 1;
    if (written > max)
        cut = str_utf8_cut(cut, max);
    memcpy(err->text, cut.data, cut.len);
    err->text[cut.len] = '\0';
}

void err_set(struct err *err, enum err_code code, const char *format, ...)
{
    if (!err)
        return;
    char text[2 * sizeof(err->text)];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    err->code = code;
    err->retry = row_of(code)->retry;
    err->retry_after_ms = 0;
    take_text(err, text, len, sizeof(text));
}

void err_prefix(struct err *err, const char *format, ...)
{
    if (!err)
        return;
    char context[2 * sizeof(err->text)]; /* longer than what remains, so the cut is made once */
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof(context), format, args);
    va_end(args);

    char text[sizeof(context) + sizeof(err->text)];
    int len = snprintf(text, sizeof(text), "%s: %s", context, err->text);
    take_text(err, text, len, sizeof(text));
}

void err_clear(struct err *err)
{
    if (!err)
        return;
    err->code = ERR_NONE;
    err->retry = RETRY_NEVER;
    err->retry_after_ms = 0;
    err->text[0] = '\0';
}

void err_copy(struct err *to, const struct err *from)
{
    if (from && from->code)
        *to = *from;
    else
        err_clear(to);
}

const char *err_name(enum err_code code)
{
    return row_of(code)->name;
}

const char *err_sentence(enum err_code code)
{
    return row_of(code)->sentence;
}

int err_http(enum err_code code)
{
    return row_of(code)->http;
}

enum err_retry err_retry_of(enum err_code code)
{
    return row_of(code)->retry;
}

enum err_code err_by_name(struct str name)
{
    for (unsigned code = 0; code < ERR_CODE_COUNT; code++) {
        if (str_is(name, rows[code].name))
            return (enum err_code)code;
    }
    return ERR_INTERNAL;
}

const char *err_retry_name(enum err_retry retry)
{
    static const char *const names[] = {"never", "later", "elsewhere"};
    must((unsigned)retry < sizeof(names) / sizeof(names[0]));
    return names[retry];
}
