/*
 * kafka_common.h -- what the parts of the Kafka door share: configuration, errors, records.
 *
 * Private to common/io/kafka*.c. The library's header comes in through here, so that the four
 * bodies of the door (consumer, producer, admin and the client both loops stand on) agree on it.
 */
#ifndef QUERN_COMMON_IO_KAFKA_COMMON_H
#define QUERN_COMMON_IO_KAFKA_COMMON_H

#include <librdkafka/rdkafka.h>

#include "common/io/kafka.h"

enum kafka_role { KAFKA_CONSUMER, KAFKA_PRODUCER, KAFKA_ADMIN };

/* Defaults of struct kafka_conf; a field that is zero or less means "the default". */
#define KAFKA_SESSION_TIMEOUT_MS  6000
#define KAFKA_REVOKE_MS_MAX       3000
#define KAFKA_FETCH_BYTES_MAX     ((int64_t)16 << 20)
#define KAFKA_FETCH_WAIT_MS       100
#define KAFKA_RECORDS_PER_TURN    500
#define KAFKA_MESSAGE_BYTES_MAX   ((int64_t)32 << 20)
#define KAFKA_LINGER_MS           5
#define KAFKA_DELIVERY_TIMEOUT_MS 30000

static inline int64_t kafka_or(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

/*
 * Three layers: what we advise, then the user's properties, then what correctness rests on. A
 * property of the last kind is refused with ERR_CONFIG, and so is one the library does not know.
 * The caller owns the result. `events` is the library's RD_KAFKA_EVENT_.. mask.
 */
rd_kafka_conf_t *kafka_conf_new(const struct kafka_conf *conf, enum kafka_role role, int events,
                                struct err *err);

enum err_code kafka_err_code(rd_kafka_resp_err_t code);
/* "what: the library's words". `detail` may be NULL. err may be NULL. */
void kafka_err_set(struct err *err, rd_kafka_resp_err_t code, const char *what, const char *detail);

/*
 * What kafka_record.handle points to while on_record runs: the library's object that holds the
 * bytes, and how to let go of it. kafka_record_keep() clears `object` when it takes it over.
 */
struct kafka_hold {
    void *object;
    void (*release)(void *object);
};

void kafka_record_fill(struct kafka_record *ret, const rd_kafka_message_t *message,
                       const char *topic, struct kafka_hold *hold);

#endif
