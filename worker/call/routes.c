/*
 * routes.c -- see routes.h.
 */
#include "worker/call/routes.h"

#include "worker/call/model.h"

static const char *const policies[ROUTE_POLICIES] = {
    [ROUTE_ORDERED] = "ordered",
    [ROUTE_WEIGHTED] = "weighted",
    [ROUTE_LEAST_LATENCY] = "least_latency",
    [ROUTE_CHEAPEST] = "cheapest",
    [ROUTE_RULE] = "rule",
};

static enum route_policy policy_of(struct str name)
{
    for (enum route_policy i = 0; i < ROUTE_POLICIES; i++)
        if (str_is(name, policies[i]))
            return i;
    return ROUTE_ORDERED;
}

static bool fill_part(struct route *route, enum route_part part, const struct conf_strs *names,
                      const struct model_table *models, struct arena *arena, struct err *err)
{
    route->models[part] = arena_array(arena, struct route_model, names->count + 1);
    for (size_t i = 0; i < names->count; i++) {
        double weight = 1;
        struct str name =
            part == ROUTE_MAIN ? route_conf_model(names->items[i], &weight) : names->items[i];
        const struct model *model = model_find(models, name);
        if (!model) {
            err_set(err, ERR_CONFIG, "route '" STR_FMT "': no model '" STR_FMT "' is configured",
                    STR_ARG(route->name), STR_ARG(name));
            return false;
        }
        route->models[part][i] = (struct route_model){model, weight};
    }
    route->counts[part] = names->count;
    return true;
}

bool routes_fill(struct map *routes, const struct shared_conf *conf,
                 const struct model_table *models, struct arena *arena, struct err *err)
{
    const struct route_conf *given = conf->routes.items;
    for (size_t i = 0; i < conf->routes.count; i++) {
        struct route *route = arena_new(arena, struct route);
        route->name = arena_str(arena, given[i].name);
        route->rule = (struct route_rule){policy_of(given[i].policy), given[i].prefer_local,
                                          given[i].local_under_ms};
        if (!fill_part(route, ROUTE_MAIN, &given[i].models, models, arena, err) ||
            !fill_part(route, ROUTE_CONTEXT, &given[i].context_models, models, arena, err) ||
            !fill_part(route, ROUTE_FILTER, &given[i].filter_models, models, arena, err))
            return false;
        if (map_find(routes, route->name)) {
            err_set(err, ERR_CONFIG, "routes." STR_FMT " stands there twice", STR_ARG(route->name));
            return false;
        }
        map_add(routes, &route->node, route->name);
    }
    return true;
}

const struct route *route_of_fallbacks(const struct model *model, const struct model_conf *conf,
                                       const struct model_table *models, struct arena *arena,
                                       struct err *err)
{
    if (!conf->fallback.count)
        return NULL;
    struct route *route = arena_new(arena, struct route);
    struct conf_strs names = {arena_array(arena, struct str, conf->fallback.count + 1), 0};
    names.items[names.count++] = model->dialect.name;
    for (size_t i = 0; i < conf->fallback.count; i++)
        names.items[names.count++] = conf->fallback.items[i];
    route->name = model->dialect.name;
    return fill_part(route, ROUTE_MAIN, &names, models, arena, err) ? route : NULL;
}
