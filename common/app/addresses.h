/*
 * addresses.h -- which addresses of providers are allowed (providers.allowed_addresses). Pure.
 *
 * An entry is a host ("api.openai.com"), all hosts below one (".openai.azure.com"), or the
 * beginning of an address ("https://gateway.example/llm"), which ends where a part of the address
 * does.
 */
#ifndef QUERN_COMMON_APP_ADDRESSES_H
#define QUERN_COMMON_APP_ADDRESSES_H

#include <stdbool.h>

#include "common/data/conf.h"

/* The host of an http or https address, without user, port and path; "" when it has none. */
struct str address_host(struct str url);
/* A host, or a host and a port, and no user: whose host it is then, nobody can take for another. */
bool address_plain(struct str url);
/* No entry at all allows every address. */
bool address_allowed(struct str url, const struct conf_strs *allowed);

#endif
