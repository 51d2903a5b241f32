/*
 * wheel.c -- the timer wheel; see wheel.h.
 *
 * A turn first moves all due nodes to a list of its own and then fires them one by one, so
 * a callback that stops a node which is about to fire simply unlinks it.
 */
#include "tests/fake/wheel.h"

static size_t slot_of(uint64_t ms)
{
    return (size_t)(ms % WHEEL_SLOTS);
}

static void list_init(struct wheel_node *head)
{
    head->next = head->prev = head;
}

static void list_append(struct wheel_node *head, struct wheel_node *node)
{
    node->next = head;
    node->prev = head->prev;
    head->prev->next = node;
    head->prev = node;
}

static void list_remove(struct wheel_node *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

static void mark(struct wheel *wheel, size_t slot)
{
    uint64_t bit = 1ULL << (slot % 64);
    if (wheel->slots[slot].next == &wheel->slots[slot])
        wheel->filled[slot / 64] &= ~bit;
    else
        wheel->filled[slot / 64] |= bit;
}

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
    *wheel = (struct wheel){.now_ms = now_ms};
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&wheel->slots[i]);
}

void wheel_start(struct wheel *wheel, struct wheel_node *node, uint64_t due_ms)
{
    wheel_stop(wheel, node);
    node->due_ms = due_ms > wheel->now_ms ? due_ms : wheel->now_ms + 1;
    size_t slot = slot_of(node->due_ms);
    list_append(&wheel->slots[slot], node);
    mark(wheel, slot);
    wheel->count++;
}

void wheel_stop(struct wheel *wheel, struct wheel_node *node)
{
    if (!node->next)
        return;
    list_remove(node);
    mark(wheel, slot_of(node->due_ms));
    wheel->count--;
}

static void collect(struct wheel *wheel, size_t slot, uint64_t now_ms, struct wheel_node *due)
{
    struct wheel_node *head = &wheel->slots[slot];
    for (struct wheel_node *node = head->next; node != head;) {
        struct wheel_node *next = node->next;
        if (node->due_ms <= now_ms) {
            list_remove(node);
            list_append(due, node);
        }
        node = next;
    }
    mark(wheel, slot);
}

void wheel_turn(struct wheel *wheel, uint64_t now_ms, wheel_fire *fire, void *ctx)
{
    struct wheel_node due;
    list_init(&due);
    uint64_t span = now_ms - wheel->now_ms;
    if (span > WHEEL_SLOTS)
        span = WHEEL_SLOTS;
    for (uint64_t i = 0; i < span; i++) {
        size_t slot = slot_of(now_ms - span + 1 + i);
        if (wheel->filled[slot / 64] >> (slot % 64) & 1)
            collect(wheel, slot, now_ms, &due);
    }
    wheel->now_ms = now_ms;
    while (due.next != &due) {
        struct wheel_node *node = due.next;
        wheel_stop(wheel, node);
        fire(ctx, node);
    }
}

int wheel_wait_ms(const struct wheel *wheel)
{
    if (wheel->count == 0)
        return -1;
    for (unsigned ahead = 1; ahead <= WHEEL_SLOTS;) {
        size_t slot = slot_of(wheel->now_ms + ahead);
        uint64_t rest = wheel->filled[slot / 64] >> (slot % 64);
        if (rest)
            return (int)ahead + __builtin_ctzll(rest);
        ahead += 64 - (unsigned)(slot % 64);
    }
    return WHEEL_SLOTS;
}
