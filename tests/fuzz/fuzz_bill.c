/*
 * fuzz_bill.c -- whatever file is taken for a provider's bill has days that exist and counts that
 * are none below zero; whatever is refused says the file and why.
 */
#include "common/base/must.h"
#include "producer/cli/bill.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct bill bill;
    struct err err = {0};
    arena_init(&arena, NULL, 64 << 20);
    bill_init(&bill, &arena);
    bool good = bill_read(&bill, STR("file"), str_from(data, size), &err);
    must(good || strstr(err.text, "'file'"));
    for (size_t i = 0; good && i < bill.count; i++) {
        must(bill_is_day(bill.rows[i].day) && bill.rows[i].input >= 0 && bill.rows[i].output >= 0);
        bill_key(&arena, bill.rows[i].model);
    }
    arena_done(&arena);
    return 0;
}
