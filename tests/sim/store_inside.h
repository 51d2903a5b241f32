/*
 * store_inside.h -- the simulated PostgreSQL: its tables (store_*.c) and its door (postgres.c).
 *
 * A batch is applied at the moment at which it arrives, whole and by itself: what concurrent
 * transactions with row locks come to. Statements change rows in place and note in an undo log how
 * it was; a statement that refuses takes the whole batch back. Sequences are not taken back.
 *
 * Rows and their texts live in sim->arena. Parameters are copied there once, when the batch is
 * given; cells of arrays are slices of that copy.
 */
#ifndef QUERN_TESTS_SIM_STORE_INSIDE_H
#define QUERN_TESTS_SIM_STORE_INSIDE_H

#include "aggregator/store/rows.h"
#include "tests/sim/inside.h"

enum { STATEMENTS_MAX = 20, REQUEST_COLUMNS = COLUMN_m_ord };

/* Rows of a result: cells row by row. */
struct sim_rows {
    size_t columns, count, cap;
    struct str *cells;
};
/* A row of absent cells, to be filled in before the next is added. */
struct str *sim_rows_add(struct sim_rows *rows, size_t columns);

/* An array parameter, taken apart. */
struct cells {
    struct str *items;
    size_t count;
};

/* Rows in the order in which they were inserted. */
struct table {
    void **rows;
    size_t count, cap;
};

struct stored_part {
    bool exists;
    struct str status, content_type, hex;
    int64_t received; /* grows */
};

/* A row of `requests`, as the columns q_* that it came in, and its rows of `parts`. */
struct request_row {
    struct map_node node;
    bool exists;    /* false: there are only parts */
    uint64_t stamp; /* the quern_store() that saw it last */
    struct request_data {
        struct str q[REQUEST_COLUMNS];
        struct str vectors;        /* its row of request_embeddings */
        int64_t turn, finished_ms; /* 0: none; -1: open */
        unsigned repeats;
    } data;
    struct stored_part parts[SLOTS_MAX];
    struct sim_final seen; /* filled when somebody looks */
};

struct message_row {
    struct sim_message_row row;
};

struct conversation_row {
    struct map_node node;
    uint64_t stamp;
    struct sim_conversation_row row;
    struct table messages;
};

struct run_row {
    struct map_node node;
    struct sim_run_row row;
};

struct usage_row {
    struct map_node node;
    struct sim_usage_row row;
};

struct offset_row {
    struct map_node node;
    struct sim_offset_row row;
};

struct outbox_row {
    struct map_node node;
    struct list_node list_node;
    struct sim_outbox_row row;
    struct str payload_hex, headers, content_type, traceparent;
    int64_t next_try_ms;
};

struct undo;

struct sim_asked {
    const char *name;
    size_t count;
};

/* What scenes ask to go wrong. */
struct sim_store_faults {
    unsigned lose_answer, lose_question; /* of the n-th next transaction; 0: none */
    char sqlstate[6];
    const char *statement;
    unsigned fail_count;
    const char *refuse; /* a transaction that contains these bytes is refused */
};

struct sim_store {
    struct sim *sim;
    struct map requests;      /* tenant 0x1f id */
    struct map conversations; /* tenant 0x1f session */
    struct map runs;          /* id */
    struct map usage;
    struct map offsets; /* group 0x1f topic 0x1f partition */
    struct map outbox;  /* id */
    struct list outbox_rows;
    struct table request_rows, conversation_rows, run_rows, usage_rows, offset_rows, message_rows;
    int64_t outbox_seq, part_seq;
    uint64_t stamp;
    size_t finals, fenced;

    struct arena scratch; /* for one batch */
    struct undo *undo;
    char sqlstate[6], refusal[160];

    bool down;
    int64_t latency_us;
    struct list clients;
    struct sim_asked asked[STATEMENTS_MAX];
    struct sim_store_faults faults;
};

/* store.c */
struct sim_query {
    const char *name;
    struct str *params;
    int param_count;
};
/* All or nothing; false: store->sqlstate and store->refusal say why. */
bool sim_store_run(struct sim_store *store, const struct sim_query *queries, size_t count,
                   struct sim_rows *ret);

/* store_tables.c */
bool store_refuse(struct sim_store *store, const char *sqlstate, const char *text);
/* Its bytes come back when the batch is taken back. */
void store_keep(struct sim_store *store, void *object, size_t size);
void store_on_undo(struct sim_store *store, void (*undo)(struct sim_store *store, void *object),
                   void *object);
void store_take_back(struct sim_store *store);
void table_add(struct sim_store *store, struct table *table, void *row);
/* Cells are slices of `array`, whose bytes are changed. */
struct cells store_column(struct sim_store *store, struct str array);
int64_t store_int(struct str text); /* absent: 0 */
struct str store_number(struct sim_store *store, int64_t n);
int64_t store_now_ms(const struct sim_store *store); /* now() */
/* "a 0x1f b", until the batch is over. */
struct str store_key(struct sim_store *store, struct str a, struct str b);
struct str store_lasting(struct sim_store *store, struct str text);
/* A set of numbers given as an array: is it among them? */
bool column_has(const struct cells *column, int64_t number);

/* store_offsets.c */
bool statement_own(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_offsets(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_spent(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_fence(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_first_assigned(struct sim_store *store, const struct str *params,
                              struct sim_rows *ret);
/* store_requests.c */
bool statement_store(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_store_telling(struct sim_store *store, const struct str *params,
                             struct sim_rows *ret);
/* NULL: nothing is known of it. */
struct request_row *store_request(struct sim_store *store, struct str tenant, struct str id);
bool request_is_final(const struct request_row *request);
/* store_reads.c */
bool statement_load(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_lookup(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_history(struct sim_store *store, const struct str *params, struct sim_rows *ret);
/* store_outbox.c */
/* quern_one_body(); false: it refused. */
bool store_one_body(struct sim_store *store, const struct cells *tenants, const struct cells *ids,
                    const struct cells *hashes);
struct outbox_row *outbox_add(struct sim_store *store, int64_t id);
bool statement_repeat(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_bury(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_embeddings(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_one_body(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_outbox_sent(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_outbox_failed(struct sim_store *store, const struct str *params,
                             struct sim_rows *ret);
bool statement_outbox_load(struct sim_store *store, const struct str *params, struct sim_rows *ret);
bool statement_outbox_parts(struct sim_store *store, const struct str *params,
                            struct sim_rows *ret);

#endif
