/*
 * rules.c -- one table of rules by name; see rules.h.
 */
#include "tests/chaos/proxy/rules.h"

#include <stddef.h>

#include "common/base/str.h"

enum { NUMBERS_MAX = 2 };

static void set_down(struct rules *rules, const int64_t *numbers)
{
    (void)numbers;
    rules->down = true;
}

static void set_blackhole(struct rules *rules, const int64_t *numbers)
{
    (void)numbers;
    rules->blackhole = true;
}

static void set_latency(struct rules *rules, const int64_t *numbers)
{
    rules->latency_ms = numbers[0];
}

static void set_rate(struct rules *rules, const int64_t *numbers)
{
    rules->rate_bytes = numbers[0];
    rules->rate_ms = numbers[1];
}

static void set_cut(struct rules *rules, const int64_t *numbers)
{
    rules->cut_bytes = numbers[0];
}

static void set_chance(struct rules *rules, const int64_t *numbers)
{
    rules->chance_millionths = numbers[0];
}

static void set_clear(struct rules *rules, const int64_t *numbers)
{
    (void)numbers;
    rules_clear(rules);
}

static void set_hold_up(struct rules *rules, const int64_t *numbers)
{
    (void)numbers;
    rules->hold[WAY_UP] = true;
}

static void set_hold_down(struct rules *rules, const int64_t *numbers)
{
    (void)numbers;
    rules->hold[WAY_DOWN] = true;
}

/* A name of two words stands as it is written. */
static const struct rule {
    const char *name;
    int numbers;
    int64_t min, max; /* of every number */
    void (*set)(struct rules *rules, const int64_t *numbers);
} table[] = {
    {"down", 0, 0, 0, set_down},
    {"blackhole", 0, 0, 0, set_blackhole},
    {"hold up", 0, 0, 0, set_hold_up},
    {"hold down", 0, 0, 0, set_hold_down},
    {"latency", 1, 0, 600000, set_latency},
    {"rate", 2, 1, 1000000000, set_rate},
    {"cut", 1, 0, INT64_MAX, set_cut},
    {"chance", 1, 0, 1000000, set_chance},
    {"clear", 0, 0, 0, set_clear},
};

void rules_clear(struct rules *rules)
{
    *rules = (struct rules){.cut_bytes = -1};
}

static const struct rule *rule_of(struct str words)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct str name = str_of(table[i].name);
        bool ends = words.len == name.len || (words.len > name.len && words.data[name.len] == ' ');
        if (str_starts(words, name) && ends)
            return &table[i];
    }
    return NULL;
}

bool rules_apply(struct rules *rules, struct str words, struct err *err)
{
    const struct rule *rule = rule_of(words);
    if (!rule) {
        err_set(err, ERR_USAGE, "there is no rule '" STR_FMT "'", STR_ARG(words));
        return false;
    }
    size_t name_len = str_of(rule->name).len;
    struct str rest =
        words.len > name_len ? str_slice(words, name_len + 1, words.len) : (struct str){NULL, 0};
    int64_t numbers[NUMBERS_MAX] = {0};
    struct str word;
    int count = 0;
    while (str_split(&rest, ' ', &word)) {
        if (count == rule->numbers || !str_to_i64(word, rule->min, rule->max, &numbers[count])) {
            err_set(err, ERR_USAGE, "'%s' does not take '" STR_FMT "'", rule->name, STR_ARG(word));
            return false;
        }
        count++;
    }
    if (count != rule->numbers) {
        err_set(err, ERR_USAGE, "'%s' takes %d numbers", rule->name, rule->numbers);
        return false;
    }
    rule->set(rules, numbers);
    return true;
}
