/*
 * ended.c -- how a transaction ended and what follows from it:
 *   - stored: offsets move, groups are forgotten, replies go out;
 *   - the world's fault (connection, deadlock, disk): the same entries again after a pause;
 *   - the answer to COMMIT was lost: we read our offsets under our epoch, which says what happened;
 *   - fenced: somebody else owns the partitions, everything of ours is dropped;
 *   - an id has another body in the store: at once again, with what the losers are told (extras.h);
 *   - the data's fault: the batch is halved until the guilty entry is alone. That one goes to the
 *     dead letters and its request gets a failed final; the partition goes on.
 */
#include "aggregator/store/inside.h"

#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/rand.h"
#include "common/base/xalloc.h"

enum { PAUSE_MS_MIN = 50, PAUSE_MS_MAX = 5000 };

static void again_later(struct store *store)
{
    struct loop *loop = store->aggregator->loop;
    int64_t pause = PAUSE_MS_MIN;
    for (unsigned i = 0; i < store->tries && pause < PAUSE_MS_MAX; i++)
        pause *= 2;
    store->tries++;
    pause = pause / 2 + (int64_t)rand_below(loop_rand(loop), (uint64_t)pause / 2 + 1);
    store->retry_at_ms = loop_now_ms(loop) + pause;
    store->resend = true;
}

static void clear_marks(struct store *store)
{
    LIST_EACH(&store->wire, node)
    {
        struct entry *entry = container_of(node, struct entry, node);
        if (entry->group)
            entry->group->row = NULL;
    }
}

static void move_offsets(struct store *store)
{
    for (size_t i = 0; i < store->range_count; i++) {
        const struct range *range = &store->ranges[i];
        struct partition *p = aggregator_partition(store->aggregator, range->partition);
        if (p && p->epoch == range->epoch)
            p->next_offset = range->to;
    }
}

/* What the store said of each row: taken or not, which turn, which row of the outbox. */
struct verdict_of_row {
    bool taken;
    int64_t turn, outbox;
};

static struct verdict_of_row *read_verdicts(struct store *store,
                                            const struct postgres_result *result)
{
    struct verdict_of_row *verdicts = xcalloc((size_t)store->rows.ord + 1, sizeof(*verdicts));
    const struct postgres_rows *rows =
        result && store->store_at >= 0 ? &result->rows[store->store_at] : NULL;
    for (size_t i = 0; rows && i < rows->count; i++) {
        int64_t ord = postgres_cell_i64(rows, i, 0);
        must(ord >= 1 && ord <= store->rows.ord);
        verdicts[ord] = (struct verdict_of_row){
            true, postgres_is_null(rows, i, 1) ? 0 : postgres_cell_i64(rows, i, 1),
            postgres_is_null(rows, i, 2) ? 0 : postgres_cell_i64(rows, i, 2)};
    }
    return verdicts;
}

/* `known`: the verdicts are; else only that it was stored, and the outbox knows the rest. */
static void finish_entry(struct store *store, struct entry *entry, bool known,
                         const struct verdict_of_row *verdicts)
{
    struct aggregator *aggregator = store->aggregator;
    struct group *group = entry->group;
    if (!group || group->row != entry)
        return;
    const struct verdict_of_row *verdict = &verdicts[group->ord];
    if (entry->finishes && verdict->taken)
        settle_final(aggregator->settle, group, verdict->turn, verdict->outbox);
    if (entry->finishes || (known && !verdict->taken))
        gather_forget(aggregator->gather, group);
}

/* The guilty entry was found, or every suspect passed. */
static void search_ended(struct store *store)
{
    size_t passed = store->wire.count;
    store->suspects -= passed < store->suspects ? passed : store->suspects;
    LIST_EACH(&store->wire, node)
    if (container_of(node, struct entry, node)->poisoned)
        store->suspects = 0;
    if (store->suspects == 0)
        store->take_max = STORE_NO_LIMIT;
}

static void finish(struct store *store, const struct postgres_result *result)
{
    struct aggregator *aggregator = store->aggregator;
    bool known = result != NULL;
    struct verdict_of_row *verdicts = read_verdicts(store, result);
    move_offsets(store);
    search_ended(store);
    LIST_EACH(&store->wire, node)
    finish_entry(store, container_of(node, struct entry, node), known, verdicts);
    clear_marks(store);
    store_free_entries(&store->wire);
    free(verdicts);
    store->tries = 0;
    if (store->outbox_taken)
        settle_outbox_taken(aggregator->settle, true);
    store->outbox_taken = false;
    if (store->look_again || !known)
        settle_sweep(aggregator->settle);
    store->look_again = false;
}

static void leave_group(struct store *store, struct entry *entry)
{
    struct group *group = entry->group;
    struct part *part = entry->part;
    if (part->slotted) {
        group->parts[part->result.slot] = NULL;
        part->slotted = false;
    }
    entry->finishes = entry->opens = false;
    entry->group = NULL;
    gather_forget(store->aggregator->gather, group);
    group_unref(group);
}

/* This one entry is what PostgreSQL refuses. First its content goes and its request fails; if even
 * that is refused, only the dead letter stays. */
static void poison(struct store *store, struct entry *entry, const struct err *err)
{
    log_error("a result cannot be stored, it goes to the dead letters",
              LOG_I("partition", entry->partition), LOG_I("offset", entry->offset),
              LOG_C("error", err->text));
    if (!entry->part || (entry->poisoned && !entry->group)) {
        app_fail(store->aggregator->app, err, EXIT_FAILED);
        return;
    }
    if (entry->poisoned) {
        leave_group(store, entry);
        return;
    }
    entry->poisoned = true;
    entry->kind = ENTRY_DEAD;
    entry->dead_code = ERR_INTERNAL;
    free(entry->dead_reason);
    entry->dead_reason = xstrdup(err->text);
    struct group *group = entry->group;
    if (!group || (!entry->finishes && !entry->opens))
        return;
    struct final *final = &group->final;
    group->is_final = true;
    entry->finishes = true;
    *final = (struct final){.status = STR("failed"), .winner = -1, .agreement = __builtin_nan("")};
    final->error.code = str_of(err_name(ERR_INTERNAL));
    final->error.message = STR("the result could not be stored");
    final->error.retry = STR("never");
    struct result *shown = &group->first->result;
    shown->request.metadata = shown->request.unknown = shown->request.question = NULL;
}

static void put_back(struct store *store)
{
    while (!list_empty(&store->wire)) {
        struct list_node *last = store->wire.head.prev;
        list_remove(&store->wire, last);
        store->queue_bytes += container_of(last, struct entry, node)->bytes;
        list_prepend(&store->queue, last);
    }
}

static void data_error(struct store *store, const struct err *err)
{
    size_t count = store->wire.count;
    if (count == 1)
        poison(store, container_of(list_first(&store->wire), struct entry, node), err);
    else
        log_warn("a transaction was refused, searching for the part it is about",
                 LOG_I("parts", count), LOG_C("error", err->text));
    put_back(store);
    if (store->suspects == 0)
        store->suspects = count;
    store->take_max = count > 1 ? count / 2 : 1;
    store->retry_at_ms = 0;
}

/* The partitions are not ours any more: whoever owns them begins where PostgreSQL stands. */
static void abandon(struct store *store)
{
    clear_marks(store);
    store_free_entries(&store->wire);
    store->busy = false;
    store->resend = false;
    if (store->outbox_taken)
        settle_outbox_taken(store->aggregator->settle, false);
    store->outbox_taken = false;
    gather_store_idle(store->aggregator->gather);
}

static void look_what_happened(struct store *store);

static void looked(const struct postgres_result *result, const struct err *err, void *context)
{
    struct store *store = context;
    if (store->dropped) {
        abandon(store);
        return;
    }
    if (err) {
        look_what_happened(store);
        return;
    }
    size_t ours = 0, moved = 0, to_move = 0;
    for (size_t i = 0; i < store->range_count; i++) {
        const struct range *range = &store->ranges[i];
        to_move += range->to != range->from;
        for (size_t row = 0; row < result->rows[0].count; row++) {
            if (postgres_cell_i64(&result->rows[0], row, 0) != range->partition)
                continue;
            int64_t next = postgres_cell_i64(&result->rows[0], row, 1);
            ours += postgres_cell_i64(&result->rows[0], row, 2) == range->epoch;
            moved += range->to != range->from && next == range->to;
        }
    }
    log_info("a lost answer is cleared up", LOG_B("stored", moved && moved == to_move),
             LOG_B("ours", ours == store->range_count));
    store->busy = false;
    if (ours != store->range_count) {
        abandon(store);
        gather_fenced(store->aggregator->gather);
    } else if (moved && moved == to_move) {
        finish(store, NULL);
    } else {
        /* Nothing moved, or there was nothing to move: then doing it twice is harmless, because
         * what is final already stays as it is, and its reply waits in the outbox. */
        clear_marks(store);
        again_later(store);
        settle_sweep(store->aggregator->settle);
    }
}

/* Answered when the connection is back: the door keeps the question for as long as its time-out,
 * and we ask again. */
static void look_what_happened(struct store *store)
{
    struct aggregator *aggregator = store->aggregator;
    const struct str params[] = {aggregator->conf->group, aggregator->topic_results,
                                 buf_str(&store->partitions)};
    const struct postgres_query query = {STATEMENT_OFFSETS, params, 3};
    struct err err;
    if (!postgres_batch(aggregator->pg, &query, 1, 0, looked, store, &err))
        app_fail(aggregator->app, &err, EXIT_FAILED); /* the queue is never that long */
}

static bool is_data_error(const struct postgres_result *result, const struct err *err)
{
    return result && result->sqlstate[0] && err->code == ERR_INTERNAL &&
           (strncmp(result->sqlstate, "22", 2) == 0 || strncmp(result->sqlstate, "23", 2) == 0 ||
            strncmp(result->sqlstate, "54", 2) == 0);
}

static void failed(struct store *store, const struct postgres_result *result, const struct err *err)
{
    struct aggregator *aggregator = store->aggregator;
    clear_marks(store);
    if (err->code == ERR_FENCED) {
        gather_fenced(aggregator->gather);
        return;
    }
    if (result && str_is(str_of(result->sqlstate), OTHER_BODY_SQLSTATE)) {
        log_warn("an id was answered for two bodies, who published the later one is told");
        store->telling = store->resend = true;
        return;
    }
    /* A unique key may be taken by a transaction we did not see; the second try sees it. */
    bool clash = result && str_is(str_of(result->sqlstate), "23505") && store->tries == 0;
    if (is_data_error(result, err) && !clash && !list_empty(&store->wire)) {
        data_error(store, err);
        return;
    }
    if (store->tries == 0)
        log_warn("not stored, tried again", LOG_I("parts", store->wire.count),
                 LOG_C("error", err->text));
    again_later(store);
}

void store_ended(const struct postgres_result *result, const struct err *err, void *context)
{
    struct store *store = context;
    struct aggregator *aggregator = store->aggregator;
    store->busy = false;
    double ms = (double)(loop_exact_us(aggregator->loop) - store->sent_us) / 1000;
    metric_observe_ms(METRIC_transaction_seconds, ms);
    metric_add_for(METRIC_transactions_total, err ? STR("failed") : STR("stored"), 1);
    if (!err) {
        CRASH_POINT(batch_stored);
        finish(store, result);
    } else if (store->dropped) {
        abandon(store);
        return;
    } else if (result && result->unknown && !list_empty(&store->wire)) {
        store->busy = true;
        look_what_happened(store);
        return;
    } else {
        failed(store, result, err);
    }
    if (err && store->outbox_taken && !store->resend) {
        settle_outbox_taken(aggregator->settle, false);
        store->outbox_taken = false;
    }
    gather_store_idle(aggregator->gather);
}
