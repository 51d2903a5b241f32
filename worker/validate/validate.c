/*
 * validate.c -- a slot's step "validate": is the answer fit to be passed on?
 *
 * For chat an answer is fit when it is text in valid UTF-8 within the size limit.
 */
#include "common/base/must.h"
#include "worker/job.h"

enum verdict validate_begin(void *subject)
{
    struct slot *slot = subject;
    must_be(slot, SLOT_MAGIC);
    if (slot->err.code || slot->claim == CLAIM_KEPT)
        return STEP_NEXT;
    if (!str_utf8_valid(slot->answer.text))
        err_set(&slot->err, ERR_PROVIDER_BAD_REPLY, "the answer is not valid UTF-8");
    else if (slot->answer.text.len > (size_t)slot->job->worker->conf->reply_bytes_max)
        err_set(&slot->err, ERR_TOO_BIG, "the answer has %zu bytes, at most %lld are passed on",
                slot->answer.text.len, (long long)slot->job->worker->conf->reply_bytes_max);
    else
        job_overflowed(slot->job, &slot->err);
    return STEP_NEXT;
}
