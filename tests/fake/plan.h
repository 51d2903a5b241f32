/*
 * plan.h -- how one call will be answered: what behave.c decides and call.c carries out.
 */
#ifndef FAKE_PLAN_H
#define FAKE_PLAN_H

#include "tests/fake/errors.h"
#include "tests/fake/pace.h"

enum manner {
    MANNER_ANSWER,
    MANNER_ERROR,     /* plan.status and plan.kind, in the vendor's words */
    MANNER_REDIRECT,  /* plan.status, to another host */
    MANNER_HANG,      /* never a byte */
    MANNER_GARBAGE,   /* 200, not JSON */
    MANNER_EMPTY,     /* 200, no choices */
    MANNER_ERROR200,  /* 200, an error object */
    MANNER_MIDSTREAM, /* an error after half of the stream; not streamed, as ERROR200 */
    MANNER_LENGTH,    /* stopped by the token limit */
};

/* What the answer says of its tokens. */
enum usage { USAGE_TRUE, USAGE_NONE, USAGE_NEGATIVE, USAGE_ABSURD, USAGE_TEXT };

/* How the answer says that it is complete. */
enum finish {
    FINISH_ONCE,
    FINISH_TWICE,   /* the last events come twice */
    FINISH_UNSAID,  /* no reason is given */
    FINISH_MISSING, /* the last event of the stream does not come */
    FINISH_NEVER,   /* the text does not end */
};

/* What is wrong with the frame of the answer. */
enum wire { WIRE_RIGHT, WIRE_LONG, WIRE_SHORT, WIRE_GZIP, WIRE_EARLY };

struct plan {
    enum manner manner;
    int status; /* 0 with MANNER_ERROR: the one that the vendor gives `kind` */
    enum error_kind kind;
    int retry_after_s; /* -1: no header */
    uint64_t delay_ms;
    size_t text_bytes; /* the answer is padded to this length; 0: as it is */
    struct pace pace;
    enum usage usage;
    enum finish finish;
    enum wire wire;
};

#endif
