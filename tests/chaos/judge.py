"""What held and what did not, from outside: what was published, the provider's ledger, the store.

`Evidence` collects it when all is final; each function marked @line makes one line of the table: what,
figure, target, and whether the target was reached (None: a figure without one). Words:

  kept        an answer that the provider had delivered 100 ms or more before its worker was killed,
              with Redis up: it must be found in Redis and never be asked for again
  repeat      a call with the id of an earlier one that the provider had not refused or cut, or for a slot that
              had been answered; each is put down to what had happened to the process that made the call before
  recovery    from the end of a fault (or the eviction of the member) to the first two seconds with 95 %
              of the throughput before it, in answers stored per second by the store's own times

To add a line: a function here.
"""
import bisect
import collections
import json

import msgpack

from fake_client import answer
from fleet import SESSION_TIMEOUT_S, key_hash
from harness import wait_until
from load import BOUND
from watch import read_topic

Line = collections.namedtuple("Line", "what figure target ok")
LINES = []
KEPT_MS = 100
BESIDE_MS = 100  # an answer on its way to a worker that makes a second call just then
WINDOW_MS = 2000
MEMBERS_SETTLE_MS = 10000
REQUESTS_PER_MINUTE = 5000
AMPLIFICATION_MAX = 1.2
RECOVERY_MAX_S = 10
FIRST_CALL_MAX_S = 1
MEMORY_MAX_MB = 300


def line(what, target=""):
    def mark(function):
        LINES.append((what, target, function))
        return function

    return mark


class Evidence:
    def __init__(self, fleet, load, offsets, silences, strikes):
        self.f, self.load, self.samples, self.silences, self.strikes = fleet, load, offsets.samples, silences.found, strikes
        self.accepted = load.accepted()
        self.by_id = {s.id: s for s in self.accepted}
        self.acked_ms = sorted(s.acked_ms for s in self.accepted)
        self.names = {key_hash(p.name): p.name for p in fleet.running}
        self._settle()
        self._read_store()
        self._read_ledger()
        self._read_results()
        self._classify_repeats()

    def _settle(self):
        """Replies and runs of late answers come a moment after the finals."""
        try:
            wait_until(lambda: self.f.sql("SELECT count(*) FROM outbox")[0][0] == 0, 30, "the outbox to be empty", pause=0.3)
        except AssertionError:
            pass
        expected = [s for s in self.accepted if s.kind != "unreadable"]
        try:
            wait_until(lambda: all(self.f.collector.replies(s.tenant, s.id) for s in expected), 10, "replies", pause=0.5)
        except AssertionError:
            pass

    def _read_store(self):
        f = self.f
        rows = f.sql(
            "SELECT id, status, text, session_id, turn, error_code, extract(epoch FROM finished_at) * 1000 FROM requests"
        )
        self.rows = {row[0]: row[1:] for row in rows}
        self.final_of = {row[0]: float(row[6]) for row in rows if row[6] is not None}
        self.done_ms = sorted(float(row[6]) for row in rows if row[1] == "done" and getattr(self.by_id.get(row[0]), "kind", None) not in BOUND)
        self.lost = {row[0] for row in f.sql("SELECT call_id FROM inference_runs WHERE outcome = 'hedged'")}
        self.cut = {row[0] for row in f.sql("SELECT call_id FROM inference_runs WHERE outcome = 'cut'")}
        self.runs = f.sql("SELECT request_id, slot, extract(epoch FROM created_at) * 1000 FROM inference_runs WHERE outcome <> 'ambiguous' AND model <> 'm-trouble'")

    def _read_ledger(self):
        """Calls in the order in which the provider had them; `end` is when the answer was handed over, in wall time."""
        self.ledger = self.f.fake.ledger()
        for call in self.ledger:
            call["tenant"], call["request"], call["slot"], _ = call["call_id"].split("/")
            call["worker"] = self.names.get(call["key_hash"])
            call["paid"] = call["delivered"] and call["status"] == 200
            call["refused"] = call["status"] != 200 if call["delivered"] else call["call_id"] in self.cut
            call["end"] = call["wall_ms"] + call["done_ms"] - call["t_ms"] if call["done_ms"] is not None else float("inf")

    def _read_results(self):
        """When the result of each slot, and each dead letter, was first produced."""
        self.result_ms, self.dead_ms = {}, {}

        def take(message):
            kind = dict(message.headers() or []).get("content-type", b"")
            document = json.loads(message.value()) if b"json" in kind else msgpack.unpackb(message.value())
            if document.get("status") == "calls":
                return  # no part: only calls of a slot that was given up
            place = (document["request_id"], document.get("slot", 0))
            self.result_ms[place] = min(message.timestamp()[1], self.result_ms.get(place, float("inf")))

        def take_dead(message):
            headers = {k: v.decode() for k, v in message.headers() or []}
            place = (int(headers["quern-dead-partition"]), int(headers["quern-dead-offset"]))
            self.dead_ms[place] = min(message.timestamp()[1], self.dead_ms.get(place, float("inf")))

        servers = self.f.settings["QUERN_KAFKA__BOOTSTRAP_SERVERS"]
        read_topic(servers, self.f.topic("results"), take)
        read_topic(servers, self.f.topic("dead"), take_dead)

    # -- times ------------------------------------------------------------------------------------------------------

    def rate(self, from_ms, to_ms):
        """Answers stored per second; refusals do not count."""
        if to_ms <= from_ms:
            return 0.0
        return (bisect.bisect_left(self.done_ms, to_ms) - bisect.bisect_left(self.done_ms, from_ms)) * 1000 / (to_ms - from_ms)

    def accepted_rate(self, from_ms, to_ms):
        """Requests that Kafka acknowledged per second: no fleet can answer more, but for what had piled up."""
        return (bisect.bisect_left(self.acked_ms, to_ms) - bisect.bisect_left(self.acked_ms, from_ms)) * 1000 / (to_ms - from_ms)

    def during(self, flag, from_ms, to_ms, settle_ms=500):
        """Whether a fault with this flag was on at some moment of that time, or had just been; of Redis also a silence that nobody planned."""
        if flag == "redis" and any(began <= to_ms and ended + settle_ms >= from_ms for began, ended in self.silences):
            return True
        return any(flag in k.flags and s.began_ms <= to_ms and s.ended_ms + settle_ms >= from_ms for s in self.strikes for k in s.kinds)

    # -- repeats ------------------------------------------------------------------------------------------------------

    def _classify_repeats(self):
        self.repeats = collections.defaultdict(list)
        slots = collections.defaultdict(list)
        for call in self.ledger:
            earlier = slots[call["request"], call["slot"]]
            cause = self._cause(earlier, call) if earlier and not any(self._is_second(e, call) for e in earlier) else None
            if cause:
                self.repeats[cause].append((earlier[-1], call))
            earlier.append(call)

    def _is_second(self, first, call):
        """It was made beside the first, the one that lost is marked so, and the first was not answered a while before."""
        marked = call["call_id"] in self.lost or first["call_id"] in self.lost
        return marked and first["call_id"] != call["call_id"] and first["worker"] == call["worker"] and call["wall_ms"] <= first["end"] + BESIDE_MS

    def _cause(self, earlier, call):
        """Why this call was made though there had been others for its slot; None: an ordinary retry."""
        same = [e for e in earlier if e["call_id"] == call["call_id"] and not e["refused"]]
        paid = [e for e in earlier if e["paid"] and e["end"] < call["wall_ms"]]
        if not same and not paid:
            return None
        before = (paid or same)[-1]
        cut = self.during("provider", before["wall_ms"], min(before["end"], call["wall_ms"]))
        if cut and before["call_id"] != call["call_id"]:
            return None  # its answer was lost on the way: an ordinary retry
        redis_lost = self.during("redis", min(before["end"], call["wall_ms"]) - 200, call["wall_ms"])
        end = self._end_of(before, call)
        if end and end.how in ("kill", "sleep"):
            kept = end.how == "kill" and before["paid"] and before["end"] <= end.at_ms - KEPT_MS
            if kept and not cut:
                return "redis" if redis_lost else "kept"
            return end.how
        if redis_lost:
            return "redis"
        if end:
            return "term"
        if cut:
            return "http"  # sent again by the HTTP library: the connection had closed without a byte
        return "rebalance" if self.during("members", before["wall_ms"], call["wall_ms"], MEMBERS_SETTLE_MS) else "other"

    def _end_of(self, before, call):
        """What happened to the worker of the earlier call between it and the later one; with a key that all workers have, to any of them."""
        for end in self.f.ends:
            if before["worker"] in (end.program, None) and end.at_ms <= call["wall_ms"]:
                if before["wall_ms"] <= (end.until_ms or end.at_ms + 50):
                    return end
        return None

    def in_flight(self, end):
        """Calls of that worker that it had made and whose answers it had not kept."""
        return sum(
            1 for c in self.ledger if c["worker"] in (end.program, None) and c["wall_ms"] <= end.at_ms and c["end"] > end.at_ms - KEPT_MS
        )

    # -- single faults ------------------------------------------------------------------------------------------------

    def recovery(self, strike):
        """(answers/s before, during, seconds until 95 % of before; None: not before the next fault, "-": not to be told, as
        there was no calm before it, or Kafka accepted hardly anything after it)"""
        over = strike.began_ms + SESSION_TIMEOUT_S * 1000 if "evicts" in strike.kinds[0].flags else strike.ended_ms
        before = min(self.rate(strike.began_ms - 4000, strike.began_ms), self.load.free_rate)
        during = self.rate(strike.began_ms, over)
        if before < 0.8 * self.load.free_rate or self.accepted_rate(over, over + 10000) < 0.5 * before:
            return before, during, "-"
        for tenth in range(0, int(strike.calm_s * 10) - WINDOW_MS // 100):
            at = over + tenth * 100
            if self.rate(at, at + WINDOW_MS) >= 0.95 * before:
                return before, during, tenth / 10
        return before, during, None


# -- lines --------------------------------------------------------------------------------------------------------


def zero(found):
    """A line whose target is that nothing was found: the figure, and the first things found."""
    found = list(found)
    return str(len(found)), not found, found[:5]


@line("requests accepted", ">= %d a minute" % REQUESTS_PER_MINUTE)
def accepted(e):
    minutes = (e.accepted[-1].at_ms - e.accepted[0].at_ms) / 60000
    return "%d in %.1f min, and %d records again" % (len(e.accepted), minutes, sum(len(s.again) for s in e.accepted)), len(
        e.accepted
    ) >= REQUESTS_PER_MINUTE * minutes * 0.99, [e.load.problem] if e.load.problem else []


@line("longest time without an accepted request")
def standstill(e):
    gaps = [(after - before, before) for before, after in zip(e.acked_ms, e.acked_ms[1:])]
    longest, at = max(gaps, default=(0, 0))
    return "%.1f s, %d s after the beginning" % (longest / 1000, (at - e.acked_ms[0]) / 1000), None, []


@line("final")
def final(e):
    by = collections.Counter(row[0] for row in e.rows.values())
    codes = collections.Counter(row[4] for row in e.rows.values() if row[0] != "done")
    return "%s; %s" % (", ".join("%d %s" % (n, s) for s, n in by.most_common()), ", ".join("%s %d" % pair for pair in codes.most_common())), None, []


@line("lost: accepted, and without a final result or a dead letter", "0")
def lost(e):
    def is_lost(s):
        if s.kind == "unreadable":
            return (s.partition, s.offset) not in e.dead_ms
        return e.rows.get(s.id, ("open",))[0] == "open"

    return zero(s.id for s in e.accepted if is_lost(s))


@line("ghosts: results of nobody's request", "0")
def ghosts(e):
    known = {s.id for s in e.load.sent}
    return zero((set(e.rows) | {place[0] for place in e.result_ms} | {r[0] for r in e.runs}) - known)


@line("duplicated: replies that differ, messages stored twice, finals counted twice", "0")
def duplicated(e):
    def breaches():
        for s in e.accepted:
            said = {(r["status"], r.get("text"), tuple(r.get("embeddings") or ()), r.headers.get("ce_id")) for r in e.f.collector.replies(s.tenant, s.id)}
            if len(said) > 1:
                yield "replies to %s: %s" % (s.id, said)
        for row in e.f.sql("SELECT conversation_id, turn, position FROM messages GROUP BY 1, 2, 3 HAVING count(*) > 1"):
            yield "messages %s" % (row,)
        done_turns = sum(1 for row in e.rows.values() if row[0] == "done" and row[2])
        stored = e.f.sql("SELECT count(*) FROM messages")[0][0]
        if stored != 2 * done_turns:
            yield "%d messages of %d answered turns" % (stored, done_turns)
        counted = e.f.sql("SELECT sum(requests) FROM usage_daily")[0][0]
        finals = sum(1 for row in e.rows.values() if row[0] != "open")
        if counted != finals:
            yield "usage_daily counts %s of %d finals" % (counted, finals)

    return zero(breaches())


@line("without a reply", "0")
def unanswered(e):
    return zero(s.id for s in e.accepted if s.kind != "unreadable" and not e.f.collector.replies(s.tenant, s.id))


@line("out of order: turns of a session numbered or called otherwise than produced", "0")
def disordered(e):
    turns, places, newest = collections.Counter(), {}, {}
    found = []
    for s in sorted((s for s in e.accepted if s.session), key=lambda s: (s.partition, s.offset)):
        turns[s.session] += 1
        places[s.id] = turns[s.session]
        if s.id in e.rows and e.rows[s.id][3] != turns[s.session]:
            found.append("%s is turn %s of %s, not %d" % (s.id, e.rows[s.id][3], s.session, turns[s.session]))
    for call in e.ledger:
        s = e.by_id.get(call["request"])
        if s and s.session:
            if newest.get(s.session, 0) > places[s.id]:
                found.append("call %s of %s after a later turn's" % (call["call_id"], s.session))
            newest[s.session] = max(newest.get(s.session, 0), places[s.id])
    return zero(found)


@line("crossed conversations: answers that are not the digest of their own history", "0")
def crossed(e):
    history, found = collections.defaultdict(list), []
    for s in sorted(e.accepted, key=lambda s: (s.partition, s.offset)):
        row = e.rows.get(s.id)
        if not row or row[0] != "done" or s.kind == "embed":
            continue
        said = history[s.session] if s.session else []
        want = answer(said + [("user", s.text)])
        if row[1] != want:
            found.append("%s (%s) is %r, not %r" % (s.id, s.session, row[1], want))
        if s.session:
            history[s.session] = said + [("user", s.text), ("assistant", row[1])]
    return zero(found)


@line("offset committed beyond an unfinished request", "0")
def beyond(e):
    """Each record is finished when all its slots have a result or it is a dead letter; the first sample above it must be later."""
    when = collections.defaultdict(list)
    for s in e.accepted:
        if s.kind == "unreadable":
            done = e.dead_ms.get((s.partition, s.offset), float("inf"))
        else:
            done = max(e.result_ms.get((s.id, slot), float("inf")) for slot in range(max(1, len(s.models))))
            if s.id in e.rows and e.rows[s.id][0] == "done":  # with `first`, the losers have no result
                done = min([done] + [ms for slot in range(16) if (ms := e.result_ms.get((s.id, slot)))])
        for partition, offset in [(s.partition, s.offset), *s.again]:
            when[partition].append((offset, done, s.id))
    found = []
    for partition, records in when.items():
        records.sort()
        at = 0
        for ms, committed in e.samples:
            while at < len(records) and records[at][0] < committed.get(partition, -1):
                if records[at][1] > ms + 5:
                    found.append("%s: partition %d, offset %d, committed %d" % (records[at][2], partition, records[at][0], committed[partition]))
                at += 1
    return zero(found)


@line("committed offset moved back", "0")
def moved_back(e):
    highest, found = {}, []
    for ms, committed in e.samples:
        for partition, offset in committed.items():
            if offset < highest.get(partition, 0):
                found.append("partition %d from %d to %d at %d" % (partition, highest[partition], offset, ms))
            highest[partition] = max(offset, highest.get(partition, 0))
    return zero(found)


def cases(pairs):
    """Repeats for people: the call, when the earlier one was answered, when it was made again, and by whom."""
    return ["%s %s: answered %s ms, again %.0f ms later by %s" % (b["call_id"], b["worker"], round(b["end"] - b["wall_ms"]) if b["end"] != float("inf") else None, c["wall_ms"] - b["wall_ms"], c["worker"]) for b, c in pairs]


@line("calls repeated although answered and kept", "0")
def repeated_kept(e):
    return zero(cases(e.repeats["kept"]))


@line("calls repeated at all after kill -9 and sleep", "<= in flight then")
def repeated_kill(e):
    bound = sum(e.in_flight(end) for end in e.f.ends if end.how in ("kill", "sleep"))
    count = len(e.repeats["kill"]) + len(e.repeats["sleep"])
    return "%d of %d in flight" % (count, bound), count <= bound, []


@line("calls repeated on SIGTERM", "0")
def repeated_term(e):
    return zero(cases(e.repeats["term"]))


@line("calls repeated on rebalance", "0")
def repeated_rebalance(e):
    return zero(cases(e.repeats["rebalance"]))


@line("calls repeated with Redis lost or not reached")
def repeated_redis(e):
    return "%d of %d calls" % (len(e.repeats["redis"]), len(e.ledger)), None, []


@line("calls repeated for no such reason", "0")
def repeated_other(e):
    return zero(cases(e.repeats["other"]))


@line("retry amplification in a full outage", "<= %.1f" % AMPLIFICATION_MAX)
def amplification(e):
    """Attempts by logical calls (slots that were published or tried meanwhile); of refused connections only the store knows.
    A route's first model, which is always down, is left out: judge_layer has it."""
    worst, words = 0, []
    for strike in e.strikes:
        if not strike.single or "outage" not in strike.kinds[0].flags:
            continue
        inside = lambda ms: strike.began_ms <= ms <= strike.ended_ms  # noqa: E731
        calls = [(c["request"], int(c["slot"])) for c in e.ledger if inside(c["wall_ms"]) and c["model"] != "fake-503"]
        if len(calls) < 10:
            calls = [(r[0], r[1]) for r in e.runs if inside(float(r[2]))]
        logical = set(calls) | {(s.id, slot) for s in e.accepted if inside(s.at_ms) for slot in range(max(1, len(s.models)))}
        ratio = len(calls) / max(1, len(logical))
        worst = max(worst, ratio)
        words.append("%s %.2f (%d attempts, %d slots, %d of them tried)" % (strike.kinds[0].name, ratio, len(calls), len(logical), len(set(calls))))
    return ("; ".join(words) or "no outage in this plan"), (worst <= AMPLIFICATION_MAX if words else None), []


@line("recovery: back to 95 % of the throughput before a single fault, worst", "<= %d s" % RECOVERY_MAX_S)
def recovered(e):
    found = [(e.recovery(s)[2], s.kinds[0].name) for s in e.strikes if s.single and e.recovery(s)[2] != "-"]
    never = [name for seconds, name in found if seconds is None]
    if never:
        return "not within the calm after " + ", ".join(never), False, []
    if not found:
        return "no single fault in this plan", None, []
    worst = max(found)
    return "%.1f s (%s)" % worst, worst[0] <= RECOVERY_MAX_S, []


@line("first call of a killed worker's restart, from being up, worst", "<= %d s" % FIRST_CALL_MAX_S)
def first_call(e):
    first = {}
    for call in e.ledger:
        first.setdefault(call["worker"], call["wall_ms"])
    found = []
    for strike in e.strikes:
        if not strike.single or strike.kinds[0].name not in ("worker-killed", "all-workers-killed"):
            continue
        for p in e.f.running:
            if "-worker-" in p.name and strike.began_ms <= p.began_ms <= strike.ended_ms:
                up = p.ready_ms or float("inf")
                # Without a record nobody can call: what counts is the first one accepted since.
                up = next((ms for ms in e.acked_ms if ms >= up), up)
                found.append((max(0.0, (first.get(p.name, float("inf")) - up) / 1000), (first.get(p.name, float("inf")) - p.began_ms) / 1000))
    if not found:
        return "no restart of a killed worker in this plan", None, []
    return "%.2f s (%.2f s from its start)" % (max(found)[0], max(f[1] for f in found)), max(found)[0] <= FIRST_CALL_MAX_S, []


@line("peak memory of a worker, of an aggregator", "<= %d MB" % MEMORY_MAX_MB)
def memory(e):
    peak = [max(p.peak_kb for p in e.f.running if kind in p.name) / 1024 for kind in ("-worker-", "-aggregator-")]
    return "%.0f MB, %.0f MB" % tuple(peak), max(peak) <= MEMORY_MAX_MB, []


@line("failed for another reason than the provider's", "0")
def failed_otherwise(e):
    fine = ("provider_", "all_models_failed", "quorum_not_reached")
    kinds = {s.id: s.kind for s in e.load.sent}
    meant = {("unknown model", "failed"), ("cancelled", "cancelled"), *((kind, "expired") for kind in BOUND)}
    return zero(
        "%s: %s %s" % (id, row[0], row[4])
        for id, row in e.rows.items()
        if row[0] not in ("done", "open") and not str(row[4]).startswith(fine) and (kinds.get(id), row[0]) not in meant
    )


@line("programs that crashed or ended badly", "0")
def crashed(e):
    return zero(e.f.by_themselves + e.complaints)


@line("programs that said why they stop, and were started again")
def stopped(e):
    return "; ".join([str(len(e.f.supervised)), *e.f.supervised]), None, []


def leave_behind(e, folder):
    """What one wants to look at when a line was missed."""

    def write(name, items):
        with open(folder / name, "w", encoding="utf-8") as file:
            for item in items:
                file.write(json.dumps(item, default=str) + "\n")

    write("ledger.jsonl", e.ledger)
    write("repeats.jsonl", ({"cause": cause, "before": b, "again": c} for cause, pairs in e.repeats.items() for b, c in pairs))
    write("strikes.jsonl", ({"kinds": [k.name for k in s.kinds], "began_ms": s.began_ms, "ended_ms": s.ended_ms} for s in e.strikes))
    write("ends.jsonl", (end._asdict() for end in e.f.ends))
    write("sent.jsonl", ([s.id, s.kind, s.session, s.models, s.at_ms, s.acked_ms, s.partition, s.offset, s.again, s.tenant, s.cancelled_ms] for s in e.load.sent))
    write("offsets.jsonl", e.samples)
    write("rows.jsonl", ([id, *row] for id, row in e.rows.items()))


def judge(evidence, complaints):
    evidence.complaints = complaints
    lines = []
    for what, target, function in LINES:
        figure, ok, shown = function(evidence)
        lines.append((Line(what, figure, target, ok), shown))
    return lines


def fault_table(e):
    """One row per strike: its recovery when it was alone, what was repeated and failed in its time."""
    yield "| at | fault | lasted | answers/s before, during, 10 s after | accepted/s then | back to 95 % after | calls repeated | unfinished 10 s later |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    repeats = [c["wall_ms"] for pairs in e.repeats.values() for _, c in pairs]
    for s in e.strikes:
        until = s.ended_ms + s.calm_s * 1000
        before, during, seconds = e.recovery(s)
        back = "-" if not s.single or seconds == "-" else "never" if seconds is None else "%.1f s" % seconds
        open_then = sum(1 for r in e.accepted if r.acked_ms < s.ended_ms and r.id in e.rows and e.final_of.get(r.id, float("inf")) > s.ended_ms + 10000)
        again = sum(1 for ms in repeats if s.began_ms <= ms < until)
        ten = (s.ended_ms, s.ended_ms + 10000)
        yield "| %d s | %s | %.1f s | %.0f, %.0f, %.0f | %.0f | %s | %d | %d |" % (
            (s.began_ms - e.load.began_ms) / 1000, " with ".join(k.name for k in s.kinds), (s.ended_ms - s.began_ms) / 1000,
            before, during, e.rate(*ten), e.accepted_rate(*ten), back, again, open_then,
        )
