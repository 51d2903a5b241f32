/*
 * request_options.h -- a request out of the command line's options.
 */
#ifndef QUERN_PRODUCER_CLI_REQUEST_OPTIONS_H
#define QUERN_PRODUCER_CLI_REQUEST_OPTIONS_H

#include "common/contract/contract.h"
#include "producer/cli/cli.h"

/* Fills what the request leaves absent with what the options say. ERR_USAGE. */
bool request_options(struct cli *cli, struct request *request, struct err *err);
/* The question as text, with the system message if there is one. */
void request_question(struct cli *cli, struct request *request, struct str text);
/* --encoding; JSON unless given. */
bool encoding_option(const struct cli *cli, enum encoding *ret, struct err *err);

#endif
