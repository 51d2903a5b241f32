/*
 * topics.h -- what `quern topics check` knows, also for the doctor.
 */
#ifndef QUERN_PRODUCER_CLI_TOPICS_H
#define QUERN_PRODUCER_CLI_TOPICS_H

#include "producer/cli/cli.h"
#include "producer/cli/table.h"

/* A row (topic, setting, should be, is) for all that differs. partitions 0: as topic.def says. */
bool topics_check(struct cli *cli, struct kafka_admin *admin, int64_t partitions,
                  struct table *table, struct err *err);

#endif
