/*
 * flags.c -- see flags.h.
 *
 * getopt_long() leaves in `optopt` the letter or value of the flag, 0 for a long one it does not
 * know; the word itself is the one before `optind`.
 */
#include "common/app/flags.h"

#include <string.h>

enum { GUESS_DISTANCE_MAX = 4, SHOWN_BYTES_MAX = 80 };

/* "--confg=x" -> "confg" */
static struct str long_name(const char *word)
{
    struct str text = str_of(word + 2);
    return str_slice(text, 0, str_index(text, '='));
}

static const struct option *by_value(const struct option *options, int value)
{
    for (; options->name; options++)
        if (options->val == value)
            return options;
    return NULL;
}

static const char *nearest(const struct option *options, struct str name)
{
    unsigned half = (unsigned)name.len / 2,
             best = half < GUESS_DISTANCE_MAX ? half : GUESS_DISTANCE_MAX;
    const char *found = NULL;

    for (; options->name; options++) {
        unsigned distance = str_distance(str_of(options->name), name);
        if (distance > best || (distance == best && found) || distance >= strlen(options->name))
            continue;
        best = distance;
        found = options->name;
    }
    return found;
}

static void refuse_long(const struct option *options, struct str name, struct err *err)
{
    const char *guess = nearest(options, name);
    struct str shown = str_utf8_cut(name, SHOWN_BYTES_MAX);

    if (guess)
        err_set(err, ERR_CONFIG, "unknown flag '--" STR_FMT "', did you mean '--%s'?",
                STR_ARG(shown), guess);
    else
        err_set(err, ERR_CONFIG, "unknown flag '--" STR_FMT "'; --help lists all flags",
                STR_ARG(shown));
}

void flags_refuse(const struct option *options, int found, char *const argv[], struct err *err)
{
    const struct option *known = optopt ? by_value(options, optopt) : NULL;

    if (known && found == ':')
        err_set(err, ERR_USAGE, "the flag '--%s' needs a value", known->name);
    else if (known)
        err_set(err, ERR_USAGE, "the flag '--%s' takes no value", known->name);
    else if (optopt == 0 && strncmp(argv[optind - 1], "--", 2) == 0)
        refuse_long(options, long_name(argv[optind - 1]), err);
    else if (found == ':')
        err_set(err, ERR_USAGE, "the flag '-%c' needs a value", optopt);
    else
        err_set(err, ERR_CONFIG, "unknown flag '-%c'; --help lists all flags", optopt);
}
