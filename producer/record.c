/*
 * record.c -- see record.h.
 */
#include "producer/record.h"

static void add(struct record_headers *headers, const char *name, struct str value)
{
    headers->items[headers->count++] = (struct kafka_header){str_of(name), value};
}

void record_headers(struct str id, enum encoding encoding, struct record_headers *ret)
{
    ret->count = 0;
    add(ret, HEADER_CONTENT_TYPE, str_of(encoding_type(encoding)));
    if (str_empty(id))
        return;
    add(ret, HEADER_CE_ID, id);
    add(ret, HEADER_CE_TYPE, STR(CE_TYPE_REQUEST));
    add(ret, HEADER_CE_SOURCE, STR("/quern/cli"));
    add(ret, HEADER_CE_SPECVERSION, STR(CE_SPECVERSION));
}

struct str record_key(const struct request *request)
{
    return str_empty(request->session) ? request->id : request->session;
}

enum topic_id record_lane(const struct request *request, bool may_wait)
{
    return may_wait && str_empty(request->session) ? TOPIC_REQUESTS_BATCH : TOPIC_REQUESTS;
}

bool record_names_of(struct str bytes, enum encoding encoding, struct arena *arena,
                     struct record_names *ret)
{
    struct value document;
    struct err err;
    *ret = (struct record_names){0};
    if (!contract_parse(bytes, encoding, arena, &document, &err))
        return false;
    const struct value *request = contract_unwrap(&document);
    ret->id = value_get_str(request, "id");
    ret->session = value_get_str(request, "session");
    return true;
}
