/*
 * resume.h -- what the output file of an earlier run tells: which lines are done.
 */
#ifndef QUERN_PRODUCER_BATCH_RESUME_H
#define QUERN_PRODUCER_BATCH_RESUME_H

#include "common/base/err.h"
#include "producer/batch/seen.h"

struct resume {
    struct seen done; /* names of output.h */
    int64_t lines, failed;
    int64_t cut_bytes; /* of a last line without an end, taken off the file */
};

/* Reads the file and cuts off a last line that is not complete. A file that is not there is an
 * empty one. ERR_USAGE when a line is no output of a batch: then it is somebody else's file. */
bool resume_read(const char *path, struct resume *ret, struct err *err);
void resume_done(struct resume *resume);

#endif
