/*
 * route_conf.c -- the rows of one route, and what a table cannot check of routes and fallbacks.
 */
#include <stdio.h>

#include "common/app/shared_conf.h"

enum { MODEL_NAME_BYTES_MAX = 128, ROUTE_MODELS_MAX = 16, WEIGHT_MAX = 1000000 };

#define ROW(key, kind, otherwise, min, max, choices, field, sentence)                              \
    {                                                                                              \
        key, kind, otherwise, min, max, choices, true, offsetof(struct route_conf, field), NULL,   \
            0, sentence                                                                            \
    }

/* clang-format off */
const struct conf_row route_conf_rows[] = {
    ROW("name", CONF_STR, NULL, 0, 0, NULL, name, "Name by which requests ask for the route"),
    ROW("policy", CONF_ENUM, "ordered", 0, 0, "ordered|weighted|least_latency|cheapest|rule", policy, "Which model is asked first: as listed; by weight; the fastest lately; the cheapest for this request; as listed, but a local one when the time is short"),
    ROW("models", CONF_STRS, "", 0, 0, NULL, models, "Models, the next one where one fails; with a weight as large=3"),
    ROW("context_models", CONF_STRS, "", 0, 0, NULL, context_models, "Models for what is too long for the others' context windows"),
    ROW("filter_models", CONF_STRS, "", 0, 0, NULL, filter_models, "Models for what another's content filter has stopped"),
    ROW("prefer_local", CONF_BOOL, "false", 0, 0, NULL, prefer_local, "Local models first, whatever the policy"),
    ROW("local_under", CONF_DURATION, "500ms", 0, 86400000, NULL, local_under_ms, "Policy rule: a request with less time than this goes to a local model first"),
    {0},
};
/* clang-format on */

struct str route_conf_model(struct str item, double *ret_weight)
{
    size_t at = str_index(item, '=');
    *ret_weight = 1;
    if (at < item.len && (!str_to_f64(str_trim(str_slice(item, at + 1, item.len)), ret_weight) ||
                          !(*ret_weight >= 0 && *ret_weight <= WEIGHT_MAX)))
        *ret_weight = -1;
    return str_trim(str_slice(item, 0, at));
}

/* `place` is "routes.NAME.models". */
static bool check_names(const struct shared_conf *conf, const struct conf_strs *names,
                        const char *place, bool weights, struct err *err)
{
    double weight;
    if (names->count > ROUTE_MODELS_MAX) {
        err_set(err, ERR_CONFIG, "'%s' has more than %d models", place, ROUTE_MODELS_MAX);
        return false;
    }
    for (size_t i = 0; i < names->count; i++) {
        struct str item = names->items[i];
        struct str name = weights ? route_conf_model(item, &weight) : item;
        if (weights && weight < 0) {
            err_set(err, ERR_CONFIG,
                    "'%s': '" STR_FMT "' must be a model, or a model and its "
                    "weight from 0 to %d, as in large=3",
                    place, STR_ARG(str_utf8_cut(item, 80)), WEIGHT_MAX);
            return false;
        }
        if (!shared_conf_has_model(conf, name)) {
            err_set(err, ERR_CONFIG, "'%s': no model '" STR_FMT "' is configured", place,
                    STR_ARG(str_utf8_cut(name, 80)));
            return false;
        }
        for (size_t k = 0; k < i; k++)
            if (str_eq(weights ? route_conf_model(names->items[k], &weight) : names->items[k],
                       name)) {
                err_set(err, ERR_CONFIG, "'%s': '" STR_FMT "' stands there twice", place,
                        STR_ARG(str_utf8_cut(name, 80)));
                return false;
            }
    }
    return true;
}

static bool check_route(const struct shared_conf *conf, const struct route_conf *route,
                        struct err *err)
{
    const struct {
        const char *member;
        const struct conf_strs *names;
    } lists[] = {{"models", &route->models},
                 {"context_models", &route->context_models},
                 {"filter_models", &route->filter_models}};
    char place[MODEL_NAME_BYTES_MAX + 32];
    if (conf_has_control(route->name) || route->name.len > MODEL_NAME_BYTES_MAX) {
        err_set(err, ERR_CONFIG,
                "'routes." STR_FMT "': a name must be at most 128 bytes without line breaks",
                STR_ARG(str_utf8_cut(route->name, 80)));
        return false;
    }
    if (!route->models.count) {
        err_set(err, ERR_CONFIG, "'routes." STR_FMT ".models' is empty: name at least one model",
                STR_ARG(route->name));
        return false;
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        snprintf(place, sizeof(place), "routes." STR_FMT ".%s", STR_ARG(route->name),
                 lists[i].member);
        if (!check_names(conf, lists[i].names, place, i == 0, err))
            return false;
    }
    return true;
}

static bool check_fallback(const struct shared_conf *conf, const struct model_conf *model,
                           struct err *err)
{
    char place[MODEL_NAME_BYTES_MAX + 32];
    snprintf(place, sizeof(place), "models." STR_FMT ".fallback", STR_ARG(model->name));
    for (size_t i = 0; i < model->fallback.count; i++)
        if (str_eq(model->fallback.items[i], model->name)) {
            err_set(err, ERR_CONFIG, "'%s' names the model itself", place);
            return false;
        }
    return check_names(conf, &model->fallback, place, false, err);
}

static bool check_default_route(const struct shared_conf *conf, struct err *err)
{
    const struct route_conf *routes = conf->routes.items;
    if (str_empty(conf->default_route))
        return true;
    if (!str_empty(conf->default_model)) {
        err_set(err, ERR_CONFIG,
                "'default_route' and 'default_model' are both set: a request that "
                "names nothing can have only one of them");
        return false;
    }
    for (size_t i = 0; i < conf->routes.count; i++)
        if (str_eq(routes[i].name, conf->default_route))
            return true;
    err_set(err, ERR_CONFIG, "'default_route': no route '" STR_FMT "' is configured",
            STR_ARG(str_utf8_cut(conf->default_route, 80)));
    return false;
}

bool route_conf_check(const struct shared_conf *conf, struct err *err)
{
    const struct route_conf *routes = conf->routes.items;
    const struct model_conf *models = conf->models.items;
    for (size_t i = 0; i < conf->routes.count; i++)
        if (!check_route(conf, &routes[i], err))
            return false;
    for (size_t i = 0; i < conf->models.count; i++)
        if (!check_fallback(conf, &models[i], err))
            return false;
    return check_default_route(conf, err);
}
