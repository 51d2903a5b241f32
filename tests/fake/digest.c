/*
 * digest.c -- FNV-1a; see digest.h.
 */
#include "tests/fake/digest.h"

#define FNV_PRIME 0x100000001b3ULL

uint64_t digest_add(uint64_t digest, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++)
        digest = (digest ^ at[i]) * FNV_PRIME;
    return digest;
}

void digest_hex(uint64_t digest, char hex[16])
{
    for (int i = 15; i >= 0; i--) {
        hex[i] = "0123456789abcdef"[digest & 15];
        digest >>= 4;
    }
}
