/*
 * gather.c -- records of the result topic become parts, parts meet in groups, and what changes goes
 * to the store as entries, one per record.
 *
 * A callback of Kafka only copies the record; it is read in gather_run(). A record that cannot be
 * understood goes to the dead letters; as long as its names can be read it counts as a part that
 * failed, so that whoever asked gets a reply. A second part for the same slot, for a request that
 * is final already, or of another request with the same id, adds only its calls to the ledger.
 * Who published that other request is told; the store's word decides, see store/extras.h.
 *
 * Deadlines: open groups stand in a heap. A deadline is acted on only after the partition has been
 * read past that time or to its end, so that a part that came in time but is read late still
 * counts; and only by the owner, because the transaction is fenced.
 */
#include "aggregator/gather/inside.h"

#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"

enum { LOOK_AGAIN_MS = 200, RECORD_WEIGHT = 1024 };
enum { TENANT_BYTES_MAX = 64, ID_BYTES_MAX = 128 }; /* as in schemas/result.def */

struct gather *gather_new(struct aggregator *aggregator)
{
    struct gather *gather = xzalloc(sizeof(*gather));
    gather->aggregator = aggregator;
    list_init(&gather->inbox);
    list_init(&gather->questions);
    map_init(&gather->groups);
    heap_init(&gather->due);
    return gather;
}

void gather_free(struct gather *gather)
{
    if (!gather)
        return;
    gather_clear(gather);
    assign_forget(gather);
    timer_cancel(gather->aggregator->loop, &gather->wake);
    timer_cancel(gather->aggregator->loop, &gather->own_timer);
    timer_cancel(gather->aggregator->loop, &gather->release_timer);
    timer_cancel(gather->aggregator->loop, &gather->fence_timer);
    timer_cancel(gather->aggregator->loop, &gather->commit_timer);
    map_done(&gather->groups);
    heap_done(&gather->due);
    free(gather);
}

void gather_forget(struct gather *gather, struct group *group)
{
    if (!group->node.linked)
        return;
    map_remove(&gather->groups, &group->node);
    heap_remove(&gather->due, &group->due);
    group_unref(group);
}

void gather_clear(struct gather *gather)
{
    for (struct list_node *node; (node = list_pop(&gather->inbox));)
        entry_free(container_of(node, struct entry, node));
    for (struct map_node *node; (node = map_any(&gather->groups));)
        gather_forget(gather, container_of(node, struct group, node));
}

/* ---- records ---- */

void gather_record(struct kafka_record *record, void *context)
{
    struct aggregator *aggregator = context;
    struct gather *gather = aggregator->gather;
    if (!aggregator_partition(aggregator, record->partition) || aggregator->draining)
        return;
    size_t bytes_max = (size_t)aggregator->conf->shared.message_bytes_max * 6;
    struct part *part = part_new(aggregator->pool, bytes_max);
    struct entry *entry = entry_new(ENTRY_PART, record->partition, record->offset);
    entry->part = part;
    entry->bytes = record->value.len + RECORD_WEIGHT;
    part->raw = arena_str(&part->arena, record->value);
    part->key = arena_str(&part->arena, record->key);
    part->content_type = arena_str(&part->arena, kafka_record_header(record, HEADER_CONTENT_TYPE));
    part->traceparent = arena_str(&part->arena, kafka_record_header(record, HEADER_TRACEPARENT));
    part->timestamp_ms = record->timestamp_ms;
    list_append(&gather->inbox, &entry->node);
    CRASH_POINT(result_taken);
}

void gather_end(const char *topic, int32_t partition, int64_t next_offset, void *context)
{
    (void)topic;
    (void)next_offset;
    struct aggregator *aggregator = context;
    struct partition *p = aggregator_partition(aggregator, partition);
    if (p)
        p->at_end = true;
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < 0x20 || s.data[i] == 0x7f)
            return false;
    return s.len > 0;
}

static bool check_result(const struct result *result, struct err *err)
{
    if (!is_name(result->request_id) || !is_name(result->tenant)) {
        err_set(err, ERR_INVALID_REQUEST,
                "request_id and tenant must be there, without control"
                " characters");
        return false;
    }
    if (result->slot >= result->slots) {
        err_set(err, ERR_INVALID_REQUEST, "slot %lld does not fit slots %lld",
                (long long)result->slot, (long long)result->slots);
        return false;
    }
    return true;
}

static bool is_name_of(struct str name, size_t bytes_max)
{
    return is_name(name) && name.len <= bytes_max && str_utf8_valid(name);
}

/* What can be had of a result that breaks its contract: enough for whoever looks into the dead
 * letters, and for a part that failed. */
static void salvage(struct part *part, const struct value *data)
{
    struct result *result = &part->result;
    struct err ignored;
    const struct value *ticket = value_get(data, STR("request"));
    contract_init(&contract_result, result);
    result->tenant = value_get_str(data, "tenant");
    result->request_id = value_get_str(data, "request_id");
    int64_t slot = value_get_int(data, "slot", 0), slots = value_get_int(data, "slots", 1);
    if (!is_name_of(result->tenant, TENANT_BYTES_MAX) ||
        !is_name_of(result->request_id, ID_BYTES_MAX) || slot < 0 || slot >= slots ||
        slots > SLOTS_MAX)
        return;
    if (!ticket ||
        !contract_read(&contract_ticket, ticket, &part->arena, &result->request, &ignored))
        contract_init(&contract_ticket, &result->request);
    result->slot = slot;
    result->slots = slots;
    result->status = STR("failed");
    result->error.code = str_of(err_name(ERR_INTERNAL));
    result->error.message = STR("the result could not be read");
    result->error.retry = STR("never");
    part->salvaged = !arena_overflowed(&part->arena);
}

bool part_read(struct part *part, struct err *err)
{
    enum encoding encoding;
    struct value document;
    contract_init(&contract_result, &part->result);
    if (!encoding_by_type(part->content_type, &encoding)) {
        err_set(err, ERR_INVALID_ENCODING, "the content-type is not one of ours");
        return false;
    }
    if (!contract_parse(part->raw, encoding, &part->arena, &document, err))
        return false;
    const struct value *data = contract_unwrap(&document);
    if (!contract_read(&contract_result, data, &part->arena, &part->result, err)) {
        salvage(part, data);
        return false;
    }
    if (arena_overflowed(&part->arena)) {
        err_set(err, ERR_TOO_BIG, "the result needs too much memory");
        return false;
    }
    return check_result(&part->result, err);
}

static void make_dead(struct entry *entry, const struct err *err)
{
    struct result *result = &entry->part->result;
    entry->kind = ENTRY_DEAD;
    entry->dead_code = err->code;
    entry->dead_reason = xstrdup(err->text);
    result->tenant = is_name(result->tenant) ? str_utf8_cut(result->tenant, 128) : STR("");
    result->request_id =
        is_name(result->request_id) ? str_utf8_cut(result->request_id, 128) : STR("");
    log_warn("a result cannot be read, it goes to the dead letters",
             LOG_I("partition", entry->partition), LOG_I("offset", entry->offset),
             LOG_C("error", err->text));
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a == INT_ABSENT || (b != INT_ABSENT && b < a) ? b : a;
}

static void set_deadline(struct gather *gather, struct group *group)
{
    const struct aggregator_conf *conf = gather->aggregator->conf;
    const struct ticket *ticket = group_ticket(group);
    int64_t merge = ticket->merge.deadline_ms == INT_ABSENT
                        ? INT_ABSENT
                        : group->accepted_ms + ticket->merge.deadline_ms;
    int64_t at = earliest(ticket->deadline_at, merge);
    int64_t longest = group->accepted_ms + conf->open_max_ms;
    group->deadline_ms =
        earliest(longest, at == INT_ABSENT ? INT_ABSENT : at + conf->deadline_grace_ms);
}

static struct group *open_group(struct gather *gather, struct entry *entry)
{
    struct part *part = entry->part;
    const struct result *result = &part->result;
    struct group *group =
        group_new(result->tenant, result->request_id, entry->partition, (unsigned)result->slots);
    group->accepted_ms = loop_wall_ms(gather->aggregator->loop);
    map_add(&gather->groups, &group->node, group_whole_key(group));
    entry->opens = true;
    return group;
}

/* Workers that know nothing of each other may have answered one id with two bodies. */
static bool belongs(const struct group *group, const struct result *result)
{
    struct str ours = group_ticket(group)->body_hash, theirs = result->request.body_hash;
    return (int64_t)group->slots == result->slots &&
           (str_empty(ours) || str_empty(theirs) || str_eq(ours, theirs));
}

/* The part joins its group; what it is good for then stands in the entry. */
static void join(struct gather *gather, struct entry *entry)
{
    struct part *part = entry->part;
    struct str key = group_key(&part->arena, part->result.tenant, part->result.request_id);
    struct map_node *node = map_find(&gather->groups, key);
    struct group *group = node ? container_of(node, struct group, node) : NULL;
    if (group && !belongs(group, &part->result)) {
        log_warn("a part of another request with the same id", LOG_S("id", part->result.request_id),
                 LOG_I("partition", entry->partition), LOG_I("offset", entry->offset));
        entry->foreign = true; /* only its calls count */
    }
    if (group && group->is_final && !PLANTED(27))
        entry->late = true;
    if (entry->late || entry->foreign)
        return;
    if (!group)
        group = open_group(gather, entry);
    if (!group_take(group, part))
        return;
    group_ref(group);
    entry->group = group;
    if (entry->opens)
        set_deadline(gather, group);
    int64_t now = loop_wall_ms(gather->aggregator->loop);
    if (merge_decide(group, false, now)) {
        entry->finishes = true;
        heap_remove(&gather->due, &group->due);
        CRASH_POINT(group_complete);
        return;
    }
    if (entry->opens && !PLANTED(42))
        heap_add(&gather->due, &group->due, group->deadline_ms);
    CRASH_POINT(part_joined);
}

static void take(struct gather *gather, struct entry *entry)
{
    struct part *part = entry->part;
    struct partition *p = aggregator_partition(gather->aggregator, entry->partition);
    struct err err;
    if (!p) {
        entry_free(entry);
        return;
    }
    if (part->timestamp_ms > p->read_ms)
        p->read_ms = part->timestamp_ms;
    if (!part_read(part, &err)) {
        make_dead(entry, &err);
        if (part->salvaged)
            join(gather, entry);
        CRASH_POINT(result_refused);
        metric_add_for(METRIC_parts_total, STR("unreadable"), 1);
    } else {
        metric_add_for(METRIC_parts_total, part->result.status, 1);
        if (str_is(part->result.status, "repeat")) {
            entry->kind = ENTRY_REPEAT;
            CRASH_POINT(repeat_taken);
        } else if (str_is(part->result.status, "calls")) {
            entry->late = true; /* no part: only its calls are stored */
        } else {
            join(gather, entry);
        }
    }
    store_add(gather->aggregator->store, entry);
}

/* ---- deadlines ---- */

static void wake(void *context)
{
    (void)context; /* being awake is all: gather_run() looks at the heap */
}

/* True once no part can be unread that came before the deadline. */
static bool read_up_to(const struct partition *p, int64_t deadline_ms)
{
    return p->at_end || p->read_ms > deadline_ms;
}

static void strike(struct gather *gather, struct group *group, int64_t now)
{
    struct entry *entry = entry_new(ENTRY_DEADLINE, group->partition, -1);
    must(merge_decide(group, true, now));
    heap_remove(&gather->due, &group->due);
    group_ref(group);
    entry->group = group;
    entry->finishes = true;
    entry->bytes = RECORD_WEIGHT;
    CRASH_POINT(deadline_struck);
    store_add(gather->aggregator->store, entry);
}

static void run_deadlines(struct gather *gather)
{
    struct aggregator *aggregator = gather->aggregator;
    int64_t now = loop_wall_ms(aggregator->loop);
    for (struct heap_node *node; (node = heap_first(&gather->due)) && node->key <= now;) {
        struct group *group = container_of(node, struct group, due);
        const struct partition *p = aggregator_partition(aggregator, group->partition);
        if (p && read_up_to(p, group->deadline_ms)) {
            strike(gather, group, now);
            continue;
        }
        heap_remove(&gather->due, node);
        heap_add(&gather->due, node, now + LOOK_AGAIN_MS);
    }
    const struct heap_node *next = heap_first(&gather->due);
    if (next)
        timer_set(aggregator->loop, &gather->wake,
                  loop_now_ms(aggregator->loop) + (next->key > now ? next->key - now : 1), wake,
                  gather);
}

bool gather_run(struct gather *gather)
{
    for (struct list_node *node; (node = list_pop(&gather->inbox));)
        take(gather, container_of(node, struct entry, node));
    run_deadlines(gather);
    return false;
}

void gather_hold(struct gather *gather, bool hold)
{
    struct aggregator *aggregator = gather->aggregator;
    gather->held = hold;
    if (aggregator->draining)
        return;
    for (size_t i = 0; i < aggregator->partition_count; i++) {
        if (!aggregator->partitions[i].owned)
            continue;
        if (hold)
            kafka_pause(aggregator->consumer, aggregator->topic_results.data, (int32_t)i);
        else
            kafka_resume(aggregator->consumer, aggregator->topic_results.data, (int32_t)i);
    }
    log_debug("reading is held back or goes on", LOG_B("held", hold));
}

void gather_drain(struct gather *gather)
{
    struct aggregator *aggregator = gather->aggregator;
    for (size_t i = 0; i < aggregator->partition_count; i++)
        if (aggregator->partitions[i].owned)
            kafka_pause(aggregator->consumer, aggregator->topic_results.data, (int32_t)i);
    for (struct list_node *node; (node = list_pop(&gather->inbox));)
        entry_free(container_of(node, struct entry, node));
}

void gather_measure(const struct gather *gather)
{
    struct buf buf;
    buf_init(&buf, 1 << 20);
    metric_set(METRIC_groups_open, (int64_t)gather->due.count);
    metric_set(METRIC_partitions_assigned, (int64_t)aggregator_owned(gather->aggregator, &buf));
    buf_done(&buf);
}
