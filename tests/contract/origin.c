/*
 * origin.c -- see origin.h.
 *
 * One thread accepts, one thread serves each connection; the reply is taken over when the request
 * is whole. "Refused" closes the listening socket until the next other reply; the port stays ours.
 */
#include "tests/contract/origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"

#define REQUEST_MAX 65536

struct origin {
    pthread_t thread;
    pthread_mutex_t lock;
    struct stage_reply reply;
    uint16_t port;
    int listener;
    size_t calls, serving;
    bool stop;
    char url[64];
};

struct connection {
    struct origin *origin;
    int fd;
};

static int listen_on(uint16_t *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    must(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    must(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    must(listen(fd, 64) == 0);
    must(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* True once the head and as many bytes as it announces are there. */
static bool is_whole(const char *request, size_t len)
{
    const char *end = memmem(request, len, "\r\n\r\n", 4);
    const char *announced = end ? strcasestr(request, "\r\ncontent-length:") : NULL;
    size_t body = announced && announced < end ? strtoul(announced + 17, NULL, 10) : 0;
    return end && (size_t)(request + len - (end + 4)) >= body;
}

static bool read_request(int fd)
{
    char *request = xzalloc(REQUEST_MAX);
    size_t len = 0;
    bool whole = false;
    while (!whole && len < REQUEST_MAX - 1) {
        ssize_t got = read(fd, request + len, REQUEST_MAX - 1 - len);
        if (got <= 0)
            break;
        len += (size_t)got;
        request[len] = 0;
        whole = is_whole(request, len);
    }
    free(request);
    return whole;
}

static bool stopping(struct origin *origin)
{
    pthread_mutex_lock(&origin->lock);
    bool stop = origin->stop;
    pthread_mutex_unlock(&origin->lock);
    return stop;
}

static void answer(struct origin *origin, int fd, const struct stage_reply *reply)
{
    const char *body = reply->body ? reply->body : "";
    size_t len = strlen(body), room = len + 4096;
    char *text = xzalloc(room);
    for (int64_t ms = 0; ms < reply->after_ms && !stopping(origin); ms += 5)
        poll(NULL, 0, 5);
    while (reply->trouble == STAGE_SILENT && !stopping(origin))
        poll(NULL, 0, 5);
    int size = snprintf(text, room, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n%s",
                        reply->status ? reply->status : 200, len,
                        reply->headers ? reply->headers : "", body);
    if (reply->trouble == STAGE_CUT)
        size -= (int)(len / 2 + 1);
    if (reply->trouble != STAGE_SILENT)
        send(fd, text, (size_t)size, MSG_NOSIGNAL);
    free(text);
}

static void *serve(void *argument)
{
    struct connection *connection = argument;
    struct origin *origin = connection->origin;
    if (read_request(connection->fd)) {
        pthread_mutex_lock(&origin->lock);
        struct stage_reply reply = origin->reply;
        origin->calls++;
        pthread_mutex_unlock(&origin->lock);
        answer(origin, connection->fd, &reply);
    }
    close(connection->fd);
    free(connection);
    pthread_mutex_lock(&origin->lock);
    origin->serving--;
    pthread_mutex_unlock(&origin->lock);
    return NULL;
}

static void spawn_serve(struct origin *origin, int fd)
{
    pthread_t thread;
    struct connection *connection = xzalloc(sizeof(*connection));
    struct timeval patience = {.tv_sec = 2};
    *connection = (struct connection){origin, fd};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    pthread_mutex_lock(&origin->lock);
    origin->serving++;
    pthread_mutex_unlock(&origin->lock);
    must(pthread_create(&thread, NULL, serve, connection) == 0);
    pthread_detach(thread);
}

static void *accept_all(void *argument)
{
    struct origin *origin = argument;
    while (!stopping(origin)) {
        pthread_mutex_lock(&origin->lock);
        bool refuse = origin->reply.trouble == STAGE_REFUSED;
        if (refuse && origin->listener >= 0) {
            close(origin->listener);
            origin->listener = -1;
        } else if (!refuse && origin->listener < 0) {
            origin->listener = listen_on(&origin->port);
        }
        int listener = origin->listener;
        pthread_mutex_unlock(&origin->lock);
        if (listener < 0) {
            poll(NULL, 0, 2);
            continue;
        }
        struct timeval patience = {.tv_usec = 5000};
        setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            spawn_serve(origin, fd);
    }
    return NULL;
}

struct origin *origin_new(void)
{
    struct origin *origin = xzalloc(sizeof(*origin));
    pthread_mutex_init(&origin->lock, NULL);
    origin->listener = listen_on(&origin->port);
    snprintf(origin->url, sizeof(origin->url), "http://127.0.0.1:%u/v1/echo", origin->port);
    must(pthread_create(&origin->thread, NULL, accept_all, origin) == 0);
    return origin;
}

void origin_answers(struct origin *origin, struct stage_reply reply)
{
    pthread_mutex_lock(&origin->lock);
    origin->reply = reply;
    pthread_mutex_unlock(&origin->lock);
    poll(NULL, 0, 20); /* until the listener is as the reply wants it */
}

struct str origin_url(const struct origin *origin)
{
    return str_of(origin->url);
}

size_t origin_calls(struct origin *origin)
{
    pthread_mutex_lock(&origin->lock);
    size_t calls = origin->calls;
    pthread_mutex_unlock(&origin->lock);
    return calls;
}

void origin_free(struct origin *origin)
{
    if (!origin)
        return;
    pthread_mutex_lock(&origin->lock);
    origin->stop = true;
    pthread_mutex_unlock(&origin->lock);
    pthread_join(origin->thread, NULL);
    for (size_t serving = 1; serving > 0; poll(NULL, 0, 1)) {
        pthread_mutex_lock(&origin->lock);
        serving = origin->serving;
        pthread_mutex_unlock(&origin->lock);
    }
    if (origin->listener >= 0)
        close(origin->listener);
    pthread_mutex_destroy(&origin->lock);
    free(origin);
}
