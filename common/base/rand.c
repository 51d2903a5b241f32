/*
 * rand.c -- xoshiro256** and UUIDv7.
 *
 * References: Blackman, Vigna, "Scrambled linear pseudorandom number generators" (2018), with their
 * public-domain code for xoshiro256** 1.0 and splitmix64; Lemire, "Fast random integer generation
 * in an interval" (2019); RFC 9562, section 5.7.
 */
#include "common/base/rand.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "common/base/must.h"

static uint64_t rotate_left(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void rand_init(struct rand *rand, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rand->state[i] = splitmix64(&seed);
}

void rand_init_system(struct rand *rand)
{
    uint64_t seed = 0;
    ssize_t got;
    do {
        got = getrandom(&seed, sizeof(seed), 0);
    } while (got < 0 && errno == EINTR);
    must(got == (ssize_t)sizeof(seed));
    rand_init(rand, seed);
}

uint64_t rand_u64(struct rand *rand)
{
    uint64_t *s = rand->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/*
 * The high half of a 64x64 product is nearly uniform; the few low halves below 2^64 mod bound are
 * what makes it unequal, so those are drawn again.
 */
uint64_t rand_below(struct rand *rand, uint64_t bound)
{
    must(bound > 0);
    uint64_t unfair = (0 - bound) % bound;
    unsigned __int128 product;
    do {
        product = (unsigned __int128)rand_u64(rand) * bound;
    } while ((uint64_t)product < unfair);
    return (uint64_t)(product >> 64);
}

double rand_unit(struct rand *rand)
{
    return (double)(rand_u64(rand) >> 11) * 0x1p-53; /* 53 bits: all that a double holds */
}

/*
 *  0                   6     8     9  10              16 bytes
 *  | 48 bits of ms     | 7,rand_a  | 0b10, 62 bits rand_b |
 */
void rand_uuid7(struct rand *rand, int64_t wall_ms, char ret[UUID_TEXT_LEN + 1])
{
    uint64_t ms = (uint64_t)wall_ms & UINT64_C(0xffffffffffff);
    uint64_t a = rand_u64(rand) >> 52;
    uint64_t b = rand_u64(rand) >> 2;
    uint64_t high = ms << 16 | UINT64_C(0x7000) | a;
    uint64_t low = UINT64_C(0x8000000000000000) | b;

    static const char digits[] = "0123456789abcdef";
    char *at = ret;
    for (int nibble = 0; nibble < 32; nibble++) {
        if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20)
            *at++ = '-';
        uint64_t half = nibble < 16 ? high : low;
        *at++ = digits[half >> (60 - 4 * (nibble % 16)) & 0xf];
    }
    *at = '\0';
}
