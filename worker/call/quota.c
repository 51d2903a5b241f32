/*
 * quota.c -- see quota.h.
 */
#include "worker/call/quota.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/map.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"
#include "worker/call/period.h"

enum {
    ID_BYTES_MAX = 512,
    MODELS_BYTES_MAX = 65536,
    TOKENS_SPARE = 100, /* one in so many is kept back */
    SILENT_MAX = 4      /* answers in a row without a learned limit: then it is forgotten */
};

static const struct told nothing_told = {{-1, -1}, {-1, -1}};

/* What a budget is in the configuration: by kind of period, in millionths of a dollar; 0: none. */
struct budgets {
    int64_t microusd[PERIOD_KINDS];
};

/* All entries of a key that have a budget. */
struct purse {
    struct map_node node;
    char *key_id;
    unsigned round;
    struct budgets budgets;
    struct buf models; /* their names, as PostgreSQL's array without its end */
};

struct tenant {
    struct map_node node;
    char *name;
    struct lease_rule rate, user_rate;
    struct budgets budgets;
};

struct quotas {
    struct limits *limits;
    struct postgres *pg;
    unsigned statement;
    unsigned round;   /* the configuration that is read */
    unsigned current; /* of limits: another day or another configuration is another one */
    struct map by_id, purses, tenants;
    struct tenant *otherwise; /* the item "default" */
    struct period periods[PERIOD_KINDS];
};

struct quota {
    struct map_node node;
    struct quotas *quotas;
    char *id, *name;
    struct purse *purse;      /* NULL: there is no budget */
    unsigned round;           /* the configuration its numbers are of */
    int64_t requests, tokens; /* a minute, by the configuration */
    bool learns;
    struct told told; /* by the provider's headers */
    unsigned silent;  /* answers in a row that did not say it */
    double price_input, price_output;
    struct estimate estimate;
    struct crowd crowd;
};

/* ---- the store ---- */

static void spent_told(const struct postgres_result *result, const struct err *err, void *context)
{
    bool good = !err && result->rows[0].count == 1;
    limit_seeded(context, good ? postgres_cell_i64(&result->rows[0], 0, 0) : -1);
}

/* The names of the models whose calls a key's budget pays. */
static struct str models_of(const struct quotas *quotas, struct str key_id, struct buf *array)
{
    struct map_node *node = map_find(&quotas->purses, key_id);
    if (node)
        buf_printf(array, STR_FMT,
                   STR_ARG(buf_str(&container_of(node, struct purse, node)->models)));
    else
        postgres_array_begin(array);
    postgres_array_end(array);
    return buf_str(array);
}

static void ask_spent(struct limit *limit, const struct limit_budget *budget, void *context)
{
    struct quotas *quotas = context;
    struct err err;
    struct buf array;
    buf_init(&array, MODELS_BYTES_MAX);
    struct str models =
        models_of(quotas, budget->of_tenant ? (struct str){0} : budget->owner, &array);
    const struct str params[] = {str_of(budget->first), str_of(budget->next),
                                 budget->of_tenant ? budget->owner : (struct str){0}, models};
    const struct postgres_query query = {
        .statement = quotas->statement, .params = params, .param_count = 4};
    if (!postgres_batch(quotas->pg, &query, 1, 0, spent_told, limit, &err))
        limit_seeded(limit, -1);
    buf_done(&array);
}

/* ---- configuration ---- */

struct quotas *quotas_new(const struct quotas_conf *conf)
{
    struct quotas *quotas = xzalloc(sizeof(*quotas));
    quotas->pg = conf->pg;
    quotas->statement = conf->statement;
    quotas->limits = limits_new(&(struct limits_conf){.loop = conf->loop,
                                                      .redis = conf->redis,
                                                      .key_prefix = conf->key_prefix,
                                                      .instance = conf->instance,
                                                      .unseeded = ask_spent,
                                                      .context = quotas});
    map_init(&quotas->by_id);
    map_init(&quotas->purses);
    map_init(&quotas->tenants);
    return quotas;
}

static void forget_tenants(struct quotas *quotas)
{
    for (struct map_node *node; (node = map_any(&quotas->tenants));) {
        struct tenant *tenant = container_of(node, struct tenant, node);
        map_remove(&quotas->tenants, node);
        free(tenant->name);
        free(tenant);
    }
    quotas->otherwise = NULL;
}

void quotas_free(struct quotas *quotas)
{
    if (!quotas)
        return;
    limits_free(quotas->limits);
    forget_tenants(quotas);
    for (struct map_node *node; (node = map_any(&quotas->by_id));) {
        struct quota *quota = container_of(node, struct quota, node);
        map_remove(&quotas->by_id, node);
        free(quota->id);
        free(quota->name);
        free(quota);
    }
    for (struct map_node *node; (node = map_any(&quotas->purses));) {
        struct purse *purse = container_of(node, struct purse, node);
        map_remove(&quotas->purses, node);
        buf_done(&purse->models);
        free(purse->key_id);
        free(purse);
    }
    map_done(&quotas->by_id);
    map_done(&quotas->purses);
    map_done(&quotas->tenants);
    free(quotas);
}

/* What is less than that is not none: nothing may be spent of it. */
static int64_t microusd(double dollars)
{
    int64_t rounded = dollars > 0 ? (int64_t)llround(dollars * 1e6) : 0;
    return dollars > 0 && rounded == 0 ? 1 : rounded;
}

/* Tokens are known when the answer is there: until then what was thought too few of is made up for
 * by what is kept back. */
static struct lease_rule rate_of(int64_t requests, int64_t tokens)
{
    return (struct lease_rule){.requests = requests,
                               .tokens = tokens - tokens / TOKENS_SPARE,
                               .window_ms = LIMIT_WINDOW_MS};
}

static bool is_some(const struct lease_rule *rule)
{
    return rule->requests || rule->tokens;
}

void quotas_begin(struct quotas *quotas, const struct conf_items *tenants)
{
    const struct tenant_conf *given = tenants->items;
    quotas->round++;
    quotas->current++;
    forget_tenants(quotas);
    for (size_t i = 0; i < tenants->count; i++) {
        struct tenant *tenant = xzalloc(sizeof(*tenant));
        tenant->name = xstrndup(given[i].name);
        tenant->rate = rate_of(given[i].requests_per_minute, given[i].tokens_per_minute);
        tenant->user_rate =
            rate_of(given[i].user_requests_per_minute, given[i].user_tokens_per_minute);
        tenant->budgets.microusd[PERIOD_DAY] = microusd(given[i].budget_day);
        tenant->budgets.microusd[PERIOD_MONTH] = microusd(given[i].budget_month);
        map_add(&quotas->tenants, &tenant->node, str_of(tenant->name));
        if (str_is(given[i].name, "default"))
            quotas->otherwise = tenant;
    }
}

void quotas_end(struct quotas *quotas)
{
    limits_wake_all(quotas->limits);
}

size_t quotas_limits(const struct quotas *quotas)
{
    return limits_count(quotas->limits);
}

static int64_t lower(int64_t a, int64_t b)
{
    return !a ? b : !b ? a : a < b ? a : b;
}

static struct purse *purse_of(struct quotas *quotas, const struct quota_spec *spec)
{
    const struct budgets budgets = {{microusd(spec->budget_day), microusd(spec->budget_month)}};
    struct map_node *node = map_find(&quotas->purses, spec->key_id);
    struct purse *purse = node ? container_of(node, struct purse, node) : NULL;
    if (!budgets.microusd[PERIOD_DAY] && !budgets.microusd[PERIOD_MONTH])
        return NULL;
    if (!purse) {
        purse = xzalloc(sizeof(*purse));
        purse->key_id = xstrndup(spec->key_id);
        buf_init(&purse->models, MODELS_BYTES_MAX);
        map_add(&quotas->purses, &purse->node, str_of(purse->key_id));
    }
    if (purse->round != quotas->round) {
        purse->budgets = (struct budgets){0};
        buf_clear(&purse->models);
        postgres_array_begin(&purse->models);
    }
    for (int i = 0; i < PERIOD_KINDS; i++)
        purse->budgets.microusd[i] = lower(purse->budgets.microusd[i], budgets.microusd[i]);
    postgres_array_add(&purse->models, spec->name);
    purse->round = quotas->round;
    return purse;
}

struct quota *quota_of(struct quotas *quotas, const struct quota_spec *spec)
{
    struct map_node *node = map_find(&quotas->by_id, spec->id);
    struct quota *quota = node ? container_of(node, struct quota, node) : NULL;
    if (!quota) {
        quota = xzalloc(sizeof(*quota));
        quota->quotas = quotas;
        quota->id = xstrndup(spec->id);
        quota->name = xstrndup(spec->name);
        crowd_init(&quota->crowd);
        quota->told = nothing_told;
        map_add(&quotas->by_id, &quota->node, str_of(quota->id));
    }
    bool again = quota->round == quotas->round;
    struct purse *purse = purse_of(quotas, spec);
    quota->purse = again && !purse ? quota->purse : purse;
    quota->requests = again ? lower(quota->requests, spec->requests) : spec->requests;
    quota->tokens = again ? lower(quota->tokens, spec->tokens) : spec->tokens;
    struct concurrency_rule *concurrency = &quota->crowd.rule;
    concurrency->max =
        again ? lower(concurrency->max, spec->concurrency.max) : spec->concurrency.max;
    concurrency->min =
        again ? lower(concurrency->min, spec->concurrency.min) : spec->concurrency.min;
    quota->learns = spec->learns;
    quota->price_input = spec->price_input;
    quota->price_output = spec->price_output;
    quota->round = quotas->round;
    return quota;
}

struct crowd *quota_crowd(struct quota *quota)
{
    return &quota->crowd;
}

bool quota_busy(const struct quota *quota)
{
    return limits_busy(quota->quotas->limits, str_of(quota->id));
}

struct limit *quota_short_rate(const struct quota *quota)
{
    return limits_short(quota->quotas->limits, str_of(quota->id));
}

bool quota_is_callers(const struct quota *quota, const struct limit *limit)
{
    return limit_is_money(limit) ? limit_budget(limit)->of_tenant
                                 : !str_is(limit_name(limit), quota->id);
}

/* ---- calls ---- */

static const struct tenant *tenant_of(const struct quotas *quotas, struct str name)
{
    struct map_node *node = quotas->tenants.count ? map_find(&quotas->tenants, name) : NULL;
    return node ? container_of(node, struct tenant, node) : quotas->otherwise;
}

static void add_rate(struct quotas *quotas, struct limit_place *place, const char *id,
                     const char *label, const struct lease_rule *rule)
{
    if (is_some(rule))
        place_add(place, limit_hold(quotas->limits, str_of(id), str_of(label), rule, NULL));
}

static void add_budgets(struct quotas *quotas, struct limit_place *place, bool of_tenant,
                        struct str owner, const struct budgets *budgets)
{
    static const char *const names[PERIOD_KINDS] = {"day", "month"};
    char id[ID_BYTES_MAX];
    for (int i = 0; i < PERIOD_KINDS; i++) {
        const struct period *period = &quotas->periods[i];
        const struct lease_rule rule = {
            .tokens = budgets->microusd[i], .window_ms = LIMIT_WINDOW_MS, .calendar = true};
        struct limit_budget budget = {.of_tenant = of_tenant, .owner = owner};
        if (!budgets->microusd[i])
            continue;
        snprintf(budget.first, sizeof(budget.first), "%s", period->first);
        snprintf(budget.next, sizeof(budget.next), "%s", period->next);
        snprintf(id, sizeof(id), "%s:%s:%s:" STR_FMT, names[i], period->first,
                 of_tenant ? "tenant" : "key", STR_ARG(owner));
        place_add(place, limit_hold(quotas->limits, str_of(id), STR("budgets"), &rule, &budget));
    }
}

static void renew_periods(struct quotas *quotas, int64_t wall_ms)
{
    struct period *day = &quotas->periods[PERIOD_DAY];
    if (wall_ms >= day->begins_ms && wall_ms < day->ends_ms)
        return;
    for (int i = 0; i < PERIOD_KINDS; i++)
        period_of((enum period_kind)i, wall_ms, &quotas->periods[i]);
    quotas->current++;
}

static void add_tenant(struct quotas *quotas, const struct quota_caller *caller,
                       struct limit_place *place)
{
    const struct tenant *tenant = tenant_of(quotas, caller->tenant);
    char id[ID_BYTES_MAX];
    if (!tenant)
        return;
    add_budgets(quotas, place, true, caller->tenant, &tenant->budgets);
    if (!str_empty(caller->user)) { /* the length, so that no two can be taken for one */
        snprintf(id, sizeof(id), "user:%zu:" STR_FMT ":" STR_FMT, caller->tenant.len,
                 STR_ARG(caller->tenant), STR_ARG(caller->user));
        add_rate(quotas, place, id, "(users)", &tenant->user_rate);
    }
    snprintf(id, sizeof(id), "tenant:" STR_FMT, STR_ARG(caller->tenant));
    add_rate(quotas, place, id, "(tenants)", &tenant->rate);
}

/* The configuration's word counts, the provider's where it says nothing. */
static struct lease_rule rate_now(const struct quota *quota)
{
    int64_t requests = quota->requests, tokens = quota->tokens;
    if (!requests && quota->learns && quota->told.requests.limit > 0)
        requests = quota->told.requests.limit;
    if (!tokens && quota->learns && quota->told.tokens.limit > 0)
        tokens = quota->told.tokens.limit;
    return rate_of(requests, tokens);
}

void quota_fill(struct quota *quota, const struct quota_caller *caller, struct limit_place *place)
{
    struct quotas *quotas = quota->quotas;
    if (place->waits_at)
        return;
    renew_periods(quotas, caller->wall_ms);
    if (place->count && place->current == quotas->current)
        return;
    place_leaves(place);
    place->current = quotas->current;
    place->estimate = &quota->estimate;
    place->price_input = quota->price_input;
    place->price_output = quota->price_output;
    if (quota->purse)
        add_budgets(quotas, place, false, str_of(quota->purse->key_id), &quota->purse->budgets);
    if (!PLANTED(55))
        add_tenant(quotas, caller, place);
    const struct lease_rule rate = rate_now(quota);
    add_rate(quotas, place, quota->id, quota->name, &rate);
}

static struct limit *rate_at(const struct quota *quota, const struct limit_place *place)
{
    struct limit *last = place->count ? place->holds[place->count - 1].limit : NULL;
    return last && str_is(limit_name(last), quota->id) ? last : NULL; /* by quota_fill() */
}

static bool says_limit(const struct told *told)
{
    return told->requests.limit > 0 || told->tokens.limit > 0;
}

/* It was said once, or by another server: whoever waits there would do so for as long as there are
 * requests. */
static void forget_told(struct quota *quota)
{
    quota->told = nothing_told;
    quota->silent = 0;
    quota->quotas->current++;
    quotas_end(quota->quotas);
}

void quota_told(struct quota *quota, struct limit_place *place, struct str headers)
{
    struct limit *limit = rate_at(quota, place);
    struct told told;
    told_read(headers, &told);
    if (!quota->learns)
        return;
    if (!says_limit(&told)) {
        if (says_limit(&quota->told) && ++quota->silent >= SILENT_MAX)
            forget_told(quota);
        return;
    }
    quota->silent = 0;
    quota->told = told;
    if (limit)
        limit_told(limit, &told);
}

void quota_refused(struct quota *quota, struct limit_place *place, int64_t pause_ms)
{
    struct limit *limit = rate_at(quota, place);
    if (limit)
        limit_refused(limit, pause_ms);
}

void quota_refusal(const struct quota *quota, const struct quota_caller *caller,
                   const struct limit_place *place, struct err *err)
{
    const struct limit_budget *budget = limit_budget(place->lacks);
    bool month = str_is(str_of(budget->first), quota->quotas->periods[PERIOD_MONTH].first) &&
                 str_is(str_of(budget->next), quota->quotas->periods[PERIOD_MONTH].next);
    const char *what = month ? "budget_month" : "budget_day";
    if (budget->of_tenant)
        err_set(err, ERR_BUDGET,
                "what is left of '%s' of tenant '" STR_FMT
                "' is not enough for this request; it begins anew at %sT00:00:00Z",
                what, STR_ARG(caller->tenant), budget->next);
    else
        err_set(err, ERR_BUDGET,
                "what is left of '%s' of the provider key of model '%s' is not enough for this "
                "request; it begins anew at %sT00:00:00Z",
                what, quota->name, budget->next);
}

void quota_settle(struct quota *quota, struct limit_place *place, const struct usage *usage,
                  int64_t cost, bool is_free)
{
    place_settles(place, usage->input + usage->output, cost > 0 ? cost : 0, is_free);
    estimate_learn(&quota->estimate, place->bytes, usage->input, usage->output);
}
