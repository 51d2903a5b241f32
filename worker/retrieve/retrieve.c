/*
 * retrieve.c -- the step "retrieve": the earlier turns of the conversation.
 *
 * The list in Redis is used only when its newest turn is the one this worker saw stored last;
 * whoever does not know that turn (the session's first request after an assignment) asks
 * PostgreSQL, which is always right. No store, no answer: a conversation with a hole would be worse
 * than a late one, so the step asks again until the deadline.
 */
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/contract/redis_keys.h"
#include "common/data/json.h"
#include "worker/job.h"

enum { ASK_AGAIN_MS = 500 };

enum retrieval_state { FROM_CACHE = 1, FROM_STORE, RESTING };

struct retrieval {
    enum retrieval_state state;
    struct value *messages;
    uint32_t count, room;
    bool found;
    bool holds_itself; /* the newest turn of what was found has our own id */
};

static void take_message(struct retrieval *r, struct arena *arena, const struct value *message)
{
    if (r->count == r->room) {
        uint32_t room = r->room ? r->room * 2 : 16;
        struct value *larger = arena_alloc(arena, room * sizeof(*larger));
        if (r->count)
            memcpy(larger, r->messages, r->count * sizeof(*larger));
        r->messages = larger;
        r->room = room;
    }
    r->messages[r->count++] = *message;
}

/* One element of the list: {"turn":n,"id":"..","messages":[..]}; false when it is not that. */
static bool take_turn(struct retrieval *r, struct arena *arena, struct str text, struct str *ret_id)
{
    struct value turn;
    struct err err;
    if (!json_read(text, arena, &turn, &err))
        return false;
    const struct value *messages = value_get_list(&turn, "messages");
    *ret_id = value_get_str(&turn, "id");
    for (uint32_t i = 0; messages && i < messages->count; i++)
        take_message(r, arena, &messages->items[i]);
    return messages != NULL && ret_id->data != NULL;
}

/* The newest turns that fit into history_bytes, and in any case the newest one. */
static size_t first_wanted(const struct job *job, const struct redis_reply *reply)
{
    size_t bytes = 0, first = reply->count - 1;
    for (size_t i = reply->count; i-- > 0; first = i) {
        bytes += redis_item(reply, i).text.len;
        if (bytes > (size_t)job->worker->conf->history_bytes_max)
            break;
    }
    return first < reply->count ? first : reply->count - 1;
}

static void cache_told(const struct redis_reply *reply, void *context)
{
    struct job *job = context;
    must_be(job, JOB_MAGIC);
    struct retrieval *r = job->retrieval;
    struct str last = {0};
    bool good = reply && reply->kind == REDIS_LIST && reply->count > 0;
    for (size_t i = good ? first_wanted(job, reply) : 0; good && i < reply->count; i++)
        good = take_turn(r, &job->arena, arena_str(&job->arena, redis_item(reply, i).text), &last);
    r->found = good && (str_is(last, job->previous_id) || PLANTED(16));
    if (!r->found)
        r->count = 0;
    walk_answer(&job->walk);
}

static void ask_cache(struct job *job)
{
    struct worker *worker = job->worker;
    struct str key = redis_key_conversation(&job->arena, worker->conf->shared.redis_key_prefix,
                                            job->tenant, job->request.session);
    const struct str words[] = {STR("LRANGE"), key, STR("0"), STR("-1")};
    job->retrieval->state = FROM_CACHE;
    walk_ask(&job->walk);
    redis_ask(worker->redis, words, 4, cache_told, job);
}

/* Columns: newest turn, its request, then per message: turn, role, content, whole message or NULL.
 */
static struct value row_message(struct arena *arena, const struct postgres_rows *rows, size_t row)
{
    struct value whole;
    struct err err;
    if (!postgres_is_null(rows, row, 5) &&
        json_read(postgres_cell(rows, row, 5), arena, &whole, &err))
        return whole;
    struct value *map = value_map_new(arena, 2);
    value_map_add(map, STR("role"), value_str(arena_str(arena, postgres_cell(rows, row, 3))));
    value_map_add(map, STR("content"), value_str(arena_str(arena, postgres_cell(rows, row, 4))));
    return *map;
}

static void store_told(const struct postgres_result *result, const struct err *err, void *context)
{
    struct job *job = context;
    must_be(job, JOB_MAGIC);
    struct retrieval *r = job->retrieval;
    r->found = err == NULL;
    if (!err) {
        const struct postgres_rows *rows = &result->rows[0];
        r->holds_itself = rows->count && str_eq(postgres_cell(rows, 0, 1), job->id);
        for (size_t row = 0; row < rows->count; row++) {
            if (postgres_is_null(rows, row, 3))
                continue; /* a conversation without messages */
            struct value message = row_message(&job->arena, rows, row);
            take_message(r, &job->arena, &message);
        }
    }
    walk_answer(&job->walk);
}

static void ask_store(struct job *job)
{
    struct worker *worker = job->worker;
    struct err err;
    const struct str params[] = {job->tenant, job->request.session,
                                 arena_i64(&job->arena, worker->conf->history_turns),
                                 arena_i64(&job->arena, worker->conf->history_bytes_max)};
    const struct postgres_query query = {
        .statement = STATEMENT_HISTORY, .params = params, .param_count = 4};
    job->retrieval->state = FROM_STORE;
    walk_ask(&job->walk);
    if (!postgres_batch(worker->pg, &query, 1, 0, store_told, job, &err))
        store_told(NULL, &err, job);
}

enum verdict retrieve_begin(void *subject)
{
    struct job *job = subject;
    must_be(job, JOB_MAGIC);
    if (!job->session || job->known || job->conflict || job->err.code)
        return STEP_NEXT;
    job->retrieval = arena_new(&job->arena, struct retrieval);
    if (job->previous_id && redis_up(job->worker->redis))
        ask_cache(job);
    else
        ask_store(job);
    return STEP_WAIT;
}

/* The newest messages that fit into history_bytes; whole messages only. */
static const struct value *newest(struct job *job)
{
    struct retrieval *r = job->retrieval;
    size_t bytes = 0, limit = (size_t)job->worker->conf->history_bytes_max;
    uint32_t from = r->count;
    while (from > 0) {
        bytes += value_measure(&r->messages[from - 1]).bytes;
        if (bytes > limit)
            break;
        from--;
    }
    /* A conversation that is cut must not begin with an answer: providers refuse that. */
    while (from > 0 && from < r->count &&
           !str_is(value_get_str(&r->messages[from], "role"), "user"))
        from++;
    struct value *list = arena_new(&job->arena, struct value);
    *list =
        (struct value){.kind = VALUE_LIST, .count = r->count - from, .items = r->messages + from};
    return list;
}

enum verdict retrieve_finish(void *subject)
{
    struct job *job = subject;
    struct retrieval *r = job->retrieval;
    if (r->state == RESTING) {
        ask_store(job);
        return STEP_WAIT;
    }
    if (r->holds_itself) {
        /* It became final since it was looked up: another life's answer came late, or the id is
         * another body's. What is stored now is not the history it should be asked with. */
        job->replayed = true; /* the store is there, and has to speak */
        return STEP_BACK;
    }
    if (r->found) {
        job->history = newest(job);
        return STEP_NEXT;
    }
    if (r->state == FROM_CACHE) {
        ask_store(job);
        return STEP_WAIT;
    }
    if (!job_owned(job) || job->worker->draining)
        return STEP_FAIL;
    if (loop_now_ms(job->worker->loop) >= job->deadline_ms)
        return STEP_NEXT; /* the call step says "expired" */
    r->state = RESTING;
    walk_sleep_until(&job->walk, loop_now_ms(job->worker->loop) + ASK_AGAIN_MS);
    return STEP_WAIT;
}
