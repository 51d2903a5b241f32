/*
 * members.h -- the members of a document one after the other, in its bytes, without reading all of
 * it. Pure.
 *
 * It walks over the bytes once, makes nothing and does not recurse; it is not a check. What stands
 * inside a value is only stepped over, so a document is walked to its end that no parser takes: one
 * that nests without end, or holds bytes that are no text. False always means: this is not what
 * was expected there, or the bytes end too early; the view then stands anywhere.
 */
#ifndef QUERN_WORKER_INTAKE_MEMBERS_H
#define QUERN_WORKER_INTAKE_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

/* What is left of the bytes. */
struct view {
    const unsigned char *at, *end;
};

static inline struct view view_of(struct str bytes)
{
    const unsigned char *from = (const unsigned char *)bytes.data;
    return (struct view){from, from + bytes.len};
}

/* Takes the member's value off the view, or says false, which ends the walk. A name of JSON is as
 * it stands there, escapes included. */
typedef bool members_each(struct view *v, struct str name, void *context);

/* JSON. The next character that is no blank, -1 at the end. */
int json_peek(struct view *v);
/* A string as it stands there, escapes included. */
bool json_string(struct view *v, struct str *ret);
bool json_skip(struct view *v);
bool json_members(struct view *v, members_each *each, void *context);

/* MessagePack. A head: what follows it in bytes, and how many values it holds. */
struct pack_head {
    unsigned char tag;
    uint64_t number; /* of an integer; a length; a count */
    bool is_map, is_text, is_int;
    uint64_t bytes, values;
};
bool pack_head(struct view *v, struct pack_head *ret);
bool pack_text(struct view *v, struct str *ret);
bool pack_skip(struct view *v);
bool pack_members(struct view *v, members_each *each, void *context);

#endif
