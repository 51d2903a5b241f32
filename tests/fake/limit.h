/*
 * limit.h -- requests and tokens per window, for each API key and model: exact, over a window that
 * slides.
 *
 * A rule limits every pair of key and model that it fits; each pair is metered for itself, by the
 * first rule that fits. A meter remembers every call it let in with its moment (microseconds), and
 * lets go of it when it is a whole window old: no buckets, so a checker that adds up what it was
 * answered gets the same sums. What is refused takes nothing from the window.
 *
 * Tokens are counted in one of two ways. Actual: the input when the call is let in, the output when
 * it was given, at that moment; so the sum may come to lie above the limit, and then nobody gets in
 * until it is below again. Estimate: input and the most output the request allows, when it is let
 * in; nothing later.
 *
 * Meters live until the rules change. 16 bytes per call in the window; without a rule, nothing.
 */
#ifndef FAKE_LIMIT_H
#define FAKE_LIMIT_H

#include "tests/fake/buf.h"

#include <stdint.h>

#define LIMIT_RULES_MAX  64
#define LIMIT_METERS_MAX 4096 /* pairs beyond are let in uncounted */
#define LIMIT_NAME_MAX   255
#define LIMIT_WINDOW_MS  60000

struct limit_rule {
    char key[LIMIT_NAME_MAX + 1];   /* empty: every key, and none */
    char model[LIMIT_NAME_MAX + 1]; /* empty: every model */
    uint64_t requests, tokens;      /* in a window; 0: only counted */
    uint64_t window_ms;
    bool estimate; /* how tokens are counted */
    bool silent;   /* no headers tell of it */
};

/* Who asks for how much. */
struct limit_call {
    struct slice key, model;
    uint64_t input_tokens;
    uint64_t output_tokens_max; /* as the request allows; 0: it does not say */
    uint64_t now_us;
};

struct limit_side {
    uint64_t limit;    /* 0: none */
    uint64_t used;     /* this call included, when it was let in */
    uint64_t reset_ms; /* until nothing of it is left in the window */
};

struct limit_verdict {
    uint32_t meter; /* 0: no rule fits, and nothing below counts */
    bool refused;
    bool by_tokens; /* why it was refused */
    bool never;     /* it asks for more than the limit in one */
    bool silent;
    uint64_t asked;   /* tokens */
    uint64_t wait_ms; /* a refused call would be let in after this long */
    struct limit_side requests, tokens;
};

struct limits;

struct limits *limits_new(void);
void limits_free(struct limits *limits);

/* Replaces all rules and forgets all meters. */
void limits_set(struct limits *limits, const struct limit_rule *rules, size_t len);
size_t limits_rules(const struct limits *limits, const struct limit_rule **ret);

/* Empties windows and counts. */
void limits_reset(struct limits *limits);

void limits_admit(struct limits *limits, const struct limit_call *call, struct limit_verdict *ret);

/* The output of a call let in by `meter` was given. */
void limits_output(struct limits *limits, uint32_t meter, uint64_t tokens, uint64_t now_us);

/* {"limits":[...]}, an object per meter. */
void limits_print(struct limits *limits, uint64_t now_us, struct buf *out);

/* A rule with the defaults. */
struct limit_rule limit_rule_new(void);

/* "key=K,model=M,requests=N,tokens=N,window=MS,count=actual|estimate,silent". */
bool limit_rule_parse(const char *text, struct limit_rule *ret);
void limit_rule_print(const struct limit_rule *rule, struct buf *out);

#endif
