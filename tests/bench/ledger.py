"""Row ledger: the sum of what stands in PostgreSQL against the provider's own books, call by call.

Requests go through two real workers to models of both senses of cached tokens (OpenAI's input has them in it, Anthropic's
leaves them out), with errors and retries, streams that are cut, calls that are ended at their deadline or because somebody
cancelled the request, models that leave it to their fallback, and slow calls that are made a second time. Then the result topic is read again by a new group, which must change nothing.

A call that the provider answered whole must stand in the store with the same tokens. What was cut, cancelled or is of
unknown fate is listed apart: of those nobody but the provider knows what it charges.

A call that we ended may have been answered in the same moment: the provider's whole answer to a call whose row says hedged or
cancelled is listed with those.

MODELS: name -> share of the requests, settings.
"""

import collections
import json
import os
import time

import psycopg
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from web import get, post

BROKERS = os.environ["QUERN_KAFKA__BOOTSTRAP_SERVERS"]
PRICES = {"price_input": 3, "price_output": 15, "price_cached_input": 0.3, "price_cache_write": 3.75}
HEDGE = {"hedge": "p95", "hedge_floor": "100ms"}
MODELS = {
    "openai": (34, {"provider": "openai", "model": "cached-60", "stream": "off", **HEDGE}),
    "claude": (30, {"provider": "anthropic", "model": "cached-61", "max_tokens": 500, "stream": "off", **HEDGE}),
    "openai-streamed": (10, {"provider": "openai", "model": "cached-40", "stream": "on", **HEDGE}),
    "claude-streamed": (10, {"provider": "anthropic", "model": "cached-41", "max_tokens": 500, "stream": "on", **HEDGE}),
    "broke": (3, {"provider": "openai", "model": "fake-402", "fallback": ["openai"]}),
    "flaky": (4, {"provider": "openai", "model": "fake-flaky-1"}),
    "cut": (3, {"provider": "openai", "model": "fake-cut", "attempts_max": 2}),
    "slow": (3, {"provider": "openai", "model": "fake-slow-3000"}),
    "unwanted": (3, {"provider": "openai", "model": "fake-slow-3001"}),
}
DEADLINE_MS = 1500  # of those who ask "slow"
CANCELLED_S = 0.8  # after so long nobody wants what "unwanted" was asked for
SLOW = {"fake-slow-1500": 0.028}  # of the calls of models without a strange name
RATE = 500  # requests a second, so that nobody's deadline passes in the queue


def write_config(bench):
    path = os.path.join(bench.run_dir, "ledger.yaml")
    models = {name: {**settings, **PRICES, "base_url": bench.fake_url, "api_key": "k", "retry_budget": 100, "breaker_failures": 0}
              for name, (_, settings) in MODELS.items()}
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"default_model": "openai", "models": models}, file)
    return path


class Cancels:
    """Requests that nobody wants any more in a moment, as `quern cancel` says it."""

    def __init__(self, tenant):
        self.tenant, self.waiting, self.said = tenant, collections.deque(), 0
        self.redis = redis.Redis.from_url(os.environ["QUERN_REDIS__URL"])

    def add(self, request_id):
        self.waiting.append((time.time() + CANCELLED_S, request_id))

    def say(self):
        while self.waiting and self.waiting[0][0] <= time.time():
            _, request_id = self.waiting.popleft()
            self.redis.set("quern:cancelled:{%s:%s}" % (self.tenant, request_id), "1", ex=600)
            self.redis.publish("quern:cancel", "%s\x1f%s" % (self.tenant, request_id))
            self.said += 1

    def say_all(self):
        while self.waiting:
            time.sleep(0.05)
            self.say()


def publish(prefix, count):
    names = [name for name, (share, _) in MODELS.items() for _ in range(share)]
    producer = Producer({"bootstrap.servers": BROKERS, "partitioner": "murmur2_random", "queue.buffering.max.messages": 1000000, "linger.ms": 20})
    cancels = Cancels(prefix)
    began = time.time()
    for i in range(count):
        name = names[i * 37 % 100]
        body = {"id": f"{prefix}-{i}", "tenant": prefix, "user": f"u{i % 7}", "models": [name], "input": f"question {i}: " + "what grinds the corn? " * (i % 13)}
        if name == "slow":
            body["deadline_ms"] = DEADLINE_MS
        if name == "unwanted":
            cancels.add(body["id"])
        producer.produce(f"{prefix}.requests", key=body["id"], value=json.dumps(body))
        if i % 100 == 0:
            producer.poll(0)
            cancels.say()
            time.sleep(max(0, began + i / RATE - time.time()))
    producer.flush(120)
    cancels.say_all()


def connect():
    with open(os.environ["QUERN_POSTGRES__PASSWORD_FILE"], encoding="utf-8") as file:
        return psycopg.connect(os.environ["QUERN_POSTGRES__CONNINFO"], password=file.read().strip(), autocommit=True)


def wait_until(what, true_now, seconds=900):
    end = time.time() + seconds
    while not true_now():
        if time.time() > end:
            raise SystemExit(f"ledger: no {what} after {seconds} s")
        time.sleep(0.2)


def has_read(db, topic, group):
    """Whether the group has stored all that the topic holds."""
    consumer = Consumer({"bootstrap.servers": BROKERS, "group.id": "bench-watch"})
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, i), timeout=10)[1] for i in range(12)]
    consumer.close()
    rows = db.execute("SELECT partition, next_offset FROM kafka_offsets WHERE group_name = %s AND topic = %s", (group, topic)).fetchall()
    return dict(rows) == dict(enumerate(ends))


def final_count(db, tenant):
    return db.execute("SELECT count(*) FROM requests WHERE tenant = %s AND status <> 'open'", (tenant,)).fetchone()[0]


def totals(db, tenant):
    """Everything that a second reading must not change."""
    runs = db.execute("SELECT outcome, count(*), sum(input_tokens), sum(output_tokens), sum(cached_input_tokens), sum(cache_write_tokens), sum(cost_microusd)"
                      " FROM inference_runs WHERE tenant = %s GROUP BY 1 ORDER BY 1", (tenant,)).fetchall()
    used = db.execute("SELECT sum(requests), sum(calls), sum(input_tokens), sum(output_tokens), sum(cached_input_tokens), sum(cache_write_tokens), sum(cost_microusd)"
                      " FROM usage_daily WHERE tenant = %s", (tenant,)).fetchall()
    return runs, used


def expected(call):
    """Tokens and cost of a whole answer, from the provider's line of it."""
    share = int(call["model"].removeprefix("cached-")) if call["model"].startswith("cached-") else 0
    tokens_in, tokens_out = call["input_tokens"], call["output_tokens"]
    cached = tokens_in * share // 100
    written = (tokens_in - cached) // 2 if share and call["path"].endswith("/messages") else 0
    cents = (tokens_in - cached - written) * 300 + cached * 30 + written * 375 + tokens_out * 1500
    return tokens_in, tokens_out, cached, written, (cents + 50) // 100


def compare(db, tenant, calls):
    """Difference in tokens and cost of whole answers; of the rest: outcome -> count of calls, tokens of the provider's."""
    whole, sends = collections.defaultdict(list), collections.Counter()
    rest = collections.defaultdict(lambda: [0, 0])
    for call in calls:
        sends[call["call_id"]] += 1
        if call["status"] == 200 and call["delivered"] and not call["model"].startswith("fake-cut"):
            whole[call["call_id"]].append(expected(call))
    tokens = cost = missing = 0
    rows = collections.Counter()
    told = {call["call_id"]: call for call in calls}
    for call_id, outcome, *numbers in db.execute(
            "SELECT call_id, outcome, input_tokens, output_tokens, cached_input_tokens, coalesce(cache_write_tokens, 0), cost_microusd"
            " FROM inference_runs WHERE tenant = %s", (tenant,)):
        rows[call_id] += 1
        if outcome in ("ok", "late"):
            if not whole[call_id]:
                raise SystemExit(f"ledger: {call_id} is {outcome}, and the provider answered nothing")
            theirs = whole[call_id].pop()
            tokens += sum(abs(a - b) for a, b in zip(numbers[:4], theirs[:4]))
            cost += abs(numbers[4] - theirs[4])
        else:
            if outcome in ("hedged", "cancelled") and whole[call_id]:
                theirs = whole[call_id].pop()
                outcome += " and answered in that moment"
                tokens += sum(abs(a - b) for a, b in zip(numbers[:4], theirs[:4])) if numbers[1] else 0
            rest[outcome][0] += 1
            rest[outcome][1] += told[call_id]["input_tokens"] + told[call_id]["output_tokens"] if call_id in told else 0
    for call_id, left in whole.items():  # answered whole, and no row says so: heard by nobody
        missing += len(left)
        tokens += sum(sum(answer[:2]) for answer in left)
    unwritten = sum((sends - rows).values())
    return tokens, cost, missing, unwritten, dict(rest)


def mix_of(db, tenant, count):
    """What the mix came to, in percent of the requests."""
    hedged, cancelled = db.execute("SELECT count(*) FILTER (WHERE outcome = 'hedged'), count(*) FILTER (WHERE outcome = 'cancelled')"
                                   " FROM inference_runs WHERE tenant = %s", (tenant,)).fetchone()
    fallbacks = db.execute("SELECT count(DISTINCT request_id) FROM inference_runs WHERE tenant = %s AND model = 'broke'", (tenant,)).fetchone()[0]
    return "; ".join(f"{n * 100 / count:.1f} %" for n in (hedged, fallbacks, cancelled))


def ledger(bench, count):
    prefix = bench.fresh()
    bench.provider("20ms")
    bench.config = write_config(bench)
    post(bench.fake_url + "/control", {"error_rate": {"500": 0.02, "429": 0.01}, "trouble_rate": SLOW})
    workers = [bench.worker(prefix, 1000, name=f"worker{i}") for i in range(2)]
    aggregator = bench.aggregator(prefix)
    publish(prefix, count)
    db = connect()
    wait_until("finals", lambda: final_count(db, prefix) >= count)
    for worker in workers:
        worker.stop()
    aggregator.stop()
    calls = [json.loads(line) for line in get(bench.fake_url + "/ledger").splitlines()]
    tokens, cost, missing, unwritten, rest = compare(db, prefix, calls)
    what = f"{count} requests, {len(calls)} calls"
    bench.row(f"{what}: tokens of whole answers in PostgreSQL and in the provider's books differ by", f"{tokens} tokens, {cost} millionths of a dollar", "0")
    bench.row("calls without a row; whole answers without one", f"{unwritten}; {missing}", "0; 0")
    bench.row("the rest, with the tokens the provider counts for them", "; ".join(f"{n} {outcome} ({t})" for outcome, (n, t) in sorted(rest.items())), "listed")
    mix = mix_of(db, prefix, count)
    bench.row("of the requests: calls that were made a second time, answered by a fallback, cancelled or ended at their deadline", mix, "2 %; 3 %; 5 %")
    ends = db.execute("SELECT status, count(*) FROM requests WHERE tenant = %s GROUP BY 1 ORDER BY 1", (prefix,)).fetchall()
    bench.row("how the requests ended", ", ".join(f"{n} {status}" for status, n in ends), "listed")
    before = totals(db, prefix)
    again = bench.aggregator(prefix, group=prefix + "-again")
    wait_until("second reading", lambda: has_read(db, f"{prefix}.results", prefix + "-again"), 300)
    time.sleep(1)
    again.stop()
    bench.row("the result topic is read again by a new group: what changes", "nothing" if totals(db, prefix) == before else f"{before} -> {totals(db, prefix)}", "nothing")
    post(bench.fake_url + "/control", {"error_rate": {}, "trouble_rate": {}})
