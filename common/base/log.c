/*
 * log.c -- events become lines.
 *
 * A line is composed in 8 KiB on the stack: time, level, message, program, the fields, the request
 * id. Texts that do not fit are cut at a code point's border, and never within a secret; then the
 * line says so (cut=true). Secrets are replaced in the finished line, so no field can carry one out
 * by a door nobody thought of; that is also why a secret is kept as JSON writes it.
 *
 * Nobody waits for a slow reader: pipes and terminals are opened a second time without blocking
 * (our own file description, so the shell's stays as it was), sockets are sent to with
 * MSG_DONTWAIT. When only part of a line was taken, the next line begins with a newline, so that
 * one line is torn and not two. SIGPIPE must be ignored by the program.
 *
 * Threads: log_write() may be called by any; the subject belongs to the thread that set it. The
 * other functions are for the main thread, and the list of secrets only ever grows.
 */
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"

#define LINE_MAX_BYTES 8192 /* with the newline */
#define TAIL_BYTES     1024 /* kept for what ends a line: the request id and the mark of a cut */
#define TEXT_MAX_BYTES 4096 /* of one field, so that one cannot push the others out */
#define ID_MAX_BYTES   128
#define SECRET_MIN     4
#define MASK           "***"

struct secret {
    struct secret *next;
    size_t len;
    char text[];
};

static struct {
    char program[32];
    bool as_text;
    int level; /* read by every thread, written at start and on reload */
    int fd;
    bool is_socket;
    void (*sink)(struct str line, void *context);
    void *sink_context;
} out = {.program = "quern", .level = LOG_LEVEL_INFO, .fd = STDERR_FILENO};

static _Atomic(struct secret *) secrets;
static atomic_uchar secret_starts[256]; /* first bytes of secrets, to skip most of a line */
static atomic_uint_fast64_t dropped;
static atomic_bool torn;
static _Thread_local struct str subject;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* ---- where lines go ---- */

static void open_stderr(void)
{
    if (out.fd != STDERR_FILENO)
        close(out.fd);
    out.fd = STDERR_FILENO;
    out.is_socket = false;

    struct stat stat;
    if (fstat(STDERR_FILENO, &stat) < 0)
        return;
    if (S_ISSOCK(stat.st_mode)) {
        out.is_socket = true;
    } else if (S_ISFIFO(stat.st_mode) || S_ISCHR(stat.st_mode)) {
        int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0) /* without /proc we write where we are and may wait */
            out.fd = fd;
    }
}

/* `text` has room for a newline in front of it. */
static void write_line(char *text, size_t len)
{
    if (atomic_exchange(&torn, false)) {
        *--text = '\n';
        len++;
    }
    ssize_t written;
    do {
        written = out.is_socket ? send(out.fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                : write(out.fd, text, len);
    } while (written < 0 && errno == EINTR);
    if (written == (ssize_t)len)
        return;
    atomic_fetch_add(&dropped, 1);
    if (written > 0 || text[0] == '\n')
        atomic_store(&torn, true);
}

/* ---- secrets ---- */

static struct secret *secret_find(struct str text)
{
    for (struct secret *secret = atomic_load(&secrets); secret; secret = secret->next) {
        if (str_eq(text, str_from(secret->text, secret->len)))
            return secret;
    }
    return NULL;
}

static void secret_add(struct str text)
{
    if (text.len < SECRET_MIN || secret_find(text))
        return;
    struct secret *secret = xzalloc(sizeof(*secret) + text.len);
    secret->len = text.len;
    memcpy(secret->text, text.data, text.len);
    secret->next = atomic_load(&secrets);
    atomic_store(&secret_starts[(unsigned char)text.data[0]], 1);
    atomic_store(&secrets, secret);
}

/* Length of the longest secret that `s` begins with; 0 when with none. */
static size_t secret_at(struct str s)
{
    if (s.len == 0 ||
        !atomic_load_explicit(&secret_starts[(unsigned char)s.data[0]], memory_order_relaxed))
        return 0;
    size_t longest = 0;
    for (struct secret *secret = atomic_load(&secrets); secret; secret = secret->next) {
        if (secret->len > longest && str_starts(s, str_from(secret->text, secret->len)))
            longest = secret->len;
    }
    return longest;
}

void log_redact(struct str secret)
{
    secret_add(secret);
    struct buf escaped;
    buf_init(&escaped, secret.len * 6 + 2);
    buf_add_json_str(&escaped, secret);
    secret_add(str_slice(buf_str(&escaped), 1, escaped.len - 1)); /* without the quotes */
    buf_done(&escaped);
}

void log_redact_text(char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t found = secret_at(str_from(text + at, len - at));
        memset(text + at, '*', found);
        at += found ? found : 1;
    }
}

/* Replaces secrets by the mask and returns the new length; never longer, secrets are not shorter.
 */
static size_t mask_secrets(char *text, size_t len)
{
    size_t to = 0;
    for (size_t at = 0; at < len;) {
        size_t found = secret_at(str_from(text + at, len - at));
        if (found) {
            memcpy(text + to, MASK, sizeof(MASK) - 1);
            to += sizeof(MASK) - 1;
            at += found;
        } else {
            text[to++] = text[at++];
        }
    }
    return to;
}

/* The first `max` bytes, or fewer so that no secret is cut in two and hence not recognised. */
static struct str cut_text(struct str s, size_t max)
{
    if (s.len <= max)
        return s;
    struct str cut = str_utf8_cut(s, max);
    for (size_t at = 0; at < cut.len;) {
        size_t found = secret_at(str_slice(s, at, s.len));
        if (at + found > cut.len)
            return str_slice(s, 0, at);
        at += found ? found : 1;
    }
    return cut;
}

/* ---- composing ---- */

struct line {
    struct buf buf; /* over borrowed memory that is never grown: max stays below cap */
    bool as_text;
    bool was_cut;
};

/* Words stand as they are in a text line, everything else is quoted. */
static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return s.len > 0;
}

static void put_string(struct line *line, struct str s)
{
    if (line->as_text && is_word(s))
        buf_add_str(&line->buf, s);
    else
        buf_add_json_str(&line->buf, s);
}

static void put_key(struct line *line, const char *name)
{
    if (line->as_text) {
        buf_printf(&line->buf, " %s=", name);
    } else {
        buf_add_char(&line->buf, ',');
        buf_add_json_str(&line->buf, str_of(name));
        buf_add_char(&line->buf, ':');
    }
}

static void put_value(struct line *line, const struct log_field *field, size_t text_max)
{
    switch (field->kind) {
    case LOG_FIELD_STR:
        if (field->text.data)
            put_string(line, cut_text(field->text, text_max));
        else
            buf_add_str(&line->buf, STR("null"));
        break;
    case LOG_FIELD_INT:
        buf_printf(&line->buf, "%lld", (long long)field->number);
        break;
    case LOG_FIELD_NUM:
        if (isfinite(field->real))
            buf_printf(&line->buf, "%.10g", field->real);
        else
            buf_add_str(&line->buf, STR("null")); /* JSON knows no infinity */
        break;
    case LOG_FIELD_BOOL:
        buf_add_str(&line->buf, field->number ? STR("true") : STR("false"));
        break;
    }
}

/* Escapes make a text up to six times longer, so the cut is found by trying: half of it each time.
 * A field of which nothing fits is left out. */
static void put_field(struct line *line, const struct log_field *field)
{
    size_t start = line->buf.len;
    size_t max = field->text.len < TEXT_MAX_BYTES ? field->text.len : TEXT_MAX_BYTES;
    bool is_text = field->kind == LOG_FIELD_STR;
    if (is_text && max < field->text.len)
        line->was_cut = true;
    for (;; max /= 2) {
        put_key(line, field->name);
        put_value(line, field, max);
        if (!line->buf.overflowed)
            return;
        line->buf.len = start;
        line->buf.overflowed = false;
        line->was_cut = true;
        if (!is_text || max == 0)
            return;
    }
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.data[i] < ' ' || s.data[i] == 0x7f)
            return true;
    }
    return false;
}

static void put_head(struct line *line, enum log_level level, const char *message)
{
    char ts[25];
    clock_format(clock_wall_ms(), ts);
    struct str text = cut_text(str_of(message), TEXT_MAX_BYTES / 4);
    if (line->as_text) {
        buf_printf(&line->buf, "%s %-5s %s: ", ts, level_names[level], out.program);
        if (has_control(text)) /* a newline would forge a line of its own */
            buf_add_json_str(&line->buf, text);
        else
            buf_add_str(&line->buf, text);
        return;
    }
    buf_printf(&line->buf, "{\"ts\":\"%s\",\"level\":\"%s\",\"msg\":", ts, level_names[level]);
    buf_add_json_str(&line->buf, text);
    put_key(line, "program");
    put_string(line, str_of(out.program));
}

static void put_tail(struct line *line)
{
    if (line->was_cut)
        put_field(line, &LOG_B("cut", true));
    if (subject.data)
        put_field(line, &LOG_S("request_id", cut_text(subject, ID_MAX_BYTES)));
    if (!line->as_text)
        buf_add_char(&line->buf, '}');
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    int saved_errno = errno; /* reporting an event must not change what it is about */
    char memory[1 + LINE_MAX_BYTES + 1];
    struct line line = {.as_text = out.as_text};
    line.buf = (struct buf){.data = memory + 1, .cap = LINE_MAX_BYTES + 1};

    line.buf.max = LINE_MAX_BYTES - TAIL_BYTES;
    put_head(&line, level, message ? message : "");
    for (const struct log_field *field = fields; field && field->name; field++)
        put_field(&line, field);
    line.buf.max = LINE_MAX_BYTES - 1;
    put_tail(&line);
    must(!line.buf.overflowed);

    size_t len = mask_secrets(line.buf.data, line.buf.len);
    if (out.sink) {
        out.sink(str_from(line.buf.data, len), out.sink_context);
    } else {
        line.buf.data[len++] = '\n';
        write_line(line.buf.data, len);
    }
    errno = saved_errno;
}

/* ---- settings ---- */

void log_init(const char *program, const char *format, enum log_level level)
{
    snprintf(out.program, sizeof(out.program), "%s", program);
    out.as_text =
        str_is(str_of(format), "text") || (str_is(str_of(format), "auto") && isatty(STDERR_FILENO));
    log_set_level(level);
    open_stderr();
}

void log_set_level(enum log_level level)
{
    must((unsigned)level <= LOG_LEVEL_ERROR);
    __atomic_store_n(&out.level, (int)level, __ATOMIC_RELAXED);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= __atomic_load_n(&out.level, __ATOMIC_RELAXED);
}

bool log_level_by_name(struct str name, enum log_level *ret)
{
    for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (str_is(name, level_names[i])) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_subject_set(struct str request_id)
{
    subject = request_id;
}

uint64_t log_dropped(void)
{
    return atomic_load(&dropped);
}

void log_sink(void (*sink)(struct str line, void *context), void *context)
{
    out.sink = sink;
    out.sink_context = context;
}
