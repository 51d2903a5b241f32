/*
 * notify.c -- one datagram per message, nothing is kept open: it is sent every other second at
 * most.
 */
#include "common/app/notify.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/base/buf.h"

void notify_systemd(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    if (len == 0 || len >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@') /* the abstract name space */
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    /* A full or missing socket is systemd's trouble, not ours. */
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    close(fd);
}

void notify_status(struct str text)
{
    struct buf message;
    struct str line;

    buf_init(&message, 1024);
    buf_add_str(&message, str_empty(text) ? STR("STATUS=ready") : STR("STATUS=not ready"));
    while (str_split(&text, '\n', &line))
        if (!str_empty(line))
            buf_printf(&message, "; " STR_FMT, STR_ARG(line));
    notify_systemd(message.data);
    buf_done(&message);
}

void notify_reloading(int64_t monotonic_us)
{
    char message[64];

    snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)monotonic_us);
    notify_systemd(message);
}
