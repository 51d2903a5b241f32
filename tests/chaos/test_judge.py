"""Shows that every line of the judge's table can miss its target, and that a clean run misses none.

Evidence of a small run is made by hand: a conversation of two turns, a request to two models, one that
cannot be read; a worker that was killed and one that drained. Each case plants one breach.
"""
import collections
import sys

import judge
import judge_layer
import judge_twice
from fake_client import answer
from faults import KINDS
from fleet import End

MS = 1000.0


class Reply(dict):
    headers = {"ce_id": "1"}


class Sent:
    def __init__(self, id, kind, session, models, offset):
        self.id, self.kind, self.session, self.models, self.tenant = id, kind, session, models, "t"
        self.cancelled_ms, self.texts = None, []
        self.text, self.partition, self.offset = "text of " + id, 0, offset
        self.again, self.at_ms = [], offset * 10.0
        self.acked_ms = self.at_ms + 5


class Program:
    def __init__(self, name, began_ms):
        self.name, self.began_ms, self.ready_ms, self.peak_kb = name, began_ms, began_ms + 50, 20000


class Strike:
    def __init__(self, name, began_ms, ended_ms, calm_s=14):
        self.kinds, self.single = (KINDS[name],), True
        self.began_ms, self.ended_ms, self.calm_s = began_ms, ended_ms, calm_s


class World:
    """What the judge asks of the fleet, with answers that a case may change."""

    def __init__(self):
        self.tenant, self.ends, self.supervised, self.by_themselves = "t", [], [], []
        self.running = [Program("q-worker-1", 0), Program("q-worker-2", 20 * MS + 10), Program("q-aggregator-1", 0)]
        self.answers = {"HAVING": [], "FROM messages": [(4,)], "usage_daily": [(3,)]}
        self.said = {id: [Reply(status="done", text=id)] for id in ("a", "b", "c")}
        self.collector = self

    def replies(self, tenant, id):
        return self.said.get(id, [])

    def sql(self, text, *params):
        return next(answer for words, answer in self.answers.items() if words in text)


class Load:
    def __init__(self, sent):
        self.sent, self.rate, self.free_rate, self.problem = sent, 100, 100, None


def call(request, slot, ms, worker, attempt=1, paid=True):
    """A call that took 100 ms."""
    return {
        "request": request, "slot": str(slot), "call_id": "t/%s/%d/%d" % (request, slot, attempt), "worker": worker,
        "wall_ms": ms, "end": ms + 100 if paid else float("inf"), "paid": paid, "refused": False, "tenant": "t", "model": "gpt-a",
    }


def clean():
    """Evidence of a run in which everything held; then Evidence._classify_repeats is to be called."""
    e = judge.Evidence.__new__(judge.Evidence)
    sent = [Sent("a", "turn", "s", ("m",), 0), Sent("b", "turn", "s", ("m",), 1), Sent("c", "several", None, ("m", "n"), 2), Sent("d", "unreadable", None, (), 3)]
    e.acked_ms = [10.0 * i for i in range(10000)]
    e.f, e.load, e.accepted, e.by_id = World(), Load(list(sent)), sent, {s.id: s for s in sent}
    first = answer([("user", "text of a")])
    texts = {"a": first, "b": answer([("user", "text of a"), ("assistant", first), ("user", "text of b")]), "c": answer([("user", "text of c")])}
    turns = {"a": ("s", 1), "b": ("s", 2), "c": (None, None)}
    e.rows = {id: ("done", text, *turns[id], None) for id, text in texts.items()}
    e.final_of = {"a": 1000.0, "b": 2000.0, "c": 3000.0}
    e.done_ms = [10.0 * i for i in range(10000)]  # a hundred a second for a hundred seconds
    e.runs = [("a", 0, 100.0), ("b", 0, 1100.0), ("c", 0, 2100.0), ("c", 1, 2100.0)]
    e.ledger = [call("a", 0, 100.0, "q-worker-1"), call("b", 0, 1100.0, "q-worker-1"), call("c", 0, 2100.0, "q-worker-1"), call("c", 1, 2100.0, "q-worker-1")]
    e.result_ms = {("a", 0): 300, ("b", 0): 1300, ("c", 0): 2300, ("c", 1): 2300}
    e.dead_ms = {(0, 3): 400}
    e.samples = [(500.0, {0: 1}), (1500.0, {0: 2}), (5000.0, {0: 4})]
    e.strikes = [Strike("worker-killed", 20 * MS, 20 * MS + 100), Strike("provider-500", 40 * MS, 50 * MS)]
    e.f.ends = [End("q-worker-1", "kill", 20 * MS, None)]
    e.ledger.append(call("x", 0, 20 * MS + 200, "q-worker-2", paid=False))
    e.by_id["x"] = Sent("x", "one", None, ("m",), 9)
    e.load.sent.append(e.by_id["x"])
    e.silences = []
    add_layer(e)
    add_twice(e)
    return e


def one_more(e, id, kind, status, tenant="t", model="gpt-a", ms=70 * MS):
    """A request that nobody else looks at, with its call."""
    sent = Sent(id, kind, None, ("m",), 0)
    sent.tenant, sent.acked_ms = tenant, ms
    sent.partition = 9  # of no sample
    e.load.sent.append(sent)
    e.accepted.append(sent)
    e.by_id[id] = sent
    e.rows[id] = (status, answer([("user", sent.text)]) if status == "done" else None, None, None, None if status == "done" else status)
    e.final_of[id] = ms + 400
    e.result_ms[id, 0] = ms + 300
    e.f.said[id] = [Reply(status=status, text=id)]
    e.f.answers["usage_daily"] = [(e.f.answers["usage_daily"][0][0] + 1,)]
    e.ledger.append({**call(id, 0, ms, "q-worker-2"), "tenant": tenant, "model": model})
    return sent


def add_layer(e):
    one_more(e, "route", "route", "done")
    e.ledger.append({**call("route", 0, 70 * MS - 50, "q-worker-2", attempt=9, paid=False), "model": "fake-503"})
    e.accepted[-1].kind = "route"
    one_more(e, "route2", "route", "done", ms=70.5 * MS)
    one_more(e, "stream", "stream", "done", ms=71 * MS)
    whole = pieces(e.rows["stream"][1])
    e.pieces = {"stream": whole, "route": [row for row in whole if b"end" in row]}  # of the other one Redis lost all but the end
    one_more(e, "cancelled", "cancelled", "cancelled", ms=72 * MS).cancelled_ms = 72.3 * MS


def add_twice(e):
    """A slow call, and a second one that was faster; two texts."""
    one_more(e, "twice", "hedged", "done", model=judge_twice.HEDGED, ms=74 * MS)
    e.ledger[-1].update(end=74 * MS + 300, paid=False)
    e.ledger.append({**call("twice", 0, 74 * MS + 200, "q-worker-2", attempt=2), "model": judge_twice.HEDGED})
    sent = one_more(e, "texts", "embed", "done", model=judge_twice.VECTORS, ms=75 * MS)
    sent.texts = ["a", "b"]
    e.lost = {"t/twice/0/1"}
    e.told = {"t/twice/0/1", "t/twice/0/2", "t/texts/0/1"}
    e.ambiguous = collections.Counter()
    e.vectors = collections.defaultdict(list, texts=[[judge_twice.vector("a"), judge_twice.vector("b")]])
    e.f.said["texts"] = [Reply(status="done", embeddings=e.vectors["texts"][0])]


def pieces(text, run=b"r1"):
    half = len(text) // 2
    rows = [{b"run": run, b"n": b"1", b"text": text[:half].encode()}, {b"run": run, b"n": b"2", b"text": text[half:].encode()}, {b"run": run, b"n": b"3", b"end": b"ok"}]
    return [{b"run": b"r0", b"n": b"1", b"text": b"lost"}, *rows, {b"run": b"r0", b"n": b"2", b"text": b"late"}]


CASES = []


def breach(words, figure=None):
    """The planted breach must be seen by the line whose name contains these words."""

    def mark(plant):
        CASES.append((words, plant))
        return plant

    return mark


@breach("lost")
def a_request_without_a_row(e):
    del e.rows["c"]
    e.f.answers["usage_daily"] = [(2,)]


@breach("lost")
def a_request_that_stays_open(e):
    e.rows["c"] = ("open", None, None, None, None)
    e.f.answers["usage_daily"] = [(2,)]


@breach("lost")
def a_record_without_a_dead_letter(e):
    e.samples = []
    del e.dead_ms[0, 3]


@breach("ghosts")
def a_row_of_nobody(e):
    e.runs.append(("nobody", 0, 100.0))


@breach("duplicated")
def two_replies_that_differ(e):
    e.f.said["a"].append(Reply(status="done", text="other"))


@breach("duplicated")
def a_turn_stored_twice(e):
    e.f.answers["FROM messages"] = [(6,)]


@breach("duplicated")
def a_final_counted_twice(e):
    e.f.answers["usage_daily"] = [(4,)]


@breach("without a reply")
def no_reply(e):
    e.f.said["b"] = []


@breach("out of order")
def turns_numbered_otherwise(e):
    e.rows["a"], e.rows["b"] = (*e.rows["a"][:3], 2, None), (*e.rows["b"][:3], 1, None)


@breach("out of order")
def a_later_turn_called_first(e):
    e.ledger[0], e.ledger[1] = e.ledger[1], e.ledger[0]


@breach("crossed")
def an_answer_to_somebody_else(e):
    e.rows["b"] = ("done", answer([("user", "text of b")]), "s", 2, None)


@breach("beyond")
def a_commit_before_the_result(e):
    e.samples[0] = (299.0 - 6, {0: 1})


@breach("beyond")
def a_commit_without_one_of_the_results(e):
    e.rows["c"] = ("failed", None, None, None, "provider_down")
    del e.result_ms["c", 1]


@breach("beyond")
def a_commit_before_the_dead_letter(e):
    e.dead_ms[0, 3] = 6000


@breach("moved back")
def an_offset_that_moves_back(e):
    e.samples.append((6000.0, {0: 3}))


@breach("answered and kept")
def a_kept_answer_asked_for_again(e):
    e.ledger.append(call("y", 0, 20 * MS - 300, "q-worker-1"))
    e.ledger.append(call("y", 0, 20 * MS + 500, "q-worker-2"))


@breach("answered and kept")
def a_kept_answer_asked_for_again_under_another_number(e):
    e.ledger.append(call("y", 0, 20 * MS - 300, "q-worker-1"))
    e.ledger.append(call("y", 0, 20 * MS + 500, "q-worker-2", attempt=2))


@breach("repeated at all")
def more_repeats_than_calls_in_flight(e):
    e.f.ends = [End("q-worker-1", "sleep", 20 * MS, 30 * MS)]
    e.ledger.append(call("y", 0, 19 * MS, "q-worker-1"))
    e.ledger.append(call("y", 0, 28 * MS, "q-worker-2"))


@breach("on SIGTERM")
def a_call_repeated_after_a_drain(e):
    e.f.ends = [End("q-worker-1", "term", 20 * MS, None)]
    e.ledger.append(call("y", 0, 20 * MS - 50, "q-worker-1", paid=False))
    e.ledger.append(call("y", 0, 20 * MS + 500, "q-worker-2"))


@breach("on rebalance")
def a_call_repeated_when_a_member_came(e):
    e.f.ends = []
    e.ledger.append(call("y", 0, 20 * MS - 50, "q-worker-1", paid=False))
    e.ledger.append(call("y", 0, 20 * MS + 500, "q-worker-2"))


@breach("for no such reason")
def a_call_repeated_in_the_calm(e):
    e.ledger.append(call("y", 0, 36 * MS, "q-worker-2"))
    e.ledger.append(call("y", 0, 37 * MS, "q-worker-2"))


@breach("amplification")
def many_attempts_in_an_outage(e):
    for attempt in range(12):
        e.ledger.append(call("y", 0, 41 * MS + attempt * 100, "q-worker-1", attempt=attempt + 1, paid=False))


@breach("recovery")
def a_throughput_that_stays_low(e):
    e.done_ms = [t for t in e.done_ms if t < 50 * MS or t % 20 == 0]


@breach("recovery")
def a_throughput_that_comes_back_late(e):
    e.done_ms = [t for t in e.done_ms if t < 40 * MS or t > 61 * MS]


@breach("first call")
def a_restart_that_calls_late(e):
    e.ledger[4]["wall_ms"] = 22 * MS


@breach("peak memory")
def a_worker_that_grows(e):
    e.f.running[0].peak_kb = 400 * 1024


@breach("another reason")
def a_request_that_expires(e):
    e.rows["c"] = ("expired", None, None, None, "expired")


@breach("crashed")
def a_program_that_crashes(e):
    e.f.by_themselves.append("q-worker-1 ended by itself with code -11")


@breach("requests accepted")
def a_load_that_is_too_small(e):
    e.accepted[-2].at_ms = 60 * MS
    e.accepted[-1].at_ms = 61 * MS


@breach("model with a limit")
def a_limit_that_one_minute_exceeds(e):
    for i in range(301):
        e.ledger.append({**call("l%d" % i, 0, 70 * MS + i * 190, "q-worker-2"), "model": judge_layer.LIMITED})


@breach("tenant with a limit")
def a_tenant_that_one_minute_exceeds(e):
    for i in range(151):
        e.ledger.append({**call("n%d" % i, 0, 70 * MS + i * 390, "q-worker-2"), "tenant": "narrow"})


@breach("always down")
def a_model_that_is_down_and_asked_by_everybody(e):
    e.ledger.append({**call("route2", 0, 70.4 * MS, "q-worker-2", attempt=9, paid=False), "model": "fake-503"})


@breach("other model")
def a_route_without_an_answer(e):
    e.rows["route"] = ("failed", None, None, None, "provider_down")


@breach("not heeded")
def a_cancel_that_nobody_heard(e):
    one_more(e, "deaf", "cancelled", "done", ms=73 * MS).cancelled_ms = 73.3 * MS
    e.final_of["deaf"] = 74.6 * MS


@breach("pieces")
def a_stream_that_says_something_else(e):
    e.pieces["stream"] = pieces("something else")


@breach("beside slow ones")
def no_second_call(e):
    e.ledger = [c for c in e.ledger if c["call_id"] != "t/twice/0/2"]


@breach("beside slow ones")
def second_calls_in_vain(e):
    e.lost = {"t/twice/0/2"}


@breach("worker's share")
def second_calls_without_end(e):
    for i in range(5):
        for attempt in (1, 2):
            e.ledger.append({**call("h%d" % i, 0, 76 * MS + i * 500 + attempt * 20, "q-worker-2", attempt=attempt), "model": judge_twice.HEDGED})


@breach("no row")
def a_second_call_that_nobody_told_of(e):
    e.told.remove("t/twice/0/2")


@breach("for no such reason")
def a_second_call_that_is_not_marked(e):
    e.lost = set()
    e.ledger.append({**call("twice", 0, 74 * MS + 700, "q-worker-2", attempt=3), "model": judge_twice.HEDGED})


@breach("vectors")
def vectors_in_another_order(e):
    e.vectors["texts"][0].reverse()


@breach("vectors")
def vectors_stored_twice(e):
    e.vectors["texts"] *= 2


@breach("vectors")
def nothing_to_embed(e):
    for s in e.accepted:
        s.kind = "one" if s.kind == "embed" else s.kind


@breach("duplicated")
def two_replies_with_other_vectors(e):
    e.f.said["texts"].append(Reply(status="done", embeddings=[judge_twice.vector("c")]))


def missed(plant):
    e = clean()
    if plant:
        plant(e)
    e.ledger.sort(key=lambda c: c["wall_ms"]) if plant is not a_later_turn_called_first else None
    e._classify_repeats()
    return [line.what for line, _ in judge.judge(e, []) if line.ok is False]


def main():
    failed = 0
    names = missed(None)
    if names:
        failed += 1
        print("FAILED  a clean run misses: %s" % "; ".join(names))
    for words, plant in CASES:
        names = missed(plant)
        if not any(words in name for name in names):
            failed += 1
            print("FAILED  %s is not seen by '%s', only by %s" % (plant.__name__.replace("_", " "), words, names))
    with_target = {what for what, target, _ in judge.LINES if target}
    unshown = [what for what in with_target if not any(words in what for words, _ in CASES)]
    if unshown:
        failed += 1
        print("FAILED  lines without a case: %s" % "; ".join(unshown))
    print("%d passed, %d failed" % (len(CASES) + 2 - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
