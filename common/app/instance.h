/*
 * instance.h -- which of several like processes on this host we are.
 *
 * A program's instance name is BASE-N, N the first number whose lock file nobody holds. The name
 * stays the same over restarts, so a restarted process takes the place of the one that died: same
 * member of the consumer group, same claims. The lock lives as long as the process. Beside it lies
 * what the instance was at when it died (common/base/last_words.h).
 */
#ifndef QUERN_COMMON_APP_INSTANCE_H
#define QUERN_COMMON_APP_INSTANCE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"
#include "common/base/str.h"

#define INSTANCES_MAX 256

/* base absent: the host's name. dir absent: $XDG_RUNTIME_DIR, else /tmp/quern-UID; made when
 * missing. `program` keeps programs apart. ret gets at most `size` bytes with NUL. The lock is held
 * until the process ends. */
bool instance_acquire(struct str dir, const char *program, struct str base, char *ret, size_t size,
                      struct err *err);

#endif
