/*
 * encoding.c -- which of the two encodings a record has, and its bytes as a tree.
 */
#include "common/contract/contract.h"

#include "common/data/json.h"
#include "common/data/wire.h"

bool encoding_by_type(struct str content_type, enum encoding *ret)
{
    static const struct {
        const char *type;
        enum encoding encoding;
    } rows[] = {
        {"application/json", ENCODING_JSON},
        {"application/cloudevents+json", ENCODING_JSON},
        {"application/msgpack", ENCODING_MSGPACK},
        {"application/x-msgpack", ENCODING_MSGPACK},
        {"application/vnd.msgpack", ENCODING_MSGPACK},
    };
    struct str type = str_trim(str_slice(content_type, 0, str_index(content_type, ';')));
    if (str_empty(type)) {
        *ret = ENCODING_JSON;
        return true;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (str_eq_nocase(type, str_of(rows[i].type))) {
            *ret = rows[i].encoding;
            return true;
        }
    }
    return false;
}

const char *encoding_type(enum encoding encoding)
{
    return encoding == ENCODING_JSON ? "application/json" : "application/msgpack";
}

bool contract_parse(struct str bytes, enum encoding encoding, struct arena *arena,
                    struct value *ret, struct err *err)
{
    return encoding == ENCODING_JSON ? json_read(bytes, arena, ret, err)
                                     : wire_read(bytes, arena, ret, err);
}

const struct value *contract_unwrap(const struct value *document)
{
    bool event = value_get_str(document, "specversion").data &&
                 value_get_str(document, "id").data && value_get_str(document, "source").data &&
                 value_get_str(document, "type").data;
    const struct value *data = event ? value_get_map(document, "data") : NULL;
    return data ? data : document;
}
