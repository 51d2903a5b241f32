/*
 * group.c -- see group.h.
 */
#include "aggregator/group.h"

#include "common/base/must.h"
#include "common/base/xalloc.h"

/* Never part of a tenant or an id: both are checked for control characters. */
#define SEPARATOR '\x1f'

static size_t write_key(char *to, struct str tenant, struct str id)
{
    memcpy(to, tenant.data, tenant.len);
    to[tenant.len] = SEPARATOR;
    memcpy(to + tenant.len + 1, id.data, id.len);
    return tenant.len + 1 + id.len;
}

struct str group_key(struct arena *arena, struct str tenant, struct str id)
{
    char *key = arena_alloc(arena, tenant.len + id.len + 1);
    return str_from(key, write_key(key, tenant, id));
}

struct group *group_new(struct str tenant, struct str id, int32_t partition, unsigned slots)
{
    must(slots >= 1 && slots <= SLOTS_MAX && tenant.data && id.data);
    struct group *group = xzalloc(sizeof(*group) + tenant.len + id.len + 1);
    group->tenant_len = tenant.len;
    group->key_len = write_key(group->key, tenant, id);
    group->refs = 1;
    group->partition = partition;
    group->slots = slots;
    group->final.winner = -1;
    return group;
}

struct str group_tenant(const struct group *group)
{
    return str_from(group->key, group->tenant_len);
}

struct str group_id(const struct group *group)
{
    return str_slice(group_whole_key(group), group->tenant_len + 1, group->key_len);
}

struct str group_whole_key(const struct group *group)
{
    return str_from(group->key, group->key_len);
}

void group_ref(struct group *group)
{
    group->refs++;
}

void group_unref(struct group *group)
{
    if (!group || --group->refs > 0)
        return;
    must(!group->node.linked && !heap_linked(&group->due));
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        part_free(group->parts[i]);
    free(group);
}

bool group_take(struct group *group, struct part *part)
{
    unsigned slot = (unsigned)part->result.slot;
    if (slot >= group->slots || group->parts[slot])
        return false;
    group->parts[slot] = part;
    group->part_count++;
    part->slotted = true;
    if (!group->first)
        group->first = part;
    return true;
}

const struct ticket *group_ticket(const struct group *group)
{
    must(group->first);
    return &group->first->result.request;
}

const struct value *group_question(const struct group *group)
{
    const struct value *found = NULL;
    if (group->final.winner >= 0 && group->parts[group->final.winner])
        found = group->parts[group->final.winner]->result.request.question;
    for (unsigned i = 0; i < group->slots && !found; i++)
        if (group->parts[i])
            found = group->parts[i]->result.request.question;
    return found && found->kind == VALUE_LIST ? found : NULL;
}

struct part *part_new(struct arena_pool *pool, size_t bytes_max)
{
    struct part *part = xzalloc(sizeof(*part));
    arena_init(&part->arena, pool, bytes_max);
    return part;
}

void part_free(struct part *part)
{
    if (!part)
        return;
    arena_done(&part->arena);
    free(part);
}

struct entry *entry_new(enum entry_kind kind, int32_t partition, int64_t offset)
{
    struct entry *entry = xzalloc(sizeof(*entry));
    entry->kind = kind;
    entry->partition = partition;
    entry->offset = offset;
    return entry;
}

void entry_free(struct entry *entry)
{
    if (!entry)
        return;
    if (entry->part && !entry->part->slotted)
        part_free(entry->part);
    group_unref(entry->group);
    free(entry->dead_reason);
    free(entry);
}

void group_totals(const struct group *group, struct totals *ret)
{
    *ret = (struct totals){.cost_microusd = INT_ABSENT, .times.first_token_ms = INT_ABSENT};
    for (unsigned i = 0; i < group->slots; i++) {
        if (!group->parts[i])
            continue;
        const struct result *part = &group->parts[i]->result;
        ret->usage.input += part->usage.input;
        ret->usage.output += part->usage.output;
        ret->usage.cached_input += part->usage.cached_input;
        ret->usage.reasoning += part->usage.reasoning;
        if (part->cost_microusd != INT_ABSENT)
            ret->cost_microusd =
                (ret->cost_microusd == INT_ABSENT ? 0 : ret->cost_microusd) + part->cost_microusd;
        if (part->times.queued_ms > ret->times.queued_ms)
            ret->times.queued_ms = part->times.queued_ms;
        if (part->times.total_ms > ret->times.total_ms)
            ret->times.total_ms = part->times.total_ms;
    }
    const struct part *shown = group->parts[group->final.winner >= 0 ? group->final.winner : 0];
    if (shown)
        ret->times.first_token_ms = shown->result.times.first_token_ms;
}
