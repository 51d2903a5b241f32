/*
 * memo.h -- what a request that lets go of its place must not forget of its calls (put_off.h): it
 * is made when it leaves, and call_recall() reads it when it begins anew.
 */
#ifndef QUERN_WORKER_CALL_MEMO_H
#define QUERN_WORKER_CALL_MEMO_H

#include "worker/job.h"

/* Becomes job->memo, in place of the one that it came with. */
void memo_make(struct job *job);

#endif
