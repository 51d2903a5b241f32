/*
 * kafka_producer.c -- the simulated body of the producer half of common/io/kafka.h.
 *
 * Records of one producer arrive in the order they were given. A scene may let the next ones fail:
 * not written, or written or lost without the producer knowing (ERR_TIMEOUT).
 */
#include "tests/sim/kafka_inside.h"

#include <stdlib.h>

enum { PRODUCE_US = 3000 };

struct kafka_producer {
    struct sim_process *process;
    struct list ops;
    int64_t last_us; /* when the newest record arrives */
    int64_t timeout_us;
};

struct produce_op {
    struct sim_op op;
    char *topic;
    struct sim_record *record;
    void (*done)(const struct err *err, void *context);
    void *context;
    enum err_code code;
    bool too_big, unwritten;
};

static void produce_arrive(struct sim_op *op)
{
    struct produce_op *produce = container_of(op, struct produce_op, op);
    struct sim_kafka *kafka = op->sim->kafka;
    if (kafka->down) { /* it is tried until the time-out, and then nobody knows */
        produce->code = ERR_TIMEOUT;
        return;
    }
    if (op->way == SIM_WRONG || sim_topic(kafka, produce->topic)->refuses) {
        produce->code = ERR_UNAVAILABLE;
        return;
    }
    bool reply = sim_is_aggregator(op->process);
    unsigned *faults = reply ? &kafka->reply_faults : &kafka->produce_faults;
    enum sim_produce_fault fault = reply ? kafka->reply_fault : kafka->produce_fault;
    if (*faults) {
        --*faults;
        produce->code = fault == SIM_NOT_WRITTEN ? ERR_UNAVAILABLE : ERR_TIMEOUT;
        if (fault != SIM_WRITTEN_UNKNOWN)
            return;
    }
    sim_append(kafka, produce->topic, produce->record);
}

static void produce_answer(struct sim_op *op)
{
    struct produce_op *produce = container_of(op, struct produce_op, op);
    struct err err;
    enum err_code code = produce->too_big ? ERR_TOO_BIG : produce->code;
    if (op->way == SIM_NEVER || op->way == SIM_NO_ANSWER)
        code = ERR_TIMEOUT;
    if (code)
        err_set(&err, code, "the record was not confirmed");
    if (produce->done)
        produce->done(code ? &err : NULL, produce->context);
}

static void produce_free(struct sim_op *op)
{
    struct produce_op *produce = container_of(op, struct produce_op, op);
    free(produce->topic);
    free(produce);
}

bool kafka_produce(struct kafka_producer *producer, const struct kafka_produce *record)
{
    struct sim *sim = producer->process->sim;
    struct sim_kafka *kafka = sim->kafka;
    enum sim_way way = sim_door(producer->process, SIM_PRODUCE, record->topic);
    bool full = kafka->produce_full && !sim_is_aggregator(producer->process);
    if (full || way == SIM_REFUSE) {
        kafka->produce_full -= full;
        return false;
    }
    struct produce_op *produce = xzalloc(sizeof(*produce));
    int64_t there = sim->now_us + sim_latency_us(sim, PRODUCE_US);
    if (there < producer->last_us)
        there = producer->last_us;
    producer->last_us = there;
    produce->topic = xstrndup(str_of(record->topic));
    produce->record = sim_record_copy(sim, record);
    produce->done = record->done;
    produce->context = record->context;
    produce->too_big = record->value.len > sim_topic(kafka, record->topic)->bytes_max;
    produce->op.door = SIM_PRODUCE;
    produce->op.way = way;
    produce->op.give_up_us = sim->now_us + producer->timeout_us;
    produce->op.arrive = produce_arrive;
    produce->op.answer = produce_answer;
    produce->op.free = produce_free;
    sim_op_start(sim, producer->process, &producer->ops, &produce->op,
                 produce->too_big ? -1 : there,
                 kafka->down ? sim->now_us + producer->timeout_us : there + PRODUCE_US / 3);
    return true;
}

struct kafka_producer *kafka_producer_new(struct loop *loop, const struct kafka_conf *conf,
                                          void (*on_fatal)(const struct err *err, void *context),
                                          void *context, struct err *err)
{
    (void)on_fatal, (void)context, (void)err;
    struct kafka_producer *producer = xzalloc(sizeof(*producer));
    producer->process = loop_process(loop);
    producer->timeout_us = 1000 * (conf->delivery_timeout_ms ? conf->delivery_timeout_ms : 30000);
    list_init(&producer->ops);
    return producer;
}

/* What is under way arrives, as the flush would see to. */
void kafka_producer_free(struct kafka_producer *producer, int64_t flush_ms_max)
{
    (void)flush_ms_max;
    if (!producer)
        return;
    sim_ops_abandon(&producer->ops);
    free(producer);
}

bool kafka_producer_up(const struct kafka_producer *producer)
{
    return !producer->process->sim->kafka->down;
}

/* The library does not break here; what it means for others, records of unknown fate, the faults
 * of sim_kafka say. */
uint64_t kafka_producer_renewals(const struct kafka_producer *producer)
{
    (void)producer;
    return 0;
}

size_t kafka_producer_pending(const struct kafka_producer *producer)
{
    return producer->ops.count;
}

/* Settings of a door that is not there are good. */
bool kafka_property_check(struct str name, struct str value, struct err *err)
{
    (void)name, (void)value, (void)err;
    return true;
}
