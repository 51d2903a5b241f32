/*
 * tables.c -- the rows of schemas/ expanded into tables; defaults; topics.
 */
#include "common/contract/field.h"

#include "common/base/must.h"
#include "common/base/xalloc.h"

#define MUST true
#define MAY  false

#define OBJECT(name, text) static const struct field fields_##name[] = {
#define F_STR(object, field, need, bytes, text)                                                    \
    {.name = STR(#field),                                                                          \
     .type = FIELD_STR,                                                                            \
     .must = need,                                                                                 \
     .offset = offsetof(struct object, field),                                                     \
     .bytes_max = bytes,                                                                           \
     .sentence = text},
#define F_ENUM(object, field, need, names, default_name, text)                                     \
    {.name = STR(#field),                                                                          \
     .type = FIELD_ENUM,                                                                           \
     .must = need,                                                                                 \
     .offset = offsetof(struct object, field),                                                     \
     .choices = names,                                                                             \
     .first = STR(default_name),                                                                   \
     .sentence = text},
#define F_INT(object, field, need, low_bound, high_bound, default_number, text)                    \
    {.name = STR(#field),                                                                          \
     .type = FIELD_INT,                                                                            \
     .must = need,                                                                                 \
     .offset = offsetof(struct object, field),                                                     \
     .min = low_bound,                                                                             \
     .max = high_bound,                                                                            \
     .otherwise = default_number,                                                                  \
     .sentence = text},
#define F_REAL(object, field, need, low_bound, high_bound, text)                                   \
    {.name = STR(#field),                                                                          \
     .type = FIELD_REAL,                                                                           \
     .must = need,                                                                                 \
     .offset = offsetof(struct object, field),                                                     \
     .low = low_bound,                                                                             \
     .high = high_bound,                                                                           \
     .sentence = text},
#define F_BOOL(object, field, need, default_truth, text)                                           \
    {.name = STR(#field),                                                                          \
     .type = FIELD_BOOL,                                                                           \
     .must = need,                                                                                 \
     .offset = offsetof(struct object, field),                                                     \
     .otherwise = default_truth,                                                                   \
     .sentence = text},
#define F_ANY(object, field, need, kinds, bytes, text)                                             \
    {.name = STR(#field),                                                                          \
     .type = FIELD_ANY,                                                                            \
     .must = need,                                                                                 \
     .offset = offsetof(struct object, field),                                                     \
     .choices = kinds,                                                                             \
     .bytes_max = bytes,                                                                           \
     .sentence = text},
#define F_STRS(object, field, need, items, bytes, text)                                            \
    {.name = STR(#field),                                                                          \
     .type = FIELD_STRS,                                                                           \
     .must = need,                                                                                 \
     .offset = offsetof(struct object, field),                                                     \
     .items_max = items,                                                                           \
     .bytes_max = bytes,                                                                           \
     .sentence = text},
#define F_SUB(object, field, need, kind, text)                                                     \
    {.name = STR(#field),                                                                          \
     .type = FIELD_SUB,                                                                            \
     .must = need,                                                                                 \
     .offset = offsetof(struct object, field),                                                     \
     .part = &contract_##kind,                                                                     \
     .sentence = text},
#define F_SUBS(object, field, need, items, kind, text)                                             \
    {.name = STR(#field),                                                                          \
     .type = FIELD_SUBS,                                                                           \
     .must = need,                                                                                 \
     .offset = offsetof(struct object, field),                                                     \
     .items_max = items,                                                                           \
     .part = &contract_##kind,                                                                     \
     .sentence = text},
#define END(name)                                                                                  \
    }                                                                                              \
    ;                                                                                              \
    _Static_assert(sizeof(fields_##name) / sizeof(fields_##name[0]) <= FIELDS_MAX,                 \
                   "a bit per field is kept");
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

#define OBJECT(object, text)                                                                       \
    static void *blank_##object;                                                                   \
    const struct contract contract_##object = {                                                    \
        .name = #object,                                                                           \
        .sentence = text,                                                                          \
        .fields = fields_##object,                                                                 \
        .field_count = sizeof(fields_##object) / sizeof(fields_##object[0]),                       \
        .size = sizeof(struct object),                                                             \
        .extra = offsetof(struct object, extra),                                                   \
        .blank = &blank_##object,                                                                  \
    };
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
/* clang-format off */
#include "schemas/request.def"
#include "schemas/result.def"
#include "schemas/reply.def"
/* clang-format on */

#undef OBJECT
#define OBJECT(object, text) &contract_##object,
const struct contract *const contracts[] = {
/* clang-format off */
#include "schemas/request.def"
#include "schemas/result.def"
#include "schemas/reply.def"
    /* clang-format on */
};
const size_t contract_count = sizeof(contracts) / sizeof(contracts[0]);

/* clang-format off */
const struct header headers[] = {
    {HEADER_CONTENT_TYPE, false, "application/json (also when absent), application/msgpack, or application/cloudevents+json for a request in structured mode"},
    {HEADER_CE_ID,          false, "CloudEvents: id of the record; a record that is sent again has the same one"},
    {HEADER_CE_TYPE,        false, "CloudEvents: quern.request, quern.result, quern.reply or quern.dead"},
    {HEADER_CE_SOURCE,      false, "CloudEvents: who made the record"},
    {HEADER_CE_SPECVERSION, false, "CloudEvents: 1.0"},
    {HEADER_CE_TIME,        false, "CloudEvents: when the record was made, RFC 3339"},
    {HEADER_TRACEPARENT,    false, "W3C trace context, carried through"},
    {HEADER_TRACESTATE,     false, "W3C trace state, carried through"},
    {HEADER_DEAD_CODE,           true, "Name of the error, see the errors"},
    {HEADER_DEAD_REASON,         true, "What was wrong, in a sentence"},
    {HEADER_DEAD_TOPIC,          true, "Topic the record was read from"},
    {HEADER_DEAD_PARTITION,      true, "Its partition"},
    {HEADER_DEAD_OFFSET,         true, "Its offset"},
    {HEADER_DEAD_TENANT,         true, "Tenant, when it could be read"},
    {HEADER_DEAD_ID,             true, "Request id, when it could be read"},
    {HEADER_DEAD_ORIGINAL_BYTES, true, "Size of the original, when it was cut to its first 64 KiB"},
    {HEADER_DEAD_SHA256,         true, "SHA-256 of the whole original in hex, when it was cut"},
};
/* clang-format on */
const size_t header_count = sizeof(headers) / sizeof(headers[0]);

#define HOUR_MS 3600000LL

#define MESSAGE_request &contract_request
#define MESSAGE_result  &contract_result
#define MESSAGE_reply   &contract_reply
#define MESSAGE_none    NULL

const struct topic topics[TOPIC_COUNT] = {
#define TOPIC(id, topic, parts, hours, bytes, record_key, contents, text)                          \
    [TOPIC_##id] = {                                                                               \
        .name = topic,                                                                             \
        .partitions = parts,                                                                       \
        .retention_ms = (hours)*HOUR_MS,                                                           \
        .message_bytes_max = bytes,                                                                \
        .key = record_key,                                                                         \
        .message = MESSAGE_##contents,                                                             \
        .sentence = text,                                                                          \
    },
#include "schemas/topic.def"
#undef TOPIC
};

struct str topic_name(struct arena *arena, struct str prefix, enum topic_id topic)
{
    must((unsigned)topic < TOPIC_COUNT);
    if (str_empty(prefix))
        return str_of(topics[topic].name);
    return arena_printf(arena, STR_FMT ".%s", STR_ARG(prefix), topics[topic].name);
}

static const void *blank_of(const struct contract *contract);

static void make_blank(const struct contract *contract, void *ret)
{
    memset(ret, 0, contract->size);
    for (size_t i = 0; i < contract->field_count; i++) {
        const struct field *field = &contract->fields[i];
        switch (field->type) {
        case FIELD_ENUM:
            *FIELD_TO(ret, field, struct str) = field->first;
            break;
        case FIELD_INT:
            *FIELD_TO(ret, field, int64_t) = field->otherwise;
            break;
        case FIELD_REAL:
            *FIELD_TO(ret, field, double) = NAN;
            break;
        case FIELD_BOOL:
            *FIELD_TO(ret, field, bool) = field->otherwise != 0;
            break;
        case FIELD_SUB:
            memcpy(FIELD_TO(ret, field, char), blank_of(field->part), field->part->size);
            break;
        case FIELD_STR:
        case FIELD_ANY:
        case FIELD_STRS:
        case FIELD_SUBS:
            break; /* absent is all zero */
        }
    }
}

static const void *blank_of(const struct contract *contract)
{
    if (!*contract->blank) {
        void *blank = xrealloc(NULL, contract->size);
        make_blank(contract, blank);
        *contract->blank = blank;
    }
    return *contract->blank;
}

void contract_init(const struct contract *contract, void *ret)
{
    memcpy(ret, blank_of(contract), contract->size);
}
