"""Row limits: sixteen workers keep to limits of requests and tokens a minute, which the provider enforces.

The fake provider remembers each call it lets in and refuses with 429 what would exceed the limit in any window; its ledger says how close the
fleet came. Two models at once, with bursts of half as much again as the limit lets through: one is bound by requests; the other by tokens, with
requests of 50 to 2,000 tokens, a third of them in a script whose bytes say little of its tokens, so that every estimate is wrong. Then one with 72,000
requests a minute, for the cost in questions to Redis.

Row limits_learn: the same with `limits: learn`, the default, which listens to the provider's headers as well.
"""

import json
import os
import random
import re
import time

from confluent_kafka import Producer
from web import get, post

BROKERS = os.environ["QUERN_KAFKA__BOOTSTRAP_SERVERS"]
WORKERS, REQUESTS, TOKENS, FAST, BURST, EVERY_S = 16, 6000, 3000000, 72000, 450, 3
WARM_S = 65  # a window's worth leaves at once; what comes behind it is the use
FAST_S = 40


def questions(workers, model):
    name = rf'^quern_limit_questions_total\{{model="{model}"\}} ([\d.]+)$'
    return sum(float(n) for w in workers for n in re.findall(name, get(f"http://127.0.0.1:{w.port}/metrics"), re.M))


def write_config(bench, learn):
    path = os.path.join(bench.run_dir, "limits.yaml")
    rows = [("m", f"requests_per_minute: {REQUESTS}, tokens_per_minute: {TOKENS}"), ("t", f"tokens_per_minute: {TOKENS}"), ("f", f"requests_per_minute: {FAST}")]
    with open(path, "w", encoding="utf-8") as file:
        file.write("default_model: m\nmodels:\n")
        for name, limit in rows:
            file.write(f"  {name}: {{provider: openai, model: bench-{name}, base_url: '{bench.fake_url}', api_key: k, limits: {learn}, {limit}}}\n")
    return path


def text_of(tokens, rand):
    word = '"\\" ' if rand.random() < 0.33 else "corn "
    return (word * (tokens * 4 // len(word) + 1))[: tokens * 4]


class Load:
    """A model's requests, in bursts."""

    def __init__(self, prefix, model, burst, sizes):
        self.topic, self.model, self.burst, self.sizes = f"{prefix}.requests", model, burst, sizes
        self.sent, self.rand = 0, random.Random(7)

    def publish(self, producer):
        for _ in range(self.burst):
            body = {"id": f"{self.topic}-{self.model}-{self.sent}", "models": [self.model], "input": text_of(self.rand.choice(self.sizes), self.rand)}
            producer.produce(self.topic, key=body["id"], value=json.dumps(body))
            self.sent += 1
            if self.sent % 1000 == 0:
                producer.poll(0)


def counted(bench, model):
    rows = json.loads(get(bench.fake_url + "/ledger/limits"))["limits"]
    return next((row for row in rows if row["model"] == f"bench-{model}"), {"admitted": 0, "tokens": 0, "refused": 0, "requests_highest": 0, "tokens_highest": 0})


def play(bench, loads, seconds, mark_s):
    """Publishes for so long; what the provider had counted at mark_s and at the end."""
    producer = Producer({"bootstrap.servers": BROKERS, "partitioner": "murmur2_random", "queue.buffering.max.messages": 1000000})
    began, round_, marks = time.time(), 0, []
    while time.time() < began + seconds:
        for load in loads:
            load.publish(producer)
        producer.flush(60)
        round_ += 1
        if time.time() > began + mark_s and not marks:
            marks.append((time.time(), {load.model: counted(bench, load.model) for load in loads}))
        time.sleep(max(0, began + round_ * EVERY_S - time.time()))
    marks.append((time.time(), {load.model: counted(bench, load.model) for load in loads}))
    return marks


def tell(bench, what, model, marks, member, limit, workers, learn):
    (from_s, first), (to_s, last) = marks
    use = (last[model][member] - first[model][member]) / ((to_s - from_s) * limit / 60)
    row = last[model]
    bench.row(f"16 workers, {what}, bursts{learn}: 429s", f"{row['refused']} of {row['admitted']} calls", "<= 1 in 10,000")
    bench.row("use of the limit; highest in any window", f"{use * 100:.1f} %; {row['requests_highest']} requests, {row['tokens_highest']} tokens", ">= 97 %; <= 100.5 %")
    bench.row("questions to Redis per call", f"{questions(workers, model) / max(row['admitted'], 1):.3f}", "< 0.2")


def limits(bench, seconds, learn="off"):
    prefix = bench.fresh()
    bench.provider("400ms")
    rules = [{"model": "bench-m", "requests": REQUESTS, "tokens": TOKENS}, {"model": "bench-t", "tokens": TOKENS}, {"model": "bench-f", "requests": FAST}]
    post(bench.fake_url + "/control", {"limits": [{**rule, "window_ms": 60000} for rule in rules]})
    bench.config = write_config(bench, learn)
    workers = [bench.worker(prefix, 500, name=f"worker{i}") for i in range(WORKERS)]
    heard = ", limits: learn" if learn != "off" else ""
    sizes = [50, 100, 200, 400, 800, 1200, 2000]
    slow = [Load(prefix, "m", BURST, [150]), Load(prefix, "t", TOKENS * EVERY_S * 3 // 2 // 60 // (sum(sizes) // len(sizes)), sizes)]
    marks = play(bench, slow, WARM_S + seconds, WARM_S)
    tell(bench, f"limit {REQUESTS} requests and {TOKENS} tokens a minute", "m", marks, "admitted", REQUESTS, workers, heard)
    tell(bench, f"limit {TOKENS} tokens a minute, sizes of 50 to 2,000", "t", marks, "tokens", TOKENS, workers, heard)
    fast = play(bench, [Load(prefix, "f", FAST // 60 * EVERY_S * 5 // 4, [20])], FAST_S, FAST_S // 4)
    row = fast[1][1]["f"]
    rate = (row["admitted"] - fast[0][1]["f"]["admitted"]) / (fast[1][0] - fast[0][0])
    bench.row(f"at {rate:.0f} requests/s: questions to Redis per call; 429s", f"{questions(workers, 'f') / max(row['admitted'], 1):.3f}; {row['refused']} of {row['admitted']}", "< 0.05 above 1,000/s")
    for worker in workers:
        worker.stop()
    post(bench.fake_url + "/control", {"limits": []})
