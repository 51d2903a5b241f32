/*
 * postgres_conninfo.c -- whether libpq understands a connection string, without a connection.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/xalloc.h"
#include "common/io/postgres.h"
#include "common/io/postgres_error.h"

enum { GUESS_DISTANCE_MAX = 3 };

/* The option that libpq names between quotes in `why`, when it is an unknown one. */
static struct str unknown_option(const char *why)
{
    static const char *const marks[] = {"invalid connection option \"",
                                        "invalid URI query parameter: \""};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        const char *at = why ? strstr(why, marks[i]) : NULL;
        struct str rest = str_of(at ? at + strlen(marks[i]) : "");
        if (at)
            return str_slice(rest, 0, str_index(rest, '"'));
    }
    return (struct str){NULL, 0};
}

/* Only an option that is near a known one is shown: anything else may be a piece of a password. */
static bool refuse_option(struct str option, struct err *err)
{
    unsigned best = GUESS_DISTANCE_MAX + 1;
    char guess[64] = "";
    PQconninfoOption *options = PQconndefaults();

    for (PQconninfoOption *at = options; at && at->keyword; at++) {
        unsigned distance = str_distance(str_of(at->keyword), option);
        if (distance >= best || distance * 2 > option.len)
            continue;
        best = distance;
        snprintf(guess, sizeof(guess), "%s", at->keyword);
    }
    PQconninfoFree(options);
    if (*guess)
        err_set(err, ERR_CONFIG, "has no option '" STR_FMT "', did you mean '%s'?", STR_ARG(option),
                guess);
    return *guess != '\0';
}

static bool refuse(char *why, struct err *err)
{
    struct str option = unknown_option(why);

    if (option.data && refuse_option(option, err))
        return false;
    if (why) { /* what libpq quotes may be a piece of a password */
        postgres_error_join(why);
        postgres_error_scrub(why);
    }
    err_set(err, ERR_CONFIG,
            "is neither a URI like postgresql://user@host:5432/db nor key=value pairs: %s",
            why ? why : "out of memory");
    return false;
}

/* "system" stands for the roots of the system. */
static bool check_file(const PQconninfoOption *option, struct err *err)
{
    static const char *const names[] = {"sslrootcert", "sslcert", "sslkey", "sslcrl"};
    bool is_file = false;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        is_file |= strcmp(option->keyword, names[i]) == 0;
    if (!is_file || !option->val || !*option->val || strcmp(option->val, "system") == 0 ||
        access(option->val, R_OK) == 0)
        return true;
    err_set(err, ERR_CONFIG, "names '%.120s' as %s, which cannot be read", option->val,
            option->keyword);
    return false;
}

/* A conninfo without '=' and without a scheme is a plain database name to libpq. */
bool postgres_conninfo_check(struct str conninfo, struct err *err)
{
    char *text = xstrndup(str_empty(conninfo) ? STR("") : conninfo), *why = NULL;
    bool plain = !strchr(text, '=') && !strstr(text, "://"), good = true;
    PQconninfoOption *options = plain ? NULL : PQconninfoParse(text, &why);

    if (!plain && !options)
        good = refuse(why, err);
    for (PQconninfoOption *at = options; at && at->keyword; at++) {
        if (at->val && strcmp(at->keyword, "password") == 0)
            log_redact(str_of(at->val));
        good = good && check_file(at, err);
    }
    PQconninfoFree(options);
    PQfreemem(why);
    explicit_bzero(text, strlen(text));
    free(text);
    return good;
}
