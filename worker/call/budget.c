/*
 * budget.c -- see budget.h.
 */
#include "worker/call/budget.h"

enum { CENTS = 100 };

void budget_init(struct budget *budget)
{
    *budget = (struct budget){.cents = CENTS, .filled_ms = -1, .members = 1};
}

void budget_members(struct budget *budget, unsigned members)
{
    budget->members = members ? members : 1;
}

static int64_t floor_cents(const struct budget *budget)
{
    int64_t cents = BUDGET_FLOOR * CENTS / budget->members;
    return cents > CENTS ? cents : CENTS;
}

static int64_t refill_ms(const struct budget *budget)
{
    return (int64_t)BUDGET_REFILL_MS * budget->members;
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
    if (budget->filled_ms < 0)
        budget->filled_ms = now_ms;
    int64_t tokens = (now_ms - budget->filled_ms) / refill_ms(budget);
    if (tokens <= 0)
        return;
    budget->filled_ms += tokens * refill_ms(budget);
    int64_t lacking = floor_cents(budget) - budget->cents;
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
    return budget->filled_ms + refill_ms(budget);
}

size_t budget_per_second(const struct budget *budget)
{
    return 1000 / (size_t)refill_ms(budget);
}
