/*
 * reader.c -- the input side of a batch: lines are read, checked and published.
 *
 * One line may wait here because Kafka's local queue was full; it is tried again at the next turn.
 * A record that Kafka did not take in the end is read from the file again, at the place its ask
 * remembers: nothing of its body is kept meanwhile.
 */
#include "common/base/crash.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/data/digest.h"
#include "producer/batch/batch.h"
#include "producer/batch/output.h"
#include "producer/cli/input.h"
#include "producer/record.h"

enum {
    LINES_PER_TURN = 256,
    LINE_BYTES_MAX = 32 << 20,
    LINE_ARENA_BYTES = 512 << 20,
    ARENA_BLOCK = 65536,
    PIECE_BYTES = 1 << 20,
    TRIES_MAX = 5,
    AGAIN_MS = 1000,
};

struct reader {
    FILE *file;
    struct arena_pool *pool;
    struct arena arena; /* of one line */
    struct buf line, bytes;
    int64_t number, place;
    struct seen seen; /* names of this file so far */
    /* The line that Kafka had no room for. */
    struct ask *held;
    struct kafka_produce record;
    struct record_headers headers;
};

/* ---- once through ---- */

/* Pieces are chained, so that the file needs not be in memory. */
static bool scan(FILE *file, const char *path, char hash[DIGEST_HEX + 1], int64_t *ret_lines,
                 struct err *err)
{
    char *piece = xzalloc(PIECE_BYTES + DIGEST_HEX);
    const char *slash = strrchr(path, '/');
    size_t n;
    char last = '\n';
    digest_sha256_hex(str_of(slash ? slash + 1 : path), hash, DIGEST_HEX);
    while ((n = fread(piece + DIGEST_HEX, 1, PIECE_BYTES, file)) > 0) {
        memcpy(piece, hash, DIGEST_HEX);
        digest_sha256_hex(str_from(piece, DIGEST_HEX + n), hash, DIGEST_HEX);
        for (size_t i = 0; i < n; i++)
            *ret_lines += piece[DIGEST_HEX + i] == '\n';
        last = piece[DIGEST_HEX + n - 1];
    }
    *ret_lines += last != '\n';
    free(piece);
    if (!ferror(file) && fseeko(file, 0, SEEK_SET) == 0)
        return true;
    err_set(err, ERR_USAGE, "'%s' cannot be read twice: a batch is a file, not a stream", path);
    return false;
}

static bool begin(struct batch *batch, struct reader *reader, struct err *err)
{
    char hash[DIGEST_HEX + 1];
    const char *path = batch->options.path;
    if (strcmp(path, "-") == 0) {
        err_set(err, ERR_USAGE, "a batch is a file, not a stream: it is read twice");
        return false;
    }
    reader->file = input_open(path, err);
    if (!reader->file || !scan(reader->file, path, hash, &batch->total, err))
        return false;
    if (!batch->options.defaults.batch_id.data)
        batch->options.defaults.batch_id = arena_printf(&batch->cli->arena, "batch-%.16s", hash);
    return true;
}

struct reader *reader_new(struct batch *batch, struct err *err)
{
    struct reader *reader = xzalloc(sizeof(*reader));
    reader->pool = arena_pool_new(ARENA_BLOCK, 64);
    arena_init(&reader->arena, reader->pool, LINE_ARENA_BYTES);
    buf_init(&reader->line, LINE_BYTES_MAX);
    buf_init(&reader->bytes, (size_t)LINE_BYTES_MAX * 2);
    seen_init(&reader->seen);
    if (begin(batch, reader, err))
        return reader;
    reader_free(reader);
    return NULL;
}

void reader_free(struct reader *reader)
{
    if (!reader)
        return;
    input_close(reader->file);
    buf_done(&reader->line);
    buf_done(&reader->bytes);
    arena_done(&reader->arena);
    arena_pool_free(reader->pool);
    seen_done(&reader->seen);
    free(reader);
}

/* ---- publishing ---- */

static void delivered(const struct err *err, void *context)
{
    struct ask *ask = context;
    struct batch *batch = ask->batch;
    ask->delivering = false;
    CRASH_POINT(batch_line_delivered);
    if (ask->answered) { /* the reply was quicker than the report */
        free(ask);
        return;
    }
    if (!err)
        return;
    if (err->code == ERR_TOO_BIG) {
        const struct batch_line line = {
            .openai = ask->openai, .custom_id = ask->custom_id, .request = {.id = ask->id}};
        batch_refused(batch, &line, ask->number, err);
        batch_forget(batch, ask);
        return;
    }
    if (++ask->tries >= TRIES_MAX)
        batch_fail(batch, err);
    list_remove(&batch->waiting, &ask->order);
    list_append(&batch->again, &ask->order);
    ask->in_again = true;
    batch->again_ms = loop_now_ms(batch->loop) + AGAIN_MS;
}

static struct str put(char **at, struct str s)
{
    if (!s.data)
        return s;
    if (s.len)
        memcpy(*at, s.data, s.len);
    struct str copy = {*at, s.len};
    *at += s.len;
    return copy;
}

static struct ask *ask_new(struct batch *batch, const struct batch_line *line, int64_t number,
                           int64_t place)
{
    const struct request *request = &line->request;
    struct str model = request->models.count ? request->models.items[0] : (struct str){NULL, 0};
    struct ask *ask = xzalloc(sizeof(*ask) + request->id.len + line->custom_id.len + model.len +
                              request->tenant.len + 1);
    char *at = (char *)(ask + 1);
    ask->batch = batch;
    ask->number = number;
    ask->place = place;
    ask->openai = line->openai;
    ask->numbers = line->numbers;
    ask->id = put(&at, request->id);
    ask->custom_id = put(&at, line->custom_id);
    ask->model = put(&at, model);
    ask->tenant = put(&at, request->tenant);
    map_add(&batch->asks, &ask->node, ask->id);
    return ask;
}

static bool produce(struct batch *batch, struct ask *ask)
{
    struct reader *reader = batch->reader;
    if (!kafka_produce(batch->producer, &reader->record)) {
        reader->held = ask;
        return false;
    }
    reader->held = NULL;
    ask->delivering = true;
    ask->in_again = false;
    ask->sent_ms = loop_now_ms(batch->loop);
    list_append(&batch->waiting, &ask->order);
    CRASH_POINT(batch_line_produced);
    return true;
}

/* False: Kafka's queue is full, the line is held. */
static bool publish(struct batch *batch, struct ask *ask, struct request *request)
{
    struct reader *reader = batch->reader;
    enum batch_encoding wish = batch->options.encoding;
    bool msgpack = wish == BATCH_MSGPACK || (wish == BATCH_ALTERNATE && ask->number % 2 == 0);
    enum encoding encoding = msgpack ? ENCODING_MSGPACK : ENCODING_JSON;
    if (request->created_at == INT_ABSENT)
        request->created_at = loop_wall_ms(batch->loop);
    buf_clear(&reader->bytes);
    contract_write(&contract_request, request, encoding, &reader->bytes);
    record_headers(ask->id, encoding, &reader->headers);
    bool later = record_lane(request, true) == TOPIC_REQUESTS_BATCH;
    /* The key outlives the line: it is the ask's id, or a piece of the arena that is reset only
     * when the line has gone. */
    reader->record = (struct kafka_produce){
        .topic = later ? batch->topic_batch : batch->topic,
        .key = str_empty(request->session) ? ask->id : request->session,
        .value = buf_str(&reader->bytes),
        .headers = reader->headers.items,
        .header_count = reader->headers.count,
        .done = delivered,
        .context = ask,
    };
    return produce(batch, ask);
}

/* ---- lines ---- */

static bool number_is_done(struct batch *batch)
{
    struct str key = output_key_number(&batch->reader->arena, batch->reader->number);
    return seen_has(&batch->before.done, key);
}

/* The id is left out: of a line that stands twice it is the other one's. */
static void refuse(struct batch *batch, const struct batch_line *line, const struct err *err)
{
    const struct batch_line name = {.openai = line->openai, .custom_id = line->custom_id};
    if (!number_is_done(batch))
        batch_refused(batch, &name, batch->reader->number, err);
}

static void refuse_twice(struct batch *batch, const struct batch_line *line)
{
    struct err err;
    err_set(&err, ERR_INVALID_REQUEST, "another line of this file has this %s",
            line->openai ? "custom_id" : "id");
    refuse(batch, line, &err);
}

/* False: Kafka's queue is full. */
static bool take_line(struct batch *batch, struct str text)
{
    struct reader *reader = batch->reader;
    struct batch_line line;
    struct err err;
    if (!batch_line_read(text, reader->number, &batch->options.defaults, &reader->arena, &line,
                         &err)) {
        refuse(batch, &line, &err);
        return true;
    }
    const struct output_line name = {
        .openai = line.openai, .custom_id = line.custom_id, .request_id = line.request.id};
    struct str key = output_key_line(&reader->arena, &name);
    if (!seen_add(&reader->seen, key) || map_find(&batch->asks, line.request.id)) {
        refuse_twice(batch, &line);
        return true;
    }
    if (seen_has(&batch->before.done, key) || number_is_done(batch))
        return true;
    return publish(batch, ask_new(batch, &line, reader->number, reader->place), &line.request);
}

/* False: nothing more to do at once. */
static bool next_line(struct batch *batch)
{
    struct reader *reader = batch->reader;
    struct err err;
    reader->place = (int64_t)ftello(reader->file);
    switch (input_next(reader->file, &reader->line)) {
    case INPUT_END:
        batch->ended = true;
        return false;
    case INPUT_ERROR:
        err_set(&err, ERR_USAGE, "'%s' cannot be read any further", batch->options.path);
        batch_fail(batch, &err);
        return false;
    case INPUT_LONG:
        reader->number++;
        arena_reset(&reader->arena);
        err_set(&err, ERR_TOO_BIG, "the line is longer than %d bytes", LINE_BYTES_MAX);
        refuse(batch, &(struct batch_line){0}, &err);
        return true;
    case INPUT_LINE:
        break;
    }
    reader->number++;
    arena_reset(&reader->arena);
    CRASH_POINT(batch_line_read);
    if (!str_empty(str_trim(buf_str(&reader->line))))
        return take_line(batch, buf_str(&reader->line));
    batch->total--; /* an empty line asks nothing */
    return true;
}

/* Reads the line of an ask once more and publishes it; the file may not have changed meanwhile. */
static bool publish_again(struct batch *batch, struct ask *ask)
{
    struct reader *reader = batch->reader;
    struct batch_line line;
    struct err err;
    off_t back = ftello(reader->file);
    arena_reset(&reader->arena);
    bool good = fseeko(reader->file, (off_t)ask->place, SEEK_SET) == 0 &&
                input_next(reader->file, &reader->line) == INPUT_LINE &&
                batch_line_read(buf_str(&reader->line), ask->number, &batch->options.defaults,
                                &reader->arena, &line, &err) &&
                str_eq(line.request.id, ask->id);
    good = fseeko(reader->file, back, SEEK_SET) == 0 && good;
    if (good)
        return publish(batch, ask, &line.request);
    list_prepend(&batch->again, &ask->order);
    err_set(&err, ERR_USAGE, "'%s' was changed while it is at work", batch->options.path);
    batch_fail(batch, &err);
    return false;
}

bool reader_go_on(struct batch *batch)
{
    struct reader *reader = batch->reader;
    if (reader->held && !produce(batch, reader->held))
        return false;
    while (!batch->failed && !list_empty(&batch->again) &&
           loop_now_ms(batch->loop) >= batch->again_ms)
        if (!publish_again(batch, container_of(list_pop(&batch->again), struct ask, order)))
            return false;
    for (int n = 0; n < LINES_PER_TURN; n++) {
        if (batch->failed || batch->ended || batch->interrupted ||
            (int64_t)batch->asks.count >= batch->options.in_flight)
            return false;
        if (!next_line(batch))
            return false;
    }
    return true;
}
