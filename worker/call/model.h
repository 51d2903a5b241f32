/*
 * model.h -- the configured models: which provider, which key, which price, by name.
 *
 * Built from the configuration's `models` section at start and at each reload; a job keeps the
 * table it began with until it ends (tables are counted). A model whose provider, address and name
 * there stay the same keeps its gate (breaker, budget of retries) and what was learned of its
 * latency across a reload, and a key that stays what is known of it; both tables share these.
 */
#ifndef QUERN_WORKER_CALL_MODEL_H
#define QUERN_WORKER_CALL_MODEL_H

#include "common/app/prices.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/io/http_client.h"
#include "worker/call/gate.h"
#include "worker/call/hedging.h"
#include "worker/call/keys.h"
#include "worker/call/latency.h"
#include "worker/call/provider.h"
#include "worker/call/quota.h"
#include "worker/call/routes.h"

struct model {
    struct map_node node;
    const struct provider *provider;
    struct gate *gate;
    struct quota **quotas; /* of each key: the limits that hold for its calls; NULL: none */
    struct provider_model dialect;
    const struct str *secrets; /* the keys; dialect.api_key is the first */
    size_t key_count;          /* at least one, also where none is set */
    struct keys *keys;
    struct latency *latency;
    struct hedge_rule hedge;
    struct hedging *hedging;
    bool lacks_key, local;
    int64_t context_tokens, usual_ms; /* 0: not known; what its latency class stands for */
    const struct route *fallback;     /* NULL: none */
    int64_t timeout_ms, connect_timeout_ms;
    enum model_stream { MODEL_STREAM_AUTO, MODEL_STREAM_ON, MODEL_STREAM_OFF } stream;
    int64_t first_token_timeout_ms, idle_timeout_ms; /* of streams */
    enum http_version http;
    struct str ca_file; /* absent: the system's */
    const struct str
        *pools; /* of each key: whose connections; the same provider, address and key */
    unsigned attempts_max;
    struct price price; /* as it was when the table was made */
};

struct model_table;

/* `before`: the table whose place it takes, NULL: none. err names the model and its fault. */
struct model_table *model_table_new(const struct shared_conf *conf,
                                    const struct model_table *before, struct err *err);
/* So many processes make calls to these models (fleet.h). */
void model_table_members(struct model_table *table, unsigned members);
struct model_table *model_table_hold(struct model_table *table);
void model_table_release(struct model_table *table); /* takes NULL */
/* Gives each model the limits of its configuration, which is that of the table. */
void model_table_limit(struct model_table *table, const struct shared_conf *conf,
                       struct quotas *quotas);
const struct route *model_route(const struct model_table *table, struct str name);
/* Of requests that name nothing; NULL: none is configured. */
const struct route *model_default_route(const struct model_table *table);
/* Mean of its calls lately, or what its class stands for. */
double model_latency_ms(const struct model *model);
const struct model *model_find(const struct model_table *table, struct str name);
/* Whether its answer is asked for piece by piece. */
bool model_streams(const struct model *model, bool batch);
/* Absent when none is configured. */
struct str model_default(const struct model_table *table);
/* Millionths of a US dollar, rounded once, half up; INT_ABSENT without a price. */
int64_t model_cost_microusd(const struct model *model, const struct usage *usage);

#endif
