/*
 * ledger.h -- every call to a provider is told to the aggregator, also those that no part tells of.
 *
 * A part carries the attempts of its slot. Besides those there are, in front of them, notes: calls
 * that an earlier life of the claim may have made and paid (it died with the slot in hand), and
 * first sends of calls that had to be sent once more on a fresh connection. Their outcome is
 * "ambiguous": no tokens, and nobody but the provider knows.
 *
 * A slot that ends without a part of its own (given up, or answered by somebody else) has its calls
 * told by themselves, as a result with the status "calls". That is tried for a while and nobody
 * waits for it: the offset of the request stays unfinished meanwhile, or its answer is stored.
 * Until Kafka has it the slot's claim is not given back: should we die, whoever takes it over tells
 * that there may have been calls.
 */
#ifndef QUERN_WORKER_LEDGER_H
#define QUERN_WORKER_LEDGER_H

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/contract/contract.h"

struct ledger;
struct slot;
struct worker;

struct ledger *ledger_new(struct worker *worker);
/* Takes NULL; behind the producer's end. Says so when something is lost. */
void ledger_free(struct ledger *ledger);

/* What became of the slot's call that has just ended with `err`: "cut" when it was sent and its
 * answer ended before it was whole, or did not come; "cancelled" when it was we who ended it before
 * its own time was over; "hedged" when that was because another call was faster; "failed" when the
 * provider said no, or nothing was sent. */
struct str ledger_outcome(const struct slot *slot, const struct err *err);

/* Lines "INSTANCE INCARNATION" of lives that ended with the slot's claim, with " hedge" behind it
 * one for the second call of that life; known ones and our own
 * are passed over. The row has the same run id whoever writes it, so it is written once. */
void ledger_note_ended(struct slot *slot, struct str lives);
/* The call that `attempt` is about left twice. */
void ledger_note_resent(struct slot *slot, const struct attempt *attempt);
/* Notes and attempts, in the order of a result; lives in the job's arena. */
struct attempt *ledger_attempts(struct slot *slot, size_t *ret_count);

/* The slot has ended: tells what no part of its own has told. */
void ledger_tell(struct slot *slot);
/* Its result would have no room for more: what it has called so far is told by itself, and it goes
 * on. No call of it is under way. */
void ledger_tell_so_far(struct slot *slot);
/* The worker leaves in the middle of the slot's call, or of its hedge's. */
void ledger_cancel(struct slot *slot);

#endif
