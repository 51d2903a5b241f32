/*
 * write.h -- the writer's third form, for hashing; inside this room only.
 */
#ifndef QUERN_COMMON_CONTRACT_WRITE_H
#define QUERN_COMMON_CONTRACT_WRITE_H

#include "common/contract/contract.h"

enum contract_form {
    FORM_JSON,
    FORM_MSGPACK,
    FORM_CANONICAL, /* MessagePack with all free maps sorted */
};

void contract_write_form(const struct contract *contract, const void *object,
                         enum contract_form form, struct buf *ret);

#endif
