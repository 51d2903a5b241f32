/*
 * dead_retry.c -- `quern dead retry`: publishes the original bytes again, and says of each record
 * what became of it; see dead.h.
 *
 * A record that cannot be retried, or that Kafka does not take, does not hold up the others.
 * Nothing is published a second time by itself: of an unknown fate the operator is told, and
 * decides.
 */
#include "common/app/app.h"
#include "common/base/crash.h"
#include "common/base/rand.h"
#include "common/contract/contract.h"
#include "producer/cli/dead.h"
#include "producer/cli/table.h"
#include "producer/record.h"

enum {
    PAGE_BYTES_MAX = 128 << 20,
    LINE_ARENA_BYTES = 256 << 20,
    TURN_MS = 100,
    DELIVERY_MS = 60000,
};

static const char PREFIX[] = "quern-dead-";

struct retry;

/* One record, for the table; lives as long as the command. */
struct redo {
    struct redo *next;
    struct retry *retry;
    struct str place, id, topic;
    const char *fate, *why;
};

/* Whether a topic is there; most letters come from one or two. */
struct origin {
    struct origin *next;
    struct str topic;
    bool exists;
};

struct retry {
    struct cli *cli;
    struct dead_walk *walk;
    struct origin *origins;
    struct loop *loop;
    struct kafka_producer *producer;
    struct arena arena; /* of one record */
    bool new_id, failed;
    struct redo *first, **last;
    size_t under_way, done, with_id, left;
    struct err err; /* of `failed` */
};

/* ---- pure ---- */

const char *dead_fate(const struct err *err, bool has_id, const char **ret_why)
{
    *ret_why = "";
    if (!err)
        return "published";
    *ret_why = err->text;
    if (err->code != ERR_TIMEOUT)
        return "not published";
    *ret_why = has_id
                   ? "Kafka did not say whether it has it; once more is harmless, for it has an id"
                   : "Kafka did not say whether it has it; once more may ask twice, look for it "
                     "first";
    return "unknown";
}

size_t dead_headers(const struct kafka_record *record, const char *new_type,
                    struct kafka_header *ret)
{
    size_t count = 0;
    if (new_type)
        ret[count++] = (struct kafka_header){STR(HEADER_CONTENT_TYPE), str_of(new_type)};
    for (size_t i = 0; i < record->header_count; i++) {
        struct str name = record->headers[i].name;
        bool old = str_is(name, HEADER_CONTENT_TYPE) || str_starts(name, STR("ce_"));
        if (!str_starts(name, str_of(PREFIX)) && !(new_type && old))
            ret[count++] = record->headers[i];
    }
    return count;
}

/* ---- one record ---- */

static struct redo *redo_new(struct retry *retry, const char *place)
{
    struct redo *redo = arena_new(&retry->cli->arena, struct redo);
    *redo = (struct redo){.retry = retry, .place = str_of(place), .why = ""};
    *retry->last = redo;
    retry->last = &redo->next;
    return redo;
}

static void leave_out(struct redo *redo, const char *why)
{
    redo->fate = "left out";
    redo->why = arena_str(&redo->retry->cli->arena, str_of(why)).data;
    redo->retry->left++;
}

static void delivered(const struct err *err, void *context)
{
    struct redo *redo = context;
    struct retry *retry = redo->retry;
    const char *why;
    retry->under_way--;
    CRASH_POINT(dead_retry_delivered);
    redo->fate = dead_fate(err, !str_empty(redo->id) && !retry->new_id, &why);
    redo->why = arena_str(&retry->cli->arena, str_of(why)).data;
    retry->done += !err;
    retry->with_id += !err && !str_empty(redo->id) && !retry->new_id;
    retry->left += err != NULL;
}

static void on_fatal(const struct err *err, void *context)
{
    struct retry *retry = context;
    if (!retry->failed)
        retry->err = *err;
    retry->failed = true;
}

/* The same request under a fresh id, created now. False: it cannot be read. */
static bool give_new_id(struct retry *retry, struct str value, enum encoding encoding,
                        struct str *ret_key, struct str *ret_id, struct buf *ret)
{
    char *id = arena_alloc(&retry->arena, UUID_TEXT_LEN + 1);
    struct value document;
    struct request request;
    struct err err;
    if (!contract_parse(value, encoding, &retry->arena, &document, &err) ||
        !contract_read(&contract_request, contract_unwrap(&document), &retry->arena, &request,
                       &err))
        return false;
    rand_uuid7(loop_rand(retry->loop), loop_wall_ms(retry->loop), id);
    *ret_id = request.id = str_of(id);
    request.created_at = loop_wall_ms(retry->loop);
    contract_write(&contract_request, &request, encoding, ret);
    *ret_key = record_key(&request);
    return true;
}

static void send(struct redo *redo, struct str key, struct str value,
                 const struct kafka_header *headers, size_t header_count)
{
    struct retry *retry = redo->retry;
    const struct kafka_produce record = {
        .topic = redo->topic.data,
        .key = key,
        .value = value,
        .headers = headers,
        .header_count = header_count,
        .done = delivered,
        .context = redo,
    };
    redo->fate = dead_fate(&(struct err){.code = ERR_TIMEOUT},
                           !str_empty(redo->id) && !retry->new_id, &redo->why);
    while (!retry->failed && !kafka_produce(retry->producer, &record))
        loop_turn(retry->loop, TURN_MS);
    retry->under_way += !retry->failed;
    CRASH_POINT(dead_retry_produced);
}

static void send_under_new_id(struct redo *redo, const struct kafka_record *record)
{
    struct retry *retry = redo->retry;
    struct kafka_header headers[KAFKA_HEADERS_MAX + 1];
    enum encoding encoding = ENCODING_JSON;
    struct str key, id;
    struct buf anew;
    buf_init(&anew, PAGE_BYTES_MAX);
    if (encoding_by_type(kafka_record_header(record, HEADER_CONTENT_TYPE), &encoding) &&
        give_new_id(retry, record->value, encoding, &key, &id, &anew)) {
        redo->id = arena_str(&retry->cli->arena, id);
        send(redo, key, buf_str(&anew), headers,
             dead_headers(record, encoding_type(encoding), headers));
    } else {
        leave_out(redo, "it cannot be read as a request, so it cannot be given an id");
    }
    buf_done(&anew);
}

static void send_as_it_was(struct redo *redo, const struct kafka_record *record)
{
    struct kafka_header headers[KAFKA_HEADERS_MAX + 1];
    send(redo, record->key, record->value, headers, dead_headers(record, NULL, headers));
}

/* Asked here, for the library waits for a topic that is not there until the delivery time-out, and
 * then nobody could tell it from a record that may have been written. */
static bool origin_exists(struct retry *retry, struct str topic)
{
    struct kafka_topic_is is;
    struct err err;
    struct origin *origin = retry->origins;
    while (origin && !str_eq(origin->topic, topic))
        origin = origin->next;
    if (origin)
        return origin->exists;
    origin = arena_new(&retry->cli->arena, struct origin);
    origin->topic = topic;
    origin->exists =
        !kafka_admin_topic(retry->walk->admin, topic.data, CLI_TIMEOUT_MS, &is, &err) || is.exists;
    origin->next = retry->origins;
    retry->origins = origin;
    return origin->exists;
}

static bool retry_each(struct kafka_record *record, void *context)
{
    struct retry *retry = context;
    struct arena *arena = &retry->cli->arena;
    struct redo *redo = redo_new(
        retry,
        arena_printf(arena, "%d:%lld", (int)record->partition, (long long)record->offset).data);
    redo->topic = arena_str(arena, kafka_record_header(record, HEADER_DEAD_TOPIC));
    redo->id = arena_str(arena, kafka_record_header(record, HEADER_DEAD_ID));
    CRASH_POINT(dead_retry_read);
    if (str_empty(redo->topic))
        leave_out(redo, "its headers do not say where it came from");
    else if (kafka_record_header(record, HEADER_DEAD_ORIGINAL_BYTES).data)
        leave_out(redo, "only its beginning was kept");
    else if (!origin_exists(retry, redo->topic))
        leave_out(redo, "the topic it came from does not exist any more");
    else if (retry->new_id)
        send_under_new_id(redo, record);
    else
        send_as_it_was(redo, record);
    arena_reset(&retry->arena);
    loop_turn(retry->loop, 0);
    return !retry->failed;
}

/* ---- the command ---- */

/* All places are read before anything is published. */
static bool read_places(const struct cli *cli, struct dead_place *ret, size_t *ret_count,
                        struct err *err)
{
    *ret_count = 0;
    if (cli->word_count == 1 && strcmp(cli->words[0], "all") == 0)
        return true;
    while (*ret_count < cli->word_count) {
        if (!dead_place(cli->words[*ret_count], &ret[*ret_count], err))
            return false;
        ++*ret_count;
    }
    return true;
}

static bool retry_open(struct retry *retry, struct err *err)
{
    struct kafka_conf conf;
    shared_kafka_conf(retry->cli->conf, &conf);
    conf.client_id = STR("quern");
    retry->loop = loop_new(err);
    if (!retry->loop)
        return false;
    retry->producer = kafka_producer_new(retry->loop, &conf, on_fatal, retry, err);
    return retry->producer != NULL;
}

static bool retry_places(struct retry *retry, struct dead_walk *walk,
                         const struct dead_place *places, size_t count, struct err *err)
{
    if (count == 0)
        return dead_walk_all(walk, INT64_MAX, err);
    for (size_t i = 0; i < count && !retry->failed; i++) {
        if (dead_walk_one(walk, &places[i], err))
            continue;
        if (err->code != ERR_NOT_FOUND)
            return false;
        leave_out(redo_new(retry, retry->cli->words[i]), err->text);
    }
    return true;
}

static void await(struct retry *retry)
{
    int64_t until_ms = loop_now_ms(retry->loop) + DELIVERY_MS;
    while (retry->under_way > 0 && !retry->failed && loop_now_ms(retry->loop) < until_ms)
        loop_turn(retry->loop, TURN_MS);
    retry->left += retry->under_way;
}

static int print_attempts(const struct retry *retry)
{
    struct table table;
    struct buf text;
    table_init(&table, &retry->cli->arena,
               (const char *const[]){"record", "outcome", "id", "topic", "why", NULL});
    for (const struct redo *redo = retry->first; redo; redo = redo->next) {
        table_add(&table, redo->place);
        table_add(&table, str_of(redo->fate));
        table_add(&table, redo->id);
        table_add(&table, redo->topic);
        table_add(&table, str_of(redo->why));
    }
    buf_init(&text, PAGE_BYTES_MAX);
    if (retry->cli->json)
        table_json(&table, &text);
    else
        table_text(&table, retry->cli->color, &text);
    int code = cli_out(&text);
    buf_done(&text);
    return code;
}

static int sum_up(const struct retry *retry)
{
    cli_say("%zu record(s) published again, %zu not", retry->done, retry->left);
    if (retry->with_id > 0)
        cli_say("%zu of them under their old id: whose failure is stored is told that again; "
                "--new-id asks anew",
                retry->with_id);
    return retry->left > 0 ? EXIT_FAILED : EXIT_OK;
}

int run_dead_retry(struct cli *cli)
{
    struct retry retry = {.cli = cli, .new_id = cli_has(cli, "new-id")};
    struct dead_place places[CLI_WORDS_MAX];
    size_t count;
    struct dead_walk walk = {0};
    struct err err = {0};
    retry.last = &retry.first;
    retry.walk = &walk;
    if (!read_places(cli, places, &count, &err))
        return cli_fail(cli, &err);
    arena_init(&retry.arena, NULL, LINE_ARENA_BYTES);
    bool good = dead_walk_open(&walk, cli, &err) && retry_open(&retry, &err);
    walk.each = retry_each;
    walk.context = &retry;
    good = good && retry_places(&retry, &walk, places, count, &err);
    if (retry.producer)
        await(&retry);
    if (good && retry.failed) {
        good = false;
        err = retry.err;
    }
    kafka_admin_free(walk.admin);
    kafka_producer_free(retry.producer, 0);
    loop_free(retry.loop);
    arena_done(&retry.arena);
    int code = retry.first || good ? print_attempts(&retry) : EXIT_OK;
    if (!good)
        return cli_fail(cli, &err);
    int worst = sum_up(&retry);
    return code ? code : worst;
}
