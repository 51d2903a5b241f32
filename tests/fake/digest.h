/*
 * digest.h -- FNV-1a with 64 bits, the hash a checker can write in three lines of any language.
 *
 * digest_add() continues a hash, so a conversation is digested in the pieces it arrives in:
 *     h = DIGEST_START;  for each byte b:  h = ((h ^ b) * 0x100000001b3) mod 2^64
 */
#ifndef FAKE_DIGEST_H
#define FAKE_DIGEST_H

#include "tests/fake/buf.h"

#include <stdint.h>

#define DIGEST_START 0xcbf29ce484222325ULL

uint64_t digest_add(uint64_t digest, const void *bytes, size_t len);

static inline uint64_t digest_of(struct slice text)
{
    return digest_add(DIGEST_START, text.at, text.len);
}

/* Sixteen lower-case hexadecimal digits, no terminator. */
void digest_hex(uint64_t digest, char hex[16]);

#endif
