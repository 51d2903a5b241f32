/*
 * kafka_fetcher.c -- the simulated body of common/io/kafka_fetcher.h.
 *
 * While the broker is away a stretch brings nothing, and ends when its time is over.
 */
#include "common/io/kafka_fetcher.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/kafka_inside.h"

enum { FETCH_US = 1500, AWAY_US = 100000 };

/* A partition that was asked for. */
struct kafka_fetch_part {
    struct list_node node;
    struct sim_topic *topic;
    int32_t number;
    struct list asked;
};

struct kafka_fetcher {
    struct sim_process *process;
    struct sim_kafka *kafka;
    struct kafka_fetcher_events events;
    struct list parts;
    struct sim_event look;
    unsigned records_per_turn;
    int64_t timeout_ms;
};

static void look(void *context);

static void look_after(struct kafka_fetcher *fetcher, int64_t us)
{
    struct sim *sim = fetcher->kafka->sim;
    if (!heap_linked(&fetcher->look.node))
        sim_event_set(sim, &fetcher->look, fetcher->process, sim->now_us + sim_latency_us(sim, us),
                      look, fetcher);
}

static struct kafka_fetch_part *part_of(struct kafka_fetcher *fetcher,
                                        const struct kafka_fetch *fetch)
{
    struct sim_topic *topic = sim_topic(fetcher->kafka, fetch->topic);
    LIST_EACH(&fetcher->parts, node)
    {
        struct kafka_fetch_part *part = container_of(node, struct kafka_fetch_part, node);
        if (part->topic == topic && part->number == fetch->partition)
            return part;
    }
    struct kafka_fetch_part *part = xzalloc(sizeof(*part));
    part->topic = topic;
    part->number = fetch->partition;
    list_init(&part->asked);
    list_append(&fetcher->parts, &part->node);
    return part;
}

static int64_t now_ms(const struct kafka_fetcher *fetcher)
{
    return sim_now_ms(fetcher->kafka->sim);
}

void kafka_fetch(struct kafka_fetcher *fetcher, struct kafka_fetch *fetch)
{
    must(fetch->first >= 0 && fetch->last >= fetch->first);
    fetch->part = part_of(fetcher, fetch);
    fetch->since_ms = now_ms(fetcher);
    fetch->trouble = (int)sim_door(fetcher->process, SIM_FETCH, fetch->topic);
    list_append(&fetch->part->asked, &fetch->node);
    look_after(fetcher, FETCH_US);
}

void kafka_fetch_cancel(struct kafka_fetcher *fetcher, struct kafka_fetch *fetch)
{
    (void)fetcher;
    if (fetch->part)
        list_remove(&fetch->part->asked, &fetch->node);
    fetch->part = NULL;
}

static void done(struct kafka_fetcher *fetcher, struct kafka_fetch *fetch, enum err_code code,
                 const char *text)
{
    struct kafka_fetch_part *part = fetch->part;
    struct err err;
    err_set(&err, code, "%s", text);
    kafka_fetch_cancel(fetcher, fetch);
    struct list_node *next = list_first(&part->asked);
    if (next)
        container_of(next, struct kafka_fetch, node)->since_ms = now_ms(fetcher);
    fetcher->events.on_done(fetch, code ? &err : NULL, fetcher->events.context);
}

static void deliver(struct kafka_fetcher *fetcher, struct kafka_fetch *fetch)
{
    const struct kafka_fetch_part *part = fetch->part;
    struct kafka_record record;
    struct delivered *d =
        sim_deliver(fetcher->process, part->topic, part->number, fetch->first, &record);
    record.handle = &d;
    fetch->first++;
    fetch->since_ms = now_ms(fetcher);
    fetcher->events.on_record(fetch, &record, fetcher->events.context);
    sim_delivered_free(d);
}

/* What is asked for first of a partition, as far as there is room. */
static void serve(struct kafka_fetcher *fetcher, struct kafka_fetch_part *part, unsigned *room)
{
    struct list_node *node = list_first(&part->asked);
    struct kafka_fetch *fetch = container_of(node, struct kafka_fetch, node);
    int64_t end = (int64_t)part->topic->partitions[part->number].count;
    if (fetch->trouble == SIM_WRONG) {
        done(fetcher, fetch, ERR_UNAVAILABLE, "the broker does not answer that");
        return;
    }
    if (fetcher->kafka->down || fetch->trouble == SIM_NEVER) {
        if (now_ms(fetcher) - fetch->since_ms >= fetcher->timeout_ms)
            done(fetcher, fetch, ERR_TIMEOUT, "the records did not come in time");
        return;
    }
    if (fetch->first >= end) {
        done(fetcher, fetch, ERR_OFFSET_LOST, "the partition has no such offset");
        return;
    }
    for (; *room > 0 && list_first(&part->asked) == node; --*room) {
        bool last = fetch->first >= fetch->last || fetch->first + 1 >= end;
        deliver(fetcher, fetch);
        if (last && list_first(&part->asked) == node)
            done(fetcher, fetch, ERR_NONE, "");
    }
}

static void look(void *context)
{
    struct kafka_fetcher *fetcher = context;
    unsigned room = fetcher->records_per_turn;
    bool more = false;
    LIST_EACH(&fetcher->parts, node)
    {
        struct kafka_fetch_part *part = container_of(node, struct kafka_fetch_part, node);
        if (room > 0 && !list_empty(&part->asked))
            serve(fetcher, part, &room);
        more |= !list_empty(&part->asked);
    }
    if (more)
        look_after(fetcher, fetcher->kafka->down ? AWAY_US : FETCH_US);
}

struct kafka_fetcher *kafka_fetcher_new(struct loop *loop, const struct kafka_conf *conf,
                                        int64_t timeout_ms,
                                        const struct kafka_fetcher_events *events, struct err *err)
{
    (void)err;
    struct kafka_fetcher *fetcher = xzalloc(sizeof(*fetcher));
    fetcher->process = loop_process(loop);
    fetcher->kafka = fetcher->process->sim->kafka;
    fetcher->events = *events;
    fetcher->timeout_ms = timeout_ms;
    fetcher->records_per_turn = conf->records_per_turn ? conf->records_per_turn : 500;
    list_init(&fetcher->parts);
    return fetcher;
}

void kafka_fetcher_forget(struct kafka_fetcher *fetcher)
{
    for (struct list_node *node; (node = list_pop(&fetcher->parts));) {
        struct kafka_fetch_part *part = container_of(node, struct kafka_fetch_part, node);
        must(list_empty(&part->asked));
        free(part);
    }
}

void kafka_fetcher_free(struct kafka_fetcher *fetcher)
{
    if (!fetcher)
        return;
    sim_event_cancel(&fetcher->look);
    for (struct list_node *node; (node = list_pop(&fetcher->parts));)
        free(container_of(node, struct kafka_fetch_part, node));
    free(fetcher);
}
