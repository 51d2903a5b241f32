"""More of what must hold: second calls beside slow ones, and texts that become vectors. As judge.py, whose words hold here.

A second call is one of a worker for a slot of which it has another call under way. One in a hundred calls takes two seconds, and the models of
these requests have `hedge: p95` with a floor below the usual latency's 95th percentile, so there are second calls all the time. A run in which none
was made, or no text became a vector, has shown nothing of them, and misses.
"""
import base64
import collections
import struct

import fake_client
from judge import line, zero

HEDGED, VECTORS, PERCENT = "gpt-hedged", "emb", 5
HEARD_MS = 50  # until Redis knows of a second call
# Until a row is told: as long as Kafka may take for it.
TOLD_MS, TOLD_LATE_MS = 3000, 45000
UNSEEN = 2  # first calls of a worker that never reached the provider had their share, too


def vector(text, count=8):
    """What the fake provider makes of a text, as it is stored."""
    return base64.b64encode(struct.pack("<%df" % count, *fake_client.vector(text, count))).decode()


def collect(e):
    """What the store has of both."""
    e.told, e.ambiguous, e.vectors = set(), collections.Counter(), collections.defaultdict(list)
    for call_id, request, slot, outcome in e.f.sql("SELECT call_id, request_id, slot, outcome FROM inference_runs WHERE model IN ('m-hedged', 'm-vectors')"):
        e.told.add(call_id)
        if outcome == "ambiguous" and not call_id:
            e.ambiguous[request, str(slot)] += 1
    for request, vectors in e.f.sql("SELECT request_id, vectors FROM request_embeddings"):
        e.vectors[request].append(vectors)


def pairs(e):
    """First and second calls."""
    slots, found = collections.defaultdict(list), []
    for call in e.ledger:
        if call["model"] not in (HEDGED, VECTORS):
            continue
        earlier = slots[call["request"], call["slot"]]
        for first in earlier:
            at_once = first["worker"] == call["worker"] and first["call_id"] != call["call_id"] and first["end"] > call["wall_ms"]
            if at_once or e._is_second(first, call):
                found.append((first, call))
                break
        earlier.append(call)
    return found


@line("second calls beside slow ones", "> 0")
def seconds(e):
    found = pairs(e)
    won = sum(1 for first, _ in found if first["call_id"] in e.lost)
    asked = sum(1 for c in e.ledger if c["model"] in (HEDGED, VECTORS))
    vectors = sum(1 for _, c in found if c["model"] == VECTORS)
    return "%d of %d calls, %d of them for vectors; %d were faster than the first" % (len(found), asked, vectors, won), bool(won), []


@line("second calls beyond a worker's share of %d to 100" % PERCENT, "0")
def share(e):
    second = {id(c) for _, c in pairs(e)}
    counts = collections.defaultdict(lambda: [0, 0])
    for c in e.ledger:
        if c["model"] in (HEDGED, VECTORS):
            counts[c["worker"], c["model"]][id(c) in second] += 1
    return zero(
        "%s made %d second calls to %s and %d first ones" % (worker, many, model, few)
        for (worker, model), (few, many) in counts.items()
        if many > few * PERCENT / 100 + UNSEEN
    )


def was_killed(e, call, from_ms, to_ms):
    return any(end.how == "kill" and end.program == call["worker"] and from_ms <= end.at_ms <= to_ms for end in e.f.ends)


def died_before_telling(e, first, second):
    """Its worker was killed before the rows of both can have been in the store."""
    told = max(c["end"] if c["end"] != float("inf") else c["wall_ms"] for c in (first, second))
    kafka = any("kafka" in k.name or "swizzle" in k.name for s in e.strikes if s.began_ms <= told + TOLD_MS and s.ended_ms >= first["wall_ms"] for k in s.kinds)
    return was_killed(e, second, second["wall_ms"], told + (TOLD_LATE_MS if kafka else TOLD_MS))


@line("pairs of calls of which one is no row", "0")
def rows(e):
    """Who dies with both under way cannot tell of them: whoever takes over does, in rows without a call id."""
    found, died, twice = [], 0, 0
    for first, second in pairs(e):
        if died_before_telling(e, first, second):
            under_way = was_killed(e, second, second["wall_ms"] + HEARD_MS, min(first["end"], second["end"]))
            died += under_way
            twice += under_way and e.ambiguous[second["request"], second["slot"]] >= 2
        else:
            found += ["%s of %s" % (c["call_id"], c["worker"]) for c in (first, second) if c["call_id"] not in e.told]
    return "%d; %d workers died with both under way, %d of them are told of twice" % (len(found), died, twice), not found, found[:5]


@line("texts whose vectors are not stored once, or are others", "0, of > 0")
def vectors(e):
    texts, found = 0, []
    for s in e.accepted:
        if s.kind != "embed":
            continue
        done = e.rows.get(s.id, ("open",))[0] == "done"
        want = [[vector(text) for text in s.texts]] if done else []
        replies = [r.get("embeddings") for r in e.f.collector.replies(s.tenant, s.id) if r["status"] == "done"]
        texts += len(s.texts) if done else 0
        if e.vectors[s.id] != want or any([reply] != want for reply in replies):
            found.append("%s: %s, replies %s" % (s.id, e.vectors[s.id], replies))
    return "%d requests, of %d texts that were answered" % (len(found), texts), not found and texts > 0, found[:5]
