/*
 * summary.h -- the table at the end of a batch.
 */
#ifndef QUERN_PRODUCER_BATCH_SUMMARY_H
#define QUERN_PRODUCER_BATCH_SUMMARY_H

#include "producer/batch/batch.h"

/* On stdout, as a table or as JSON; an exit code. */
int summary_print(const struct cli *cli, const struct batch *batch, int64_t took_ms);

#endif
