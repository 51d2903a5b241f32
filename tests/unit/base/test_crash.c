/*
 * Goal: a program dies where QUERN_CRASH_AT says, at that passing, without a last breath; and
 * nowhere else.
 */
#include "tests/unit/base/test.h"

#include "common/base/crash.h"

#ifdef QUERN_CRASH_POINTS

struct life {
    const char *at;
    void (*live)(void);
};

static void pass_three_points(void)
{
    for (int i = 0; i < 3; i++) {
        CRASH_POINT(part_kept);
        CRASH_POINT(part_produced);
    }
}

static void walk_two_steps(void)
{
    crash_step("call", false);
    crash_step("call", true);
    crash_step("settle", false);
}

static void walk_an_unknown_step(void)
{
    crash_step("call_", false);
    crash_step("cal", true);
    crash_step("", false);
}

static void leave_something_in_a_buffer(void)
{
    FILE *slow = fdopen(STDERR_FILENO, "w");
    fputs("unsaid", slow);
    CRASH_POINT(part_kept);
}

/* True when it was killed; what it wrote to stderr is put into `said`. */
static bool is_killed(const struct life *life, struct last_words *said)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct err err;
        dup2(ends[1], STDERR_FILENO);
        setenv("QUERN_CRASH_AT", life->at, 1);
        if (!crash_init("quern-worker", &err))
            _exit(9);
        life->live();
        _exit(0);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], said->text, sizeof(said->text) - 1);
    said->text[got > 0 ? got : 0] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 9);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void a_program_dies_at_its_point_and_passing_only(void **state)
{
    (void)state;
    static const struct {
        struct life life;
        bool dies;
    } cases[] = {
        {{"part_kept", pass_three_points}, true},
        {{"part_kept:3", pass_three_points}, true},
        {{"part_kept:4", pass_three_points}, false},
        {{"call_sent", pass_three_points}, false},
        {{"call", walk_two_steps}, true},
        {{"call.end", walk_two_steps}, true},
        {{"call.end:2", walk_two_steps}, false},
        {{"settle.end", walk_two_steps}, false},
        {{"call", walk_an_unknown_step}, false},
        {{"call.end", walk_an_unknown_step}, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct last_words said;
        if (is_killed(&cases[i].life, &said) != cases[i].dies)
            fail_msg("'%s' should %sdie", cases[i].life.at, cases[i].dies ? "" : "not ");
    }
}

static void last_words_tell_the_point_and_nothing_else_is_said(void **state)
{
    (void)state;
    struct last_words said;
    assert_true(is_killed(&(struct life){"part_kept", leave_something_in_a_buffer}, &said));
    assert_non_null(strstr(said.text, "\"at\":\"part_kept\""));
    assert_null(strstr(said.text, "unsaid"));
}

static void without_the_variable_nothing_is_armed(void **state)
{
    (void)state;
    struct err err;
    unsetenv("QUERN_CRASH_AT");
    assert_true(crash_init("quern-worker", &err));
    assert_int_equal(crash_armed, CRASH_NONE);
    pass_three_points();
}

static void what_is_no_point_of_the_program_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",           "part",        "part_kept.end", "call.",        "batch_sent", "part_kept:0",
        "part_kept:", "part_kept:x", "drained:-1",    "part_kept:1:1"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct err err = {0};
        setenv("QUERN_CRASH_AT", wrong[i], 1);
        if (crash_init("quern-worker", &err))
            fail_msg("'%s' was taken", wrong[i]);
        assert_non_null(strstr(err.text, "QUERN_CRASH_AT"));
        assert_int_equal(crash_armed, CRASH_NONE);
    }
    unsetenv("QUERN_CRASH_AT");
}

static void a_point_of_two_programs_is_taken_by_both_and_the_variable_is_used_up(void **state)
{
    (void)state;
    static const char *const programs[] = {"quern-worker", "quern-aggregator"};
    for (size_t i = 0; i < COUNT_OF(programs); i++) {
        struct err err;
        setenv("QUERN_CRASH_AT", "drained:2", 1);
        assert_true(crash_init(programs[i], &err));
        assert_int_equal(crash_armed, CRASH_drained);
        assert_null(getenv("QUERN_CRASH_AT"));
    }
    crash_armed = CRASH_NONE;
}

#else

static void without_crash_points_the_variable_means_nothing(void **state)
{
    (void)state;
    struct err err;
    setenv("QUERN_CRASH_AT", "part_kept", 1);
    assert_true(crash_init("quern-worker", &err));
    CRASH_POINT(part_kept);
    crash_step("call", false);
}

#endif

/* What a file has inside, as a string; the test's own memory. */
static char *read_source(const char *name)
{
    char path[500];
    snprintf(path, sizeof(path), "%s/%s", TEST_SOURCE_DIR, name);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    char *text = test_malloc(1 << 18);
    size_t len = fread(text, 1, (1 << 18) - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

static bool is_step(const char *name, size_t len)
{
    static const char *const steps[] = {
#define CRASH_STEP(program, step, text) #step,
#define CRASH_ROW(programs, point, text)
#include "schemas/crash_points.def"
#undef CRASH_STEP
#undef CRASH_ROW
    };
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        if (strlen(steps[i]) == len && memcmp(steps[i], name, len) == 0)
            return true;
    return false;
}

static void every_step_of_the_worker_has_its_points(void **state)
{
    (void)state;
    static const char mark[] = "\n    {.name = \"";
    char *text = read_source("worker/program.c");
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, mark)); count++) {
        at += sizeof(mark) - 1;
        size_t len = strcspn(at, "\"");
        if (!is_step(at, len))
            fail_msg("the step '%.*s' has no row in schemas/crash_points.def", (int)len, at);
    }
    test_free(text);
    assert_true(count >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef QUERN_CRASH_POINTS
        cmocka_unit_test(a_program_dies_at_its_point_and_passing_only),
        cmocka_unit_test(last_words_tell_the_point_and_nothing_else_is_said),
        cmocka_unit_test(without_the_variable_nothing_is_armed),
        cmocka_unit_test(what_is_no_point_of_the_program_is_refused),
        cmocka_unit_test(a_point_of_two_programs_is_taken_by_both_and_the_variable_is_used_up),
#else
        cmocka_unit_test(without_crash_points_the_variable_means_nothing),
#endif
        cmocka_unit_test(every_step_of_the_worker_has_its_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
