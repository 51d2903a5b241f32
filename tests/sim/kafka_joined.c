/*
 * kafka_joined.c -- whether the simulated group counts a consumer in.
 *
 * A member is in from its assignment, be it an empty one, until it is told to give it up.
 */
#include "tests/sim/kafka_inside.h"

bool kafka_consumer_joined(const struct kafka_consumer *consumer)
{
    return consumer->assigned && !consumer->revoked;
}
