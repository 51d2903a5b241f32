/*
 * conf_source.c -- names of the environment, ${NAME} in texts, and values that live in files.
 *
 * A file that holds a value is read with a bound and its content never gets into a message. The
 * environment is an argument and not the process's own, so that tests and tools can bring theirs.
 */
#include "common/data/conf_source.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>

enum { SECRET_BYTES_MAX = 65536, EXPANDED_BYTES_MAX = 1 << 20 };

struct str conf_environment_get(const char *const *environment, struct str name)
{
    for (; environment && *environment; environment++)
        if (strncmp(*environment, name.data, name.len) == 0 && (*environment)[name.len] == '=')
            return str_of(*environment + name.len + 1);
    return (struct str){NULL, 0};
}

static void add_word(struct buf *out, struct str word)
{
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.data[i];
        buf_add_char(out, isalnum(c) ? (char)toupper(c) : '_');
    }
}

static struct str to_arena(struct arena *arena, struct buf *text)
{
    struct str copy = arena_str(arena, buf_str(text));
    buf_done(text);
    return copy;
}

struct str conf_environment_word(struct arena *arena, struct str name)
{
    struct buf out;
    buf_init(&out, 4096);
    add_word(&out, name);
    return to_arena(arena, &out);
}

struct str conf_environment_name(struct arena *arena, struct str prefix, struct str key)
{
    struct buf out;
    struct str part;

    buf_init(&out, 4096);
    buf_add_str(&out, prefix);
    for (bool first = true; str_split(&key, '.', &part); first = false) {
        if (!first)
            buf_add_str(&out, STR("__"));
        add_word(&out, part);
    }
    return to_arena(arena, &out);
}

struct str conf_property_name(struct arena *arena, const struct conf_row *row, struct str word)
{
    char *text = arena_cstr(arena, word);
    for (char *c = text; *c; c++)
        *c = *c != '_' ? (char)tolower((unsigned char)*c) : row->choices ? row->choices[0] : '.';
    return str_of(text);
}

bool conf_property_is_file(struct str word)
{
    return str_ends(word, STR("PASSWORD_FILE")) || str_ends(word, STR("SECRET_FILE")) ||
           str_ends(word, STR("TOKEN_FILE"));
}

/* `inner` is what stands between the braces: "NAME" or "NAME:-default". */
static bool expand_one(struct str inner, const char *const *environment, const char *where,
                       struct str *ret, struct err *err)
{
    size_t colon = str_index(inner, ':');
    bool has_default = colon + 1 < inner.len && inner.data[colon + 1] == '-';
    struct str name = has_default ? str_slice(inner, 0, colon) : inner;
    struct str value = conf_environment_get(environment, name);

    if (has_default && str_empty(value))
        value = str_slice(inner, colon + 2, inner.len);
    if (!value.data) {
        err_set(err, ERR_CONFIG,
                "%s: the environment has no '" STR_FMT "'; set it, or write ${" STR_FMT
                ":-default}",
                where, STR_ARG(name), STR_ARG(name));
        return false;
    }
    *ret = value;
    return true;
}

/* Copies up to the next ${..} and expands that; `*rest` is what is left. */
static bool expand_next(struct str *rest, const char *const *environment, const char *where,
                        struct buf *out, struct err *err)
{
    struct str value;
    size_t dollar = str_index(*rest, '$');
    size_t end = str_index(*rest, '}');

    buf_add_str(out, str_slice(*rest, 0, dollar));
    *rest = str_slice(*rest, dollar, rest->len);
    if (str_starts(*rest, STR("$${"))) {
        buf_add_str(out, STR("${"));
        *rest = str_slice(*rest, 3, rest->len);
        return true;
    }
    end = str_index(*rest, '}');
    if (!str_starts(*rest, STR("${")) || end == rest->len) { /* an ordinary dollar */
        buf_add_str(out, str_slice(*rest, 0, 1));
        *rest = str_slice(*rest, 1, rest->len);
        return true;
    }
    if (!expand_one(str_slice(*rest, 2, end), environment, where, &value, err))
        return false;
    buf_add_str(out, value);
    *rest = str_slice(*rest, end + 1, rest->len);
    return true;
}

bool conf_expand(struct str text, const char *const *environment, const char *where,
                 struct arena *arena, struct str *ret, struct err *err)
{
    struct buf out;
    bool good = true;

    if (str_index(text, '$') == text.len) {
        *ret = text;
        return true;
    }
    buf_init(&out, EXPANDED_BYTES_MAX);
    while (good && !str_empty(text))
        good = expand_next(&text, environment, where, &out, err);
    if (good && out.overflowed) {
        err_set(err, ERR_CONFIG, "%s: the text is too long once its ${..} are filled in", where);
        good = false;
    }
    if (good)
        *ret = arena_str(arena, buf_str(&out));
    buf_done(&out);
    return good;
}

bool conf_file_read(const char *path, size_t bytes_max, struct buf *ret, struct err *err)
{
    char piece[16384];
    ssize_t got = -1;
    int why = 0;

    buf_init(ret, bytes_max);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && !ret->overflowed) {
        got = read(fd, piece, sizeof(piece));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        buf_add(ret, piece, (size_t)got);
    }
    why = errno;
    if (fd >= 0)
        close(fd);
    if (got == 0)
        return true;
    err_set(err, ERR_CONFIG, "cannot read '%s': %s", path,
            ret->overflowed ? "it is too large" : strerror(why));
    return false;
}

bool conf_secret_read(struct str path, const char *where, struct arena *arena, struct str *ret,
                      struct err *err)
{
    struct buf content;
    bool good = conf_file_read(arena_cstr(arena, path), SECRET_BYTES_MAX, &content, err);
    struct str text = buf_str(&content);

    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    if (good && !text.len) { /* a mount that was not filled yet, rather than a wish for no secret */
        err_set(err, ERR_CONFIG, "'" STR_FMT "' is empty", STR_ARG(path));
        good = false;
    }
    if (good)
        *ret = arena_str(arena, text);
    else
        err_prefix(err, "%s", where);
    buf_done(&content);
    return good;
}
