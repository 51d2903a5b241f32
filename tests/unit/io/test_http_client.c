/*
 * Goal: every way a server can answer, fail to answer or go away ends in exactly one reply or error
 * of the right kind, and connections are kept and counted.
 * Method: a server of a page on the same loop and the loopback interface; it reads whole requests
 * and answers each with the bytes of the script that is set at that moment. No sleep: the loop
 * turns until the calls are back.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/http_client.h"

#define OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Way: a  \r\n\r\nhi"

enum then { THEN_KEEP, THEN_CLOSE, THEN_RESET };

struct script {
    const char *bytes;
    size_t len; /* 0: all of it */
    enum then then;
};

enum { PEERS_MAX = 2048, BODY_MAX = 4 << 20 };

struct peer {
    struct loop_watch *watch;
    struct buf in;
};

static struct {
    struct loop *loop;
    struct http_client *http;
    struct loop_watch *listener;
    int fd, port;
    struct peer *peers; /* by file descriptor */
    struct script script;
    bool hold; /* read requests, answer none */
    unsigned connections, requests;
    struct buf last; /* the last request */
} server;

static struct {
    unsigned done;
    int status;
    enum err_code code;
    char text[320], headers[512], body[512];
    size_t body_len;
    unsigned sends;
    int64_t connect_us;
} seen;

/* ---- the server ---- */

static void peer_close(int fd, bool reset)
{
    struct peer *peer = &server.peers[fd];
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (reset)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    loop_watch_free(peer->watch);
    buf_done(&peer->in);
    *peer = (struct peer){0};
    close(fd);
}

static void close_peers(void)
{
    for (int fd = 0; fd < PEERS_MAX; fd++)
        if (server.peers[fd].watch)
            peer_close(fd, false);
}

static void peer_answer(int fd)
{
    const struct script *script = &server.script;
    size_t len = script->len ? script->len : strlen(script->bytes);
    server.requests++;
    if (server.hold)
        return;
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(fd, script->bytes + sent, len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break; /* the client hung up */
        sent += (size_t)n;
    }
    if (script->then != THEN_KEEP)
        peer_close(fd, script->then == THEN_RESET);
}

/* Bytes of the first request in `in`, 0 when it is not complete. */
static size_t request_len(struct str in)
{
    const char *end = memmem(in.data, in.len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - in.data) + 4;
    const char *told = memmem(in.data, head, "Content-Length: ", 16);
    size_t len = head + (told ? (size_t)strtoul(told + 16, NULL, 10) : 0);
    return len <= in.len ? len : 0;
}

static void peer_ready(int fd, int what, void *context)
{
    struct peer *peer = &server.peers[fd];
    char bytes[65536];
    (void)what, (void)context;
    ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
    if (n <= 0) {
        peer_close(fd, false);
        return;
    }
    buf_add(&peer->in, bytes, (size_t)n);
    size_t len = request_len(buf_str(&peer->in));
    if (!len)
        return;
    buf_clear(&server.last);
    buf_add(&server.last, peer->in.data, len);
    buf_drop_front(&peer->in, len);
    peer_answer(fd);
}

static void peer_accept(int listener, int what, void *context)
{
    (void)what, (void)context;
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return;
    assert_true(fd < PEERS_MAX);
    server.connections++;
    buf_init(&server.peers[fd].in, BODY_MAX + 4096);
    server.peers[fd].watch = loop_watch_new(server.loop, fd, LOOP_READ, peer_ready, NULL);
}

static int listen_any(int backlog, int *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static int set_up(void **state)
{
    (void)state;
    struct err err = {0};
    memset(&server, 0, sizeof(server));
    server.loop = loop_new(&err);
    assert_non_null(server.loop);
    server.peers = xcalloc(PEERS_MAX, sizeof(*server.peers));
    server.fd = listen_any(1024, &server.port);
    server.listener = loop_watch_new(server.loop, server.fd, LOOP_READ, peer_accept, NULL);
    buf_init(&server.last, BODY_MAX + 4096);
    server.script = (struct script){.bytes = OK_2};
    server.http = http_client_new(server.loop,
                                  &(struct http_client_conf){.calls_max = 1000,
                                                             .reply_bytes_max = 100000,
                                                             .reply_header_bytes_max = 4096,
                                                             .user_agent = STR("quern-test/1")},
                                  &err);
    assert_non_null(server.http);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_client_free(server.http);
    close_peers();
    loop_watch_free(server.listener);
    close(server.fd);
    free(server.peers);
    buf_done(&server.last);
    loop_free(server.loop);
    return 0;
}

/* ---- the client's side ---- */

static void copy_text(char *to, size_t bytes, struct str s)
{
    size_t len = s.len < bytes ? s.len : bytes - 1;
    if (len)
        memcpy(to, s.data, len);
    to[len] = 0;
}

static void on_done(const struct http_reply *reply, const struct err *err, void *context)
{
    assert_ptr_equal(context, &seen);
    seen.done++;
    seen.status = reply->status;
    seen.code = err ? err->code : ERR_NONE;
    seen.body_len = reply->body.len;
    seen.sends = reply->sends;
    seen.connect_us = reply->connect_us;
    copy_text(seen.text, sizeof(seen.text), err ? str_of(err->text) : STR(""));
    copy_text(seen.headers, sizeof(seen.headers), reply->headers);
    copy_text(seen.body, sizeof(seen.body), reply->body);
    if (!err && reply->status == 200)
        assert_true(reply->first_byte_us > 0 && reply->total_us >= reply->first_byte_us);
}

static const struct http_header headers[] = {{STR("Content-Type"), STR("application/json")},
                                             {STR("X-Request-Id"), STR("a/0/call/1")},
                                             {STR("X-Empty"), STR("")}};

static struct http_request request_to(int port, char url[64])
{
    snprintf(url, 64, "http://127.0.0.1:%d/v1/chat", port);
    return (struct http_request){.method = STR("POST"),
                                 .url = str_of(url),
                                 .headers = headers,
                                 .header_count = sizeof(headers) / sizeof(*headers),
                                 .body = STR("{\"a\":1}"),
                                 .connect_timeout_ms = 2000,
                                 .total_timeout_ms = 5000};
}

static struct http_call *start(const struct http_request *request)
{
    struct err err = {0};
    struct http_call *call = http_call(server.http, request, on_done, &seen, &err);
    if (!call)
        print_error("%s\n", err.text);
    assert_non_null(call);
    return call;
}

static struct http_call *start_default(void)
{
    char url[64];
    struct http_request request = request_to(server.port, url);
    return start(&request);
}

static void turn_until_done(unsigned count)
{
    int64_t limit_us = loop_exact_us(server.loop) + 20 * 1000000;
    while (seen.done < count) {
        loop_turn(server.loop, 20);
        assert_true(loop_exact_us(server.loop) < limit_us);
    }
}

static void turn_until_requests(unsigned count)
{
    int64_t limit_us = loop_exact_us(server.loop) + 20 * 1000000;
    while (server.requests < count) {
        loop_turn(server.loop, 20);
        assert_true(loop_exact_us(server.loop) < limit_us);
    }
}

static void call_once(void)
{
    memset(&seen, 0, sizeof(seen));
    start_default();
    assert_int_equal(seen.done, 0);
    turn_until_done(1);
}

/* ---- what it sends ---- */

static void the_request_arrives_as_it_was_asked_for(void **state)
{
    (void)state;
    call_once();
    assert_int_equal(seen.status, 200);
    assert_string_equal(seen.body, "hi");
    assert_int_equal(seen.sends, 1);
    assert_true(seen.connect_us > 0);
    char expected[512];
    snprintf(expected, sizeof(expected),
             "POST /v1/chat HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\n"
             "User-Agent: quern-test/1\r\nContent-Type: "
             "application/json\r\nX-Request-Id: a/0/call/1\r\n"
             "X-Empty:\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
             server.port);
    assert_string_equal(server.last.data, expected);
}

static void a_handle_serves_other_methods_after_a_post(void **state)
{
    (void)state;
    static const struct {
        const char *method, *body, *first_line, *length;
    } cases[] = {
        {"POST", "x", "POST /v1/chat HTTP/1.1", "Content-Length: 1"},
        {"GET", "", "GET /v1/chat HTTP/1.1", NULL},
        {"PUT", "yy", "PUT /v1/chat HTTP/1.1", "Content-Length: 2"},
        {"GET", "", "GET /v1/chat HTTP/1.1", NULL},
        {"POST", "", "POST /v1/chat HTTP/1.1", "Content-Length: 0"},
        {"DELETE", "", "DELETE /v1/chat HTTP/1.1", "Content-Length: 0"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char url[64];
        struct http_request request = request_to(server.port, url);
        memset(&seen, 0, sizeof(seen));
        request.method = str_of(cases[i].method);
        request.body = str_of(cases[i].body);
        start(&request);
        turn_until_done(1);
        assert_int_equal(seen.status, 200);
        assert_memory_equal(server.last.data, cases[i].first_line, strlen(cases[i].first_line));
        const char *length = strstr(server.last.data, "Content-Length");
        if (cases[i].length)
            assert_memory_equal(length, cases[i].length, strlen(cases[i].length));
        else
            assert_null(length);
    }
    assert_int_equal(server.connections, 1);
}

static const struct target {
    const char *host, *path, *sent;
} targets[] = {
    {"127.0.0.1", "/one?a=1", "/one?a=1"},
    {"localhost", "/two", "/two"},
    {"127.0.0.1", "/%61b", "/%61b"},
    {"127.0.0.1", "", "/"},
};

static void ask_target(const struct target *target, bool proxied)
{
    char origin[64], url[96], unused[64], head[256];
    struct http_request request = request_to(server.port, unused);
    snprintf(origin, sizeof(origin), "http://%s:%d", target->host, server.port);
    snprintf(url, sizeof(url), "%s%s", origin, target->path);
    request.url = str_of(url);
    memset(&seen, 0, sizeof(seen));
    start(&request);
    turn_until_done(1);
    assert_int_equal(seen.status, 200);
    snprintf(head, sizeof(head), "POST %s%s HTTP/1.1\r\nHost: %s:%d\r\n", proxied ? origin : "",
             target->sent, target->host, server.port);
    assert_memory_equal(server.last.data, head, strlen(head));
}

/* Twice, and all by one handle. */
static void ask_each_target(bool proxied)
{
    struct http_client_stats stats;
    size_t count = sizeof(targets) / sizeof(*targets);
    for (size_t i = 0; i < 2 * count; i++)
        ask_target(&targets[i % count], proxied);
    http_client_stats(server.http, &stats);
    assert_int_equal(stats.handles, 1);
}

static void a_handle_goes_where_each_request_says(void **state)
{
    (void)state;
    ask_each_target(false);
}

static void a_proxy_of_the_environment_is_told_where_to_go(void **state)
{
    struct err err;
    char proxy[64];
    (void)state;
    snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", server.port);
    http_client_free(server.http);
    setenv("http_proxy", proxy, true);
    server.http = http_client_new(server.loop, &(struct http_client_conf){.calls_max = 10}, &err);
    ask_each_target(true);
    unsetenv("http_proxy");
}

static void a_long_body_goes_out_whole_and_without_asking(void **state)
{
    (void)state;
    char url[64], *body = xzalloc(BODY_MAX);
    struct http_request request = request_to(server.port, url);
    memset(&seen, 0, sizeof(seen));
    memset(body, 'x', BODY_MAX);
    request.body = (struct str){body, BODY_MAX};
    start(&request);
    turn_until_done(1);
    assert_int_equal(seen.status, 200);
    assert_null(strstr(server.last.data, "Expect"));
    assert_true(server.last.len > BODY_MAX);
    free(body);
}

static void requests_that_cannot_be_sent_are_refused_at_once(void **state)
{
    (void)state;
    static const struct http_header broken[] = {
        {STR("X-A"), STR("b\r\nX-Evil: 1")}, {STR("X A"), STR("b")}, {STR(""), STR("b")}};
    static const struct {
        const char *method, *url, *text;
        const struct http_header *header;
    } cases[] = {
        {"POST", "ftp://127.0.0.1/", "neither http nor https", NULL},
        {"POST", "file:///etc/passwd", "neither http nor https", NULL},
        {"POST", "http://a b/", "not usable", NULL},
        {"POST", "", "not usable", NULL},
        {"BREW", "http://127.0.0.1/", "'BREW' is not supported", NULL},
        {"GET", "http://127.0.0.1/", "no body", NULL},
        {"POST", "http://127.0.0.1/", "'X-A' is not one line", &broken[0]},
        {"POST", "http://127.0.0.1/", "not a token", &broken[1]},
        {"POST", "http://127.0.0.1/", "not a token", &broken[2]},
    };
    memset(&seen, 0, sizeof(seen));
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err err = {0};
        struct http_request request = {.method = str_of(cases[i].method),
                                       .url = str_of(cases[i].url),
                                       .headers = cases[i].header,
                                       .header_count = cases[i].header ? 1 : 0,
                                       .body = STR("x")};
        assert_null(http_call(server.http, &request, on_done, &seen, &err));
        assert_int_equal(err.code, ERR_INVALID_REQUEST);
        assert_non_null(strstr(err.text, cases[i].text));
    }
    assert_int_equal(http_in_flight(server.http), 0);
    call_once(); /* the handle they all used is still good */
    assert_int_equal(seen.status, 200);
}

/* ---- what comes back ---- */

static void every_reply_ends_in_the_right_verdict(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t len;
        enum then then;
        int status;
        enum err_code code;
        const char *body;
    } cases[] = {
        /* clang-format off */
        {"length",            OK_2, 0, THEN_KEEP, 200, ERR_NONE, "hi"},
        {"until close",       "HTTP/1.0 200 OK\r\n\r\nabc", 0, THEN_CLOSE, 200, ERR_NONE, "abc"},
        {"chunked",           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 0, THEN_KEEP, 200, ERR_NONE, "abcde"},
        {"chunked, trailer",  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\n\r\n", 0, THEN_KEEP, 200, ERR_NONE, "a"},
        {"no body",           "HTTP/1.1 204 No Content\r\n\r\n", 0, THEN_KEEP, 204, ERR_NONE, ""},
        {"interim",           "HTTP/1.1 100 Continue\r\nX-Way: no\r\n\r\n" OK_2, 0, THEN_KEEP, 200, ERR_NONE, "hi"},
        {"error status",      "HTTP/1.1 429 Slow Down\r\nContent-Length: 1\r\n\r\nx", 0, THEN_KEEP, 429, ERR_NONE, "x"},
        {"redirect",          "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 0, THEN_KEEP, 302, ERR_NONE, ""},
        {"nothing, closed",   "x", SIZE_MAX, THEN_CLOSE, 0, ERR_PROVIDER_DOWN, ""},
        {"nothing, reset",    "x", SIZE_MAX, THEN_RESET, 0, ERR_PROVIDER_DOWN, ""},
        {"cut in the line",   OK_2, 6, THEN_CLOSE, 0, ERR_PROVIDER_DOWN, ""},
        {"cut in a header",   OK_2, 25, THEN_CLOSE, 200, ERR_PROVIDER_BAD_REPLY, ""},
        {"cut in headers",    OK_2, 36, THEN_CLOSE, 200, ERR_PROVIDER_BAD_REPLY, ""},
        {"cut in the body",   OK_2, sizeof(OK_2) - 2, THEN_CLOSE, 200, ERR_PROVIDER_BAD_REPLY, "h"},
        {"reset in the body", OK_2, sizeof(OK_2) - 2, THEN_RESET, 200, ERR_PROVIDER_BAD_REPLY, NULL},
        {"length too long",   "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", 0, THEN_CLOSE, 200, ERR_PROVIDER_BAD_REPLY, "hi"},
        {"cut in a chunk",    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", 0, THEN_CLOSE, 200, ERR_PROVIDER_BAD_REPLY, "abc"},
        {"no last chunk",     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", 0, THEN_CLOSE, 200, ERR_PROVIDER_BAD_REPLY, "a"},
        {"bad chunk",         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\na\r\n", 0, THEN_KEEP, 200, ERR_PROVIDER_BAD_REPLY, ""},
        {"garbage",           "\x01\x02 what is this\r\n\r\n", 0, THEN_CLOSE, 0, ERR_PROVIDER_BAD_REPLY, ""},
        {"bad length",        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", 0, THEN_CLOSE, 200, ERR_PROVIDER_BAD_REPLY, ""},
        {"told too big",      "HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n", 0, THEN_KEEP, 200, ERR_TOO_BIG, ""},
        /* clang-format on */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t len = cases[i].len;
        close_peers(); /* a fresh connection: nothing is sent twice */
        server.script = (struct script){cases[i].bytes, len, cases[i].then};
        if (len == SIZE_MAX)
            server.script = (struct script){"", 0, cases[i].then};
        call_once();
        if (seen.code != cases[i].code || seen.status != cases[i].status)
            print_error("%s: %d %s '%s'\n", cases[i].name, seen.status, err_name(seen.code),
                        seen.text);
        assert_int_equal(seen.code, cases[i].code);
        assert_int_equal(seen.status, cases[i].status);
        assert_int_equal(seen.sends, 1);
        if (cases[i].body)
            assert_string_equal(seen.body, cases[i].body);
    }
}

static void a_body_beyond_the_ceiling_is_dropped(void **state)
{
    (void)state;
    static const size_t sizes[] = {99999, 100000, 100001, 150000};
    for (size_t i = 0; i < 4; i++) {
        char *bytes = xzalloc(sizes[i] + 64);
        int head = snprintf(bytes, 64, "HTTP/1.0 200 OK\r\n\r\n");
        memset(bytes + head, 'x', sizes[i]);
        server.script = (struct script){bytes, (size_t)head + sizes[i], THEN_CLOSE};
        call_once();
        assert_int_equal(seen.code, sizes[i] <= 100000 ? ERR_NONE : ERR_TOO_BIG);
        if (sizes[i] <= 100000)
            assert_int_equal(seen.body_len, sizes[i]);
        free(bytes);
    }
}

static void headers_beyond_the_ceiling_are_dropped(void **state)
{
    (void)state;
    char bytes[8000];
    int len = snprintf(bytes, sizeof(bytes), "HTTP/1.1 200 OK\r\n");
    while (len < 5000)
        len += snprintf(bytes + len, sizeof(bytes) - (size_t)len, "X-Filler: %060d\r\n", len);
    server.script = (struct script){bytes, (size_t)len, THEN_KEEP};
    call_once();
    assert_int_equal(seen.code, ERR_TOO_BIG);
}

static void header_values_are_found_whatever_the_case(void **state)
{
    (void)state;
    struct http_reply reply = {.headers =
                                   STR("HTTP/1.1 200 OK\r\nRetry-After: 7 \r\nX:\r\nX: 2\r\n\r\n")};
    assert_true(str_is(http_reply_header(&reply, "retry-after"), "7"));
    assert_true(str_is(http_reply_header(&reply, "x"), ""));
    assert_null(http_reply_header(&reply, "http/1.1 200 ok").data);
    assert_null(http_reply_header(&reply, "retry").data);
    reply.headers = (struct str){NULL, 0};
    assert_null(http_reply_header(&reply, "x").data);
}

/* Neither a continued line nor half a line break is the beginning of another header. */
static void odd_line_breaks_make_no_header(void **state)
{
    (void)state;
    server.script.bytes =
        "HTTP/1.1 429 Slow\r\nX-A: a\rRetry-After: 1\r\nX-B: b\r\n\tRetry-After: 2\r\n"
        "X-C: c\r\n Retry-After: 3\r\nContent-Length: 2\r\n\r\nno";
    call_once();
    assert_int_equal(seen.status, 429);
    assert_string_equal(seen.body, "no");
    struct http_reply reply = {.headers = str_of(seen.headers)};
    assert_null(http_reply_header(&reply, "retry-after").data);
}

/* ---- time and connections ---- */

static void silence_ends_in_a_timeout(void **state)
{
    (void)state;
    char url[64];
    struct http_request request = request_to(server.port, url);
    memset(&seen, 0, sizeof(seen));
    server.hold = true;
    request.total_timeout_ms = 60;
    start(&request);
    turn_until_done(1);
    assert_int_equal(seen.code, ERR_PROVIDER_TIMEOUT);
    assert_string_equal(seen.text, "no complete answer within 60 ms");
    assert_int_equal(seen.sends, 1);
}

static void a_closed_port_is_down(void **state)
{
    (void)state;
    char url[64];
    int port;
    close(listen_any(1, &port));
    struct http_request request = request_to(port, url);
    memset(&seen, 0, sizeof(seen));
    start(&request);
    turn_until_done(1);
    assert_int_equal(seen.code, ERR_PROVIDER_DOWN);
    assert_int_equal(seen.sends, 0);
}

/* "localhost" is ::1 first, where nobody listens; the second attempt gets the first one's number.
 */
static void a_name_with_two_addresses_is_tried_on_both(void **state)
{
    (void)state;
    char url[64];
    for (unsigned i = 1; i <= 3; i++) {
        struct http_request request = request_to(server.port, url);
        snprintf(url, sizeof(url), "http://localhost:%d/v1/chat", server.port);
        request.url = str_of(url);
        memset(&seen, 0, sizeof(seen));
        close_peers();
        start(&request);
        turn_until_done(1);
        assert_int_equal(seen.status, 200);
        assert_int_equal(server.connections, i);
    }
}

/* A listener whose queue is full lets further connections hang. */
static void a_black_hole_ends_in_a_connect_timeout(void **state)
{
    (void)state;
    char url[64];
    int port, fillers[4];
    int hole = listen_any(0, &port);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (size_t i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fillers[i], (struct sockaddr *)&at, sizeof(at));
    }
    struct http_request request = request_to(port, url);
    memset(&seen, 0, sizeof(seen));
    request.connect_timeout_ms = 80;
    start(&request);
    turn_until_done(1);
    assert_int_equal(seen.code, ERR_PROVIDER_DOWN);
    assert_string_equal(seen.text, "no connection within 80 ms");
    for (size_t i = 0; i < 4; i++)
        close(fillers[i]);
    close(hole);
}

static void calls_one_after_another_share_a_connection(void **state)
{
    (void)state;
    struct http_client_stats stats;
    for (int i = 0; i < 20; i++) {
        call_once();
        assert_int_equal(seen.status, 200);
        assert_true((seen.connect_us > 0) == (i == 0));
    }
    http_client_stats(server.http, &stats);
    assert_int_equal(server.connections, 1);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(stats.calls, 20);
    assert_int_equal(stats.handles, 1);
    assert_int_equal(stats.in_flight, 0);
}

static void a_connection_closed_while_idle_is_replaced(void **state)
{
    (void)state;
    for (int noticed = 0; noticed < 2; noticed++) {
        call_once();
        close_peers();
        if (noticed)
            for (int i = 0; i < 3; i++)
                loop_turn(server.loop, 1);
        call_once();
        assert_int_equal(seen.code, ERR_NONE);
        assert_int_equal(seen.sends, 1);
    }
    assert_int_equal(server.requests, 4);
}

/* The server takes the request from a kept connection and closes it without a byte. */
static void a_connection_closed_under_the_request_is_tried_once_more(void **state)
{
    (void)state;
    call_once();
    server.script = (struct script){.bytes = "", .then = THEN_CLOSE};
    call_once();
    assert_int_equal(seen.code, ERR_PROVIDER_DOWN);
    assert_int_equal(seen.sends, 2);
    assert_int_equal(server.requests, 3);
}

static void nothing_is_sent_twice_when_it_is_forbidden(void **state)
{
    (void)state;
    char url[64];
    call_once();
    server.script = (struct script){.bytes = "", .then = THEN_CLOSE};
    struct http_request request = request_to(server.port, url);
    memset(&seen, 0, sizeof(seen));
    request.once = true;
    start(&request);
    turn_until_done(1);
    assert_int_equal(seen.code, ERR_PROVIDER_DOWN);
    assert_int_equal(seen.sends, 1);
    assert_int_equal(server.requests, 2);
}

/* ---- many ---- */

static void a_thousand_calls_fly_at_once(void **state)
{
    (void)state;
    struct http_client_stats stats;
    char url[64];
    struct err err = {0};
    memset(&seen, 0, sizeof(seen));
    for (int round = 1; round <= 2; round++) {
        server.hold = true;
        for (int i = 0; i < 1000; i++)
            start_default();
        struct http_request one_more = request_to(server.port, url);
        assert_null(http_call(server.http, &one_more, on_done, &seen, &err));
        assert_int_equal(err.code, ERR_UNAVAILABLE);
        turn_until_requests((unsigned)round * 1000);
        assert_int_equal(http_in_flight(server.http), 1000);
        server.hold = false;
        for (int fd = 0; fd < PEERS_MAX; fd++)
            if (server.peers[fd].watch)
                peer_answer(fd);
        server.requests = (unsigned)round * 1000;
        turn_until_done((unsigned)round * 1000);
        assert_int_equal(seen.status, 200);
    }
    http_client_stats(server.http, &stats);
    assert_int_equal(stats.handles, 1000);
    assert_int_equal(stats.in_flight, 0);
    assert_int_equal(server.connections, 1000);
}

static void a_cancelled_call_never_comes_back(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    http_cancel(server.http, start_default()); /* before it was sent */
    server.hold = true;
    struct http_call *waiting = start_default();
    start_default();
    turn_until_requests(2);
    http_cancel(server.http, waiting);
    assert_int_equal(http_in_flight(server.http), 1);
    http_client_free(server.http); /* cancels the other */
    server.http = NULL;
    for (int i = 0; i < 5; i++)
        loop_turn(server.loop, 1);
    assert_int_equal(seen.done, 0);
    assert_int_equal(server.requests, 2);
}

static struct http_call *victims[2];

static void on_done_cancel_the_other(const struct http_reply *reply, const struct err *err,
                                     void *context)
{
    struct http_call **self = context;
    assert_null(err);
    assert_int_equal(reply->status, 200);
    seen.done++;
    http_cancel(server.http, victims[self == &victims[0] ? 1 : 0]);
    start_default();
}

/* Both replies are there; the first to be told cancels the second and starts a third. */
static void done_may_cancel_and_start_calls(void **state)
{
    (void)state;
    char url[64];
    struct http_request request = request_to(server.port, url);
    memset(&seen, 0, sizeof(seen));
    server.hold = true;
    for (size_t i = 0; i < 2; i++)
        victims[i] = http_call(server.http, &request, on_done_cancel_the_other, &victims[i], NULL);
    turn_until_requests(2);
    server.hold = false;
    for (int fd = 0; fd < PEERS_MAX; fd++)
        if (server.peers[fd].watch)
            peer_answer(fd);
    turn_until_done(2);
    for (int i = 0; i < 5; i++)
        loop_turn(server.loop, 1);
    assert_int_equal(seen.done, 2);
    assert_int_equal(http_in_flight(server.http), 0);
}

/* ---- names ---- */

static struct {
    _Atomic unsigned calls, at_once, at_once_max;
} lookups;

/* Stands in front of the C library's. "provider.test" is this machine, other names are nobody. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    (void)service, (void)hints;
    unsigned now = ++lookups.at_once;
    lookups.calls++;
    if (now > lookups.at_once_max)
        lookups.at_once_max = now;
    poll(NULL, 0, 20);
    lookups.at_once--;
    if (strcmp(name, "provider.test") != 0)
        return EAI_NONAME;
    struct found {
        struct addrinfo info;
        struct sockaddr_in at;
    } *found = xzalloc(sizeof(*found));
    found->at = (struct sockaddr_in){.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)server.port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    found->info = (struct addrinfo){.ai_family = AF_INET,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_addrlen = sizeof(found->at),
                                    .ai_addr = (struct sockaddr *)&found->at};
    *ret = &found->info;
    return 0;
}

void freeaddrinfo(struct addrinfo *info)
{
    free(info);
}

static void many_calls_to_a_new_name_look_it_up_a_few_times(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        enum err_code code;
        unsigned calls_max;
    } cases[] = {{"provider.test", ERR_NONE, 8}, {"nobody.test", ERR_PROVIDER_DOWN, 16}};
    for (size_t i = 0; i < 2; i++) {
        char url[64];
        struct http_request request = request_to(server.port, url);
        snprintf(url, sizeof(url), "http://%s:%d/v1/chat", cases[i].host, server.port);
        request.url = str_of(url);
        memset(&seen, 0, sizeof(seen));
        lookups.calls = lookups.at_once_max = 0;
        for (int n = 0; n < 300; n++)
            start(&request);
        http_cancel(server.http, start(&request));
        turn_until_done(300);
        assert_int_equal(seen.code, cases[i].code);
        assert_true(lookups.at_once_max <= 8);
        assert_in_range(lookups.calls, 1, cases[i].calls_max);
        assert_int_equal(http_in_flight(server.http), 0);
    }
}

static void calls_that_wait_for_an_address_can_be_cancelled(void **state)
{
    (void)state;
    char url[64];
    struct http_call *calls[100];
    struct http_request request = request_to(server.port, url);
    snprintf(url, sizeof(url), "http://provider.test:%d/v1/chat", server.port);
    request.url = str_of(url);
    memset(&seen, 0, sizeof(seen));
    for (size_t i = 0; i < 100; i++)
        calls[i] = start(&request);
    loop_turn(server.loop, 0);
    loop_turn(server.loop, 0);
    for (size_t i = 0; i < 99; i++) /* askers and waiting ones; the last takes over */
        http_cancel(server.http, calls[i]);
    turn_until_done(1);
    assert_int_equal(seen.code, ERR_NONE);
    assert_int_equal(http_in_flight(server.http), 0);
}

/* ---- when libcurl itself fails ---- */

static bool break_the_library;

/* Stands in front of the library's own. */
CURLMcode curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int seen_bits, int *running)
{
    static union {
        void *object;
        CURLMcode (*call)(CURLM *, curl_socket_t, int, int *);
    } real;
    if (!real.object)
        real.object = dlsym(RTLD_NEXT, "curl_multi_socket_action");
    if (break_the_library)
        return CURLM_INTERNAL_ERROR;
    return real.call(multi, fd, seen_bits, running);
}

static void a_failing_library_fails_its_calls_and_is_replaced(void **state)
{
    (void)state;
    struct http_client_stats stats;
    memset(&seen, 0, sizeof(seen));
    server.hold = true;
    for (int i = 0; i < 10; i++)
        start_default();
    turn_until_requests(10);
    break_the_library = true;
    start_default(); /* makes the shard run, which is where it fails */
    turn_until_done(11);
    break_the_library = false;
    assert_int_equal(seen.code, ERR_PROVIDER_DOWN);
    http_client_stats(server.http, &stats);
    assert_int_equal(stats.handles, 0);
    assert_int_equal(stats.in_flight, 0);
    server.hold = false;
    call_once();
    assert_int_equal(seen.status, 200);
}

static void a_missing_certificate_file_is_told_at_the_start(void **state)
{
    (void)state;
    struct err err = {0};
    struct http_client_conf conf = {.ca_file = STR("/nonexistent/ca.pem")};
    assert_null(http_client_new(server.loop, &conf, &err));
    assert_int_equal(err.code, ERR_CONFIG);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/* The soft limit of an ordinary user is 1,024 files: too few for both ends of a thousand calls. */
static void raise_file_limit(void)
{
    struct rlimit files;
    must(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &files) == 0);
}

int main(void)
{
    raise_file_limit();
    const struct CMUnitTest tests[] = {
        CASE(the_request_arrives_as_it_was_asked_for),
        CASE(a_handle_serves_other_methods_after_a_post),
        CASE(a_handle_goes_where_each_request_says),
        CASE(a_proxy_of_the_environment_is_told_where_to_go),
        CASE(a_long_body_goes_out_whole_and_without_asking),
        CASE(requests_that_cannot_be_sent_are_refused_at_once),
        CASE(every_reply_ends_in_the_right_verdict),
        CASE(a_body_beyond_the_ceiling_is_dropped),
        CASE(headers_beyond_the_ceiling_are_dropped),
        CASE(header_values_are_found_whatever_the_case),
        CASE(odd_line_breaks_make_no_header),
        CASE(silence_ends_in_a_timeout),
        CASE(a_closed_port_is_down),
        CASE(a_name_with_two_addresses_is_tried_on_both),
        CASE(a_black_hole_ends_in_a_connect_timeout),
        CASE(calls_one_after_another_share_a_connection),
        CASE(a_connection_closed_while_idle_is_replaced),
        CASE(a_connection_closed_under_the_request_is_tried_once_more),
        CASE(nothing_is_sent_twice_when_it_is_forbidden),
        CASE(a_thousand_calls_fly_at_once),
        CASE(a_cancelled_call_never_comes_back),
        CASE(done_may_cancel_and_start_calls),
        CASE(many_calls_to_a_new_name_look_it_up_a_few_times),
        CASE(calls_that_wait_for_an_address_can_be_cancelled),
        CASE(a_failing_library_fails_its_calls_and_is_replaced),
        CASE(a_missing_certificate_file_is_told_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
