/*
 * test_app.c -- app_main() as an operator meets it: arguments, exit codes, the operation port,
 * signals, systemd's messages.
 *
 * Each test forks a child that runs a tiny program under app_main(). The parent talks to it by HTTP
 * on a port the child picks and prints in its log, by signals, and listens on a NOTIFY_SOCKET. The
 * child's standard output and error go to files in a folder of the test's own. Waiting is polling
 * for a condition with a limit, never a pause of fixed length.
 */
#include "common/app/app.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/xalloc.h"

#define WAIT_MS 20000

/* The program under the frame */

struct mini_conf {
    struct app_conf app;
    int64_t answer;    /* reloadable */
    int64_t furniture; /* not */
    int64_t start_fails;
    bool drain_at_once, ready;
};

/* clang-format off */
#define ROW(key, type, otherwise, live, member) \
    {key, type, otherwise, 0, 0, NULL, live, offsetof(struct mini_conf, member), NULL, 0, "Mini"}
static const struct conf_row rows[] = {
    APP_CONF_ROWS("mini", "127.0.0.1:0"),
    ROW("mini.answer", CONF_INT, "42", true, answer),
    ROW("mini.furniture", CONF_INT, "1", false, furniture),
    ROW("mini.start_fails", CONF_INT, "0", false, start_fails),
    ROW("mini.drain_at_once", CONF_BOOL, "yes", false, drain_at_once),
    ROW("mini.ready", CONF_BOOL, "yes", true, ready),
    {0},
};
/* clang-format on */

struct mini {
    struct app *app;
    const struct mini_conf *conf;
};

static bool mini_check(const void *given, const struct conf_places *places, struct err *err)
{
    const struct mini_conf *conf = given;
    if (conf->answer != 13)
        return true;
    return conf_refuse(places, STR("mini.answer"), err, "must not be 13");
}

static void *mini_start(struct app *app, const void *given, struct err *err)
{
    const struct mini_conf *conf = given;
    if (conf->start_fails) {
        err_set(err, (enum err_code)conf->start_fails, "told to fail");
        return NULL;
    }
    struct mini *mini = xzalloc(sizeof(*mini));
    *mini = (struct mini){app, given};
    return mini;
}

static void mini_reload(void *program, const void *conf)
{
    ((struct mini *)program)->conf = conf;
}

static void mini_drain(void *program)
{
    struct mini *mini = program;
    if (mini->conf->drain_at_once)
        app_drained(mini->app);
}

static void mini_unready(const void *program, struct buf *ret)
{
    const struct mini *mini = program;
    if (!mini->conf->ready)
        buf_add_str(ret, STR("kafka: not today\n"));
}

/* Any gauge will do to look inside. */
static void mini_measure(void *program)
{
    const struct mini *mini = program;
    metric_set(METRIC_partitions_assigned, mini->conf->answer * 1000 + mini->conf->furniture);
}

static const struct app_program program = {
    .name = "quern-mini",
    .about = "does nothing, well framed",
    .rows = rows,
    .conf_size = sizeof(struct mini_conf),
    .ignore_sections = "worker",
    .check = mini_check,
    .start = mini_start,
    .reload = mini_reload,
    .drain = mini_drain,
    .stop = free,
    .unready = mini_unready,
    .measure = mini_measure,
};

/* The child and what it says */

static char folder[] = "/tmp/quern-test-app-XXXXXX";
static pid_t child;
static int notify_fd = -1;
static int port;

static int set_up_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int tear_down_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"out", "err", "quern.yaml", "notify"};
    for (size_t i = 0; i < 4; i++)
        remove(names[i]);
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static int set_up(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "notify"};
    remove("notify");
    remove("quern.yaml");
    notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return bind(notify_fd, (struct sockaddr *)&address, sizeof(address));
}

static int tear_down(void **state)
{
    (void)state;
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        child = 0;
    }
    close(notify_fd);
    return 0;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static const char *read_file(const char *name)
{
    static char text[1 << 16];
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return text;
}

/* Runs app_main in a child; arguments end with NULL, the first is argv[1]. */
static void launch(char *const *arguments)
{
    static char *argv[16];
    memset(argv, 0, sizeof(argv));
    argv[0] = "quern-mini";
    int argc = 1;
    for (; arguments[argc - 1]; argc++)
        argv[argc] = arguments[argc - 1];
    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child > 0)
        return;
    int out = open("out", O_CREAT | O_TRUNC | O_WRONLY, 0600);
    int err = open("err", O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    setenv("NOTIFY_SOCKET", "notify", 1);
    /* cmocka would take a crash for a failed test and go on with the next one, in the child. */
    const int crashes[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
        signal(crashes[i], SIG_DFL);
    for (int i = 1; i < argc; i++)
        argv[i] = xstrdup(argv[i]);       /* real arguments can be written to */
    exit(app_main(&program, argc, argv)); /* exit(): the leak check of the sanitizers runs */
}

#define LAUNCH(...) launch((char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* Polls for `condition`, 2 ms at a time. */
#define UNTIL(condition)                                                                           \
    for (int64_t until_us_ = clock_monotonic_us() + WAIT_MS * 1000LL; !(condition);) {             \
        if (clock_monotonic_us() > until_us_)                                                      \
            fail_msg("not in time: %s; log: %s", #condition, read_file("err"));                    \
        poll(NULL, 0, 2);                                                                          \
    }

static int exit_code(void)
{
    int status = 0;
    UNTIL(waitpid(child, &status, WNOHANG) == child);
    child = 0;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool said(const char *text)
{
    return strstr(read_file("err"), text) != NULL;
}

static void launch_and_find_port(const char *extra)
{
    write_file("err", "");
    if (extra)
        LAUNCH("--config", "quern.yaml", "--set", (char *)(uintptr_t)extra);
    else
        LAUNCH("--config", "quern.yaml");
    UNTIL(said("operation port"));
    const char *at = strstr(read_file("err"), "\"port\":");
    assert_non_null(at);
    port = (int)strtol(at + strlen("\"port\":"), NULL, 10);
    assert_in_range(port, 1, 65535);
}

/* Sends the bytes, reads until the other side closes. */
static const char *talk(const char *request)
{
    static char reply[1 << 16];
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval limit = {.tv_sec = WAIT_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t len = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    for (ssize_t got = 1; got > 0 && len<sizeof(reply) - 1; len += got> 0 ? (size_t)got : 0)
        got = recv(fd, reply + len, sizeof(reply) - 1 - len, 0);
    reply[len] = '\0';
    close(fd);
    return reply;
}

static const char *get(const char *path)
{
    char request[256];
    snprintf(request, sizeof(request),
             "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    return talk(request);
}

#define assert_has(text, part)                                                                     \
    do {                                                                                           \
        const char *text_ = (text);                                                                \
        if (!strstr(text_, part))                                                                  \
            fail_msg("'%s' is not in: %s", part, text_);                                           \
    } while (0)

/* Reads systemd's messages until one holds `text`. */
static void expect_notice(const char *text)
{
    char message[2048];
    struct pollfd wait = {.fd = notify_fd, .events = POLLIN};
    for (int64_t until_us = clock_monotonic_us() + WAIT_MS * 1000LL;
         clock_monotonic_us() < until_us;) {
        if (poll(&wait, 1, WAIT_MS) != 1)
            break;
        ssize_t len = recv(notify_fd, message, sizeof(message) - 1, 0);
        assert_true(len >= 0);
        message[len] = '\0';
        if (strstr(message, text))
            return;
    }
    fail_msg("systemd never heard '%s'", text);
}

static void end_well(void)
{
    kill(child, SIGTERM);
    assert_int_equal(exit_code(), EXIT_OK);
}

/* Arguments and exit codes */

static void help_lists_options_and_settings(void **state)
{
    (void)state;
    LAUNCH("--help");
    assert_int_equal(exit_code(), EXIT_OK);
    const char *page = read_file("out");
    assert_has(page, "--config FILE");
    assert_has(page, "mini.drain_timeout");
    assert_has(page, "does nothing, well framed");
}

static void version_names_the_libraries(void **state)
{
    (void)state;
    LAUNCH("--version");
    assert_int_equal(exit_code(), EXIT_OK);
    assert_has(read_file("out"), "quern-mini " QUERN_VERSION "\nlibrdkafka ");
}

static void wrong_usage_exits_with_2(void **state)
{
    (void)state;
    LAUNCH("word");
    assert_int_equal(exit_code(), EXIT_USAGE);
    assert_true(said("'word' is one word too many"));
    LAUNCH("--set", "mini.answer");
    assert_int_equal(exit_code(), EXIT_USAGE);
    assert_true(said("'mini.answer' is not of the form KEY=VALUE"));
}

static void wrong_configuration_exits_with_78_and_says_where(void **state)
{
    (void)state;
    write_file("quern.yaml", "mini:\n  asnwer: 5\n");
    LAUNCH("--config", "quern.yaml");
    assert_int_equal(exit_code(), EXIT_CONFIG);
    assert_true(said("quern-mini: quern.yaml:2: unknown key 'mini.asnwer', did you mean "
                     "'mini.answer'?"));
    LAUNCH("--config", "missing.yaml");
    assert_int_equal(exit_code(), EXIT_CONFIG);
    LAUNCH("--check-confg");
    assert_int_equal(exit_code(), EXIT_CONFIG);
    assert_true(said("unknown flag '--check-confg', did you mean '--check-config'?"));
    setenv("QUERN_MINI__ANWSER", "1", 1);
    LAUNCH("--check-config");
    unsetenv("QUERN_MINI__ANWSER");
    assert_int_equal(exit_code(), EXIT_CONFIG);
    assert_true(said("QUERN_MINI__ANWSER names no setting, did you mean QUERN_MINI__ANSWER?"));
    LAUNCH("--set", "mini.answer=13");
    assert_int_equal(exit_code(), EXIT_CONFIG);
    assert_true(said("command line: 'mini.answer' must not be 13"));
    LAUNCH("--set", "mini.http_address=nonsense");
    assert_int_equal(exit_code(), EXIT_CONFIG);
    assert_true(said("is not HOST:PORT"));
}

static void failing_start_exits_by_its_reason(void **state)
{
    (void)state;
    static const struct {
        enum err_code code;
        int exit_code;
    } cases[] = {{ERR_CONFIG, EXIT_CONFIG},
                 {ERR_UNAVAILABLE, EXIT_UNAVAILABLE},
                 {ERR_INTERNAL, EXIT_FAILED}};
    for (size_t i = 0; i < 3; i++) {
        char setting[64];
        snprintf(setting, sizeof(setting), "mini.start_fails=%d", cases[i].code);
        LAUNCH("--set", setting);
        assert_int_equal(exit_code(), cases[i].exit_code);
        assert_true(said("told to fail"));
    }
}

static void configuration_can_be_checked_and_printed_without_a_start(void **state)
{
    (void)state;
    write_file("quern.yaml", "mini: {answer: 7}\nworker: {anything: 1}\n");
    LAUNCH("--config", "quern.yaml", "--check-config");
    assert_int_equal(exit_code(), EXIT_OK);
    LAUNCH("-c", "quern.yaml", "--print-config", "-s", "mini.furniture=3");
    assert_int_equal(exit_code(), EXIT_OK);
    const char *print = read_file("out");
    assert_has(print, "  answer: 7\n");
    assert_has(print, "  furniture: 3\n");
    LAUNCH("--check-config", "--set", "mini.answer=13");
    assert_int_equal(exit_code(), EXIT_CONFIG);
}

/* The operation port */

static void operation_port_answers_its_pages(void **state)
{
    (void)state;
    write_file("quern.yaml", "");
    launch_and_find_port(NULL);
    assert_has(get("/healthz"), "HTTP/1.1 200 OK");
    assert_has(get("/readyz"), "HTTP/1.1 200 OK");
    assert_has(get("/readyz?verbose"), "\r\n\r\nready\n");
    assert_has(get("/version"), "quern-mini " QUERN_VERSION);
    const char *metrics = get("/metrics");
    assert_has(metrics, "Content-Type: text/plain; version=0.0.4");
    assert_has(metrics, "quern_build_info{version=\"" QUERN_VERSION "\"} 1\n");
    assert_has(metrics, "quern_partitions_assigned 42001\n");
    assert_has(metrics, "quern_config_last_reload_successful 1\n");
    end_well();
}

static void operation_port_refuses_what_it_does_not_know(void **state)
{
    (void)state;
    write_file("quern.yaml", "");
    launch_and_find_port(NULL);
    assert_has(get("/nothing"), "HTTP/1.1 404 ");
    assert_has(get("/healthz/"), "HTTP/1.1 404 ");
    const char *post = talk("DELETE /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_has(post, "HTTP/1.1 405 ");
    assert_has(post, "Allow: GET, HEAD\r\n");
    assert_has(talk("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"),
               "HTTP/1.1 400 "); /* and closed, else talk() would not return */
    assert_has(talk("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
               "HTTP/1.1 400 ");
    char flood[32768];
    memset(flood, 'x', sizeof(flood));
    memcpy(flood, "GET /", 5);
    flood[sizeof(flood) - 1] = '\0';
    assert_null(strstr(talk(flood), " 200 "));
    assert_has(get("/healthz"), "HTTP/1.1 200 OK"); /* still there */
    end_well();
}

static void head_has_the_length_and_no_body(void **state)
{
    (void)state;
    write_file("quern.yaml", "");
    launch_and_find_port(NULL);
    const char *reply = talk("HEAD /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_has(reply, "HTTP/1.1 200 OK");
    assert_has(reply, "Content-Length: 3\r\n");
    const char *end = strstr(reply, "\r\n\r\n");
    assert_non_null(end);
    assert_string_equal(end, "\r\n\r\n");
    assert_null(strstr(strstr(reply, "Content-Length") + 1, "Content-Length")); /* once */
    end_well();
}

static void unready_program_is_healthy_but_says_why_it_takes_no_work(void **state)
{
    (void)state;
    write_file("quern.yaml", "mini: {ready: no}");
    launch_and_find_port(NULL);
    assert_has(get("/healthz"), " 200 ");
    const char *reply = get("/readyz");
    assert_has(reply, "HTTP/1.1 503 ");
    assert_has(reply, "kafka: not today\n");
    expect_notice("EXTEND_TIMEOUT_USEC=");
    expect_notice("STATUS=not ready; kafka: not today");
    write_file("quern.yaml", "mini: {ready: yes}");
    kill(child, SIGHUP);
    expect_notice("READY=1");
    assert_has(get("/readyz"), " 200 ");
    end_well();
}

/* Reload */

static void reload_takes_what_can_change_and_names_the_rest(void **state)
{
    (void)state;
    write_file("quern.yaml", "mini: {answer: 1, furniture: 2}");
    launch_and_find_port(NULL);
    expect_notice("READY=1");
    for (int i = 2; i < 6; i++) { /* several, so that old generations go */
        char yaml[64], metric[64];
        snprintf(yaml, sizeof(yaml), "mini: {answer: %d, furniture: %d}", i, i + 1);
        snprintf(metric, sizeof(metric), "quern_partitions_assigned %d\n", i * 1000 + 2);
        write_file("quern.yaml", yaml);
        kill(child, SIGHUP);
        UNTIL(strstr(get("/metrics"), metric));
    }
    expect_notice("RELOADING=1");
    expect_notice("READY=1");
    assert_true(said("some settings need a restart"));
    assert_true(said("mini.furniture"));
    assert_has(get("/metrics"), "quern_config_reloads_total{result=\"taken\"} 4\n");
    end_well();
}

static void bad_file_keeps_the_old_configuration(void **state)
{
    (void)state;
    static const char *const files[] = {"mini: {answer: many}", "mini: {answer: 13}", "a: [",
                                        "mini: {anwser: 1}"};
    write_file("quern.yaml", "mini: {answer: 9}");
    launch_and_find_port(NULL);
    for (int i = 0; i < 4; i++) {
        char metric[80];
        snprintf(metric, sizeof(metric), "reloads_total{result=\"refused\"} %d\n", i + 1);
        write_file("quern.yaml", files[i]);
        kill(child, SIGHUP);
        UNTIL(strstr(get("/metrics"), metric));
    }
    const char *metrics = get("/metrics");
    assert_has(metrics, "quern_partitions_assigned 9001\n");
    assert_has(metrics, "quern_config_last_reload_successful 0\n");
    assert_true(said("configuration not reloaded, the old one stays"));
    assert_true(said("did you mean 'mini.answer'?"));
    end_well();
}

/* Leaving */

static void term_and_int_drain_and_exit_with_0(void **state)
{
    (void)state;
    const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        write_file("quern.yaml", "");
        launch_and_find_port(NULL);
        kill(child, signals[i]);
        assert_int_equal(exit_code(), EXIT_OK);
        expect_notice("STOPPING=1");
        assert_true(said("draining"));
    }
}

static void draining_program_is_not_ready_and_a_second_signal_ends_it(void **state)
{
    (void)state;
    write_file("quern.yaml", "mini: {drain_at_once: no}");
    launch_and_find_port(NULL);
    kill(child, SIGTERM);
    UNTIL(strstr(get("/readyz"), "HTTP/1.1 503 "));
    assert_has(get("/readyz"), "draining\n");
    assert_has(get("/healthz"), " 200 ");
    kill(child, SIGTERM);
    assert_int_equal(exit_code(), EXIT_OK);
    assert_true(said("second signal"));
}

static void drain_ends_at_its_time_out(void **state)
{
    (void)state;
    write_file("quern.yaml", "mini: {drain_at_once: no}");
    launch_and_find_port("mini.drain_timeout=100ms");
    kill(child, SIGTERM);
    assert_int_equal(exit_code(), EXIT_OK);
    assert_true(said("drain time-out"));
}

static void files_that_the_limit_does_not_allow_are_refused(void **state)
{
    (void)state;
    struct err err;
    assert_true(app_need_files(64, &err));
    assert_false(app_need_files(UINT64_MAX, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    assert_non_null(strstr(err.text, "ulimit"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(help_lists_options_and_settings),
        T(version_names_the_libraries),
        T(wrong_usage_exits_with_2),
        T(wrong_configuration_exits_with_78_and_says_where),
        T(failing_start_exits_by_its_reason),
        T(configuration_can_be_checked_and_printed_without_a_start),
        T(operation_port_answers_its_pages),
        T(operation_port_refuses_what_it_does_not_know),
        T(head_has_the_length_and_no_body),
        T(unready_program_is_healthy_but_says_why_it_takes_no_work),
        T(reload_takes_what_can_change_and_names_the_rest),
        T(bad_file_keeps_the_old_configuration),
        T(term_and_int_drain_and_exit_with_0),
        T(draining_program_is_not_ready_and_a_second_signal_ends_it),
        T(drain_ends_at_its_time_out),
        T(files_that_the_limit_does_not_allow_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
