"""Row limits: sixteen workers keep to one model's limit of requests and tokens a minute, which the provider enforces.

The fake provider remembers each call it lets in and refuses with 429 what would exceed the limit in any window; its ledger says how close the
fleet came. Requests come in bursts, half as many again as the limit lets through.
"""

import json
import os
import re
import time

from confluent_kafka import Producer
from web import get, post

BROKERS = os.environ["QUERN_KAFKA__BOOTSTRAP_SERVERS"]
WORKERS, REQUESTS, TOKENS, BURST, EVERY_S = 16, 6000, 3000000, 450, 3
WARM_S = 65  # a window's worth leaves at once; what comes behind it is the use


def metric_sum(workers, name):
    return sum(float(n) for w in workers for n in re.findall(rf"^{name}(?:\{{[^}}]*\}})? ([\d.]+)$", get(f"http://127.0.0.1:{w.port}/metrics"), re.M))


def write_config(bench):
    path = os.path.join(bench.run_dir, "limits.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"default_model: m\nmodels:\n  m: {{provider: openai, model: bench, base_url: '{bench.fake_url}', api_key: k,"
                   f" requests_per_minute: {REQUESTS}, tokens_per_minute: {TOKENS}}}\n")
    return path


def publish(producer, prefix, first, text):
    for i in range(first, first + BURST):
        body = {"id": f"{prefix}-{i}", "input": text}
        producer.produce(f"{prefix}.requests", key=body["id"], value=json.dumps(body))
    producer.flush(60)


def counted(bench):
    return next(row for row in json.loads(get(bench.fake_url + "/ledger/limits"))["limits"] if row["admitted"])


def limits(bench, seconds):
    prefix = bench.fresh()
    bench.provider("400ms")
    post(bench.fake_url + "/control", {"limits": [{"requests": REQUESTS, "tokens": TOKENS, "window_ms": 60000}]})
    bench.config = write_config(bench)
    workers = [bench.worker(prefix, 500, name=f"worker{i}") for i in range(WORKERS)]
    producer = Producer({"bootstrap.servers": BROKERS, "partitioner": "murmur2_random", "queue.buffering.max.messages": 1000000})
    text = "what is it that grinds the corn, and who was it that thought of it first? " * 8
    began, sent, marks = time.time(), 0, []
    while time.time() < began + WARM_S + seconds:
        publish(producer, prefix, sent, text)
        sent += BURST
        if time.time() > began + WARM_S and not marks:
            marks.append((time.time(), counted(bench)["admitted"]))
        time.sleep(max(0, began + sent / BURST * EVERY_S - time.time()))
    marks.append((time.time(), counted(bench)["admitted"]))
    row, questions = counted(bench), metric_sum(workers, "quern_limit_questions_total")
    use = (marks[1][1] - marks[0][1]) / ((marks[1][0] - marks[0][0]) * REQUESTS / 60)
    bench.row(f"16 workers, limit {REQUESTS} requests and {TOKENS} tokens a minute, bursts: 429s", f"{row['refused']} of {row['admitted']} calls", "<= 1 in 10,000")
    bench.row("use of the limit; highest in any window", f"{use * 100:.1f} %; {row['requests_highest']} requests, {row['tokens_highest']} tokens", ">= 97 %; <= 100.5 %")
    bench.row("questions to Redis per call", f"{questions / row['admitted']:.3f}", "< 0.2")
    for worker in workers:
        worker.stop()
    post(bench.fake_url + "/control", {"limits": []})
