/*
 * quota.h -- which limits hold for a call: those of its model and provider key, of its tenant and
 * of its user, and the budgets in money of the tenant and of the key, a day's and a month's.
 *
 * A quota belongs to provider, address, key and the provider's name of the model; entries of the
 * configuration that have all of these in common share it, and the lower numbers count. It lives as
 * long as the process, and with it what was learned of the tokens of its answers. The limits
 * themselves are made when a call needs them (limit.h).
 *
 * A budget begins anew with its day or month, in UTC: that is another limit, with another name.
 */
#ifndef QUERN_WORKER_CALL_QUOTA_H
#define QUERN_WORKER_CALL_QUOTA_H

#include "common/app/shared_conf.h"
#include "common/contract/contract.h"
#include "common/io/postgres.h"
#include "worker/call/crowd.h"
#include "worker/call/place.h"

struct quotas; /* all of a worker */
struct quota;

struct quotas_conf {
    struct loop *loop;
    struct redis *redis;
    struct postgres *pg; /* knows what was spent, when Redis does not */
    unsigned statement;  /* that asks it: first day, day behind the last, tenant, models */
    struct str key_prefix, instance; /* of keys in Redis; our name there, a text that stays */
};

struct quotas *quotas_new(const struct quotas_conf *conf);
void quotas_free(struct quotas *quotas); /* behind redis_free(); takes NULL */
/* A configuration begins: its tenants, and the numbers of quota_of(), count from now on. */
void quotas_begin(struct quotas *quotas, const struct conf_items *tenants);
/* It is told; whoever waits asks again. */
void quotas_end(struct quotas *quotas);
/* How many limits there are at the moment. */
size_t quotas_limits(const struct quotas *quotas);

struct quota_spec {
    struct str id;            /* of provider, address, key and model */
    struct str key_id;        /* of provider, address and key. Nothing in them may be secret */
    struct str name;          /* of the entry in `models` */
    int64_t requests, tokens; /* a minute; 0: no limit */
    double budget_day, budget_month; /* dollars; 0: none */
    double price_input, price_output;
    struct concurrency_rule concurrency;
    bool learns; /* limits from the provider's headers */
};
struct quota *quota_of(struct quotas *quotas, const struct quota_spec *spec);

/* Others wait for its rate already. */
bool quota_busy(const struct quota *quota);
/* Its rate, if nothing of that is at hand; else NULL. */
struct limit *quota_short_rate(const struct quota *quota);
/* A limit of the tenant or his user: it holds for whatever he asks. */
bool quota_is_callers(const struct quota *quota, const struct limit *limit);
/* Its calls in flight in this process. */
struct crowd *quota_crowd(struct quota *quota);

/* Whose call it is. */
struct quota_caller {
    struct str tenant, user;
    int64_t wall_ms;
};
/* The limits that hold for such a call; nothing is done while it waits for one of them. */
void quota_fill(struct quota *quota, const struct quota_caller *caller, struct limit_place *place);
/* Why place_asks() refused. */
void quota_refusal(const struct quota *quota, const struct quota_caller *caller,
                   const struct limit_place *place, struct err *err);
/* What became of the call: its tokens and its cost (INT_ABSENT: there is no price). */
void quota_settle(struct quota *quota, struct limit_place *place, const struct usage *usage,
                  int64_t cost, bool is_free);
/* The headers of a reply that speak of rate limits (reset.h), absent when an answer has none.
 * Limits that the configuration leaves open are learned from them, and forgotten when answers do
 * not say them any more; where less is left than we know of, the fleet is told. The call is not
 * settled yet. */
void quota_told(struct quota *quota, struct limit_place *place, struct str headers);
/* The provider itself says that it is too much for this key and model: the fleet rests. The call is
 * not settled yet. */
void quota_refused(struct quota *quota, struct limit_place *place, int64_t pause_ms);

#endif
