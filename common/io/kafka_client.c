/*
 * kafka_client.c -- librdkafka's handle in our loop: wake-up, helper thread, outages, its log.
 *
 * Who owns what. The loop's thread owns struct kafka_client. The helper owns itself, the handle
 * and the eventfd from the moment it is told to stop: the library's threads may write to the
 * descriptor until the handle is destroyed, so it must not be closed before. If the helper is not
 * done in time it is `abandoned`, and frees itself whenever it is.
 */
#include "common/io/kafka_client.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/xalloc.h"

#define TICK_MS        100
#define PROBE_MS       500 /* between two attempts to reach a broker */
#define PROBE_WAIT_MS  1000
#define DOUBT_MS       10000
#define WARN_REPEAT_MS 60000

static const uint64_t wake_payload = 1; /* what an eventfd wants to be written */

struct kafka_helper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list todo, done;
    bool stop, finished, abandoned;
    rd_kafka_t *rk;
    int wake_fd;
};

/* ---- helper thread ---- */

static struct kafka_job *pop(struct list *list)
{
    struct list_node *node = list_pop(list);
    return node ? container_of(node, struct kafka_job, node) : NULL;
}

static void discard_all(struct list *list)
{
    for (struct kafka_job *job; (job = pop(list));)
        job->discard(job);
}

static void helper_free(struct kafka_helper *helper)
{
    pthread_mutex_destroy(&helper->lock);
    pthread_cond_destroy(&helper->wake);
    free(helper);
}

/* Returns with the lock held and `stop` set. */
static void helper_work(struct kafka_helper *helper)
{
    while (!helper->stop) {
        struct kafka_job *job = pop(&helper->todo);
        if (!job) {
            pthread_cond_wait(&helper->wake, &helper->lock);
            continue;
        }
        pthread_mutex_unlock(&helper->lock);
        job->run(job, helper->rk);
        pthread_mutex_lock(&helper->lock);
        list_append(&helper->done, &job->node);
        if (write(helper->wake_fd, &wake_payload, sizeof(wake_payload)) < 0)
            must(errno == EAGAIN); /* the counter is full, so the loop is awake anyway */
    }
}

static void *helper_main(void *argument)
{
    struct kafka_helper *helper = argument;
    pthread_mutex_lock(&helper->lock);
    helper_work(helper);
    discard_all(&helper->todo);
    discard_all(&helper->done);
    pthread_mutex_unlock(&helper->lock);

    rd_kafka_destroy_flags(helper->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    close(helper->wake_fd);

    pthread_mutex_lock(&helper->lock);
    helper->finished = true;
    bool abandoned = helper->abandoned;
    pthread_mutex_unlock(&helper->lock);
    if (abandoned)
        helper_free(helper);
    return NULL;
}

static struct kafka_helper *helper_new(rd_kafka_t *rk, int wake_fd)
{
    struct kafka_helper *helper = xzalloc(sizeof(*helper));
    pthread_mutex_init(&helper->lock, NULL);
    pthread_cond_init(&helper->wake, NULL);
    list_init(&helper->todo);
    list_init(&helper->done);
    helper->rk = rk;
    helper->wake_fd = wake_fd;

    /* Signals belong to the loop's thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    must(pthread_create(&helper->thread, NULL, helper_main, helper) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return helper;
}

static void helper_stop(struct kafka_helper *helper, const char *what, int64_t wait_ms)
{
    pthread_mutex_lock(&helper->lock);
    helper->stop = true;
    pthread_cond_signal(&helper->wake);
    pthread_mutex_unlock(&helper->lock);

    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t ns = until.tv_nsec + wait_ms % 1000 * 1000000;
    until.tv_sec += wait_ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    if (pthread_timedjoin_np(helper->thread, NULL, &until) == 0) {
        helper_free(helper);
        return;
    }

    pthread_mutex_lock(&helper->lock);
    bool finished = helper->finished;
    helper->abandoned = !finished;
    pthread_t thread = helper->thread; /* the helper may be gone once it is unlocked */
    pthread_mutex_unlock(&helper->lock);
    if (finished) {
        pthread_join(thread, NULL);
        helper_free(helper);
        return;
    }
    pthread_detach(thread);
    if (wait_ms > 0)
        log_warn("kafka client did not stop in time and is left behind", LOG_C("client", what));
}

void kafka_client_submit(struct kafka_client *client, struct kafka_job *job)
{
    struct kafka_helper *helper = client->helper;
    pthread_mutex_lock(&helper->lock);
    list_append(&helper->todo, &job->node);
    pthread_cond_signal(&helper->wake);
    pthread_mutex_unlock(&helper->lock);
}

static void finish_jobs(struct kafka_client *client)
{
    struct kafka_helper *helper = client->helper;
    for (;;) {
        pthread_mutex_lock(&helper->lock);
        struct kafka_job *job = pop(&helper->done);
        pthread_mutex_unlock(&helper->lock);
        if (!job)
            return;
        job->finish(job);
    }
}

/* ---- is anybody there? ---- */

/* What all handles of this process together know of Kafka, so that the operator hears it once; and
 * of the last failed connection, "" since Kafka was there. */
static struct kafka_outage outage;
static char reason[256];

struct probe {
    struct kafka_job job;
    struct kafka_client *client;
    int64_t asked_ms;
    bool ok;
};

static void tell(const struct kafka_client *client, enum kafka_news news)
{
    const char *why = reason[0] ? reason : "no broker answers";
    char hint[160];
    if (news == KAFKA_NEWS_AWAY) {
        snprintf(hint, sizeof(hint), "%s; it is tried again by itself", kafka_outage_hint(why));
        log_warn("kafka is away", LOG_C("servers", client->servers), LOG_C("error", why),
                 LOG_C("hint", hint));
    } else if (news == KAFKA_NEWS_THERE) {
        log_info("kafka is there", LOG_C("servers", client->servers),
                 LOG_I("away_ms", loop_now_ms(client->loop) - outage.since_ms));
        reason[0] = '\0';
    }
}

static void probe_run(struct kafka_job *job, rd_kafka_t *rk)
{
    struct probe *probe = container_of(job, struct probe, job);
    const struct rd_kafka_metadata *metadata;
    probe->ok = rd_kafka_metadata(rk, 0, NULL, &metadata, PROBE_WAIT_MS) == 0;
    if (probe->ok)
        rd_kafka_metadata_destroy(metadata);
}

static void probe_finish(struct kafka_job *job)
{
    struct probe *probe = container_of(job, struct probe, job);
    struct kafka_client *client = probe->client;
    int64_t now_ms = loop_now_ms(client->loop);
    client->probing = false;
    client->outages += !probe->ok && !client->away;
    client->away = !probe->ok;
    client->up = probe->ok;
    client->probe_at_ms = now_ms + PROBE_MS;
    tell(client, kafka_outage_asked(&outage, &client->witness, probe->ok, probe->asked_ms, now_ms));
    free(probe);
}

static void probe_discard(struct kafka_job *job)
{
    free(container_of(job, struct probe, job));
}

static void probe_begin(struct kafka_client *client)
{
    if (client->probing)
        return;
    struct probe *probe = xzalloc(sizeof(*probe));
    probe->job =
        (struct kafka_job){.run = probe_run, .finish = probe_finish, .discard = probe_discard};
    probe->client = client;
    probe->asked_ms = loop_now_ms(client->loop);
    client->probing = true;
    kafka_client_submit(client, &probe->job);
}

/* ---- errors and log lines of the library ---- */

void kafka_client_fatal(struct kafka_client *client, const struct err *err)
{
    if (client->fatal_told)
        return;
    client->fatal_told = true;
    client->on_fatal(err, client->context);
}

static void warn(struct kafka_client *client, const char *text)
{
    int64_t now_ms = loop_now_ms(client->loop);
    if (strcmp(client->warned, text) == 0 && now_ms - client->warned_at_ms < WARN_REPEAT_MS)
        return;
    snprintf(client->warned, sizeof(client->warned), "%s", text);
    client->warned_at_ms = now_ms;
    log_warn("kafka error", LOG_C("client", client->what), LOG_C("error", client->warned));
}

bool kafka_client_is_connect_error(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
        return true;
    default:
        return false;
    }
}

void kafka_client_error(struct kafka_client *client, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const char *text = rd_kafka_event_error_string(event);
    if (rd_kafka_event_error_is_fatal(event)) {
        struct err err;
        kafka_err_set(&err, code, client->what, text);
        if (!client->on_broken || !client->on_broken(&err, client->context))
            kafka_client_fatal(client, &err);
        return;
    }
    if (kafka_client_is_connect_error(code)) {
        kafka_outage_reason(text, reason, sizeof(reason));
        client->doubt_until_ms = loop_now_ms(client->loop) + DOUBT_MS;
        kafka_outage_doubt(&outage, &client->witness);
    } else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        /* Also said when the first of several addresses refuses: ask before believing it. */
        probe_begin(client);
    } else {
        warn(client, text);
    }
}

/*
 * Lines that say nothing new: failed connections (told once per outage, by the probe), properties
 * for the other half of the library, a broker that just started and asks for patience, and fatal
 * errors, which the program is told through on_fatal.
 */
static bool is_noise(const char *facility)
{
    static const char *const noise[] = {"FAIL", "ERROR", "CONFWARN", "GETPID", "FATAL"};
    for (size_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
        if (strcmp(facility, noise[i]) == 0)
            return true;
    return false;
}

void kafka_client_log(rd_kafka_event_t *event)
{
    const char *facility, *text;
    int level;
    if (rd_kafka_event_log(event, &facility, &text, &level) != 0)
        return;
    bool old = level > 3 && outage.told == KAFKA_NEWS_AWAY;
    enum log_level ours = level > 4 || old || is_noise(facility) ? LOG_LEVEL_DEBUG
                          : level > 3                            ? LOG_LEVEL_WARN
                                                                 : LOG_LEVEL_ERROR;
    LOG_AT(ours, "librdkafka", LOG_C("facility", facility), LOG_C("text", text));
}

/* ---- in the loop ---- */

static bool run_ready(void *context)
{
    struct kafka_client *client = context;
    if (!client->more)
        return false;
    client->more = false;
    finish_jobs(client);
    if (client->collect(client->context))
        client->more = true;
    return client->more;
}

/* Last in the turn, so that what was asked for during it (a resume) is not slept over. */
static bool run_turn_end(void *context)
{
    struct kafka_client *client = context;
    if (client->flush)
        client->flush(client->context);
    return client->more;
}

static void on_tick(void *context)
{
    struct kafka_client *client = context;
    int64_t now_ms = loop_now_ms(client->loop);
    client->more = true;
    if ((!client->up || now_ms < client->doubt_until_ms) && now_ms >= client->probe_at_ms)
        probe_begin(client);
    timer_set(client->loop, &client->tick, now_ms + TICK_MS, on_tick, client);
}

static void on_wake(int fd, int what, void *context)
{
    struct kafka_client *client = context;
    uint64_t count;
    (void)what;
    if (read(fd, &count, sizeof(count)) < 0)
        must(errno == EAGAIN || errno == EINTR);
    client->more = true;
}

static void enter_loop(struct kafka_client *client)
{
    client->watch = loop_watch_new(client->loop, client->wake_fd, LOOP_READ, on_wake, client);
    client->ready = (struct loop_hook){.run = run_ready, .context = client};
    client->turn_end = (struct loop_hook){.run = run_turn_end, .context = client};
    loop_add_ready(client->loop, &client->ready);
    loop_add_turn_end(client->loop, &client->turn_end);
    timer_set(client->loop, &client->tick, loop_now_ms(client->loop) + TICK_MS, on_tick, client);
}

static void leave_loop(struct kafka_client *client)
{
    loop_watch_free(client->watch);
    client->watch = NULL;
    timer_cancel(client->loop, &client->tick);
    loop_remove_hook(client->loop, &client->ready);
    loop_remove_hook(client->loop, &client->turn_end);
}

void kafka_client_wake_on(struct kafka_client *client, rd_kafka_queue_t *queue)
{
    rd_kafka_queue_io_event_enable(queue, client->wake_fd, &wake_payload, sizeof(wake_payload));
}

/* Takes `conf` over. */
static bool open_handle(struct kafka_client *client, rd_kafka_conf_t *conf, rd_kafka_type_t type,
                        struct err *err)
{
    char text[256];
    size_t size = sizeof(client->servers);
    if (rd_kafka_conf_get(conf, "bootstrap.servers", client->servers, &size) != RD_KAFKA_CONF_OK)
        client->servers[0] = '\0';
    client->rk = rd_kafka_new(type, conf, text, sizeof(text));
    if (!client->rk) {
        rd_kafka_conf_destroy(conf);
        err_set(err, ERR_CONFIG, "%s: %s", client->what, text);
        return false;
    }
    client->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    must(client->wake_fd >= 0);
    if (type == RD_KAFKA_CONSUMER)
        rd_kafka_poll_set_consumer(client->rk);
    client->queue = type == RD_KAFKA_CONSUMER ? rd_kafka_queue_get_consumer(client->rk)
                                              : rd_kafka_queue_get_main(client->rk);
    must(client->queue);
    rd_kafka_set_log_queue(client->rk, client->queue);
    kafka_client_wake_on(client, client->queue);
    client->helper = helper_new(client->rk, client->wake_fd);
    enter_loop(client);
    kafka_outage_enter(&outage, &client->witness, loop_now_ms(client->loop));
    probe_begin(client);
    return true;
}

bool kafka_client_open(struct kafka_client *client, const struct kafka_conf *conf,
                       enum kafka_role role, int events, struct err *err)
{
    rd_kafka_conf_t *its =
        kafka_conf_new(conf, role, events | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG, err);
    return its && open_handle(client, its,
                              role == KAFKA_PRODUCER ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, err);
}

static void close_handle(struct kafka_client *client, int64_t wait_ms)
{
    leave_loop(client);
    rd_kafka_queue_destroy(client->queue);
    helper_stop(client->helper, client->what, wait_ms);
    client->rk = NULL;
}

void kafka_client_close(struct kafka_client *client, int64_t wait_ms)
{
    if (!client->rk)
        return;
    close_handle(client, wait_ms);
    tell(client, kafka_outage_leave(&outage, &client->witness, loop_now_ms(client->loop)));
}

bool kafka_client_renew(struct kafka_client *client, struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(rd_kafka_conf(client->rk));
    rd_kafka_type_t type = rd_kafka_type(client->rk);
    close_handle(client, 0);
    kafka_outage_doubt(&outage, &client->witness);
    client->more = client->up = client->probing = false;
    if (open_handle(client, conf, type, err))
        return true;
    kafka_outage_leave(&outage, &client->witness, loop_now_ms(client->loop));
    return false;
}
