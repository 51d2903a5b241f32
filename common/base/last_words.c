/*
 * last_words.c -- see last_words.h. The handler calls nothing but what POSIX allows in one.
 */
#include "common/base/last_words.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/xalloc.h"

enum { LINE_BYTES_MAX = 512 };

struct last_words last_words_now;

static int file = -1;
static char *text; /* what the file said */

static const int fatal[] = {
    SIGABRT,
#ifndef __SANITIZE_ADDRESS__ /* which tells more of the others */
    SIGSEGV, SIGBUS, SIGFPE, SIGILL,
#endif
};

static size_t put_text(char *to, size_t at, const char *from)
{
    while (*from && at < LINE_BYTES_MAX - 2)
        to[at++] = *from++;
    return at;
}

static size_t put_number(char *to, size_t at, int64_t number)
{
    char digits[24];
    size_t count = 0;
    uint64_t rest = number < 0 ? 0 : (uint64_t)number;
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    while (count && at < LINE_BYTES_MAX - 2)
        to[at++] = digits[--count];
    return at;
}

static void say(void)
{
    const struct last_words now = last_words_now;
    char line[LINE_BYTES_MAX];
    size_t at = 0;
    if (!now.topic || file < 0)
        return;
    at = put_text(line, at, now.topic);
    line[at++] = ' ';
    at = put_number(line, at, now.partition);
    line[at++] = ' ';
    at = put_number(line, at, now.offset);
    line[at++] = ' ';
    at = put_number(line, at, now.timestamp_ms);
    line[at++] = ' ';
    at = put_text(line, at, now.step ? now.step : "-");
    line[at++] = '\n';
    ssize_t written = write(file, line, at);
    (void)written;
}

/* SA_RESETHAND has put the default back: the program dies as it would have. */
static void dying(int signal)
{
    say();
    raise(signal);
}

static void install(void)
{
    struct sigaction action = {.sa_handler = dying, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(*fatal); i++)
        sigaction(fatal[i], &action, NULL);
}

static void read_file(void)
{
    text = xzalloc(LAST_WORDS_BYTES_MAX + 1);
    ssize_t len = read(file, text, LAST_WORDS_BYTES_MAX);
    text[len > 0 ? len : 0] = '\0';
    if (len == LAST_WORDS_BYTES_MAX && ftruncate(file, 0) != 0)
        text[0] = '\0';
}

bool last_words_open(const char *path, struct err *err)
{
    file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) {
        err_set(err, ERR_CONFIG, "the file '%.200s' cannot be opened: %s", path, strerror(errno));
        return false;
    }
    read_file();
    install();
    return true;
}

void last_words_close(void)
{
    if (file >= 0)
        close(file);
    file = -1;
    free(text);
    text = NULL;
    last_words_now = (struct last_words){0};
}

static bool is_number(struct str *rest, int64_t wanted)
{
    struct str word;
    int64_t number;
    return str_split(rest, ' ', &word) && str_to_i64(word, 0, INT64_MAX, &number) &&
           number == wanted;
}

static bool is_line_of(struct str line, const struct last_words *record, struct str *ret_step)
{
    struct str word;
    return str_split(&line, ' ', &word) && str_is(word, record->topic) &&
           is_number(&line, record->partition) && is_number(&line, record->offset) &&
           is_number(&line, record->timestamp_ms) && str_split(&line, ' ', ret_step);
}

unsigned last_words_deaths(const struct last_words *record, const char **ret_step)
{
    static char step_bytes[64];
    struct str rest = str_of(text ? text : ""), line, step;
    unsigned deaths = 0;
    step_bytes[0] = '\0';
    while (!str_empty(rest) && str_split(&rest, '\n', &line)) {
        if (!is_line_of(line, record, &step))
            continue;
        deaths++;
        step = str_slice(step, 0, sizeof(step_bytes) - 1);
        memcpy(step_bytes, step.data, step.len);
        step_bytes[step.len] = '\0';
    }
    if (ret_step)
        *ret_step = step_bytes;
    return deaths;
}
