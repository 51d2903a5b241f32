/*
 * notify.h -- telling systemd how we are (sd_notify(3), the documented protocol: one datagram to
 * $NOTIFY_SOCKET). Without that variable it does nothing.
 */
#ifndef QUERN_COMMON_APP_NOTIFY_H
#define QUERN_COMMON_APP_NOTIFY_H

void notify_systemd(const char *state);

#endif
