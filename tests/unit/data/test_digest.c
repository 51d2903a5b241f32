/*
 * Goal: SHA-256 as FIPS 180-4 has it, also when called many times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/data/digest.h"

static const struct {
    const char *text, *hex;
} cases[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void known_texts_have_known_digests(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            char hex[DIGEST_HEX + 1];
            digest_sha256_hex(str_of(cases[i].text), hex, DIGEST_HEX);
            assert_string_equal(hex, cases[i].hex);
            digest_sha256_hex(str_of(cases[i].text), hex, 16);
            assert_int_equal(strlen(hex), 16);
            assert_memory_equal(hex, cases[i].hex, 16);
        }
    }
}

static void an_absent_text_hashes_as_an_empty_one(void **state)
{
    (void)state;
    char hex[DIGEST_HEX + 1];
    digest_sha256_hex((struct str){NULL, 0}, hex, DIGEST_HEX);
    assert_string_equal(hex, cases[0].hex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts_have_known_digests),
        cmocka_unit_test(an_absent_text_hashes_as_an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
