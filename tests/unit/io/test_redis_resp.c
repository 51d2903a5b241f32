/*
 * Goal: commands are written as the protocol wants them.
 * Method: golden bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/io/redis_resp.h"

static void commands_have_the_length_of_every_word(void **state)
{
    (void)state;
    static const struct {
        struct str words[3];
        size_t count;
        struct str bytes;
    } cases[] = {
        {{{"PING", 4}}, 1, {"*1\r\n$4\r\nPING\r\n", 14}},
        {{{"GET", 3}, {"", 0}}, 2, {"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", 19}},
        {{{"SET", 3}, {"a\0b", 3}, {"\r\n$1\r\n", 6}},
         3,
         {"*3\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$6\r\n\r\n$1\r\n\r\n", 34}},
        {{{"x", 1}, {"01234567890", 11}}, 2, {"*2\r\n$1\r\nx\r\n$11\r\n01234567890\r\n", 29}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out;
        buf_init(&out, 1000);
        redis_resp_command(&out, cases[i].words, cases[i].count);
        assert_int_equal(out.len, cases[i].bytes.len);
        assert_memory_equal(out.data, cases[i].bytes.data, out.len);
        assert_true(out.len <= redis_resp_size(cases[i].words, cases[i].count));
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_have_the_length_of_every_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
