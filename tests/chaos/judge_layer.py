"""More of what must hold: limits, routes, streams, cancels. As judge.py, whose words hold here; its lines come first.

Limits are judged by the calls that arrived at the provider, over any minute. Minutes in which Redis was away or forgot, and those in which calls
were held up on their way for longer than the second that is allowed for that (links that hang or drip, workers that sleep), may have more: a quarter
when Redis goes away, as much as lives that were killed before had spent, and what arrives late. Those are told and held below twice
the limit; in all others not one call more is let through. Both loads want far more than their limits, so a limit that nobody kept would be seen.
"""
import collections

from judge import line, zero

LIMITED, MODEL_LIMIT, NARROW_LIMIT = "gpt-limited", 240, 120
MINUTE_MS = 60000
SLOW = ("provider-hangs", "provider-drips", "worker-sleeps")
HELD_MS = 10000
CALM_BEFORE_MS, CALM_AFTER_MS, HEED_MS = 10000, 3000, 800
CHUNKS_LIVE_MS = 500000


def minutes(times):
    """For each call: how many there were in the minute that ends with it."""
    window = collections.deque()
    for t in sorted(times):
        window.append(t)
        while window[0] <= t - MINUTE_MS:
            window.popleft()
        yield t, len(window)


def keeps(e, times, limit):
    def clear(t):
        return not e.during("redis", t - MINUTE_MS - HELD_MS, t) and not any(
            s.began_ms <= t and s.ended_ms >= t - MINUTE_MS - HELD_MS for s in e.strikes for k in s.kinds if k.name in SLOW
        )

    most = {True: 0, False: 0}
    for t, count in minutes(times):
        most[clear(t)] = max(count, most[clear(t)])
    return "%d calls, at most %d of %d; %d in a minute that was disturbed" % (len(times), most[True], limit, most[False]), most[True] <= limit and most[
        False
    ] <= 2 * limit, []


@line("calls to the model with a limit in any minute", "<= the limit")
def model_limit(e):
    return keeps(e, [c["wall_ms"] for c in e.ledger if c["model"] == LIMITED], MODEL_LIMIT)


@line("calls of the tenant with a limit in any minute", "<= the limit")
def tenant_limit(e):
    return keeps(e, [c["wall_ms"] for c in e.ledger if c["tenant"] == "narrow"], NARROW_LIMIT)


@line("requests behind a limit: answered, expired")
def behind_limits(e):
    words = []
    for kind in ("limited", "narrow"):
        ends = collections.Counter(e.rows[s.id][0] for s in e.accepted if s.kind == kind and s.id in e.rows)
        words.append("%s %d, %d" % (kind, ends["done"], ends["expired"]))
    return "; ".join(words), None, []


@line("calls to a route's model that is always down, by requests of the route", "<= 0.9")
def always_down(e):
    requests = sum(1 for s in e.accepted if s.kind == "route")
    calls = sum(1 for c in e.ledger if c["model"] == "fake-503")
    if not requests:
        return "no route in this load", None, []
    return "%.2f (%d calls, %d requests)" % (calls / requests, calls, requests), calls <= 0.9 * requests, []


@line("requests of the route that were not answered by its other model", "0")
def route_answers(e):
    """A deadline, an outage of all attempts: those fail for the provider's reason, and a route may end so, too."""
    return zero(
        "%s: %s %s" % (s.id, e.rows[s.id][0], e.rows[s.id][4])
        for s in e.accepted
        if s.kind == "route" and s.id in e.rows and e.rows[s.id][0] != "done" and not e.during("provider", s.acked_ms, e.final_of.get(s.id, s.acked_ms))
    )


@line("cancels taken in a calm moment and not heeded", "0")
def cancels(e):
    """The model takes 1.5 s; what was answered a moment after the cancel may have been on its way."""

    def calm(ms):
        return not any(s.began_ms - CALM_AFTER_MS <= ms <= s.ended_ms + CALM_BEFORE_MS for s in e.strikes)

    found = [s for s in e.accepted if s.cancelled_ms and s.id in e.rows]
    ends = collections.Counter(e.rows[s.id][0] for s in found)
    late = [
        "%s: cancelled at %d, %s at %d" % (s.id, s.cancelled_ms, e.rows[s.id][0], e.final_of[s.id])
        for s in found
        if calm(s.cancelled_ms) and e.rows[s.id][0] != "cancelled" and e.final_of.get(s.id, 0) > s.cancelled_ms + HEED_MS
    ]
    return "%d of %d: %s" % (len(late), len(found), ", ".join("%d %s" % (n, how) for how, n in ends.most_common())), not late, late[:5]


def read_pieces(entries):
    """The text that a reader has in the end, by docs/streaming.md; None when pieces are missing."""
    run, text, next_ = b"", "", 1
    for fields in entries:
        if fields[b"run"] < run:
            continue
        if fields[b"run"] > run:
            run, text, next_ = fields[b"run"], "", 1
        next_ = next_ and next_ + 1 if int(fields[b"n"]) == next_ else 0
        if b"end" in fields:
            return text if fields[b"end"] == b"ok" and next_ else None
        text += fields[b"text"].decode()
    return None


def collect_pieces(fleet, load):
    """Of requests whose keys Redis still has; asked before the programs end."""
    newest = max((s.at_ms for s in load.sent), default=0)
    found = {}
    for s in load.accepted():
        if s.kind == "stream" and s.at_ms > newest - CHUNKS_LIVE_MS:
            entries = fleet.redis.xrange("%s:chunks:{%s:%s}" % (fleet.prefix, s.tenant, s.id))
            found[s.id] = [fields for _, fields in entries]
    return found


@line("streams whose pieces are another text than the answer", "0")
def streams(e):
    whole = {id: text for id, entries in e.pieces.items() if (text := read_pieces(entries)) is not None}
    wrong = ["%s: %r, not %r" % (id, text, e.rows[id][1]) for id, text in whole.items() if id in e.rows and e.rows[id][0] == "done" and e.rows[id][1] != text]
    return "%d of %d read whole, %d in all" % (len(wrong), len(whole), len(e.pieces)), not wrong, wrong[:5]
