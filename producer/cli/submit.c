/*
 * submit.c -- `quern submit`.
 */
#include "common/app/app.h"
#include "producer/cli/cli.h"

int run_submit(struct cli *cli)
{
    (void)cli;
    return EXIT_FAILED;
}
