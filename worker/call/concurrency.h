/*
 * concurrency.h -- how many calls at once a model bears, learned from how they fare. Pure.
 *
 * Between a lowest and a highest number: one more for as many calls that went well as are allowed
 * now (while so many are wanted at all), three tenths less when the provider says that it is
 * overloaded (429, 503, a time-out), a tenth less when answers take twice as long as they did when
 * they were fastest. Of the calls of one crowd only the first bad word counts: the others were
 * under way already. It begins at the highest number, which is never exceeded.
 */
#ifndef QUERN_WORKER_CALL_CONCURRENCY_H
#define QUERN_WORKER_CALL_CONCURRENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct concurrency_rule {
    int64_t min, max; /* max 0: any number */
};

enum concurrency_news {
    CONCURRENCY_WELL,       /* it was answered */
    CONCURRENCY_OVERLOADED, /* it was too much for the provider */
    CONCURRENCY_NOTHING     /* it says nothing of that */
};

struct concurrency {
    double limit;             /* 0: not begun */
    int64_t inside;           /* calls in flight */
    double usual_ms, best_ms; /* moving mean of what answers take, and the lowest it was lately */
    unsigned answers;         /* seen so far, up to what a mean needs */
    int64_t lowered_ms;       /* calls that began before say nothing new */
};

/* How many more may begin. */
size_t concurrency_room(const struct concurrency *c, const struct concurrency_rule *rule);
void concurrency_began(struct concurrency *c);
/* `took_ms`: until the first token where that is known. */
void concurrency_ended(struct concurrency *c, const struct concurrency_rule *rule,
                       enum concurrency_news news, int64_t began_ms, int64_t took_ms,
                       int64_t now_ms);
/* Calls that end in a second while all of it is used; as if each took one, while nothing is known.
 */
size_t concurrency_per_second(const struct concurrency *c, const struct concurrency_rule *rule);
/* What it has come to; the highest at first. */
int64_t concurrency_limit(const struct concurrency *c, const struct concurrency_rule *rule);

#endif
