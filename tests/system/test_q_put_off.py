"""A provider that is away, a model that is full: who does not want it notices nothing, who does is answered once it is back."""
import socket
import threading
import time

from harness import expected, same, scenario, true, wait_until


class Gateway:
    """An address at which nobody listens, until it is opened: then it leads to the fake provider."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]

    def open(self, target):
        host, port = target.removeprefix("http://").split(":")
        self.target = (host, int(port))
        self.listener.listen(256)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = socket.create_connection(self.target)
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(a, b), daemon=True).start()

    @staticmethod
    def _carry(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


gateway = Gateway()
FLEET = {
    "settings": {"worker.max_in_flight": 50},
    "models": {"away": {"model": "gpt-away", "base_url": gateway.url, "connect_timeout": "500ms"},
               "narrow": {"model": "gpt-narrow", "concurrency_max": 8}},
}


def others_are_answered(w, beside):
    """How long each of forty took."""
    times = []
    for i in range(40):
        asked = time.monotonic()
        same(w.ask("beside %d" % i)["text"], expected("beside %d" % i), "the answer")
        times.append(time.monotonic() - asked)
    true(sorted(times)[20] < 0.3 and max(times) < 1.5, "beside %s: %s" % (beside, ["%.3f" % t for t in sorted(times)]))
    return times


@scenario(seconds=200)
def five_thousand_wait_for_a_provider_and_nobody_else_does(w):
    w.fake.control(latency=20)
    for i in range(5000):
        w.post(w.request("patient %d" % i, tenant="patient", models=["away"], deadline_ms=1800000))
    w.flush()
    wait_until(lambda: w.worker.metrics()["quern_requests_put_off"] > 4900, 60, "the others to be put off")
    times = others_are_answered(w, "an outage")
    true(w.worker.metrics()["quern_requests_in_flight"] <= 50, "those at work")
    same(w.worker.ready(), True, "the worker is ready")
    gateway.open(w.fake.url)
    began = time.monotonic()
    w.finals(5000, 90, tenant="patient")
    print("    median %.0f ms, slowest %.0f ms beside it; 5,000 answered %.1f s after it was back" % (sorted(times)[20] * 1000, max(times) * 1000, time.monotonic() - began))
    calls = w.fake.ledger("patient")
    same(len(calls), 5000, "calls that the provider got")
    same(len({call["call_id"].split("/")[1] for call in calls}), 5000, "requests that they were for")
    same(w.worker.metrics()["quern_requests_put_off"], 0, "who waits")


@scenario(seconds=200)
def five_thousand_wait_for_room_and_nobody_else_does(w):
    w.fake.control(latency=20)
    began = time.monotonic()
    for i in range(5000):
        w.post(w.request("guest %d" % i, tenant="guest", models=["narrow"], deadline_ms=1800000))
    w.flush()
    wait_until(lambda: w.worker.metrics()["quern_requests_put_off"] > 1000, 60, "the others to be put off")
    times = others_are_answered(w, "a full model")
    true(w.worker.metrics()["quern_requests_in_flight"] <= 50, "those at work")
    w.finals(5000, 90, tenant="guest")
    calls = w.fake.ledger("guest")
    print("    median %.0f ms, slowest %.0f ms beside it; 5,000 calls of 20 ms, 8 at once, in %.1f s" % (sorted(times)[20] * 1000, max(times) * 1000, time.monotonic() - began))
    same(len(calls), 5000, "calls that the provider got")
    same(len({call["call_id"].split("/")[1] for call in calls}), 5000, "requests that they were for")
    same(w.worker.metrics()["quern_requests_put_off"], 0, "who waits")
