/*
 * respond.h -- a call that was checked and planned, and the answer it gets.
 */
#ifndef FAKE_RESPOND_H
#define FAKE_RESPOND_H

#include "tests/fake/plan.h"
#include "tests/fake/prompt.h"
#include "tests/fake/service.h"

struct call {
    struct service *service;
    const struct door *door;
    enum vendor vendor;
    const struct http_request *request;
    struct moment now;
    struct answer *answer;
    struct prompt prompt;
    struct slice key;
    struct plan plan;
    struct limit_verdict limit;
};

/* An error; `facts->text` NULL: in the vendor's words. */
void respond_error(struct call *call, const struct error_facts *facts);

/* Whatever the plan says. */
void respond(struct call *call, struct slice text);

#endif
