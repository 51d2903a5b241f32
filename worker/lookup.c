/*
 * lookup.c -- see lookup.h. A batch remembers its questions; rows of the answer find theirs, what
 * has no row is not known. At most LOOKUP_BATCH_MAX questions leave in one statement, the rest in
 * further ones.
 */
#include "worker/lookup.h"

#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"

enum { LOOKUP_BATCH_MAX = 500, LOOKUP_ARRAY_BYTES_MAX = 1 << 20 };

struct question {
    struct list_node node;
    struct str tenant, id;
    lookup_answer *answer;
    void *context;
};

struct lookup_batch {
    struct list_node node; /* in lookup->batches */
    struct lookup *lookup;
    struct list questions;
};

struct lookup {
    struct loop *loop;
    struct postgres *pg;
    unsigned statement;
    struct loop_hook hook;
    struct list asked;   /* this turn's */
    struct list batches; /* at PostgreSQL */
    struct list spare;   /* question structs for reuse */
};

static void give(struct lookup *lookup, struct question *q, const struct known *known)
{
    q->answer(known, q->context);
    list_prepend(&lookup->spare, &q->node);
}

static unsigned slot_bits(struct str list)
{
    unsigned bits = 0;
    struct str part;
    while (str_split(&list, ',', &part)) {
        int64_t slot;
        if (str_to_i64(part, 0, 31, &slot))
            bits |= 1u << slot;
    }
    return bits;
}

static struct known known_from_row(const struct postgres_rows *rows, size_t row)
{
    return (struct known){
        .found = true,
        .status = postgres_cell(rows, row, 2),
        .body_hash = postgres_cell(rows, row, 3),
        .topic = postgres_cell(rows, row, 4),
        .partition = postgres_cell_i64(rows, row, 5),
        .offset = postgres_cell_i64(rows, row, 6),
        .slots_stored = slot_bits(postgres_cell(rows, row, 7)),
    };
}

/* Rows come in any order and few questions have one: known requests are the exception. */
static void answer_found(struct lookup *lookup, struct list *questions,
                         const struct postgres_rows *rows)
{
    for (size_t row = 0; row < rows->count; row++) {
        struct known known = known_from_row(rows, row);
        struct str tenant = postgres_cell(rows, row, 0), id = postgres_cell(rows, row, 1);
        LIST_EACH(questions, node)
        {
            struct question *q = container_of(node, struct question, node);
            if ((str_eq(q->id, id) || PLANTED(11)) && str_eq(q->tenant, tenant)) {
                list_remove(questions, node);
                give(lookup, q, &known);
            }
        }
    }
}

static void answered(const struct postgres_result *result, const struct err *err, void *context)
{
    struct lookup_batch *batch = context;
    const struct known none = {.failed = err != NULL};
    if (!err)
        answer_found(batch->lookup, &batch->questions, &result->rows[0]);
    for (struct list_node *node; (node = list_pop(&batch->questions));)
        give(batch->lookup, container_of(node, struct question, node), &none);
    list_remove(&batch->lookup->batches, &batch->node);
    free(batch);
}

static void send_batch(struct lookup *lookup, struct lookup_batch *batch)
{
    struct buf tenants, ids;
    buf_init(&tenants, LOOKUP_ARRAY_BYTES_MAX);
    buf_init(&ids, LOOKUP_ARRAY_BYTES_MAX);
    postgres_array_begin(&tenants);
    postgres_array_begin(&ids);
    LIST_EACH(&batch->questions, node)
    {
        struct question *q = container_of(node, struct question, node);
        postgres_array_add(&tenants, q->tenant);
        postgres_array_add(&ids, q->id);
    }
    postgres_array_end(&tenants);
    postgres_array_end(&ids);
    must(!tenants.overflowed && !ids.overflowed);

    const struct str params[] = {buf_str(&tenants), buf_str(&ids)};
    const struct postgres_query query = {
        .statement = lookup->statement, .params = params, .param_count = 2};
    struct err err;
    if (!postgres_batch(lookup->pg, &query, 1, 0, answered, batch, &err))
        answered(NULL, &err, batch);
    buf_done(&tenants);
    buf_done(&ids);
}

static bool send_asked(void *context)
{
    struct lookup *lookup = context;
    while (!list_empty(&lookup->asked)) {
        struct lookup_batch *batch = xzalloc(sizeof(*batch));
        batch->lookup = lookup;
        list_init(&batch->questions);
        list_append(&lookup->batches, &batch->node);
        while (batch->questions.count < LOOKUP_BATCH_MAX && !list_empty(&lookup->asked))
            list_append(&batch->questions, list_pop(&lookup->asked));
        send_batch(lookup, batch);
    }
    return false;
}

struct lookup *lookup_new(struct loop *loop, struct postgres *pg, unsigned statement)
{
    struct lookup *lookup = xzalloc(sizeof(*lookup));
    lookup->loop = loop;
    lookup->pg = pg;
    lookup->statement = statement;
    list_init(&lookup->asked);
    list_init(&lookup->batches);
    list_init(&lookup->spare);
    lookup->hook = (struct loop_hook){.run = send_asked, .context = lookup};
    loop_add_turn_end(loop, &lookup->hook);
    return lookup;
}

static void free_questions(struct list *list)
{
    for (struct list_node *node; (node = list_pop(list));)
        free(container_of(node, struct question, node));
}

void lookup_free(struct lookup *lookup)
{
    if (!lookup)
        return;
    loop_remove_hook(lookup->loop, &lookup->hook);
    for (struct list_node *node; (node = list_pop(&lookup->batches));) {
        struct lookup_batch *batch = container_of(node, struct lookup_batch, node);
        free_questions(&batch->questions);
        free(batch);
    }
    free_questions(&lookup->asked);
    free_questions(&lookup->spare);
    free(lookup);
}

void lookup_ask(struct lookup *lookup, struct str tenant, struct str id, lookup_answer *answer,
                void *context)
{
    struct list_node *node = list_pop(&lookup->spare);
    struct question *q =
        node ? container_of(node, struct question, node) : xzalloc(sizeof(struct question));
    *q = (struct question){.tenant = tenant, .id = id, .answer = answer, .context = context};
    list_append(&lookup->asked, &q->node);
}
