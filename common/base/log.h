/*
 * log.h -- one event, one line, on stderr: JSON objects, or text when stderr is a terminal.
 *
 * log_info("call done", LOG_S("model", model), LOG_I("ms", ms)) writes level, time, message,
 * program and the fields. The request id of the subject at hand is added by itself: flow sets it
 * with log_subject_set() around each step. One write() per line of at most 8 KiB (longer texts are
 * cut and the line says cut=true); a line that cannot be written at once (pipe full, reader gone)
 * is dropped and counted, so SIGPIPE must be ignored. Prompts, answers and keys are never logged
 * above debug level; log_redact() registers secrets that are replaced wherever they appear.
 */
#ifndef QUERN_COMMON_BASE_LOG_H
#define QUERN_COMMON_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

struct log_field {
    const char *name; /* NULL ends the list */
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_NUM, LOG_FIELD_BOOL } kind;
    struct str text;
    int64_t number;
    double real;
};

#define LOG_S(key, value)                                                                          \
    ((struct log_field){.name = (key), .kind = LOG_FIELD_STR, .text = (value)})
#define LOG_C(key, value) LOG_S(key, str_of(value))
#define LOG_I(key, value)                                                                          \
    ((struct log_field){.name = (key), .kind = LOG_FIELD_INT, .number = (int64_t)(value)})
#define LOG_N(key, value)                                                                          \
    ((struct log_field){.name = (key), .kind = LOG_FIELD_NUM, .real = (value)})
#define LOG_B(key, value)                                                                          \
    ((struct log_field){.name = (key), .kind = LOG_FIELD_BOOL, .number = (value)})

/* format: "json", "text" or "auto" (text when stderr is a terminal). Wall time is read per line. */
void log_init(const char *program, const char *format, enum log_level level);
void log_set_level(enum log_level level);
bool log_level_by_name(struct str name, enum log_level *ret);
/* Every later occurrence of this secret (4 bytes or longer) is written as "***". Copied. */
void log_redact(struct str secret);
/* Overwrites the registered secrets with as many stars, for texts that leave by another way. */
void log_redact_text(char *text, size_t len);
void log_subject_set(struct str request_id); /* absent: none. Must outlive the step. */
uint64_t log_dropped(void);
/* For tests: lines, without their newline, go to this function; NULL restores stderr. */
void log_sink(void (*sink)(struct str line, void *context), void *context);

void log_write(enum log_level level, const char *message, const struct log_field *fields);
bool log_enabled(enum log_level level);

#define LOG_AT(level, message, ...)                                                                \
    (log_enabled(level)                                                                            \
         ? log_write(level, message,                                                               \
                     (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, )(struct log_field){0}})  \
         : (void)0)
#define log_debug(message, ...) LOG_AT(LOG_LEVEL_DEBUG, message, __VA_ARGS__)
#define log_info(message, ...)  LOG_AT(LOG_LEVEL_INFO, message, __VA_ARGS__)
#define log_warn(message, ...)  LOG_AT(LOG_LEVEL_WARN, message, __VA_ARGS__)
#define log_error(message, ...) LOG_AT(LOG_LEVEL_ERROR, message, __VA_ARGS__)

#endif
