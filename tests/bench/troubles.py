"""What troubles cost: kills, a provider that is away, a provider that errs, a session that is stuck.

Each row has a goal and says whether it was met. Time is counted from the provider's first call to the moment the last
final result is stored (requests.completed_at is not asked: the row is looked for every 20 ms).
Calls are counted by the provider's ledger, or by the worker where the provider's process itself goes away.
"""

import json
import os
import pathlib
import re
import signal
import threading
import time

import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition

REQUESTS, IN_FLIGHT = 2000, 256


def met(good):
    return "met" if good else "MISSED"


def metric(process, name):
    """Sum over the labels of one metric; 0 while there is none."""
    from bench import get

    text = get(f"http://127.0.0.1:{process.port}/metrics")
    return sum(float(value) for value in re.findall(rf"^quern_{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.M))


class Store:
    """Looks at final results."""

    def __init__(self):
        password = pathlib.Path(os.environ["QUERN_POSTGRES__PASSWORD_FILE"]).read_text(encoding="utf-8").strip()
        self.db = psycopg.connect(os.environ["QUERN_POSTGRES__CONNINFO"], password=password, autocommit=True)

    def finals(self, prefix):
        rows = self.db.execute(
            "SELECT status, count(*) FROM requests WHERE tenant = 'default' AND id >= %s AND id < %s GROUP BY 1", (prefix + "-", prefix + ".")
        ).fetchall()
        return {status: count for status, count in rows if status != "open"}

    def wait(self, prefix, count, limit_s):
        """Wall time at which `count` were final, and how they ended; the time is None when they never were."""
        end = time.time() + limit_s
        while time.time() < end:
            finals = self.finals(prefix)
            if sum(finals.values()) >= count:
                return time.time(), finals
            time.sleep(0.02)
        return None, finals


class Run:
    """One fleet (a worker, an aggregator) with a topic of its own and its requests published."""

    def __init__(self, bench, latency, control=None):
        from bench import post

        self.bench = bench
        self.store = Store()
        self.prefix = bench.fresh()
        post(bench.fake_url + "/control", {"error_rate": {}, "retry_after": None, **(control or {})})
        bench.provider(latency)
        self.aggregator = bench.aggregator(self.prefix)
        bench.publish(f"{self.prefix}.requests", REQUESTS, self.prefix)
        self.worker = self.start_worker()

    def start_worker(self):
        return self.bench.worker(self.prefix, IN_FLIGHT)

    def began(self):
        """Wall time of the first call."""
        for _ in range(500):
            if self.bench.ledger()["calls"]:
                return self.bench.first_call()
            time.sleep(0.01)
        raise SystemExit("no call within 5 s")

    def end(self):
        from bench import post

        self.worker.stop(), self.aggregator.stop()
        self.store.db.close()
        post(self.bench.fake_url + "/control", {"error_rate": {}, "retry_after": None})


def sleep_until(wall):
    time.sleep(max(0.0, wall - time.time()))


def first_after(bench, wall):
    """How long after `wall` the next call came, in ms."""
    from bench import get

    for _ in range(300):
        times = [json.loads(line)["wall_ms"] for line in get(bench.fake_url + "/ledger").splitlines()]
        later = [t for t in times if t > wall * 1000]
        if later:
            return min(later) - wall * 1000
        time.sleep(0.05)
    return float("inf")


def kill(bench, how):
    """The worker ends twice while 256 calls are in flight, and is started again at once."""
    run = Run(bench, "1000ms")
    began = run.began()
    pauses = []
    for moment in (2, 5):
        sleep_until(began + moment)
        run.worker.child.send_signal(how)
        run.worker.child.wait(60)
        again = time.time()
        run.worker.out.close()
        run.worker = run.start_worker()
        pauses.append(first_after(bench, again))
    ended, finals = run.store.wait(run.prefix, REQUESTS, 120)
    ledger, took = bench.ledger(), (ended or float("inf")) - began
    lost, repeated = REQUESTS - sum(finals.values()), ledger["repeated_calls"]
    errors = sum(count for status, count in finals.items() if status != "done")
    run.end()
    limit, most, name = (12, 512, "kill -9") if how == signal.SIGKILL else (10, 0, "SIGTERM")
    good = lost == 0 and errors == 0 and repeated <= most and took <= limit
    bench.row(
        f"{REQUESTS:,} requests of 1 s, {IN_FLIGHT} in flight, {name} at 2 s and 5 s",
        f"lost {lost}, repeated {repeated}, all final after {took:.1f} s; restart to first call {max(pauses):.0f} ms: {met(good)}",
        f"lost 0, repeated <= {most}, <= {limit} s",
    )


def full_again(bench, wall):
    """Seconds from `wall` to the first second in which 95 % of what can be called was called."""
    from bench import get

    times = sorted(json.loads(line)["wall_ms"] / 1000 for line in get(bench.fake_url + "/ledger").splitlines())
    enough = int(0.95 * IN_FLIGHT)
    for first, last in zip(times, times[enough - 1 :]):
        if last - first <= 1:
            return first - wall
    return float("inf")


def outage(bench, rounds=1):
    """The provider's process is gone from 2 s to 7 s."""
    for _ in range(rounds):
        run = Run(bench, "1000ms")
        began = run.began()
        sleep_until(began + 2)
        bench.stop_fake(signal.SIGKILL)
        sleep_until(began + 7)
        bench.start_fake("1000ms")
        ended, finals = run.store.wait(run.prefix, REQUESTS, 180)
        took = (ended or float("inf")) - began
        calls = metric(run.worker, "calls_total")
        back = full_again(bench, began + 7)
        run.end()
        done = finals.get("done", 0)
        bench.row(
            f"{REQUESTS:,} requests of 1 s, {IN_FLIGHT} in flight, the provider's process gone from 2 s to 7 s",
            f"{done} answered, {sum(finals.values()) - done} errors, {calls / REQUESTS:.3f} attempts per request, {took:.1f} s in all, "
            f"95 % of the throughput again {back:.1f} s after its end: {met(done == REQUESTS and calls <= 1.2 * REQUESTS and back <= 10)}",
            "all answered, no error, <= 1.2 attempts, <= 10 s",
        )


def errors(bench, rounds=1):
    """A provider that errs all the time."""
    for _ in range(rounds):
        run = Run(bench, "100ms", {"error_rate": {"429": 0.2, "500": 0.1}, "retry_after": 1})
        began = run.began()
        ended, finals = run.store.wait(run.prefix, REQUESTS, 180)
        took = (ended or float("inf")) - began
        calls, openings = bench.ledger()["calls"], metric(run.worker, "breaker_openings_total")
        run.end()
        bench.row(
            f"{REQUESTS:,} requests of 100 ms, {IN_FLIGHT} in flight, 20 % 429 with Retry-After 1, 10 % 500",
            f"{sum(finals.values())} final ({finals.get('done', 0)} answered, the others after 4 attempts) in {took:.1f} s, "
            f"{calls / REQUESTS:.2f} attempts per request, breaker opened {openings:.0f} times: "
            f"{met(sum(finals.values()) == REQUESTS and took <= 10 and not openings)}",
            "all final, <= 10 s",
        )


# --- a session that is stuck ---


class Load:
    """Requests at a steady pace into partition 0, and how long each took until its part was on the result topic."""

    def __init__(self, prefix, rate, seconds):
        self.prefix, self.rate, self.count = prefix, rate, int(rate * seconds)
        self.sent = [0.0] * self.count
        self.took = [None] * self.count
        self.seen = 0
        from bench import BROKERS

        self.producer = Producer({"bootstrap.servers": BROKERS, "linger.ms": 1})
        self.consumer = Consumer({"bootstrap.servers": BROKERS, "group.id": prefix + "-load", "fetch.wait.max.ms": 50})
        self.consumer.assign([TopicPartition(f"{prefix}.results", i, 0) for i in range(12)])
        self.watch = threading.Thread(target=self.read, daemon=True)

    def read(self):
        idle = time.time() + 60
        while self.seen < self.count and time.time() < idle:
            for message in self.consumer.consume(1000, 0.2):
                if message.error() or not message.key():
                    continue
                found = re.search(rb"-(\d+)$", message.key())
                i = int(found.group(1)) if found else self.count
                if i < self.count and self.took[i] is None:
                    self.took[i] = message.timestamp()[1] - self.sent[i]
                    self.seen += 1
                    idle = time.time() + 60
        self.consumer.close()

    def run(self):
        self.watch.start()
        began = time.time()
        for i in range(self.count):
            due = began + i / self.rate
            if i % 16 == 0 and due > time.time():
                time.sleep(due - time.time())
                self.producer.poll(0)
            self.sent[i] = time.time() * 1000
            body = {"id": f"{self.prefix}-{i}", "input": f"question {i}"}
            self.producer.produce(f"{self.prefix}.requests", key=body["id"], value=json.dumps(body), partition=0)
        self.producer.flush(60)
        self.watch.join()

    def percentile(self, share):
        """The first tenth is warming up."""
        times = sorted(t for t in self.took[self.count // 10 :] if t is not None)
        return times[min(len(times) - 1, int(len(times) * share))]


class Fleet:
    """A worker and an aggregator with topics of their own, one session of which may be stuck, and their load."""

    def __init__(self, bench, seconds, rate, is_stuck):
        self.bench, self.prefix = bench, bench.fresh()
        self.aggregator = bench.aggregator(self.prefix)
        self.start_worker()
        while metric(self.worker, "partitions_assigned") < 12:
            time.sleep(0.1)
        if is_stuck:
            self.get_stuck()
        self.load = Load(self.prefix, rate, seconds)

    def start_worker(self):
        self.worker = self.bench.worker(self.prefix, 2000)

    def get_stuck(self):
        """A turn whose provider never answers, a turn behind it, and it is being asked."""
        from bench import BROKERS

        producer = Producer({"bootstrap.servers": BROKERS})
        for name in ("stuck", "behind"):
            body = {"id": f"{self.prefix}-{name}", "session": "stuck", "models": ["hang"], "input": "?", "deadline_ms": 24 * 3600 * 1000}
            producer.produce(f"{self.prefix}.requests", key="stuck", value=json.dumps(body), partition=0)
        producer.flush(30)
        while metric(self.worker, "calls_in_flight") < 1 or metric(self.worker, "requests_parked") < 1:
            time.sleep(0.1)

    def end(self):
        self.worker.child.kill()
        self.worker.child.wait()
        self.aggregator.stop()


def stuck(bench, seconds, messages, rounds):
    """Two fleets side by side, so that what disturbs one disturbs the other; one of them has the session."""
    rate, pairs = max(100, messages / seconds), []
    for i in range(rounds):
        bench.provider("200ms")
        free, held = Fleet(bench, seconds, rate, False), Fleet(bench, seconds, rate, True)
        other = threading.Thread(target=free.load.run)
        other.start()
        held.load.run()
        other.join()
        for fleet in (free, held):
            if fleet.load.seen < fleet.load.count:
                raise SystemExit(f"{fleet.load.count - fleet.load.seen} of {fleet.load.count} never came: {fleet.prefix}")
        pairs.append((free.load.percentile(0.99), held.load.percentile(0.99)))
        free.end()
        if i < rounds - 1:
            held.end()
    ratio = sorted(b / a for a, b in pairs)[len(pairs) // 2]
    bench.row(
        f"one session stuck for {seconds:g} s at the head of a partition, {rate:.0f} requests/s behind it: p99 of all others, without and with",
        f"{', '.join(f'{a:.0f} and {b:.0f} ms' for a, b in pairs)}, median ratio {ratio:.3f}: {met(ratio <= 1.05)}",
        "<= 1.05",
    )
    restart_behind(bench, held)


def restart_behind(bench, fleet):
    """kill -9 with all those finished behind the one that is stuck; the next life reads them again."""
    store, count = Store(), fleet.load.count
    ended, _ = store.wait(fleet.prefix, count, 120)
    store.db.close()
    before = bench.ledger()
    fleet.worker.child.kill(), fleet.worker.child.wait()
    began = time.time()
    fleet.start_worker()
    while time.time() < began + 120 and metric(fleet.worker, "finished_already_total") < count:
        time.sleep(0.1)
    read = time.time() - began
    time.sleep(3)
    known, ledger = metric(fleet.worker, "finished_already_total"), bench.ledger()
    repeated = sum(n - before["by_model"].get(m, 0) for m, n in ledger["by_model"].items() if m != "fake-hang")
    fleet.end()
    bench.row(
        f"restart after kill -9 with {count:,} finished messages behind it",
        f"{repeated} calls repeated, {known:.0f} recognised as finished, read again in {read:.1f} s: {met(bool(ended) and repeated == 0 and known >= count)}",
        "no finished one repeated",
    )
