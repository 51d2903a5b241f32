/*
 * app.c -- the frame around every long-running program; see app.h.
 *
 * A configuration is a generation: an arena with a struct and everything it points to. SIGHUP makes
 * a second one. The one the program was started with lives as long as the process, as doors keep
 * pointers into it; of the later ones the last two are kept, as work under way may still point into
 * the one before. Settings that cannot be reloaded keep their first values in every generation.
 *
 * Leaving: the first SIGTERM or SIGINT tells the program to drain, and the loop ends when it says
 * app_drained(), when the time is over, or at a second signal. Whatever the way, end() takes things
 * down in the opposite order of begin().
 */
#include "common/app/app.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>

#include "common/app/flags.h"
#include "common/app/notify.h"
#include "common/app/variables.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/http_client.h"
#include "common/io/http_server.h"
#include "common/io/kafka.h"
#include "common/io/postgres.h"

enum {
    FLAGS_MAX = 64,
    CONF_ARENA_MAX = 64 << 20,
    TEXT_MAX = 4 << 20,
    UNREADY_MAX = 65536,
    WATCH_MS = 2000
};

struct generation {
    struct arena arena;
    void *conf;
    struct conf_places places;
    struct str fixed; /* settings that differ from the first generation's and were not taken */
};

struct app {
    const struct app_program *program;
    struct loop *loop;
    struct generation *first, *now, *before; /* may be the same */
    const char *file;
    struct conf_flag flags[FLAGS_MAX];
    size_t flag_count;
    const char *log_level; /* from the command line, wins over the file */
    struct http_server *http;
    void *state; /* what program->start() returned */
    bool ready_told, draining, drained;
    int exit_code;
    char *log_format;
    struct timer drain_timer, watch_timer;
};

extern char **environ;

static void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    arena_done(&generation->arena);
    free(generation);
}

static void redact(struct str secret, void *context)
{
    (void)context;
    log_redact(secret);
}

static struct conf_source source_of(const struct app *app)
{
    return (struct conf_source){
        .file = app->file,
        .environment = (const char *const *)environ,
        .flags = app->flags,
        .flag_count = app->flag_count,
        .variables = app_variables,
        .is_foreign = app_variable_is_of_a_service,
        .ignore_prefixes = app->program->ignore_sections,
    };
}

/* The file is checked as it is, and once more with the values that stay. */
static bool check(const struct app *app, struct generation *generation, struct err *err)
{
    const struct app_program *program = app->program;

    if (program->check && !program->check(generation->conf, &generation->places, err))
        return false;
    if (!app->first)
        return true;
    generation->fixed =
        conf_fixed_changes(program->rows, app->first->conf, generation->conf, &generation->arena);
    conf_keep_fixed(program->rows, app->first->conf, generation->conf, &generation->arena);
    return !program->check || program->check(generation->conf, &generation->places, err);
}

static struct generation *load(struct app *app, struct err *err)
{
    struct generation *generation = xzalloc(sizeof(*generation));
    struct conf_source source = source_of(app);

    source.places = &generation->places;
    arena_init(&generation->arena, NULL, CONF_ARENA_MAX);
    generation->conf = arena_zalloc(&generation->arena, app->program->conf_size);
    if (conf_load(app->program->rows, &source, &generation->arena, generation->conf, err) &&
        check(app, generation, err)) {
        conf_each_secret(app->program->rows, generation->conf, redact, NULL);
        return generation;
    }
    generation_free(generation);
    return NULL;
}

static const struct app_conf *app_conf(const struct app *app)
{
    return app->now->conf;
}

static void set_log_level(const struct app *app)
{
    enum log_level level;
    struct str name = app->log_level ? str_of(app->log_level) : app_conf(app)->log_level;
    if (log_level_by_name(name, &level))
        log_set_level(level);
}

/* "quern-worker" -> "worker" */
static const char *short_name(const struct app *app)
{
    const char *dash = strchr(app->program->name, '-');
    return dash ? dash + 1 : app->program->name;
}

static bool write_out(const struct buf *text)
{
    return fwrite(text->data, 1, text->len, stdout) == text->len;
}

static void print_help(const struct app_program *program)
{
    printf("%s: %s\n\n"
           "usage: %s [--config FILE] [--set key=value] [-X kafka.property=value]\n\n"
           "  -c, --config FILE       configuration in YAML ($QUERN_CONFIG)\n"
           "  -s, --set KEY=VALUE     one setting, stronger than file and environment\n"
           "  -X PROPERTY=VALUE       one librdkafka property\n"
           "  -l, --log-level LEVEL   debug, info, warn, error\n"
           "      --check-config      says whether the configuration is usable, and ends\n"
           "      --print-config      the configuration in force, without secrets, and ends\n"
           "  -V, --version           versions of this program and its libraries\n"
           "  -h, --help              this page\n\n"
           "exit codes: 0 ok, 1 failure, 2 usage, 69 unavailable, 78 configuration\n"
           "signals: TERM and INT drain, a second one ends at once; HUP reads the configuration\n"
           "again, a bad one keeps the old\n\n"
           "settings (environment: QUERN_KAFKA__BOOTSTRAP_SERVERS for kafka.bootstrap_servers;\n"
           "KEY_FILE names a file that holds the value):\n\n",
           program->name, program->about, program->name);
    for (const struct conf_row *row = program->rows; row->key; row++)
        printf("  %-28s %s%s%s%s\n", row->key, row->sentence, row->otherwise ? " (" : "",
               row->otherwise ? row->otherwise : "", row->otherwise ? ")" : "");
}

void app_version(const char *program, struct buf *ret)
{
    buf_printf(ret, "%s %s\nlibrdkafka %s\n%s\n%s\n", program, QUERN_VERSION,
               kafka_library_version(), http_library_version(), postgres_library_version());
}

enum { MODE_RUN, MODE_CHECK, MODE_PRINT, MODE_HELP, MODE_VERSION };

static bool add_flag(struct app *app, const char *prefix, char *text, struct err *err)
{
    char *equals = strchr(text, '=');
    if (!equals || app->flag_count == FLAGS_MAX) {
        err_set(err, ERR_USAGE, "'%s' is not of the form KEY=VALUE", text);
        return false;
    }
    *equals = '\0';
    struct buf key;
    buf_init(&key, 4096);
    buf_printf(&key, "%s%s", prefix, text);
    app->flags[app->flag_count++] =
        (struct conf_flag){.key = xstrndup(buf_str(&key)), .value = equals + 1};
    buf_done(&key);
    return true;
}

static bool take_log_level(struct app *app, const char *text, struct err *err)
{
    enum log_level level;

    app->log_level = text;
    if (log_level_by_name(str_of(text), &level))
        return true;
    err_set(err, ERR_USAGE, "--log-level must be debug, info, warn or error, is '%s'", text);
    return false;
}

static bool read_arguments(struct app *app, int argc, char **argv, int *mode, struct err *err)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"set", required_argument, NULL, 's'},
        {"log-level", required_argument, NULL, 'l'},
        {"check-config", no_argument, NULL, 'k'},
        {"print-config", no_argument, NULL, 'p'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;
    app->file = getenv("QUERN_CONFIG");
    opterr = 0; /* flags_refuse() says more */
    while ((option = getopt_long(argc, argv, ":c:s:X:l:Vh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            app->file = optarg;
            break;
        case 's':
            if (!add_flag(app, "", optarg, err))
                return false;
            break;
        case 'X':
            if (!add_flag(app, "kafka.properties.", optarg, err))
                return false;
            break;
        case 'l':
            if (!take_log_level(app, optarg, err))
                return false;
            break;
        case 'k':
            *mode = MODE_CHECK;
            break;
        case 'p':
            *mode = MODE_PRINT;
            break;
        case 'V':
            *mode = MODE_VERSION;
            break;
        case 'h':
            *mode = MODE_HELP;
            break;
        default:
            flags_refuse(options, option, argv, err);
            return false;
        }
    }
    if (optind < argc)
        err_set(err, ERR_USAGE, "'%s' is one word too many, see --help", argv[optind]);
    return optind == argc;
}

struct loop *app_loop(struct app *app)
{
    return app->loop;
}

bool app_draining(const struct app *app)
{
    return app->draining;
}

static void leave(struct app *app)
{
    loop_stop(app->loop);
}

void app_drained(struct app *app)
{
    if (!app->draining || app->drained)
        return;
    app->drained = true;
    CRASH_POINT(drained);
    leave(app);
}

void app_fail(struct app *app, const struct err *err, int exit_code)
{
    if (app->exit_code)
        return;
    app->exit_code = exit_code;
    log_error("the program stops", LOG_C("code", err_name(err->code)), LOG_C("error", err->text));
    leave(app);
}

static void drain_over(void *context)
{
    struct app *app = context;
    log_warn("drain time-out: leaving with work under way, it will be taken up again",
             LOG_I("drain_timeout_ms", app_conf(app)->drain_timeout_ms));
    leave(app);
}

static void on_term(int signal, void *context)
{
    struct app *app = context;
    if (app->draining) {
        log_warn("second signal, leaving at once", LOG_I("signal", signal));
        leave(app);
        return;
    }
    log_info("draining", LOG_I("signal", signal));
    notify_systemd("STOPPING=1");
    app->draining = true;
    timer_set(app->loop, &app->drain_timer,
              loop_now_ms(app->loop) + app_conf(app)->drain_timeout_ms, drain_over, app);
    app->program->drain(app->state);
    CRASH_POINT(drain_begun);
}

static void take_generation(struct app *app, struct generation *next)
{
    if (!str_empty(next->fixed))
        log_warn("some settings need a restart, their old values stay",
                 LOG_S("settings", next->fixed));
    if (app->program->reload)
        app->program->reload(app->state, next->conf);
    if (app->before != app->first)
        generation_free(app->before);
    app->before = app->now;
    app->now = next;
    set_log_level(app);
}

static void on_hup(int signal, void *context)
{
    struct app *app = context;
    struct err err;

    (void)signal;
    notify_reloading(loop_exact_us(app->loop));
    struct generation *next = load(app, &err);
    if (next)
        take_generation(app, next);
    metric_set(METRIC_config_last_reload_successful, next != NULL);
    metric_add_for(METRIC_config_reloads_total, next ? STR("taken") : STR("refused"), 1);
    if (next)
        log_info("configuration reloaded");
    else
        log_error("configuration not reloaded, the old one stays", LOG_C("error", err.text));
    if (app->ready_told)
        notify_systemd("READY=1");
}

static void get_healthz(struct str query, struct http_answer *answer, void *context)
{
    (void)query, (void)context;
    buf_add_str(&answer->body, STR("ok\n"));
}

/* Why the program does not take work; empty when it does. */
static void write_unready(const struct app *app, struct buf *ret)
{
    if (app->draining)
        buf_add_str(ret, STR("draining\n"));
    else
        app->program->unready(app->state, ret);
}

static void get_readyz(struct str query, struct http_answer *answer, void *context)
{
    struct app *app = context;
    (void)query;
    write_unready(app, &answer->body);
    if (answer->body.len)
        answer->status = 503;
    else
        buf_add_str(&answer->body, STR("ready\n"));
}

static void get_metrics(struct str query, struct http_answer *answer, void *context)
{
    struct app *app = context;
    struct loop_stats stats;
    (void)query;
    loop_stats_take(app->loop, &stats);
    metric_set(METRIC_loop_turns_total, (int64_t)stats.turns);
    metric_set(METRIC_loop_turn_longest_microseconds, stats.turn_us_max);
    metric_set(METRIC_log_lines_dropped_total, (int64_t)log_dropped());
    metric_set_for(METRIC_build_info, STR(QUERN_VERSION), 1);
    if (app->program->measure)
        app->program->measure(app->state);
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_write(short_name(app), &answer->body);
}

static void get_version(struct str query, struct http_answer *answer, void *context)
{
    struct app *app = context;
    (void)query;
    app_version(app->program->name, &answer->body);
}

static const struct http_route routes[] = {
    {"/healthz", get_healthz}, {"/readyz", get_readyz},  {"/metrics", get_metrics},
    {"/version", get_version}, {"/health", get_healthz}, {0},
};

/* Tells systemd that we are up once we are, and that we live as long as the loop turns. While we
 * wait for a server at the start, or drain, systemd is asked for patience. */
static void watch(void *context)
{
    struct app *app = context;
    struct buf why;

    buf_init(&why, UNREADY_MAX);
    write_unready(app, &why);
    if (!app->ready_told && why.len == 0) {
        app->ready_told = true;
        notify_systemd("READY=1");
    }
    if (!app->ready_told || app->draining)
        notify_systemd("EXTEND_TIMEOUT_USEC=10000000");
    notify_status(buf_str(&why));
    notify_systemd("WATCHDOG=1");
    buf_done(&why);
    timer_set(app->loop, &app->watch_timer, loop_now_ms(app->loop) + WATCH_MS, watch, app);
}

static int exit_code_of(const struct err *err)
{
    switch (err->code) {
    case ERR_CONFIG:
        return EXIT_CONFIG;
    case ERR_USAGE:
        return EXIT_USAGE;
    case ERR_UNAVAILABLE:
        return EXIT_UNAVAILABLE;
    default:
        return EXIT_FAILED;
    }
}

static bool begin(struct app *app, struct err *err)
{
    const struct app_conf *conf = app_conf(app);
    enum log_level level = LOG_LEVEL_INFO;
    log_level_by_name(app->log_level ? str_of(app->log_level) : conf->log_level, &level);
    struct buf format;
    buf_init(&format, 64);
    buf_add_str(&format, conf->log_format);
    log_init(app->program->name, format.data, level);
    app->log_format = format.data; /* log keeps no copy */
    app->loop = loop_new(err);
    if (!app->loop)
        return false;
    signal(SIGPIPE, SIG_IGN);
    loop_on_signal(app->loop, SIGTERM, on_term, app);
    loop_on_signal(app->loop, SIGINT, on_term, app);
    loop_on_signal(app->loop, SIGHUP, on_hup, app);
    metric_set(METRIC_config_last_reload_successful, 1);
    app->state = app->program->start(app, app->now->conf, err);
    if (!app->state)
        return false;
    if (str_empty(conf->http_address))
        return true;
    app->http = http_server_new(app->loop, conf->http_address, routes, app, err);
    if (app->http)
        log_info("operation port", LOG_I("port", http_server_port(app->http)));
    return app->http != NULL;
}

static void end(struct app *app)
{
    http_server_free(app->http);
    if (app->state)
        app->program->stop(app->state);
    if (app->loop) {
        timer_cancel(app->loop, &app->drain_timer);
        timer_cancel(app->loop, &app->watch_timer);
    }
    loop_free(app->loop);
    if (app->before != app->first)
        generation_free(app->before);
    if (app->now != app->first)
        generation_free(app->now);
    generation_free(app->first);
    for (size_t i = 0; i < app->flag_count; i++)
        free((void *)(uintptr_t)app->flags[i].key);
    free(app->log_format);
    metric_reset_all();
}

static int run(struct app *app)
{
    struct err err = {0};
    if (!begin(app, &err)) {
        log_error("the program cannot start", LOG_C("code", err_name(err.code)),
                  LOG_C("error", err.text));
        return exit_code_of(&err);
    }
    watch(app);
    loop_run(app->loop);
    log_info("bye", LOG_I("exit_code", app->exit_code));
    return app->exit_code;
}

static int show(struct app *app, int mode)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    if (mode == MODE_PRINT)
        conf_print(app->program->rows, app->now->conf, &text);
    else if (mode == MODE_VERSION)
        app_version(app->program->name, &text);
    else if (mode == MODE_CHECK)
        buf_add_str(&text, STR("the configuration is usable\n"));
    bool good = write_out(&text);
    buf_done(&text);
    return good ? EXIT_OK : EXIT_FAILED;
}

int app_main(const struct app_program *program, int argc, char **argv)
{
    struct app app = {.program = program};
    struct err err = {0};
    int mode = MODE_RUN, code = EXIT_OK;
    if (!crash_init(program->name, &err)) {
        fprintf(stderr, "%s: %s\n", program->name, err.text);
        code = EXIT_CONFIG;
    } else if (!read_arguments(&app, argc, argv, &mode, &err)) {
        fprintf(stderr, "%s: %s\n", program->name, err.text);
        code = exit_code_of(&err);
    } else if (mode == MODE_HELP) {
        print_help(program);
    } else if (mode != MODE_VERSION && !(app.first = app.now = load(&app, &err))) {
        fprintf(stderr, "%s: %s\n", program->name, err.text);
        code = EXIT_CONFIG;
    } else {
        code = mode == MODE_RUN ? run(&app) : show(&app, mode);
    }
    end(&app);
    return code;
}

bool app_need_files(uint64_t files, struct err *err)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur >= files)
        return true;
    err_set(
        err, ERR_CONFIG,
        "%llu open files are needed and the limit is %llu: raise it (ulimit -Hn, LimitNOFILE=) or"
        " lower max_in_flight",
        (unsigned long long)files, (unsigned long long)limit.rlim_cur);
    return false;
}
