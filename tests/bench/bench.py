"""The figures of docs/performance.md. Called by tests/bench/run, which has the stack up.

Every row is measured on an idle fleet of one worker (and one aggregator where results are stored), against the
fake provider; the floor program does the bare job with the same libraries in the same run. CPU is user + system time of
the whole process, threads of the libraries included.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time

import fair
import ledger
import limits
import outage
import provider
import redis
import streams
import transport
import troubles
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from web import get, post

BROKERS = os.environ["QUERN_KAFKA__BOOTSTRAP_SERVERS"]
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A program of the fleet with its log, its port and its CPU time."""

    def __init__(self, name, words, run_dir, pattern, environment=None):
        self.log = os.path.join(run_dir, name + ".log")
        self.out = open(self.log, "wb")
        self.child = subprocess.Popen(words, stdout=self.out, stderr=self.out, env={**os.environ, **(environment or {})})
        self.port = self.wait(pattern)

    def wait(self, pattern):
        for _ in range(300):
            found = re.search(pattern, open(self.log, encoding="utf-8", errors="replace").read())
            if found:
                return int(found.group(1))
            if self.child.poll() is not None:
                break
            time.sleep(0.02)
        raise SystemExit(f"{self.log}: did not start\n" + open(self.log, encoding="utf-8").read()[-2000:])

    def cpu(self):
        fields = open(f"/proc/{self.child.pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self, what="VmHWM"):
        status = open(f"/proc/{self.child.pid}/status", encoding="ascii").read()
        return int(re.search(what + r":\s+(\d+)", status).group(1)) / 1024

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.out.close()


class Bench:
    def __init__(self, checkout, build):
        self.build = build
        self.run_dir = os.environ["QUERN_RUN_DIR"]
        self.rows = []
        self.serial = 0
        self.began = int(time.time())
        self.admin = AdminClient({"bootstrap.servers": BROKERS})
        self.fake = None
        self.start_fake("0")
        self.fake_url = f"http://127.0.0.1:{self.fake.port}"
        self.config = os.path.join(self.run_dir, "bench.yaml")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(
                f"default_model: m\nmodels:\n  m: {{provider: openai, model: bench, base_url: '{self.fake_url}',"
                " api_key: k, price_input: 1, price_output: 2, stream: 'off'}\n"
                f"  s: {{provider: openai, model: bench, base_url: '{self.fake_url}', api_key: k, stream: 'on'}}\n"
                f"  m16: {{provider: openai, model: {streams.MODEL}, base_url: '{self.fake_url}', api_key: k, stream: 'off'}}\n"
                f"  s16: {{provider: openai, model: {streams.MODEL}, base_url: '{self.fake_url}', api_key: k, stream: 'on'}}\n"
                f"  hang: {{provider: openai, model: fake-hang, base_url: '{self.fake_url}', api_key: k, timeout: 24h}}\n"
            )
        subprocess.run([f"{build}/producer/quern", "--config", self.config, "migrate", "up"], check=True, stdout=subprocess.DEVNULL)

    def start_fake(self, latency):
        """The provider; a second one takes the first one's port."""
        port = str(self.fake.port if self.fake else 0)
        self.fake = Process(
            "fake", [f"{self.build}/tests/fake/quern-fake", "--port", port, "--latency", latency], self.run_dir, r"listening on 127\.0\.0\.1:(\d+)"
        )

    def stop_fake(self, how):
        self.fake.child.send_signal(how)
        self.fake.child.wait(10)
        self.fake.out.close()

    def row(self, what, figure, goal):
        self.rows.append((what, figure, goal))
        print(f"| {what} | {figure} | {goal} |", flush=True)

    def fresh(self):
        """A topic prefix of its own, so that every measurement begins with empty topics."""
        self.serial += 1
        prefix = f"bench{self.began}x{self.serial}"
        names = ["requests", "requests.batch", "results", "replies", "dead", "floor"]
        made = self.admin.create_topics(
            [NewTopic(f"{prefix}.{n}", num_partitions=12, replication_factor=1, config={"max.message.bytes": "33554432"}) for n in names]
        )
        for future in made.values():
            future.result(30)
        return prefix

    def provider(self, latency):
        post(self.fake_url + "/control", {"latency": latency})
        post(self.fake_url + "/control/reset", {})

    def ledger(self):
        return json.loads(get(self.fake_url + "/ledger/summary"))

    def publish(self, topic, count, tag):
        producer = Producer({"bootstrap.servers": BROKERS, "partitioner": "murmur2_random", "queue.buffering.max.messages": 1000000, "linger.ms": 20})
        for i in range(count):
            body = {"id": f"{tag}-{i}", "input": f"question number {i}: what is it that grinds the corn, and who was it that thought of it first?"}
            producer.produce(topic, key=body["id"], value=json.dumps(body))
            if i % 10000 == 0:
                producer.poll(0)
        producer.flush(120)

    def results(self, topic, count, limit_s=600):
        """Waits until `count` records are in the topic; the wall time of that moment."""
        consumer = Consumer({"bootstrap.servers": BROKERS, "group.id": "bench-watch"})
        partitions = [TopicPartition(topic, i) for i in range(12)]
        end = time.time() + limit_s
        while time.time() < end:
            try:
                have = sum(consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions)
            except KafkaException:  # the topic is new, and not everybody has heard of it
                have = 0
            if have >= count:
                consumer.close()
                return time.time()
            time.sleep(0.02)
        raise SystemExit(f"{topic}: {have} of {count} after {limit_s} s")

    def first_call(self):
        first = json.loads(next(iter(get(self.fake_url + "/ledger").splitlines())))
        return first["wall_ms"] / 1000

    def worker(self, prefix, in_flight, extra=(), environment=None, name="worker"):
        words = [f"{self.build}/worker/quern-worker", "--config", self.config, "--set", f"topics.prefix={prefix}",
                 "--set", f"worker.group={prefix}", "--set", f"worker.max_in_flight={in_flight}",
                 "--set", "worker.http_address=127.0.0.1:0", "--set", f"replies.allowed_prefixes={prefix}", "--set", f"worker.lock_dir={self.run_dir}"]
        for setting in extra:
            words += ["--set", setting]
        return Process(name, words, self.run_dir, r'"operation port".*"port":(\d+)', environment)

    def aggregator(self, prefix, group=None):
        words = [f"{self.build}/aggregator/quern-aggregator", "--config", self.config, "--set", f"topics.prefix={prefix}",
                 "--set", f"aggregator.group={group or prefix + '-agg'}", "--set", "aggregator.http_address=127.0.0.1:0",
                 "--set", f"replies.allowed_prefixes={prefix}", "--set", f"aggregator.lock_dir={self.run_dir}"]
        return Process("aggregator", words, self.run_dir, r'"operation port".*"port":(\d+)')

    def run_floor(self, count, in_flight, latency, shards=0):
        prefix = self.fresh()
        self.provider(latency)
        self.publish(f"{prefix}.requests", count, prefix)
        words = [f"{self.build}/tests/bench/quern-bench-floor", "--brokers", BROKERS, "--group", prefix, "--topic", f"{prefix}.requests",
                 "--out-topic", f"{prefix}.floor", "--url", self.fake_url + "/v1", "--in-flight", str(in_flight), "--count", str(count)]
        if shards:
            words += ["--shards", str(shards)]
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=900)
        figures = json.loads(done.stdout.strip().splitlines()[-1])
        if figures["failed"]:
            raise SystemExit(f"the floor's calls failed: {figures}")
        figures["cpu_us"] = (figures["cpu_user_s"] + figures["cpu_sys_s"]) * 1e6 / count
        return figures

    def run_worker(self, count, in_flight, latency, extra=(), environment=None):
        prefix = self.fresh()
        self.provider(latency)
        self.publish(f"{prefix}.requests", count, prefix)
        worker = self.worker(prefix, in_flight, extra, environment)
        end = self.results(f"{prefix}.results", count)
        figures = {"wall_s": end - self.first_call(), "cpu_us": worker.cpu() * 1e6 / count, "memory_mb": worker.memory_mb()}
        worker.stop()
        return figures

    # --- the rows ---

    def throughput_500ms(self):
        w = self.run_worker(10000, 1000, "500ms")
        self.row("500 ms, 10,000 requests, 1,000 in flight: wall", f"{w['wall_s']:.2f} s ({w['wall_s'] / 5:.2f} of ideal)", "<= 1.15 of 5 s")

    def many_in_flight(self):
        f = self.run_floor(32000, 8000, "2000ms", 64)
        w = self.run_worker(32000, 8000, "2000ms")
        small = self.run_worker(8000, 1000, "2000ms")
        self.row("2 s, 32,000 requests, 8,000 in flight: wall against the floor's", f"{w['wall_s']:.2f} s / {f['wall_s']:.2f} s = {w['wall_s'] / f['wall_s']:.2f}", "<= 1.1")
        self.row("CPU per request at 8,000 in flight against 1,000", f"{w['cpu_us']:.0f} us / {small['cpu_us']:.0f} us = {w['cpu_us'] / small['cpu_us']:.2f}", "<= 1.5")

    def cpu(self, rounds):
        off = {"QUERN_REDIS__URL": ""}
        ratios, ratios_redis, figures = [], [], None
        for _ in range(rounds):  # each beside a floor of its own: the host's speed changes from minute to minute
            f = self.run_floor(20000, 256, "0")
            w = self.run_worker(20000, 256, "0", ["redis.url="], off)
            r = self.run_worker(20000, 256, "0")
            ratios.append(w["cpu_us"] / f["cpu_us"])
            ratios_redis.append(r["cpu_us"] / f["cpu_us"])
            figures = f"{w['cpu_us']:.0f} and {r['cpu_us']:.0f} us, floor {f['cpu_us']:.0f} us"
        spread = lambda found: f"{statistics.median(found):.2f} ({len(found)} rounds: {min(found):.2f} to {max(found):.2f})"
        self.row("CPU per request against the floor's, Redis off", f"{spread(ratios)}; last: {figures}", "<= 1.4")
        self.row("CPU per request against the floor's, Redis on", spread(ratios_redis), "<= 1.8")

    def memory(self):
        w = self.run_worker(12000, 10000, "5000ms")
        self.row("10,000 calls in flight: resident memory", f"{w['memory_mb']:.0f} MB", "<= 300 MB")

    def steady(self, minutes):
        prefix = self.fresh()
        self.provider("200ms")
        worker = self.worker(prefix, 1000)
        aggregator = self.aggregator(prefix)
        samples = []
        for minute in range(int(minutes * 6)):
            self.publish(f"{prefix}.requests", 5000, f"{prefix}-{minute}")
            time.sleep(10)
            samples.append((worker.memory_mb("VmRSS"), aggregator.memory_mb("VmRSS")))
        first, last = samples[len(samples) // 5], samples[-1]
        self.row(f"{minutes:g} minutes of steady load: memory of worker, aggregator", f"{first[0]:.0f} -> {last[0]:.0f} MB, {first[1]:.0f} -> {last[1]:.0f} MB", "no growth")
        worker.stop(), aggregator.stop()

    def latency(self, count=300):
        prefix = self.fresh()
        self.provider("0")
        worker, aggregator = self.worker(prefix, 100), self.aggregator(prefix)
        consumer = Consumer({"bootstrap.servers": BROKERS, "group.id": prefix + "-r", "fetch.wait.max.ms": 100})
        consumer.assign([TopicPartition(f"{prefix}.replies", i, 0) for i in range(12)])
        producer = Producer({"bootstrap.servers": BROKERS, "partitioner": "murmur2_random", "linger.ms": 0})
        time.sleep(2)
        times = []
        for i in range(count):
            began = time.time()
            producer.produce(f"{prefix}.requests", key=str(i), value=json.dumps({"id": f"{prefix}-{i}", "input": "x"}))
            producer.flush(10)
            while True:
                message = consumer.poll(5)
                if message is not None and not message.error() and json.loads(message.value())["request_id"] == f"{prefix}-{i}":
                    break
            times.append((time.time() - began) * 1000)
        consumer.close()
        worker.stop(), aggregator.stop()
        times.sort()
        self.row("publish to reply (behind the stored final), idle, latency 0: p50, p99", f"{times[count // 2]:.1f} ms, {times[count * 99 // 100]:.1f} ms", "< 20 ms, < 60 ms")

    def start(self):
        prefix = self.fresh()
        self.provider("0")
        self.publish(f"{prefix}.requests", 100, prefix)
        worker = self.worker(prefix, 100)
        self.results(f"{prefix}.results", 100)
        log = [json.loads(line) for line in open(worker.log, encoding="utf-8") if line.startswith("{")]
        assigned = next(line["ts"] for line in log if line["msg"] == "partitions assigned")
        moment = time.mktime(time.strptime(assigned[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone + float(assigned[19:23])
        self.row("partitions assigned to first call", f"{(self.first_call() - moment) * 1000:.0f} ms", "< 1 s")
        worker.stop()

    def store(self, rounds):
        """Rooms of the aggregator against plain multi-row inserts of the same rows, alternately."""
        shares, last = [], ""
        for _ in range(rounds):
            # Exit code 1 is a share below the goal, which is a figure, too.
            done = subprocess.run([f"{self.build}/tests/bench/quern-bench-store", "--count", "40000"], capture_output=True, text=True, timeout=900, check=False)
            if done.returncode not in (0, 1) or not done.stdout:
                raise RuntimeError(f"quern-bench-store: {done.stderr}")
            last = done.stdout.strip().splitlines()[-1]
            shares.append(int(re.search(r"share (\d+) %", last).group(1)))
        rates = re.findall(r": (\d+)", last)
        shares.sort()
        self.row("results stored on one connection, share of plain multi-row inserts", f"{shares[len(shares) // 2]} % (last: {rates[0]}/s of {rates[1]}/s; runs: {shares[0]} to {shares[-1]} %)", ">= 70 %")


def make_room():
    """Without an aggregator, as in most rows, what was answered stays in Redis for an hour; and a full Redis refuses."""
    server = redis.Redis.from_url(os.environ["QUERN_REDIS__URL"])
    server.config_set("maxmemory", "4gb")
    server.flushall()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout")
    parser.add_argument("build")
    parser.add_argument("--quick", action="store_true", help="one round each")
    parser.add_argument("--steady", type=float, default=0, help="minutes of steady load for the memory row")
    parser.add_argument("--stuck", type=float, default=120, help="seconds for which one session is stuck (row stuck)")
    parser.add_argument("--behind", type=int, default=100000, help="least number of messages behind it")
    parser.add_argument("--outage", type=float, default=300, help="seconds for which the provider is gone (row outage_long)")
    parser.add_argument("--only", default="", help="names of rows, comma separated")
    args = parser.parse_args()
    bench = Bench(args.checkout, args.build)
    todo = {
        "throughput": bench.throughput_500ms,
        "in_flight": bench.many_in_flight,
        "cpu": lambda: bench.cpu(1 if args.quick else 11),
        "memory": bench.memory,
        "latency": bench.latency,
        "start": bench.start,
        "store": lambda: bench.store(1 if args.quick else 5),
        "provider": lambda: provider.provider(bench),
        "kill": lambda: (troubles.kill(bench, signal.SIGKILL), troubles.kill(bench, signal.SIGTERM)),
        "outage": lambda: troubles.outage(bench, 1 if args.quick else 3),
        "errors": lambda: troubles.errors(bench, 1 if args.quick else 3),
        "limits": lambda: limits.limits(bench, 60 if args.quick else 180),
        "streams": lambda: streams.streams(bench, 1 if args.quick else 3),
        "fair": lambda: fair.fair(bench, args.quick),
        "ledger": lambda: ledger.ledger(bench, 10000 if args.quick else 100000),
        "http": lambda: transport.http(bench, 1 if args.quick else 3),
        "stuck": lambda: troubles.stuck(bench, args.stuck, args.behind, 1 if args.quick else 3),
    }
    if "limits_learn" in args.only.split(","):
        todo["limits_learn"] = lambda: limits.limits(bench, 60 if args.quick else 180, "learn")
    if "outage_long" in args.only.split(","):  # ten minutes: only when asked for
        todo["outage_long"] = lambda: outage.outage_long(bench, 60 if args.quick else args.outage)
    if args.steady:
        todo["steady"] = lambda: bench.steady(args.steady)
    print(f"| What | Measured ({os.cpu_count()} cores) | Goal |\n| --- | --- | --- |")
    try:
        for name, row in todo.items():
            if not args.only or name in args.only.split(","):
                make_room()
                row()
    finally:
        bench.fake.stop()


if __name__ == "__main__":
    sys.exit(main())
