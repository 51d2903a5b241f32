"""What must hold after a load, computed from outside: what was published, the provider's ledger, the store.

    Load(w)      publishes and remembers; .wait() until all of it is final; .check() raises with every breach

Invariants: exactly one final row per accepted request, and none for others; every answer is the digest
of its true history; turns of a session are numbered and called in produce order; no call whose answer
had been delivered is made again, beyond the bound a kill -9 allows; every run is a call of the ledger
with its tokens; cost is tokens times price; usage_daily equals the runs; nothing is left in the outbox;
every request has a reply, and all its replies are the same.
"""
import collections

from fake_client import answer
from harness import PRICE_INPUT, PRICE_OUTPUT, wait_until

Sent = collections.namedtuple("Sent", "id session text models")


class Load:
    def __init__(self, world):
        self.w, self.tenant = world, world.tenant
        self.sent = []

    def add(self, text, session=None, models=("m-openai",), **fields):
        document = self.w.request(text, session=session, models=list(models), user="user%d" % (len(self.sent) % 3), **fields)
        self.w.post(document, encoding=("json", "msgpack")[len(self.sent) % 2])
        self.sent.append(Sent(document["id"], session, text, tuple(models)))

    def many(self, count, sessions=0, models=("m-openai",), **fields):
        """`count` requests; as many as possible in `sessions` conversations of equal length."""
        for i in range(count):
            session = "session-%d" % (i % sessions) if sessions else None
            self.add("load %d" % len(self.sent), session, models, **fields)

    def accepted(self):
        self.w.flush()
        return self

    def wait(self, seconds=60):
        self.w.finals(len(self.sent), seconds, self.tenant)
        return self

    def final_count(self):
        return self.w.sql("SELECT count(*) FROM requests WHERE tenant = %s AND status <> 'open'", self.tenant)[0][0]

    # -- invariants -----------------------------------------------------------------------------------------------

    def check(self, *, repeats_max=0, answered_before_ms=None):
        """repeats_max: calls in flight at kills. answered_before_ms: wall time of the first kill; what was answered
        well before it must not be asked again."""
        self.breaches = []
        self._settled()
        self.ledger = self.w.fake.ledger(self.tenant)
        self.rows = self._rows()
        self._exactly_one_final()
        self._answers_and_turns()
        self._order_of_calls()
        self._repeats(repeats_max, answered_before_ms)
        self._runs(repeats_max)
        self._usage()
        self._replies()
        if self.breaches:
            raise AssertionError("%d breaches:\n  %s" % (len(self.breaches), "\n  ".join(self.breaches[:12])))

    def _breach(self, text, *values):
        self.breaches.append(text % values)

    def _settled(self):
        """Runs of late answers and deliveries of replies come a moment after the finals."""
        wait_until(lambda: self._outbox() == 0, 20, "the outbox to be empty")

        def stable():
            before = self._run_count()
            return before if before == wait_until(lambda: self._run_count() or 1, pause=0.3) else None

        wait_until(stable, 20, "the runs to be stored", pause=0.3)

    def _outbox(self):
        return self.w.sql("SELECT count(*) FROM outbox WHERE tenant = %s", self.tenant)[0][0]

    def _run_count(self):
        return self.w.sql("SELECT count(*) FROM inference_runs WHERE tenant = %s", self.tenant)[0][0]

    def _rows(self):
        rows = self.w.sql("SELECT id, status, text, session_id, turn, cost_microusd, error_code FROM requests WHERE tenant = %s", self.tenant)
        return {row[0]: row for row in rows}

    def _exactly_one_final(self):
        ids = {s.id for s in self.sent}
        for id in ids - set(self.rows):
            self._breach("request %s was accepted and has no row", id)
        for id in set(self.rows) - ids:
            self._breach("row %s is nobody's request", id)
        for id, status, _, _, _, _, code in self.rows.values():
            if status != "done":
                self._breach("request %s ended as %s (%s)", id, status, code)
        for table in ("inference_runs", "parts"):
            for (id,) in self.w.sql("SELECT DISTINCT request_id FROM %s WHERE tenant = %%s" % table, self.tenant):
                if id not in ids:
                    self._breach("%s has rows of %s, which was never published", table, id)

    def _answers_and_turns(self):
        history, turns = collections.defaultdict(list), collections.Counter()
        for s in self.sent:
            row = self.rows.get(s.id)
            said = history[s.session] if s.session else []
            want = answer(said + [("user", s.text)])
            if row and row[2] != want:
                self._breach("answer of %s (session %s) is %r, not %r", s.id, s.session, row[2], want)
            if not s.session:
                continue
            turns[s.session] += 1
            if row and row[4] != turns[s.session]:
                self._breach("request %s is turn %s of %s, not %d", s.id, row[4], s.session, turns[s.session])
            history[s.session] = said + [("user", s.text), ("assistant", want)]
        stored = self.w.sql("SELECT count(*) FROM messages WHERE tenant = %s", self.tenant)[0][0]
        if stored != 2 * sum(turns.values()):
            self._breach("%d messages are stored, not %d", stored, 2 * sum(turns.values()))

    def _request_of(self, call):
        return call["call_id"].split("/")[1]

    def _order_of_calls(self):
        session_of = {s.id: s.session for s in self.sent}
        place = {s.id: number for number, s in enumerate(self.sent)}
        newest = {}
        for call in self.ledger:
            id = self._request_of(call)
            session = session_of.get(id)
            if not session:
                continue
            if newest.get(session, -1) > place[id]:
                self._breach("a call of %s (%s) came after a later turn's", id, session)
            newest[session] = max(newest.get(session, -1), place[id])

    def _repeats(self, repeats_max, answered_before_ms):
        calls = collections.defaultdict(list)
        for call in self.ledger:
            calls[call["call_id"]].append(call)
        repeated = sum(len(same) - 1 for same in calls.values())
        self.repeated = repeated
        if repeated > repeats_max:
            self._breach("%d calls were made again, at most %d may be", repeated, repeats_max)
        for id, same in calls.items():
            first = same[0]
            if len(same) == 1 or not (first["delivered"] and first["status"] == 200) or answered_before_ms is None:
                continue
            answered = first["wall_ms"] + first["done_ms"] - first["t_ms"]
            if answered < answered_before_ms - 300:
                self._breach("call %s was made again though answered %d ms before the kill", id, answered_before_ms - answered)

    def _runs(self, repeats_max):
        known = collections.defaultdict(list)
        for call in self.ledger:
            known[call["call_id"]].append(call)
        runs = self.w.sql("SELECT request_id, call_id, outcome, input_tokens, output_tokens, cost_microusd FROM inference_runs WHERE tenant = %s", self.tenant)
        runs = [run for run in runs if run[1]]  # those for dead workers know no call
        paid = collections.Counter()
        for request, call_id, outcome, tokens_in, tokens_out, cost in runs:
            paid[call_id] += 1
            calls = known.get(call_id)
            if not calls:
                self._breach("run %s of %s is not in the provider's ledger", call_id, request)
            elif outcome in ("ok", "late") and (tokens_in, tokens_out) not in [(c["input_tokens"], c["output_tokens"]) for c in calls]:
                self._breach("run %s has %s+%s tokens, the ledger others", call_id, tokens_in, tokens_out)
            if outcome in ("ok", "late") and cost != tokens_in * PRICE_INPUT + tokens_out * PRICE_OUTPUT:
                self._breach("run %s costs %s for %s+%s tokens", call_id, cost, tokens_in, tokens_out)
        for call_id, count in paid.items():
            if count > len(known.get(call_id, ())):
                self._breach("call %s stands %d times in the store and %d times in the ledger", call_id, count, len(known[call_id]))
        unbooked = sum(1 for c in self.ledger if c["delivered"]) - len(runs)
        if unbooked > repeats_max:
            self._breach("%d calls of the ledger have no run, at most %d may have none", unbooked, repeats_max)

    def _usage(self):
        columns = "sum(calls), sum(failed_calls), sum(input_tokens), sum(output_tokens), sum(cost_microusd)"
        used = self.w.sql("SELECT user_id, model, %s FROM usage_daily WHERE tenant = %%s AND calls > 0 GROUP BY 1, 2 ORDER BY 1, 2" % columns, self.tenant)
        ran = self.w.sql(
            "SELECT coalesce(user_id, ''), model, count(*), count(*) FILTER (WHERE outcome = 'failed'), sum(input_tokens),"
            " sum(output_tokens), sum(coalesce(cost_microusd, 0)) FROM inference_runs WHERE tenant = %s GROUP BY 1, 2 ORDER BY 1, 2",
            self.tenant,
        )
        if used != ran:
            self._breach("usage_daily is %s, the runs are %s", used, ran)
        requests = self.w.sql("SELECT sum(requests) FROM usage_daily WHERE tenant = %s", self.tenant)[0][0]
        if requests != len(self.sent):
            self._breach("usage_daily counts %s requests, not %d", requests, len(self.sent))

    def _replies(self):
        missing = [s.id for s in self.sent if not self.w.collector.replies(self.tenant, s.id)]
        if missing:
            wait_until(lambda: all(self.w.collector.replies(self.tenant, id) for id in missing), 10, lambda: "replies to %d requests; %s" % (len(missing), self.w.collector.explain()))
        for s in self.sent:
            texts = {(r["status"], r.get("text")) for r in self.w.collector.replies(self.tenant, s.id)}
            row = self.rows.get(s.id)
            if row and texts != {(row[1], row[2])}:
                self._breach("replies to %s are %s, the row says %s", s.id, texts, (row[1], row[2]))
