/*
 * digest.c -- SHA-256 through OpenSSL's EVP.
 *
 * The algorithm is looked up once and the context is kept per thread: OpenSSL 3 spends more time on
 * looking up than on hashing a short message.
 */
#include "common/data/digest.h"

#include <openssl/evp.h>

#include "common/base/must.h"

static EVP_MD_CTX *context(void)
{
    static _Thread_local EVP_MD_CTX *kept;
    if (kept)
        return kept;
    kept = EVP_MD_CTX_new();
    must(kept);
    EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    must(sha256);
    must(EVP_DigestInit_ex2(kept, sha256, NULL) == 1);
    EVP_MD_free(sha256); /* the context holds its own reference */
    return kept;
}

void digest_sha256(struct str bytes, unsigned char ret[DIGEST_BYTES])
{
    EVP_MD_CTX *md = context();
    unsigned len = 0;
    must(EVP_DigestInit_ex2(md, NULL, NULL) == 1);
    must(EVP_DigestUpdate(md, bytes.data, bytes.len) == 1);
    must(EVP_DigestFinal_ex(md, ret, &len) == 1 && len == DIGEST_BYTES);
}

void digest_sha256_hex(struct str bytes, char *ret, size_t hex_len)
{
    static const char digits[] = "0123456789abcdef";
    must(hex_len <= DIGEST_HEX && hex_len % 2 == 0);
    unsigned char digest[DIGEST_BYTES];
    digest_sha256(bytes, digest);
    for (size_t i = 0; i < hex_len / 2; i++) {
        ret[2 * i] = digits[digest[i] >> 4];
        ret[2 * i + 1] = digits[digest[i] & 15];
    }
    ret[hex_len] = '\0';
}
