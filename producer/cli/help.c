/*
 * help.c -- pages made of the tables of commands and options: --help and the shell's completion.
 */
#include <limits.h>
#include <string.h>

#include "producer/cli/cli.h"

static void add_options(const struct option_row *rows, struct buf *ret)
{
    for (; rows && rows->name; rows++) {
        char left[64];
        snprintf(left, sizeof(left), "%c%c%s--%s%s%s", rows->letter ? '-' : ' ',
                 rows->letter ? rows->letter : ' ', rows->letter ? ", " : "  ", rows->name,
                 rows->argument ? " " : "", rows->argument ? rows->argument : "");
        buf_printf(ret, "  %-30s %s\n", left, rows->sentence);
    }
}

#define EXIT_CODES "0 ok, 1 failure, 2 usage, 69 a server is away, 78 configuration\n"

static void add_command(const struct command *command, struct buf *ret)
{
    char left[64];
    snprintf(left, sizeof(left), "%s %s", command->name, command->arguments);
    buf_printf(ret, "  %-34s %s\n", left, command->about);
}

static void help_all(struct buf *ret)
{
    buf_add_str(ret, STR("quern: publishes requests, shows what became of them, and looks after the"
                         " fleet\n\nusage: quern [OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]\n\n"));
    for (const struct command *command = commands; command->name; command++)
        add_command(command, ret);
    buf_add_str(ret, STR("\noptions of all commands:\n"));
    add_options(global_options, ret);
    buf_add_str(ret, STR("\nexit codes: " EXIT_CODES "quern COMMAND --help says more.\n"));
}

/* "dead list" is of the group "dead". */
static bool in_group(const struct command *command, const char *word)
{
    return str_starts(str_of(command->name), str_of(word)) && command->name[strlen(word)] == ' ';
}

bool cli_help_group(const char *word, struct buf *ret)
{
    size_t found = 0;
    for (const struct command *command = commands; command->name; command++) {
        if (!in_group(command, word))
            continue;
        if (found++ == 0)
            buf_printf(ret, "usage: quern %s COMMAND [OPTIONS] [ARGUMENTS]\n\n", word);
        add_command(command, ret);
    }
    if (found > 0)
        buf_printf(ret, "\nexit codes: " EXIT_CODES "quern %s COMMAND --help says more.\n", word);
    return found > 0;
}

/* Between what was typed and a command's name, of which so many words count. */
static unsigned distance(const struct command *command, int argc, char *const *argv)
{
    char typed[128];
    bool two = strchr(command->name, ' ') && argc > 1 && argv[1][0] != '-';
    struct str name = str_of(command->name), first;
    snprintf(typed, sizeof(typed), "%s%s%s", argv[0], two ? " " : "", two ? argv[1] : "");
    if (!two) {
        str_split(&name, ' ', &first);
        name = first;
    }
    unsigned far = str_distance(str_of(typed), name);
    return far * 2 <= strlen(typed) ? far : UINT_MAX; /* half of it may be wrong */
}

const char *cli_nearest_command(int argc, char *const *argv)
{
    const char *nearest = NULL;
    unsigned best = UINT_MAX;
    for (const struct command *command = commands; command->name; command++) {
        unsigned far = distance(command, argc, argv);
        if (far < best) {
            best = far;
            nearest = command->name;
        }
    }
    return nearest;
}

static const char *exit_codes(const struct command *command)
{
    for (const struct command_note *note = command_notes; note->command; note++)
        if (strcmp(note->command, command->name) == 0)
            return note->text;
    return EXIT_CODES;
}

void cli_help(const struct command *command, struct buf *ret)
{
    if (!command) {
        help_all(ret);
        return;
    }
    buf_printf(ret, "quern %s: %s\n\nusage: quern %s [OPTIONS] %s\n", command->name, command->about,
               command->name, command->arguments);
    if (command->options) {
        buf_add_str(ret, STR("\noptions:\n"));
        add_options(command->options, ret);
    }
    buf_add_str(ret, STR("\noptions of all commands:\n"));
    add_options(global_options, ret);
    buf_printf(ret, "\nexit codes: %s", exit_codes(command));
}

static void completion_options(const struct option_row *rows, struct buf *ret)
{
    for (; rows && rows->name; rows++)
        buf_printf(ret, " --%s", rows->name);
}

/* First words, then what may follow each, then each command's options. */
void cli_completion_bash(struct buf *ret)
{
    buf_add_str(ret, STR("# source <(quern completion bash)\n"
                         "_quern() {\n"
                         "    local word=${COMP_WORDS[COMP_CWORD]}\n"
                         "    local line=\" ${COMP_WORDS[*]:1:COMP_CWORD-1} \" words=\n"
                         "    case $line in\n"));
    for (const struct command *command = commands; command->name; command++) {
        buf_printf(ret, "    *\" %s \"*) words=\"", command->name);
        completion_options(command->options, ret);
        completion_options(global_options, ret);
        buf_add_str(ret, STR("\" ;;\n"));
    }
    for (const struct command *command = commands; command->name; command++) {
        struct str rest = str_of(command->name), word;
        str_split(&rest, ' ', &word);
        if (rest.data)
            buf_printf(ret, "    *\" " STR_FMT " \"*) words+=\" $(_quern_after " STR_FMT ")\" ;;\n",
                       STR_ARG(word), STR_ARG(word));
    }
    buf_add_str(ret, STR("    *) words=\""));
    for (const struct command *command = commands; command->name; command++) {
        struct str rest = str_of(command->name), word;
        str_split(&rest, ' ', &word);
        buf_printf(ret, " " STR_FMT, STR_ARG(word));
    }
    completion_options(global_options, ret);
    buf_add_str(ret, STR("\" ;;\n    esac\n"
                         "    if [[ $word == -* || $words != *' --'* || $line == '  ' ]]; then\n"
                         "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                         "    else\n"
                         "        COMPREPLY=($(compgen -f -- \"$word\"))\n"
                         "    fi\n"
                         "}\n"
                         "_quern_after() {\n"
                         "    case $1 in\n"));
    for (const struct command *command = commands; command->name; command++) {
        struct str rest = str_of(command->name), word;
        str_split(&rest, ' ', &word);
        if (rest.data)
            buf_printf(ret, "    " STR_FMT ") echo -n ' " STR_FMT "' ;;&\n", STR_ARG(word),
                       STR_ARG(rest));
    }
    buf_add_str(ret, STR("    esac\n"
                         "}\n"
                         "complete -o filenames -F _quern quern\n"));
}
