/*
 * doors_check.h -- whether the settings of the doors can be used: addresses, Kafka's properties,
 * connection strings, files of TLS.
 *
 * Nothing is connected to. What is looked at outside is whether a named file can be read, as a
 * door that cannot read it would take its server for away, again and again. A name that is not
 * known has the nearest one named. No message holds a password.
 */
#ifndef QUERN_COMMON_APP_DOORS_CHECK_H
#define QUERN_COMMON_APP_DOORS_CHECK_H

#include "common/app/shared_conf.h"

/* Kafka, PostgreSQL, Redis, the topics' prefix. */
bool doors_check(const struct shared_conf *conf, const struct conf_places *places, struct err *err);
/* The operation port of a program, HOST:PORT; empty: none. */
bool doors_check_port(struct str key, struct str address, const struct conf_places *places,
                      struct err *err);

#endif
