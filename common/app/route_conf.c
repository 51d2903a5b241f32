/*
 * route_conf.c -- the rows of one route, and what a table cannot check of routes and fallbacks.
 */
#include <stdio.h>

#include "common/app/shared_conf.h"

enum {
    MODEL_NAME_BYTES_MAX = 128,
    ROUTE_MODELS_MAX = 16,
    WEIGHT_MAX = 1000000,
    KEY_BYTES_MAX = 384
};

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

/* A list of models' names: one of a route, or the fallback of a model. */
struct model_names {
    const struct shared_conf *conf;
    const struct conf_strs *names;
    struct str key; /* "routes.NAME.models" */
    bool weights;
    const struct conf_places *places;
    struct err *err;
};

static struct str name_of(const struct model_names *list, size_t i)
{
    double weight;
    return list->weights ? route_conf_model(list->names->items[i], &weight) : list->names->items[i];
}

static bool check_weight(const struct model_names *list, size_t i, struct str key)
{
    double weight = 1;
    if (list->weights)
        route_conf_model(list->names->items[i], &weight);
    return weight >= 0 || conf_refuse(list->places, key, list->err,
                                      "must be a model, or a model and its weight from 0 to %d, "
                                      "as in large=3; is '" STR_FMT "'",
                                      WEIGHT_MAX, STR_ARG(str_utf8_cut(list->names->items[i], 80)));
}

/* "routes.NAME.models[2]" */
static struct str nth_key(const struct model_names *list, size_t i, char room[KEY_BYTES_MAX])
{
    snprintf(room, KEY_BYTES_MAX, STR_FMT "[%zu]", STR_ARG(list->key), i);
    return str_of(room);
}

static bool check_once(const struct model_names *list, size_t i, struct str key)
{
    char room[KEY_BYTES_MAX];
    for (size_t k = 0; k < i; k++) {
        struct str first = nth_key(list, k, room);
        if (str_eq(name_of(list, k), name_of(list, i)))
            return conf_refuse(list->places, key, list->err,
                               "names '" STR_FMT "' a second time, the first is %s%s",
                               STR_ARG(str_utf8_cut(name_of(list, i), 80)), room,
                               conf_aside(list->places, first).text);
    }
    return true;
}

static bool check_list(const struct model_names *list)
{
    char key[KEY_BYTES_MAX];
    if (list->names->count > ROUTE_MODELS_MAX)
        return conf_refuse(list->places, list->key, list->err, "has more than %d models",
                           ROUTE_MODELS_MAX);
    for (size_t i = 0; i < list->names->count; i++) {
        struct str name = name_of(list, i), at = nth_key(list, i, key);
        if (!check_weight(list, i, at))
            return false;
        if (!shared_conf_has_model(list->conf, name))
            return shared_conf_refuse_model(list->conf, at, name, list->places, list->err);
        if (!check_once(list, i, at))
            return false;
    }
    return true;
}

static struct str member_key(const char *section, struct str name, const char *member,
                             char room[KEY_BYTES_MAX])
{
    snprintf(room, KEY_BYTES_MAX, "%s." STR_FMT ".%s", section, STR_ARG(name), member);
    return str_of(room);
}

static bool check_route(const struct shared_conf *conf, const struct route_conf *route,
                        const struct conf_places *places, struct err *err)
{
    const struct {
        const char *member;
        const struct conf_strs *names;
    } lists[] = {{"models", &route->models},
                 {"context_models", &route->context_models},
                 {"filter_models", &route->filter_models}};
    char key[KEY_BYTES_MAX];
    if (conf_has_control(route->name) || route->name.len > MODEL_NAME_BYTES_MAX)
        return conf_refuse(places, member_key("routes", route->name, "name", key), err,
                           "must be at most 128 bytes without line breaks");
    if (!route->models.count)
        return conf_refuse(places, member_key("routes", route->name, "models", key), err,
                           "is empty: name at least one model");
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        const struct model_names list = {
            .conf = conf,
            .names = lists[i].names,
            .key = member_key("routes", route->name, lists[i].member, key),
            .weights = i == 0,
            .places = places,
            .err = err};
        if (!check_list(&list))
            return false;
    }
    return true;
}

static bool check_fallback(const struct shared_conf *conf, const struct model_conf *model,
                           const struct conf_places *places, struct err *err)
{
    char room[KEY_BYTES_MAX], key[KEY_BYTES_MAX];
    const struct model_names list = {.conf = conf,
                                     .names = &model->fallback,
                                     .key = member_key("models", model->name, "fallback", room),
                                     .places = places,
                                     .err = err};
    for (size_t i = 0; i < model->fallback.count; i++)
        if (str_eq(model->fallback.items[i], model->name))
            return conf_refuse(places, nth_key(&list, i, key), err, "names the model itself");
    return check_list(&list);
}

static bool refuse_route(const struct shared_conf *conf, const struct conf_places *places,
                         struct err *err)
{
    const struct route_conf *routes = conf->routes.items;
    struct str name = conf->default_route, near = {NULL, 0};
    unsigned best = name.len < 6 ? 2 : 4;
    char key[KEY_BYTES_MAX] = "routes";
    for (size_t i = 0; i < conf->routes.count; i++) {
        unsigned distance = str_distance(routes[i].name, name);
        if (distance > best || distance >= name.len)
            continue;
        best = distance;
        near = routes[i].name;
        snprintf(key, sizeof(key), "routes." STR_FMT, STR_ARG(near));
    }
    return conf_refuse(places, STR("default_route"), err,
                       "names the route '" STR_FMT "', which is not configured%s" STR_FMT "%s%s",
                       STR_ARG(str_utf8_cut(name, 80)), near.data ? ", did you mean '" : "",
                       STR_ARG(near), near.data ? "'?" : "", conf_aside(places, str_of(key)).text);
}

static bool check_default_route(const struct shared_conf *conf, const struct conf_places *places,
                                struct err *err)
{
    const struct route_conf *routes = conf->routes.items;
    if (str_empty(conf->default_route))
        return true;
    if (!str_empty(conf->default_model))
        return conf_refuse(places, STR("default_route"), err,
                           "and 'default_model'%s are both set: a request that names nothing can "
                           "have only one of them",
                           conf_aside(places, STR("default_model")).text);
    for (size_t i = 0; i < conf->routes.count; i++)
        if (str_eq(routes[i].name, conf->default_route))
            return true;
    return refuse_route(conf, places, err);
}

bool route_conf_check(const struct shared_conf *conf, const struct conf_places *places,
                      struct err *err)
{
    const struct route_conf *routes = conf->routes.items;
    const struct model_conf *models = conf->models.items;
    for (size_t i = 0; i < conf->routes.count; i++)
        if (!check_route(conf, &routes[i], places, err))
            return false;
    for (size_t i = 0; i < conf->models.count; i++)
        if (!check_fallback(conf, &models[i], places, err))
            return false;
    return check_default_route(conf, places, err);
}
