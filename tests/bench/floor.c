/*
 * floor.c -- the least a worker can cost: the same libraries, the bare job, no features.
 *
 * Reads requests from a topic, posts each input to an OpenAI-like server, writes the answer to
 * another topic and leaves the committing of offsets to librdkafka; one thread of ours, one epoll.
 * When COUNT results are delivered it prints one line of JSON (wall time from the first call to the
 * last delivery, CPU of the whole process, threads and start included) and ends. It keeps no order,
 * retries nothing, checks nothing it does not need, and loses what is in flight when it is killed.
 *
 * It is the yardstick for the worker's cost per request, so it takes every short cut that a program
 * without promises may take: handles, bodies and header lists are used again, sockets stay in epoll
 * between two requests on them, records are handed over in batches, and the transfers can be spread
 * over several multi handles (--shards), since a single one grows slow with thousands of them.
 * None of our rooms is linked in.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

enum { EVENTS_MAX = 1024, RECORDS_MAX = 256, ID_MAX = 128, FD_KAFKA = -1 };

struct sock {
    int shard;
    uint32_t events; /* in epoll; 0: not there */
    bool wanted;     /* by libcurl */
};

struct shard {
    CURLM *multi;
    int number;
    int in_flight;
    int64_t due_ms; /* libcurl's timer; INT64_MAX: none */
};

struct transfer {
    CURL *easy;
    struct shard *shard;
    struct transfer *next_idle;
    char *reply;
    size_t reply_len, reply_cap;
    char *body;
    size_t body_cap;
    char id[ID_MAX];
    char id_line[ID_MAX + 32];
    struct curl_slist id_header; /* followed by the shared ones */
};

static struct {
    const char *brokers, *group, *topic, *out_topic, *model;
    char url[512];
    int in_flight_max, shard_count;
    long count;
} arg = {.group = "floor", .model = "floor-model", .in_flight_max = 256, .shard_count = 1};

static struct {
    int epoll, kafka_event;
    rd_kafka_t *consumer, *producer;
    rd_kafka_queue_t *records;
    bool more_records;
    struct shard *shards;
    struct sock *socks; /* by file descriptor */
    int socks_max;
    struct transfer *idle;
    struct curl_slist *headers;
    long started, in_flight, delivered, failed;
    int64_t first_call_us;
} run;

_Noreturn static void die(const char *what, const char *why)
{
    fprintf(stderr, "quern-bench-floor: %s: %s\n", what, why);
    exit(1);
}

static void *have(void *memory)
{
    if (!memory)
        die("memory", "none left");
    return memory;
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- sockets and timers of libcurl ---- */

static struct sock *sock_of(int fd)
{
    if (fd >= run.socks_max) {
        int max = fd * 2 + 64;
        run.socks = have(realloc(run.socks, (size_t)max * sizeof(*run.socks)));
        memset(run.socks + run.socks_max, 0, (size_t)(max - run.socks_max) * sizeof(*run.socks));
        run.socks_max = max;
    }
    return &run.socks[fd];
}

static void sock_poll(int fd, struct sock *sock, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    int how = !events ? EPOLL_CTL_DEL : sock->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (sock->events == events)
        return;
    if (epoll_ctl(run.epoll, how, fd, &event) != 0 && errno == ENOENT && events)
        epoll_ctl(run.epoll, EPOLL_CTL_ADD, fd, &event);
    sock->events = events;
}

/* A connected socket stays in epoll between two requests. */
static int on_sock(CURL *easy, curl_socket_t fd, int what, void *context, void *assigned)
{
    struct shard *shard = context;
    struct sock *sock = sock_of(fd);
    (void)easy, (void)assigned;
    sock->shard = shard->number;
    sock->wanted = what != CURL_POLL_REMOVE;
    if (sock->wanted)
        sock_poll(fd, sock,
                  (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u));
    else if (sock->events != EPOLLIN)
        sock_poll(fd, sock, 0);
    return 0;
}

static int on_close(void *context, curl_socket_t fd)
{
    (void)context;
    *sock_of(fd) = (struct sock){0};
    return close(fd);
}

static int on_timer(CURLM *multi, long wait_ms, void *context)
{
    struct shard *shard = context;
    (void)multi;
    shard->due_ms = wait_ms < 0 ? INT64_MAX : now_us() / 1000 + wait_ms;
    return 0;
}

static void shards_open(void)
{
    run.shards = have(calloc((size_t)arg.shard_count, sizeof(*run.shards)));
    for (int i = 0; i < arg.shard_count; i++) {
        struct shard *shard = &run.shards[i];
        shard->number = i;
        shard->due_ms = INT64_MAX;
        shard->multi = have(curl_multi_init());
        curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_sock);
        curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
        curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_timer);
        curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
        curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
        curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS,
                          (long)(arg.in_flight_max / arg.shard_count + 1));
    }
}

static struct shard *shard_with_room(void)
{
    int room = (arg.in_flight_max + arg.shard_count - 1) / arg.shard_count;
    for (int i = 0; i < arg.shard_count; i++)
        if (run.shards[i].in_flight < room)
            return &run.shards[i];
    return &run.shards[0];
}

/* ---- one request ---- */

static size_t on_reply(char *data, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t len = size * count;
    if (transfer->reply_len + len > transfer->reply_cap) {
        transfer->reply_cap = 2 * (transfer->reply_len + len);
        transfer->reply = have(realloc(transfer->reply, transfer->reply_cap));
    }
    memcpy(transfer->reply + transfer->reply_len, data, len);
    transfer->reply_len += len;
    return len;
}

static struct transfer *transfer_new(void)
{
    struct transfer *transfer = have(calloc(1, sizeof(*transfer)));
    CURL *easy = have(curl_easy_init());
    transfer->easy = easy;
    transfer->id_header = (struct curl_slist){transfer->id_line, run.headers};
    curl_easy_setopt(easy, CURLOPT_URL, arg.url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, &transfer->id_header);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 600000L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_reply);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    return transfer;
}

static struct transfer *transfer_take(void)
{
    struct transfer *transfer = run.idle;
    if (!transfer)
        return transfer_new();
    run.idle = transfer->next_idle;
    return transfer;
}

/* The input goes over as the JSON it came as, without a tree in between. */
static void write_body(struct transfer *transfer, yyjson_val *input)
{
    size_t quoted_len = 0;
    char *quoted = have(yyjson_val_write(input, 0, &quoted_len));
    size_t need = quoted_len + strlen(arg.model) + 128;
    if (need > transfer->body_cap) {
        transfer->body_cap = need * 2;
        free(transfer->body);
        transfer->body = have(malloc(transfer->body_cap));
    }
    int len = snprintf(transfer->body, transfer->body_cap,
                       "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":%s}]}",
                       arg.model, quoted);
    free(quoted);
    curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE, (long)len);
    curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, transfer->body);
}

static void request_start(const rd_kafka_message_t *record)
{
    yyjson_doc *doc = yyjson_read(record->payload, record->len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *input = yyjson_obj_get(root, "input");
    const char *id = yyjson_get_str(yyjson_obj_get(root, "id"));
    if (!yyjson_is_str(input))
        die("a record", "no request with a text in 'input'");
    struct transfer *transfer = transfer_take();
    snprintf(transfer->id, sizeof(transfer->id), "%s", id ? id : "");
    snprintf(transfer->id_line, sizeof(transfer->id_line), "X-Request-Id: %s", transfer->id);
    write_body(transfer, input);
    yyjson_doc_free(doc);

    transfer->reply_len = 0;
    transfer->shard = shard_with_room();
    transfer->shard->in_flight++;
    run.in_flight++;
    if (run.started++ == 0)
        run.first_call_us = now_us();
    curl_multi_add_handle(transfer->shard->multi, transfer->easy);
}

/* ---- one result ---- */

static const char *reply_text(yyjson_val *root)
{
    yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(root, "choices"));
    return yyjson_get_str(yyjson_obj_get(yyjson_obj_get(choice, "message"), "content"));
}

static void produce(const struct transfer *transfer, const char *text)
{
    yyjson_mut_doc *doc = have(yyjson_mut_doc_new(NULL));
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    size_t len = 0;
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "request_id", transfer->id);
    yyjson_mut_obj_add_str(doc, root, "status", text ? "ok" : "failed");
    yyjson_mut_obj_add_str(doc, root, "text", text ? text : "");
    char *bytes = have(yyjson_mut_write(doc, 0, &len));
    yyjson_mut_doc_free(doc);
    rd_kafka_resp_err_t failed;
    while ((failed = rd_kafka_producev(run.producer, RD_KAFKA_V_TOPIC(arg.out_topic),
                                       RD_KAFKA_V_KEY(transfer->id, strlen(transfer->id)),
                                       RD_KAFKA_V_VALUE(bytes, len),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_FREE), RD_KAFKA_V_END)) ==
           RD_KAFKA_RESP_ERR__QUEUE_FULL)
        rd_kafka_poll(run.producer, 10);
    if (failed)
        die("produce", rd_kafka_err2str(failed));
}

static void request_finish(struct transfer *transfer, CURLcode code)
{
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    yyjson_doc *doc = code == CURLE_OK && status == 200
                          ? yyjson_read(transfer->reply, transfer->reply_len, 0)
                          : NULL;
    const char *text = reply_text(yyjson_doc_get_root(doc));
    run.failed += text == NULL;
    produce(transfer, text);
    yyjson_doc_free(doc);
    curl_multi_remove_handle(transfer->shard->multi, transfer->easy);
    transfer->shard->in_flight--;
    run.in_flight--;
    transfer->next_idle = run.idle;
    run.idle = transfer;
}

static void shard_act(struct shard *shard, curl_socket_t fd, int seen)
{
    int left;
    if (curl_multi_socket_action(shard->multi, fd, seen, &left) != CURLM_OK)
        die("libcurl", "curl_multi_socket_action failed");
    for (CURLMsg *message; (message = curl_multi_info_read(shard->multi, &left));) {
        struct transfer *transfer;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        request_finish(transfer, code);
    }
}

/* ---- Kafka ---- */

static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *record, void *context)
{
    (void)producer, (void)context;
    if (record->err)
        die("delivery", rd_kafka_err2str(record->err));
    run.delivered++;
}

static void kafka_set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
        die(name, why);
}

static rd_kafka_t *kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char why[256];
    kafka_set(conf, "bootstrap.servers", arg.brokers);
    rd_kafka_t *kafka = rd_kafka_new(type, conf, why, sizeof(why));
    if (!kafka)
        die("Kafka", why);
    return kafka;
}

static void kafka_open(void)
{
    static const uint64_t one = 1;
    rd_kafka_conf_t *out = rd_kafka_conf_new();
    kafka_set(out, "enable.idempotence", "true");
    kafka_set(out, "linger.ms", "5");
    rd_kafka_conf_set_dr_msg_cb(out, on_delivery);
    run.producer = kafka_new(RD_KAFKA_PRODUCER, out);

    rd_kafka_conf_t *in = rd_kafka_conf_new();
    kafka_set(in, "group.id", arg.group);
    kafka_set(in, "auto.offset.reset", "earliest");
    kafka_set(in, "auto.commit.interval.ms", "1000");
    run.consumer = kafka_new(RD_KAFKA_CONSUMER, in);
    rd_kafka_poll_set_consumer(run.consumer);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, arg.topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t failed = rd_kafka_subscribe(run.consumer, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (failed)
        die("subscribe", rd_kafka_err2str(failed));

    run.kafka_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    run.records = rd_kafka_queue_get_consumer(run.consumer);
    rd_kafka_queue_io_event_enable(run.records, run.kafka_event, &one, sizeof(one));
    rd_kafka_queue_t *reports = rd_kafka_queue_get_main(run.producer);
    rd_kafka_queue_io_event_enable(reports, run.kafka_event, &one, sizeof(one));
    rd_kafka_queue_destroy(reports);
    run.more_records = true;
}

/* The event tells only that the queue was empty before, so we read until it is empty again. */
static void take_records(void)
{
    rd_kafka_message_t *records[RECORDS_MAX];
    while (run.more_records && run.in_flight < arg.in_flight_max && run.started < arg.count) {
        long room = arg.in_flight_max - run.in_flight, left = arg.count - run.started;
        long most = room < left ? room : left;
        ssize_t count = rd_kafka_consume_batch_queue(
            run.records, 0, records, most < RECORDS_MAX ? (size_t)most : RECORDS_MAX);
        run.more_records = count > 0;
        for (ssize_t i = 0; i < count; i++) {
            if (!records[i]->err)
                request_start(records[i]);
            rd_kafka_message_destroy(records[i]);
        }
    }
}

/* ---- the loop ---- */

static int64_t run_timers(void)
{
    int64_t now_ms = now_us() / 1000, next_ms = now_ms + 100;
    for (int i = 0; i < arg.shard_count; i++) {
        struct shard *shard = &run.shards[i];
        if (shard->due_ms <= now_ms) {
            shard->due_ms = INT64_MAX;
            shard_act(shard, CURL_SOCKET_TIMEOUT, 0);
        }
        if (shard->due_ms < next_ms)
            next_ms = shard->due_ms;
    }
    return next_ms > now_ms ? next_ms - now_ms : 0;
}

static void handle(const struct epoll_event *event)
{
    int fd = event->data.fd;
    uint64_t count;
    if (fd == FD_KAFKA) {
        if (read(run.kafka_event, &count, sizeof(count)) > 0)
            run.more_records = true;
        return;
    }
    struct sock *sock = sock_of(fd);
    if (!sock->wanted) { /* the server closed it, libcurl will see */
        sock_poll(fd, sock, 0);
        return;
    }
    shard_act(&run.shards[sock->shard], fd,
              (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? CURL_CSELECT_IN : 0) |
                  (event->events & EPOLLOUT ? CURL_CSELECT_OUT : 0));
}

static void work(void)
{
    struct epoll_event events[EVENTS_MAX];
    struct epoll_event kafka = {.events = EPOLLIN, .data.fd = FD_KAFKA};
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(run.epoll, EPOLL_CTL_ADD, run.kafka_event, &kafka);
    while (run.delivered < arg.count) {
        take_records();
        int64_t wait_ms = run_timers();
        if (run.more_records && run.in_flight < arg.in_flight_max && run.started < arg.count)
            wait_ms = 0;
        int count = epoll_wait(run.epoll, events, EVENTS_MAX, (int)wait_ms);
        for (int i = 0; i < count; i++)
            handle(&events[i]);
        rd_kafka_poll(run.producer, 0);
    }
}

/* ---- start and end ---- */

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void report(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double user_s = seconds(used.ru_utime), sys_s = seconds(used.ru_stime);
    printf("{\"wall_s\":%.3f,\"cpu_user_s\":%.3f,\"cpu_sys_s\":%.3f,\"max_rss_mb\":%.1f,"
           "\"requests\":%ld,\"failed\":%ld,\"cpu_us_per_request\":%.1f,\"in_flight\":%d,"
           "\"shards\":%d}\n",
           (double)(now_us() - run.first_call_us) / 1e6, user_s, sys_s,
           (double)used.ru_maxrss / 1024, run.delivered, run.failed,
           (user_s + sys_s) * 1e6 / (double)run.delivered, arg.in_flight_max, arg.shard_count);
    fflush(stdout);
}

static void usage(FILE *to)
{
    fputs("quern-bench-floor --brokers LIST --topic TOPIC --out-topic TOPIC --url BASE_URL --count "
          "N\n"
          "  [--group GROUP] [--in-flight N] [--shards N] [--model NAME]\n"
          "The least a worker can cost; BASE_URL as in http://127.0.0.1:8000/v1\n",
          to);
}

static long number(const char *name, const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || value < 1 || value > 100000000)
        die(name, "not a number from 1 to 100000000");
    return value;
}

/* A base URL, or that of the very endpoint. */
static void set_url(const char *url)
{
    const char *path = strstr(url, "/chat/completions") ? "" : "/chat/completions";
    snprintf(arg.url, sizeof(arg.url), "%s%s", url, path);
}

static void read_flags(int argc, char **argv)
{
    static const struct option flags[] = {
        {"brokers", 1, NULL, 'b'},   {"group", 1, NULL, 'g'},  {"topic", 1, NULL, 't'},
        {"out-topic", 1, NULL, 'o'}, {"url", 1, NULL, 'u'},    {"in-flight", 1, NULL, 'i'},
        {"count", 1, NULL, 'n'},     {"shards", 1, NULL, 's'}, {"model", 1, NULL, 'm'},
        {"help", 0, NULL, 'h'},      {NULL, 0, NULL, 0}};
    for (int flag; (flag = getopt_long(argc, argv, "h", flags, NULL)) != -1;)
        switch (flag) {
        case 'b':
            arg.brokers = optarg;
            break;
        case 'g':
            arg.group = optarg;
            break;
        case 't':
            arg.topic = optarg;
            break;
        case 'o':
            arg.out_topic = optarg;
            break;
        case 'u':
            set_url(optarg);
            break;
        case 'm':
            arg.model = optarg;
            break;
        case 'i':
            arg.in_flight_max = (int)number("--in-flight", optarg);
            break;
        case 's':
            arg.shard_count = (int)number("--shards", optarg);
            break;
        case 'n':
            arg.count = number("--count", optarg);
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    if (!arg.brokers || !arg.topic || !arg.out_topic || !arg.url[0] || !arg.count ||
        optind != argc) {
        usage(stderr);
        exit(2);
    }
}

static void raise_fd_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    read_flags(argc, argv);
    raise_fd_limit();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    run.headers = have(curl_slist_append(NULL, "Content-Type: application/json"));
    have(curl_slist_append(run.headers, "Authorization: Bearer sk-floor"));
    shards_open();
    kafka_open();
    work();
    report();
    rd_kafka_queue_destroy(run.records);
    rd_kafka_consumer_close(run.consumer);
    rd_kafka_destroy(run.consumer);
    rd_kafka_destroy(run.producer);
    return 0;
}
