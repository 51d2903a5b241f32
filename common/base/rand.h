/*
 * rand.h -- random numbers from a seed, so that a run can be replayed; and ids made of them.
 *
 * xoshiro256** (Blackman, Vigna), seeded through splitmix64. Not for keys or passwords. Ids are
 * UUIDv7 (RFC 9562): 48 bits of wall milliseconds, then random bits; text is lower case.
 */
#ifndef QUERN_COMMON_BASE_RAND_H
#define QUERN_COMMON_BASE_RAND_H

#include <stdint.h>

struct rand {
    uint64_t state[4];
};

#define UUID_TEXT_LEN 36

void rand_init(struct rand *rand, uint64_t seed);
void rand_init_system(struct rand *rand); /* seed from getrandom(2) */
uint64_t rand_u64(struct rand *rand);
uint64_t rand_below(struct rand *rand, uint64_t bound); /* uniform in [0, bound), bound > 0 */
double rand_unit(struct rand *rand);                    /* uniform in [0, 1) */
void rand_uuid7(struct rand *rand, int64_t wall_ms, char ret[UUID_TEXT_LEN + 1]);

#endif
