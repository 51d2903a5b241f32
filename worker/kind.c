/*
 * kind.c -- see kind.h.
 */
#include "worker/kind.h"

#include "common/base/must.h"

static bool has_embeddings(const struct model *model)
{
    return model->provider->embed != NULL;
}

static const struct kind kinds[] = {
    {.name = "chat", .prompt = prompt_chat, .validate = validate_text},
    {.name = "embed",
     .can = has_embeddings,
     .lacks = "embeddings",
     .who = provider_embedding_names,
     .prompt = prompt_embed,
     .validate = validate_vectors,
     .when_too_big = "ask for fewer texts in one request, or for fewer dimensions"},
};

const struct kind *kind_find(struct str name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (str_is(name, kinds[i].name))
            return &kinds[i];
    must_not_reach("kind of request");
}

static bool check_route(const struct job *job, const struct kind *kind, struct err *err)
{
    const struct route *route = job->route;
    char names[PROVIDER_NAMES_BYTES];
    for (size_t i = 0; i < route->counts[ROUTE_MAIN]; i++)
        if (kind->can(route->models[ROUTE_MAIN][i].model))
            return true;
    kind->who(names);
    err_set(err, ERR_INVALID_REQUEST,
            "no model of the route has %s; a route for kind %s needs models of %s", kind->lacks,
            kind->name, names);
    return false;
}

bool kind_check_models(const struct job *job, struct err *err)
{
    const struct kind *kind = job->kind;
    char names[PROVIDER_NAMES_BYTES];
    if (!kind->can)
        return true;
    if (job->route)
        return check_route(job, kind, err);
    for (size_t i = 0; i < job->request.models.count; i++) {
        const struct model *model = model_find(job->models, job->request.models.items[i]);
        if (kind->can(model))
            continue;
        kind->who(names);
        err_set(err, ERR_INVALID_REQUEST,
                "provider '%s' of model '" STR_FMT "' has no %s; use a model of %s",
                model->provider->name, STR_ARG(str_utf8_cut(model->dialect.name, 100)), kind->lacks,
                names);
        return false;
    }
    return true;
}
