/*
 * told.h -- what a limit tells the client: headers on every answer, and how long to wait on a
 * refusal.
 */
#ifndef FAKE_TOLD_H
#define FAKE_TOLD_H

#include "tests/fake/ledger.h"
#include "tests/fake/limit.h"
#include "tests/fake/vendor.h"

/* Header lines, each beginning with its CRLF. Nothing when no rule fits or the rule is silent. */
void told_headers(enum vendor vendor, const struct limit_verdict *verdict, struct moment now,
                  struct buf *out);

#endif
