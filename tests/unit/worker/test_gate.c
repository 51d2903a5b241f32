/*
 * Goal: what a call's end says of the provider.
 * Method: errors as the HTTP door and the dialects give them. The gate's queues are tested in
 * tests/scene/test_call.c, where there is a loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/call/gate.h"

static void a_calls_end_says_whether_the_provider_is_there(void **state)
{
    static const struct {
        enum err_code code;
        int status;
        bool cut_short;
        enum breaker_news news;
    } cases[] = {
        {ERR_NONE, 200, false, BREAKER_ANSWERED},
        {ERR_PROVIDER_RATE, 429, false, BREAKER_ANSWERED},
        {ERR_PROVIDER_REQUEST, 400, false, BREAKER_ANSWERED},
        {ERR_PROVIDER_AUTH, 401, false, BREAKER_ANSWERED},
        {ERR_PROVIDER_DOWN, 409, false, BREAKER_ANSWERED}, /* a conflict, told by a living one */
        {ERR_PROVIDER_DOWN, 0, false, BREAKER_FAILED},
        {ERR_PROVIDER_DOWN, 500, false, BREAKER_FAILED},
        {ERR_PROVIDER_DOWN, 529, false, BREAKER_FAILED},
        {ERR_PROVIDER_DOWN, 200, false, BREAKER_FAILED}, /* "overloaded" in a 200 */
        {ERR_PROVIDER_BAD_REPLY, 0, false, BREAKER_FAILED},
        {ERR_PROVIDER_CUT, 200, false, BREAKER_FAILED},
        {ERR_PROVIDER_CUT, 200, true, BREAKER_NOTHING}, /* we left while it was answering */
        {ERR_PROVIDER_TIMEOUT, 0, false, BREAKER_FAILED},
        {ERR_PROVIDER_TIMEOUT, 504, true, BREAKER_FAILED},
        {ERR_PROVIDER_TIMEOUT, 408, false, BREAKER_FAILED},
        {ERR_PROVIDER_TIMEOUT, 0, true, BREAKER_NOTHING}, /* the request's own short deadline */
        {ERR_UNAVAILABLE, 0, false, BREAKER_NOTHING},
        {ERR_TOO_BIG, 200, false, BREAKER_NOTHING},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct err err = {.code = cases[i].code};
        assert_int_equal(gate_news(&err, cases[i].status, cases[i].cut_short), cases[i].news);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_calls_end_says_whether_the_provider_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
