/*
 * embed.h -- what the vendors' embeddings share: texts out, vectors in. Pure.
 *
 * A vector comes as base64 of 32-bit floats or as a list of numbers, and leaves as the former
 * (common/data/floats.h). Nothing is passed on that is not whole: there is one vector per text, all
 * of one length, which is the one that was asked for, and all numbers are finite. Else the reply is
 * provider_bad_reply.
 */
#ifndef QUERN_WORKER_CALL_EMBED_H
#define QUERN_WORKER_CALL_EMBED_H

#include "worker/call/provider.h"

/* Numbers in a vector; as many as fit into a row of schemas/result.def. */
#define EMBED_DIMENSIONS_MAX 24576

/* "input":["..",..] */
void embed_write_inputs(struct json_writer *json, const struct prompt *prompt);

/* Vectors of a reply, as they come. */
struct embed_vectors {
    const struct prompt *prompt;
    struct arena *arena;
    struct str *texts; /* by place; absent: did not come yet */
    size_t dimensions; /* 0: none came yet */
    float *numbers;    /* of one, while it is put into its form */
};

/* False: `list` is no list of as many vectors as there are texts. */
bool embed_begin(struct embed_vectors *vectors, const struct prompt *prompt,
                 const struct value *list, struct arena *arena, struct err *err);
/* The vector of the text at that place, from 0; each place once. */
bool embed_put(struct embed_vectors *vectors, int64_t place, const struct value *vector,
               struct err *err);
/* After as many vectors as there are texts. */
void embed_end(const struct embed_vectors *vectors, struct answer *ret);

#endif
