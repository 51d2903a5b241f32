/*
 * notify.h -- telling systemd how we are (sd_notify(3), the documented protocol: one datagram to
 * $NOTIFY_SOCKET). Without that variable it does nothing.
 */
#ifndef QUERN_COMMON_APP_NOTIFY_H
#define QUERN_COMMON_APP_NOTIFY_H

#include <stdint.h>

#include "common/base/str.h"

void notify_systemd(const char *state);
/* What `systemctl status` shows; several lines become one. */
void notify_status(struct str text);
void notify_reloading(int64_t monotonic_us);

#endif
