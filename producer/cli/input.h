/*
 * input.h -- files and standard input as bytes and lines, bounded.
 */
#ifndef QUERN_PRODUCER_CLI_INPUT_H
#define QUERN_PRODUCER_CLI_INPUT_H

#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* "-" is standard input. ERR_USAGE when it cannot be opened. Close with input_close(). */
FILE *input_open(const char *path, struct err *err);
void input_close(FILE *file); /* takes NULL; leaves standard input open */
/* All of it; ERR_TOO_BIG beyond the buffer's maximum. */
bool input_read(const char *path, struct buf *ret, struct err *err);

/* The next line without its end (\n or \r\n). A line longer than the buffer's maximum is skipped
 * over and told as INPUT_LONG. */
enum input_line { INPUT_LINE, INPUT_LONG, INPUT_END, INPUT_ERROR };
enum input_line input_next(FILE *file, struct buf *ret);

#endif
