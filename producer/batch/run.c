/*
 * run.c -- a batch from its first line to its table, see batch.h.
 *
 * Replies are the normal way home. When none came for LOOK_MS, PostgreSQL is asked for all that is
 * unanswered, and again as long as nothing moves. SIGINT and SIGTERM end the run: what is
 * unanswered stays out of the output, and --resume asks for it under the same ids.
 */
#include <errno.h>
#include <signal.h>
#include <sys/file.h>

#include "common/app/app.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/xalloc.h"
#include "common/data/json.h"
#include "producer/batch/batch.h"
#include "producer/batch/output.h"
#include "producer/batch/summary.h"

enum {
    LOOK_MS = 30000,
    TURN_MS = 100,
    LINE_BYTES_MAX = 128 << 20,
    FLUSH_MS = 2000,
    EXIT_SIGNAL = 128 + SIGINT,
};

void batch_fail(struct batch *batch, const struct err *err)
{
    if (!batch->failed)
        batch->err = *err;
    batch->failed = true;
}

void batch_forget(struct batch *batch, struct ask *ask)
{
    map_remove(&batch->asks, &ask->node);
    list_remove(ask->in_again ? &batch->again : &batch->waiting, &ask->order);
    ask->answered = true;
    if (!ask->delivering)
        free(ask);
}

/* ---- output ---- */

static void write_line(struct batch *batch, struct buf *line)
{
    struct err err;
    batch->moved_ms = loop_now_ms(batch->loop);
    if (!line->overflowed && fwrite(line->data, 1, line->len, batch->output) == line->len) {
        batch->unflushed = true;
        return;
    }
    err_set(&err, ERR_INTERNAL, "'%s' cannot be written: %s", batch->options.output,
            line->overflowed ? "a line is too large" : strerror(errno));
    batch_fail(batch, &err);
}

void batch_answered(struct batch *batch, struct ask *ask, const struct reply *reply,
                    bool from_store)
{
    struct buf line;
    const struct output_line name = {
        .openai = ask->openai,
        .numbers = ask->numbers,
        .custom_id = ask->custom_id,
        .request_id = ask->id,
        .model = ask->model,
        .number = ask->number,
    };
    buf_init(&line, LINE_BYTES_MAX);
    output_reply(&name, reply, loop_wall_ms(batch->loop) / 1000, &line);
    write_line(batch, &line);
    CRASH_POINT(batch_line_written);
    buf_done(&line);
    stats_reply(&batch->stats, reply);
    if (!from_store)
        stats_latency(&batch->stats, loop_now_ms(batch->loop) - ask->sent_ms);
    batch_forget(batch, ask);
}

void batch_refused(struct batch *batch, const struct batch_line *line, int64_t number,
                   const struct err *err)
{
    struct buf text;
    const struct output_line name = {
        .openai = true,
        .custom_id = line->custom_id,
        .request_id = str_empty(line->request.id) ? (struct str){NULL, 0} : line->request.id,
        .number = number,
    };
    buf_init(&text, LINE_BYTES_MAX);
    output_refused(&name, err, &text);
    write_line(batch, &text);
    CRASH_POINT(batch_line_refused);
    buf_done(&text);
    stats_failure(&batch->stats, str_of(err_name(err->code)));
}

/* ---- replies ---- */

static bool wanted(struct str id, void *context)
{
    struct batch *batch = context;
    return map_find(&batch->asks, id) != NULL;
}

static void on_reply(const struct reply *reply, const struct value *document, void *context)
{
    struct batch *batch = context;
    struct map_node *node = map_find(&batch->asks, reply->request_id);
    (void)document;
    if (!node)
        return;
    struct ask *ask = container_of(node, struct ask, node);
    struct str asked = str_empty(ask->tenant) ? STR("default") : ask->tenant;
    struct str told = str_empty(reply->tenant) ? STR("default") : reply->tenant;
    /* A line that is held back was asked in an earlier run; its reply comes again for this one. */
    if (!str_eq(asked, told) || !list_linked(&ask->order))
        return;
    CRASH_POINT(batch_reply_read);
    batch_answered(batch, ask, reply, false);
}

static void on_fatal(const struct err *err, void *context)
{
    batch_fail(context, err);
}

static void on_signal(int signal, void *context)
{
    struct batch *batch = context;
    (void)signal;
    batch->interrupted = true;
}

/* ---- doors ---- */

static bool open_output(struct batch *batch, struct err *err)
{
    const char *path = batch->options.output;
    if (batch->options.resume && !resume_read(path, &batch->before, err))
        return false;
    if (batch->options.resume)
        CRASH_POINT(batch_resume_read);
    batch->output = fopen(path, batch->options.resume ? "ae" : "wxe");
    if (!batch->output && errno == EEXIST)
        err_set(err, ERR_USAGE,
                "'%s' is there already: --resume finishes it, --output names another file", path);
    else if (!batch->output)
        err_set(err, ERR_USAGE, "'%s': %s", path, strerror(errno));
    else if (flock(fileno(batch->output), LOCK_EX | LOCK_NB) != 0)
        err_set(err, ERR_USAGE, "another run is writing '%s'", path);
    else
        return true;
    return false;
}

static bool open_kafka(struct batch *batch, struct err *err)
{
    const struct shared_conf *conf = batch->cli->conf;
    struct arena *arena = &batch->cli->arena;
    const struct replies_events events = {
        .wanted = wanted, .on_reply = on_reply, .on_fatal = on_fatal, .context = batch};
    struct kafka_conf kafka_conf;
    shared_kafka_conf(conf, &kafka_conf);
    kafka_conf.client_id = STR("quern");
    batch->topic = topic_name(arena, conf->topic_prefix, TOPIC_REQUESTS).data;
    batch->topic_batch = topic_name(arena, conf->topic_prefix, TOPIC_REQUESTS_BATCH).data;
    batch->replies =
        replies_new(batch->loop, conf, topic_name(arena, conf->topic_prefix, TOPIC_REPLIES).data,
                    CLI_TIMEOUT_MS, &events, err);
    if (!batch->replies)
        return false;
    batch->producer = kafka_producer_new(batch->loop, &kafka_conf, on_fatal, batch, err);
    return batch->producer != NULL;
}

static bool open_all(struct batch *batch, struct err *err)
{
    batch->loop = loop_new(err);
    if (!batch->loop)
        return false;
    batch->reader = reader_new(batch, err);
    if (!batch->reader || !open_output(batch, err))
        return false;
    if (!open_kafka(batch, err)) {
        if (!batch->options.resume) /* nothing was asked: the next run needs no --resume */
            unlink(batch->options.output);
        return false;
    }
    loop_on_signal(batch->loop, SIGINT, on_signal, batch);
    loop_on_signal(batch->loop, SIGTERM, on_signal, batch);
    return true;
}

static void free_asks(struct batch *batch)
{
    for (struct map_node *node; (node = map_any(&batch->asks));) {
        map_remove(&batch->asks, node);
        free(container_of(node, struct ask, node));
    }
    map_done(&batch->asks);
}

static void close_all(struct batch *batch)
{
    kafka_producer_free(batch->producer, batch->failed ? 0 : FLUSH_MS);
    replies_free(batch->replies);
    free_asks(batch);
    reader_free(batch->reader);
    resume_done(&batch->before);
    if (batch->output)
        fclose(batch->output);
    loop_free(batch->loop);
}

/* ---- the run ---- */

static bool over(const struct batch *batch)
{
    return batch->failed || batch->interrupted || batch->gave_up ||
           (batch->ended && batch->asks.count == 0);
}

static int64_t done_lines(const struct batch *batch)
{
    return batch->before.lines + batch->stats.answered + batch->stats.failed;
}

/* Nothing has moved for a while: look, and give up when the time-out says so. */
static void mind_the_lost(struct batch *batch)
{
    int64_t now_ms = loop_now_ms(batch->loop);
    int64_t still_ms = now_ms - batch->moved_ms;
    int64_t timeout_ms = batch->options.timeout_ms;
    bool late = timeout_ms > 0 && still_ms >= timeout_ms;
    bool due = still_ms >= LOOK_MS && now_ms - batch->looked_ms >= LOOK_MS;
    if ((!due && !late) || list_empty(&batch->waiting))
        return;
    size_t before = batch->asks.count;
    CRASH_POINT(batch_store_asked);
    store_look(batch);
    batch->looked_ms = now_ms;
    batch->gave_up = late && batch->asks.count == before;
}

static void turn(struct batch *batch)
{
    struct err err;
    bool more = reader_go_on(batch);
    loop_turn(batch->loop, more ? 0 : TURN_MS);
    mind_the_lost(batch);
    if (fflush(batch->output) != 0) {
        err_set(&err, ERR_INTERNAL, "'%s' cannot be written: %s", batch->options.output,
                strerror(errno));
        batch_fail(batch, &err);
    }
    if (batch->unflushed)
        CRASH_POINT(batch_output_flushed);
    batch->unflushed = false;
    if (progress_due(&batch->progress, done_lines(batch), loop_now_ms(batch->loop)))
        progress_show(&batch->progress, done_lines(batch),
                      batch->before.failed + batch->stats.failed);
}

static int finish(struct batch *batch)
{
    int64_t now_ms = loop_now_ms(batch->loop);
    progress_end(&batch->progress, done_lines(batch), batch->before.failed + batch->stats.failed,
                 now_ms);
    int code = summary_print(batch->cli, batch, now_ms - batch->begun_ms);
    if (batch->failed)
        code = cli_fail(batch->cli, &batch->err);
    if (batch->failed || batch->interrupted || batch->gave_up) {
        cli_say("%s: %lld of %lld lines are in '%s'; the same command with --resume finishes it",
                batch->interrupted ? "interrupted"
                : batch->gave_up   ? "no reply came for the whole time-out"
                                   : "not finished",
                (long long)done_lines(batch), (long long)batch->total, batch->options.output);
        return batch->failed ? code : batch->interrupted ? EXIT_SIGNAL : EXIT_FAILED;
    }
    return code;
}

static void begin(struct batch *batch)
{
    loop_turn(batch->loop, 0);
    batch->begun_ms = batch->moved_ms = batch->looked_ms = loop_now_ms(batch->loop);
    progress_init(&batch->progress, batch->options.progress, isatty(STDERR_FILENO) != 0,
                  batch->total, batch->before.lines, batch->begun_ms);
    if (batch->before.cut_bytes > 0)
        cli_say("the last line of '%s' was cut, it is made anew", batch->options.output);
    if (batch->before.lines > 0)
        cli_say("%lld of %lld lines are done already", (long long)batch->before.lines,
                (long long)batch->total);
}

int batch_run(struct cli *cli, const struct batch_options *options)
{
    struct batch *batch = xzalloc(sizeof(*batch));
    struct err err = {0};
    int code;
    batch->cli = cli;
    batch->options = *options;
    map_init(&batch->asks);
    list_init(&batch->waiting);
    list_init(&batch->again);
    if (open_all(batch, &err)) {
        begin(batch);
        while (!over(batch))
            turn(batch);
        CRASH_POINT(batch_finished);
        code = finish(batch);
    } else {
        code = cli_fail(cli, &err);
        batch->failed = true;
    }
    close_all(batch);
    free(batch);
    return code;
}
