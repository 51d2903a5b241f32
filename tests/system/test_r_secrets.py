"""Secrets: keys and passwords appear nowhere but on the wire to whom they are for."""
import http.server
import json
import os
import threading

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from harness import same, scenario, true
from program import http_get

CANARY = "canary-%s-" % os.urandom(6).hex()
KEYS = [CANARY + name for name in ("api-key", "second-key", "header", "stream-key")]


class Parrot(http.server.BaseHTTPRequestHandler):
    """Shows in its error what it was sent, as some providers do."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        words = "Incorrect API key provided: %s (%s). %s" % (self.headers["authorization"], self.headers["x-team-secret"], "x" * 100)
        status, kind = {"parrot-401": (401, "application/json"), "parrot-500": (500, "text/html")}.get(body["model"], (200, "application/json"))
        text = json.dumps({"error": {"message": words, "type": "invalid_request_error", "code": "invalid_api_key"}})
        if body["model"] == "parrot-stream":
            kind, text = "text/event-stream", "data: " + text + "\n\n"
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


def parrot():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


PARROT = parrot()
ADDRESS = "http://127.0.0.1:%d" % PARROT.server_port
FLEET = {
    "settings": {"log.level": "debug"},
    "models": {
        "good": {"api_key": KEYS[0], "headers": {"X-Team-Secret": KEYS[2]}},
        "parrot-401": {"api_keys": KEYS[:2], "headers": {"X-Team-Secret": KEYS[2]}, "base_url": ADDRESS, "stream": "off"},
        "parrot-500": {"api_key": KEYS[0], "headers": {"X-Team-Secret": KEYS[2]}, "base_url": ADDRESS, "stream": "off", "attempts_max": 2},
        "parrot-200": {"api_key": KEYS[0], "headers": {"X-Team-Secret": KEYS[2]}, "base_url": ADDRESS, "stream": "off", "attempts_max": 1},
        "parrot-stream": {"api_key": KEYS[3], "headers": {"X-Team-Secret": KEYS[2]}, "base_url": ADDRESS, "stream": "on", "attempts_max": 1},
        "nobody": {"api_key": KEYS[0], "base_url": "http://127.0.0.1:1", "attempts_max": 1},
    },
}


def topic_bytes(w, topic):
    consumer = Consumer({"bootstrap.servers": w.settings["QUERN_KAFKA__BOOTSTRAP_SERVERS"], "group.id": "canary", "enable.auto.commit": False})
    places = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in consumer.list_topics(topic, timeout=20).topics[topic].partitions]
    consumer.assign(places)
    whole = b""
    while message := consumer.poll(2):
        if not message.error():
            whole += (message.key() or b"") + message.value() + b"".join(k.encode() + v for k, v in message.headers() or [])
    consumer.close()
    true(whole or topic.endswith("batch"), "nothing was read from " + topic)
    return whole


def everything(w):
    """(where, bytes) of all that the fleet leaves behind."""
    for program in w.of("worker") + w.of("aggregator"):
        yield "log of " + program.name, program.log.read_bytes()
        yield "arguments of " + program.name, open("/proc/%d/cmdline" % program.process.pid, "rb").read()
        yield "metrics of " + program.name, http_get(program.url("/metrics"))[1].encode()
    for name in ("requests", "results", "replies", "dead"):
        yield "topic " + name, topic_bytes(w, w.topic(name))
    for (table,) in w.sql("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"):
        rows = w.sql("SELECT coalesce(string_agg(t::text, ' '), '') FROM %s t" % table)
        yield "table " + table, rows[0][0].encode()
    for key in w.redis.keys(w.prefix + ":*"):
        yield "Redis key %r" % key, key + w.redis.dump(key)


@scenario
def a_key_is_shown_nowhere_whatever_a_provider_says(w):
    ids = {model: w.publish(w.request("to " + model, models=[model], stream=True)) for model in FLEET["models"]}
    for model, id in ids.items():
        reply = w.reply(id)
        same(reply["status"], "done" if model == "good" else "failed", model)
        if model == "parrot-401":
            true("Incorrect API key provided" in reply["error"]["message"], "the provider's own words are kept: %r" % reply["error"]["message"])
    w.send(b"no request", partition=1)
    w.flush()
    w.dead(code="invalid_encoding")
    for words in (("show", ids["parrot-401"], "--tenant", w.tenant), ("config", "print"), ("config", "check"), ("doctor",), ("dead", "list"), ("usage",)):
        done = w.quern(*words)
        for secret in KEYS:
            true(secret not in done.stdout + done.stderr, "quern %s shows a key" % " ".join(words))
    looked = 0
    for where, what in everything(w):
        looked += 1
        at = what.find(CANARY.encode())
        true(at < 0, "%s shows a key: %r" % (where, what[max(0, at - 80) : at + 60]))
    true(looked > 15, "only %d places were looked at" % looked)
