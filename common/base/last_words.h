/*
 * last_words.h -- what the program was working at when it died of a mistake of its own.
 *
 * A record that makes the program crash would make it crash again after every restart. So whoever
 * works at a record says so (one store each), and a fatal signal (SIGSEGV, SIGBUS, SIGFPE, SIGILL,
 * SIGABRT) appends one line to a file: topic, partition, offset, timestamp, step. The next life
 * counts the lines of a record and puts it aside when they are too many. A kill from outside
 * (SIGKILL, a lost machine) writes nothing, so what merely was there then is not blamed.
 *
 * One file per program and instance; it is read once, at last_words_open(), and begun anew when it
 * is longer than LAST_WORDS_BYTES_MAX. Thread of the loop only.
 */
#ifndef QUERN_COMMON_BASE_LAST_WORDS_H
#define QUERN_COMMON_BASE_LAST_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

enum { LAST_WORDS_BYTES_MAX = 65536 };

struct last_words {
    const char *topic; /* NULL: at nothing; the text must stay */
    int32_t partition;
    int64_t offset, timestamp_ms; /* the timestamp tells a topic from a later one of its name */
    const char *step;
};
extern struct last_words last_words_now;

/* Reads the file, keeps it open and installs the handlers. False: it cannot be opened; nothing is
 * written then. */
bool last_words_open(const char *path, struct err *err);
void last_words_close(void);

/* How often earlier lives died at this record, and the step at which they last did (a text that
 * stays until the next question; ret_step takes NULL). The record's own step is not looked at. */
unsigned last_words_deaths(const struct last_words *record, const char **ret_step);

#endif
