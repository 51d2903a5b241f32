/*
 * postgres_error.h -- what a message of the PostgreSQL server means to us; pure.
 *
 * The five characters of SQLSTATE decide: what is worth trying again, what ends the connection, and
 * our own QF001, by which a transaction learns that it was fenced. The server's primary message is
 * passed on, but values are cut out of it where the server quotes its input (class 22).
 *
 * To treat another SQLSTATE specially: a row in postgres_error.c.
 */
#ifndef QUERN_COMMON_IO_POSTGRES_ERROR_H
#define QUERN_COMMON_IO_POSTGRES_ERROR_H

#include <stdbool.h>

#include "common/base/err.h"

/* Any of the three texts may be NULL. True: this connection must not be used any more. */
bool postgres_error(const char *sqlstate, const char *severity, const char *message,
                    struct err *err);

/* Is this what a server says that is there, and does not want us: password, user, database? libpq
 * tells no SQLSTATE of a connection that was not made. A server that speaks another language than
 * English is not understood: it counts as away. */
bool postgres_error_refuses(const char *text);

/* Puts *** in place of everything between the first and the last double quote. */
void postgres_error_scrub(char *text);
/* Makes one line of several, without the newline at the end. */
void postgres_error_join(char *text);

#endif
