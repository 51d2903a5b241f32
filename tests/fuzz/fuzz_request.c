/*
 * fuzz_request.c -- whatever is accepted as a request (or result, or reply) passes our own check,
 * comes back from both encodings with the same hash and the same text, and leaves a worker nothing
 * to trip over. The first byte chooses encoding and message.
 */
#include "common/base/must.h"
#include "common/contract/contract.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

union message {
    struct request request;
    struct result result;
    struct reply reply;
};

static void write_out(const struct contract *contract, const union message *message,
                      enum encoding encoding, struct buf *ret)
{
    buf_init(ret, 1 << 24);
    contract_write(contract, message, encoding, ret);
    must(!ret->overflowed);
}

static void round_trip(const struct contract *contract, const union message *message,
                       enum encoding encoding)
{
    struct arena arena;
    arena_init(&arena, NULL, 1 << 26);
    struct buf first, second;
    write_out(contract, message, encoding, &first);
    struct value tree;
    union message back;
    struct err err = {0};
    must(contract_parse(buf_str(&first), encoding, &arena, &tree, &err));
    must(contract_read(contract, &tree, &arena, &back, &err));
    write_out(contract, &back, encoding, &second);
    must(str_eq(buf_str(&first), buf_str(&second)));
    if (contract == &contract_request) {
        char before[65], after[65];
        request_body_hash(&message->request, before);
        request_body_hash(&back.request, after);
        must(strcmp(before, after) == 0);
        must(request_check(&message->request, &err) == request_check(&back.request, &err));
    }
    buf_done(&first);
    buf_done(&second);
    arena_done(&arena);
}

/* NaN and infinity exist in MessagePack only; JSON has null there, which is another document. */
static bool has_odd_numbers(const struct value *value)
{
    if (value->kind == VALUE_REAL)
        return !isfinite(value->real);
    for (uint32_t i = 0; value->kind == VALUE_LIST && i < value->count; i++) {
        if (has_odd_numbers(&value->items[i]))
            return true;
    }
    for (uint32_t i = 0; value->kind == VALUE_MAP && i < value->count; i++) {
        if (has_odd_numbers(&value->pairs[i].value))
            return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct contract *const contracts[] = {&contract_request, &contract_result,
                                                       &contract_reply};
    if (size == 0)
        return 0;
    enum encoding encoding = data[0] & 1 ? ENCODING_MSGPACK : ENCODING_JSON;
    const struct contract *contract = contracts[(data[0] >> 1) % 3];
    struct arena arena;
    arena_init(&arena, NULL, 1 << 22);
    struct value tree;
    union message message;
    struct err err = {0};
    if (contract_parse(str_from(data + 1, size - 1), encoding, &arena, &tree, &err) &&
        contract_read(contract, contract_unwrap(&tree), &arena, &message, &err)) {
        must(contract_check(contract, &message, &err));
        round_trip(contract, &message, ENCODING_MSGPACK);
        if (!has_odd_numbers(&tree))
            round_trip(contract, &message, ENCODING_JSON);
    } else {
        must(err.code != ERR_NONE && err.text[0]);
    }
    arena_done(&arena);
    return 0;
}
