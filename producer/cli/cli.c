/*
 * cli.c -- see cli.h.
 *
 * Options are read in two rounds: what stands in front of the command's name, then what stands
 * behind it; the global ones are welcome in both places. getopt_long's table is made from ours.
 */
#include "producer/cli/cli.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>

#include "common/app/app.h"
#include "common/app/flags.h"
#include "common/app/variables.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/data/conf_value.h"

enum { LONG_ONLY = 1000, LETTERS_MAX = 256, HELP_BYTES_MAX = 1 << 20 };

struct cli_conf {
    struct shared_conf shared;
};

static const struct conf_row shared_rows[] = {
    SHARED_CONF_ROWS(struct cli_conf, shared),
    {0},
};

extern char **environ;

/* ---- messages ---- */

/* The two that a table makes itself: bold, and no more. */
static bool is_own(const char *at, size_t left)
{
    return left >= 4 && (memcmp(at, "\033[1m", 4) == 0 || memcmp(at, "\033[0m", 4) == 0);
}

void cli_tame(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i],
                      next = i + 1 < len ? (unsigned char)text[i + 1] : 0;
        if (c == '\033' && is_own(text + i, len - i)) {
            i += 3;
        } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
            text[i] = text[i + 1] = ' ';
        } else if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f) {
            text[i] = ' ';
        }
    }
}

__attribute__((format(printf, 1, 0))) static void say(const char *format, va_list args)
{
    struct buf text;
    buf_init(&text, 65536);
    buf_add_str(&text, STR("quern: "));
    buf_vprintf(&text, format, args);
    buf_add_char(&text, '\n');
    log_redact_text(text.data, text.len);
    if (isatty(STDERR_FILENO))
        cli_tame(text.data, text.len);
    fwrite(text.data, 1, text.len, stderr);
    buf_done(&text);
}

void cli_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

int cli_fail(const struct cli *cli, const struct err *err)
{
    (void)cli;
    bool away = err->code == ERR_UNAVAILABLE && !strstr(err->text, "quern ");
    cli_say("%s%s", err->text, away ? "; 'quern doctor' says what to do" : "");
    switch (err->code) {
    case ERR_USAGE:
        return EXIT_USAGE;
    case ERR_CONFIG:
        return EXIT_CONFIG;
    case ERR_UNAVAILABLE:
    case ERR_TIMEOUT:
        return EXIT_UNAVAILABLE;
    default:
        return EXIT_FAILED;
    }
}

int cli_out(struct buf *text)
{
    if (text->data && isatty(STDOUT_FILENO))
        cli_tame(text->data, text->len);
    if (fwrite(text->data ? text->data : "", 1, text->len, stdout) == text->len &&
        fflush(stdout) == 0)
        return EXIT_OK;
    cli_say("standard output cannot be written");
    return EXIT_FAILED;
}

/* ---- options ---- */

struct str cli_option_nth(const struct cli *cli, const char *name, size_t n)
{
    for (size_t i = 0; i < cli->given_count; i++)
        if (strcmp(cli->given[i].name, name) == 0 && n-- == 0)
            return str_of(cli->given[i].value ? cli->given[i].value : "");
    return (struct str){NULL, 0};
}

struct str cli_option(const struct cli *cli, const char *name)
{
    for (size_t i = cli->given_count; i-- > 0;)
        if (strcmp(cli->given[i].name, name) == 0)
            return str_of(cli->given[i].value ? cli->given[i].value : "");
    return (struct str){NULL, 0};
}

bool cli_has(const struct cli *cli, const char *name)
{
    return cli_option(cli, name).data != NULL;
}

/* Reads the text as a setting of this type would be read. */
static bool option_value(const struct cli *cli, const char *name, enum conf_type type, int64_t min,
                         int64_t max, void *ret, struct err *err)
{
    struct str text = cli_option(cli, name);
    if (!text.data)
        return true;
    const struct conf_row row = {.key = name, .type = type, .min = min, .max = max};
    struct arena scratch;
    struct err why = {0};
    arena_init(&scratch, NULL, 65536);
    bool good = conf_value_set(&row, str_of(name), text, "the command line", &scratch, ret, &why);
    arena_done(&scratch);
    if (!good)
        err_set(err, ERR_USAGE, "--%s: %s", name, why.text);
    return good;
}

bool cli_option_i64(const struct cli *cli, const char *name, int64_t min, int64_t max, int64_t *ret,
                    struct err *err)
{
    return option_value(cli, name, CONF_INT, min, max, ret, err);
}

bool cli_option_real(const struct cli *cli, const char *name, double min, double max, double *ret,
                     struct err *err)
{
    double value = *ret;
    if (!option_value(cli, name, CONF_REAL, 0, 0, &value, err))
        return false;
    if (value < min || value > max) {
        err_set(err, ERR_USAGE, "--%s must be between %g and %g", name, min, max);
        return false;
    }
    *ret = value;
    return true;
}

bool cli_option_duration(const struct cli *cli, const char *name, int64_t *ret_ms, struct err *err)
{
    return option_value(cli, name, CONF_DURATION, 1, (int64_t)365 * 86400000, ret_ms, err);
}

/* One getopt table out of the global rows and the command's. */
struct options {
    struct option table[LETTERS_MAX];
    const struct option_row *rows[LETTERS_MAX];
    size_t count;
    char letters[LETTERS_MAX * 2 + 2];
    size_t letters_len;
};

static void options_add(struct options *options, const struct option_row *rows)
{
    for (; rows && rows->name; rows++) {
        size_t i = options->count++;
        must(i + 1 < LETTERS_MAX);
        options->rows[i] = rows;
        options->table[i] = (struct option){
            rows->name, rows->argument ? required_argument : no_argument, NULL, LONG_ONLY + (int)i};
        if (!rows->letter)
            continue;
        options->letters[options->letters_len++] = rows->letter;
        if (rows->argument)
            options->letters[options->letters_len++] = ':';
    }
}

static const struct option_row *options_find(const struct options *options, int found)
{
    if (found >= LONG_ONLY)
        return options->rows[found - LONG_ONLY];
    for (size_t i = 0; i < options->count; i++)
        if (options->rows[i]->letter == (char)found)
            return options->rows[i];
    return NULL;
}

static bool add_flag(struct cli *cli, const char *prefix, const char *text, struct err *err)
{
    const char *equals = strchr(text, '=');
    if (!equals || cli->flag_count == CLI_OPTIONS_MAX) {
        err_set(err, ERR_USAGE, "'%s' is not of the form KEY=VALUE", text);
        return false;
    }
    struct str key = str_from(text, (size_t)(equals - text));
    cli->flags[cli->flag_count++] = (struct conf_flag){
        .key = arena_printf(&cli->arena, "%s" STR_FMT, prefix, STR_ARG(key)).data,
        .value = equals + 1,
    };
    return true;
}

static bool take_option(struct cli *cli, const char *name, const char *value, struct err *err)
{
    if (strcmp(name, "config") == 0)
        cli->file = value;
    if (strcmp(name, "set") == 0)
        return add_flag(cli, "", value, err);
    if (strcmp(name, "kafka-property") == 0)
        return add_flag(cli, "kafka.properties.", value, err);
    if (strcmp(name, "output-format") == 0) {
        bool may = cli->command && cli->command->flags & COMMAND_CSV;
        cli->json = strcmp(value, "json") == 0;
        cli->csv = may && strcmp(value, "csv") == 0;
        if (!cli->json && !cli->csv && strcmp(value, "table") != 0) {
            err_set(err, ERR_USAGE, "-o must be json%s or table, is '%s'", may ? ", csv" : "",
                    value);
            return false;
        }
    }
    if (cli->given_count == CLI_OPTIONS_MAX) {
        err_set(err, ERR_USAGE, "more than %d options", CLI_OPTIONS_MAX);
        return false;
    }
    cli->given[cli->given_count++] = (struct cli_given){name, value};
    return true;
}

/* `stop`: ends at the first word that is no option. */
static bool read_options(struct cli *cli, const struct option_row *more, bool stop, int argc,
                         char **argv, struct err *err)
{
    struct options options = {0};
    if (stop)
        options.letters[options.letters_len++] = '+';
    options.letters[options.letters_len++] = ':'; /* a missing value is told apart */
    opterr = 0;                                   /* flags_refuse() says more */
    options_add(&options, more);
    options_add(&options, global_options);
    optind = 0; /* GNU: start anew */
    int found;
    while ((found = getopt_long(argc, argv, options.letters, options.table, NULL)) != -1) {
        const struct option_row *row =
            found == '?' || found == ':' ? NULL : options_find(&options, found);
        if (!row) {
            flags_refuse(options.table, found, argv, err);
            return false;
        }
        if (!take_option(cli, row->name, optarg, err))
            return false;
    }
    return true;
}

/* ---- the command ---- */

/* Words of the command's name that match the arguments; 0: another command. */
static int matches(const struct command *command, int argc, char **argv)
{
    struct str rest = str_of(command->name), word;
    int n = 0;
    while (str_split(&rest, ' ', &word))
        if (n >= argc || !str_is(word, argv[n++]))
            return 0;
    return n;
}

static const struct command *find_command(int argc, char **argv, int *ret_words)
{
    const struct command *best = NULL;
    *ret_words = 0;
    for (const struct command *command = commands; command->name; command++) {
        int words = matches(command, argc, argv);
        if (words > *ret_words) {
            best = command;
            *ret_words = words;
        }
    }
    return best;
}

/* 'quern dead --help' is no mistake; 'quern dead' and 'quern dead lst' are. */
static int no_such_command(const struct cli *cli, int argc, char **argv)
{
    struct buf group;
    buf_init(&group, HELP_BYTES_MAX);
    bool is_group = cli_help_group(argv[0], &group);
    bool asks = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    int code = EXIT_USAGE;
    if (is_group && (asks || cli_has(cli, "help"))) {
        code = cli_out(&group);
    } else if (is_group && (argc == 1 || argv[1][0] == '-')) {
        cli_say("'%s' needs a second word, see quern %s --help", argv[0], argv[0]);
    } else {
        const char *nearest = cli_nearest_command(argc, argv);
        const char *second = is_group ? argv[1] : "";
        cli_say("there is no command '%s%s%s'%s%s%s; see quern %s%s--help", argv[0],
                *second ? " " : "", second, nearest ? ", did you mean '" : "",
                nearest ? nearest : "", nearest ? "'?" : "", is_group ? argv[0] : "",
                is_group ? " " : "");
    }
    buf_done(&group);
    return code;
}

static void redact(struct str secret, void *context)
{
    (void)context;
    log_redact(secret);
}

bool cli_load(struct cli *cli, const struct conf_row *rows, const char *ignore_sections,
              void *target, struct conf_places *places, struct err *err)
{
    const struct conf_source source = {
        .file = cli->file,
        .environment = (const char *const *)environ,
        .flags = cli->flags,
        .flag_count = cli->flag_count,
        .variables = app_variables,
        .is_foreign = app_variable_is_of_a_service,
        .ignore_prefixes = ignore_sections,
        .places = places,
    };
    if (!conf_load(rows, &source, &cli->arena, target, err))
        return false;
    conf_each_secret(rows, target, redact, NULL);
    return true;
}

static bool load_shared(struct cli *cli, struct err *err)
{
    struct cli_conf *conf = arena_new(&cli->arena, struct cli_conf);
    struct conf_places places = {0};
    if (!cli_load(cli, shared_rows, "worker,aggregator,producer,log", conf, &places, err) ||
        !shared_conf_check(&conf->shared, &places, err))
        return false;
    cli->conf = &conf->shared;
    return true;
}

static int show_help(const struct command *command)
{
    struct buf text;
    buf_init(&text, HELP_BYTES_MAX);
    cli_help(command, &text);
    int code = cli_out(&text);
    buf_done(&text);
    return code;
}

static int show_version(void)
{
    struct buf text;
    buf_init(&text, HELP_BYTES_MAX);
    app_version("quern", &text);
    int code = cli_out(&text);
    buf_done(&text);
    return code;
}

static bool set_up(struct cli *cli, struct err *err)
{
    struct str level_name = cli_option(cli, "log-level");
    enum log_level level = LOG_LEVEL_ERROR;
    if (level_name.data && !log_level_by_name(level_name, &level)) {
        err_set(err, ERR_USAGE, "--log-level must be debug, info, warn or error");
        return false;
    }
    log_init("quern", "auto", level);
    signal(SIGPIPE, SIG_IGN);
    cli->color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    return (cli->command->flags & COMMAND_NO_CONF) || load_shared(cli, err);
}

static int run_command(struct cli *cli, int argc, char **argv, int words)
{
    struct err err = {0};
    const struct command *command = cli->command;
    char **rest = argv + words - 1; /* getopt takes the first for its messages only */
    static char name[] = "quern";
    rest[0] = name;
    if (!read_options(cli, command->options, false, argc - words + 1, rest, &err))
        return cli_fail(cli, &err);
    if (cli_has(cli, "help"))
        return show_help(command);
    for (int i = optind; i < argc - words + 1; i++) {
        if (cli->word_count == command->words_max) {
            cli_say("'%s' is one word too many, see quern %s --help", rest[i], command->name);
            return EXIT_USAGE;
        }
        cli->words[cli->word_count++] = rest[i];
    }
    if (cli->word_count < command->words_min) {
        cli_say("usage: quern %s %s", command->name, command->arguments);
        return EXIT_USAGE;
    }
    return set_up(cli, &err) ? command->run(cli) : cli_fail(cli, &err);
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct err err = {0};
    int words;
    cli->file = getenv("QUERN_CONFIG");
    if (!crash_init("quern", &err))
        return cli_fail(cli, &err);
    if (!read_options(cli, NULL, true, argc, argv, &err))
        return cli_fail(cli, &err);
    if (cli_has(cli, "version"))
        return show_version();
    int first = optind;
    if (first == argc) {
        int code = show_help(NULL);
        return cli_has(cli, "help") ? code : EXIT_USAGE;
    }
    cli->command = find_command(argc - first, argv + first, &words);
    if (!cli->command)
        return no_such_command(cli, argc - first, argv + first);
    return run_command(cli, argc - first, argv + first, words);
}

int cli_main(int argc, char **argv)
{
    struct cli *cli = xzalloc(sizeof(*cli));
    arena_init(&cli->arena, NULL, CLI_ARENA_BYTES);
    int code = run(cli, argc, argv);
    arena_done(&cli->arena);
    free(cli);
    return code;
}

/* ---- doors ---- */

struct kafka_admin *cli_kafka_admin(const struct cli *cli, struct err *err)
{
    struct kafka_conf conf;
    shared_kafka_conf(cli->conf, &conf);
    conf.client_id = STR("quern");
    return kafka_admin_new(&conf, err);
}

struct postgres_session *cli_postgres(const struct cli *cli, int64_t timeout_ms, struct err *err)
{
    struct postgres_conf conf;
    shared_postgres_conf(cli->conf, &conf);
    conf.application_name = STR("quern");
    conf.batch_timeout_ms = timeout_ms;
    return postgres_session_open(&conf, err);
}
