"""The load: a steady stream of mixed requests, and the list of what Kafka has acknowledged.

It publishes to the broker directly, not through the proxy: faults of links are for the fleet, and a
publisher whose records wait behind a broken link would only make the load uneven. Broker restarts do
reach it; so it is idempotent, which keeps the order of records across repeated sends, and has a
delivery time-out longer than any fault, so that "accepted" is never in doubt: what is not
acknowledged when the run ends is neither expected nor forbidden.

The mix, of a hundred requests: 56 to one model, 12 to two or three, 28 turns of some forty
conversations, 2 with a deadline an hour away, and 2 that cannot be answered. One in a hundred
of those without a conversation is published twice.
"""
import json
import random
import threading
import time

import msgpack

MODELS = ("m-openai", "m-anthropic", "m-ollama")
SESSIONS, TURNS = 40, 15


class Sent:
    """One request: what it is, and its place in Kafka once it is acknowledged."""

    __slots__ = ("id", "kind", "session", "text", "models", "at_ms", "partition", "offset", "acked_ms", "again")

    def __init__(self, id, kind, session, text, models):
        self.id, self.kind, self.session, self.text, self.models = id, kind, session, text, models
        self.at_ms = time.time() * 1000
        self.partition = self.offset = self.acked_ms = None
        self.again = []  # places of its second record


class Load:
    def __init__(self, fleet, rate, seed):
        self.f, self.rate, self.rand = fleet, rate, random.Random(seed)
        self.sent, self.later, self.number = [], [], 0
        self.sessions, self.session_count = [], 0
        self.problem = None
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def begin(self):
        self.began_ms = time.time() * 1000
        self.thread.start()

    def end(self):
        self.ending.set()
        self.thread.join(30)
        left = self.f.producer.flush(120)
        if left:
            self.problem = "%d records were not acknowledged within 120 s" % left

    def accepted(self):
        return [s for s in self.sent if s.offset is not None]

    # -- the stream -----------------------------------------------------------------------------------------------

    def _run(self):
        began, count = time.monotonic(), 0
        while not self.ending.is_set():
            while count < (time.monotonic() - began) * self.rate:
                self._one()
                count += 1
            self.f.producer.poll(0)
            time.sleep(0.005)

    def _one(self):
        self.number += 1
        while self.later and self.later[0][0] < self.number:
            _, sent, document = self.later.pop(0)
            self._publish(sent, document, again=True)
        dice = self.rand.randrange(100)
        if dice < 56:
            self._ask("one", models=[self.rand.choice(MODELS)])
        elif dice < 68:
            policy = self.rand.choice(("all", "all", "first"))
            self._ask("several", models=self.rand.sample(MODELS, self.rand.choice((2, 3))), merge={"policy": policy})
        elif dice < 96:
            self._ask("turn", session=self._session(), models=["m-openai"])
        elif dice < 98:
            self._ask("deadline", models=["m-openai"], deadline_ms=3600000)
        elif dice < 99:
            self._ask("unknown model", models=["m-nobody"])
        else:
            sent = Sent("bad-%d" % self.number, "unreadable", None, "", ())
            self._send(sent, b'{"id": "%d", "input": ' % self.number, [("content-type", b"application/json")], sent.id, False)

    def _session(self):
        while len(self.sessions) < SESSIONS:
            self.session_count += 1
            self.sessions.append(["session-%d" % self.session_count, TURNS])
        place = self.rand.randrange(SESSIONS)
        session = self.sessions[place]
        session[1] -= 1
        if session[1] == 0:
            del self.sessions[place]
        return session[0]

    def _ask(self, kind, session=None, models=(), **fields):
        text = "request %d of the chaos, %s" % (self.number, session or "alone")
        sent = Sent("c-%d" % self.number, kind, session, text, tuple(models))
        document = {"id": sent.id, "tenant": self.f.tenant, "user": "user%d" % (self.number % 5), "input": text, "models": list(models), **fields}
        if session:
            document["session"] = session
        self._publish(sent, document)
        if kind == "one" and self.rand.randrange(100) == 0:
            self.later.append((self.number + self.rand.randint(1, 300), sent, document))
            self.later.sort(key=lambda item: item[0])

    def _publish(self, sent, document, again=False):
        packed = self.rand.randrange(2)
        value = msgpack.packb(document) if packed else json.dumps(document).encode()
        kind = b"application/msgpack" if packed else b"application/json"
        self._send(sent, value, [("content-type", kind)], sent.session or sent.id, again)

    def _send(self, sent, value, headers, key, again):
        def delivered(error, message):
            if error:
                self.problem = "a record was not delivered: %s" % error
            elif again:
                sent.again.append((message.partition(), message.offset()))
            else:
                sent.partition, sent.offset, sent.acked_ms = message.partition(), message.offset(), time.time() * 1000

        if not again:
            self.sent.append(sent)
        self.f.producer.produce(self.f.topic("requests"), value, key, headers=headers, on_delivery=delivered)
