/*
 * store.c -- the tables, the statements by name, and what stands in for the aggregator.
 *
 * The stub gathers parts of quern.results by request; when all slots are there it stores the final
 * result, appends the turn to its conversation, and runs the scripts "settled" and "conversation"
 * in Redis, a few milliseconds later: as the real aggregator does, minus everything that can go
 * wrong with it.
 *
 * To answer another statement: a function and its row in `statements`.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/contract/redis_keys.h"
#include "common/data/json.h"
#include "tests/sim/redis_inside.h"
#include "tests/sim/store_inside.h"

enum { STORE_US = 4000, PARTS_MAX = 16 };

struct request_row {
    struct map_node node;
    struct list_node final_node;
    struct sim_final row;
    bool is_final;
    const struct result *parts[PARTS_MAX];
    int slots;
};

struct message {
    int64_t turn;
    struct str role, content, whole; /* whole: JSON, absent when role and content say it all */
};

struct conversation {
    struct map_node node;
    int64_t turn;
    struct str last_id;
    struct message *messages;
    size_t count;
};

struct mark {
    struct map_node node;
    int64_t offset;
};

struct fed {
    struct list_node node;
    struct str value;
};

static void look(void *context);

struct sim_store *sim_store_new(struct sim *sim)
{
    struct sim_store *store = xzalloc(sizeof(*store));
    store->sim = sim;
    store->latency_us = 1500;
    map_init(&store->requests);
    map_init(&store->conversations);
    map_init(&store->marks);
    list_init(&store->finals);
    list_init(&store->waiting);
    list_init(&store->clients);
    return store;
}

/* Rows live in sim->arena. */
void sim_store_free(struct sim_store *store)
{
    for (struct map_node *node; (node = map_any(&store->conversations));) {
        map_remove(&store->conversations, node);
        free(container_of(node, struct conversation, node)->messages);
    }
    sim_event_cancel(&store->look);
    map_done(&store->requests);
    map_done(&store->conversations);
    map_done(&store->marks);
    free(store);
}

static struct str key_of(struct sim_store *store, struct str a, struct str b)
{
    return arena_printf(&store->sim->arena, STR_FMT "\x1f" STR_FMT, STR_ARG(a), STR_ARG(b));
}

static struct request_row *request_find(const struct sim_store *store, struct str tenant,
                                        struct str id)
{
    struct map_node *node =
        map_find(&store->requests, key_of((struct sim_store *)(uintptr_t)store, tenant, id));
    return node ? container_of(node, struct request_row, node) : NULL;
}

/* Statements */

void sim_rows_add(struct sim_rows *rows, const struct str *cells, size_t columns)
{
    must(columns <= COLUMNS_MAX);
    rows->columns = columns;
    rows->cells = xrealloc(rows->cells, (rows->count + 1) * sizeof(*rows->cells));
    memcpy(rows->cells[rows->count++], cells, columns * sizeof(*cells));
}

static struct str number(struct sim_store *store, int64_t n)
{
    return arena_printf(&store->sim->arena, "%lld", (long long)n);
}

/* The next item of {"a","b\"c"}; false at the end. */
static bool array_next(struct sim_store *store, struct str *array, struct str *ret)
{
    struct buf text;
    size_t at = 0;
    while (at < array->len && array->data[at] != '"')
        at++;
    if (at == array->len)
        return false;
    buf_init(&text, SIM_TEXT_MAX);
    for (at++; array->data[at] != '"'; at++) {
        at += array->data[at] == '\\';
        buf_add_char(&text, array->data[at]);
    }
    *ret = arena_str(&store->sim->arena, buf_str(&text));
    buf_done(&text);
    *array = str_slice(*array, at + 1, array->len);
    return true;
}

static struct str slots_text(struct sim_store *store, unsigned bits)
{
    struct str text = {0};
    for (int slot = 0; slot < PARTS_MAX; slot++)
        if (bits >> slot & 1)
            text = text.data ? arena_printf(&store->sim->arena, STR_FMT ",%d", STR_ARG(text), slot)
                             : number(store, slot);
    return text;
}

static void lookup(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct str tenants = params[0], ids = params[1], tenant, id;
    while (array_next(store, &tenants, &tenant) && array_next(store, &ids, &id)) {
        const struct request_row *r = request_find(store, tenant, id);
        if (!r)
            continue;
        const struct str cells[] = {tenant,
                                    id,
                                    r->row.status,
                                    r->row.body_hash,
                                    r->row.topic,
                                    number(store, r->row.partition),
                                    number(store, r->row.offset),
                                    slots_text(store, r->row.slots_stored)};
        sim_rows_add(ret, cells, 8);
    }
}

static void history(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct map_node *node = map_find(&store->conversations, key_of(store, params[0], params[1]));
    int64_t turns = 0;
    if (!node || !str_to_i64(params[2], 0, INT64_MAX, &turns))
        return;
    const struct conversation *c = container_of(node, struct conversation, node);
    for (size_t i = 0; i < c->count; i++) {
        const struct message *m = &c->messages[i];
        if (m->turn <= c->turn - turns)
            continue;
        const struct str cells[] = {number(store, c->turn),
                                    c->last_id,
                                    number(store, m->turn),
                                    m->role,
                                    m->content,
                                    m->whole};
        sim_rows_add(ret, cells, 6);
    }
    if (!ret->count) {
        const struct str cells[6] = {number(store, c->turn), c->last_id};
        sim_rows_add(ret, cells, 6);
    }
}

static void first_assigned(struct sim_store *store, const struct str *params, struct sim_rows *ret)
{
    struct str key = key_of(store, key_of(store, params[0], params[1]), params[2]);
    struct map_node *node = map_find(&store->marks, key);
    bool is_new = node == NULL;
    if (is_new) {
        struct mark *mark = arena_new(&store->sim->arena, struct mark);
        bool good = str_to_i64(params[3], 0, INT64_MAX, &mark->offset);
        must(good);
        map_add(&store->marks, &mark->node, key);
        node = &mark->node;
    }
    const struct str cells[] = {number(store, container_of(node, struct mark, node)->offset),
                                is_new ? STR("1") : STR("0")};
    sim_rows_add(ret, cells, 2);
}

static const struct statement {
    const char *name;
    void (*run)(struct sim_store *store, const struct str *params, struct sim_rows *ret);
} statements[] = {
    {"lookup", lookup},
    {"history", history},
    {"first_assigned", first_assigned},
};

void sim_store_run(struct sim_store *store, const char *name, const struct str *params,
                   struct sim_rows *ret)
{
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        if (strcmp(statements[i].name, name) != 0)
            continue;
        store->asked[i].name = statements[i].name;
        store->asked[i].count++;
        statements[i].run(store, params, ret);
        return;
    }
    must_not_reach("a statement that the simulation knows");
}

/* The aggregator's stub */

static void redis(struct sim_store *store, const char *script, size_t keys, const struct str *words,
                  size_t count)
{
    struct sim_answer answer;
    if (store->sim->redis->down)
        return;
    sim_lua_run(store->sim->redis, script, keys, words, count, &answer);
    must(answer.kind != REDIS_FAILED);
    sim_answer_done(&answer);
}

static void mark_settled(struct sim_store *store, const struct request_row *r)
{
    struct arena *arena = &store->sim->arena;
    const struct sim_final *row = &r->row;
    struct str words[1 + 2 * PARTS_MAX + 4], prefix = STR("quern:");
    size_t count = 0;
    words[count++] = redis_key_done(arena, prefix, row->tenant, row->id);
    for (int slot = 0; slot < r->slots; slot++) {
        words[count++] = redis_key_claim(arena, prefix, row->tenant, row->id, slot);
        words[count++] = redis_key_kept(arena, prefix, row->tenant, row->id, slot);
    }
    size_t keys = count;
    const struct result *any = r->parts[0];
    for (int slot = 1; !any; slot++)
        any = r->parts[slot];
    words[count++] = arena_printf(arena, STR_FMT " " STR_FMT " %d %lld " STR_FMT,
                                  STR_ARG(row->status), STR_ARG(row->body_hash), row->partition,
                                  (long long)row->offset, STR_ARG(row->topic));
    words[count++] = STR("600000");
    words[count++] = any->request.notify.data ? any->request.notify : STR("");
    words[count++] = key_of(store, row->tenant, row->id);
    redis(store, lua_settled, keys, words, count);
}

static struct conversation *conversation_of(struct sim_store *store, struct str tenant,
                                            struct str session)
{
    struct str key = key_of(store, tenant, session);
    struct map_node *node = map_find(&store->conversations, key);
    if (node)
        return container_of(node, struct conversation, node);
    struct conversation *c = arena_new(&store->sim->arena, struct conversation);
    map_add(&store->conversations, &c->node, key);
    return c;
}

static void say(struct sim_store *store, struct conversation *c, const struct value *message)
{
    struct arena *arena = &store->sim->arena;
    const struct value *content = value_get(message, STR("content"));
    bool plain = content && content->kind == VALUE_STR && message->count == 2;
    struct buf whole;
    buf_init(&whole, SIM_TEXT_MAX);
    json_write(message, &whole);
    c->messages = xrealloc(c->messages, (c->count + 1) * sizeof(*c->messages));
    c->messages[c->count++] = (struct message){
        .turn = c->turn,
        .role = value_get_str(message, "role"),
        .content = plain ? content->text : STR(""),
        .whole = plain ? (struct str){0} : arena_str(arena, buf_str(&whole)),
    };
    buf_done(&whole);
}

static struct value answer_message(struct sim_store *store, const struct result *result)
{
    if (result->message)
        return *result->message;
    struct value *map = value_map_new(&store->sim->arena, 2);
    value_map_add(map, STR("role"), value_str(STR("assistant")));
    value_map_add(map, STR("content"), value_str(result->text));
    return *map;
}

/* The list in Redis: {"turn":n,"id":"..","messages":[..]}. */
static void cache_turn(struct sim_store *store, const struct request_row *r,
                       const struct conversation *c, const struct value *messages)
{
    struct arena *arena = &store->sim->arena;
    struct buf text;
    struct json_writer w = {.out = &text};
    buf_init(&text, SIM_TEXT_MAX);
    json_open(&w, '{');
    json_key(&w, "turn");
    json_int(&w, c->turn);
    json_key(&w, "id");
    json_str(&w, r->row.id);
    json_key(&w, "messages");
    json_value(&w, messages);
    json_close(&w, '}');
    const struct str words[] = {
        redis_key_conversation(arena, STR("quern:"), r->row.tenant, r->row.session),
        number(store, c->turn), buf_str(&text), STR("86400"), STR("50")};
    redis(store, lua_conversation, 1, words, 5);
    buf_done(&text);
}

static void add_turn(struct sim_store *store, struct request_row *r, const struct result *winner)
{
    struct conversation *c = conversation_of(store, r->row.tenant, r->row.session);
    const struct value *question = winner ? winner->request.question : NULL;
    uint32_t asked = question ? question->count : 0, count = 0;
    struct value *said = arena_array(&store->sim->arena, struct value, asked + 1);
    r->row.turn = ++c->turn;
    c->last_id = r->row.id;
    for (; count < asked; count++)
        said[count] = question->items[count];
    if (winner)
        said[count++] = answer_message(store, winner);
    for (uint32_t i = 0; i < count; i++)
        say(store, c, &said[i]);
    const struct value messages = {.kind = VALUE_LIST, .count = count, .items = said};
    cache_turn(store, r, c, &messages);
}

static void finish(struct sim_store *store, struct request_row *r)
{
    const struct result *winner = NULL;
    for (int slot = r->slots; slot-- > 0;)
        if (str_is(r->parts[slot]->status, "ok"))
            winner = r->parts[slot];
    r->is_final = true;
    r->row.status = winner ? STR("done") : r->parts[0]->status;
    r->row.text = winner ? winner->text : r->parts[0]->error.code;
    r->row.stored_ms = sim_now_ms(store->sim);
    list_append(&store->finals, &r->final_node);
    if (!str_empty(r->row.session))
        add_turn(store, r, winner);
    mark_settled(store, r);
}

static struct request_row *row_of(struct sim_store *store, const struct result *part)
{
    struct request_row *r = request_find(store, part->tenant, part->request_id);
    if (r)
        return r;
    r = arena_new(&store->sim->arena, struct request_row);
    r->row = (struct sim_final){
        .tenant = part->tenant,
        .id = part->request_id,
        .status = STR("open"),
        .body_hash = part->request.body_hash,
        .session = part->request.session,
        .topic = part->request.topic,
        .partition = (int32_t)part->request.partition,
        .offset = part->request.offset,
    };
    r->slots = (int)part->slots;
    map_add(&store->requests, &r->node, key_of(store, part->tenant, part->request_id));
    return r;
}

static void gather(struct sim_store *store, struct str bytes)
{
    struct value document;
    struct err err;
    struct result *part = arena_new(&store->sim->arena, struct result);
    if (!contract_parse(bytes, ENCODING_MSGPACK, &store->sim->arena, &document, &err) ||
        !contract_read(&contract_result, &document, &store->sim->arena, part, &err))
        must_not_reach("a result that its own contract refuses");
    if (str_is(part->status, "repeat")) {
        struct request_row *known = request_find(store, part->tenant, part->request_id);
        if (known)
            known->row.repeats++;
        return;
    }
    struct request_row *r = row_of(store, part);
    if (r->is_final || r->parts[part->slot] || !str_eq(r->row.body_hash, part->request.body_hash))
        return;
    r->parts[part->slot] = part;
    r->row.slots_stored |= 1u << part->slot;
    for (int slot = 0; slot < r->slots; slot++)
        if (!r->parts[slot])
            return;
    finish(store, r);
}

static void plan(struct sim_store *store)
{
    struct sim *sim = store->sim;
    if (!list_empty(&store->waiting) && !store->paused && !store->down)
        sim_event_set(sim, &store->look, NULL, sim->now_us + sim_latency_us(sim, STORE_US), look,
                      store);
}

static void look(void *context)
{
    struct sim_store *store = context;
    for (struct list_node *node;
         !store->paused && !store->down && (node = list_pop(&store->waiting));)
        gather(store, container_of(node, struct fed, node)->value);
}

void sim_store_feed(struct sim *sim, struct str value)
{
    struct fed *fed = arena_new(&sim->arena, struct fed);
    fed->value = value;
    list_append(&sim->store->waiting, &fed->node);
    if (!heap_linked(&sim->store->look.node))
        plan(sim->store);
}

/* What scenes do and see */

void sim_aggregator_pause(struct sim *sim, bool pause)
{
    sim->store->paused = pause;
    plan(sim->store);
}

const struct sim_final *sim_final_of(const struct sim *sim, const char *tenant, const char *id)
{
    const struct request_row *r = request_find(sim->store, str_of(tenant), str_of(id));
    return r && r->is_final ? &r->row : NULL;
}

const struct sim_final *sim_final(const struct sim *sim, const char *id)
{
    return sim_final_of(sim, "default", id);
}

size_t sim_final_count(const struct sim *sim)
{
    return sim->store->finals.count;
}

size_t sim_asked(const struct sim *sim, const char *statement)
{
    for (size_t i = 0; i < STATEMENTS_MAX; i++)
        if (sim->store->asked[i].name && strcmp(sim->store->asked[i].name, statement) == 0)
            return sim->store->asked[i].count;
    return 0;
}
