/*
 * budget.c -- see budget.h.
 */
#include "worker/call/budget.h"

enum { CENTS = 100 };

void budget_init(struct budget *budget)
{
    *budget = (struct budget){.cents = BUDGET_FLOOR * CENTS};
}

static void put(struct budget *budget, int64_t cents)
{
    budget->cents += cents;
    if (budget->cents > BUDGET_MAX * CENTS)
        budget->cents = BUDGET_MAX * CENTS;
}

void budget_first_call(struct budget *budget, unsigned percent)
{
    put(budget, percent);
}

static void refill(struct budget *budget, int64_t now_ms)
{
    int64_t tokens = (now_ms - budget->filled_ms) / BUDGET_REFILL_MS;
    if (tokens <= 0)
        return;
    budget->filled_ms += tokens * BUDGET_REFILL_MS;
    int64_t lacking = BUDGET_FLOOR * CENTS - budget->cents;
    if (lacking <= 0)
        return;
    budget->cents += lacking < tokens * CENTS ? lacking : tokens * CENTS;
}

size_t budget_tokens(struct budget *budget, int64_t now_ms)
{
    refill(budget, now_ms);
    return budget->cents < CENTS ? 0 : (size_t)(budget->cents / CENTS);
}

void budget_take(struct budget *budget)
{
    budget->cents -= CENTS;
}

void budget_give_back(struct budget *budget)
{
    put(budget, CENTS);
}

int64_t budget_next_ms(const struct budget *budget)
{
    return budget->filled_ms + BUDGET_REFILL_MS;
}
