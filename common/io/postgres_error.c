/*
 * postgres_error.c -- SQLSTATE to struct err.
 *
 * The table is read from the top and the first row whose prefix fits wins; what fits none is a
 * mistake of ours (ERR_INTERNAL). `lost` rows end the connection: it is gone already, or only a new
 * one can help (statements prepared again, another host tried).
 */
#include "common/io/postgres_error.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/xalloc.h"

#define MESSAGE_BYTES_MAX 256

static const struct meaning {
    const char *prefix;
    enum err_code code;
    bool lost;
} meanings[] = {
    /* clang-format off */
    {"QF001", ERR_FENCED,      false}, /* raised by our own functions: the epoch is not ours */
    {"40001", ERR_UNAVAILABLE, false}, /* serialization failure: the whole transaction again */
    {"40P01", ERR_UNAVAILABLE, false}, /* deadlock */
    {"55P03", ERR_UNAVAILABLE, false}, /* lock_timeout */
    {"57014", ERR_TIMEOUT,     false}, /* statement_timeout, or somebody cancelled it */
    {"57P",   ERR_UNAVAILABLE, true},  /* shut down, crashed, starting, idle too long */
    {"53",    ERR_UNAVAILABLE, false}, /* disk full, out of memory, too many connections */
    {"58030", ERR_UNAVAILABLE, false}, /* I/O error */
    {"08",    ERR_UNAVAILABLE, true},  /* connection failures, a pooler's farewell */
    {"25P03", ERR_UNAVAILABLE, true},  /* idle in transaction for too long */
    {"25006", ERR_UNAVAILABLE, true},  /* a standby: a primary may be found elsewhere */
    {"26000", ERR_UNAVAILABLE, true},  /* our prepared statements are gone */
    {"0A000", ERR_UNAVAILABLE, true},  /* a cached plan no longer fits a changed table */
    /* clang-format on */
};

static const struct meaning *meaning_of(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        if (strncmp(sqlstate, meanings[i].prefix, strlen(meanings[i].prefix)) == 0)
            return &meanings[i];
    }
    return NULL;
}

bool postgres_error(const char *sqlstate, const char *severity, const char *message,
                    struct err *err)
{
    bool fatal = severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
    const struct meaning *meaning = sqlstate ? meaning_of(sqlstate) : NULL;
    enum err_code code = meaning ? meaning->code : ERR_INTERNAL;
    if (fatal && !meaning)
        code = ERR_UNAVAILABLE;

    char *text = xstrdup(message ? message : "no message");
    postgres_error_join(text);
    /* Class 22 complains about data and quotes it; a prompt must not reach the log this way. */
    if (sqlstate && strncmp(sqlstate, "22", 2) == 0)
        postgres_error_scrub(text);
    struct str cut = str_utf8_cut(str_of(text), MESSAGE_BYTES_MAX);
    err_set(err, code, "postgresql: " STR_FMT " (%s)", STR_ARG(cut),
            sqlstate ? sqlstate : "no sqlstate");
    free(text);
    return fatal || (meaning && meaning->lost);
}

bool postgres_error_refuses(const char *text)
{
    static const char *const words[] = {
        "authentication failed", "no password supplied", "no pg_hba.conf entry",
        "permission denied",     "does not exist",       "is not permitted to log in",
    };
    if (!strstr(text, "FATAL:") && !strstr(text, "no password supplied"))
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strstr(text, words[i]))
            return true;
    return false;
}

void postgres_error_scrub(char *text)
{
    static const char mark[] = "***";
    char *first = strchr(text, '"');
    if (!first)
        return;
    /* A lone quote opens a value without an end: everything behind it goes. */
    char *last = strrchr(text, '"');
    const char *rest = last == first ? "" : last + 1;
    size_t room = last == first ? strlen(first) : (size_t)(last - first) + 1;
    size_t mark_len = room < sizeof(mark) - 1 ? room : sizeof(mark) - 1;
    memcpy(first, mark, mark_len);
    memmove(first + mark_len, rest, strlen(rest) + 1);
}

void postgres_error_join(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
        text[--len] = '\0';
    for (char *at = text; *at; at++) {
        if (*at == '\n' || *at == '\t')
            *at = ' ';
    }
}
