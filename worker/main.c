/*
 * main.c -- quern-worker as a process of its own; the program is program.c.
 */
#include "worker/worker.h"

int main(int argc, char **argv)
{
    return app_main(&worker_program, argc, argv);
}
