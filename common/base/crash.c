/*
 * crash.c -- see crash.h. One point can be armed per life, so its name and a count are all there
 * is to remember.
 */
#include "common/base/crash.h"

#ifdef QUERN_CRASH_POINTS

#include <signal.h>

#include "common/base/clock.h"
#include "common/base/str.h"

enum { PASSES_MAX = 1000000 };

static const struct {
    const char *programs, *name;
} points[] = {
#define CRASH_STEP(program, step, text)  {program, #step}, {program, #step ".end"},
#define CRASH_ROW(programs, point, text) {programs, #point},
#include "schemas/crash_points.def"
#undef CRASH_STEP
#undef CRASH_ROW
};

enum crash_point crash_armed = CRASH_NONE;
static int64_t passes_left;
static bool as_a_mistake;

static bool is_of(const char *programs, const char *program)
{
    struct str rest = str_of(programs), one;

    while (str_split(&rest, ' ', &one))
        if (str_is(one, program))
            return true;
    return false;
}

static enum crash_point find(struct str name)
{
    unsigned i = 0;

    while (i < CRASH_NONE && !str_is(name, points[i].name))
        i++;
    return (enum crash_point)i;
}

bool crash_init(const char *program, struct err *err)
{
    const char *text = getenv("QUERN_CRASH_AT");
    struct str rest = str_of(text ? text : ""), name;
    int64_t passes = 1;

    crash_armed = CRASH_NONE;
    if (!text)
        return true;
    as_a_mistake = str_ends(rest, STR("!"));
    rest.len -= as_a_mistake;
    str_split(&rest, ':', &name);
    enum crash_point point = find(name);
    if (point == CRASH_NONE || !is_of(points[point].programs, program)) {
        err_set(err, ERR_CONFIG,
                "QUERN_CRASH_AT names '" STR_FMT "', which is no crash point of %s; see"
                " 'quern reference crash-points'",
                STR_ARG(name), program);
        return false;
    }
    if (rest.data && !str_to_i64(rest, 1, PASSES_MAX, &passes)) {
        err_set(err, ERR_CONFIG, "QUERN_CRASH_AT is '%s', not of the form NAME:COUNT", text);
        return false;
    }
    unsetenv("QUERN_CRASH_AT"); /* no setting, and nobody else's */
    passes_left = passes;
    crash_armed = point;
    return true;
}

void crash_pass(void)
{
    char text[200];

    if (--passes_left > 0)
        return;
    int len = snprintf(text, sizeof(text), "{\"msg\":\"killed\",\"at\":\"%s\",\"wall_ms\":%lld}\n",
                       points[crash_armed].name, (long long)clock_wall_ms());
    ssize_t written = write(STDERR_FILENO, text, (size_t)len);
    (void)written;
    if (as_a_mistake)
        abort();
    for (;;)
        kill(getpid(), SIGKILL);
}

/* Of a step both points carry its name, the second with an ending. */
void crash_pass_step(const char *step, bool ended)
{
    const char *name = points[crash_armed].name;
    size_t len = strlen(step);

    if (strncmp(name, step, len) == 0 && strcmp(name + len, ended ? ".end" : "") == 0)
        crash_pass();
}

#else

/* A file of C has something in it. */
typedef int crash_points_are_off;

#endif
