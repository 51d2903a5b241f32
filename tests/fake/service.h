/*
 * service.h -- what the fake provider serves: routes, keys, and the state behind them.
 *
 *     POST /v1/chat/completions /v1/messages /api/chat ...               call.c
 *     GET  /v1/models /healthz /ledger /ledger/summary /ledger/limits    admin.c
 *     GET, POST /control; POST /control/reset                            control.c
 *
 * To add a route: a function and a row in `routes` (service.c).
 */
#ifndef FAKE_SERVICE_H
#define FAKE_SERVICE_H

#include "tests/fake/behave.h"
#include "tests/fake/limit.h"
#include "tests/fake/prompt.h"
#include "tests/fake/server.h"

#define KEYS_MAX 64

struct service {
    struct server *server; /* set once it listens */
    struct ledger *ledger;
    struct limits *limits;
    struct behave behave;
    const char *keys[KEYS_MAX];
    size_t keys_len; /* 0: every key, and none, will do */
};

/* For server_new(). */
struct server_service service_door(struct service *service);

/* The answer to everything that is not a call of the vendors' forms. */
void service_error(struct answer *answer, int status, const char *text);

/* Where a call came in. */
struct door {
    const char *path; /* for the ledger */
    enum dialect dialect;
    enum vendor vendor;      /* OPENAI: the model's name may say otherwise */
    struct slice deployment; /* the model, when it stands in the path */
};

void call_serve(struct service *service, const struct door *door,
                const struct http_request *request, struct moment now, struct answer *answer);

/* The key a client presented, in the vendor's header; `len` 0 when there is none. */
struct slice call_key(enum vendor vendor, const struct http_request *request);
bool call_key_accepted(const struct service *service, struct slice key);

void admin_models(struct service *service, const struct http_request *request,
                  struct answer *answer);
void admin_health(struct service *service, const struct http_request *request,
                  struct answer *answer);
void admin_ledger(struct service *service, const struct http_request *request,
                  struct answer *answer);
void admin_summary(struct service *service, const struct http_request *request,
                   struct answer *answer);
void admin_limits(struct service *service, const struct http_request *request,
                  struct answer *answer);
void control_show(struct service *service, const struct http_request *request,
                  struct answer *answer);
void control_set(struct service *service, const struct http_request *request,
                 struct answer *answer);
void control_reset(struct service *service, const struct http_request *request,
                   struct answer *answer);

#endif
