/*
 * kafka_broker.c -- topics in memory, and what scenes put into them and read from them.
 *
 * Keys choose partitions by a hash of the simulator's own; what matters is that a key has one.
 */
#include "tests/sim/kafka_inside.h"

#include <stdlib.h>
#include <string.h>

#include "common/data/json.h"

#define REQUESTS "quern.requests"

struct sim_kafka *sim_kafka_new(struct sim *sim)
{
    struct sim_kafka *kafka = xzalloc(sizeof(*kafka));
    kafka->sim = sim;
    kafka->partitions = 4;
    list_init(&kafka->topics);
    list_init(&kafka->groups);
    list_init(&kafka->consumers);
    return kafka;
}

static void topic_free(struct sim_topic *topic)
{
    for (int32_t i = 0; i < topic->partition_count; i++)
        free(topic->partitions[i].records);
    free(topic->partitions);
    free(topic->name);
    free(topic);
}

void sim_kafka_free(struct sim_kafka *kafka)
{
    for (struct list_node *node; (node = list_pop(&kafka->groups));)
        sim_group_free(container_of(node, struct sim_group, node));
    for (struct list_node *node; (node = list_pop(&kafka->topics));)
        topic_free(container_of(node, struct sim_topic, node));
    free(kafka->results.items);
    free(kafka->replies.items);
    free(kafka);
}

struct sim_topic *sim_topic(struct sim_kafka *kafka, const char *name)
{
    LIST_EACH(&kafka->topics, node)
    {
        struct sim_topic *topic = container_of(node, struct sim_topic, node);
        if (strcmp(topic->name, name) == 0)
            return topic;
    }
    struct sim_topic *topic = xzalloc(sizeof(*topic));
    topic->name = xstrndup(str_of(name));
    topic->partition_count = kafka->partitions;
    topic->partitions = xcalloc((size_t)kafka->partitions, sizeof(*topic->partitions));
    topic->bytes_max = 32 << 20;
    topic->has_requests = str_starts(str_of(name), STR(REQUESTS));
    list_append(&kafka->topics, &topic->node);
    return topic;
}

static struct str copy(struct sim *sim, struct str s)
{
    return s.data ? arena_str(&sim->arena, s) : s;
}

struct sim_record *sim_record_copy(struct sim *sim, const struct kafka_produce *produce)
{
    struct sim_record *record = arena_new(&sim->arena, struct sim_record);
    record->key = copy(sim, produce->key);
    record->value = copy(sim, produce->value);
    record->header_count = produce->header_count;
    record->headers = arena_array(&sim->arena, struct kafka_header, produce->header_count + 1);
    for (size_t i = 0; i < produce->header_count; i++)
        record->headers[i] = (struct kafka_header){copy(sim, produce->headers[i].name),
                                                   copy(sim, produce->headers[i].value)};
    return record;
}

static uint32_t key_hash(struct str key)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ (unsigned char)key.data[i]) * 16777619u;
    return hash;
}

static void add_reply(struct sim_kafka *kafka, const char *topic, const struct sim_record *record)
{
    if (kafka->replies.count == kafka->replies.cap) {
        kafka->replies.cap = kafka->replies.cap ? kafka->replies.cap * 2 : 64;
        kafka->replies.items =
            xrealloc(kafka->replies.items, kafka->replies.cap * sizeof(*kafka->replies.items));
    }
    kafka->replies.items[kafka->replies.count++] = (struct seen_reply){topic, record, NULL};
}

struct sim_place sim_append(struct sim_kafka *kafka, const char *name,
                            const struct sim_record *given)
{
    struct sim_topic *topic = sim_topic(kafka, name);
    struct sim_record *record = arena_new(&kafka->sim->arena, struct sim_record);
    uint32_t number = given->key.data ? key_hash(given->key) % (uint32_t)topic->partition_count : 0;
    struct sim_partition *p = &topic->partitions[number];
    *record = *given;
    record->timestamp_ms = SIM_WALL_MS + sim_now_ms(kafka->sim);
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        p->records = xrealloc(p->records, p->cap * sizeof(struct sim_record *));
    }
    p->records[p->count++] = record;
    if (str_starts(str_of(name), STR("quern.replies")))
        add_reply(kafka, topic->name, record);
    LIST_EACH(&kafka->consumers, node)
    sim_consumer_wake(container_of(node, struct kafka_consumer, node));
    return (struct sim_place){topic->name, (int32_t)number, (int64_t)p->count - 1};
}

/* Publishing */

static void write_models(struct json_writer *w, struct str names)
{
    struct str name;
    json_key(w, "models");
    json_open(w, '[');
    while (str_split(&names, ',', &name))
        json_str(w, name);
    json_close(w, ']');
}

static void write_merge(struct json_writer *w, const struct sim_request *r)
{
    json_key(w, "merge");
    json_open(w, '{');
    json_key(w, "policy");
    json_str(w, str_of(r->policy));
    if (r->quorum) {
        json_key(w, "quorum");
        json_int(w, r->quorum);
    }
    if (r->merge_deadline_ms) {
        json_key(w, "deadline_ms");
        json_int(w, r->merge_deadline_ms);
    }
    json_close(w, '}');
}

static void write_request(const struct sim_request *r, struct buf *ret)
{
    struct json_writer w = {.out = ret};
    const struct {
        const char *key, *value;
    } texts[] = {{"id", r->id},
                 {"tenant", r->tenant},
                 {"user", r->user},
                 {"session", r->session},
                 {"reply_to", r->reply_to},
                 {"route", r->route},
                 {"input", r->input ? r->input : "hello"}};
    json_open(&w, '{');
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!texts[i].value)
            continue;
        json_key(&w, texts[i].key);
        json_str(&w, str_of(texts[i].value));
    }
    if (r->models)
        write_models(&w, str_of(r->models));
    if (r->policy)
        write_merge(&w, r);
    if (r->deadline_ms) {
        json_key(&w, "deadline_ms");
        json_int(&w, r->deadline_ms);
    }
    if (r->max_latency_ms) {
        json_key(&w, "max_latency_ms");
        json_int(&w, r->max_latency_ms);
    }
    if (r->note) {
        json_key(&w, "metadata");
        json_open(&w, '{');
        json_key(&w, "note");
        json_str(&w, str_of(r->note));
        json_close(&w, '}');
    }
    if (r->created_at_ms) {
        json_key(&w, "created_at");
        json_int(&w, SIM_WALL_MS + r->created_at_ms);
    }
    json_close(&w, '}');
}

struct sim_place sim_publish(struct sim *sim, struct sim_request request)
{
    struct buf body;
    buf_init(&body, SIM_TEXT_MAX);
    if (request.raw)
        buf_add(&body, request.raw, request.raw_len ? request.raw_len : strlen(request.raw));
    else
        write_request(&request, &body);
    const char *key = request.session ? request.session : request.id;
    struct kafka_header headers[KAFKA_HEADERS_MAX];
    size_t count = 0;
    if (request.content_type)
        headers[count++] =
            (struct kafka_header){STR(HEADER_CONTENT_TYPE), str_of(request.content_type)};
    for (const char *const *at = request.headers; at && *at; at += 2) {
        must(count < KAFKA_HEADERS_MAX);
        headers[count++] = (struct kafka_header){str_of(at[0]), str_of(at[1])};
    }
    const struct kafka_produce produce = {
        .key = str_of(key), .value = buf_str(&body), .headers = headers, .header_count = count};
    struct sim_record *record = sim_record_copy(sim, &produce);
    record->foreign = true;
    struct sim_place place =
        sim_append(sim->kafka, request.topic ? request.topic : REQUESTS, record);
    buf_done(&body);
    return place;
}

void sim_partitions(struct sim *sim, int32_t count)
{
    must(list_empty(&sim->kafka->topics));
    sim->kafka->partitions = count;
}

/* Troubles */

void sim_produce_fails(struct sim *sim, enum sim_produce_fault fault, unsigned count)
{
    sim->kafka->produce_fault = fault;
    sim->kafka->produce_faults = count;
}

void sim_replies_fail(struct sim *sim, enum sim_produce_fault fault, unsigned count)
{
    sim->kafka->reply_fault = fault;
    sim->kafka->reply_faults = count;
}

void sim_produce_full(struct sim *sim, unsigned count)
{
    sim->kafka->produce_full = count;
}

void sim_commits_fail(struct sim *sim, unsigned count)
{
    sim->kafka->commit_faults = count;
}

void sim_kafka_down(struct sim *sim, bool down)
{
    sim->kafka->down = down;
    LIST_EACH(&sim->kafka->consumers, node)
    {
        struct kafka_consumer *consumer = container_of(node, struct kafka_consumer, node);
        sim_consumer_kafka_down(consumer, down);
        sim_consumer_wake(consumer);
    }
}

void sim_topic_refuses(struct sim *sim, const char *topic)
{
    sim_topic(sim->kafka, topic)->refuses = true;
}

void sim_topic_bytes_max(struct sim *sim, const char *topic, size_t bytes)
{
    sim_topic(sim->kafka, topic)->bytes_max = bytes;
}

/* Looking */

static const struct sim_record *record_at(struct sim *sim, const char *topic, size_t index)
{
    struct sim_topic *t = sim_topic(sim->kafka, topic);
    for (int32_t i = 0; i < t->partition_count; i++) {
        if (index < t->partitions[i].count)
            return t->partitions[i].records[index];
        index -= t->partitions[i].count;
    }
    return NULL;
}

static size_t record_count(struct sim *sim, const char *topic)
{
    struct sim_topic *t = sim_topic(sim->kafka, topic);
    size_t count = 0;
    for (int32_t i = 0; i < t->partition_count; i++)
        count += t->partitions[i].count;
    return count;
}

static void decode(struct sim *sim, const struct contract *contract, struct str bytes,
                   enum encoding encoding, void *ret)
{
    struct value document;
    struct err err;
    if (!contract_parse(bytes, encoding, &sim->arena, &document, &err) ||
        !contract_read(contract, &document, &sim->arena, ret, &err))
        must_not_reach("a message of ours that its own contract refuses");
}

/* In the order they were written, over all partitions. */
static void decode_results(struct sim *sim)
{
    struct sim_kafka *kafka = sim->kafka;
    struct sim_topic *t = sim_topic(kafka, "quern.results");
    for (;;) {
        int32_t first = -1;
        for (int32_t i = 0; i < t->partition_count; i++) {
            size_t at = kafka->results.seen[i];
            if (at < t->partitions[i].count &&
                (first < 0 ||
                 t->partitions[i].records[at]->timestamp_ms <
                     t->partitions[first].records[kafka->results.seen[first]]->timestamp_ms))
                first = i;
        }
        if (first < 0)
            return;
        struct result *result = arena_new(&sim->arena, struct result);
        const struct sim_record *record =
            t->partitions[first].records[kafka->results.seen[first]++];
        if (record->foreign)
            continue;
        decode(sim, &contract_result, record->value, ENCODING_MSGPACK, result);
        kafka->results.items =
            xrealloc(kafka->results.items, (kafka->results.count + 1) * sizeof(struct result *));
        kafka->results.items[kafka->results.count++] = result;
    }
}

size_t sim_result_count(struct sim *sim)
{
    decode_results(sim);
    return sim->kafka->results.count;
}

const struct result *sim_result(struct sim *sim, size_t index)
{
    decode_results(sim);
    must(index < sim->kafka->results.count);
    return sim->kafka->results.items[index];
}

/* Calls of a slot that was given up are none. */
static bool is_part(const struct result *result)
{
    return !str_is(result->status, "calls");
}

const struct result *sim_part(struct sim *sim, const char *id, int slot)
{
    for (size_t i = 0; i < sim_result_count(sim); i++) {
        const struct result *result = sim_result(sim, i);
        if (str_is(result->request_id, id) && result->slot == slot && is_part(result))
            return result;
    }
    return NULL;
}

size_t sim_parts_of(struct sim *sim, const char *id)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_result_count(sim); i++)
        count += str_is(sim_result(sim, i)->request_id, id) && is_part(sim_result(sim, i));
    return count;
}

static struct str header_of(const struct sim_record *record, const char *name)
{
    for (size_t i = 0; i < record->header_count; i++)
        if (str_is(record->headers[i].name, name))
            return record->headers[i].value;
    return (struct str){0};
}

size_t sim_dead_count(struct sim *sim)
{
    return record_count(sim, "quern.dead");
}

struct sim_dead sim_dead(struct sim *sim, size_t index)
{
    const struct sim_record *record = record_at(sim, "quern.dead", index);
    must(record);
    int64_t partition = -1, offset = -1;
    str_to_i64(header_of(record, HEADER_DEAD_PARTITION), 0, INT32_MAX, &partition);
    str_to_i64(header_of(record, HEADER_DEAD_OFFSET), 0, INT64_MAX, &offset);
    return (struct sim_dead){
        .id = header_of(record, HEADER_DEAD_ID),
        .code = header_of(record, HEADER_DEAD_CODE),
        .reason = header_of(record, HEADER_DEAD_REASON),
        .value = record->value,
        .topic = header_of(record, HEADER_DEAD_TOPIC),
        .partition = (int32_t)partition,
        .offset = offset,
    };
}

struct str sim_dead_header(struct sim *sim, size_t index, const char *name)
{
    const struct sim_record *record = record_at(sim, "quern.dead", index);
    must(record);
    return header_of(record, name);
}

size_t sim_replies(struct sim *sim)
{
    return sim->kafka->replies.count;
}

const struct reply *sim_reply_at(struct sim *sim, size_t index)
{
    must(index < sim->kafka->replies.count);
    struct seen_reply *seen = &sim->kafka->replies.items[index];
    if (!seen->reply) {
        seen->reply = arena_new(&sim->arena, struct reply);
        decode(sim, &contract_reply, seen->record->value, ENCODING_JSON, seen->reply);
    }
    return seen->reply;
}

const char *sim_reply_topic(struct sim *sim, size_t index)
{
    must(index < sim->kafka->replies.count);
    return sim->kafka->replies.items[index].topic;
}

struct str sim_reply_text(struct sim *sim, const struct reply *reply)
{
    struct buf list;
    struct json_writer w = {.out = &list};
    if (!reply->embeddings.count)
        return reply->text;
    buf_init(&list, SIM_TEXT_MAX);
    json_open(&w, '[');
    for (size_t i = 0; i < reply->embeddings.count; i++)
        json_str(&w, reply->embeddings.items[i]);
    json_close(&w, ']');
    struct str text = arena_str(&sim->arena, buf_str(&list));
    buf_done(&list);
    return text;
}

size_t sim_replies_of(struct sim *sim, const char *id)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_replies(sim); i++)
        count += str_is(sim_reply_at(sim, i)->request_id, id);
    return count;
}

const struct reply *sim_conflict_of(struct sim *sim, const char *id)
{
    for (size_t i = 0; i < sim_replies(sim); i++)
        if (str_is(sim_reply_at(sim, i)->request_id, id) &&
            str_is(sim_reply_at(sim, i)->error.code, "id_conflict"))
            return sim_reply_at(sim, i);
    return NULL;
}

const struct reply *sim_reply_of(struct sim *sim, const char *id)
{
    for (size_t i = 0; i < sim_replies(sim); i++)
        if (str_is(sim_reply_at(sim, i)->request_id, id))
            return sim_reply_at(sim, i);
    return NULL;
}
