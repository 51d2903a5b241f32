/*
 * reconcile.h -- `quern usage --reconcile FILE`: the ledger beside a provider's bill.
 */
#ifndef QUERN_PRODUCER_CLI_RECONCILE_H
#define QUERN_PRODUCER_CLI_RECONCILE_H

#include "producer/cli/cli.h"

/* Exit code 0: all days and models are equal, or within the tolerance. 1: they are not. */
int run_reconcile(struct cli *cli);

#endif
