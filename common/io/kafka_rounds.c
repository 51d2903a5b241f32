/*
 * kafka_rounds.c -- see kafka_rounds.h.
 */
#include "common/io/kafka_rounds.h"

#include "common/base/must.h"

int64_t kafka_rounds_open_at(const struct kafka_rounds *rounds)
{
    int64_t wait_ms = rounds->linger_ms;
    if (rounds->number == 0)
        return INT64_MIN;
    if (rounds->left > 0 && wait_ms < KAFKA_ROUND_MS_MAX)
        wait_ms = KAFKA_ROUND_MS_MAX;
    return rounds->began_ms + wait_ms;
}

bool kafka_rounds_open(const struct kafka_rounds *rounds, int64_t now_ms)
{
    return now_ms >= kafka_rounds_open_at(rounds);
}

void kafka_rounds_begin(struct kafka_rounds *rounds, int64_t now_ms)
{
    rounds->number++;
    rounds->left = 0;
    rounds->began_ms = now_ms;
}

uint64_t kafka_rounds_add(struct kafka_rounds *rounds)
{
    rounds->left++;
    return rounds->number;
}

bool kafka_rounds_done(struct kafka_rounds *rounds, uint64_t number)
{
    must(number <= rounds->number);
    if (number < rounds->number)
        return false;
    must(rounds->left > 0);
    return --rounds->left == 0;
}
