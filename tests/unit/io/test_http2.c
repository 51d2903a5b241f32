/*
 * Goal: calls of one pool share connections over HTTP/2, calls of two pools never do, and whatever
 * a server does to a stream or a connection, each call on it ends once and in the right way.
 * Method: a server of HTTP/2 frames on the same loop and the loopback interface, with TLS and a
 * certificate made for the run. It understands no header (it sends ":status: 200" in one byte) and
 * does to each complete request what the test's plan says. A request's body tells whose it is.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/http_client.h"

enum { PEERS_MAX = 1024, CALLS_MAX = 1000, STREAMS_MAX = 256, REPLY_MAX = 100000, FRAME = 9 };
enum { DATA = 0, HEADERS = 1, RESET = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW = 8 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
enum { ERROR_INTERNAL = 2, ERROR_REFUSED = 7 };

enum deed { ANSWER, HOLD, RESET_IT, REFUSE_IT, HALF, HALF_THEN_RESET };

struct peer {
    struct loop_watch *watch;
    SSL *ssl;
    struct buf in, out;
    bool greeted;
    unsigned last_id;
    unsigned held[STREAMS_MAX], held_count;
    char whose; /* first byte of the bodies it has seen; '!' when they differ */
};

static struct {
    struct loop *loop;
    struct http_client *http;
    struct loop_watch *listener;
    int fd, port;
    SSL_CTX *tls;
    struct peer *peers;
    enum deed deed, deed_odd; /* of streams 1, 5, 9 .. and 3, 7, 11 .. */
    unsigned streams_max;     /* that it allows */
    size_t reply_bytes;
    unsigned connections, requests;
    bool only_1_1;
    unsigned goaway_at; /* this request makes the server send GOAWAY for all streams behind it */
} server;

struct heard {
    unsigned times;
    int status;
    enum err_code code;
    char text[320];
    size_t body_len;
    unsigned sends;
    enum http_version version;
    struct http_call *call;
};

static struct heard heard[CALLS_MAX];
static unsigned done;

/* ---- the server ---- */

static void peer_close(int fd, bool reset)
{
    struct peer *peer = &server.peers[fd];
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (reset)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    loop_watch_free(peer->watch);
    SSL_free(peer->ssl);
    buf_done(&peer->in);
    buf_done(&peer->out);
    *peer = (struct peer){0};
    close(fd);
}

static void cut_all(bool reset)
{
    for (int fd = 0; fd < PEERS_MAX; fd++)
        if (server.peers[fd].watch)
            peer_close(fd, reset);
}

static void flush(int fd)
{
    struct peer *peer = &server.peers[fd];
    while (peer->out.len > 0) {
        int n = SSL_write(peer->ssl, peer->out.data, (int)peer->out.len);
        if (n <= 0)
            break; /* the socket is full, or the client hung up */
        buf_drop_front(&peer->out, (size_t)n);
    }
    loop_watch_change(peer->watch, LOOP_READ | (peer->out.len ? LOOP_WRITE : 0));
}

static void frame_send(int fd, unsigned type, unsigned flags, unsigned id, const void *data,
                       size_t len)
{
    unsigned char bytes[FRAME + 16384] = {
        (unsigned char)(len >> 16), (unsigned char)(len >> 8), (unsigned char)len,
        (unsigned char)type,        (unsigned char)flags,      (unsigned char)(id >> 24),
        (unsigned char)(id >> 16),  (unsigned char)(id >> 8),  (unsigned char)id};
    assert_true(len <= 16384);
    if (len)
        memcpy(bytes + FRAME, data, len);
    buf_add(&server.peers[fd].out, bytes, FRAME + len);
    flush(fd);
}

static void send_word(int fd, unsigned type, unsigned id, uint32_t word)
{
    uint32_t bytes = htonl(word);
    frame_send(fd, type, 0, id, &bytes, sizeof(bytes));
}

static void send_goaway(int fd, unsigned last_id)
{
    uint32_t words[2] = {htonl(last_id), 0};
    frame_send(fd, GOAWAY, 0, 0, words, sizeof(words));
}

static void send_body(int fd, unsigned id, size_t bytes, bool end)
{
    static const char text[4096];
    while (bytes > 0) {
        size_t piece = bytes < sizeof(text) ? bytes : sizeof(text);
        bytes -= piece;
        frame_send(fd, DATA, end && bytes == 0 ? END_STREAM : 0, id, text, piece);
    }
}

static void act(int fd, unsigned id, enum deed deed)
{
    struct peer *peer = &server.peers[fd];
    if (deed == HOLD) {
        assert_true(peer->held_count < STREAMS_MAX);
        peer->held[peer->held_count++] = id;
        return;
    }
    if (deed == RESET_IT || deed == REFUSE_IT) {
        send_word(fd, RESET, id, deed == REFUSE_IT ? ERROR_REFUSED : ERROR_INTERNAL);
        return;
    }
    frame_send(fd, HEADERS, END_HEADERS, id, "\x88", 1);
    send_body(fd, id, server.reply_bytes, deed == ANSWER);
    if (deed == HALF_THEN_RESET)
        send_word(fd, RESET, id, ERROR_INTERNAL);
}

static void request_came(int fd, unsigned id)
{
    struct peer *peer = &server.peers[fd];
    server.requests++;
    if (server.goaway_at && server.requests == server.goaway_at)
        send_goaway(fd, id);
    if (server.goaway_at && server.requests > server.goaway_at && peer->last_id < id &&
        peer->last_id)
        return; /* it came behind the goodbye */
    if (server.goaway_at && server.requests == server.goaway_at)
        peer->last_id = id;
    act(fd, id, (id / 2) % 2 ? server.deed_odd : server.deed);
}

static void frame_came(int fd, const unsigned char *frame, size_t len)
{
    struct peer *peer = &server.peers[fd];
    unsigned type = frame[3], flags = frame[4];
    unsigned id =
        (unsigned)frame[5] << 24 | (unsigned)frame[6] << 16 | (unsigned)frame[7] << 8 | frame[8];
    if (type == SETTINGS && !(flags & ACK))
        frame_send(fd, SETTINGS, ACK, 0, NULL, 0);
    if (type == PING && !(flags & ACK))
        frame_send(fd, PING, ACK, 0, frame + FRAME, 8);
    if (type == DATA && len > 0) {
        char whose = (char)frame[FRAME];
        peer->whose = !peer->whose || peer->whose == whose ? whose : '!';
        send_word(fd, WINDOW, 0, (uint32_t)len);
        if (!(flags & END_STREAM))
            send_word(fd, WINDOW, id, (uint32_t)len);
    }
    if ((type == DATA || type == HEADERS) && (flags & END_STREAM))
        request_came(fd, id);
}

static void greet(int fd)
{
    const uint32_t most = htonl(server.streams_max);
    unsigned char setting[6] = {0, 3};
    memcpy(setting + 2, &most, 4);
    frame_send(fd, SETTINGS, 0, 0, setting, sizeof(setting));
    server.peers[fd].greeted = true;
}

/* Enough for requests that come in one piece. */
static void speak_1_1(int fd)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    struct peer *peer = &server.peers[fd];
    if (!str_ends(buf_str(&peer->in), STR("alpha")))
        return;
    buf_clear(&peer->in);
    buf_add(&peer->out, reply, strlen(reply));
}

static void frames_came(int fd)
{
    struct peer *peer = &server.peers[fd];
    if (server.only_1_1) {
        speak_1_1(fd);
        return;
    }
    if (!peer->greeted) {
        if (peer->in.len < 24)
            return;
        assert_memory_equal(peer->in.data, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        buf_drop_front(&peer->in, 24);
        greet(fd);
    }
    while (peer->watch && peer->in.len >= FRAME) {
        unsigned char *frame = (unsigned char *)peer->in.data;
        size_t len = (size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2];
        if (peer->in.len < FRAME + len)
            return;
        frame_came(fd, frame, len);
        buf_drop_front(&peer->in, FRAME + len);
    }
}

static void peer_ready(int fd, int what, void *context)
{
    struct peer *peer = &server.peers[fd];
    static char bytes[65536];
    (void)what, (void)context;
    for (;;) {
        int n = SSL_read(peer->ssl, bytes, sizeof(bytes));
        if (n <= 0) {
            int why = SSL_get_error(peer->ssl, n);
            if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
                peer_close(fd, false);
                return;
            }
            break;
        }
        buf_add(&peer->in, bytes, (size_t)n);
        frames_came(fd);
        if (!peer->watch)
            return;
    }
    flush(fd);
}

static void peer_accept(int listener, int what, void *context)
{
    (void)what, (void)context;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        return;
    assert_true(fd < PEERS_MAX);
    struct peer *peer = &server.peers[fd];
    server.connections++;
    buf_init(&peer->in, 64 << 20);
    buf_init(&peer->out, 64 << 20);
    peer->ssl = SSL_new(server.tls);
    SSL_set_fd(peer->ssl, fd);
    SSL_set_accept_state(peer->ssl);
    peer->watch = loop_watch_new(server.loop, fd, LOOP_READ, peer_ready, NULL);
}

/* ---- its certificate ---- */

static char ca_file[] = "/tmp/quern-test-http2-XXXXXX";
static X509 *certificate;
static EVP_PKEY *key;

static void add_extension(X509 *to, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, to, to, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    assert_non_null(extension);
    X509_add_ext(to, extension, -1);
    X509_EXTENSION_free(extension);
}

/* Signed by itself, so it is its own CA. */
static X509 *certificate_new(long begins_s, long ends_s)
{
    X509 *made = X509_new();
    X509_set_version(made, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
    X509_gmtime_adj(X509_getm_notBefore(made), begins_s);
    X509_gmtime_adj(X509_getm_notAfter(made), ends_s);
    X509_NAME *name = X509_get_subject_name(made);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"quern test", -1,
                               -1, 0);
    X509_set_issuer_name(made, name);
    X509_set_pubkey(made, key);
    add_extension(made, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(made, NID_subject_alt_name, "IP:127.0.0.1");
    assert_true(X509_sign(made, key, EVP_sha256()) > 0);
    return made;
}

static int make_certificate(void **state)
{
    (void)state;
    key = EVP_EC_gen("P-256");
    certificate = certificate_new(-3600, 3600);
    int fd = mkstemp(ca_file);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    PEM_write_X509(file, certificate);
    fclose(file);
    return 0;
}

static int drop_certificate(void **state)
{
    (void)state;
    unlink(ca_file);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return 0;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *context)
{
    static const unsigned char two[] = "\x02h2", one[] = "\x08http/1.1";
    const unsigned char *ours = server.only_1_1 ? one : two;
    unsigned char *chosen;
    (void)ssl, (void)context;
    if (SSL_select_next_proto(&chosen, out_len, ours, (unsigned)strlen((const char *)ours), in,
                              in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static void serve_tls(X509 *with)
{
    SSL_CTX_free(server.tls);
    server.tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(server.tls, with);
    SSL_CTX_use_PrivateKey(server.tls, key);
    SSL_CTX_set_alpn_select_cb(server.tls, choose_protocol, NULL);
    SSL_CTX_set_mode(server.tls,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
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
    memset(heard, 0, sizeof(heard));
    done = 0;
    server.loop = loop_new(&err);
    assert_non_null(server.loop);
    server.peers = xcalloc(PEERS_MAX, sizeof(*server.peers));
    server.fd = listen_any(1024, &server.port);
    server.listener = loop_watch_new(server.loop, server.fd, LOOP_READ, peer_accept, NULL);
    serve_tls(certificate);
    server.streams_max = 128;
    server.reply_bytes = 5;
    server.http = http_client_new(
        server.loop,
        &(struct http_client_conf){.calls_max = CALLS_MAX, .reply_bytes_max = REPLY_MAX}, &err);
    assert_non_null(server.http);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_client_free(server.http);
    cut_all(false);
    loop_watch_free(server.listener);
    close(server.fd);
    free(server.peers);
    SSL_CTX_free(server.tls);
    loop_free(server.loop);
    return 0;
}

/* ---- the client's side ---- */

static void on_done(const struct http_reply *reply, const struct err *err, void *context)
{
    struct heard *h = context;
    h->times++;
    h->call = NULL;
    h->status = reply->status;
    h->body_len = reply->body.len;
    h->sends = reply->sends;
    h->version = reply->version;
    h->code = err ? err->code : ERR_NONE;
    snprintf(h->text, sizeof(h->text), "%s", err ? err->text : "");
    done++;
}

static struct http_request request_to(int port, char url[64])
{
    snprintf(url, 64, "https://127.0.0.1:%d/v1/chat", port);
    return (struct http_request){.method = STR("POST"),
                                 .url = str_of(url),
                                 .body = STR("alpha"),
                                 .connect_timeout_ms = 2000,
                                 .total_timeout_ms = 10000,
                                 .version = HTTP_2,
                                 .pool = STR("alpha"),
                                 .ca_file = str_of(ca_file)};
}

static void start(unsigned i, const struct http_request *request)
{
    struct err err = {0};
    heard[i].call = http_call(server.http, request, on_done, &heard[i], &err);
    if (!heard[i].call)
        print_error("%s\n", err.text);
    assert_non_null(heard[i].call);
}

static void start_some(unsigned first, unsigned count)
{
    char url[64];
    struct http_request request = request_to(server.port, url);
    for (unsigned i = first; i < first + count; i++)
        start(i, &request);
}

static void turn_ms(int64_t ms)
{
    int64_t end = loop_now_ms(server.loop) + ms;
    while (loop_now_ms(server.loop) < end)
        loop_turn(server.loop, 10);
}

#define TURN_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int64_t end_ms = loop_now_ms(server.loop) + 20000;                                         \
        while (!(condition)) {                                                                     \
            assert_true(loop_now_ms(server.loop) < end_ms);                                        \
            loop_turn(server.loop, 50);                                                            \
        }                                                                                          \
    } while (0)

/* All that were started have ended, each once. */
static void expect_all_ended(unsigned count)
{
    TURN_UNTIL(done >= count);
    turn_ms(50);
    assert_int_equal(done, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(heard[i].times, 1);
    assert_int_equal(http_in_flight(server.http), 0);
}

static void expect_answers(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        if (heard[i].code)
            fail_msg("call %u: %s", i, heard[i].text);
        assert_int_equal(heard[i].status, 200);
        assert_int_equal(heard[i].body_len, server.reply_bytes);
        assert_int_equal(heard[i].version, HTTP_2);
    }
}

static void release_held(enum deed deed)
{
    server.deed = server.deed_odd = ANSWER;
    for (int fd = 0; fd < PEERS_MAX; fd++)
        for (unsigned i = 0; i < server.peers[fd].held_count; i++)
            act(fd, server.peers[fd].held[i], deed);
    if (deed == ANSWER)
        for (int fd = 0; fd < PEERS_MAX; fd++)
            server.peers[fd].held_count = 0;
}

/* ---- connections ---- */

static void a_hundred_calls_share_a_connection(void **state)
{
    (void)state;
    struct http_client_stats stats;
    server.deed = server.deed_odd = HOLD;
    start_some(0, 1000);
    TURN_UNTIL(server.requests == 1000);
    assert_int_equal(server.connections, 10);
    http_client_stats(server.http, &stats);
    assert_int_equal(stats.shards, 10);
    assert_int_equal(stats.pools, 1);
    release_held(ANSWER);
    expect_all_ended(1000);
    expect_answers(0, 1000);
    start_some(0, 100);
    TURN_UNTIL(done == 1100);
    assert_int_equal(server.connections, 10); /* they were kept */
}

static void a_server_that_allows_fewer_gets_more_connections(void **state)
{
    (void)state;
    server.streams_max = 10;
    start_some(0, 1); /* the limit comes with the first reply */
    expect_all_ended(1);
    server.deed = server.deed_odd = HOLD;
    start_some(1, 25);
    TURN_UNTIL(server.requests == 26);
    assert_in_range(server.connections, 2, 3);
    release_held(ANSWER);
    TURN_UNTIL(done == 26);
    expect_answers(0, 26);
}

static void two_pools_never_share_a_connection(void **state)
{
    (void)state;
    static const char *const names[] = {"alpha", "beta", "gamma"};
    char url[64];
    struct http_request request = request_to(server.port, url);
    for (unsigned round = 0; round < 4; round++) {
        request.version = HTTP_2;
        for (unsigned i = 0; i < 90; i++) {
            request.pool = request.body = str_of(names[i % 3]);
            start(round * 90 + i, &request);
        }
        TURN_UNTIL(done == (round + 1) * 90);
    }
    expect_answers(0, 360);
    assert_int_equal(server.connections, 3);
    unsigned seen[256] = {0};
    for (int fd = 0; fd < PEERS_MAX; fd++)
        seen[(unsigned char)server.peers[fd].whose]++;
    assert_int_equal(seen['!'], 0);
    assert_int_equal(seen['a'], 1);
    assert_int_equal(seen['b'], 1);
    assert_int_equal(seen['g'], 1);
}

static void many_pools_do_not_pile_up(void **state)
{
    (void)state;
    struct http_client_stats stats;
    char url[64], name[32];
    struct http_request request = request_to(server.port, url);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "key %u", i);
        request.pool = request.body = str_of(name);
        start(i, &request);
        TURN_UNTIL(done == i + 1);
    }
    expect_answers(0, 200);
    http_client_stats(server.http, &stats);
    assert_in_range(stats.shards, 2, CALLS_MAX / 125 + 17);
    assert_int_equal(stats.pools, stats.shards);
}

static void a_server_without_it_is_spoken_to_in_1_1(void **state)
{
    (void)state;
    server.only_1_1 = true;
    start_some(0, 5);
    TURN_UNTIL(done == 5);
    for (unsigned i = 0; i < 5; i++) {
        if (heard[i].code)
            fail_msg("call %u: %s", i, heard[i].text);
        assert_int_equal(heard[i].version, HTTP_1_1);
        assert_int_equal(heard[i].body_len, 2);
    }
}

/* ---- taken back ---- */

static bool never(void *context)
{
    const struct heard *h = context;
    assert_int_equal(h->times, 0);
    return false;
}

static void start_in_vain(unsigned first, unsigned count)
{
    char url[64];
    struct http_request request = request_to(server.port, url);
    request.ready = never;
    for (unsigned i = first; i < first + count; i++)
        start(i, &request);
}

static void expect_not_sent(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        assert_int_equal(heard[i].code, ERR_CANCELLED);
        assert_int_equal(heard[i].sends, 0);
    }
}

static void what_is_taken_back_leaves_the_connection_to_the_others(void **state)
{
    (void)state;
    server.deed = server.deed_odd = HOLD;
    start_some(0, 40);
    TURN_UNTIL(server.requests == 40);
    start_in_vain(40, 10);
    TURN_UNTIL(done == 10);
    expect_not_sent(40, 10);
    assert_int_equal(server.requests, 40);
    release_held(ANSWER);
    expect_all_ended(50);
    expect_answers(0, 40);
    assert_int_equal(server.connections, 1);
}

static void who_opens_the_connection_and_is_taken_back_lets_the_others_in(void **state)
{
    (void)state;
    start_in_vain(0, 3);
    start_some(3, 20);
    expect_all_ended(23);
    expect_not_sent(0, 3);
    expect_answers(3, 20);
    assert_int_equal(server.requests, 20);
    assert_in_range(server.connections, 1, 2);
}

/* ---- trouble ---- */

static void a_goodbye_in_the_middle_costs_nothing(void **state)
{
    (void)state;
    start_some(0, 1);
    expect_all_ended(1);
    server.goaway_at = 21; /* of 40 requests on the connection, 20 were begun */
    server.deed = server.deed_odd = HOLD;
    start_some(1, 40);
    TURN_UNTIL(server.connections == 2 && server.requests == 61);
    release_held(ANSWER);
    TURN_UNTIL(done == 41);
    expect_answers(0, 41);
    unsigned again = 0;
    for (unsigned i = 0; i < 41; i++)
        again += heard[i].sends == 2;
    assert_int_equal(again, 20);
    assert_int_equal(server.connections, 2);
}

static void a_refused_stream_is_sent_again_beside_the_others(void **state)
{
    (void)state;
    server.deed = HOLD;
    server.deed_odd = REFUSE_IT;
    start_some(0, 10); /* streams 3, 7, 11, 15, 19 are refused */
    TURN_UNTIL(server.connections >= 2);
    server.deed_odd = HOLD;
    turn_ms(100);
    release_held(ANSWER);
    expect_all_ended(10);
    for (unsigned i = 0; i < 10; i++)
        assert_in_range(heard[i].sends, 1, 4);
    unsigned good = 0;
    for (unsigned i = 0; i < 10; i++)
        good += heard[i].code == ERR_NONE;
    assert_true(good >= 5);
}

static void a_reset_stream_fails_alone(void **state)
{
    (void)state;
    server.deed_odd = RESET_IT;
    start_some(0, 20);
    expect_all_ended(20);
    unsigned down = 0;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(heard[i].sends, 1);
        down += heard[i].code == ERR_PROVIDER_DOWN;
    }
    assert_int_equal(down, 10);
    assert_int_equal(server.connections, 1);
}

static void a_stream_reset_in_its_body_is_a_bad_reply(void **state)
{
    (void)state;
    server.deed_odd = HALF_THEN_RESET;
    start_some(0, 20);
    expect_all_ended(20);
    unsigned bad = 0;
    for (unsigned i = 0; i < 20; i++)
        bad += heard[i].code == ERR_PROVIDER_BAD_REPLY || heard[i].code == ERR_PROVIDER_DOWN;
    assert_int_equal(bad, 10);
    assert_int_equal(server.connections, 1);
}

/* The provider may have been at work on them: they are not sent again by us. */
static void cut_connection(bool reset, enum deed deed, enum err_code code)
{
    server.deed = server.deed_odd = deed;
    start_some(0, 150);
    TURN_UNTIL(server.requests == 150);
    turn_ms(50);
    cut_all(reset);
    expect_all_ended(150);
    for (unsigned i = 0; i < 150; i++) {
        if (heard[i].code != code)
            fail_msg("call %u: %s: %s", i, err_name(heard[i].code), heard[i].text);
        assert_int_equal(heard[i].sends, 1);
    }
    assert_int_equal(server.requests, 150);
    server.deed = server.deed_odd = ANSWER;
    start_some(200, 10);
    TURN_UNTIL(done == 160);
    expect_answers(200, 10);
}

static void a_closed_connection_fails_its_calls_once(void **state)
{
    (void)state;
    cut_connection(false, HOLD, ERR_PROVIDER_DOWN);
}

static void a_broken_connection_fails_its_calls_once(void **state)
{
    (void)state;
    cut_connection(true, HOLD, ERR_PROVIDER_DOWN);
}

static void half_an_answer_is_never_taken_for_a_whole_one(void **state)
{
    (void)state;
    cut_connection(false, HALF, ERR_PROVIDER_BAD_REPLY);
}

static void an_idle_connection_that_was_closed_is_replaced(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        start_some(i, 1);
        TURN_UNTIL(done == i + 1);
        cut_all(i % 2);
        turn_ms(20);
    }
    expect_answers(0, 5);
    assert_int_equal(server.connections, 5);
}

static void a_cancelled_call_leaves_the_others_alone(void **state)
{
    (void)state;
    server.reply_bytes = 60000;
    server.deed = server.deed_odd = HOLD;
    start_some(0, 60);
    TURN_UNTIL(server.requests == 60);
    release_held(HALF);
    loop_turn(server.loop, 10);
    for (unsigned i = 0; i < 60; i += 2)
        if (heard[i].call) {
            http_cancel(server.http, heard[i].call);
            heard[i].call = NULL;
        }
    for (int fd = 0; fd < PEERS_MAX; fd++) /* ends what was begun; on cancelled streams, too */
        for (unsigned i = 0; i < server.peers[fd].held_count; i++)
            send_body(fd, server.peers[fd].held[i], 6000, true);
    TURN_UNTIL(done == 30);
    turn_ms(50);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(heard[i].times, i % 2);
        assert_int_equal(heard[i].code, ERR_NONE);
    }
    assert_int_equal(server.connections, 1);
    assert_int_equal(http_in_flight(server.http), 0);
}

static void long_bodies_go_both_ways(void **state)
{
    (void)state;
    char url[64], *body = xcalloc(1, 400000);
    const size_t replies[] = {5, 3000, 8192, 17000, 90000};
    struct http_request request = request_to(server.port, url);
    memset(body, 'a', 400000);
    for (unsigned round = 0; round < 10; round++) {
        request.body = str_from(body, round < 5 ? 400000 : 100);
        server.reply_bytes = replies[round % 5];
        for (unsigned i = 0; i < 60; i++)
            start(i, &request);
        TURN_UNTIL(done == (round + 1) * 60);
        expect_answers(0, 60);
    }
    assert_int_equal(server.connections, 1);
    free(body);
}

static void silence_ends_in_a_timeout_for_each(void **state)
{
    (void)state;
    char url[64];
    struct http_request request = request_to(server.port, url);
    request.total_timeout_ms = 300;
    server.deed = server.deed_odd = HOLD;
    for (unsigned i = 0; i < 20; i++)
        start(i, &request);
    expect_all_ended(20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(heard[i].code, ERR_PROVIDER_TIMEOUT);
    server.deed = server.deed_odd = ANSWER;
    start_some(0, 1);
    TURN_UNTIL(done == 21);
    expect_answers(0, 1);
}

/* libcurl lets one of them connect while the others wait, and forgets their time-outs. */
static void calls_that_wait_for_a_connection_have_a_time_limit(void **state)
{
    (void)state;
    char url[64];
    int port, fd = listen_any(0, &port), fillers[2];
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    for (int i = 0; i < 2; i++) { /* no room is left for a connection */
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fillers[i], (struct sockaddr *)&at, sizeof(at));
    }
    struct http_request request = request_to(port, url);
    request.connect_timeout_ms = 400;
    int64_t began_ms = loop_now_ms(server.loop);
    for (unsigned i = 0; i < 30; i++)
        start(i, &request);
    expect_all_ended(30);
    assert_in_range(loop_now_ms(server.loop) - began_ms, 400, 3500);
    for (unsigned i = 0; i < 30; i++) {
        assert_int_equal(heard[i].code, ERR_PROVIDER_DOWN);
        assert_int_equal(heard[i].sends, 0);
    }
    close(fillers[0]), close(fillers[1]), close(fd);
}

static void a_closed_port_is_down_for_each(void **state)
{
    (void)state;
    char url[64];
    int port, fd = listen_any(1, &port);
    close(fd);
    struct http_request request = request_to(port, url);
    for (unsigned i = 0; i < 150; i++)
        start(i, &request);
    expect_all_ended(150);
    for (unsigned i = 0; i < 150; i++)
        assert_int_equal(heard[i].code, ERR_PROVIDER_DOWN);
}

/* ---- certificates ---- */

static void expect_refused_certificate(struct http_request *request)
{
    start(0, request);
    TURN_UNTIL(done == 1);
    if (heard[0].code != ERR_PROVIDER_TLS)
        fail_msg("%s: %s", err_name(heard[0].code), heard[0].text);
    assert_int_equal(heard[0].sends, 0);
    assert_int_equal(server.requests, 0);
}

static void a_certificate_of_an_unknown_ca_is_refused(void **state)
{
    (void)state;
    char url[64];
    struct http_request request = request_to(server.port, url);
    request.ca_file = (struct str){0}; /* the system's */
    expect_refused_certificate(&request);
}

static void a_certificate_that_has_ended_is_refused(void **state)
{
    (void)state;
    char url[64];
    struct http_request request = request_to(server.port, url);
    X509 *old = certificate_new(-7200, -3600);
    serve_tls(old);
    expect_refused_certificate(&request);
    X509_free(old);
}

static void a_certificate_of_another_name_is_refused(void **state)
{
    (void)state;
    char url[64];
    struct http_request request = request_to(server.port, url);
    snprintf(url, sizeof(url), "https://localhost:%d/", server.port);
    request.url = str_of(url);
    expect_refused_certificate(&request);
}

static void a_ca_file_that_cannot_be_read_is_told(void **state)
{
    (void)state;
    char url[64];
    struct err err = {0};
    struct http_request request = request_to(server.port, url);
    request.ca_file = STR("/nonexistent/ca.pem");
    assert_null(http_call(server.http, &request, on_done, &heard[0], &err));
    assert_int_equal(err.code, ERR_CONFIG);
    start_some(0, 1);
    expect_all_ended(1);
    expect_answers(0, 1);
}

/* A session of TLS that was begun under one CA is not gone on with under another. */
static void who_trusts_another_ca_does_not_share_the_trust(void **state)
{
    (void)state;
    char url[64];
    struct http_request request = request_to(server.port, url);
    start(0, &request);
    TURN_UNTIL(done == 1);
    expect_answers(0, 1);
    request.ca_file = (struct str){0};
    for (unsigned i = 1; i < 3; i++) {
        request.pool = i == 1 ? STR("alpha") : STR("beta");
        start(i, &request);
        TURN_UNTIL(done == i + 1);
        assert_int_equal(heard[i].code, ERR_PROVIDER_TLS);
    }
    assert_int_equal(server.requests, 1);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* a server whose client has hung up */
    const struct CMUnitTest tests[] = {
        CASE(a_hundred_calls_share_a_connection),
        CASE(a_server_that_allows_fewer_gets_more_connections),
        CASE(two_pools_never_share_a_connection),
        CASE(many_pools_do_not_pile_up),
        CASE(a_server_without_it_is_spoken_to_in_1_1),
        CASE(what_is_taken_back_leaves_the_connection_to_the_others),
        CASE(who_opens_the_connection_and_is_taken_back_lets_the_others_in),
        CASE(a_goodbye_in_the_middle_costs_nothing),
        CASE(a_refused_stream_is_sent_again_beside_the_others),
        CASE(a_reset_stream_fails_alone),
        CASE(a_stream_reset_in_its_body_is_a_bad_reply),
        CASE(a_closed_connection_fails_its_calls_once),
        CASE(a_broken_connection_fails_its_calls_once),
        CASE(half_an_answer_is_never_taken_for_a_whole_one),
        CASE(an_idle_connection_that_was_closed_is_replaced),
        CASE(a_cancelled_call_leaves_the_others_alone),
        CASE(long_bodies_go_both_ways),
        CASE(silence_ends_in_a_timeout_for_each),
        CASE(calls_that_wait_for_a_connection_have_a_time_limit),
        CASE(a_closed_port_is_down_for_each),
        CASE(a_certificate_of_an_unknown_ca_is_refused),
        CASE(a_certificate_that_has_ended_is_refused),
        CASE(a_certificate_of_another_name_is_refused),
        CASE(a_ca_file_that_cannot_be_read_is_told),
        CASE(who_trusts_another_ca_does_not_share_the_trust),
    };
    return cmocka_run_group_tests(tests, make_certificate, drop_certificate);
}
