/*
 * metrics.h -- counters, gauges and histograms, rows of schemas/metric.def, in Prometheus' text
 * format.
 *
 * Each row has at most one label whose values are registered at run time up to a bound (further
 * values are counted under "other"). One thread. Names, help and buckets come from the row.
 */
#ifndef QUERN_COMMON_APP_METRICS_H
#define QUERN_COMMON_APP_METRICS_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/str.h"

enum metric {
#define METRIC(name, kind, label, programs, sentence) METRIC_##name,
#include "schemas/metric.def"
#undef METRIC
    METRIC_COUNT
};

#define METRIC_LABELS_MAX 64

void metric_add(enum metric metric, int64_t amount);
void metric_set(enum metric metric, int64_t amount);
void metric_add_for(enum metric metric, struct str label, int64_t amount);
void metric_set_for(enum metric metric, struct str label, int64_t amount);
/* Histograms: seconds-valued rows take milliseconds. */
void metric_observe_ms(enum metric metric, double ms);
void metric_observe_ms_for(enum metric metric, struct str label, double ms);
int64_t metric_get(enum metric metric);
void metric_reset_all(void); /* for tests */
/* Prometheus text format 0.0.4; only rows of this program ("worker", "aggregator", "all"). */
void metrics_write(const char *program, struct buf *ret);
/* Every metric as a Markdown table. */
void metrics_reference(struct buf *ret);

#endif
