/*
 * Contract of common/io/kafka.h: who owns what and when it is told; what is delivered, paused,
 * committed, confirmed; brokers that go away.
 *
 * A member is one actor with a consumer, and remembers what it was told.
 */
#include "tests/contract/stage.h"

#include "common/base/arena.h"
#include "common/base/xalloc.h"
#include "common/io/kafka_fetcher.h"

#define SEEN_MAX 512

struct member {
    struct kafka_consumer *consumer;
    bool no_start, no_release, commit_on_revoke, pause_after_each;
    int64_t start_at; /* 0: the committed offset, else the low watermark */

    size_t assigned, assignments, revokes, losses, fatals, ends;
    struct kafka_partition parts[8];
    struct {
        int32_t partition;
        int64_t offset;
    } seen[SEEN_MAX];
    size_t seen_count, seen_while_revoked;
    bool revoked;
    int64_t end_offset;
    size_t commits, commit_errors;
    struct kafka_offset committed;
    struct err commit_err, fatal;
    void (*look)(struct kafka_record *record, struct member *member);
    struct arena arena;
    struct str kept[2];
};

struct play {
    struct stage *stage;
    const char *topic;
    struct str topics[1];
    char group[64];
    struct member members[STAGE_ACTORS - 1];
    struct kafka_producer *producer; /* of the last actor */
    size_t delivered, undelivered;
    struct err delivery_err;
    char order[64];
};

/* ---- what a member is told ---- */

static void on_record(struct kafka_record *record, void *context)
{
    struct member *member = context;
    assert_true(member->seen_count < SEEN_MAX);
    member->seen[member->seen_count].partition = record->partition;
    member->seen[member->seen_count++].offset = record->offset;
    member->seen_while_revoked += member->revoked;
    if (member->look)
        member->look(record, member);
    for (size_t i = 0; member->pause_after_each && i < member->assigned; i++)
        kafka_pause(member->consumer, member->parts[i].topic, member->parts[i].partition);
}

static void start(struct member *member, size_t index)
{
    const struct kafka_partition *part = &member->parts[index];
    int64_t offset = member->start_at       ? member->start_at
                     : part->committed >= 0 ? part->committed
                                            : part->low;
    kafka_start(member->consumer, part->topic, part->partition, offset);
}

static void on_assigned(const struct kafka_partition *parts, size_t count, void *context)
{
    struct member *member = context;
    assert_true(count <= 8);
    member->assignments++;
    member->revoked = false;
    member->assigned = count;
    memcpy(member->parts, parts, count * sizeof(*parts));
    for (size_t i = 0; i < count && !member->no_start; i++)
        start(member, i);
}

static void commit(struct member *member, int32_t partition, int64_t offset)
{
    kafka_commit(member->consumer,
                 &(struct kafka_offset){member->parts[0].topic, partition, offset}, 1);
}

static void on_revoked(bool lost, void *context)
{
    struct member *member = context;
    assert_false(member->revoked);
    member->revoked = true;
    member->revokes++;
    member->losses += lost;
    if (member->commit_on_revoke)
        commit(member, 0, 3);
    member->assigned = 0;
    if (!member->no_release)
        kafka_release(member->consumer);
}

static void on_committed(const struct kafka_offset *offsets, size_t count, const struct err *err,
                         void *context)
{
    struct member *member = context;
    assert_true(count > 0);
    member->committed = offsets[0];
    member->commits += !err;
    member->commit_errors += err != NULL;
    if (err)
        member->commit_err = *err;
}

static void on_end(const char *topic, int32_t partition, int64_t next_offset, void *context)
{
    struct member *member = context;
    (void)topic, (void)partition;
    member->ends++;
    member->end_offset = next_offset;
}

static void on_fatal(const struct err *err, void *context)
{
    struct member *member = context;
    member->fatals++;
    member->fatal = *err;
}

/* ---- the play ---- */

static int set_up(void **state)
{
    struct play *play = xzalloc(sizeof(*play));
    play->stage = stage_new();
    for (size_t i = 0; i < STAGE_ACTORS - 1; i++)
        arena_init(&play->members[i].arena, NULL, 64 << 20);
    *state = play;
    return 0;
}

static int tear_down(void **state)
{
    struct play *play = *state;
    for (size_t i = 0; i < STAGE_ACTORS - 1; i++) {
        arena_done(&play->members[i].arena);
        kafka_consumer_free(play->members[i].consumer, true);
    }
    kafka_producer_free(play->producer, 1000);
    stage_free(play->stage);
    free(play);
    return 0;
}

static void open_topic(struct play *play, int32_t partitions)
{
    play->topic = stage_topic(play->stage, partitions);
    play->topics[0] = str_of(play->topic);
    snprintf(play->group, sizeof(play->group), "g.%s", play->topic);
}

static struct member *join_with(struct play *play, unsigned actor, const char *instance,
                                struct kafka_conf conf)
{
    struct member *member = &play->members[actor];
    struct err err = {0};
    const struct kafka_consumer_events events = {.on_record = on_record,
                                                 .on_assigned = on_assigned,
                                                 .on_revoked = on_revoked,
                                                 .on_committed = on_committed,
                                                 .on_end = on_end,
                                                 .on_fatal = on_fatal,
                                                 .context = member};
    conf.group = str_of(play->group);
    conf.instance = str_of(instance);
    conf.topics = play->topics;
    conf.topic_count = 1;
    member->consumer = kafka_consumer_new(stage_loop(play->stage, actor), &conf, &events, &err);
    if (!member->consumer)
        fail_msg("%s", err.text);
    assert_int_equal(member->assignments, 0);
    return member;
}

static struct member *join(struct play *play, unsigned actor, const char *instance)
{
    return join_with(play, actor, instance, stage_kafka_conf(play->stage));
}

static void on_delivered(const struct err *err, void *context)
{
    struct play *play = context;
    play->delivered += !err;
    play->undelivered += err != NULL;
    if (err)
        play->delivery_err = *err;
}

static void open_producer(struct play *play, int64_t delivery_ms)
{
    struct kafka_conf conf = stage_kafka_conf(play->stage);
    struct err err = {0};
    conf.delivery_timeout_ms = delivery_ms;
    play->producer =
        kafka_producer_new(stage_loop(play->stage, STAGE_ACTORS - 1), &conf, NULL, NULL, &err);
    if (!play->producer)
        fail_msg("%s", err.text);
}

/* `count` records of one key each time, so of one partition; "" is any. */
static void produce(struct play *play, const char *key, size_t count)
{
    if (!play->producer)
        open_producer(play, 10000);
    size_t want = play->delivered + count, before = play->delivered;
    for (size_t i = 0; i < count; i++)
        assert_true(kafka_produce(play->producer, &(struct kafka_produce){.topic = play->topic,
                                                                          .key = str_of(key),
                                                                          .value = STR("v"),
                                                                          .done = on_delivered,
                                                                          .context = play}));
    assert_int_equal(play->delivered, before); /* never from inside */
    UNTIL(play->stage, play->delivered == want);
    assert_int_equal(play->undelivered, 0);
}

static void leave(struct member *member, bool leaves)
{
    kafka_consumer_free(member->consumer, leaves);
    member->consumer = NULL;
}

/* The same member in its next life. */
static struct member *join_again(struct play *play, unsigned actor, const char *instance)
{
    struct arena arena = play->members[actor].arena;
    play->members[actor] = (struct member){.arena = arena};
    return join(play, actor, instance);
}

static void expect_each_once_in_order(const struct member *member, int64_t from, size_t count)
{
    int64_t next[8];
    assert_int_equal(member->seen_count, count);
    for (size_t i = 0; i < 8; i++)
        next[i] = from;
    for (size_t i = 0; i < member->seen_count; i++)
        assert_int_equal(member->seen[i].offset, next[member->seen[i].partition]++);
}

/* ---- reading ---- */

static void nothing_is_read_before_every_partition_was_started(void **state)
{
    struct play *play = *state;
    open_topic(play, 2);
    struct member *member = &play->members[0];
    member->no_start = true;
    for (int i = 0; i < 8; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        produce(play, key, 2);
    }
    join(play, 0, "a");
    UNTIL(play->stage, member->assigned == 2);
    start(member, 0);
    stage_run_ms(play->stage, 400);
    assert_int_equal(member->seen_count, 0);
    assert_int_equal(member->ends, 0);
    start(member, 1);
    assert_int_equal(member->seen_count, 0); /* not from inside */
    UNTIL(play->stage, member->seen_count == 16);
    expect_each_once_in_order(member, 0, 16);
}

static void a_partition_is_told_with_its_watermarks_and_what_is_committed(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    produce(play, "k", 5);
    struct member *member = join(play, 0, "a");
    UNTIL(play->stage, member->assigned == 1);
    assert_int_equal(member->parts[0].low, 0);
    assert_int_equal(member->parts[0].high, 5);
    assert_int_equal(member->parts[0].committed, -1);
    commit(member, 0, 3);
    UNTIL(play->stage, member->commits == 1);
    assert_int_equal(member->committed.offset, 3);
    leave(member, true);
    join_again(play, 0, "a");
    UNTIL(play->stage, member->assigned == 1);
    assert_int_equal(member->parts[0].committed, 3);
    UNTIL(play->stage, member->seen_count == 2);
    expect_each_once_in_order(member, 3, 2);
}

static void the_end_is_told_after_the_records_and_again_after_more(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    produce(play, "k", 3);
    struct member *member = join(play, 0, "a");
    UNTIL(play->stage, member->ends > 0);
    assert_int_equal(member->seen_count, 3);
    assert_int_equal(member->end_offset, 3);
    member->ends = 0;
    produce(play, "k", 2);
    UNTIL(play->stage, member->ends > 0 && member->end_offset == 5);
    assert_int_equal(member->seen_count, 5);
}

static void the_end_of_an_empty_partition_is_told(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    struct member *member = join(play, 0, "a");
    UNTIL(play->stage, member->ends > 0);
    assert_int_equal(member->end_offset, 0);
}

static void look_at_shapes(struct kafka_record *record, struct member *member)
{
    switch (record->offset) {
    case 0:
        assert_true(str_is(record->key, "key"));
        assert_true(str_is(record->value, "value"));
        assert_int_equal(record->header_count, 3);
        assert_true(str_is(kafka_record_header(record, "a"), "2"));
        assert_null(kafka_record_header(record, "A").data);
        assert_true(record->timestamp_ms > INT64_C(1600000000000));
        break;
    case 1:
        assert_null(record->key.data);
        assert_null(record->value.data);
        break;
    case 2:
        assert_non_null(record->value.data);
        assert_int_equal(record->value.len, 0);
        break;
    case 3:
        assert_int_equal(record->header_count, KAFKA_HEADERS_MAX);
        break;
    default:
        kafka_record_keep(record, &member->arena);
        assert_null(record->handle);
        member->kept[record->offset - 4] = record->value;
    }
}

static void records_come_back_as_they_were_produced(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    open_producer(play, 10000);
    const struct kafka_header three[] = {
        {STR("a"), STR("1")}, {STR("b"), STR("x")}, {STR("a"), STR("2")}};
    struct kafka_header many[KAFKA_HEADERS_MAX + 8];
    for (size_t i = 0; i < KAFKA_HEADERS_MAX + 8; i++)
        many[i] = (struct kafka_header){STR("h"), STR("v")};
    char *large = xzalloc(200001);
    memset(large, 'w', 200000);
    const struct kafka_produce records[] = {
        {.key = STR("key"), .value = STR("value"), .headers = three, .header_count = 3},
        {.key = {NULL, 0}, .value = {NULL, 0}},
        {.value = STR("")},
        {.value = STR("x"), .headers = many, .header_count = KAFKA_HEADERS_MAX + 8},
        {.value = str_from(large, 100)},
        {.value = str_from(large, 200000)},
    };
    for (size_t i = 0; i < 6; i++) {
        struct kafka_produce record = records[i];
        record.topic = play->topic;
        record.done = on_delivered;
        record.context = play;
        assert_true(kafka_produce(play->producer, &record));
    }
    memset(large, 'z', 200000); /* it was copied */
    assert_int_equal(kafka_producer_pending(play->producer), 6);
    UNTIL(play->stage, play->delivered == 6);
    assert_int_equal(kafka_producer_pending(play->producer), 0);
    struct member *member = &play->members[0];
    member->look = look_at_shapes;
    join(play, 0, "a");
    UNTIL(play->stage, member->seen_count == 6);
    leave(member, true); /* what is kept outlives the consumer */
    assert_int_equal(member->kept[0].len, 100);
    assert_int_equal(member->kept[1].len, 200000);
    for (size_t i = 0; i < 200000; i++)
        assert_int_equal(member->kept[1].data[i], 'w');
    arena_reset(&member->arena);
    free(large);
}

static void after_a_pause_nothing_comes_and_nothing_is_lost(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    produce(play, "k", 100);
    struct member *member = &play->members[0];
    member->pause_after_each = true;
    join(play, 0, "a");
    for (size_t i = 1; i <= 3; i++) {
        UNTIL(play->stage, member->seen_count == i);
        stage_run_ms(play->stage, 100);
        assert_int_equal(member->seen_count, i); /* not one more, also in the same turn */
        kafka_resume(member->consumer, play->topic, 0);
        assert_int_equal(member->seen_count, i);
    }
    member->pause_after_each = false;
    kafka_resume(member->consumer, play->topic, 0);
    kafka_resume(member->consumer, play->topic, 0); /* twice is once */
    UNTIL(play->stage, member->seen_count == 100);
    expect_each_once_in_order(member, 0, 100);
}

static size_t seen_of(const struct member *member, int32_t partition)
{
    size_t count = 0;
    for (size_t i = 0; i < member->seen_count; i++)
        count += member->seen[i].partition == partition;
    return count;
}

static void a_paused_partition_waits_while_the_other_goes_on(void **state)
{
    struct play *play = *state;
    open_topic(play, 2);
    struct member *member = &play->members[0];
    member->no_start = true;
    for (int i = 0; i < 16; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        produce(play, key, 3);
    }
    join(play, 0, "a");
    UNTIL(play->stage, member->assigned == 2);
    size_t in_0 = (size_t)member->parts[member->parts[0].partition == 0 ? 0 : 1].high;
    kafka_pause(member->consumer, play->topic, 0);
    start(member, 0);
    start(member, 1);
    UNTIL(play->stage, member->seen_count == 48 - in_0);
    stage_run_ms(play->stage, 200);
    assert_int_equal(seen_of(member, 0), 0);
    kafka_resume(member->consumer, play->topic, 0);
    kafka_pause(member->consumer, play->topic, 1);
    UNTIL(play->stage, member->seen_count == 48);
    expect_each_once_in_order(member, 0, 48);
    produce(play, "k", 1);
    kafka_resume(member->consumer, play->topic, 1);
    UNTIL(play->stage, member->seen_count == 49);
}

static void a_pause_may_come_with_the_start(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    produce(play, "k", 5);
    struct member *member = &play->members[0];
    member->no_start = true;
    join(play, 0, "a");
    UNTIL(play->stage, member->assigned == 1);
    kafka_pause(member->consumer, play->topic, 0);
    start(member, 0);
    stage_run_ms(play->stage, 300);
    assert_int_equal(member->seen_count, 0);
    kafka_resume(member->consumer, play->topic, 0);
    UNTIL(play->stage, member->seen_count == 5);
}

static void a_second_start_changes_nothing(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    produce(play, "k", 5);
    struct member *member = join(play, 0, "a");
    UNTIL(play->stage, member->seen_count == 5);
    kafka_start(member->consumer, play->topic, 0, 0);
    kafka_start(member->consumer, "no.such.topic", 0, 0);
    stage_run_ms(play->stage, 200);
    assert_int_equal(member->seen_count, 5);
}

static void an_offset_that_is_not_there_is_fatal(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    produce(play, "k", 5);
    struct member *member = &play->members[0];
    member->start_at = 4711;
    join(play, 0, "a");
    UNTIL(play->stage, member->fatals > 0);
    assert_int_equal(member->fatal.code, ERR_OFFSET_LOST);
    assert_int_equal(member->seen_count, 0);
}

/* ---- commits ---- */

static void a_commit_never_goes_back(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    produce(play, "k", 10);
    struct member *member = join(play, 0, "a");
    UNTIL(play->stage, member->seen_count == 10);
    commit(member, 0, 7);
    assert_int_equal(member->commits, 0); /* never from inside */
    commit(member, 0, 4);
    UNTIL(play->stage, member->commits > 0);
    assert_int_equal(member->committed.offset, 7);
    commit(member, 0, 5);
    stage_run_ms(play->stage, 200);
    assert_int_equal(member->commits, 1); /* what says less is not sent, and not answered */
    leave(member, true);
    join_again(play, 0, "a");
    UNTIL(play->stage, member->assigned == 1);
    assert_int_equal(member->parts[0].committed, 7);
}

/* Of commits of one turn, and of those that wait for the one before, the newest counts. */
static void commits_are_answered_by_the_newest(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    produce(play, "k", 10);
    struct member *member = join(play, 0, "a");
    UNTIL(play->stage, member->seen_count == 10);
    for (int64_t i = 1; i <= 10; i++)
        commit(member, 0, i);
    UNTIL(play->stage, member->committed.offset == 10);
    stage_run_ms(play->stage, 100);
    assert_int_equal(member->commits, 1);
    assert_int_equal(member->commit_errors, 0);
}

static void a_commit_of_what_is_not_ours_is_not_answered(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    struct member *member = join(play, 0, "a");
    kafka_commit(member->consumer, &(struct kafka_offset){play->topic, 0, 1}, 1); /* not yet */
    UNTIL(play->stage, member->assigned == 1);
    commit(member, 5, 1);
    stage_run_ms(play->stage, 200);
    assert_int_equal(member->commits + member->commit_errors, 0);
}

/* ---- the group ---- */

static void a_second_member_takes_half_and_what_was_committed(void **state)
{
    struct play *play = *state;
    open_topic(play, 2);
    struct member *a = &play->members[0], *b = &play->members[1];
    a->commit_on_revoke = true;
    join(play, 0, "a");
    UNTIL(play->stage, a->assigned == 2);
    assert_true(kafka_consumer_joined(a->consumer));
    produce(play, "k", 5);
    UNTIL(play->stage, a->seen_count == 5);
    assert_false(kafka_consumer_joined(join(play, 1, "b")->consumer));
    UNTIL(play->stage, a->assigned == 1 && b->assigned == 1);
    assert_int_equal(a->revokes, 1);
    assert_int_equal(a->losses, 0);
    assert_int_not_equal(a->parts[0].partition, b->parts[0].partition);
    const struct member *has_0 = a->parts[0].partition == 0 ? a : b;
    assert_int_equal(has_0->parts[0].committed, 3); /* committed before it was released */
    assert_int_equal(a->seen_while_revoked, 0);
}

static void a_spare_member_is_told_that_it_has_nothing(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    struct member *a = join(play, 0, "a");
    UNTIL(play->stage, a->assigned == 1);
    struct member *b = join(play, 1, "b");
    UNTIL(play->stage, b->assignments == 1 && a->assignments == 2);
    assert_int_equal(a->assigned + b->assigned, 1);
    assert_true(kafka_consumer_joined(a->consumer) && kafka_consumer_joined(b->consumer));
}

static void who_does_not_release_is_released(void **state)
{
    struct play *play = *state;
    open_topic(play, 2);
    struct member *a = &play->members[0], *b = &play->members[1];
    struct kafka_conf conf = stage_kafka_conf(play->stage);
    conf.revoke_ms_max = 400;
    a->no_release = true;
    join_with(play, 0, "a", conf);
    UNTIL(play->stage, a->assigned == 2);
    join(play, 1, "b");
    UNTIL(play->stage, a->revokes == 1);
    produce(play, "k", 5);
    assert_false(kafka_consumer_joined(a->consumer));
    UNTIL(play->stage, a->assigned == 1 && b->assigned == 1);
    assert_int_equal(a->seen_while_revoked, 0);
}

static void a_static_member_keeps_its_place_over_a_restart(void **state)
{
    struct play *play = *state;
    open_topic(play, 2);
    struct member *a = join(play, 0, "a");
    UNTIL(play->stage, a->assigned == 2);
    struct member *b = join(play, 1, "b");
    UNTIL(play->stage, a->assigned == 1 && b->assigned == 1);
    int32_t had = a->parts[0].partition;
    size_t before = b->assignments;
    leave(a, false);
    stage_run_ms(play->stage, 1000);
    join_again(play, 0, "a");
    UNTIL(play->stage, a->assigned == 1);
    stage_run_ms(play->stage, 300);
    assert_int_equal(a->parts[0].partition, had);
    assert_int_equal(b->assignments, before); /* nobody else noticed */
    assert_int_equal(b->revokes, 0);
}

static void a_member_that_leaves_hands_over_at_once(void **state)
{
    struct play *play = *state;
    open_topic(play, 2);
    struct member *a = join(play, 0, "a");
    UNTIL(play->stage, a->assigned == 2);
    struct member *b = join(play, 1, "b");
    UNTIL(play->stage, a->assigned == 1 && b->assigned == 1);
    int64_t began_ms = stage_now_ms(play->stage);
    leave(a, true);
    UNTIL(play->stage, b->assigned == 2);
    assert_in_range(stage_now_ms(play->stage) - began_ms, 0, 2500);
    assert_int_equal(b->losses, 0);
}

static void a_member_that_stays_away_is_missed_after_its_session(void **state)
{
    struct play *play = *state;
    open_topic(play, 2);
    struct member *a = join(play, 0, "a");
    UNTIL(play->stage, a->assigned == 2);
    struct member *b = join(play, 1, "b");
    UNTIL(play->stage, a->assigned == 1 && b->assigned == 1);
    int64_t began_ms = stage_now_ms(play->stage);
    leave(a, false);
    UNTIL(play->stage, b->assigned == 2);
    assert_in_range(stage_now_ms(play->stage) - began_ms, 1500, 7000);
}

static void the_second_holder_of_a_name_fences_the_first(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    struct member *a = join(play, 0, "a");
    UNTIL(play->stage, a->assigned == 1);
    struct member *b = join(play, 1, "a");
    UNTIL(play->stage, b->assigned == 1 && a->fatals > 0);
    assert_int_equal(a->fatal.code, ERR_FENCED);
    assert_int_equal(a->fatals, 1);
    assert_int_equal(b->fatals, 0);
    leave(a, false);
    produce(play, "k", 5);
    UNTIL(play->stage, b->seen_count == 5);
}

/* Its heart may beat on meanwhile, but nobody is at home: max.poll.interval.ms. */
static void a_member_that_stands_still_for_too_long_has_lost_its_partitions(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    struct str key = STR("max.poll.interval.ms"), value = STR("4000");
    const struct conf_props properties = {.keys = &key, .values = &value, .count = 1};
    struct kafka_conf conf = stage_kafka_conf(play->stage);
    conf.properties = &properties;
    struct member *member = join_with(play, 0, "a", conf);
    produce(play, "k", 5);
    UNTIL(play->stage, member->seen_count == 5);
    stage_stand_still(play->stage, 6000);
    commit(member, 0, 5); /* it does not know yet */
    UNTIL(play->stage, member->losses == 1);
    UNTIL(play->stage, member->assigned == 1);
    assert_int_equal(member->fatals, 0);
    stage_run_ms(play->stage, 500);
    assert_int_equal(member->losses, 1);
    produce(play, "k", 1);
    UNTIL(play->stage, member->seen_count >= 6);
}

/* ---- brokers that go away ---- */

static void a_short_absence_costs_time_and_nothing_else(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    struct kafka_conf conf = stage_kafka_conf(play->stage);
    conf.session_timeout_ms = 30000;
    struct member *member = join_with(play, 0, "a", conf);
    produce(play, "k", 5);
    UNTIL(play->stage, member->seen_count == 5 && kafka_consumer_up(member->consumer));
    if (!stage_down(play->stage, STAGE_KAFKA))
        skip();
    UNTIL(play->stage, !kafka_consumer_up(member->consumer));
    commit(member, 0, 5);
    stage_run_ms(play->stage, 500);
    assert_int_equal(member->commits, 0);
    stage_up(play->stage, STAGE_KAFKA);
    UNTIL(play->stage, kafka_consumer_up(member->consumer));
    produce(play, "k", 5);
    UNTIL(play->stage, member->seen_count == 10);
    expect_each_once_in_order(member, 0, 10);
    assert_int_equal(member->revokes, 0);
    assert_int_equal(member->fatals, 0);
}

/* A commit is under way when the brokers go; the group has forgotten us when they are back. */
static void an_absence_longer_than_the_session_is_a_loss(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    struct member *member = join(play, 0, "a");
    produce(play, "k", 5);
    UNTIL(play->stage, member->seen_count == 5);
    commit(member, 0, 2);
    UNTIL(play->stage, member->commits == 1);
    if (!stage_down(play->stage, STAGE_KAFKA))
        skip();
    commit(member, 0, 5);
    UNTIL(play->stage, member->losses == 1);
    stage_up(play->stage, STAGE_KAFKA);
    UNTIL(play->stage, member->assigned == 1);
    assert_int_equal(member->fatals, 0);
    stage_run_ms(play->stage, 4000); /* what comes late */
    assert_int_equal(member->fatals, 0);
    member->seen_count = 0;
    produce(play, "k", 5);
    UNTIL(play->stage, member->seen_count >= 5);
    commit(member, 0, 10);
    UNTIL(play->stage, member->committed.offset == 10);
}

/* ---- producing ---- */

struct one {
    struct play *play;
    char name;
};

static void write_down(const struct err *err, void *context)
{
    const struct one *one = context;
    assert_null(err);
    one->play->order[strlen(one->play->order)] = one->name;
}

static void confirmations_come_in_the_order_of_a_partition(void **state)
{
    struct play *play = *state;
    struct one ones[10];
    open_topic(play, 1);
    open_producer(play, 10000);
    for (int i = 0; i < 10; i++) {
        ones[i] = (struct one){play, (char)('a' + i)};
        assert_true(kafka_produce(play->producer, &(struct kafka_produce){.topic = play->topic,
                                                                          .value = STR("v"),
                                                                          .done = write_down,
                                                                          .context = &ones[i]}));
    }
    assert_string_equal(play->order, "");
    UNTIL(play->stage, strlen(play->order) == 10);
    assert_string_equal(play->order, "abcdefghij");
}

static void a_record_larger_than_allowed_never_fits(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    open_producer(play, 10000);
    size_t bytes = 34 << 20;
    char *large = xzalloc(bytes);
    if (kafka_produce(play->producer, &(struct kafka_produce){.topic = play->topic,
                                                              .value = str_from(large, bytes),
                                                              .done = on_delivered,
                                                              .context = play}))
        assert_int_equal(play->undelivered, 0);
    free(large);
    UNTIL(play->stage, play->undelivered == 1);
    assert_int_equal(play->delivery_err.code, ERR_TOO_BIG);
}

static void while_brokers_are_away_a_record_is_given_up_in_doubt(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    produce(play, "k", 1);
    kafka_producer_free(play->producer, 1000);
    open_producer(play, 1500);
    UNTIL(play->stage, kafka_producer_up(play->producer));
    if (!stage_down(play->stage, STAGE_KAFKA))
        skip();
    UNTIL(play->stage, !kafka_producer_up(play->producer));
    int64_t began_ms = stage_now_ms(play->stage);
    assert_true(kafka_produce(play->producer, &(struct kafka_produce){.topic = play->topic,
                                                                      .value = STR("v"),
                                                                      .done = on_delivered,
                                                                      .context = play}));
    UNTIL(play->stage, play->undelivered == 1);
    assert_int_equal(play->delivery_err.code, ERR_TIMEOUT);
    assert_in_range(stage_now_ms(play->stage) - began_ms, 1000, 5000);
    stage_up(play->stage, STAGE_KAFKA);
    play->undelivered = 0;
    UNTIL(play->stage, kafka_producer_up(play->producer));
    produce(play, "k", 1);
}

static void a_producer_that_is_closed_says_nothing_more(void **state)
{
    struct play *play = *state;
    open_topic(play, 1);
    open_producer(play, 10000);
    assert_true(kafka_produce(play->producer, &(struct kafka_produce){.topic = play->topic,
                                                                      .value = STR("v"),
                                                                      .done = on_delivered,
                                                                      .context = play}));
    kafka_producer_free(play->producer, 5000); /* sends what it has */
    play->producer = NULL;
    size_t told = play->delivered;
    stage_run_ms(play->stage, 200);
    assert_int_equal(play->delivered, told);
    struct member *member = join(play, 0, "a");
    UNTIL(play->stage, member->seen_count == 1);
}

/* ---- reading once more ---- */

struct fetched {
    struct play *play;
    struct kafka_fetcher *fetcher;
    size_t seen_count, done, refused, fatals;
    int64_t seen[SEEN_MAX];
    struct err err;
    struct arena arena;
    struct str kept;
    struct kafka_fetch *again; /* asked for when the first is done */
};

static void on_fetched(struct kafka_fetch *fetch, struct kafka_record *record, void *context)
{
    struct fetched *f = context;
    assert_true(f->seen_count < SEEN_MAX);
    assert_string_equal(record->topic, fetch->topic);
    assert_int_equal(record->partition, fetch->partition);
    assert_true(str_is(record->value, "v"));
    f->seen[f->seen_count++] = record->offset;
    if (f->seen_count > 1)
        return;
    kafka_record_keep(record, &f->arena);
    f->kept = record->value;
}

static void on_fetch_done(struct kafka_fetch *fetch, const struct err *err, void *context)
{
    struct fetched *f = context;
    (void)fetch;
    f->done++;
    f->refused += err != NULL;
    if (err)
        f->err = *err;
    if (f->again)
        kafka_fetch(f->fetcher, f->again);
    f->again = NULL;
}

static void on_fetch_fatal(const struct err *err, void *context)
{
    struct fetched *f = context;
    (void)err;
    f->fatals++;
}

static void open_fetcher(struct play *play, struct fetched *f, int64_t timeout_ms)
{
    struct kafka_conf conf = stage_kafka_conf(play->stage);
    struct err err = {0};
    *f = (struct fetched){.play = play};
    arena_init(&f->arena, NULL, 1 << 20);
    f->fetcher = kafka_fetcher_new(stage_loop(play->stage, 0), &conf, timeout_ms,
                                   &(struct kafka_fetcher_events){.on_record = on_fetched,
                                                                  .on_done = on_fetch_done,
                                                                  .on_fatal = on_fetch_fatal,
                                                                  .context = f},
                                   &err);
    if (!f->fetcher)
        fail_msg("%s", err.text);
}

static void close_fetcher(struct fetched *f)
{
    assert_int_equal(f->fatals, 0);
    arena_done(&f->arena);
    kafka_fetcher_free(f->fetcher);
}

static struct kafka_fetch stretch(const struct play *play, int64_t first, int64_t last)
{
    return (struct kafka_fetch){.topic = play->topic, .first = first, .last = last};
}

static void expect_stretch(const struct fetched *f, size_t from, int64_t first, int64_t last)
{
    assert_int_equal(f->seen_count, from + (size_t)(last - first) + 1);
    for (int64_t i = first; i <= last; i++)
        assert_int_equal(f->seen[from + (size_t)(i - first)], i);
}

static void a_stretch_is_read_in_order_and_only_it(void **state)
{
    struct play *play = *state;
    struct fetched f;
    open_topic(play, 1);
    produce(play, "k", 50);
    open_fetcher(play, &f, 10000);
    struct kafka_fetch one = stretch(play, 10, 19);
    kafka_fetch(f.fetcher, &one);
    assert_int_equal(f.seen_count + f.done, 0); /* not from inside */
    UNTIL(play->stage, f.done == 1);
    assert_int_equal(f.refused, 0);
    expect_stretch(&f, 0, 10, 19);
    stage_run_ms(play->stage, 300);
    assert_int_equal(f.seen_count, 10);
    assert_true(str_is(f.kept, "v")); /* kept longer than the call */
    close_fetcher(&f);
}

static void stretches_may_go_on_skip_and_go_back(void **state)
{
    static const int64_t firsts[] = {0, 10, 25, 3, 40}, lasts[] = {9, 19, 29, 4, 49};
    struct play *play = *state;
    struct fetched f;
    open_topic(play, 1);
    produce(play, "k", 50);
    open_fetcher(play, &f, 10000);
    struct kafka_fetch all[5];
    for (size_t i = 0; i < 5; i++) {
        all[i] = stretch(play, firsts[i], lasts[i]);
        kafka_fetch(f.fetcher, &all[i]);
    }
    UNTIL(play->stage, f.done == 5);
    assert_int_equal(f.refused, 0);
    for (size_t i = 0, at = 0; i < 5; i++)
        for (int64_t offset = firsts[i]; offset <= lasts[i]; offset++)
            assert_int_equal(f.seen[at++], offset);
    close_fetcher(&f);
}

static void one_may_be_asked_for_when_another_is_done(void **state)
{
    struct play *play = *state;
    struct fetched f;
    open_topic(play, 1);
    produce(play, "k", 20);
    open_fetcher(play, &f, 10000);
    struct kafka_fetch one = stretch(play, 15, 19), other = stretch(play, 2, 2);
    f.again = &other;
    kafka_fetch(f.fetcher, &one);
    UNTIL(play->stage, f.done == 2);
    assert_int_equal(f.seen_count, 6);
    assert_int_equal(f.seen[5], 2);
    close_fetcher(&f);
}

static void a_cancelled_stretch_says_nothing_and_the_next_one_comes(void **state)
{
    struct play *play = *state;
    struct fetched f;
    open_topic(play, 1);
    produce(play, "k", 20);
    open_fetcher(play, &f, 10000);
    struct kafka_fetch one = stretch(play, 0, 9), other = stretch(play, 10, 12);
    kafka_fetch(f.fetcher, &one);
    kafka_fetch(f.fetcher, &other);
    kafka_fetch_cancel(f.fetcher, &one);
    kafka_fetch_cancel(f.fetcher, &one); /* changes nothing */
    UNTIL(play->stage, f.done == 1);
    expect_stretch(&f, 0, 10, 12);
    kafka_fetcher_forget(f.fetcher);
    struct kafka_fetch again = stretch(play, 0, 1);
    kafka_fetch(f.fetcher, &again);
    UNTIL(play->stage, f.done == 2);
    assert_int_equal(f.seen_count, 5);
    close_fetcher(&f);
}

static void a_stretch_that_is_not_there_is_refused(void **state)
{
    struct play *play = *state;
    struct fetched f;
    open_topic(play, 1);
    produce(play, "k", 5);
    open_fetcher(play, &f, 10000);
    struct kafka_fetch one = stretch(play, 4711, 4712), other = stretch(play, 3, 4);
    kafka_fetch(f.fetcher, &one);
    kafka_fetch(f.fetcher, &other);
    UNTIL(play->stage, f.done == 2);
    assert_int_equal(f.refused, 1);
    assert_int_equal(f.err.code, ERR_OFFSET_LOST);
    expect_stretch(&f, 0, 3, 4);
    close_fetcher(&f);
}

static void while_brokers_are_away_a_stretch_ends_in_time_and_comes_later(void **state)
{
    struct play *play = *state;
    struct fetched f;
    open_topic(play, 1);
    produce(play, "k", 5);
    kafka_producer_free(play->producer, 1000);
    play->producer = NULL;
    open_fetcher(play, &f, 1000);
    struct kafka_fetch one = stretch(play, 0, 0), other = stretch(play, 1, 4);
    kafka_fetch(f.fetcher, &one);
    UNTIL(play->stage, f.done == 1);
    kafka_fetcher_forget(f.fetcher);
    if (!stage_down(play->stage, STAGE_KAFKA)) {
        close_fetcher(&f);
        skip();
    }
    kafka_fetch(f.fetcher, &other);
    UNTIL(play->stage, f.done == 2);
    assert_int_equal(f.err.code, ERR_TIMEOUT);
    stage_up(play->stage, STAGE_KAFKA);
    int64_t until_ms = stage_now_ms(play->stage) + STAGE_WAIT_MS;
    while (f.seen_count < 5 && stage_now_ms(play->stage) < until_ms) {
        size_t done = f.done;
        other = stretch(play, 1, 4);
        kafka_fetch(f.fetcher, &other);
        UNTIL(play->stage, f.done > done);
    }
    expect_stretch(&f, 0, 0, 4);
    close_fetcher(&f);
}

#define PLAY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    if (!stage_has(STAGE_KAFKA))
        return STAGE_SKIP;
    const struct CMUnitTest tests[] = {
        PLAY(nothing_is_read_before_every_partition_was_started),
        PLAY(a_partition_is_told_with_its_watermarks_and_what_is_committed),
        PLAY(the_end_is_told_after_the_records_and_again_after_more),
        PLAY(the_end_of_an_empty_partition_is_told),
        PLAY(records_come_back_as_they_were_produced),
        PLAY(after_a_pause_nothing_comes_and_nothing_is_lost),
        PLAY(a_paused_partition_waits_while_the_other_goes_on),
        PLAY(a_pause_may_come_with_the_start),
        PLAY(a_second_start_changes_nothing),
        PLAY(an_offset_that_is_not_there_is_fatal),
        PLAY(a_commit_never_goes_back),
        PLAY(commits_are_answered_by_the_newest),
        PLAY(a_commit_of_what_is_not_ours_is_not_answered),
        PLAY(a_second_member_takes_half_and_what_was_committed),
        PLAY(a_spare_member_is_told_that_it_has_nothing),
        PLAY(who_does_not_release_is_released),
        PLAY(a_static_member_keeps_its_place_over_a_restart),
        PLAY(a_member_that_leaves_hands_over_at_once),
        PLAY(a_member_that_stays_away_is_missed_after_its_session),
        PLAY(the_second_holder_of_a_name_fences_the_first),
        PLAY(a_member_that_stands_still_for_too_long_has_lost_its_partitions),
        PLAY(confirmations_come_in_the_order_of_a_partition),
        PLAY(a_record_larger_than_allowed_never_fits),
        PLAY(a_producer_that_is_closed_says_nothing_more),
        PLAY(a_short_absence_costs_time_and_nothing_else),
        PLAY(an_absence_longer_than_the_session_is_a_loss),
        PLAY(while_brokers_are_away_a_record_is_given_up_in_doubt),
        PLAY(a_stretch_is_read_in_order_and_only_it),
        PLAY(stretches_may_go_on_skip_and_go_back),
        PLAY(one_may_be_asked_for_when_another_is_done),
        PLAY(a_cancelled_stretch_says_nothing_and_the_next_one_comes),
        PLAY(a_stretch_that_is_not_there_is_refused),
        PLAY(while_brokers_are_away_a_stretch_ends_in_time_and_comes_later),
    };
    stage_only();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
