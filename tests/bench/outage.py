"""Row outage_long: minutes without the provider, at a steady rate of requests.

The provider's process is killed and comes back on its port; requests go on coming. What is asked: how many attempts that
costs, how soon the fleet is back at full throughput, and whether the backlog reaches the provider as a second wave. Arrivals are the
provider's own ledger (it begins anew with its process), answers are the times of records on the result topic, attempts are counted by the workers.

Nothing was paid twice if the answers that the second process gave and those that were there before it are as many as the requests.
"""

import bisect
import json
import os
import signal
import statistics
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from troubles import Store, met, metric
from web import get

BROKERS = os.environ["QUERN_KAFKA__BOOTSTRAP_SERVERS"]
RATE, WORKERS, IN_FLIGHT, LATENCY_MS = 500, 2, 300, 500
WARM_S, BEHIND_S = 20, 20
WINDOW_S = 2


class Load(threading.Thread):
    """Requests at RATE until told to end; `sent` has the wall time of each."""

    def __init__(self, prefix):
        super().__init__(daemon=True)
        self.prefix, self.sent, self.over = prefix, [], False

    def run(self):
        producer = Producer({"bootstrap.servers": BROKERS, "partitioner": "murmur2_random", "linger.ms": 5})
        began = time.time()
        while not self.over:
            while len(self.sent) < (time.time() - began) * RATE:
                i = len(self.sent)
                body = {"id": f"{self.prefix}-{i}", "input": f"question number {i}: what grinds the corn?", "deadline_ms": 3600000}
                producer.produce(f"{self.prefix}.requests", key=body["id"], value=json.dumps(body))
                self.sent.append(time.time())
            producer.poll(0)
            time.sleep(0.01)
        producer.flush(60)

    def end(self):
        self.over = True
        self.join()
        return len(self.sent)


CALLS_ONLY = b"status\xa5calls"  # MessagePack: it tells of calls, and is no answer


def answers(prefix, records):
    """Wall time of each answer among so many records of the result topic, and how many keys came more than once."""
    consumer = Consumer({"bootstrap.servers": BROKERS, "group.id": "bench-outage"})
    consumer.assign([TopicPartition(f"{prefix}.results", i, 0) for i in range(12)])
    times, keys, seen, end = [], set(), 0, time.time() + 120
    while seen < records and time.time() < end:
        for message in consumer.consume(5000, 1):
            if message.error():
                continue
            seen += 1
            if CALLS_ONLY not in message.value()[:400]:
                times.append(message.timestamp()[1] / 1000)
                keys.add(message.key())
    consumer.close()
    return sorted(times), len(times) - len(keys)


def windows(times, begin, end, width):
    """How many of the times are in each whole window, a second's worth of them."""
    counts = [0] * int((end - begin) // width)
    for t in times:
        i = int((t - begin) // width)
        if 0 <= i < len(counts):
            counts[i] += 1
    return [c / width for c in counts]


def back_after(rates, enough, width):
    """Seconds until the end of the first window that reaches `enough`."""
    return next(((i + 1) * width for i, rate in enumerate(rates) if rate >= enough), float("inf"))


def caught_up(sent, times, begin):
    """When, from `begin` on, no more requests were unanswered than a steady load has."""
    usual = RATE * (LATENCY_MS / 1000 + 1)
    for answered, t in enumerate(times, 1):
        if t > begin and bisect.bisect_right(sent, t) - answered <= usual:
            return t
    return times[-1]


class Watch:
    """How many records the result topic has."""

    def __init__(self, prefix):
        self.consumer = Consumer({"bootstrap.servers": BROKERS, "group.id": "bench-outage"})
        self.partitions = [TopicPartition(f"{prefix}.results", i) for i in range(12)]

    def count(self):
        return sum(self.consumer.get_watermark_offsets(p, timeout=10)[1] for p in self.partitions)


def tell(bench, seconds, run, calls):
    count, times = len(run["sent"]), run["times"]
    arrivals = [call["wall_ms"] / 1000 for call in calls]
    gone_by = caught_up(run["sent"], times, run["again"] + 1)
    waves = windows(arrivals, run["again"], gone_by, 1)
    rates = windows(times, run["again"], gone_by, WINDOW_S)
    full = statistics.median(rates)
    back, back_load = back_after(rates, 0.95 * full, WINDOW_S), back_after(rates, 0.95 * RATE, WINDOW_S)
    wave = max(waves) / statistics.mean(waves)
    before = sum(t < run["again"] for t in times)
    paid = sum(call["status"] == 200 and call["delivered"] for call in calls)
    done, twice = run["finals"].get("done", 0), run["repeated"] + before + paid - count
    share = run["attempts"] / count
    bench.row(
        f"{count:,} requests, {RATE} a second, the provider gone for {seconds:g} s ({WORKERS} workers, {IN_FLIGHT} in flight each, {LATENCY_MS} ms; load {run['load']:.1f})",
        f"{done:,} answered, {sum(run['finals'].values()) - done} errors, {count - sum(run['finals'].values())} lost, {twice} twice; {share:.4f} attempts per request"
        f" (breakers opened {run['openings']:.0f} times): {met(done == count and not twice and share <= 1.1)}",
        "all answered once, <= 1.1 attempts",
    )
    bench.row(
        "behind it: 95 % of the arrival rate, and of what the fleet then does",
        f"{back_load:g} s; {back:g} s ({full:.0f} answers/s): {met(max(back, back_load) <= 10)}",
        "<= 10 s",
    )
    bench.row(
        f"the backlog is gone after {gone_by - run['again']:.0f} s; arrivals at the provider per second until then, max over mean",
        f"{max(waves):.0f} / {statistics.mean(waves):.0f} = {wave:.2f}; first ten seconds {', '.join(f'{n:.0f}' for n in waves[:10])}: {met(wave <= 1.5)}",
        "<= 1.5",
    )


def start(bench, prefix):
    bench.provider(f"{LATENCY_MS}ms")
    aggregator = bench.aggregator(prefix)
    workers = [bench.worker(prefix, IN_FLIGHT, name=f"worker{i}") for i in range(WORKERS)]
    while sum(metric(worker, "partitions_assigned") for worker in workers) < 12:
        time.sleep(0.1)
    return aggregator, workers


def go_on_until_caught_up(load, watch):
    end = time.time() + 1200
    while len(load.sent) - watch.count() > 2 * RATE and time.time() < end:
        time.sleep(0.5)
    time.sleep(BEHIND_S)
    return load.end()


def outage_long(bench, seconds):
    prefix = bench.fresh()
    aggregator, workers = start(bench, prefix)
    load, watch = Load(prefix), Watch(prefix)
    load.start()
    time.sleep(WARM_S)
    bench.stop_fake(signal.SIGKILL)
    time.sleep(seconds)
    bench.start_fake(f"{LATENCY_MS}ms")
    run = {"again": time.time(), "sent": load.sent}
    count = go_on_until_caught_up(load, watch)
    store = Store()
    _, run["finals"] = store.wait(prefix, count, 300)
    store.db.close()
    run["load"] = os.getloadavg()[2]
    run["attempts"] = sum(metric(worker, "calls_total") for worker in workers)
    run["openings"] = sum(metric(worker, "breaker_openings_total") for worker in workers)
    run["times"], run["repeated"] = answers(prefix, watch.count())
    for program in [*workers, aggregator]:
        program.stop()
    tell(bench, seconds, run, [json.loads(line) for line in get(bench.fake_url + "/ledger").splitlines()])
