/*
 * answer.c -- the step "answer": every model gets its slot, and the job waits for all of them.
 */
#include "common/base/must.h"
#include "worker/job.h"

enum verdict answer_begin(void *subject)
{
    struct job *job = subject;
    must_be(job, JOB_MAGIC);
    if (str_empty(job->id) || job->known || job->conflict)
        return STEP_NEXT;
    for (int i = 0; i < job->slot_count; i++) {
        walk_ask(&job->walk);
        walk_start(&job->slots[i].walk, &job->worker->slots, &job->slots[i]);
    }
    return STEP_WAIT;
}

/* A slot that was given up leaves the whole job unfinished: it will be read again. One that found
 * its id taken by another body sends the job back to be refused; the others have given up then. */
static bool is_left(const struct job *job)
{
    return !job->conflict || !job_owned(job) || job->worker->draining;
}

enum verdict answer_finish(void *subject)
{
    struct job *job = subject;
    for (int i = 0; i < job->slot_count; i++)
        if (job->slots[i].abandoned && is_left(job))
            return STEP_FAIL;
    return job->conflict && !job->burial ? STEP_BACK : STEP_NEXT;
}
