/*
 * kafka_group.c -- consumer groups: who owns what, and what is committed.
 *
 * Assignment is eager: in a rebalance everybody gives up what it has, then all partitions are dealt
 * out anew over the members in order of their names. Membership is static: whoever comes back under
 * its name within the session time-out gets its partitions back, and nobody else hears of it. A
 * member whose process is gone, or stands still, is thrown out when its session is over.
 */
#include "tests/sim/kafka_inside.h"

#include <stdlib.h>
#include <string.h>

enum { ASSIGN_US = 3000, LEAVE_US = 1000 };

struct sim_group *sim_group(struct sim_kafka *kafka, const char *name)
{
    LIST_EACH(&kafka->groups, node)
    {
        struct sim_group *group = container_of(node, struct sim_group, node);
        if (strcmp(group->name, name) == 0)
            return group;
    }
    struct sim_group *group = xzalloc(sizeof(*group));
    group->kafka = kafka;
    group->name = xstrndup(str_of(name));
    list_init(&group->members);
    list_init(&group->shares);
    list_append(&kafka->groups, &group->node);
    return group;
}

static void member_free(struct sim_member *member)
{
    sim_event_cancel(&member->expiry);
    free(member->name);
    free(member);
}

void sim_group_free(struct sim_group *group)
{
    for (struct list_node *node; (node = list_pop(&group->members));)
        member_free(container_of(node, struct sim_member, node));
    for (struct list_node *node; (node = list_pop(&group->shares));)
        free(container_of(node, struct sim_share, node));
    sim_event_cancel(&group->assign);
    free(group->name);
    free(group);
}

struct sim_share *sim_share(struct sim_group *group, const char *topic, int32_t number)
{
    LIST_EACH(&group->shares, node)
    {
        struct sim_share *share = container_of(node, struct sim_share, node);
        if (share->number == number && strcmp(share->topic->name, topic) == 0)
            return share;
    }
    return NULL;
}

static void add_shares(struct sim_group *group, struct sim_topic *topic)
{
    for (int32_t i = 0; i < topic->partition_count; i++) {
        if (sim_share(group, topic->name, i))
            continue;
        struct sim_share *share = xzalloc(sizeof(*share));
        *share = (struct sim_share){.topic = topic, .number = i, .committed = -1};
        list_append(&group->shares, &share->node);
    }
}

static bool owns(const struct sim_member *member)
{
    LIST_EACH(&((struct sim_member *)(uintptr_t)member)->group->shares, node)
    {
        if (container_of(node, struct sim_share, node)->owner == member)
            return true;
    }
    return false;
}

static void disown(const struct sim_member *member)
{
    LIST_EACH(&member->group->shares, node)
    {
        struct sim_share *share = container_of(node, struct sim_share, node);
        if (share->owner == member)
            share->owner = NULL;
    }
}

/* Rebalances */

static struct sim_member *nth_member(struct sim_group *group, size_t index)
{
    struct list_node *node = list_first(&group->members);
    while (index--)
        node = list_next(&group->members, node);
    return container_of(node, struct sim_member, node);
}

static void assign(void *context)
{
    struct sim_group *group = context;
    size_t turn = 0;
    group->rebalancing = false;
    if (list_empty(&group->members))
        return;
    LIST_EACH(&group->shares, node)
    container_of(node, struct sim_share, node)->owner =
        nth_member(group, turn++ % group->members.count);
    LIST_EACH(&group->members, node)
    {
        struct sim_member *member = container_of(node, struct sim_member, node);
        if (member->consumer)
            sim_consumer_assign(member->consumer);
    }
}

/* Goes on when nobody holds anything any more. */
static void check(struct sim_group *group)
{
    if (!group->rebalancing)
        return;
    LIST_EACH(&group->members, node)
    {
        struct sim_member *member = container_of(node, struct sim_member, node);
        if (member->revoking || !member->consumer)
            return;
    }
    struct sim *sim = group->kafka->sim;
    sim_event_set(sim, &group->assign, NULL, sim->now_us + sim_latency_us(sim, ASSIGN_US), assign,
                  group);
}

void sim_group_begin(struct sim_group *group)
{
    group->rebalancing = true;
    LIST_EACH(&group->members, node)
    {
        struct sim_member *member = container_of(node, struct sim_member, node);
        if (!owns(member) || member->revoking || !member->consumer)
            continue;
        member->revoking = true;
        sim_consumer_revoke(member->consumer, false);
    }
    check(group);
}

/* Its session is over: it is no member any more, and its partitions are free. */
static void expire(void *context)
{
    struct sim_member *member = context;
    struct sim_group *group = member->group;
    disown(member);
    list_remove(&group->members, &member->node);
    if (member->consumer) {
        member->consumer->member = NULL;
        sim_consumer_revoke(member->consumer, true);
    }
    member_free(member);
    sim_group_begin(group);
}

void sim_group_throw_out(struct sim_member *member)
{
    expire(member);
}

/* Members stand in order of their names. */
static void insert(struct sim_group *group, struct sim_member *member)
{
    list_append(&group->members, &member->node);
    LIST_EACH(&group->members, node)
    {
        struct sim_member *other = container_of(node, struct sim_member, node);
        if (other == member || strcmp(other->name, member->name) <= 0)
            continue;
        list_remove(&group->members, &member->node);
        list_insert_between(&group->members, &member->node, node->prev, node);
        return;
    }
}

static struct sim_member *member_named(struct sim_group *group, const char *name)
{
    LIST_EACH(&group->members, node)
    {
        struct sim_member *member = container_of(node, struct sim_member, node);
        if (strcmp(member->name, name) == 0)
            return member;
    }
    return NULL;
}

void sim_group_join(struct kafka_consumer *consumer)
{
    struct sim_group *group = sim_group(consumer->kafka, consumer->group);
    sim_event_cancel(&consumer->join); /* it does so now */
    consumer->outside = false;
    for (size_t i = 0; i < consumer->topic_count; i++)
        add_shares(group, consumer->topics[i]);
    if (!consumer->assigned) { /* what it lost meanwhile it does not have any more */
        sim_event_cancel(&consumer->revoke);
        consumer->lost = false;
    }
    struct sim_member *member = member_named(group, consumer->instance);
    bool back = member && owns(member) && !group->rebalancing;
    if (member && member->consumer && member->consumer != consumer)
        sim_consumer_fence(member->consumer);
    if (!member) {
        member = xzalloc(sizeof(*member));
        member->group = group;
        member->name = xstrndup(str_of(consumer->instance));
        insert(group, member);
    }
    sim_event_cancel(&member->expiry);
    member->number = ++group->members_made; /* of what an earlier life sent, nothing is taken */
    member->consumer = consumer;
    member->revoking = false;
    consumer->member = member;
    if (back)
        sim_consumer_assign(consumer);
    else
        sim_group_begin(group);
}

void sim_group_leave(struct kafka_consumer *consumer, bool at_once)
{
    struct sim_member *member = consumer->member;
    struct sim *sim = consumer->kafka->sim;
    if (!member)
        return;
    member->consumer = NULL;
    member->revoking = false;
    sim_event_set(sim, &member->expiry, NULL,
                  sim->now_us + (at_once ? LEAVE_US : consumer->session_ms * 1000), expire, member);
}

void sim_group_released(struct kafka_consumer *consumer)
{
    struct sim_member *member = consumer->member;
    if (!member) { /* it was thrown out, and comes back */
        sim_group_join(consumer);
        return;
    }
    member->revoking = false;
    disown(member);
    check(member->group);
}

/* What scenes do and see */

/* The broker hears nothing of a process that stands still; when its session is over it goes on
 * without. */
static void session_runs_out(struct sim_process *process, int64_t ms)
{
    struct sim *sim = process->sim;
    struct kafka_consumer *consumer = process->consumer;
    if (consumer && consumer->member && ms > consumer->session_ms &&
        !heap_linked(&consumer->member->expiry.node))
        sim_event_set(sim, &consumer->member->expiry, NULL,
                      sim->now_us + consumer->session_ms * 1000, expire, consumer->member);
}

void sim_freeze(struct sim_process *process, int64_t ms)
{
    int64_t until_us = process->sim->now_us + ms * 1000;
    if (until_us <= process->frozen_until_us)
        return; /* what waits for it has its moment already */
    process->frozen_until_us = until_us;
    session_runs_out(process, ms);
}

void sim_freeze_at_call(struct sim_process *process, int64_t ms)
{
    process->freezes_at_call_us = process->sim->now_us + ms * 1000;
}

void sim_stop(struct sim_process *process)
{
    process->stopped = true;
    session_runs_out(process, INT64_MAX);
}

void sim_continue(struct sim_process *process)
{
    struct kafka_consumer *consumer = process->consumer;
    if (consumer && consumer->member)
        sim_event_cancel(&consumer->member->expiry);
    sim_events_release(process);
}

void sim_rebalance(struct sim *sim)
{
    LIST_EACH(&sim->kafka->groups, node)
    sim_group_begin(container_of(node, struct sim_group, node));
}

void sim_lose(struct sim_process *process)
{
    if (process->consumer && process->consumer->member)
        sim_group_throw_out(process->consumer->member);
}

int64_t sim_committed(const struct sim *sim, int32_t partition)
{
    LIST_EACH(&sim->kafka->groups, node)
    {
        struct sim_share *share =
            sim_share(container_of(node, struct sim_group, node), "quern.requests", partition);
        if (share)
            return share->committed;
    }
    return -1;
}

bool sim_commit_went_back(const struct sim *sim)
{
    return sim->kafka->went_back;
}

size_t sim_commits(const struct sim *sim)
{
    return sim->kafka->commits;
}

bool sim_kafka_all_committed(const struct sim_kafka *kafka)
{
    bool any = false;
    LIST_EACH(&((struct sim_kafka *)(uintptr_t)kafka)->groups, node)
    {
        struct sim_group *group = container_of(node, struct sim_group, node);
        LIST_EACH(&group->shares, item)
        {
            struct sim_share *share = container_of(item, struct sim_share, node);
            if (!share->topic->has_requests)
                break;
            any = true;
            size_t count = share->topic->partitions[share->number].count;
            if (count && share->committed < (int64_t)count)
                return false;
        }
    }
    return any;
}

bool sim_kafka_all_stored(const struct sim *sim)
{
    const struct sim_topic *results = sim_topic(sim->kafka, "quern.results");
    for (int32_t i = 0; i < results->partition_count; i++)
        if (!sim_store_has(sim, results->name, i, (int64_t)results->partitions[i].count))
            return false;
    return true;
}
