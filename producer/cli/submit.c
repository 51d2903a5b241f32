/*
 * submit.c -- `quern submit`: a question, a file of questions, or bytes as they are.
 *
 * Accepted means that Kafka has the record (the delivery report); then its id is printed. With
 * --wait the reply topic is read from where it ended before the first record left, so no reply can
 * be missed, and each reply is printed as it comes.
 */
#include "common/app/app.h"
#include "common/base/crash.h"
#include "common/base/map.h"
#include "common/base/must.h"
#include "common/base/rand.h"
#include "common/base/xalloc.h"
#include "common/data/floats.h"
#include "common/data/json.h"
#include "producer/cli/cli.h"
#include "producer/cli/input.h"
#include "producer/cli/request_options.h"
#include "producer/record.h"
#include "producer/replies.h"

enum {
    TEXT_BYTES_MAX = 16 << 20,
    RECORD_BYTES_MAX = 64 << 20,
    LINE_ARENA_BYTES = 256 << 20,
    OUT_BYTES_MAX = 128 << 20,
    WAIT_MS = 60000,
    FLUSH_MS = 1000,
    TURN_MS = 100,
    CONNECT_MS = 5000,
};

struct submit {
    struct cli *cli;
    struct loop *loop;
    struct kafka_producer *producer;
    struct replies *replies;
    enum encoding encoding;
    bool wait, stopped;
    int64_t timeout_ms;
    struct map awaited; /* of struct ask, by id */
    size_t delivering;
    int code; /* the worst so far */
    struct err fatal;
};

/* A request on its way: until it is delivered, and with --wait until it is answered. */
struct ask {
    struct map_node node;
    struct submit *submit;
    char *id, *tenant, *topic;
    bool delivered, answered;
};

static void worse(struct submit *submit, int code)
{
    if (submit->code == EXIT_OK)
        submit->code = code;
}

static void complain(struct submit *submit, const char *place, int64_t line, const struct err *err)
{
    struct err full = *err;
    if (line > 0)
        err_prefix(&full, "%s:%lld", place, (long long)line);
    worse(submit, cli_fail(submit->cli, &full));
}

static void ask_free(struct ask *ask)
{
    map_remove(&ask->submit->awaited, &ask->node);
    free(ask->id);
    free(ask->tenant);
    free(ask->topic);
    free(ask);
}

/* ---- what comes back ---- */

static void print_accepted(const struct ask *ask)
{
    struct buf text;
    buf_init(&text, OUT_BYTES_MAX);
    if (ask->submit->cli->json) {
        struct json_writer w = {.out = &text};
        json_open(&w, '{');
        json_key(&w, "id");
        json_str(&w, str_of(ask->id));
        json_key(&w, "topic");
        json_str(&w, str_of(ask->topic));
        json_close(&w, '}');
    } else {
        buf_add_str(&text, *ask->id ? str_of(ask->id) : STR("-"));
    }
    buf_add_char(&text, '\n');
    worse(ask->submit, cli_out(&text));
    buf_done(&text);
}

/* Who does not know whether it was accepted can ask again under the same id, and so has to know it.
 */
static void complain_of(const struct ask *ask, const struct err *err)
{
    struct err full = *err;
    if (err->code == ERR_TIMEOUT && *ask->id)
        err_set(&full, ERR_TIMEOUT,
                "%s: Kafka did not say in time whether it has it; 'quern show %s' tells, and once"
                " more with --id %s is harmless",
                ask->id, ask->id, ask->id);
    else if (*ask->id)
        err_prefix(&full, "%s", ask->id);
    complain(ask->submit, NULL, 0, &full);
}

static void delivered(const struct err *err, void *context)
{
    struct ask *ask = context;
    struct submit *submit = ask->submit;
    submit->delivering--;
    ask->delivered = true;
    CRASH_POINT(submit_delivered);
    if (err)
        complain_of(ask, err);
    else if (!submit->wait)
        print_accepted(ask);
    if (err || ask->answered || !ask->node.linked)
        ask_free(ask);
}

/* One a line, as a list of numbers. */
static void add_vectors(const struct str_list *vectors, struct buf *ret)
{
    for (size_t i = 0; i < vectors->count; i++) {
        struct json_writer w = {.out = ret};
        if (i)
            buf_add_char(ret, '\n');
        floats_json(vectors->items[i], &w);
    }
}

static void print_reply(struct submit *submit, const struct reply *reply,
                        const struct value *document)
{
    struct buf text;
    buf_init(&text, OUT_BYTES_MAX);
    if (submit->cli->json)
        json_write(document, &text);
    else if (reply->embeddings.count)
        add_vectors(&reply->embeddings, &text);
    else
        buf_add_str(&text, reply->text);
    buf_add_char(&text, '\n');
    if (submit->cli->json || str_is(reply->status, "done"))
        worse(submit, cli_out(&text));
    buf_done(&text);
}

static bool wanted(struct str id, void *context)
{
    struct submit *submit = context;
    return map_find(&submit->awaited, id) != NULL;
}

static void on_reply(const struct reply *reply, const struct value *document, void *context)
{
    struct submit *submit = context;
    struct map_node *node = map_find(&submit->awaited, reply->request_id);
    struct str tenant = str_empty(reply->tenant) ? STR("default") : reply->tenant;
    struct ask *ask = node ? container_of(node, struct ask, node) : NULL;
    if (!ask || ask->answered || !str_is(tenant, ask->tenant))
        return;
    CRASH_POINT(submit_reply_read);
    print_reply(submit, reply, document);
    if (!str_is(reply->status, "done")) {
        cli_say("%s " STR_FMT ": " STR_FMT ": " STR_FMT, ask->id, STR_ARG(reply->status),
                STR_ARG(reply->error.code), STR_ARG(reply->error.message));
        worse(submit, EXIT_FAILED);
    }
    ask->answered = true;
    if (ask->delivered)
        ask_free(ask);
}

static void on_fatal(const struct err *err, void *context)
{
    struct submit *submit = context;
    if (!submit->stopped)
        submit->fatal = *err;
    submit->stopped = true;
}

/* ---- publishing ---- */

static void publish(struct submit *submit, enum topic_id topic, struct str id, struct str tenant,
                    struct str key, struct str bytes)
{
    struct record_headers headers;
    struct ask *ask = xzalloc(sizeof(*ask));
    ask->submit = submit;
    ask->id = xstrndup(id);
    ask->tenant = xstrndup(str_empty(tenant) ? STR("default") : tenant);
    ask->topic = xstrndup(topic_name(&submit->cli->arena, submit->cli->conf->topic_prefix, topic));
    record_headers(id, submit->encoding, &headers);
    if (submit->wait && !str_empty(id) && !map_find(&submit->awaited, id))
        map_add(&submit->awaited, &ask->node, str_of(ask->id));
    const struct kafka_produce record = {
        .topic = ask->topic,
        .key = str_empty(key) ? (struct str){0} : key,
        .value = bytes,
        .headers = headers.items,
        .header_count = headers.count,
        .done = delivered,
        .context = ask,
    };
    while (!submit->stopped && !kafka_produce(submit->producer, &record))
        loop_turn(submit->loop, TURN_MS);
    submit->delivering += !submit->stopped;
    CRASH_POINT(submit_produced);
    if (submit->stopped)
        ask_free(ask);
}

static bool publish_request(struct submit *submit, struct request *request, struct err *err)
{
    char id[UUID_TEXT_LEN + 1];
    struct buf bytes;
    if (!request_options(submit->cli, request, err))
        return false;
    if (str_empty(request->id)) {
        rand_uuid7(loop_rand(submit->loop), loop_wall_ms(submit->loop), id);
        request->id = str_of(id);
    }
    if (request->created_at == INT_ABSENT)
        request->created_at = loop_wall_ms(submit->loop);
    if (!request_check(request, err) || !contract_check(&contract_request, request, err))
        return false;
    buf_init(&bytes, RECORD_BYTES_MAX);
    contract_write(&contract_request, request, submit->encoding, &bytes);
    publish(submit, record_lane(request, cli_has(submit->cli, "batch-lane")), request->id,
            request->tenant, record_key(request), buf_str(&bytes));
    buf_done(&bytes);
    return true;
}

static bool publish_text(struct submit *submit, struct str text, struct err *err)
{
    struct request request;
    contract_init(&contract_request, &request);
    request_question(submit->cli, &request, text);
    return publish_request(submit, &request, err);
}

/* Id and key as far as the bytes tell them; options win. */
static void publish_raw(struct submit *submit, struct str bytes, struct arena *arena)
{
    const struct cli *cli = submit->cli;
    struct record_names names;
    record_names_of(bytes, submit->encoding, arena, &names);
    if (cli_has(cli, "id"))
        names.id = cli_option(cli, "id");
    if (cli_has(cli, "session"))
        names.session = cli_option(cli, "session");
    publish(submit, cli_has(cli, "batch-lane") ? TOPIC_REQUESTS_BATCH : TOPIC_REQUESTS, names.id,
            cli_option(cli, "tenant"), str_empty(names.session) ? names.id : names.session, bytes);
}

static bool publish_document(struct submit *submit, struct str line, struct arena *arena,
                             struct err *err)
{
    struct value document;
    struct request request;
    return contract_parse(line, ENCODING_JSON, arena, &document, err) &&
           contract_read(&contract_request, contract_unwrap(&document), arena, &request, err) &&
           publish_request(submit, &request, err);
}

static bool publish_lines(struct submit *submit, const char *path, struct err *err)
{
    struct arena arena;
    struct buf line;
    enum input_line got;
    FILE *file = input_open(path, err);
    if (!file)
        return false;
    arena_init(&arena, NULL, LINE_ARENA_BYTES);
    buf_init(&line, TEXT_BYTES_MAX * 2);
    for (int64_t n = 1; !submit->stopped; n++) {
        struct err why;
        got = input_next(file, &line);
        if (got == INPUT_END || got == INPUT_ERROR)
            break;
        if (got == INPUT_LONG) {
            err_set(&why, ERR_TOO_BIG, "the line is longer than %zu bytes", line.max);
            complain(submit, path, n, &why);
        } else if (cli_has(submit->cli, "no-check")) {
            publish_raw(submit, buf_str(&line), &arena);
        } else if (!str_empty(str_trim(buf_str(&line))) &&
                   !publish_document(submit, buf_str(&line), &arena, &why)) {
            complain(submit, path, n, &why);
        }
        arena_reset(&arena);
        loop_turn(submit->loop, 0);
    }
    buf_done(&line);
    arena_done(&arena);
    input_close(file);
    return true;
}

static bool publish_file(struct submit *submit, const char *path, bool raw, struct err *err)
{
    struct buf bytes;
    buf_init(&bytes, raw ? RECORD_BYTES_MAX : TEXT_BYTES_MAX);
    bool good = input_read(path, &bytes, err);
    if (good && raw)
        publish_raw(submit, buf_str(&bytes), &submit->cli->arena);
    else if (good)
        good = publish_text(submit, buf_str(&bytes), err);
    buf_done(&bytes);
    return good;
}

static bool publish_all(struct submit *submit, struct err *err)
{
    const struct cli *cli = submit->cli;
    int sources =
        cli_has(cli, "file") + cli_has(cli, "lines") + cli_has(cli, "raw") + (cli->word_count > 0);
    if (sources != 1) {
        err_set(err, ERR_USAGE, "submit needs one of TEXT, -, --file, --lines and --raw");
        return false;
    }
    if (cli_has(cli, "batch-lane") && cli_has(cli, "session")) {
        err_set(err, ERR_USAGE,
                "turns of a session have an order, and the batch lane has none: leave"
                " out --session or --batch-lane");
        return false;
    }
    if (cli_has(cli, "lines"))
        return publish_lines(submit, cli_option(cli, "lines").data, err);
    if (cli_has(cli, "raw"))
        return publish_file(submit, cli_option(cli, "raw").data, true, err);
    if (cli_has(cli, "file"))
        return publish_file(submit, cli_option(cli, "file").data, false, err);
    if (strcmp(cli->words[0], "-") == 0)
        return publish_file(submit, "-", false, err);
    return publish_text(submit, str_of(cli->words[0]), err);
}

/* ---- the run ---- */

/* Before anything is handed to the library, which would keep it for the whole delivery time-out and
 * then not say whether it was sent. */
static bool await_kafka(struct submit *submit, struct err *err)
{
    int64_t until_ms = loop_now_ms(submit->loop) + CONNECT_MS;
    while (!kafka_producer_up(submit->producer) && !submit->stopped &&
           loop_now_ms(submit->loop) < until_ms)
        loop_turn(submit->loop, TURN_MS);
    if (kafka_producer_up(submit->producer))
        return true;
    err_set(err, ERR_UNAVAILABLE, "kafka cannot be reached at " STR_FMT ", nothing was published",
            STR_ARG(str_utf8_cut(submit->cli->conf->kafka_servers, 120)));
    return false;
}

static bool open_doors(struct submit *submit, struct err *err)
{
    const struct shared_conf *conf = submit->cli->conf;
    struct str reply_to = cli_option(submit->cli, "reply-to");
    struct kafka_conf kafka_conf;
    shared_kafka_conf(conf, &kafka_conf);
    kafka_conf.client_id = STR("quern");
    const struct replies_events events = {
        .wanted = wanted, .on_reply = on_reply, .on_fatal = on_fatal, .context = submit};
    submit->loop = loop_new(err);
    if (!submit->loop)
        return false;
    if (!reply_to.data)
        reply_to = topic_name(&submit->cli->arena, conf->topic_prefix, TOPIC_REPLIES);
    if (submit->wait) {
        submit->replies =
            replies_new(submit->loop, conf, reply_to.data, CLI_TIMEOUT_MS, &events, err);
        if (!submit->replies)
            return false;
    }
    submit->producer = kafka_producer_new(submit->loop, &kafka_conf, on_fatal, submit, err);
    return submit->producer && await_kafka(submit, err);
}

static void await(struct submit *submit)
{
    while (submit->delivering > 0 && !submit->stopped)
        loop_turn(submit->loop, TURN_MS);
    int64_t until_ms = loop_now_ms(submit->loop) + submit->timeout_ms;
    while (submit->awaited.count > 0 && !submit->stopped && loop_now_ms(submit->loop) < until_ms)
        loop_turn(submit->loop, TURN_MS);
    if (submit->awaited.count > 0 && !submit->stopped) {
        struct ask *ask = container_of(map_any(&submit->awaited), struct ask, node);
        cli_say("no reply to %zu request(s) in time, e.g. %s: 'quern show %s' tells what became"
                " of it",
                submit->awaited.count, ask->id, ask->id);
        worse(submit, EXIT_FAILED);
    }
}

static void close_doors(struct submit *submit)
{
    replies_free(submit->replies);
    kafka_producer_free(submit->producer, submit->stopped ? 0 : FLUSH_MS);
    for (struct map_node *node; (node = map_any(&submit->awaited));)
        ask_free(container_of(node, struct ask, node));
    map_done(&submit->awaited);
    loop_free(submit->loop);
}

int run_submit(struct cli *cli)
{
    struct submit submit = {.cli = cli, .wait = cli_has(cli, "wait"), .timeout_ms = WAIT_MS};
    struct err err = {0};
    map_init(&submit.awaited);
    if (!encoding_option(cli, &submit.encoding, &err) ||
        !cli_option_duration(cli, "timeout", &submit.timeout_ms, &err))
        return cli_fail(cli, &err);
    bool good = open_doors(&submit, &err) && publish_all(&submit, &err);
    if (good)
        await(&submit);
    if (submit.stopped) {
        good = false;
        err = submit.fatal;
    }
    close_doors(&submit);
    return good ? submit.code : cli_fail(cli, &err);
}
