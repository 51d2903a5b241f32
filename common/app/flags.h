/*
 * flags.h -- what is said of a flag that getopt_long() did not take.
 *
 * A flag nobody knows is a mistake of the configuration (ERR_CONFIG, exit 78) like an unknown key
 * of the file: unit files and scripts set both. A known one used wrongly (its value is missing, or
 * it takes none) is ERR_USAGE.
 */
#ifndef QUERN_COMMON_APP_FLAGS_H
#define QUERN_COMMON_APP_FLAGS_H

#include <getopt.h>

#include "common/base/err.h"

/* Right after getopt_long() returned `found`, '?' or ':': its table, and its arguments. `opterr`
 * must have been 0 and the letters must have begun with ':' (or "+:"), or it speaks for itself. */
void flags_refuse(const struct option *options, int found, char *const argv[], struct err *err);

#endif
