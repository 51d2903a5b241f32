/*
 * dead.c -- `quern dead list|show|retry`: records that could not be processed.
 *
 * The dead-letter topic keeps the original bytes; why and where from stands in the headers. Kafka
 * deletes nothing on demand, so a record stays in the list after a retry. A retried request that
 * has an id and a stored final result is answered from the store; --new-id asks anew.
 */
#include "common/app/app.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/rand.h"
#include "common/contract/contract.h"
#include "common/data/json.h"
#include "producer/cli/cli.h"
#include "producer/cli/table.h"
#include "producer/record.h"

enum {
    LIST_LIMIT = 50,
    READ_MS = 60000,
    PAGE_BYTES_MAX = 128 << 20,
    REASON_BYTES = 100,
    LINE_ARENA_BYTES = 256 << 20,
    TURN_MS = 100,
    DELIVERY_MS = 60000,
};

struct place {
    int32_t partition;
    int64_t offset;
};

/* One walk over the topic. */
struct walk {
    struct cli *cli;
    struct kafka_admin *admin;
    const char *topic;
    int32_t partitions;
    struct str code; /* only these; absent: all */
    bool (*each)(struct kafka_record *record, void *context);
    void *context;
};

static bool matches(struct kafka_record *record, void *context)
{
    const struct walk *walk = context;
    struct str code = kafka_record_header(record, HEADER_DEAD_CODE);
    return (walk->code.data && !str_eq(walk->code, code)) || walk->each(record, walk->context);
}

static bool walk_open(struct walk *walk, struct cli *cli, struct err *err)
{
    struct kafka_topic_is is;
    *walk = (struct walk){.cli = cli, .code = cli_option(cli, "code")};
    walk->topic = topic_name(&cli->arena, cli->conf->topic_prefix, TOPIC_DEAD).data;
    walk->admin = cli_kafka_admin(cli, err);
    if (!walk->admin || !kafka_admin_topic(walk->admin, walk->topic, CLI_TIMEOUT_MS, &is, err))
        return false;
    walk->partitions = is.partitions;
    if (!is.exists)
        err_set(err, ERR_UNAVAILABLE, "topic '%s' does not exist: 'quern topics create' makes it",
                walk->topic);
    return is.exists;
}

/* Records of one partition, the newest `last` of them. */
static bool walk_partition(struct walk *walk, int32_t partition, int64_t last, struct err *err)
{
    int64_t low, high;
    if (!kafka_admin_watermarks(walk->admin, walk->topic, partition, CLI_TIMEOUT_MS, &low, &high,
                                err))
        return false;
    if (high - low > last)
        low = high - last;
    return kafka_admin_read(walk->admin, walk->topic, partition, low, high, READ_MS, matches, walk,
                            err);
}

static bool walk_all(struct walk *walk, int64_t last, struct err *err)
{
    for (int32_t i = 0; i < walk->partitions; i++)
        if (!walk_partition(walk, i, last, err))
            return false;
    return true;
}

static bool read_place(const char *word, struct place *ret, struct err *err)
{
    struct str rest = str_of(word), partition;
    int64_t number;
    if (str_split(&rest, ':', &partition) && rest.data &&
        str_to_i64(partition, 0, INT32_MAX, &number) &&
        str_to_i64(rest, 0, INT64_MAX, &ret->offset)) {
        ret->partition = (int32_t)number;
        return true;
    }
    err_set(err, ERR_USAGE, "'%s' is not of the form PARTITION:OFFSET", word);
    return false;
}

static bool walk_one(struct walk *walk, const char *word, struct err *err)
{
    struct place place;
    int64_t low, high;
    if (!read_place(word, &place, err))
        return false;
    if (place.partition >= walk->partitions) {
        err_set(err, ERR_NOT_FOUND, "'%s' has %d partitions", walk->topic, (int)walk->partitions);
        return false;
    }
    if (!kafka_admin_watermarks(walk->admin, walk->topic, place.partition, CLI_TIMEOUT_MS, &low,
                                &high, err))
        return false;
    if (place.offset < low || place.offset >= high) {
        err_set(err, ERR_NOT_FOUND, "there is no record %s, only %lld to %lld", word,
                (long long)low, (long long)high - 1);
        return false;
    }
    return kafka_admin_read(walk->admin, walk->topic, place.partition, place.offset,
                            place.offset + 1, READ_MS, walk->each, walk->context, err);
}

/* ---- list ---- */

struct listed {
    int64_t timestamp_ms;
    struct str cells[6];
};

struct listing {
    struct cli *cli;
    struct listed *newest; /* a ring would forget in order; here the oldest goes first */
    size_t count, limit;
};

static int by_time(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    return (x->timestamp_ms > y->timestamp_ms) - (x->timestamp_ms < y->timestamp_ms);
}

static void drop_oldest(struct listing *listing)
{
    size_t oldest = 0;
    for (size_t i = 1; i < listing->count; i++)
        if (listing->newest[i].timestamp_ms < listing->newest[oldest].timestamp_ms)
            oldest = i;
    listing->newest[oldest] = listing->newest[--listing->count];
}

static bool list_each(struct kafka_record *record, void *context)
{
    struct listing *listing = context;
    struct arena *arena = &listing->cli->arena;
    char time[25];
    if (listing->count == listing->limit)
        drop_oldest(listing);
    struct listed *row = &listing->newest[listing->count++];
    clock_format(record->timestamp_ms, time);
    row->timestamp_ms = record->timestamp_ms;
    row->cells[0] =
        arena_printf(arena, "%d:%lld", (int)record->partition, (long long)record->offset);
    row->cells[1] = arena_str(arena, str_of(time));
    row->cells[2] = arena_str(arena, kafka_record_header(record, HEADER_DEAD_CODE));
    row->cells[3] = arena_str(arena, kafka_record_header(record, HEADER_DEAD_ID));
    row->cells[4] = arena_printf(arena, STR_FMT "/" STR_FMT "@" STR_FMT,
                                 STR_ARG(kafka_record_header(record, HEADER_DEAD_TOPIC)),
                                 STR_ARG(kafka_record_header(record, HEADER_DEAD_PARTITION)),
                                 STR_ARG(kafka_record_header(record, HEADER_DEAD_OFFSET)));
    row->cells[5] = arena_str(
        arena, str_utf8_cut(kafka_record_header(record, HEADER_DEAD_REASON), REASON_BYTES));
    return true;
}

static int print_listing(struct cli *cli, struct listing *listing)
{
    struct table table;
    struct buf text;
    table_init(&table, &cli->arena,
               (const char *const[]){"record", "time", "code", "id", "origin", "reason", NULL});
    qsort(listing->newest, listing->count, sizeof(*listing->newest), by_time);
    for (size_t i = 0; i < listing->count; i++)
        for (size_t k = 0; k < 6; k++)
            table_add(&table, listing->newest[i].cells[k]);
    buf_init(&text, PAGE_BYTES_MAX);
    if (cli->json)
        table_json(&table, &text);
    else
        table_text(&table, cli->color, &text);
    int code = cli_out(&text);
    buf_done(&text);
    return code;
}

int run_dead_list(struct cli *cli)
{
    struct walk walk;
    struct err err = {0};
    int64_t limit = LIST_LIMIT;
    if (!cli_option_i64(cli, "limit", 1, 100000, &limit, &err))
        return cli_fail(cli, &err);
    struct listing listing = {.cli = cli, .limit = (size_t)limit};
    listing.newest = arena_array(&cli->arena, struct listed, (size_t)limit);
    bool good = walk_open(&walk, cli, &err);
    walk.each = list_each;
    walk.context = &listing;
    good = good && walk_all(&walk, walk.code.data ? INT64_MAX : limit, &err);
    kafka_admin_free(walk.admin);
    return good ? print_listing(cli, &listing) : cli_fail(cli, &err);
}

/* ---- show ---- */

static void show_json(const struct kafka_record *record, struct buf *ret)
{
    struct json_writer w = {.out = ret, .pretty = true};
    char time[25];
    clock_format(record->timestamp_ms, time);
    json_open(&w, '{');
    json_key(&w, "partition");
    json_int(&w, record->partition);
    json_key(&w, "offset");
    json_int(&w, record->offset);
    json_key(&w, "time");
    json_str(&w, str_of(time));
    json_key(&w, "key");
    json_str(&w, record->key);
    json_key(&w, "headers");
    json_open(&w, '{');
    for (size_t i = 0; i < record->header_count; i++) {
        json_key_str(&w, record->headers[i].name);
        json_str(&w, record->headers[i].value);
    }
    json_close(&w, '}');
    json_key(&w, str_utf8_valid(record->value) ? "value" : "value_not_utf8");
    json_str(&w, record->value);
    json_close(&w, '}');
    buf_add_char(ret, '\n');
}

static void show_text(const struct kafka_record *record, struct buf *ret)
{
    buf_printf(ret, "record %d:%lld, key '" STR_FMT "', %zu bytes\n", (int)record->partition,
               (long long)record->offset, STR_ARG(record->key), record->value.len);
    for (size_t i = 0; i < record->header_count; i++)
        buf_printf(ret, "  " STR_FMT ": " STR_FMT "\n", STR_ARG(record->headers[i].name),
                   STR_ARG(record->headers[i].value));
    buf_add_char(ret, '\n');
    buf_add_str(ret, record->value);
    buf_add_char(ret, '\n');
}

static bool show_each(struct kafka_record *record, void *context)
{
    struct cli *cli = context;
    struct buf text;
    buf_init(&text, PAGE_BYTES_MAX);
    if (cli_has(cli, "bytes"))
        buf_add_str(&text, record->value);
    else if (cli->json)
        show_json(record, &text);
    else
        show_text(record, &text);
    cli_out(&text);
    buf_done(&text);
    return false;
}

int run_dead_show(struct cli *cli)
{
    struct walk walk;
    struct err err = {0};
    bool good = walk_open(&walk, cli, &err);
    walk.each = show_each;
    walk.context = cli;
    good = good && walk_one(&walk, cli->words[0], &err);
    kafka_admin_free(walk.admin);
    return good ? EXIT_OK : cli_fail(cli, &err);
}

/* ---- retry ---- */

struct retry {
    struct cli *cli;
    struct loop *loop;
    struct kafka_producer *producer;
    struct arena arena; /* of one record */
    bool new_id, failed;
    size_t under_way, done, left_out;
    struct err err;
};

static void fail(struct retry *retry, const struct err *err)
{
    if (!retry->failed)
        retry->err = *err;
    retry->failed = true;
}

static void delivered(const struct err *err, void *context)
{
    struct retry *retry = context;
    retry->under_way--;
    CRASH_POINT(dead_retry_delivered);
    if (err)
        fail(retry, err);
    else
        retry->done++;
}

static void on_fatal(const struct err *err, void *context)
{
    fail(context, err);
}

static bool leave_out(struct retry *retry, const struct kafka_record *record, const char *why)
{
    cli_say("%d:%lld is left out: %s", (int)record->partition, (long long)record->offset, why);
    retry->left_out++;
    return true;
}

/* The same request under a fresh id. False: it cannot be read. */
static bool give_new_id(struct retry *retry, struct str value, enum encoding encoding,
                        struct str *ret_key, struct buf *ret, struct err *err)
{
    char *id = arena_alloc(&retry->arena, UUID_TEXT_LEN + 1);
    struct value document;
    struct request request;
    if (!contract_parse(value, encoding, &retry->arena, &document, err) ||
        !contract_read(&contract_request, contract_unwrap(&document), &retry->arena, &request, err))
        return false;
    rand_uuid7(loop_rand(retry->loop), loop_wall_ms(retry->loop), id);
    request.id = str_of(id);
    request.created_at = loop_wall_ms(retry->loop);
    contract_write(&contract_request, &request, encoding, ret);
    *ret_key = record_key(&request);
    return true;
}

static void send(struct retry *retry, const char *topic, struct str key, struct str value,
                 struct str type)
{
    const struct kafka_header header = {STR(HEADER_CONTENT_TYPE), type};
    const struct kafka_produce record = {
        .topic = topic,
        .key = key,
        .value = value,
        .headers = &header,
        .header_count = type.data ? 1 : 0,
        .done = delivered,
        .context = retry,
    };
    while (!retry->failed && !kafka_produce(retry->producer, &record))
        loop_turn(retry->loop, TURN_MS);
    retry->under_way += !retry->failed;
    CRASH_POINT(dead_retry_produced);
}

static bool retry_each(struct kafka_record *record, void *context)
{
    struct retry *retry = context;
    struct str topic = kafka_record_header(record, HEADER_DEAD_TOPIC);
    struct str type = kafka_record_header(record, HEADER_CONTENT_TYPE);
    struct str key = record->key, value = record->value;
    enum encoding encoding = ENCODING_JSON;
    struct buf anew;
    struct err err;
    if (str_empty(topic))
        return leave_out(retry, record, "its headers do not say where it came from");
    if (kafka_record_header(record, HEADER_DEAD_ORIGINAL_BYTES).data)
        return leave_out(retry, record, "only its beginning was kept");
    CRASH_POINT(dead_retry_read);
    buf_init(&anew, PAGE_BYTES_MAX);
    if (!retry->new_id || (encoding_by_type(type, &encoding) &&
                           give_new_id(retry, value, encoding, &key, &anew, &err)))
        send(retry, arena_cstr(&retry->arena, topic), key, retry->new_id ? buf_str(&anew) : value,
             type);
    else
        leave_out(retry, record, "it cannot be read as a request");
    buf_done(&anew);
    arena_reset(&retry->arena);
    loop_turn(retry->loop, 0);
    return !retry->failed;
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

static void await(struct retry *retry)
{
    int64_t until_ms = loop_now_ms(retry->loop) + DELIVERY_MS;
    while (retry->under_way > 0 && !retry->failed && loop_now_ms(retry->loop) < until_ms)
        loop_turn(retry->loop, TURN_MS);
}

int run_dead_retry(struct cli *cli)
{
    struct retry retry = {.cli = cli, .new_id = cli_has(cli, "new-id")};
    struct walk walk = {0};
    struct err err = {0};
    arena_init(&retry.arena, NULL, LINE_ARENA_BYTES);
    bool good = retry_open(&retry, &err) && walk_open(&walk, cli, &err);
    walk.each = retry_each;
    walk.context = &retry;
    if (good)
        good = strcmp(cli->words[0], "all") == 0 ? walk_all(&walk, INT64_MAX, &err)
                                                 : walk_one(&walk, cli->words[0], &err);
    if (retry.loop)
        await(&retry);
    if (good && retry.failed) {
        good = false;
        err = retry.err;
    }
    kafka_admin_free(walk.admin);
    kafka_producer_free(retry.producer, 0);
    loop_free(retry.loop);
    arena_done(&retry.arena);
    if (!good)
        return cli_fail(cli, &err);
    cli_say("%zu record(s) published again, %zu left out", retry.done, retry.left_out);
    return retry.left_out > 0 ? EXIT_FAILED : EXIT_OK;
}
