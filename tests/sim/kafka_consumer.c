/*
 * kafka_consumer.c -- the simulated body of the consumer half of common/io/kafka.h.
 *
 * Records reach the program in copies of their own, freed when the program said it does not keep
 * them, or when the arena they were attached to is reset: whoever looks at one longer is caught by
 * the address sanitizer.
 */
#include "tests/sim/kafka_inside.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"

enum {
    JOIN_US = 5000,
    FETCH_US = 800,
    COMMIT_US = 1500,
    REVOKE_US = 1000,
    THAW_US = 6000,
    REJOIN_US = 500000, /* until a client has found its broker again */
    GIVE_UP_US = 5000000
};

struct commit_op {
    struct sim_op op;
    struct kafka_consumer *consumer;
    uint64_t member;
    struct sim_group *group;
    struct kafka_offset *offsets;
    size_t count;
    bool refused, fenced;
};

/* One delivered record's bytes. */
struct delivered {
    struct sim_process *holder;
    char *bytes;
};

struct str kafka_record_header(const struct kafka_record *record, const char *name)
{
    for (size_t i = record->header_count; i > 0; i--)
        if (str_is(record->headers[i - 1].name, name))
            return record->headers[i - 1].value;
    return (struct str){0};
}

static void delivered_free(void *object)
{
    struct delivered *d = object;
    d->holder->records_held--;
    free(d->bytes);
    free(d);
}

void kafka_record_keep(struct kafka_record *record, struct arena *arena)
{
    struct delivered **d = record->handle;
    must(d && *d);
    arena_defer(arena, delivered_free, *d);
    *d = NULL;
    record->handle = NULL;
}

/* Reading */

static struct str put(char **at, struct str s)
{
    if (!s.data)
        return s;
    struct str copy = {*at, s.len};
    memcpy(*at, s.data, s.len);
    *at += s.len;
    return copy;
}

struct delivered *sim_deliver(struct sim_process *process, const struct sim_topic *topic,
                              int32_t number, int64_t offset, struct kafka_record *ret)
{
    const struct sim_record *from = topic->partitions[number].records[offset];
    size_t bytes = from->key.len + from->value.len + 1;
    size_t headers =
        from->header_count < KAFKA_HEADERS_MAX ? from->header_count : KAFKA_HEADERS_MAX;
    for (size_t i = 0; i < headers; i++)
        bytes += from->headers[i].name.len + from->headers[i].value.len;
    struct delivered *d = xzalloc(sizeof(*d));
    d->holder = process;
    char *at = d->bytes = xzalloc(bytes);
    *ret = (struct kafka_record){
        .topic = topic->name,
        .partition = number,
        .offset = offset,
        .timestamp_ms = from->timestamp_ms,
        .key = put(&at, from->key),
        .value = put(&at, from->value),
        .header_count = headers,
    };
    for (size_t i = 0; i < headers; i++)
        ret->headers[i] = (struct kafka_header){put(&at, from->headers[i].name),
                                                put(&at, from->headers[i].value)};
    process->records_held++;
    return d;
}

void sim_delivered_free(struct delivered *delivered)
{
    if (delivered)
        delivered_free(delivered);
}

static void deliver(struct kafka_consumer *consumer, struct sim_reading *reading)
{
    const struct sim_share *share = reading->share;
    struct kafka_record record;
    struct delivered *d =
        sim_deliver(consumer->process, share->topic, share->number, reading->position++, &record);
    record.handle = &d;
    consumer->events.on_record(&record, consumer->events.context);
    sim_delivered_free(d);
}

static int64_t end_of(const struct sim_reading *reading)
{
    return (int64_t)reading->share->topic->partitions[reading->share->number].count;
}

static bool readable(const struct kafka_consumer *consumer, const struct sim_reading *reading)
{
    return !consumer->kafka->down && !consumer->revoked && !consumer->dead &&
           consumer->started == consumer->reading_count && !reading->paused;
}

static void die(struct kafka_consumer *consumer, enum err_code code, const char *text)
{
    struct err err;
    consumer->dead = true;
    err_set(&err, code, "%s", text);
    consumer->events.on_fatal(&err, consumer->events.context);
}

static void tell_end(struct kafka_consumer *consumer, struct sim_reading *reading)
{
    if (reading->end_told == reading->position || reading->position < end_of(reading))
        return;
    reading->end_told = reading->position;
    if (consumer->events.on_end)
        consumer->events.on_end(reading->share->topic->name, reading->share->number,
                                reading->position, consumer->events.context);
}

static void fetch(void *context)
{
    struct kafka_consumer *consumer = context;
    unsigned room = consumer->records_per_turn;
    size_t first = consumer->reading_count
                       ? rand_below(&consumer->kafka->sim->rand, consumer->reading_count)
                       : 0;
    for (size_t i = 0; i < consumer->reading_count; i++) {
        struct sim_reading *reading = &consumer->readings[(first + i) % consumer->reading_count];
        if (readable(consumer, reading) && reading->position > end_of(reading)) {
            die(consumer, ERR_OFFSET_LOST, "the partition has no such offset");
            return;
        }
        while (room && readable(consumer, reading) && reading->position < end_of(reading)) {
            deliver(consumer, reading);
            room--;
        }
        if (readable(consumer, reading))
            tell_end(consumer, reading);
    }
    sim_consumer_wake(consumer);
}

void sim_consumer_wake(struct kafka_consumer *consumer)
{
    struct sim *sim = consumer->kafka->sim;
    if (heap_linked(&consumer->fetch.node))
        return;
    for (size_t i = 0; i < consumer->reading_count; i++) {
        struct sim_reading *reading = &consumer->readings[i];
        if (!readable(consumer, reading) ||
            (reading->position >= end_of(reading) && reading->end_told == reading->position))
            continue;
        sim_event_set(sim, &consumer->fetch, consumer->process,
                      sim->now_us + sim_latency_us(sim, FETCH_US), fetch, consumer);
        return;
    }
}

static struct sim_reading *reading_of(struct kafka_consumer *consumer, const char *topic,
                                      int32_t partition)
{
    for (size_t i = 0; i < consumer->reading_count; i++) {
        struct sim_reading *reading = &consumer->readings[i];
        if (reading->share->number == partition && strcmp(reading->share->topic->name, topic) == 0)
            return reading;
    }
    return NULL;
}

void kafka_start(struct kafka_consumer *consumer, const char *topic, int32_t partition,
                 int64_t offset)
{
    struct sim_reading *reading = reading_of(consumer, topic, partition);
    if (!reading || reading->started || consumer->revoked)
        return;
    must(offset >= 0);
    reading->started = true;
    reading->position = offset;
    consumer->started++;
    sim_consumer_wake(consumer);
}

static void set_paused(struct kafka_consumer *consumer, const char *topic, int32_t partition,
                       bool paused)
{
    struct sim_reading *reading = reading_of(consumer, topic, partition);
    if (reading)
        reading->paused = paused;
    sim_consumer_wake(consumer);
}

void kafka_pause(struct kafka_consumer *consumer, const char *topic, int32_t partition)
{
    set_paused(consumer, topic, partition, true);
}

void kafka_resume(struct kafka_consumer *consumer, const char *topic, int32_t partition)
{
    set_paused(consumer, topic, partition, false);
}

/* Coming and going of partitions */

static void assigned(void *context)
{
    struct kafka_consumer *consumer = context;
    struct sim_group *group = consumer->member->group;
    struct kafka_partition *list = xcalloc(group->shares.count + 1, sizeof(*list));
    /* As the real door: what was given is taken away before something else is given. */
    must(!consumer->assigned || !consumer->reading_count);
    free(consumer->readings);
    consumer->readings = xcalloc(group->shares.count + 1, sizeof(*consumer->readings));
    consumer->reading_count = consumer->started = 0;
    LIST_EACH(&group->shares, node)
    {
        struct sim_share *share = container_of(node, struct sim_share, node);
        if (share->owner != consumer->member)
            continue;
        list[consumer->reading_count] = (struct kafka_partition){
            .topic = share->topic->name,
            .partition = share->number,
            .committed = share->committed,
            .high = (int64_t)share->topic->partitions[share->number].count,
        };
        consumer->readings[consumer->reading_count++] =
            (struct sim_reading){.share = share, .end_told = -1, .commit = -1};
    }
    consumer->assigned = true;
    sim_note(consumer->kafka->sim, consumer->process, "%s: %zu partitions assigned",
             consumer->group, consumer->reading_count);
    consumer->events.on_assigned(list, consumer->reading_count, consumer->events.context);
    free(list);
}

void sim_consumer_assign(struct kafka_consumer *consumer)
{
    struct sim *sim = consumer->kafka->sim;
    sim_event_set(sim, &consumer->assign, consumer->process,
                  sim->now_us + sim_latency_us(sim, REVOKE_US), assigned, consumer);
}

static void release_by_itself(void *context)
{
    kafka_release(context);
}

static void revoked(void *context)
{
    struct kafka_consumer *consumer = context;
    struct sim *sim = consumer->kafka->sim;
    bool told = consumer->revoked;
    consumer->revoked = true;
    if (!consumer->assigned || (told && consumer->lost)) {
        kafka_release(consumer);
        return;
    }
    if (told)
        return;
    if (!consumer->lost)
        sim_event_set(sim, &consumer->release, consumer->process,
                      sim->now_us + consumer->revoke_ms_max * 1000, release_by_itself, consumer);
    bool lost = consumer->lost;
    sim_note(sim, consumer->process, "%s: partitions %s", consumer->group,
             lost ? "lost" : "revoked");
    consumer->events.on_revoked(lost, consumer->events.context);
    if (lost && consumer->revoked)
        kafka_release(consumer);
}

/* A member that drains may be thrown out meanwhile: then the door lets go, and tells nobody. One
 * that stands still hears of it a moment after it has gone on: until then it believes that all is
 * as it was. */
void sim_consumer_revoke(struct kafka_consumer *consumer, bool lost)
{
    struct sim *sim = consumer->kafka->sim;
    int64_t frozen_until_us = consumer->process->frozen_until_us;
    int64_t from_us = frozen_until_us > sim->now_us ? frozen_until_us : sim->now_us;
    sim_event_cancel(&consumer->assign);
    consumer->lost = lost;
    sim_event_set(sim, &consumer->revoke, consumer->process,
                  from_us + sim_latency_us(sim, from_us > sim->now_us ? THAW_US : REVOKE_US),
                  revoked, consumer);
}

static void send_commit(struct kafka_consumer *consumer);

/* Commits that were made before the release reach the group before it; their answers are dropped.
 */
static void flush_commits(struct kafka_consumer *consumer)
{
    if (!consumer->lost)
        send_commit(consumer);
    LIST_EACH(&consumer->ops, node)
    {
        struct sim_op *op = container_of(node, struct sim_op, client);
        if (op->arrived)
            continue;
        sim_event_cancel(&op->there);
        op->arrived = true;
        if (!consumer->lost && op->way != SIM_NEVER)
            op->arrive(op);
    }
    sim_ops_abandon(&consumer->ops);
}

void kafka_release(struct kafka_consumer *consumer)
{
    if (!consumer->revoked || consumer->process->killed)
        return;
    flush_commits(consumer);
    sim_event_cancel(&consumer->release);
    sim_event_cancel(&consumer->revoke); /* whatever it was about, it is done */
    consumer->revoked = consumer->assigned = consumer->lost = consumer->committing = false;
    consumer->reading_count = 0;
    if (consumer->kafka->down || consumer->dead) {
        consumer->outside = !consumer->dead;
        return;
    }
    sim_group_released(consumer);
}

/* Commits */

static void commit_arrive(struct sim_op *op)
{
    struct commit_op *commit = container_of(op, struct commit_op, op);
    struct sim_kafka *kafka = op->sim->kafka;
    bool watched = commit->count && sim_topic(kafka, commit->offsets[0].topic)->has_requests;
    commit->refused = kafka->down || op->way == SIM_WRONG;
    if (watched && kafka->commit_faults) {
        kafka->commit_faults--;
        commit->refused = true;
    }
    for (size_t i = 0; i < commit->count && !commit->refused; i++) {
        struct sim_share *share =
            sim_share(commit->group, commit->offsets[i].topic, commit->offsets[i].partition);
        commit->fenced |= !share->owner || share->owner->number != commit->member;
    }
    commit->refused |= commit->fenced;
    for (size_t i = 0; i < commit->count && !commit->refused; i++) {
        struct sim_share *share =
            sim_share(commit->group, commit->offsets[i].topic, commit->offsets[i].partition);
        kafka->went_back |= watched && commit->offsets[i].offset < share->committed;
        share->committed = commit->offsets[i].offset;
    }
    kafka->commits += watched && !commit->refused;
}

static void commit_answer(struct sim_op *op)
{
    struct commit_op *commit = container_of(op, struct commit_op, op);
    struct kafka_consumer *consumer = commit->consumer;
    struct err err;
    err_set(&err, commit->fenced ? ERR_FENCED : ERR_UNAVAILABLE,
            "the group does not take the commit");
    consumer->committing = false;
    consumer->events.on_committed(commit->offsets, commit->count,
                                  commit->refused || op->lost ? &err : NULL,
                                  consumer->events.context);
}

static void commit_free(struct sim_op *op)
{
    struct commit_op *commit = container_of(op, struct commit_op, op);
    free(commit->offsets);
    free(commit);
}

static void start_commit(struct kafka_consumer *consumer, struct kafka_offset *offsets,
                         size_t count)
{
    struct sim *sim = consumer->kafka->sim;
    struct commit_op *commit = xzalloc(sizeof(*commit));
    consumer->committing = true;
    commit->op.door = SIM_COMMIT;
    commit->op.way = sim_door(consumer->process, SIM_COMMIT, consumer->group);
    commit->op.give_up_us = sim->now_us + GIVE_UP_US;
    commit->consumer = consumer;
    commit->member = consumer->member ? consumer->member->number : 0;
    commit->group = sim_group(consumer->kafka, consumer->group);
    commit->offsets = offsets;
    commit->count = count;
    commit->op.arrive = commit_arrive;
    commit->op.answer = commit_answer;
    commit->op.free = commit_free;
    sim_op_start(sim, consumer->process, &consumer->ops, &commit->op, sim->now_us + COMMIT_US / 2,
                 sim->now_us + COMMIT_US);
}

static void send_commit(struct kafka_consumer *consumer)
{
    struct kafka_offset *offsets = xcalloc(consumer->reading_count + 1, sizeof(*offsets));
    size_t count = 0;
    for (size_t i = 0; i < consumer->reading_count; i++) {
        struct sim_reading *reading = &consumer->readings[i];
        if (!reading->commit_due)
            continue;
        reading->commit_due = false;
        offsets[count++] = (struct kafka_offset){reading->share->topic->name,
                                                 reading->share->number, reading->commit};
    }
    if (count)
        start_commit(consumer, offsets, count);
    else
        free(offsets);
}

/* Commits leave at the end of the turn; newer ones wait for the answer of the one before. */
static bool turn_end(void *context)
{
    struct kafka_consumer *consumer = context;
    if (!consumer->committing)
        send_commit(consumer);
    return false;
}

void kafka_commit(struct kafka_consumer *consumer, const struct kafka_offset *offsets, size_t count)
{
    if (!consumer->assigned || consumer->lost)
        return;
    for (size_t i = 0; i < count; i++) {
        struct sim_reading *reading = reading_of(consumer, offsets[i].topic, offsets[i].partition);
        if (!reading || offsets[i].offset < reading->commit)
            continue;
        reading->commit = offsets[i].offset;
        reading->commit_due = true;
        sim_wake(consumer->process);
    }
}

/* Life */

static void join(void *context)
{
    struct kafka_consumer *consumer = context;
    consumer->outside = consumer->kafka->down;
    if (!consumer->outside)
        sim_group_join(consumer);
}

static void tell_fenced(void *context)
{
    die(context, ERR_FENCED, "another process has joined the group under this name");
}

void sim_consumer_fence(struct kafka_consumer *consumer)
{
    struct sim *sim = consumer->kafka->sim;
    consumer->member = NULL;
    sim_event_cancel(&consumer->assign);
    sim_event_set(sim, &consumer->fenced, consumer->process,
                  sim->now_us + sim_latency_us(sim, REVOKE_US), tell_fenced, consumer);
}

/* The client itself finds that it has not heard of the group for too long. */
static void session_over(void *context)
{
    struct kafka_consumer *consumer = context;
    if (consumer->kafka->down && consumer->assigned)
        sim_consumer_revoke(consumer, true);
}

void sim_consumer_kafka_down(struct kafka_consumer *consumer, bool down)
{
    struct sim *sim = consumer->kafka->sim;
    if (down && heap_linked(&consumer->session_over.node))
        return;
    sim_event_cancel(&consumer->session_over);
    if (down)
        sim_event_set(sim, &consumer->session_over, consumer->process,
                      sim->now_us + consumer->session_ms * 1000, session_over, consumer);
    else if (consumer->outside)
        sim_event_set(sim, &consumer->join, consumer->process,
                      sim->now_us + sim_latency_us(sim, REJOIN_US), join, consumer);
}

struct kafka_consumer *kafka_consumer_new(struct loop *loop, const struct kafka_conf *conf,
                                          const struct kafka_consumer_events *events,
                                          struct err *err)
{
    (void)err;
    struct kafka_consumer *consumer = xzalloc(sizeof(*consumer));
    struct sim_process *process = loop_process(loop);
    struct sim *sim = process->sim;
    consumer->process = process;
    consumer->kafka = sim->kafka;
    consumer->events = *events;
    consumer->group = xstrndup(conf->group);
    consumer->instance = xstrndup(conf->instance);
    consumer->loop = loop;
    consumer->turn_end = (struct loop_hook){.run = turn_end, .context = consumer};
    loop_add_turn_end(loop, &consumer->turn_end);
    consumer->session_ms = conf->session_timeout_ms ? conf->session_timeout_ms : 6000;
    consumer->revoke_ms_max = conf->revoke_ms_max ? conf->revoke_ms_max : 3000;
    consumer->records_per_turn = conf->records_per_turn ? conf->records_per_turn : 500;
    consumer->topics = xcalloc(conf->topic_count + 1, sizeof(struct sim_topic *));
    for (size_t i = 0; i < conf->topic_count; i++) {
        char *name = xstrndup(conf->topics[i]);
        consumer->topics[consumer->topic_count++] = sim_topic(sim->kafka, name);
        free(name);
    }
    list_init(&consumer->ops);
    list_append(&sim->kafka->consumers, &consumer->node);
    process->consumer = consumer;
    sim_event_set(sim, &consumer->join, process, sim->now_us + sim_latency_us(sim, JOIN_US), join,
                  consumer);
    return consumer;
}

static void send_last(struct kafka_consumer *consumer)
{
    if (consumer->assigned && !consumer->lost && !consumer->process->killed)
        send_commit(consumer);
}

void kafka_consumer_free(struct kafka_consumer *consumer, bool leave)
{
    if (!consumer)
        return;
    send_last(consumer);
    sim_group_leave(consumer, leave && !consumer->process->killed);
    loop_remove_hook(consumer->loop, &consumer->turn_end);
    sim_ops_abandon(&consumer->ops);
    struct sim_event *events[] = {&consumer->join,        &consumer->assign, &consumer->revoke,
                                  &consumer->release,     &consumer->fetch,  &consumer->fenced,
                                  &consumer->session_over};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        sim_event_cancel(events[i]);
    list_remove(&consumer->kafka->consumers, &consumer->node);
    free(consumer->readings);
    free(consumer->topics);
    free(consumer->group);
    free(consumer->instance);
    free(consumer);
}

bool kafka_consumer_up(const struct kafka_consumer *consumer)
{
    return !consumer->kafka->down;
}

bool kafka_consumer_joined(const struct kafka_consumer *consumer)
{
    return consumer->assigned && !consumer->revoked;
}

size_t sim_owned(const struct sim_process *process)
{
    size_t count = 0;
    for (size_t i = 0; process->consumer && i < process->consumer->reading_count; i++)
        count += strcmp(process->consumer->readings[i].share->topic->name, "quern.requests") == 0;
    return count;
}

size_t sim_paused(const struct sim_process *process)
{
    size_t count = 0;
    for (size_t i = 0; process->consumer && i < process->consumer->reading_count; i++)
        count += process->consumer->readings[i].paused;
    return count;
}

const char *kafka_library_version(void)
{
    return "simulated";
}
