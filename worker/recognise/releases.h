/*
 * releases.h -- claims that are given back, and stay so.
 *
 * A claim of a live worker is waited for until the request's deadline, so a release that got lost
 * with its connection would hold up whoever has the request now. It is said again with each renewal
 * of the `alive` key, until Redis has answered, the claim is taken again, or it has lapsed by
 * itself.
 *
 * A claim also tells, should we die, that calls may have been made under it. So it is held back
 * until the calls of a slot that was given up are told to the ledger.
 */
#ifndef QUERN_WORKER_RECOGNISE_RELEASES_H
#define QUERN_WORKER_RECOGNISE_RELEASES_H

#include "worker/worker.h"

/* Unanswered at once; further ones are said once only. */
#define RELEASES_MAX 16384

struct releases;

struct releases *releases_new(struct worker *worker, struct str incarnation); /* kept: a pointer */
void releases_free(struct releases *releases);                                /* takes NULL */

/* The key is copied. After lapses_ms (loop time) nobody needs it any more. */
void releases_give(struct releases *releases, struct str claim_key, int64_t lapses_ms);
/* Until it is let go as often as it was held, it is not said that the claim is given back. False:
 * there is no room to remember that, and nothing is held. The key is copied. */
bool releases_hold(struct releases *releases, struct str claim_key);
void releases_let(struct releases *releases, struct str claim_key);
/* The worker leaves: what is held is said now. */
void releases_let_all(struct releases *releases);
/* The claim is being taken again: what is still unsaid must not be said. */
void releases_forget(struct releases *releases, struct str claim_key);
/* Redis answers: what got lost is said again. */
void releases_repeat(struct releases *releases);

#endif
