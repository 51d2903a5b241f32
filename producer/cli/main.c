/*
 * main.c -- quern, the command line for people; see cli.h.
 */
#include "producer/cli/cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
