/*
 * job.c -- what several steps ask of a job.
 */
#include "worker/job.h"

#include <stddef.h>

#include "common/base/plant.h"
#include "worker/intake/inside.h"

bool job_owned(const struct job *job)
{
    return job->partition->owned || PLANTED(36);
}

bool job_may_reply_to(const struct job *job, struct str topic)
{
    const struct conf_strs *allowed = &job->worker->conf->shared.allowed_prefixes;
    for (size_t i = 0; i < allowed->count; i++)
        if (str_starts(topic, allowed->items[i]))
            return true;
    return false;
}

/* All but the two errors at its end, of which there are none most often, is zeroed. */
struct slot *slots_new(struct job *job, int count)
{
    struct slot *slots = arena_alloc(&job->arena, (size_t)count * sizeof(*slots));
    for (int i = 0; i < count; i++) {
        struct slot *slot = &slots[i];
        memset(slot, 0, offsetof(struct slot, err));
        err_clear(&slot->err);
        err_clear(&slot->call_err);
        slot->magic = SLOT_MAGIC;
        slot->job = job;
        slot->number = i;
    }
    return slots;
}

bool slot_decided(const struct slot *slot)
{
    return slot->claim == CLAIM_KEPT || slot->err.code != ERR_NONE || slot->answer.text.data;
}

struct slot *slot_owner(struct slot *slot)
{
    return slot->hedge_of ? slot->hedge_of : slot;
}

void slot_has_news(struct slot *slot)
{
    struct slot *owner = slot_owner(slot);
    if (owner->awaited)
        walk_answer(&owner->walk);
    owner->awaited = false;
}

bool job_overflowed(const struct job *job, struct err *err)
{
    if (!arena_overflowed(&job->arena))
        return false;
    err_set(err, ERR_TOO_BIG, "the request needs more than %zu bytes of memory",
            job->arena.max_bytes);
    return true;
}

void job_record(const struct job *job, struct last_words *ret)
{
    ret->topic = job->record->topic;
    ret->partition = job->record->partition;
    ret->offset = job->record->offset;
    ret->timestamp_ms = job->record->timestamp_ms;
}

void slot_result(const struct slot *slot, struct result *ret)
{
    const struct job *job = slot->job;
    contract_init(&contract_result, ret);
    ret->request_id = job->id;
    ret->tenant = job->tenant;
    ret->slot = slot->number;
    ret->slots = job->slot_count;
    if (slot->model) {
        ret->model = slot->model->dialect.name;
        ret->provider = str_of(slot->model->provider->name);
    }
}
