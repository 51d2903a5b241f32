/*
 * anthropic.h -- what whole replies and streams of Anthropic's Messages share.
 */
#ifndef QUERN_WORKER_CALL_PROVIDERS_ANTHROPIC_H
#define QUERN_WORKER_CALL_PROVIDERS_ANTHROPIC_H

#include "common/base/str.h"

/* Their stop_reason in our words; one that is new to us stays as it is. */
struct str anthropic_finish_reason(struct str theirs);

#endif
