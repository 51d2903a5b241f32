"""Row fair: shares of tenants.

(a) Twenty tenants ask once a second each, first alone, then behind another's 200,000 messages in the same partitions.
(b) Ten tenants are busy with requests of 100 to 4,000 tokens: their tokens by the provider's ledger, while all are busy.
"""

import json
import os
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from web import get

BROKERS = os.environ["QUERN_KAFKA__BOOTSTRAP_SERVERS"]
IN_FLIGHT, LIGHT, HEAVY = 64, 20, 200000
PRODUCER = {"bootstrap.servers": BROKERS, "partitioner": "murmur2_random", "queue.buffering.max.messages": 1000000}
PARTITIONS = 12


def percentile(times, part):
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]


class Tail(threading.Thread):
    """Notes when the part of each request of a light tenant came; the record's key is its id."""

    def __init__(self, topic):
        super().__init__(daemon=True)
        self.consumer = Consumer({"bootstrap.servers": BROKERS, "group.id": "bench-fair", "fetch.wait.max.ms": 20})
        self.consumer.assign([TopicPartition(topic, i, 0) for i in range(PARTITIONS)])
        self.seen, self.over = {}, False

    def run(self):
        while not self.over:
            for message in self.consumer.consume(500, 0.02):
                key = message.key().decode() if message.key() else ""
                if not message.error() and key.startswith("light"):
                    # When the worker gave it to its producer: our own haste is not in it.
                    self.seen[key] = message.timestamp()[1] / 1000
        self.consumer.close()


def ask(producer, prefix, name, seconds):
    """Each of the light tenants once a second, evenly; when each was written."""
    asked, began, step = {}, time.time(), 1 / LIGHT

    def written(error, message):
        if error is None:
            asked[message.key().decode()] = message.timestamp()[1] / 1000

    for i in range(int(seconds * LIGHT)):
        time.sleep(max(0, began + i * step - time.time()))
        key = f"light-{name}-{i}"
        body = {"id": key, "tenant": f"light{i % LIGHT}", "input": "what is it that grinds the corn?"}
        producer.produce(f"{prefix}.requests", key=key, value=json.dumps(body), on_delivery=written)
        producer.poll(0)
    producer.flush(10)
    return asked


def measure(tail, asked, wait_s=120):
    """Seconds from written to answered, and how many were not answered."""
    end = time.time() + wait_s
    while time.time() < end and not all(key in tail.seen for key in asked):
        time.sleep(0.1)
    return {key: tail.seen[key] - at for key, at in asked.items() if key in tail.seen}


def publish_heavy(prefix, count):
    producer = Producer({**PRODUCER, "linger.ms": 20})
    for i in range(count):
        body = {"id": f"heavy-{i}", "tenant": "heavy", "input": f"question number {i}: what is it that grinds the corn, and who was it that thought of it first?"}
        producer.produce(f"{prefix}.requests", key=body["id"], value=json.dumps(body))
        if i % 1000 == 0:
            producer.poll(0)
    producer.flush(120)


def light(bench, quick):
    seconds = 20 if quick else 60
    prefix = bench.fresh()
    bench.provider("500ms")
    worker = bench.worker(prefix, IN_FLIGHT)
    tail = Tail(f"{prefix}.results")
    tail.start()
    producer = Producer({**PRODUCER, "linger.ms": 0})
    ask(producer, prefix, "warm", 3)
    idle = measure(tail, ask(producer, prefix, "idle", seconds))
    before = worker.cpu()
    publish_heavy(prefix, HEAVY)
    published = time.time()
    asked = ask(producer, prefix, "busy", seconds)
    busy = measure(tail, asked)
    lost = len(asked) - len(busy)
    first = [took for key, took in busy.items() if asked[key] < published + 2]
    p_idle, p_busy = percentile(list(idle.values()), 0.99), percentile(list(busy.values()), 0.99)
    heavy = json.loads(get(bench.fake_url + "/ledger/summary"))["calls"] - len(idle) - len(busy)
    bench.row(f"{LIGHT} tenants with 1 request/s behind one with {HEAVY:,} messages, 500 ms, {IN_FLIGHT} in flight: p99 against alone",
              f"{p_busy * 1000:.0f} ms / {p_idle * 1000:.0f} ms = {p_busy / p_idle:.2f} ({len(busy)} requests, {lost} without answer)", "<= 1.20")
    bench.row("the same: median; slowest; slowest of those asked in the first 2 s", f"{percentile(list(busy.values()), 0.5) * 1000:.0f} ms; {max(busy.values()) * 1000:.0f} ms; {max(first) * 1000:.0f} ms", "")
    bench.row("the same: calls of the heavy tenant meanwhile; the worker's CPU and memory", f"{heavy} in {time.time() - published:.0f} s; {worker.cpu() - before:.1f} s; {worker.memory_mb():.0f} MB", "")
    # The next worker has all of it ahead at once.
    worker.stop()
    worker = bench.worker(prefix, IN_FLIGHT)
    again = measure(tail, ask(producer, prefix, "again", 5))
    bench.row("a worker that starts with all of them ahead: slowest light request of its first 5 s, median", f"{max(again.values()):.1f} s, {percentile(list(again.values()), 0.5):.2f} s", "")
    tail.over = True
    tail.join()
    worker.stop()


def jain(values):
    return sum(values) ** 2 / (len(values) * sum(v * v for v in values))


def busy(bench, quick):
    calls = 6000 if quick else 30000
    sizes = [round(100 * 40 ** (i / 9)) for i in range(10)]
    each = calls / sum(1 / size for size in sizes)  # tokens, so that all end at the same time
    prefix = bench.fresh()
    bench.provider("50ms")
    producer = Producer(PRODUCER)
    total = 0
    for tenant, size in enumerate(sizes):  # one after another: the last one stands behind all others
        count = int(each / size) + 1
        total += count
        for i in range(count):
            key = f"t{tenant}-{i}"
            producer.produce(f"{prefix}.requests", key=key, value=json.dumps({"id": key, "tenant": f"t{tenant}", "input": "corn " * (size * 4 // 5)}))
            producer.poll(0)
    producer.flush(120)
    worker = bench.worker(prefix, IN_FLIGHT)
    bench.results(f"{prefix}.results", total)
    tokens, left, rows = [0] * 10, [int(each / size) + 1 for size in sizes], 0
    seen, early = [0] * 10, None
    for line in get(bench.fake_url + "/ledger").splitlines():
        row = json.loads(line)
        tenant = int(row["call_id"].split("/")[0][1:])
        tokens[tenant] += row["input_tokens"] + row["output_tokens"]
        seen[tenant] += 1
        rows += 1
        if rows == total // 4:
            early = jain(tokens)
        if seen[tenant] == left[tenant]:
            break
    bench.row(f"ten busy tenants, requests of 100 to 4,000 tokens, {total:,} calls: Jain's index on tokens while all are busy",
              f"{jain(tokens):.4f} ({rows:,} calls; {min(tokens):,} to {max(tokens):,} tokens; {early:.4f} after a quarter)", ">= 0.99")
    worker.stop()


def fair(bench, quick):
    light(bench, quick)
    busy(bench, quick)
