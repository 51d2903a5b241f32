/*
 * origin.h -- an HTTP server in a thread, for the real stage: every connection carries one call,
 * which is answered as the stage said last.
 */
#ifndef QUERN_TESTS_CONTRACT_ORIGIN_H
#define QUERN_TESTS_CONTRACT_ORIGIN_H

#include "tests/contract/stage.h"

struct origin;

struct origin *origin_new(void);
void origin_free(struct origin *origin); /* takes NULL */
void origin_answers(struct origin *origin, struct stage_reply reply);
struct str origin_url(const struct origin *origin);
size_t origin_calls(struct origin *origin);

#endif
