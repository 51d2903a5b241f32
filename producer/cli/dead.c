/*
 * dead.c -- `quern dead list` and `show`, and the walk over the topic that `retry` shares, see
 * dead.h.
 */
#include "producer/cli/dead.h"

#include "common/app/app.h"
#include "common/base/clock.h"
#include "common/contract/contract.h"
#include "common/data/json.h"
#include "producer/cli/table.h"

enum { LIST_LIMIT = 50, READ_MS = 60000, PAGE_BYTES_MAX = 128 << 20, REASON_BYTES = 100 };

/* ---- the walk ---- */

static bool matches(struct kafka_record *record, void *context)
{
    struct dead_walk *walk = context;
    struct str code = kafka_record_header(record, HEADER_DEAD_CODE);
    if (walk->code.data && !str_eq(walk->code, code))
        return true;
    walk->seen++;
    return walk->each(record, walk->context);
}

/* A mistyped code would find nothing, which looks like good news. */
static bool know_code(struct str code, struct err *err)
{
    if (!code.data || err_by_name(code) != ERR_INTERNAL || str_is(code, err_name(ERR_INTERNAL)))
        return true;
    err_set(err, ERR_USAGE, "there is no error '" STR_FMT "', see 'quern reference errors'",
            STR_ARG(code));
    return false;
}

bool dead_walk_open(struct dead_walk *walk, struct cli *cli, struct err *err)
{
    struct kafka_topic_is is;
    *walk = (struct dead_walk){.cli = cli, .code = cli_option(cli, "code")};
    if (!know_code(walk->code, err))
        return false;
    walk->topic = topic_name(&cli->arena, cli->conf->topic_prefix, TOPIC_DEAD).data;
    walk->admin = cli_kafka_admin(cli, err);
    if (!walk->admin || !kafka_admin_topic(walk->admin, walk->topic, CLI_TIMEOUT_MS, &is, err))
        return false;
    walk->partitions = is.partitions;
    if (!is.exists)
        err_set(err, ERR_NOT_FOUND, "topic '%s' does not exist: 'quern topics create' makes it",
                walk->topic);
    return is.exists;
}

/* Records of one partition, the newest `last` of them. */
static bool walk_partition(struct dead_walk *walk, int32_t partition, int64_t last, struct err *err)
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

bool dead_walk_all(struct dead_walk *walk, int64_t last, struct err *err)
{
    for (int32_t i = 0; i < walk->partitions; i++)
        if (!walk_partition(walk, i, last, err))
            return false;
    return true;
}

bool dead_place(const char *word, struct dead_place *ret, struct err *err)
{
    struct str rest = str_of(word), partition;
    int64_t number;
    if (str_split(&rest, ':', &partition) && rest.data &&
        str_to_i64(partition, 0, INT32_MAX, &number) &&
        str_to_i64(rest, 0, INT64_MAX, &ret->offset)) {
        ret->partition = (int32_t)number;
        return true;
    }
    err_set(err, ERR_USAGE, "'%s' is not of the form PARTITION:OFFSET, as 'quern dead list' has it",
            word);
    return false;
}

static bool nothing_at(const struct dead_place *place, int64_t low, int64_t high, struct err *err)
{
    if (low == high)
        err_set(err, ERR_NOT_FOUND, "there is no record %d:%lld, partition %d is empty",
                (int)place->partition, (long long)place->offset, (int)place->partition);
    else
        err_set(err, ERR_NOT_FOUND, "there is no record %d:%lld, only %d:%lld to %d:%lld",
                (int)place->partition, (long long)place->offset, (int)place->partition,
                (long long)low, (int)place->partition, (long long)high - 1);
    return false;
}

bool dead_walk_one(struct dead_walk *walk, const struct dead_place *place, struct err *err)
{
    int64_t low, high;
    size_t seen = walk->seen;
    walk->code = (struct str){NULL, 0};
    if (place->partition >= walk->partitions) {
        err_set(err, ERR_NOT_FOUND, "there is no record %d:%lld, '%s' has the partitions 0 to %d",
                (int)place->partition, (long long)place->offset, walk->topic,
                (int)walk->partitions - 1);
        return false;
    }
    if (!kafka_admin_watermarks(walk->admin, walk->topic, place->partition, CLI_TIMEOUT_MS, &low,
                                &high, err))
        return false;
    if (place->offset < low || place->offset >= high)
        return nothing_at(place, low, high, err);
    if (!kafka_admin_read(walk->admin, walk->topic, place->partition, place->offset,
                          place->offset + 1, READ_MS, matches, walk, err))
        return false;
    return walk->seen > seen || nothing_at(place, low, high, err);
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
    struct dead_walk walk;
    struct err err = {0};
    int64_t limit = LIST_LIMIT;
    if (!cli_option_i64(cli, "limit", 1, 100000, &limit, &err))
        return cli_fail(cli, &err);
    struct listing listing = {.cli = cli, .limit = (size_t)limit};
    listing.newest = arena_array(&cli->arena, struct listed, (size_t)limit);
    bool good = dead_walk_open(&walk, cli, &err);
    walk.each = list_each;
    walk.context = &listing;
    good = good && dead_walk_all(&walk, walk.code.data ? INT64_MAX : limit, &err);
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
    struct dead_walk walk;
    struct dead_place place;
    struct err err = {0};
    if (!dead_place(cli->words[0], &place, &err))
        return cli_fail(cli, &err);
    bool good = dead_walk_open(&walk, cli, &err);
    walk.each = show_each;
    walk.context = cli;
    good = good && dead_walk_one(&walk, &place, &err);
    kafka_admin_free(walk.admin);
    return good ? EXIT_OK : cli_fail(cli, &err);
}
