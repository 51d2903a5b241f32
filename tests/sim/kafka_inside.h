/*
 * kafka_inside.h -- the simulated Kafka's own structs: a broker with topics and one group per name,
 * and the doors that talk to it.
 */
#ifndef QUERN_TESTS_SIM_KAFKA_INSIDE_H
#define QUERN_TESTS_SIM_KAFKA_INSIDE_H

#include "tests/sim/inside.h"

struct sim_record {
    struct str key, value; /* in sim->arena */
    struct kafka_header *headers;
    size_t header_count;
    int64_t timestamp_ms;
    bool foreign; /* a scene wrote it */
};

struct sim_partition {
    struct sim_record **records; /* index = offset */
    size_t count, cap;
};

struct sim_topic {
    struct list_node node;
    char *name;
    struct sim_partition *partitions;
    int32_t partition_count;
    size_t bytes_max;
    bool refuses;
    bool has_requests; /* workers read it; what scenes see of commits is about these */
};

/* What the broker knows of one partition of one group. */
struct sim_share {
    struct list_node node; /* in group->shares, in the order of topics */
    struct sim_topic *topic;
    int32_t number;
    int64_t committed; /* -1: none */
    struct sim_member *owner;
};

struct sim_member {
    struct list_node node;
    struct sim_group *group;
    uint64_t number;
    char *name;
    struct kafka_consumer *consumer; /* NULL: its process is gone, its session runs out */
    struct sim_event expiry;
    bool revoking; /* it was told to give up its partitions */
};

struct sim_group {
    struct list_node node;
    struct sim_kafka *kafka;
    char *name;
    struct list members, shares;
    uint64_t members_made;
    bool rebalancing;
    struct sim_event assign;
};

/* A reply in the order in which it was written, decoded when somebody asks. */
struct seen_reply {
    const char *topic;
    const struct sim_record *record;
    struct reply *reply;
};

struct sim_kafka {
    struct sim *sim;
    struct list topics, groups;
    int32_t partitions;
    bool down, went_back;
    size_t commits;
    enum sim_produce_fault produce_fault;
    unsigned produce_faults, produce_full, commit_faults;
    enum sim_produce_fault reply_fault;
    unsigned reply_faults;
    /* Decoded once, for scenes. */
    struct list consumers;
    struct {
        struct result **items;
        size_t count, seen[64];
    } results;
    struct {
        struct seen_reply *items;
        size_t count, cap;
    } replies;
};

/* A partition as its reader sees it. */
struct sim_reading {
    struct sim_share *share;
    int64_t position, end_told;
    int64_t commit; /* the highest that was asked for */
    bool started, paused, commit_due;
};

struct kafka_consumer {
    struct list_node node; /* in kafka->consumers */
    struct sim_process *process;
    struct sim_kafka *kafka;
    struct sim_member *member;
    struct kafka_consumer_events events;
    char *group, *instance;
    struct sim_topic **topics;
    size_t topic_count;
    int64_t session_ms, revoke_ms_max;
    unsigned records_per_turn;
    struct sim_reading *readings;
    size_t reading_count, started;
    bool assigned, revoked; /* revoked: told, not released yet */
    struct list ops;
    struct loop *loop;
    struct loop_hook turn_end;
    bool committing; /* one commit at a time is under way */
    struct sim_event join, assign, revoke, release, fetch, fenced, session_over;
    bool lost, dead; /* dead: another has its name, or it was told something fatal */
    bool outside;    /* it joins again when the broker is back */
};

/* kafka_broker.c */
struct sim_topic *sim_topic(struct sim_kafka *kafka, const char *name);
struct sim_group *sim_group(struct sim_kafka *kafka, const char *name);
/* Where it stands now. */
struct sim_place sim_append(struct sim_kafka *kafka, const char *topic,
                            const struct sim_record *record);
/* Copies in sim->arena. */
struct sim_record *sim_record_copy(struct sim *sim, const struct kafka_produce *produce);

/* kafka_group.c */
void sim_group_join(struct kafka_consumer *consumer);
/* Its process is gone; `at_once`: it says so, else its session runs out. */
void sim_group_leave(struct kafka_consumer *consumer, bool at_once);
void sim_group_released(struct kafka_consumer *consumer); /* it gave its partitions up */
void sim_group_throw_out(struct sim_member *member);
void sim_group_begin(struct sim_group *group); /* a rebalance */
struct sim_share *sim_share(struct sim_group *group, const char *topic, int32_t number);
void sim_group_free(struct sim_group *group);

/* kafka_consumer.c */
struct delivered;
/* A copy of a record for a process; ret->handle is the caller's: it points to where the copy is. */
struct delivered *sim_deliver(struct sim_process *process, const struct sim_topic *topic,
                              int32_t number, int64_t offset, struct kafka_record *ret);
void sim_delivered_free(struct delivered *delivered);    /* takes NULL: it was kept */
void sim_consumer_wake(struct kafka_consumer *consumer); /* there may be something to read */
void sim_consumer_revoke(struct kafka_consumer *consumer, bool lost);
void sim_consumer_assign(struct kafka_consumer *consumer);
/* Another one came under its name. */
void sim_consumer_fence(struct kafka_consumer *consumer);
void sim_consumer_kafka_down(struct kafka_consumer *consumer, bool down);

#endif
