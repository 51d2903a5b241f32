"""HTTP/1.1 and HTTP/2 towards a provider behind TLS: connections, memory and CPU (tests/bench/run --only http)."""
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fake"))
from tls_front import TlsFront  # noqa: E402


def measure(bench, front, version, count, in_flight, latency):
    """Requests behind one another, `in_flight` at a time; connections are counted while all are there."""
    bench.config = os.path.join(bench.run_dir, "http.yaml")
    with open(bench.config, "w", encoding="utf-8") as file:
        file.write(f"default_model: m\nmodels:\n  m: {{provider: openai, model: bench, base_url: '{front.url}', ca_file: '{front.bundle}', api_key: k, http: '{version}', connect_timeout: 60s}}\n")
    prefix = bench.fresh()
    bench.provider(latency)
    front.forget()
    bench.publish(f"{prefix}.requests", count, prefix)
    nginx = front.cpu_s()
    worker = bench.worker(prefix, in_flight)
    most = 0
    done, end = 0, time.time() + 300
    while done < count and time.time() < end:
        most = max(most, front.connections())
        done = bench.ledger()["delivered"]
        time.sleep(0.3)
    bench.results(f"{prefix}.results", count, 60)
    figures = {
        "connections": most,
        "opened": len({connection for connection, *_ in front.calls()}),
        "cpu_us": worker.cpu() * 1e6 / count,
        "nginx_us": (front.cpu_s() - nginx) * 1e6 / count,
        "memory_mb": worker.memory_mb(),
        "sent": len(front.calls()),
    }
    worker.stop()
    return figures


def http(bench, rounds):
    config = bench.config
    front = TlsFront(os.path.join(bench.run_dir, "tls"), bench.fake_url)
    try:
        for count, in_flight, latency in ((15000, 5000, "4000ms"), (20000, 256, "50ms"), (2000, 20, "10ms")):
            for version in ("1.1", "2"):
                runs = [measure(bench, front, version, count, in_flight, latency) for _ in range(rounds)]
                f = sorted(runs, key=lambda run: run["cpu_us"])[len(runs) // 2]
                most = max(run["connections"] for run in runs)
                goal = "<= 100 connections" if (version, in_flight) == ("2", 5000) else ""
                bench.row(
                    f"{in_flight:,} in flight, {latency}, TLS, HTTP/{version}",
                    f"{most} connections at a time, {f['opened']} in all, {f['memory_mb']:.0f} MB, {f['cpu_us']:.0f} us a call (nginx {f['nginx_us']:.0f} us), {f['sent']} sent of {count}",
                    goal,
                )
    finally:
        front.stop()
        bench.config = config
