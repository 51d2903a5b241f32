/*
 * resume.c -- see resume.h.
 */
#include "producer/batch/resume.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/crash.h"
#include "common/data/json.h"
#include "producer/batch/output.h"
#include "producer/cli/input.h"

enum { LINE_BYTES_MAX = 128 << 20, LINE_ARENA_BYTES = 512 << 20, ARENA_BLOCK = 65536 };

/* Vectors may have more numbers than a document may have; the line's name stands before them. */
static bool read_line(struct str line, struct arena *arena, struct value *ret)
{
    static const char response[] = ",\"response\":{";
    struct err err;
    if (json_read(line, arena, ret, &err))
        return true;
    const char *at = memmem(line.data, line.len, response, sizeof(response) - 1);
    if (err.code != ERR_TOO_BIG || !at || !str_ends(line, STR("},\"error\":null}")))
        return false;
    struct str name = str_from(line.data, (size_t)(at - line.data));
    return json_read(arena_printf(arena, STR_FMT "%s},\"error\":null}", STR_ARG(name), response),
                     arena, ret, &err);
}

static bool take_line(struct resume *resume, const char *path, struct str line, struct arena *arena,
                      struct err *err)
{
    struct value written;
    bool failed;
    struct str key = {NULL, 0};
    if (read_line(line, arena, &written))
        key = output_key_written(arena, &written, &failed);
    resume->lines++;
    if (!key.data) {
        err_set(
            err, ERR_USAGE,
            "'%s', line %lld, is no output of a batch: --output must name this batch's own file",
            path, (long long)resume->lines);
        return false;
    }
    resume->failed += failed;
    seen_add(&resume->done, key);
    return true;
}

/* Bytes of complete lines; -1: failed. */
static int64_t read_lines(FILE *file, const char *path, struct resume *ret, struct err *err)
{
    struct arena_pool *pool = arena_pool_new(ARENA_BLOCK, 64);
    struct arena arena;
    struct buf line;
    int64_t whole = 0;
    arena_init(&arena, pool, LINE_ARENA_BYTES);
    buf_init(&line, LINE_BYTES_MAX);
    while (input_next(file, &line) == INPUT_LINE) {
        int64_t at = (int64_t)ftello(file);
        if (fseeko(file, -1, SEEK_CUR) != 0 || getc(file) != '\n')
            break; /* the end of the file, and no end of the line */
        if (!take_line(ret, path, buf_str(&line), &arena, err)) {
            whole = -1;
            break;
        }
        whole = at;
        arena_reset(&arena);
    }
    buf_done(&line);
    arena_done(&arena);
    arena_pool_free(pool);
    return whole;
}

bool resume_read(const char *path, struct resume *ret, struct err *err)
{
    *ret = (struct resume){0};
    seen_init(&ret->done);
    FILE *file = fopen(path, "r+e");
    if (!file && errno == ENOENT)
        return true;
    if (!file) {
        err_set(err, ERR_USAGE, "'%s': %s", path, strerror(errno));
        return false;
    }
    int64_t whole = read_lines(file, path, ret, err);
    bool good = whole >= 0;
    if (good && fseeko(file, 0, SEEK_END) == 0 && (int64_t)ftello(file) > whole) {
        ret->cut_bytes = (int64_t)ftello(file) - whole;
        if (ftruncate(fileno(file), (off_t)whole) != 0) {
            err_set(err, ERR_USAGE, "'%s' cannot be cut: %s", path, strerror(errno));
            good = false;
        }
        CRASH_POINT(batch_output_cut);
    }
    fclose(file);
    if (!good)
        resume_done(ret);
    return good;
}

void resume_done(struct resume *resume)
{
    seen_done(&resume->done);
}
