/*
 * store_inside.h -- the simulated PostgreSQL: tables (store.c) and the door (postgres.c).
 */
#ifndef QUERN_TESTS_SIM_STORE_INSIDE_H
#define QUERN_TESTS_SIM_STORE_INSIDE_H

#include "tests/sim/inside.h"

enum { COLUMNS_MAX = 8, STATEMENTS_MAX = 16 };

/* Rows of a result: cells in sim->arena. */
struct sim_rows {
    size_t columns, count;
    struct str (*cells)[COLUMNS_MAX];
};
void sim_rows_add(struct sim_rows *rows, const struct str *cells, size_t columns);

struct sim_asked {
    const char *name;
    size_t count;
};

struct sim_store {
    struct sim *sim;
    struct map requests;         /* tenant 0x1f id */
    struct map conversations;    /* tenant 0x1f session */
    struct map marks;            /* group 0x1f topic 0x1f partition: where reading began */
    struct list finals, waiting; /* waiting: results that the aggregator has not looked at */
    struct sim_event look;
    bool paused;

    bool down;
    int64_t latency_us;
    struct list clients;
    struct sim_asked asked[STATEMENTS_MAX];
};

/* What the statement of this name says; must know it. */
void sim_store_run(struct sim_store *store, const char *name, const struct str *params,
                   struct sim_rows *ret);

#endif
