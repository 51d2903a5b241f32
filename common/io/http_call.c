/*
 * http_call.c -- from a request to options of libcurl, and from libcurl's verdict to an error.
 */
#include "common/io/http_call.h"

#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/http_opener.h"

#define CONNECT_TIMEOUT_MS 10000
#define TOTAL_TIMEOUT_MS   600000
#define KEEP_IDLE_S        60L /* TCP keep-alive: first probe, and between probes */

/* libcurl allocates its receive buffer per call in flight, and reads it once per wake-up. A reply
 * of 4 KiB costs two wake-ups more than with a buffer of 16 KiB, 10,000 waiting calls 140 MB less.
 */
#define RECEIVE_BYTES 2048L
/* Over HTTP/2 a reply may come while another call reads. libcurl puts it into the buffer of its own
 * call; before 8.1, when it does not fit, it stops reading, and when that was the reply's last
 * piece it forgets to tell that it is whole, until something else comes on the connection. So there
 * the buffer is as large as libcurl allows. Only what is used of it becomes memory: from the kernel
 * at each call, see library_init(). */
#define RECEIVE_2_BYTES     16384L
#define RECEIVE_2_BYTES_OLD 524288L
#define UPLOAD_BYTES        16384L /* TLS only; the least libcurl accepts */

#define OWN_HEADERS_MAX 3
#define LONG_BODY_BYTES 65536 /* libcurl draws its own line somewhere above */

#define BUFFER_BYTES_FIRST 4096
#define BUFFER_BYTES_KEEP  65536
#define BUFFERS_KEEP       256

/* ---- reply buffers ---- */

struct http_buffer_spare {
    struct http_buffer_spare *next;
    size_t bytes;
};

static char *buffer_take(struct http_buffers *buffers, size_t *ret_bytes)
{
    struct http_buffer_spare *spare = buffers->first;
    if (!spare) {
        *ret_bytes = BUFFER_BYTES_FIRST;
        return xrealloc(NULL, BUFFER_BYTES_FIRST);
    }
    buffers->first = spare->next;
    buffers->count--;
    *ret_bytes = spare->bytes;
    return (char *)spare;
}

static void buffer_give(struct http_buffers *buffers, char *data, size_t bytes)
{
    if (bytes > BUFFER_BYTES_KEEP || buffers->count >= BUFFERS_KEEP) {
        free(data);
        return;
    }
    struct http_buffer_spare *spare = (struct http_buffer_spare *)(void *)data;
    *spare = (struct http_buffer_spare){.next = buffers->first, .bytes = bytes};
    buffers->first = spare;
    buffers->count++;
}

void http_buffers_done(struct http_buffers *buffers)
{
    for (struct http_buffer_spare *spare; (spare = buffers->first);) {
        buffers->first = spare->next;
        free(spare);
    }
    buffers->count = 0;
}

/* ---- the reply comes in ---- */

/* A reply that says how long it is gets its buffer in one piece. */
static void reply_grow(struct http_call *call, size_t need)
{
    curl_off_t told = -1;
    size_t bytes = call->cap * 2;
    curl_easy_getinfo(call->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &told);
    if (told > 0 && (uint64_t)told <= call->conf->reply_bytes_max)
        bytes = call->header_len + (size_t)told;
    if (bytes < need)
        bytes = need;
    call->data = xrealloc(call->data, bytes);
    call->cap = bytes;
}

static void reply_add(struct http_call *call, const char *data, size_t len)
{
    if (!call->data)
        call->data = buffer_take(call->buffers, &call->cap);
    if (len > call->cap - call->len)
        reply_grow(call, call->len + len);
    memcpy(call->data + call->len, data, len);
    call->len += len;
}

/* One line. An interim reply (100 Continue) is forgotten when the next one begins, trailers are
 * left out. A short count tells libcurl to stop. libcurl takes a reply that is cut between two
 * header lines for a complete one, so we look for the empty line. */
static size_t header_came(char *data, size_t size, size_t count, void *context)
{
    struct http_call *call = context;
    size_t len = size * count;
    if (call->len == call->header_len && len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        call->len = 0;
        call->head_ended = false;
    }
    if (call->head_ended)
        return len;
    call->too_big = len > call->conf->reply_header_bytes_max - call->len;
    if (call->too_big)
        return 0;
    reply_add(call, data, len);
    call->header_len = call->len;
    call->head_ended = data[0] == '\r' || data[0] == '\n';
    return len;
}

/* True: the caller has taken it. */
static bool piece_taken(struct http_call *call, char *data, size_t len)
{
    long status = call->status;
    if (!status)
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    call->status = (int)status;
    const struct http_reply head = {
        .status = call->status, .headers = {call->data, call->header_len}, .sends = call->sends};
    call->is_heard = true;
    bool taken = call->piece(&head, str_from(data, len), call->context);
    call->is_heard = false;
    return taken;
}

static size_t body_came(char *data, size_t size, size_t count, void *context)
{
    struct http_call *call = context;
    size_t len = size * count;
    if (call->piece && call->head_ended && len && piece_taken(call, data, len))
        return len;
    call->too_big = len > call->conf->reply_bytes_max - (call->len - call->header_len);
    if (call->too_big)
        return 0;
    reply_add(call, data, len);
    return len;
}

static bool is_ready(struct http_call *call)
{
    call->is_heard = true;
    bool ready = !call->ready || call->ready(call->context);
    call->is_heard = false;
    return ready;
}

/* libcurl is about to send the request, for the first time or again. */
static int before_sending(void *context, char *remote_ip, char *local_ip, int remote_port,
                          int local_port)
{
    struct http_call *call = context;
    (void)remote_ip, (void)local_ip, (void)remote_port;
    http_opener_connected(call);
    if (!http_opener_may_send(call))
        return CURL_PREREQFUNC_ABORT;
    call->withheld = !is_ready(call);
    if (call->withheld)
        return CURL_PREREQFUNC_ABORT;
    call->sends++;
    call->sent_port = local_port;
    return CURL_PREREQFUNC_OK;
}

void http_call_forget(struct http_call *call)
{
    if (call->data)
        buffer_give(call->buffers, call->data, call->cap);
    call->data = NULL;
    call->len = call->cap = call->header_len = 0;
}

/* ---- a handle's life ---- */

static void set_safety(CURL *easy, const struct http_client_conf *conf)
{
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)conf->reply_bytes_max);
    /* libcurl keeps the certificates it read for the next connection, but only when they come
     * from one file. */
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    if (conf->ca_file.data)
        curl_easy_setopt(easy, CURLOPT_CAINFO, conf->ca_file.data);
}

static void set_transport(CURL *easy)
{
    /* libcurl undoes an encoding only when it has asked for some: servers send gzip unasked, too.
     */
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "identity");
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEP_IDLE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEP_IDLE_S);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BYTES);
}

static void set_callbacks(struct http_call *call)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->said);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, header_came);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, body_came);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_sending);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
}

struct http_call *http_call_new(const struct http_client_conf *conf, struct http_buffers *buffers)
{
    CURL *easy = curl_easy_init();
    must(easy); /* fails only without memory */
    struct http_call *call = xzalloc(sizeof(*call));
    call->magic = HTTP_CALL_MAGIC;
    call->conf = conf;
    call->buffers = buffers;
    call->easy = easy;
    set_safety(easy, conf);
    set_transport(easy);
    set_callbacks(call);
    return call;
}

void http_call_free(struct http_call *call)
{
    if (!call)
        return;
    must_be(call, HTTP_CALL_MAGIC);
    must(call->state != HTTP_CALL_FLYING);
    curl_easy_cleanup(call->easy);
    http_call_forget(call);
    free(call->lines);
    curl_url_cleanup(call->url_parts);
    free(call->url);
    free(call->ca_file);
    call->magic = 0;
    free(call);
}

/* ---- the request ---- */

static CURLU *url_parse(const char *url, struct err *err)
{
    CURLU *parts = curl_url();
    must(parts);
    CURLUcode code = curl_url_set(parts, CURLUPART_URL, url, 0);
    char *scheme = NULL;
    if (code == CURLUE_OK)
        code = curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
    bool web = scheme && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    if (code != CURLUE_OK)
        err_set(err, ERR_INVALID_REQUEST, "the URL '%.200s' is not usable: %s", url,
                curl_url_strerror(code));
    else if (!web)
        err_set(err, ERR_INVALID_REQUEST, "the URL '%.200s' is neither http nor https", url);
    curl_free(scheme);
    if (web)
        return parts;
    curl_url_cleanup(parts);
    return NULL;
}

/* In pieces: as a text libcurl would parse it anew with each request. */
static bool set_url(struct http_call *call, struct str url, struct err *err)
{
    if (call->url && str_eq(url, str_of(call->url)))
        return true;
    free(call->url);
    call->url = xstrndup(url);
    CURLU *parts = NULL;
    if (strlen(call->url) == url.len)
        parts = url_parse(call->url, err);
    else
        err_set(err, ERR_INVALID_REQUEST, "the URL holds a NUL byte");
    curl_easy_setopt(call->easy, CURLOPT_CURLU, parts);
    curl_url_cleanup(call->url_parts);
    call->url_parts = parts;
    if (!parts) {
        free(call->url);
        call->url = NULL;
    }
    return parts;
}

/* libcurl knows a GET and a POST; other methods are one of them under another name. */
static const char *method_name(struct str method)
{
    static const char *const names[] = {"POST", "GET", "PUT", "PATCH", "DELETE"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (str_is(method, names[i]))
            return names[i];
    return NULL;
}

static bool set_method(struct http_call *call, const struct http_request *request, struct err *err)
{
    const char *name = method_name(request->method);
    if (!name) {
        err_set(err, ERR_INVALID_REQUEST, "the HTTP method '%.*s' is not supported",
                (int)(request->method.len < 40 ? request->method.len : 40), request->method.data);
        return false;
    }
    bool get = strcmp(name, "GET") == 0;
    if (get && !str_empty(request->body)) {
        err_set(err, ERR_INVALID_REQUEST, "a GET request has no body");
        return false;
    }
    if (call->method != name) {
        curl_easy_setopt(call->easy, get ? CURLOPT_HTTPGET : CURLOPT_POST, 1L);
        curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST,
                         get || strcmp(name, "POST") == 0 ? NULL : name);
        call->method = name;
    }
    if (!get) {
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS,
                         request->body.data ? request->body.data : "");
    }
    return true;
}

static void set_timeouts(struct http_call *call, const struct http_request *request)
{
    int64_t connect_ms =
        request->connect_timeout_ms > 0 ? request->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    int64_t total_ms = request->total_timeout_ms > 0 ? request->total_timeout_ms : TOTAL_TIMEOUT_MS;
    if (call->connect_timeout_ms != connect_ms)
        curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    if (call->total_timeout_ms != total_ms)
        curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long)total_ms);
    call->connect_timeout_ms = connect_ms;
    call->total_timeout_ms = total_ms;
}

static long receive_2_bytes(void)
{
    bool old = curl_version_info(CURLVERSION_NOW)->version_num < 0x080100;
    return old ? RECEIVE_2_BYTES_OLD : RECEIVE_2_BYTES;
}

static void set_version(struct http_call *call, const struct http_request *request)
{
    enum http_version version = http_version_of(request);
    bool two = version == HTTP_2;
    if (call->version_set && call->version == version)
        return;
    curl_easy_setopt(call->easy, CURLOPT_HTTP_VERSION,
                     two ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(call->easy, CURLOPT_BUFFERSIZE, two ? receive_2_bytes() : RECEIVE_BYTES);
    call->version = version;
    call->version_set = true;
}

static bool set_ca_file(struct http_call *call, struct str file, struct err *err)
{
    struct str now = call->ca_file ? str_of(call->ca_file) : (struct str){0};
    if (str_eq(file, now))
        return true;
    free(call->ca_file);
    call->ca_file = str_empty(file) ? NULL : xstrndup(file);
    bool good = !call->ca_file || access(call->ca_file, R_OK) == 0;
    if (!good) {
        err_set(err, ERR_CONFIG, "the certificate file '%.200s' cannot be read", call->ca_file);
        free(call->ca_file);
        call->ca_file = NULL;
    }
    const char *otherwise = call->conf->ca_file.data ? call->conf->ca_file.data
                                                     : curl_version_info(CURLVERSION_NOW)->cainfo;
    curl_easy_setopt(call->easy, CURLOPT_CAINFO, call->ca_file ? call->ca_file : otherwise);
    return good;
}

/* A line break in a header would be a second header of somebody else's choice. */
static bool header_good(const struct http_header *header, struct err *err)
{
    for (size_t i = 0; i < header->name.len; i++) {
        unsigned char c = (unsigned char)header->name.data[i];
        if (!isalnum(c) && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
            goto bad_name;
    }
    if (str_empty(header->name))
        goto bad_name;
    for (size_t i = 0; i < header->value.len; i++) {
        unsigned char c = (unsigned char)header->value.data[i];
        if (c == '\r' || c == '\n' || c == 0) {
            err_set(err, ERR_INVALID_REQUEST, "the value of header '" STR_FMT "' is not one line",
                    STR_ARG(header->name));
            return false;
        }
    }
    return true;

bad_name:
    err_set(err, ERR_INVALID_REQUEST, "a header's name is empty or not a token");
    return false;
}

/* The lines we add ourselves. "Expect:" keeps libcurl from asking for permission before it sends a
 * long body; the agent's name is cheaper here than as an option, which is formatted anew each time.
 * "Accept-Encoding:" is left out: who encodes unasked is understood all the same (set_transport()),
 * and each byte of the head costs a hundred instructions (libcurl 7.88). */
static size_t own_headers(const struct http_call *call, const struct http_request *request,
                          struct http_header ret[OWN_HEADERS_MAX])
{
    size_t count = 0;
    if (call->conf->user_agent.data)
        ret[count++] = (struct http_header){STR("User-Agent"), call->conf->user_agent};
    ret[count++] = (struct http_header){STR("Accept-Encoding"), {NULL, 0}};
    if (request->body.len > LONG_BODY_BYTES)
        ret[count++] = (struct http_header){STR("Expect"), {NULL, 0}};
    return count;
}

/* libcurl's own spelling: "name: value", "name;" for an empty value, "name:" for leaving it out. */
static char *line_write(char *at, const struct http_header *header)
{
    memcpy(at, header->name.data, header->name.len);
    at += header->name.len;
    if (str_empty(header->value)) {
        *at++ = header->value.data ? ';' : ':';
    } else {
        *at++ = ':';
        *at++ = ' ';
        memcpy(at, header->value.data, header->value.len);
        at += header->value.len;
    }
    *at++ = 0;
    return at;
}

static size_t line_bytes(const struct http_header *header)
{
    return sizeof(struct curl_slist) + header->name.len + header->value.len + 3;
}

static void lines_reserve(struct http_call *call, size_t bytes)
{
    if (bytes <= call->lines_bytes)
        return;
    free(call->lines);
    call->lines = xrealloc(NULL, bytes);
    call->lines_bytes = bytes;
}

static bool set_lines(struct http_call *call, const struct http_request *request, struct err *err)
{
    struct http_header own[OWN_HEADERS_MAX];
    size_t own_count = own_headers(call, request, own), bytes = 0;
    size_t count = own_count + request->header_count;
    for (size_t i = 0; i < count; i++) {
        const struct http_header *header =
            i < own_count ? &own[i] : &request->headers[i - own_count];
        if (!header_good(header, err))
            return false;
        bytes += line_bytes(header);
    }
    lines_reserve(call, bytes);
    char *at = (char *)(call->lines + count);
    for (size_t i = 0; i < count; i++) {
        call->lines[i] = (struct curl_slist){at, i + 1 < count ? &call->lines[i + 1] : NULL};
        at = line_write(at, i < own_count ? &own[i] : &request->headers[i - own_count]);
    }
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, count ? call->lines : NULL);
    return true;
}

bool http_call_prepare(struct http_call *call, const struct http_request *request, struct err *err)
{
    must(!call->data);
    if (!set_url(call, request->url, err) || !set_method(call, request, err) ||
        !set_lines(call, request, err) || !set_ca_file(call, request->ca_file, err))
        return false;
    set_version(call, request);
    set_timeouts(call, request);
    call->once = request->once;
    call->piece = request->piece;
    call->ready = request->ready;
    call->sends = 0;
    call->status = 0;
    call->started_ms = 0;
    call->must_wait = call->refused = call->lost = false;
    call->head_ended = call->too_big = call->withheld = false;
    return true;
}

/* ---- the outcome ---- */

static void outcome_reply(const struct http_call *call, struct http_reply *ret)
{
    long status = 0, connects = 0, version = 0;
    curl_off_t connect_us = 0, first_us = 0, total_us = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects);
    curl_easy_getinfo(call->easy, CURLINFO_HTTP_VERSION, &version);
    curl_easy_getinfo(call->easy, CURLINFO_CONNECT_TIME_T, &connect_us);
    curl_easy_getinfo(call->easy, CURLINFO_STARTTRANSFER_TIME_T, &first_us);
    curl_easy_getinfo(call->easy, CURLINFO_TOTAL_TIME_T, &total_us);
    *ret = (struct http_reply){
        .status = call->header_len ? (int)status : 0,
        .headers = {call->data, call->header_len},
        .body = {call->data ? call->data + call->header_len : NULL, call->len - call->header_len},
        .connect_us = connects ? connect_us : 0,
        .first_byte_us = first_us,
        .total_us = total_us,
        .sends = call->sends,
        .version = version == CURL_HTTP_VERSION_2_0 ? HTTP_2 : HTTP_1_1,
    };
}

/* libcurl's sentence with a small first letter, or its code's. */
static void outcome_said(const struct http_call *call, enum err_code code, struct err *err)
{
    const char *text = call->said[0] ? call->said : curl_easy_strerror(call->code);
    bool name = isupper((unsigned char)text[0]) && isupper((unsigned char)text[1]);
    err_set(err, code, "%c%s", name ? text[0] : tolower((unsigned char)text[0]), text + 1);
}

static void outcome_timeout(const struct http_call *call, struct err *err)
{
    if (call->sends)
        err_set(err, ERR_PROVIDER_TIMEOUT, "no complete answer within %lld ms",
                (long long)call->total_timeout_ms);
    else
        err_set(err, ERR_PROVIDER_DOWN, "no connection within %lld ms",
                (long long)(call->connect_timeout_ms < call->total_timeout_ms
                                ? call->connect_timeout_ms
                                : call->total_timeout_ms));
}

static void outcome_error(const struct http_call *call, struct err *err)
{
    switch (call->code) {
    case CURLE_OPERATION_TIMEDOUT:
        outcome_timeout(call, err);
        return;
    case CURLE_FILESIZE_EXCEEDED:
    case CURLE_WRITE_ERROR:
        err_set(err, ERR_TOO_BIG, "the reply has more than %zu bytes of headers or %zu of body",
                call->conf->reply_header_bytes_max, call->conf->reply_bytes_max);
        return;
    case CURLE_ABORTED_BY_CALLBACK: /* before_sending() said no */
        if (call->withheld && !call->sends)
            err_set(err, ERR_CANCELLED, "its caller took it back before it was sent");
        else
            err_set(err, ERR_PROVIDER_DOWN, "the connection was closed before an answer came");
        return;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        outcome_said(call, ERR_PROVIDER_TLS, err);
        return;
    case CURLE_UNSUPPORTED_PROTOCOL: /* the URL was looked at before, so it is the reply */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        outcome_said(call, ERR_PROVIDER_BAD_REPLY, err);
        return;
    default:
        outcome_said(call, call->len ? ERR_PROVIDER_BAD_REPLY : ERR_PROVIDER_DOWN, err);
    }
}

bool http_call_outcome(const struct http_call *call, struct http_reply *ret, struct err *err)
{
    outcome_reply(call, ret);
    if (call->in_doubt)
        err_set(err, ERR_PROVIDER_DOWN, "the HTTP library failed; the call's fate is unknown");
    else if (call->code != CURLE_OK)
        outcome_error(call, err);
    else if (!call->head_ended)
        err_set(err, ERR_PROVIDER_BAD_REPLY, "the reply was cut in its headers");
    else
        return true;
    return false;
}
