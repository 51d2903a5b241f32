/*
 * variables.h -- QUERN_ variables that are no settings and may stand in a program's environment all
 * the same.
 *
 * Those of the programs themselves, those of this repository's scripts and tests (a program that
 * one of them starts finds them in its environment), and what Kubernetes and Docker put into every
 * container beside a service named quern-something. Any other QUERN_ variable must name a setting,
 * see docs/decisions/0023-unknown-variables-and-flags.md.
 *
 * To add one: a row in variables.c; ctest system_mistakes fails for one that a script reads and the
 * table does not know.
 */
#ifndef QUERN_COMMON_APP_VARIABLES_H
#define QUERN_COMMON_APP_VARIABLES_H

#include <stdbool.h>

#include "common/base/str.h"

/* Their names, NULL at the end. */
extern const char *const app_variables[];
/* Whether an orchestrator has made it for a service: QUERN_WORKER_SERVICE_HOST,
 * QUERN_WORKER_PORT=tcp://.., QUERN_WORKER_PORT_9101_TCP_ADDR and the like. */
bool app_variable_is_of_a_service(struct str name, struct str value);

#endif
