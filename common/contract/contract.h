/*
 * contract.h -- the messages of schemas/ as C structs, and what their rows are good for: reading,
 * checking, writing, JSON Schema, AsyncAPI and the reference page.
 *
 * `struct request`, `struct result`, `struct reply` and their parts are made from
 * schemas/request.def, result.def and reply.def; see request.def for the rows. All strings and
 * lists live in the arena the message was read into, or wherever the writer of the struct put them.
 */
#ifndef QUERN_COMMON_CONTRACT_CONTRACT_H
#define QUERN_COMMON_CONTRACT_CONTRACT_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/data/value.h"

#define INT_ABSENT INT64_MIN

struct str_list {
    struct str *items;
    size_t count;
};

/* The texts of a list; none of what is no list, and NULL. They stay where they are. */
struct str_list str_list_of(const struct value *list, struct arena *arena);

#define OBJECT(name, sentence)                                    struct name {
#define F_STR(object, field, need, max, sentence)                 struct str field;
#define F_ENUM(object, field, need, choices, otherwise, sentence) struct str field;
#define F_INT(object, field, need, min, max, otherwise, sentence) int64_t field;
#define F_REAL(object, field, need, min, max, sentence)           double field;
#define F_BOOL(object, field, need, otherwise, sentence)          bool field;
#define F_ANY(object, field, need, kinds, max, sentence)          const struct value *field;
#define F_STRS(object, field, need, items_max, max, sentence)     struct str_list field;
#define F_SUB(object, field, need, type, sentence)                struct type field;
#define F_SUBS(object, field, need, items_max, type, sentence)                                     \
    struct {                                                                                       \
        struct type *items;                                                                        \
        size_t count;                                                                              \
    } field;
#define END(name)                                                                                  \
    const struct value *extra; /* unknown fields, a map; NULL: none */                             \
    }                                                                                              \
    ;
/* In this order: a result contains parts of a request, a reply contains parts of a result. */
/* clang-format off */
#include "schemas/request.def"
#include "schemas/result.def"
#include "schemas/reply.def"
/* clang-format on */
#undef OBJECT
#undef F_STR
#undef F_ENUM
#undef F_INT
#undef F_REAL
#undef F_BOOL
#undef F_ANY
#undef F_STRS
#undef F_SUB
#undef F_SUBS
#undef END

/* One type of message; the objects below are made from the .def files: &contract_request, .. */
struct contract;
#define OBJECT(name, sentence) extern const struct contract contract_##name;
#define F_STR(...)
#define F_ENUM(...)
#define F_INT(...)
#define F_REAL(...)
#define F_BOOL(...)
#define F_ANY(...)
#define F_STRS(...)
#define F_SUB(...)
#define F_SUBS(...)
#define END(name)
/* In this order: a result contains parts of a request, a reply contains parts of a result. */
/* clang-format off */
#include "schemas/request.def"
#include "schemas/result.def"
#include "schemas/reply.def"
/* clang-format on */
#undef OBJECT
#undef F_STR
#undef F_ENUM
#undef F_INT
#undef F_REAL
#undef F_BOOL
#undef F_ANY
#undef F_STRS
#undef F_SUB
#undef F_SUBS
#undef END

enum encoding { ENCODING_JSON, ENCODING_MSGPACK };
/* From a content-type header: application/msgpack, application/x-msgpack, application/vnd.msgpack;
 * application/json, application/cloudevents+json (structured mode) and absent: JSON. Else false. */
bool encoding_by_type(struct str content_type, enum encoding *ret);
const char *encoding_type(enum encoding encoding); /* "application/json" */

/* Bytes to a tree; ERR_INVALID_ENCODING, ERR_TOO_DEEP, ERR_TOO_BIG. */
bool contract_parse(struct str bytes, enum encoding encoding, struct arena *arena,
                    struct value *ret, struct err *err);

/* A CloudEvents structured-mode event (specversion, id, source, type and a map `data`): its data.
 * Everything else: the document as it is. */
const struct value *contract_unwrap(const struct value *document);

/* Defaults of every field; MUST fields are left absent. */
void contract_init(const struct contract *contract, void *ret);
/* A tree to the struct, checking types and limits; ERR_INVALID_REQUEST with the field's path
 * ("params.temperature must be between 0 and 2, is 7"), ERR_TOO_BIG for bytes over a field's limit,
 * ERR_TOO_DEEP. null counts as absent, 3.0 as an integer; U+0000 is refused (no store keeps it).
 * Strings of the struct are those of the tree. */
bool contract_read(const struct contract *contract, const struct value *document,
                   struct arena *arena, void *ret, struct err *err);
/* The same checks on a struct made by us, before it is written: what passes here, the reader on the
 * other side accepts. */
bool contract_check(const struct contract *contract, const void *object, struct err *err);
/* Absent and default values are left out (but for `status`); unknown fields are written at the
 * end. */
void contract_write(const struct contract *contract, const void *object, enum encoding encoding,
                    struct buf *ret);

/* What the rows cannot say: what each kind of work needs, of chat exactly one of input and
 * messages, messages in OpenAI's form; no control characters in names. ERR_INVALID_REQUEST. An
 * empty id, tenant, user or session means absent: ask str_empty(). */
#define REQUEST_MESSAGES_MAX 4096
#define REQUEST_INPUTS_MAX   2048
/* The input as one text; absent when it is a list. */
struct str request_text(const struct request *request);
/* The input as texts, one or many. */
const struct value *request_inputs(const struct request *request, uint32_t *ret_count);
bool request_check(const struct request *request, struct err *err);
/* The part of it that is true of names and reply_to alone, whatever is asked. */
bool request_check_names(const struct request *request, struct err *err);
/* Fit to be an id or a tenant: not empty, at most `max` bytes of UTF-8, no control characters. For
 * names that come from elsewhere than a checked request. */
bool request_name_ok(struct str name, size_t max);

/* SHA-256 (64 hex digits and NUL) of what a request means: all fields but id, created_at. The same
 * for JSON and MessagePack, for keys in another order, and for defaults written out. */
void request_body_hash(const struct request *request, char ret[65]);

/* Pages and files for other people's tools. */
void contract_json_schema(const struct contract *contract, struct buf *ret); /* draft 2020-12 */
void contract_asyncapi(struct str topic_prefix, struct buf *ret); /* AsyncAPI 3.0, JSON */
void contract_reference(struct buf *ret);                         /* Markdown */

/* Names of Kafka headers. */
#define HEADER_CONTENT_TYPE   "content-type"
#define HEADER_CE_ID          "ce_id"
#define HEADER_CE_TYPE        "ce_type"
#define HEADER_CE_SOURCE      "ce_source"
#define HEADER_CE_SPECVERSION "ce_specversion"
#define HEADER_CE_TIME        "ce_time"
#define HEADER_TRACEPARENT    "traceparent"
#define HEADER_TRACESTATE     "tracestate"
/* On records of the dead-letter topic; tenant and id when they could be read, the last two when the
 * original was cut. */
#define HEADER_DEAD_CODE           "quern-dead-code"
#define HEADER_DEAD_REASON         "quern-dead-reason"
#define HEADER_DEAD_TOPIC          "quern-dead-topic"
#define HEADER_DEAD_PARTITION      "quern-dead-partition"
#define HEADER_DEAD_OFFSET         "quern-dead-offset"
#define HEADER_DEAD_TENANT         "quern-dead-tenant"
#define HEADER_DEAD_ID             "quern-dead-id"
#define HEADER_DEAD_ORIGINAL_BYTES "quern-dead-original-bytes"
#define HEADER_DEAD_SHA256         "quern-dead-sha256"
#define DEAD_ORIGINAL_BYTES_MAX    65536
/* Values of ce_type and ce_specversion. */
#define CE_SPECVERSION  "1.0"
#define CE_TYPE_REQUEST "quern.request"
#define CE_TYPE_RESULT  "quern.result"
#define CE_TYPE_REPLY   "quern.reply"
#define CE_TYPE_DEAD    "quern.dead"

struct topic {
    const char *name; /* behind the prefix */
    int32_t partitions;
    int64_t retention_ms;
    int64_t message_bytes_max;
    const char *key;
    const struct contract *message; /* NULL: none */
    const char *sentence;
};
enum topic_id {
#define TOPIC(id, name, partitions, hours, bytes, key, message, sentence) TOPIC_##id,
#include "schemas/topic.def"
#undef TOPIC
    TOPIC_COUNT
};
extern const struct topic topics[TOPIC_COUNT];
/* "quern" + "." + name */
struct str topic_name(struct arena *arena, struct str prefix, enum topic_id topic);

#endif
