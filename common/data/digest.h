/*
 * digest.h -- SHA-256 (OpenSSL EVP inside), for what is stored or compared.
 */
#ifndef QUERN_COMMON_DATA_DIGEST_H
#define QUERN_COMMON_DATA_DIGEST_H

#include "common/base/str.h"

#define DIGEST_BYTES 32
#define DIGEST_HEX   64

void digest_sha256(struct str bytes, unsigned char ret[DIGEST_BYTES]);
/* The first `hex_len` (even, at most 64) hex digits and a NUL. */
void digest_sha256_hex(struct str bytes, char *ret, size_t hex_len);

#endif
