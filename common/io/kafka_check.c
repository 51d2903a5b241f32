/*
 * kafka_check.c -- whether the library takes a property, asked of a configuration that is thrown
 * away.
 *
 * It is not asked in the order in which a client would get them, so what only fits together with
 * another one is seen when the client is made.
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/must.h"
#include "common/base/xalloc.h"
#include "common/io/kafka.h"

enum { GUESS_DISTANCE_MAX = 4 };

/* What stands before the first blank of each line of the library's own table. Into `ret`; "" when
 * nothing is near. */
static void nearest_in(struct str table, struct str name, char *ret, size_t room)
{
    unsigned half = (unsigned)name.len / 2;
    unsigned best = half < GUESS_DISTANCE_MAX ? half : GUESS_DISTANCE_MAX;
    struct str line, word;

    *ret = '\0';
    while (str_split(&table, '\n', &line) && str_split(&line, ' ', &word)) {
        unsigned distance = str_distance(word, name);
        if (distance > best || (distance == best && *ret))
            continue;
        best = distance;
        snprintf(ret, room, STR_FMT, STR_ARG(word));
    }
}

static void nearest(struct str name, char *ret, size_t room)
{
    char *table = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&table, &len);

    must(file);
    rd_kafka_conf_properties_show(file);
    fclose(file);
    nearest_in(str_from(table, len), name, ret, room);
    free(table);
}

/* Its value may be a password, so the library's own words are passed on for known names only. */
static void refuse(struct str name, bool known, const char *why, struct err *err)
{
    char guess[128];

    if (known) {
        struct str text = str_trim(str_of(why));
        err_set(err, ERR_CONFIG, "is not taken by librdkafka: " STR_FMT, STR_ARG(text));
        return;
    }
    nearest(name, guess, sizeof(guess));
    err_set(err, ERR_CONFIG, "is no property of librdkafka%s%s%s", *guess ? ", did you mean '" : "",
            guess, *guess ? "'?" : "");
}

bool kafka_property_check(struct str name, struct str value, struct err *err)
{
    char why[200] = "";
    char *name_text = xstrndup(name), *value_text = xstrndup(value);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    must(conf);
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name_text, value_text, why, sizeof(why));

    if (result != RD_KAFKA_CONF_OK)
        refuse(name, result != RD_KAFKA_CONF_UNKNOWN, why, err);
    rd_kafka_conf_destroy(conf);
    free(name_text);
    free(value_text);
    return result == RD_KAFKA_CONF_OK;
}
