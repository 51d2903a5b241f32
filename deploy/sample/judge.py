#!/usr/bin/env python3
"""Holds what became of the quickstart's requests against what was sent, and says which of it should not be.

    judge.py --sample FILE --output FILE --stored FILE [--expected FILE] [--dead FILE --since TIME --raw FILE..]

Four witnesses: the sample (one request a line), the output of `quern batch run` (one line per request: its reply, or
why it was refused before it was published), the table of requests of this run in PostgreSQL (one JSON object a line:
id, status, error), and the dead letters (`quern dead list -o json`). What was published is accepted; the store must
have exactly one final row for each of these, the reply must say what that row says, and what failed, and why, must be
the list in --expected ('ID REASON' a line; without it nothing may fail). Records that nobody can read have no id and
no row: each --raw file must have left a dead letter without an id since that time, with the reason that the list has
for its name.

Prints some answers and a line of sums; every problem goes to stderr. Exit code 1 when there is one.
"""

import argparse
import collections
import json
import os
import sys

ANSWERS_SHOWN = 8
PROBLEMS_SHOWN = 20
SENTENCE_SHOWN = 100
FINAL = ("done", "failed", "expired", "cancelled")

Outcome = collections.namedtuple("Outcome", "id error text refused")


def lines_of(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def name_of(request):
    """What the sample calls a request, in either form of a line."""
    return request.get("custom_id") or request.get("id", "")


def outcome_of(line, names):
    """One line of the output: a reply, an answer in OpenAI's form, or a refusal, which has the number of its line. The
    text of a failure is its sentence."""
    if line.get("line"):
        return Outcome(names[line["line"] - 1], line["error"]["code"], line["error"]["message"], True)
    if "custom_id" in line:
        if line.get("error"):
            return Outcome(line["custom_id"], line["error"]["code"], line["error"]["message"], False)
        return Outcome(line["custom_id"], None, line["response"]["body"]["choices"][0]["message"]["content"], False)
    if line.get("status") == "done":
        return Outcome(line["request_id"], None, line.get("text", ""), False)
    return Outcome(line["request_id"], line["error"]["code"], line["error"].get("message", ""), False)


def dead_letters(path, since):
    """Those without an id, of this run."""
    with open(path, encoding="utf-8") as file:
        return [letter for letter in json.load(file) if not letter["id"] and letter["time"] >= since]


def stored_name(row, names):
    """A line without an id of its own is stored as 'BATCH:CUSTOM_ID'."""
    return row["id"] if row["id"] in names else row["id"].split(":", 1)[-1]


def read_expected(path):
    """{name: reason}"""
    if not path:
        return {}
    with open(path, encoding="utf-8") as file:
        return dict(line.split() for line in file if line.strip() and not line.startswith("#"))


def more_than_once(names):
    return [(name, n) for name, n in collections.Counter(names).items() if n > 1]


def judge_store(accepted, rows):
    """What is wrong with the rows, when exactly one final one is wanted for each accepted request."""
    final = [name for name, row in rows if row["status"] in FINAL]
    yield from ("%s was accepted and has no final result" % name for name in accepted if name not in final)
    yield from ("%s has %d final results" % pair for pair in more_than_once(final))
    yield from ("%s is stored and was not accepted" % name for name, _ in rows if name not in accepted)
    yield from ("%s is still %s" % (name, row["status"]) for name, row in rows if row["status"] not in FINAL)


def judge_replies(names, outcomes, rows):
    """Each line has one outcome, and it is the stored one."""
    said = {outcome.id: outcome for outcome in outcomes}
    yield from ("%s has no line in the output" % name for name in names if name not in said)
    yield from ("%s has %d lines in the output" % pair for pair in more_than_once(o.id for o in outcomes))
    yield from ("%s is in the output and was not asked" % name for name in said if name not in names)
    for name, row in rows:
        if name in said and said[name].error != row["error"]:
            yield "%s: the reply says '%s', the store '%s'" % (name, said[name].error or "done", row["error"] or "done")


def judge_failures(failed, expected):
    yield from ("%s failed with %s" % pair for pair in failed.items() if pair[0] not in expected)
    for name, reason in expected.items():
        if name not in failed:
            yield "%s should have failed with %s" % (name, reason)
        elif failed[name] != reason:
            yield "%s failed with %s, not with %s" % (name, failed[name], reason)


def judge_raw(raw, dead, expected):
    """Records without an id: their reasons are all that can be compared."""
    want = collections.Counter(expected.get(name, "nothing, as the list does not have it") for name in raw)
    have = collections.Counter(letter["code"] for letter in dead)
    for code in sorted(want | have):
        if want[code] != have[code]:
            yield "unreadable records: %d dead letters with %s, not %d" % (have[code], code, want[code])


def judge(names, outcomes, stored, expected, raw=(), dead=()):
    """(every problem as a sentence, names of the accepted, {name: error} of all that failed)"""
    accepted = [name for name in names if name not in {o.id for o in outcomes if o.refused}]
    rows = [(stored_name(row, names), row) for row in stored]
    failed = {o.id: o.error for o in outcomes if o.refused}
    failed.update((name, row["error"]) for name, row in rows if row["status"] in FINAL and row["status"] != "done")
    unreadable = {name: reason for name, reason in expected.items() if name in raw}
    of_lines = {name: reason for name, reason in expected.items() if name not in raw}
    problems = [
        *("%s stands in the sample %d times" % pair for pair in more_than_once(names)),
        *judge_store(accepted, rows),
        *judge_replies(names, outcomes, rows),
        *judge_failures(failed, of_lines),
        *judge_raw(raw, dead, unreadable),
    ]
    return problems, accepted, failed


def show_answers(outcomes):
    print("\nsome of the answers:")
    answered = sorted((o for o in outcomes if not o.error), key=lambda o: o.id)
    for o in answered[:: max(1, -(-len(answered) // ANSWERS_SHOWN))]:
        print("  %-28s %s" % (o.id, " ".join(o.text.split())[:80]))


def show_failures(failed, outcomes, dead):
    print("\nwhat failed, and why:")
    sentences = {o.id: o.text for o in outcomes}
    whys = [(name, error, sentences.get(name, "")) for name, error in sorted(failed.items())]
    whys += [("(unreadable record)", letter["code"], letter["reason"]) for letter in dead]
    for name, error, sentence in whys:
        print("  %-28s %s: %s" % (name, error, sentence[:SENTENCE_SHOWN]))
    if not failed and not dead:
        print("  nothing")


def read_words(words):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for word in ("sample", "output", "stored"):
        parser.add_argument("--" + word, required=True)
    parser.add_argument("--dead")
    parser.add_argument("--since", default="", help="dead letters that are older (UTC, ISO 8601) are not of this run")
    parser.add_argument("--raw", nargs="*", default=[])
    parser.add_argument("--expected")
    return parser.parse_args(words)


def main(words):
    options = read_words(words)
    names = [name_of(request) for request in lines_of(options.sample)]
    outcomes = [outcome_of(line, names) for line in lines_of(options.output)]
    stored = lines_of(options.stored)
    raw = [os.path.basename(path) for path in options.raw]
    dead = dead_letters(options.dead, options.since) if options.dead else []
    expected = read_expected(options.expected)
    problems, accepted, failed = judge(names, outcomes, stored, expected, raw, dead)
    show_answers(outcomes)
    show_failures(failed, outcomes, dead)
    final = sum(row["status"] in FINAL for row in stored)
    print(
        "\n%d requests and %d unreadable records: %d refused before publishing, %d accepted, %d final results stored; "
        "%d failed, %d meant to fail"
        % (len(names), len(raw), len(names) - len(accepted), len(accepted), final,
           len(failed) + len(dead), len(expected))
    )
    for problem in problems[:PROBLEMS_SHOWN]:
        print("judge: " + problem, file=sys.stderr)
    if len(problems) > PROBLEMS_SHOWN:
        print("judge: and %d more" % (len(problems) - PROBLEMS_SHOWN), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
