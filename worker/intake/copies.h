/*
 * copies.h -- a record in a piece of memory of its own.
 *
 * The library's messages share the buffer of a whole fetch, so one of them that is kept for long
 * keeps a thousand times its size; a copy keeps itself.
 */
#ifndef QUERN_WORKER_INTAKE_COPIES_H
#define QUERN_WORKER_INTAKE_COPIES_H

#include "common/io/kafka.h"

/* What a copy needs, in bytes. */
size_t copy_bytes(const struct kafka_record *record);
/* One block of malloc with all of it but the topic's name, which must stay, and the library's
 * handle; let go of by free().
 */
struct kafka_record *copy_make(const struct kafka_record *record, const char *topic);

#endif
