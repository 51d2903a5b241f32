/*
 * cli.h -- the command line `quern`: one table of commands, each with its table of options.
 *
 * cli_main() finds the command, reads its options, loads the configuration if the command wants it
 * and runs it. Data goes to stdout, messages to stderr. A command returns an exit code: 0 ok, 1
 * failure, 2 usage, 69 unavailable, 78 configuration; `return cli_fail(cli, &err)` says what went
 * wrong and picks the code.
 *
 * To add a command: a row in commands.c and a file with its run function. The tables also make
 * --help, the reference page and the shell's completion.
 */
#ifndef QUERN_PRODUCER_CLI_CLI_H
#define QUERN_PRODUCER_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/app/shared_conf.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/data/conf.h"
#include "common/io/kafka_admin.h"
#include "common/io/postgres.h"

struct cli;

struct option_row {
    const char *name;
    char letter;          /* 0: none */
    const char *argument; /* NULL: a switch */
    const char *sentence;
};

/* Runs without reading the configuration; can print its data as CSV. */
enum { COMMAND_NO_CONF = 1, COMMAND_CSV = 2 };

struct command {
    const char *name; /* one word or two */
    const char *arguments;
    const char *about;
    const struct option_row *options; /* ended by name NULL; may be NULL */
    unsigned words_min, words_max;
    unsigned flags;
    int (*run)(struct cli *cli);
};
extern const struct command commands[]; /* ended by name NULL */
/* Exit codes of commands that have something to add to the usual ones. */
struct command_note {
    const char *command, *text;
};
extern const struct command_note command_notes[]; /* ended by command NULL */
extern const struct option_row global_options[];

#define CLI_OPTIONS_MAX 256
#define CLI_WORDS_MAX   64
#define CLI_ARENA_BYTES ((size_t)256 << 20)
#define CLI_TIMEOUT_MS  15000 /* one question to a server */

struct cli_given {
    const char *name, *value;
};

struct cli {
    const struct command *command;
    struct arena arena; /* for the whole run */
    struct cli_given given[CLI_OPTIONS_MAX];
    size_t given_count;
    const char *words[CLI_WORDS_MAX]; /* behind the command's name */
    size_t word_count;
    bool json, csv, color;
    const char *file;
    struct conf_flag flags[CLI_OPTIONS_MAX];
    size_t flag_count;
    const struct shared_conf *conf; /* NULL with COMMAND_NO_CONF */
};

int cli_main(int argc, char **argv);

/* Options as given; the last one counts. */
bool cli_has(const struct cli *cli, const char *name);
struct str cli_option(const struct cli *cli, const char *name); /* absent when not given */
/* The n-th value of an option that may come several times; absent behind the last. */
struct str cli_option_nth(const struct cli *cli, const char *name, size_t n);
/* `ret` keeps its value when the option was not given. ERR_USAGE names the option. */
bool cli_option_i64(const struct cli *cli, const char *name, int64_t min, int64_t max, int64_t *ret,
                    struct err *err);
bool cli_option_real(const struct cli *cli, const char *name, double min, double max, double *ret,
                     struct err *err);
bool cli_option_duration(const struct cli *cli, const char *name, int64_t *ret_ms, struct err *err);

/* "quern: text" on stderr, secrets blanked; the exit code that fits the error. */
int cli_fail(const struct cli *cli, const struct err *err);
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2))); /* on stderr */
/* Writes all of it to stdout, to a terminal tamed; an exit code. */
int cli_out(struct buf *text);
/* Blanks what would steer a terminal: answers and errors are other people's. Line breaks and tabs
 * stay, and a table's bold. */
void cli_tame(char *text, size_t len);

/* What the configuration file says to one table, and where; ERR_CONFIG. */
bool cli_load(struct cli *cli, const struct conf_row *rows, const char *ignore_sections,
              void *target, struct conf_places *places, struct err *err);
/* Doors for commands that ask and wait. */
struct kafka_admin *cli_kafka_admin(const struct cli *cli, struct err *err);
struct postgres_session *cli_postgres(const struct cli *cli, int64_t timeout_ms, struct err *err);

/* Help and completion, from the tables. */
void cli_help(const struct command *command, struct buf *ret); /* NULL: of all */
/* Of all commands that begin with this word, as in 'quern dead --help'; false: there are none. */
bool cli_help_group(const char *word, struct buf *ret);
/* What somebody who typed these words meant; NULL when nothing is near. */
const char *cli_nearest_command(int argc, char *const *argv);
void cli_completion_bash(struct buf *ret);

/* The commands' bodies. */
int run_submit(struct cli *cli);
int run_batch(struct cli *cli);
int run_show(struct cli *cli);
int run_follow(struct cli *cli);
int run_cancel(struct cli *cli);
int run_usage(struct cli *cli);
int run_topics_create(struct cli *cli);
int run_topics_check(struct cli *cli);
int run_migrate_up(struct cli *cli);
int run_migrate_status(struct cli *cli);
int run_config_check(struct cli *cli);
int run_config_print(struct cli *cli);
int run_config_sample(struct cli *cli);
int run_config_reference(struct cli *cli);
int run_config_schema(struct cli *cli);
int run_doctor(struct cli *cli);
int run_dead_list(struct cli *cli);
int run_dead_show(struct cli *cli);
int run_dead_retry(struct cli *cli);
int run_reference(struct cli *cli);
int run_completion(struct cli *cli);

#endif
