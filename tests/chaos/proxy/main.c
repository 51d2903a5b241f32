/*
 * main.c -- quern-chaos-proxy: named links between a fleet and its servers, broken on demand.
 *
 *   quern-chaos-proxy NAME=IPv4:PORT ..
 *
 * Prints "NAME PORT" for each link and "control PORT", then "ready", and runs until SIGTERM. The
 * control port takes lines "LINK COMMAND" (link.h, rules.h), or "list", and answers each with
 * "ok" or "error: TEXT" as the last line of its answer. One client at a time is enough, more work.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "tests/chaos/proxy/link.h"

enum { LINKS_MAX = 16, LINE_BYTES_MAX = 512 };

static struct {
    struct loop *loop;
    struct link *links[LINKS_MAX];
    int link_count;
} proxy;

struct control {
    struct loop_watch *watch;
    char line[LINE_BYTES_MAX];
    size_t len;
};

static struct link *link_by_name(struct str name)
{
    for (int i = 0; i < proxy.link_count; i++) {
        if (str_eq(link_name(proxy.links[i]), name))
            return proxy.links[i];
    }
    return NULL;
}

static void answer_line(struct str line, struct buf *ret)
{
    struct str name = line;
    struct err err = {0};
    if (str_is(line, "list")) {
        for (int i = 0; i < proxy.link_count; i++)
            link_describe(proxy.links[i], ret);
        buf_add_str(ret, STR("ok\n"));
        return;
    }
    struct str words = line;
    (void)str_split(&words, ' ', &name);
    struct link *link = link_by_name(name);
    if (!link)
        err_set(&err, ERR_USAGE, "there is no link '" STR_FMT "'", STR_ARG(name));
    if (link && link_command(link, words, &err))
        buf_add_str(ret, STR("ok\n"));
    else
        buf_printf(ret, "error: %s\n", err.text);
}

static void control_end(struct control *control, int fd)
{
    loop_watch_free(control->watch);
    close(fd);
    free(control);
}

static void control_ready(int fd, int what, void *context)
{
    struct control *control = context;
    (void)what;
    ssize_t got = recv(fd, control->line + control->len, sizeof control->line - control->len, 0);
    if (got <= 0) {
        control_end(control, fd);
        return;
    }
    control->len += (size_t)got;
    struct str rest = str_from(control->line, control->len), line;
    struct buf answer;
    buf_init(&answer, 1 << 16);
    while (str_index(rest, '\n') < rest.len && str_split(&rest, '\n', &line))
        answer_line(line, &answer);
    memmove(control->line, rest.data ? rest.data : control->line, rest.len);
    control->len = rest.len;
    /* Answers are short and their readers wait for them: one that does not take it is let go. */
    struct str bytes = buf_str(&answer);
    bool fits = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL) == (ssize_t)bytes.len;
    buf_done(&answer);
    if (!fits || control->len == sizeof control->line)
        control_end(control, fd);
}

static void control_accept(int listen_fd, int what, void *context)
{
    (void)what;
    (void)context;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct control *control = xzalloc(sizeof *control);
    control->watch = loop_watch_new(proxy.loop, fd, LOOP_READ, control_ready, control);
}

static int control_listen(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 16) != 0) {
        fprintf(stderr, "quern-chaos-proxy: the control port cannot be opened\n");
        exit(1);
    }
    must(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    printf("control %d\n", ntohs(address.sin_port));
    return fd;
}

static void add_link(const char *word)
{
    struct str target = str_of(word), name;
    struct err err;
    (void)str_split(&target, '=', &name);
    struct link *link =
        proxy.link_count < LINKS_MAX ? link_new(proxy.loop, name, target, &err) : NULL;
    if (!link) {
        fprintf(stderr, "quern-chaos-proxy: '%s': %s\n", word,
                proxy.link_count < LINKS_MAX ? err.text : "too many links");
        exit(2);
    }
    proxy.links[proxy.link_count++] = link;
    printf(STR_FMT " %d\n", STR_ARG(link_name(link)), link_port(link));
}

/* Two descriptors a connection. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void stop(int signal, void *context)
{
    (void)signal;
    (void)context;
    loop_stop(proxy.loop);
}

int main(int argc, char **argv)
{
    struct err err;
    if (argc < 2) {
        fprintf(stderr, "usage: quern-chaos-proxy NAME=IPv4:PORT ..\n");
        return 2;
    }
    raise_descriptor_limit();
    proxy.loop = loop_new(&err);
    if (!proxy.loop) {
        fprintf(stderr, "quern-chaos-proxy: %s\n", err.text);
        return 1;
    }
    for (int i = 1; i < argc; i++)
        add_link(argv[i]);
    int control_fd = control_listen();
    struct loop_watch *watch =
        loop_watch_new(proxy.loop, control_fd, LOOP_READ, control_accept, NULL);
    loop_on_signal(proxy.loop, SIGTERM, stop, NULL);
    loop_on_signal(proxy.loop, SIGINT, stop, NULL);
    printf("ready\n");
    fflush(stdout);
    loop_run(proxy.loop);
    loop_watch_free(watch);
    close(control_fd);
    for (int i = 0; i < proxy.link_count; i++)
        link_free(proxy.links[i]);
    loop_free(proxy.loop);
    return 0;
}
