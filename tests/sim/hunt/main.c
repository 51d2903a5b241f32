/*
 * quern-hunt -- plays simulated schedules and says which of them break an invariant.
 *
 *     quern-hunt [--from S] [--seeds N] [--minutes M] [--jobs J] [--plant P] [--failures-max F]
 *     quern-hunt --seed S [--trace] [--whole]
 *     quern-hunt --torture [SCENE]
 *     quern-hunt --kept
 *     quern-hunt --plants
 *
 * The last one lists the planted bugs: number, name, what goes wrong, with tabs between. Exit code
 * 0: nothing found; 1: something was found, the first is printed with its smallest schedule and its
 * trace; 2: wrong usage. Hundreds of schedules a second; use tests/sim/run, which builds this
 * first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/plant.h"
#include "tests/sim/hunt/hunt.h"
#include "tests/sim/hunt/kept.h"
#include "tests/sim/hunt/shrink.h"
#include "tests/sim/hunt/torture.h"

enum { TRACE_LINES = 160 };

static int usage(const char *what)
{
    fprintf(stderr,
            "quern-hunt: %s\n"
            "usage: quern-hunt [--from S] [--seeds N] [--minutes M] [--jobs J] [--plant P] "
            "[--failures-max F]\n"
            "       quern-hunt --seed S [--trace] [--whole]\n"
            "       quern-hunt --torture [SCENE]\n"
            "       quern-hunt --kept\n"
            "       quern-hunt --plants\n",
            what);
    return 2;
}

static int list_plants(void)
{
#define PLANT(number, name, what) printf("%d\t%s\t%s\n", number, name, what);
#include "tests/sim/hunt/plants.def"
#undef PLANT
    return 0;
}

/* The first and the last lines of what happened. */
static void print_ends(FILE *file)
{
    char line[512];
    long count = 0, at = 0;
    rewind(file);
    while (fgets(line, sizeof(line), file))
        count++;
    rewind(file);
    while (fgets(line, sizeof(line), file)) {
        if (at < TRACE_LINES || at >= count - TRACE_LINES / 4)
            fputs(line, stdout);
        else if (at == TRACE_LINES)
            fputs("       ...\n", stdout);
        at++;
    }
}

void hunt_explain(uint64_t seed, bool whole)
{
    struct schedule schedule;
    struct played played;
    schedule_draw(&schedule, seed);
    if (!whole)
        shrink(&schedule);
    FILE *trace = tmpfile();
    play(&schedule, trace, &played);
    printf("seed %llu, %s schedule:\n", (unsigned long long)seed,
           whole ? "the whole" : "the smallest");
    schedule_print(&schedule, stdout);
    printf("finds:\n%s", played.text);
    printf("what happened (ms, process, call):\n");
    if (trace) {
        print_ends(trace);
        fclose(trace);
    }
    printf("again: tests/sim/run --seed %llu\n", (unsigned long long)seed);
}

static int one(uint64_t seed, bool whole, bool trace)
{
    struct schedule schedule;
    struct played played, again;
    schedule_draw(&schedule, seed);
    bool bad = play(&schedule, trace ? stdout : NULL, &played);
    play(&schedule, NULL, &again);
    if (played.fingerprint != again.fingerprint) {
        printf("seed %llu: a second run went another way\n", (unsigned long long)seed);
        return 1;
    }
    if (bad || whole)
        hunt_explain(seed, whole);
    else
        printf("seed %llu: nothing found, %llu calls of doors\n", (unsigned long long)seed,
               (unsigned long long)played.calls);
    return bad;
}

struct options {
    struct hunt hunt;
    const char *seed, *torture;
    bool trace, whole, is_torture, is_kept, is_list;
};

static bool read_number(const char *text, int64_t *ret)
{
    return text && str_to_i64(str_of(text), 0, INT64_MAX, ret);
}

/* NULL: fine. */
static const char *read_options(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        int64_t number = 0;
        if (strcmp(word, "--trace") == 0) {
            o->trace = true;
        } else if (strcmp(word, "--whole") == 0) {
            o->whole = true;
        } else if (strcmp(word, "--plants") == 0) {
            o->is_list = true;
        } else if (strcmp(word, "--kept") == 0) {
            o->is_kept = true;
        } else if (strcmp(word, "--torture") == 0) {
            o->is_torture = true;
            o->torture = next && next[0] != '-' ? argv[++i] : NULL;
        } else if (strcmp(word, "--seed") == 0 && read_number(next, &number)) {
            o->seed = argv[++i];
        } else if (!read_number(next, &number)) {
            return "each option but --trace, --whole, --kept and --plants needs a number";
        } else if (hunt_option(&o->hunt, word, number)) {
            i++;
        } else {
            return "there is no such option";
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct options o = {.hunt = {.from = 1, .seeds = 1000, .jobs = 1, .failures_max = 10}};
    const char *wrong = read_options(argc, argv, &o);
    if (wrong)
        return usage(wrong);
    if (o.hunt.plant && !plant_set((int)o.hunt.plant))
        return usage("this build has no planted bugs; configure with -DQUERN_PLANTS=ON");
    if (o.is_list)
        return list_plants();
    if (o.is_kept)
        return kept();
    if (o.is_torture)
        return torture(o.torture);
    if (o.seed)
        return one(strtoull(o.seed, NULL, 10), o.whole, o.trace);
    return hunt(&o.hunt);
}
