/*
 * main.c -- quern-aggregator as a process of its own; the program is program.c.
 */
#include "aggregator/aggregator.h"

int main(int argc, char **argv)
{
    return app_main(&aggregator_program, argc, argv);
}
