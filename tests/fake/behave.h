/*
 * behave.h -- decides how a call is answered: when, with which status, and in what odd manner.
 *
 * The model's name comes first (`fake-429`, `fake-slow-200`, ...), so that a test which names
 * its fault always gets it; other models draw from the error rates. Draws come from one seeded
 * generator in order of arrival.
 *
 * The names are rows of trouble.c.
 */
#ifndef FAKE_BEHAVE_H
#define FAKE_BEHAVE_H

#include "tests/fake/seen.h"
#include "tests/fake/trouble.h"

#define RATES_MAX    16
#define REDIRECT_MAX 255

struct latency {
    enum { LATENCY_FIXED, LATENCY_LOGNORMAL } kind;
    double ms; /* or the median */
    double sigma;
};

struct behave_conf {
    struct latency latency;
    struct {
        int status;
        double rate;
    } rates[RATES_MAX];
    size_t rates_len;
    struct {
        char name[TROUBLE_NAME_MAX + 1]; /* as a model's */
        double rate;
    } troubles[RATES_MAX]; /* drawn after the errors */
    size_t troubles_len;
    int retry_after_s;                       /* -1: no header */
    uint32_t first_token_ms, chunk_delay_ms; /* of streams */
    enum vendor vendor; /* of /v1/chat/completions, where the model's name says nothing */
    char redirect[REDIRECT_MAX + 1]; /* scheme and host that redirects lead to */
};

struct behave {
    struct behave_conf conf;
    uint64_t random;
    struct seen attempts;
};

void behave_init(struct behave *behave, const struct behave_conf *conf, uint64_t seed,
                 size_t attempts_max);
void behave_done(struct behave *behave);
void behave_seed(struct behave *behave, uint64_t seed);

/* `attempt_key` is the same for all attempts at one thing. */
void behave_plan(struct behave *behave, struct slice model, uint64_t attempt_key, struct plan *ret);

/* Forgets how often each thing was tried. */
void behave_reset(struct behave *behave);

/* "0", "500", "500ms", "lognormal:MEDIAN_MS,SIGMA". */
bool latency_parse(const char *text, struct latency *ret);
void latency_print(const struct latency *latency, struct buf *out);

/* Replaces the rate of `status`; a rate of 0 removes it. False when out of bounds: status 400 to
 * 599, rates 0 to 1, their sum at most 1, at most RATES_MAX of them. */
bool behave_rate(struct behave_conf *conf, int status, double rate);

/* Adds a trouble by the name of its model. False when there is none of that name, for a rate out of
 * bounds, and when there are RATES_MAX already. */
bool behave_trouble(struct behave_conf *conf, struct slice name, double rate);

#endif
