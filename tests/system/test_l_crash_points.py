"""Every crash point of schemas/crash_points.def: the program dies there, once and twice in a row, and nothing is lost.

A scenario is one point and one number of deaths. It starts the program with QUERN_CRASH_AT, gives the fleet something
to do that passes the point, sees the program die right there, starts it again, and lets the checker judge what came of
it. A death is a SIGKILL of the program by itself, and its last words tell the point and the time, so a point that is
not passed, or a program that ends otherwise, fails.

QUERN_CRASH_PART=0|1|2|all says which third of the points is run; without it the number of commits decides, so that
tests/run comes around to all of them. To add a point: see the head of the table; a point that an ordinary load does
not pass gets a line in PLANS.
"""
import collections
import json
import os
import re
import signal
import subprocess
import time

from checker import Load, Sent
from fake_client import answer
from harness import ROOT, same, scenario, true, wait_until

FLEET = {
    "settings": {"worker.max_in_flight": 100, "aggregator.commit_interval": "100ms", "aggregator.deadline_grace": "50ms"},
    "models": {"fake-slow-2500": {}},
}
LATENCY_MS = 60
# Calls of the mix that are answered soon although nothing is stored: all but second and third turns and the slow one.
EARLY_CALLS = 6 + 1 + 2 + 4 * 2 + 1 + 1
# An answer that the provider gave this long before a death was not in flight any more.
DELIVERED_MS = 100

Point = collections.namedtuple("Point", "programs name")


def read_points():
    text = (ROOT / "schemas/crash_points.def").read_text()
    for kind, programs, name in re.findall(r'^CRASH_(STEP|ROW)\("([^"]+)",\s*([a-z_]+),', text, re.M):
        yield Point(programs.split(), name)
        if kind == "STEP":
            yield Point(programs.split(), name + ".end")


# -- deaths -------------------------------------------------------------------------------------------------------------


def last_words(text):
    found = re.search(r'\{"msg":"killed","at":"([^"]+)","wall_ms":(\d+)\}', text)
    return (found.group(1), int(found.group(2))) if found else (None, 0)


def end_all(w, kind):
    for program in w.of(kind):
        program.kill()


def start_armed(w, kind, at, args=()):
    program = w.start(kind, wait=False, args=args, env=w.environment(QUERN_CRASH_AT=at))
    program.expected_end = True  # so the harness does not take its death for a breach, nor for a member of the fleet
    return program


def death_of(program, at, seconds=15):
    """Waits until it has died at this point; the wall time of that, in ms."""
    wait_until(lambda: not program.alive(), seconds, "%s to pass the crash point %s" % (program.name, at))
    with open(program.log, encoding="utf-8", errors="backslashreplace") as log:
        name, wall_ms = last_words(log.read())
    same((program.process.returncode, name), (-signal.SIGKILL, at.split(":")[0]), "exit code and crash point of " + program.name)
    return wall_ms


# -- what there is to do ------------------------------------------------------------------------------------------------


class Mix:
    """A little of everything: single and several models, turns of sessions, the same request twice, an id used for two
    requests, one that is refused, a deadline that strikes, a message and a result that nobody can read."""

    def __init__(self, w):
        self.w, self.load = w, Load(w)
        self.marks = [("%s %s \xff" % (what, w.tenant)).encode("latin-1") for what in ("request", "result")]
        self.second = w.tenant + "-b"  # requests that the checker's rules do not fit
        w.fake.control(latency=LATENCY_MS)
        for i in range(6):
            self.load.add("single %d" % i)
        w.send(self.marks[0])
        w.send(self.marks[1], topic="results")
        self.twice = self._post(w.tenant, "asked twice", times=2)
        self.load.sent.append(Sent(self.twice, None, "asked twice", ("m-openai",)))
        for turn in range(3):
            for session in ("a", "b"):
                self.load.add("turn %d" % turn, session)
        for i in range(4):
            self.load.add("several %d" % i, models=("m-openai", "m-anthropic"))
        self.conflict = self._post(self.second, "first body")
        w.publish(w.request("second body", id=self.conflict, tenant=self.second))
        self.refused = self._post(self.second, "for nobody", models=["m-tomorrow"])
        self.struck = self._post(self.second, "no waiting", models=["m-openai", "fake-slow-2500"], merge={"policy": "all", "deadline_ms": 200})

    def _post(self, tenant, text, times=1, **fields):
        document = self.w.request(text, tenant=tenant, **fields)
        for _ in range(times):
            self.w.post(document)
        return document["id"]

    def check(self, deaths, calls_lost):
        """deaths: wall times. calls_lost: whether a death may cost calls at all."""
        w = self.w
        self.load.accepted().wait(30).check(repeats_max=100 if calls_lost else 0)
        self._no_call_twice(w.fake.ledger(w.tenant) + w.fake.ledger(self.second), deaths if calls_lost else [])
        wait_until(lambda: len(w.collector.replies(w.tenant, self.twice)) >= 2, 10, "two replies to the request that was made twice")
        for mark in self.marks:
            wait_until(lambda: [d for d in w.collector.dead({}) if d.value == mark], 10, "the dead letter of %r" % mark)
        w.dead(code="id_conflict", id=self.conflict, tenant=self.second)
        same(w.final(self.conflict, tenant=self.second)["text"], answer([("user", "first body")]), "the answer to an id used twice")
        w.dead(code="unknown_model", id=self.refused, tenant=self.second)
        same(w.final(self.refused, tenant=self.second)["status"], "failed", "a request that was refused")
        row = w.final(self.struck, tenant=self.second)
        same((row["status"], row["winner"]), ("done", "m-openai"), "what the deadline decided")

    def _no_call_twice(self, ledger, deaths):
        earlier = {}
        for call in ledger:
            first = earlier.setdefault(call["call_id"], call)
            if first is call:
                continue
            answered = first["wall_ms"] + (first["done_ms"] or first["t_ms"]) - first["t_ms"]
            in_flight = any(first["wall_ms"] - 5 <= death <= answered + DELIVERED_MS for death in deaths)
            gaps = ["%d ms" % (death - answered) for death in deaths]
            true(in_flight or not first["delivered"], "call %s was paid twice; from its answer to the deaths: %s" % (call["call_id"], gaps))
            earlier[call["call_id"]] = call


# -- plans: how a point is passed ---------------------------------------------------------------------------------------


class Plan:
    """once, twice: at which passing it dies; first: a point where an earlier life must have died; stir: what makes a
    program pass the point, called with the world and the armed program; own_house: the group's members change, which
    the next scenario would feel; the rest are options of the run."""

    def __init__(self, once=1, twice=1, first=None, stir=None, run=None, own_house=False, **options):
        self.passes, self.first, self.stir, self.options = {1: once, 2: twice}, first, stir, options
        self.own_house = own_house
        self.run = run or run_daemon


def lives_of(point, plan, deaths):
    """QUERN_CRASH_AT of each life that ends at once."""
    first = [plan.first] if plan.first else []
    return first + ["%s:%d" % (point.name, plan.passes[deaths])] * deaths


def run_daemon(w, point, kind, plan, deaths):
    end_all(w, kind)
    times, mix = [], None
    for at in lives_of(point, plan, deaths):
        plan.options.get("before", lambda w: None)(w)
        program = start_armed(w, kind, at)
        mix = mix or Mix(w)
        if plan.stir and at != plan.first:
            plan.stir(w, program)
        times.append(death_of(program, at))
    w.start(kind, wait=False)
    mix.check(times, calls_lost=kind == "worker")
    for program in w.of(kind):
        program.wait_ready()


def run_lonely(w, point, kind, plan, deaths):
    """The worker dies when most answers are long there, and neither they nor an offset are stored: all is read again,
    and what was paid for is in Redis only."""
    end_all(w, "aggregator")
    end_all(w, kind)
    at = "%s:%d" % (point.name, EARLY_CALLS + 2)
    program = start_armed(w, kind, at, ["--set", "worker.commit_interval=60s"])
    mix = Mix(w)
    wait_until(lambda: sum(c["delivered"] for c in w.fake.ledger()) >= EARLY_CALLS, 15, "the early calls")
    time.sleep((DELIVERED_MS + 100) / 1000)
    for i in range(6):
        mix.load.add("late %d" % i)
    died = death_of(program, at)
    w.start(kind)
    time.sleep(0.3)  # for what the next life would ask again
    w.start("aggregator", wait=False)
    mix.check([died], calls_lost=True)


def leave(w, program):
    program.wait_ready()
    program.signal(signal.SIGTERM)


def be_joined(w, program):
    """Another member, whose place in the group nobody has had."""
    program.wait_ready()
    kind = "worker" if "-worker-" in program.name else "aggregator"
    w.start(kind, wait=False, args=["--set", "%s.instance=joined-%d" % (kind, len(w.running))])


def be_elsewhere(w):
    """Claims of an earlier life become those of another worker that died; of its own a worker needs to steal none."""
    for key in w.redis.scan_iter(w.prefix + ":call:*:[0-9]"):
        w.redis.set(key, "elsewhere-0 1", keepttl=True)


def be_fenced(w, program):
    program.wait_ready()
    w.pg.execute("UPDATE kafka_offsets SET epoch = epoch + 1 WHERE topic = %s", (w.topic("results"),))
    w.publish(w.request("for the fenced", tenant=w.tenant + "-c"))


# -- the command line ---------------------------------------------------------------------------------------------------


def quern_dies(w, at, *words):
    done = w.quern(*words, env=w.environment(QUERN_CRASH_AT=at), timeout=20)
    name, wall_ms = last_words(done.stderr)
    same((done.returncode, name), (-signal.SIGKILL, at.split(":")[0]), "exit code and crash point of quern %s (%r)" % (words[0], done.stderr[-300:]))
    return wall_ms


def run_batch(w, point, kind, plan, deaths):
    """40 lines, two of them of no use."""
    path, output = w.run_dir / (w.tenant + ".jsonl"), w.run_dir / (w.tenant + ".out.jsonl")
    body = {"model": "m-openai", "messages": None}
    lines = []
    for i in range(38):
        line = {"custom_id": "c%d" % i, "method": "POST", "url": "/v1/chat/completions", "body": dict(body, messages=[{"role": "user", "content": "line %d" % i}])}
        lines.append(json.dumps(line))
    lines.insert(3, "this is no JSON")
    lines.insert(20, lines[5])
    path.write_text("\n".join(lines) + "\n")
    output.unlink(missing_ok=True)
    words = ["batch", "run", "--tenant", w.tenant, "--progress", "never", "--in-flight", 12, "--output", output, path]
    w.fake.control(latency=plan.options.get("latency", 30))
    for number, at in enumerate(lives_of(point, plan, deaths)):
        if plan.options.get("half_line") and at != plan.first:
            with open(output, "ab") as file:
                file.write(b'{"id": "half a li')
        more = ["--timeout", plan.options["timeout"]] if "timeout" in plan.options else []
        quern_dies(w, at, *words, *more, *(["--resume"] if number else []))
    w.fake.control(latency=0)
    done = w.quern(*words, "--resume")
    true(done.returncode in (0, 1), "exit code %d of the last run: %s" % (done.returncode, done.stderr))
    check_output(output.read_text().splitlines())
    same(collections.Counter(c["call_id"] for c in w.calls()).most_common(1)[0][1], 1, "calls per line")
    same(len(w.calls()), 38, "calls at the provider")


def check_output(lines):
    got = [json.loads(line) for line in lines]
    same(len(got), 40, "lines of the output")
    same(sum(bool(line.get("error")) for line in got), 2, "lines with an error")
    good = {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in got if not line.get("error")}
    same(good, {"c%d" % i: answer([("user", "line %d" % i)]) for i in range(38)}, "the answers")


def run_submit(w, point, kind, plan, deaths):
    id = w.new_id()
    words = ["submit", "--tenant", w.tenant, "--id", id, "--wait", "ask me once"]
    for at in lives_of(point, plan, deaths):
        quern_dies(w, at, *words)
    same(w.must_quern(*words).stdout.strip(), answer([("user", "ask me once")]), "what is printed in the end")
    same(len(w.calls(id)), 1, "calls at the provider")
    same(w.sql("SELECT count(*) FROM requests WHERE tenant = %s", w.tenant)[0][0], 1, "rows of requests")


def run_dead_retry(w, point, kind, plan, deaths):
    """The letter's request was told that it failed; a retry under its own id brings that once more."""
    document = w.request("a model that nobody has", models=["m-tomorrow"])
    w.publish(document)
    w.dead(id=document["id"], tenant=w.tenant)
    w.reply(document["id"])
    listed = w.must_quern("dead", "list").stdout
    place = next(line.split()[0] for line in listed.splitlines() if document["id"] in line)
    for at in lives_of(point, plan, deaths):
        quern_dies(w, at, "dead", "retry", place)
    w.must_quern("dead", "retry", place)
    same({r["status"] for r in w.replies(document["id"], count=2)}, {"failed"}, "the replies")
    same(w.sql("SELECT status, count(*) FROM requests WHERE tenant = %s GROUP BY 1", w.tenant), [("failed", 1)], "rows of requests")
    same(len(w.collector.dead({"id": document["id"]})), 1, "dead letters")


# -- the table ----------------------------------------------------------------------------------------------------------

DAEMON = Plan(once=4, twice=2)
RARE = Plan()
PLANS = {
    # the worker
    "claim_stolen": Plan(first="call_sent:4", before=be_elsewhere),
    "kept_used": Plan(first="part_kept:3"),
    "dead_letter_produced": RARE,
    "dead_letter_delivered": RARE,
    "conflict_told": RARE,
    "repeat_asked": RARE,
    "commit_sent": Plan(once=2),
    "commit_answered": Plan(once=2),
    "requests_assigned": RARE,
    "requests_revoked": Plan(stir=be_joined, own_house=True),
    "requests_released": Plan(stir=be_joined, own_house=True),
    # the aggregator
    "results_assigned": RARE,
    "results_owned": RARE,
    "results_fenced": Plan(stir=be_fenced),
    "results_revoked": Plan(stir=be_joined, own_house=True),
    "result_refused": RARE,
    "repeat_taken": RARE,
    "part_joined": Plan(once=2),
    "deadline_struck": RARE,
    "batch_built": Plan(once=3, twice=2),
    "batch_sent": Plan(once=3, twice=2),
    "batch_stored": Plan(once=3, twice=2),
    "outbox_taken": Plan(once=2),
    "outbox_deleted": Plan(once=2),
    "outbox_found": Plan(first="reply_produced:3"),
    "lag_told": RARE,
    # both
    "drain_begun": Plan(stir=leave),
    "drained": Plan(stir=leave),
    # the command line
    "batch_resume_read": Plan(first="batch_output_flushed:2", run=run_batch),
    "batch_output_cut": Plan(first="batch_output_flushed:2", run=run_batch, half_line=True),
    "batch_line_refused": Plan(run=run_batch),
    "batch_output_flushed": Plan(once=3, run=run_batch),
    "batch_store_asked": Plan(run=run_batch, latency=1500, timeout="300ms"),
    "batch_finished": Plan(run=run_batch),
}
for name in ("batch_line_read", "batch_line_produced", "batch_line_delivered", "batch_reply_read", "batch_line_written"):
    PLANS[name] = Plan(once=14, twice=8, run=run_batch)
for name in ("submit_produced", "submit_delivered", "submit_reply_read"):
    PLANS[name] = Plan(run=run_submit)
for name in ("dead_retry_read", "dead_retry_produced", "dead_retry_delivered"):
    PLANS[name] = Plan(run=run_dead_retry)


# Dies late, with nobody to store; the names are points of the table.
LONELY = ("call_sent", "call_answered", "part_kept", "part_produced", "report.end")


def part():
    """Which third of the points: 0, 1, 2, or None for all."""
    asked = os.environ.get("QUERN_CRASH_PART")
    if asked in ("0", "1", "2"):
        return int(asked)
    if asked == "all":
        return None
    if asked:
        raise SystemExit("QUERN_CRASH_PART is %r and neither 0, 1, 2 nor all" % asked)
    counted = subprocess.run(["git", "-C", str(ROOT), "rev-list", "--count", "HEAD"], capture_output=True, text=True)
    return int(counted.stdout or 0) % 3


def make(point, program, deaths, plan, how):
    kind = program.replace("quern-", "")

    def run(w):
        plan.run(w, point, kind, plan, deaths)

    run.__name__ = "%s_dies_%s_at_%s" % (kind, how, point.name)
    return scenario(seconds=60, **({"house": run.__name__} if plan.own_house else {}))(run)


def make_all():
    points = list(read_points())
    unknown = set(PLANS) | set(LONELY)
    unknown -= {point.name for point in points}
    true(points and not unknown, "there are plans for points that are not in the table: %s" % sorted(unknown))
    chosen = part()
    made = []
    for number, point in enumerate(points):
        if chosen not in (None, number % 3):
            continue
        plan = PLANS.get(point.name, DAEMON)
        for program in point.programs:
            made += [make(point, program, 1, plan, "once"), make(point, program, 2, plan, "twice")]
        if point.name in LONELY:
            made.append(make(point, point.programs[0], 1, Plan(run=run_lonely), "late_with_nobody_to_store"))
    globals().update({function.__name__: function for function in made})


make_all()
