/*
 * Goal: an interrupted run's output is read for what it is: complete lines count, a cut one goes.
 * Method: files in a temporary folder.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "producer/batch/resume.h"

#define GOOD "{\"id\":\"x\",\"custom_id\":\"c1\",\"response\":{},\"error\":null}\n"
#define BAD                                                                                        \
    "{\"id\":\"x\",\"custom_id\":null,\"line\":2,\"response\":null,\"error\":{\"code\":\"e\"}}\n"
#define OWN "{\"request_id\":\"b:3\",\"text\":\"t\"}\n"

static char path[] = "/tmp/quern-resume-XXXXXX";

static void put(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static long size_of(void)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fclose(file);
    return size;
}

static const struct {
    const char *text;
    int64_t lines, failed, cut;
} cases[] = {
    {"", 0, 0, 0},
    {GOOD, 1, 0, 0},
    {GOOD BAD OWN, 3, 1, 0},
    {GOOD "{\"id\":\"x\",\"custom", 1, 0, 17},
    {GOOD "{\"request_id\":\"b:3\",\"text\":\"t\"}", 1, 0, 31}, /* whole, but for its end */
    {"{", 0, 0, 1},
};

static void complete_lines_count_and_a_cut_one_goes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct resume resume;
        struct err err;
        put(cases[i].text);
        assert_true(resume_read(path, &resume, &err));
        assert_int_equal(resume.lines, cases[i].lines);
        assert_int_equal(resume.failed, cases[i].failed);
        assert_int_equal(resume.cut_bytes, cases[i].cut);
        assert_int_equal(size_of(), (long)strlen(cases[i].text) - cases[i].cut);
        assert_int_equal(seen_has(&resume.done, STR("c:c1")), cases[i].lines > 0);
        assert_int_equal(seen_has(&resume.done, STR("#2")), cases[i].lines > 1);
        assert_int_equal(seen_has(&resume.done, STR("r:b:3")), cases[i].lines > 2);
        resume_done(&resume);
    }
}

static void a_file_that_is_no_output_is_left_alone(void **state)
{
    (void)state;
    static const char *const foreign[] = {"hello\n", GOOD "{\"custom_id\":\"c\",\"body\":{}}\n{"};
    for (size_t i = 0; i < 2; i++) {
        struct resume resume;
        struct err err = {0};
        put(foreign[i]);
        assert_false(resume_read(path, &resume, &err));
        assert_int_equal(err.code, ERR_USAGE);
        assert_int_equal(size_of(), (long)strlen(foreign[i]));
    }
}

static void a_file_that_is_not_there_is_an_empty_one(void **state)
{
    (void)state;
    struct resume resume;
    struct err err;
    remove(path);
    assert_true(resume_read(path, &resume, &err));
    assert_int_equal(resume.lines, 0);
    resume_done(&resume);
}

static void a_set_tells_thousands_of_names_apart(void **state)
{
    (void)state;
    struct seen seen;
    char name[32];
    seen_init(&seen);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 5000; i++) {
            snprintf(name, sizeof(name), "name-%d", i);
            assert_int_equal(seen_has(&seen, str_of(name)), round == 1);
            assert_int_equal(seen_add(&seen, str_of(name)), round == 0);
        }
    assert_int_equal(seen.count, 5000);
    assert_false(seen_has(&seen, STR("name-5000")));
    seen_done(&seen);
}

static int begin(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
    (void)state;
    remove(path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complete_lines_count_and_a_cut_one_goes),
        cmocka_unit_test(a_file_that_is_no_output_is_left_alone),
        cmocka_unit_test(a_file_that_is_not_there_is_an_empty_one),
        cmocka_unit_test(a_set_tells_thousands_of_names_apart),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
