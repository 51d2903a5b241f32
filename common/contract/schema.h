/*
 * schema.h -- pieces of JSON Schema that AsyncAPI uses, too; inside this room only.
 */
#ifndef QUERN_COMMON_CONTRACT_SCHEMA_H
#define QUERN_COMMON_CONTRACT_SCHEMA_H

#include "common/contract/contract.h"
#include "common/data/json.h"

/* The schema's members (type, description, properties, ..) into an object that is open. Parts are
 * referred to as `refs` + name: "#/$defs/" or "#/components/schemas/". */
void schema_members(struct json_writer *w, const struct contract *contract, const char *refs);

/* A member with a text. */
void schema_text(struct json_writer *w, const char *key, const char *text);

#endif
