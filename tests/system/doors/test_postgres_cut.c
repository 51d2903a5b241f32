/*
 * Goal: a connection cut around the commit gives `unknown`, never a guess.
 * Method: a small proxy in a child process between the door and the real server. It looks for a
 * marker in what the door sends; then it either swallows the server's answer or never forwards the
 * marker, and closes both sides. Only for the real server: a simulated one cuts by itself.
 */
#include <libpq-fe.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/io/postgres.h"
#include "tests/system/doors/door_test.h"

enum statement { ADD, FIND };

static const struct postgres_statement statements[] = {
    [ADD] = {"add", "INSERT INTO quern_doors_cut.things (note) VALUES ($1)", 1},
    [FIND] = {"find", "SELECT count(*) FROM quern_doors_cut.things WHERE note = 'cut-' || $1", 1},
};

static const char schema[] = "DROP SCHEMA IF EXISTS quern_doors_cut CASCADE;"
                             "CREATE SCHEMA quern_doors_cut;"
                             "CREATE TABLE quern_doors_cut.things (note text);";

/* Only ADD sends a marker whole; FIND gets it without "cut-", so that looking is not cut, too. */
#define CUT_ANSWER  "cut-the-answer"
#define CUT_REQUEST "cut-the-request"

static char password_room[256];
static char target_host[256];
static int target_port;
static char proxied_conninfo[4096];

/* ---- The proxy ---- */

static int dial_target(void)
{
    int fd = socket(target_host[0] == '/' ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    if (target_host[0] == '/') {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/.s.PGSQL.%d", target_host,
                 target_port);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
            _exit(1);
    } else {
        struct sockaddr_in address = {
            .sin_family = AF_INET,
            .sin_port = htons((uint16_t)target_port),
            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
            _exit(1);
    }
    return fd;
}

/* Returns false when the connection is to be closed. */
static bool forward(int from, int to, bool from_client)
{
    static char bytes[65536];
    ssize_t len = read(from, bytes, sizeof(bytes));
    if (len <= 0)
        return false;
    bool cut_answer = from_client && memmem(bytes, (size_t)len, CUT_ANSWER, strlen(CUT_ANSWER));
    if (from_client && memmem(bytes, (size_t)len, CUT_REQUEST, strlen(CUT_REQUEST)))
        return false;
    for (ssize_t at = 0; at < len;) {
        ssize_t sent = write(to, bytes + at, (size_t)(len - at));
        if (sent <= 0)
            return false;
        at += sent;
    }
    if (cut_answer) { /* the server's answer arrives, and goes no further */
        struct pollfd poller = {.fd = to, .events = POLLIN};
        poll(&poller, 1, 5000);
    }
    return !cut_answer;
}

static void serve(int listener)
{
    for (;;) {
        int client = accept(listener, NULL, NULL);
        int server = dial_target();
        struct pollfd pollers[2] = {{.fd = client, .events = POLLIN},
                                    {.fd = server, .events = POLLIN}};
        bool open = true;
        while (open && poll(pollers, 2, -1) > 0) {
            if (pollers[0].revents)
                open = forward(client, server, true);
            if (open && pollers[1].revents)
                open = forward(server, client, false);
        }
        close(client);
        close(server);
    }
}

static pid_t start_proxy(int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 10), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(listener);
    }
    close(listener);
    return pid;
}

/* ---- The stage ---- */

struct stage {
    struct loop *loop;
    struct postgres *pg;
    struct postgres_session *direct;
    pid_t proxy;
};

static struct postgres_conf base_conf(void)
{
    return (struct postgres_conf){
        .conninfo = str_of(getenv("QUERN_POSTGRES__CONNINFO")),
        .password = env_secret("QUERN_POSTGRES__PASSWORD", password_room, sizeof(password_room)),
        .statements = statements,
        .statement_count = 2,
    };
}

/* The same conninfo, without host and port, which the proxy takes the place of. */
static void point_at_proxy(int port)
{
    PQconninfoOption *options = PQconninfoParse(getenv("QUERN_POSTGRES__CONNINFO"), NULL);
    assert_non_null(options);
    size_t len =
        (size_t)snprintf(proxied_conninfo, sizeof(proxied_conninfo),
                         "host=127.0.0.1 port=%d sslmode=disable gssencmode=disable", port);
    const char *host = getenv("PGHOST"), *target = getenv("PGPORT");
    for (PQconninfoOption *option = options; option->keyword; option++) {
        if (!option->val)
            continue;
        if (strcmp(option->keyword, "host") == 0)
            host = option->val;
        else if (strcmp(option->keyword, "port") == 0)
            target = option->val;
        else if (!strstr(option->keyword, "mode") && strcmp(option->keyword, "hostaddr") != 0)
            len += (size_t)snprintf(proxied_conninfo + len, sizeof(proxied_conninfo) - len,
                                    " %s='%s'", option->keyword, option->val);
    }
    snprintf(target_host, sizeof(target_host), "%s", host ? host : "/var/run/postgresql");
    target_port = target ? (int)strtol(target, NULL, 10) : 5432;
    PQconninfoFree(options);
}

static int set_up(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    struct err err = {0};
    struct postgres_conf conf = base_conf();
    stage->direct = postgres_session_open(&conf, &err);
    if (!stage->direct || !postgres_session_script(stage->direct, schema, &err))
        fail_msg("%s", err.text);
    int port = 0;
    point_at_proxy(0);
    stage->proxy = start_proxy(&port);
    point_at_proxy(port);
    conf.conninfo = str_of(proxied_conninfo);
    stage->loop = loop_new(&err);
    stage->pg = postgres_new(stage->loop, &conf, &err);
    if (!stage->pg)
        fail_msg("%s", err.text);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    struct stage *stage = *state;
    struct err err;
    postgres_free(stage->pg);
    loop_free(stage->loop);
    kill(stage->proxy, SIGKILL);
    waitpid(stage->proxy, NULL, 0);
    postgres_session_script(stage->direct, "DROP SCHEMA quern_doors_cut CASCADE", &err);
    postgres_session_close(stage->direct);
    free(stage);
    return 0;
}

struct answer {
    bool there, ok, unknown;
    int64_t number;
    struct err err;
};

static void remember(const struct postgres_result *result, const struct err *err, void *context)
{
    struct answer *answer = context;
    *answer = (struct answer){.there = true, .ok = !err, .unknown = result->unknown};
    if (err)
        answer->err = *err;
    else if (result->rows[0].count)
        answer->number = postgres_cell_i64(&result->rows[0], 0, 0);
}

static void ask(struct stage *stage, enum statement statement, const char *note, int flags,
                struct answer *answer)
{
    struct err err;
    struct str params[] = {str_of(note)};
    struct postgres_query query = {.statement = statement, .params = params, .param_count = 1};
    answer->there = false;
    assert_true(postgres_batch(stage->pg, &query, 1, flags, remember, answer, &err));
}

static void take_count(const struct postgres_rows *rows, void *context)
{
    *(int64_t *)context = postgres_cell_i64(rows, 0, 0);
}

static int64_t stored(struct stage *stage, const char *note)
{
    struct err err;
    int64_t count = -1;
    struct str params[] = {str_of(note)};
    assert_true(postgres_session_query(stage->direct, statements[FIND].sql, params, 1, take_count,
                                       &count, &err));
    return count;
}

static void expect_cut(struct stage *stage, const char *note, int64_t rows)
{
    struct answer cut, reading, waiting;
    UNTIL(stage->loop, postgres_up(stage->pg));
    ask(stage, ADD, note, POSTGRES_TRANSACTION, &cut);
    ask(stage, FIND, "x", 0, &reading);
    UNTIL(stage->loop, cut.there);
    assert_false(cut.ok);
    assert_int_equal(cut.err.code, ERR_UNAVAILABLE);
    assert_true(cut.unknown);
    UNTIL(stage->loop, reading.there);
    assert_false(reading.unknown);
    ask(stage, FIND, note + strlen("cut-"), 0,
        &waiting); /* the caller looks, on the new connection */
    UNTIL(stage->loop, waiting.there);
    assert_true(waiting.ok);
    assert_int_equal(waiting.number, rows);
    assert_int_equal(stored(stage, note + strlen("cut-")), rows);
}

static void a_lost_answer_to_a_commit_is_unknown_and_it_happened(void **state)
{
    expect_cut(*state, CUT_ANSWER, 1);
}

static void a_lost_commit_is_unknown_and_it_did_not_happen(void **state)
{
    expect_cut(*state, CUT_REQUEST, 0);
}

int main(void)
{
    if (!getenv("QUERN_POSTGRES__CONNINFO"))
        return DOOR_TEST_SKIP;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lost_answer_to_a_commit_is_unknown_and_it_happened,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_commit_is_unknown_and_it_did_not_happen, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
