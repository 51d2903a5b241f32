/*
 * variables.c -- see variables.h.
 */
#include "common/app/variables.h"

#include <stddef.h>

const char *const app_variables[] = {
    "QUERN_CONFIG", /* the file */
    /* tests: where a program dies (common/base/crash.h), and which third of the points is run */
    "QUERN_CRASH_AT",
    "QUERN_CRASH_PART",
    /* deploy, tests/bench, tests/contract: folder, program and proxy of the local servers */
    "QUERN_RUN_DIR",
    "QUERN_STACK",
    "QUERN_KAFKA_PROXY_PORT",
    "QUERN_EXPECTED", /* deploy/quickstart: the list of what is meant to fail */
    /* tests/bare: its folder, and that it runs inside of it */
    "QUERN_BARE",
    "QUERN_BARE_INSIDE",
    /* tests: folder of the programs, whether golden files are written anew */
    "QUERN_BUILD",
    "QUERN_GOLDEN",
    "QUERN_GOLDEN_WRITE",
    NULL,
};

static bool has(struct str text, struct str part)
{
    for (size_t at = 0; at + part.len <= text.len; at++)
        if (str_eq(str_slice(text, at, at + part.len), part))
            return true;
    return false;
}

bool app_variable_is_of_a_service(struct str name, struct str value)
{
    static const char *const protocols[] = {"_TCP", "_UDP", "_SCTP"};

    if (str_ends(name, STR("_SERVICE_HOST")) || str_ends(name, STR("_SERVICE_PORT")) ||
        has(name, STR("_SERVICE_PORT_")))
        return true;
    if (str_ends(name, STR("_PORT")) && has(value, STR("://")))
        return true;
    for (size_t i = 0; has(name, STR("_PORT_")) && i < sizeof(protocols) / sizeof(protocols[0]);
         i++)
        if (has(name, str_of(protocols[i])))
            return true;
    return false;
}
