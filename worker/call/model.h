/*
 * model.h -- the configured models: which provider, which key, which price, by name.
 *
 * Built from the configuration's `models` section at start and at each reload; a job keeps the
 * table it began with until it ends (tables are counted). A model whose provider, address and name
 * there stay the same keeps its gate (breaker, budget of retries) across a reload.
 */
#ifndef QUERN_WORKER_CALL_MODEL_H
#define QUERN_WORKER_CALL_MODEL_H

#include "common/app/prices.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "worker/call/gate.h"
#include "worker/call/limit.h"
#include "worker/call/provider.h"

struct model {
    struct map_node node;
    const struct provider *provider;
    struct gate *gate;
    struct limit *limit; /* NULL: none */
    struct provider_model dialect;
    int64_t timeout_ms, connect_timeout_ms;
    enum model_stream { MODEL_STREAM_AUTO, MODEL_STREAM_ON, MODEL_STREAM_OFF } stream;
    int64_t first_token_timeout_ms, idle_timeout_ms; /* of streams */
    unsigned attempts_max;
    struct price price; /* as it was when the table was made */
};

struct model_table;

/* `before`: the table whose place it takes, NULL: none. err names the model and its fault. */
struct model_table *model_table_new(const struct shared_conf *conf,
                                    const struct model_table *before, struct err *err);
struct model_table *model_table_hold(struct model_table *table);
void model_table_release(struct model_table *table); /* takes NULL */
/* Gives each model the limit of its configuration, which is that of the table. */
void model_table_limit(struct model_table *table, const struct shared_conf *conf,
                       struct limits *limits);
const struct model *model_find(const struct model_table *table, struct str name);
/* Whether its answer is asked for piece by piece. */
bool model_streams(const struct model *model, bool batch);
/* Absent when none is configured. */
struct str model_default(const struct model_table *table);
/* Millionths of a US dollar, rounded once, half up; INT_ABSENT without a price. */
int64_t model_cost_microusd(const struct model *model, const struct usage *usage);

#endif
