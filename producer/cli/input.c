/*
 * input.c -- see input.h.
 */
#include "producer/cli/input.h"

#include <errno.h>

FILE *input_open(const char *path, struct err *err)
{
    if (strcmp(path, "-") == 0)
        return stdin;
    FILE *file = fopen(path, "re");
    if (!file)
        err_set(err, ERR_USAGE, "'%s': %s", path, strerror(errno));
    return file;
}

void input_close(FILE *file)
{
    if (file && file != stdin)
        fclose(file);
}

bool input_read(const char *path, struct buf *ret, struct err *err)
{
    char piece[65536];
    size_t n;
    FILE *file = input_open(path, err);
    if (!file)
        return false;
    while (!ret->overflowed && (n = fread(piece, 1, sizeof(piece), file)) > 0)
        buf_add(ret, piece, n);
    bool broken = ferror(file) != 0;
    input_close(file);
    if (broken)
        err_set(err, ERR_USAGE, "'%s': %s", path, strerror(errno));
    else if (ret->overflowed)
        err_set(err, ERR_TOO_BIG, "'%s' is larger than %zu bytes", path, ret->max);
    return !broken && !ret->overflowed;
}

enum input_line input_next(FILE *file, struct buf *ret)
{
    char piece[4096];
    size_t len = 0;
    int c;
    buf_clear(ret);
    while ((c = getc_unlocked(file)) != EOF && c != '\n') {
        piece[len++] = (char)c;
        if (len == sizeof(piece)) {
            buf_add(ret, piece, len);
            len = 0;
        }
    }
    buf_add(ret, piece, len);
    if (ferror(file))
        return INPUT_ERROR;
    if (c == EOF && ret->len == 0 && !ret->overflowed)
        return INPUT_END;
    if (ret->overflowed)
        return INPUT_LONG;
    if (ret->len > 0 && ret->data[ret->len - 1] == '\r')
        ret->data[--ret->len] = '\0';
    return INPUT_LINE;
}
