/*
 * stubs.c -- see stubs.h.
 */
#include "worker/intake/stubs.h"

#include <stdlib.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

enum { PIECE_STUBS = 255 };

struct stub_piece {
    struct stub_piece *next;
    uint32_t from, to; /* of the items, those that are in the queue */
    struct stub items[PIECE_STUBS];
};

void stubs_push(struct stubs *stubs, const struct stub *stub)
{
    if (!stubs->last || stubs->last->to == PIECE_STUBS) {
        struct stub_piece *piece = xrealloc(NULL, sizeof(*piece)) /* not zeroed */;
        piece->next = NULL;
        piece->from = piece->to = 0;
        if (stubs->last)
            stubs->last->next = piece;
        else
            stubs->first = piece;
        stubs->last = piece;
    }
    stubs->last->items[stubs->last->to++] = *stub;
    stubs->count++;
}

const struct stub *stubs_first(const struct stubs *stubs)
{
    return stubs->count ? &stubs->first->items[stubs->first->from] : NULL;
}

struct stub stubs_pop(struct stubs *stubs)
{
    must(stubs->count > 0);
    struct stub_piece *piece = stubs->first;
    struct stub stub = piece->items[piece->from++];
    stubs->count--;
    if (piece->from == piece->to) {
        stubs->first = piece->next;
        if (!stubs->first)
            stubs->last = NULL;
        free(piece);
    }
    return stub;
}
