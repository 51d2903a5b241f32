/*
 * limit_script.h -- how schemas/lua/limit.lua is asked, and what it answers. Pure.
 *
 * The order of its arguments and of the numbers it returns is here and in the script, and nowhere
 * else.
 */
#ifndef QUERN_WORKER_CALL_LIMIT_SCRIPT_H
#define QUERN_WORKER_CALL_LIMIT_SCRIPT_H

#include "common/base/arena.h"
#include "common/base/str.h"
#include "worker/call/lease.h"

enum {
    LIMIT_SCRIPT_WORDS_MAX = 16 + 3 * LEASE_SECONDS,
    LIMIT_SCRIPT_BYTES_MAX = 32768, /* of their texts */
    LIMIT_SCRIPT_NUMBERS = 9
};

struct limit_ask {
    struct str key, instance;    /* the key of Redis; who asks */
    struct str channel, message; /* on which everybody is asked to tell, and what is said there */
    const struct lease_rule *rule;
    const struct lease_question *question;
    int64_t now_ms; /* the clock of the question's moments */
};

/* The first word is the key. Texts are the arena's; returns how many words there are. */
size_t limit_script_words(const struct limit_ask *ask, struct arena *arena,
                          struct str ret[LIMIT_SCRIPT_WORDS_MAX]);
void limit_script_answer(const int64_t numbers[LIMIT_SCRIPT_NUMBERS], struct lease_answer *ret);

#endif
