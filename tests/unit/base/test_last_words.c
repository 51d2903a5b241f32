/*
 * Goal: a record that the program dies at again and again is known in the next life; one that was
 * merely there when it was killed is not.
 * Method: children that die in different ways, with one file.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/last_words.h"

static char path[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "/tmp/last-words-XXXXXX");
    return mkstemp(path) < 0;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static const struct last_words record = {
    .topic = "t", .partition = 3, .offset = 77, .timestamp_ms = 5};

/* A life that ends like this; how it ended. */
static int live(int64_t offset, const char *step, int end)
{
    pid_t child = fork();
    if (child == 0) {
        struct err err;
        if (!last_words_open(path, &err))
            _exit(1);
        last_words_now = record;
        last_words_now.offset = offset;
        last_words_now.step = step;
        if (!step)
            last_words_now.topic = NULL;
        if (end)
            raise(end);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static unsigned deaths(const char **step)
{
    struct err err;
    assert_true(last_words_open(path, &err));
    return last_words_deaths(&record, step);
}

static void whoever_dies_of_itself_is_remembered(void **state)
{
    const char *step;
    (void)state;
    int status = live(77, "prompt", SIGABRT);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT); /* it still dies of it */
    live(77, "call", SIGABRT);
    live(78, "call", SIGABRT);
    assert_int_equal(deaths(&step), 2);
    assert_string_equal(step, "call");
    last_words_close();
}

static void whoever_is_killed_or_is_at_nothing_is_not(void **state)
{
    (void)state;
    live(77, "prompt", SIGKILL);
    live(77, "prompt", 0);
    live(77, NULL, SIGABRT);
    assert_int_equal(deaths(NULL), 0);
    last_words_close();
}

static void a_later_topic_of_the_same_name_is_another(void **state)
{
    struct last_words later = record;
    (void)state;
    live(77, "prompt", SIGABRT);
    assert_int_equal(deaths(NULL), 1);
    later.timestamp_ms++;
    assert_int_equal(last_words_deaths(&later, NULL), 0);
    last_words_close();
}

static void a_file_full_of_anything_is_nothing(void **state)
{
    struct err err;
    (void)state;
    FILE *file = fopen(path, "w");
    for (int i = 0; i < LAST_WORDS_BYTES_MAX; i++)
        fputc("t 3 77\n 5x"[i % 10], file);
    fclose(file);
    assert_int_equal(deaths(NULL), 0);
    last_words_close();
    assert_true(last_words_open(path, &err)); /* and begun anew */
    last_words_close();
    file = fopen(path, "r");
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whoever_dies_of_itself_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whoever_is_killed_or_is_at_nothing_is_not, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_later_topic_of_the_same_name_is_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_full_of_anything_is_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
