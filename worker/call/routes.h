/*
 * routes.h -- the configured routes, and each model's own list of fallbacks, as lists of models.
 *
 * Part of the table of models (model.h): built with it, and kept as long as it.
 */
#ifndef QUERN_WORKER_CALL_ROUTES_H
#define QUERN_WORKER_CALL_ROUTES_H

#include "common/app/shared_conf.h"
#include "common/base/map.h"
#include "worker/call/route.h"

struct model;
struct model_table;

/* What a model of a route is asked for; the other two only after an error of that name. */
enum route_part { ROUTE_MAIN, ROUTE_CONTEXT, ROUTE_FILTER, ROUTE_PARTS };

struct route_model {
    const struct model *model;
    double weight;
};

struct route {
    struct map_node node;
    struct str name;
    struct route_rule rule;
    struct route_model *models[ROUTE_PARTS];
    size_t counts[ROUTE_PARTS];
};

/* All memory is of the arena. The configuration was checked (shared_conf_check); a name that is no
 * model's, or stands there twice, is an error all the same. */
bool routes_fill(struct map *routes, const struct shared_conf *conf,
                 const struct model_table *models, struct arena *arena, struct err *err);
/* The model, and then its fallbacks; NULL without an error: it has none. */
const struct route *route_of_fallbacks(const struct model *model, const struct model_conf *conf,
                                       const struct model_table *models, struct arena *arena,
                                       struct err *err);

#endif
