/*
 * wheel.h -- timers in buckets of one millisecond.
 *
 * Starting and stopping are list operations of constant cost, so ten thousand delayed answers cost
 * ten thousand list insertions and nothing per turn. A timer further away than one revolution
 * (16 s) stays in its bucket and is passed over once per revolution.
 *
 * A node belongs to its owner; a zeroed node is stopped. A timer never fires before its time, and
 * never in the turn it was started in.
 */
#ifndef FAKE_WHEEL_H
#define FAKE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEEL_SLOTS 16384

struct wheel_node {
    struct wheel_node *next; /* NULL when stopped */
    struct wheel_node *prev;
    uint64_t due_ms;
};

struct wheel {
    uint64_t now_ms;
    size_t count;
    struct wheel_node slots[WHEEL_SLOTS]; /* list heads */
    uint64_t filled[WHEEL_SLOTS / 64];    /* one bit per slot that has a node */
};

typedef void wheel_fire(void *ctx, struct wheel_node *node);

void wheel_init(struct wheel *wheel, uint64_t now_ms);
void wheel_start(struct wheel *wheel, struct wheel_node *node, uint64_t due_ms);
void wheel_stop(struct wheel *wheel, struct wheel_node *node);

/* Fires what is due at `now_ms`. A callback may start and stop any node. */
void wheel_turn(struct wheel *wheel, uint64_t now_ms, wheel_fire *fire, void *ctx);

/* Milliseconds until a bucket must be looked at; -1 when there is no timer. */
int wheel_wait_ms(const struct wheel *wheel);

#endif
