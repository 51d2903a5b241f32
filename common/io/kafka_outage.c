/*
 * kafka_outage.c -- see kafka_outage.h.
 */
#include "common/io/kafka_outage.h"

#include <stdio.h>
#include <string.h>

static void move(struct kafka_witness *witness, unsigned *to)
{
    if (witness->among)
        --*witness->among;
    if (to)
        ++*to;
    witness->among = to;
}

/* Who has not asked yet holds up nobody. */
static bool all_found(const struct kafka_outage *outage)
{
    return outage->found > 0 && outage->unsure == 0 && outage->lost == 0;
}

/* Everybody has found somebody: that ends an outage, or the start. */
static enum kafka_news there(struct kafka_outage *outage, int64_t now_ms)
{
    if (outage->told == KAFKA_NEWS_THERE || !all_found(outage))
        return KAFKA_NEWS_NONE;
    outage->there_ms = now_ms;
    return outage->told = KAFKA_NEWS_THERE;
}

static enum kafka_news away(struct kafka_outage *outage, int64_t now_ms)
{
    if (outage->told == KAFKA_NEWS_AWAY)
        return KAFKA_NEWS_NONE;
    if (outage->told == KAFKA_NEWS_THERE)
        outage->since_ms = now_ms;
    return outage->told = KAFKA_NEWS_AWAY;
}

void kafka_outage_enter(struct kafka_outage *outage, struct kafka_witness *witness, int64_t now_ms)
{
    if (witness->among)
        return;
    if (outage->fresh + outage->unsure + outage->found + outage->lost == 0)
        *outage = (struct kafka_outage){.since_ms = now_ms};
    move(witness, &outage->fresh);
}

void kafka_outage_doubt(struct kafka_outage *outage, struct kafka_witness *witness)
{
    if (witness->among == &outage->found)
        move(witness, &outage->unsure);
}

enum kafka_news kafka_outage_asked(struct kafka_outage *outage, struct kafka_witness *witness,
                                   bool answered, int64_t asked_ms, int64_t now_ms)
{
    bool old = outage->told == KAFKA_NEWS_THERE && asked_ms < outage->there_ms;
    if (!answered && old) {
        kafka_outage_doubt(outage, witness);
        return KAFKA_NEWS_NONE;
    }
    move(witness, answered ? &outage->found : &outage->lost);
    return answered ? there(outage, now_ms) : away(outage, now_ms);
}

enum kafka_news kafka_outage_leave(struct kafka_outage *outage, struct kafka_witness *witness,
                                   int64_t now_ms)
{
    if (!witness->among)
        return KAFKA_NEWS_NONE;
    move(witness, NULL);
    return there(outage, now_ms);
}

void kafka_outage_reason(const char *text, char *ret, size_t size)
{
    const char *remark = strstr(text, " (after ");
    size_t len = remark ? (size_t)(remark - text) : strlen(text);
    snprintf(ret, size, "%.*s", (int)(len < size ? len : size - 1), text);
}

const char *kafka_outage_hint(const char *reason)
{
    static const struct {
        const char *word, *hint;
    } hints[] = {
        {"resolve", "correct kafka.bootstrap_servers: the name is not known"},
        {"SASL", "correct sasl.* in kafka.properties"},
        {"uthentication", "correct sasl.* in kafka.properties"},
        {"SSL", "correct security.protocol and ssl.* in kafka.properties"},
        {"", "start Kafka, or correct kafka.bootstrap_servers"},
    };
    size_t i = 0;
    while (!strstr(reason, hints[i].word))
        i++;
    return hints[i].hint;
}
