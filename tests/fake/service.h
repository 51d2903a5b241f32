/*
 * service.h -- what the fake provider serves: routes, keys, and the state behind them.
 *
 *     POST /v1/chat/completions /v1/messages /api/chat /api/generate     call.c
 *     GET  /v1/models /healthz /ledger /ledger/summary /control          admin.c
 *     POST /control /control/reset                                       admin.c
 *
 * To add a route: a function and a row in `routes` (service.c).
 */
#ifndef FAKE_SERVICE_H
#define FAKE_SERVICE_H

#include "tests/fake/behave.h"
#include "tests/fake/prompt.h"
#include "tests/fake/server.h"

#define KEYS_MAX 64

struct service {
    struct server *server; /* set once it listens */
    struct ledger *ledger;
    struct behave behave;
    const char *keys[KEYS_MAX];
    size_t keys_len; /* 0: every key, and none, will do */
};

/* For server_new(). */
struct server_service service_door(struct service *service);

/* The answer to everything that is not a call of the vendors' forms. */
void service_error(struct answer *answer, int status, const char *text);

void call_serve(struct service *service, enum dialect dialect, const char *path,
                const struct http_request *request, struct moment now, struct answer *answer);

/* The key a client presented, in the vendor's header; `len` 0 when there is none. */
struct slice call_key(enum dialect dialect, const struct http_request *request);
bool call_key_accepted(const struct service *service, struct slice key);

void admin_models(struct service *service, const struct http_request *request,
                  struct answer *answer);
void admin_health(struct service *service, const struct http_request *request,
                  struct answer *answer);
void admin_ledger(struct service *service, const struct http_request *request,
                  struct answer *answer);
void admin_summary(struct service *service, const struct http_request *request,
                   struct answer *answer);
void admin_control(struct service *service, const struct http_request *request,
                   struct answer *answer);
void admin_control_set(struct service *service, const struct http_request *request,
                       struct answer *answer);
void admin_reset(struct service *service, const struct http_request *request,
                 struct answer *answer);

#endif
