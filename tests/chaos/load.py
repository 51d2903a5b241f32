"""The load: a steady stream of mixed requests, and the list of what Kafka has acknowledged.

It publishes to the broker directly, not through the proxy: faults of links are for the fleet, and a
publisher whose records wait behind a broken link would only make the load uneven. Broker restarts do
reach it; so it is idempotent, which keeps the order of records across repeated sends, and has a
delivery time-out longer than any fault, so that "accepted" is never in doubt: what is not
acknowledged when the run ends is neither expected nor forbidden.

The mix, of a hundred requests: 27 to one model (some of them another tenant's), 10 to two or three, 22
turns of some forty conversations, 8 by a route whose first model is always down, 8 to a model whose slow calls get a
second one, 6 lists of texts to be embedded (by a model that has second calls, too), 6 to a model and 3 of a tenant that
may have less than is asked of them, 5 whose text is passed on while it comes, 2 that are cancelled, 1 with a
deadline an hour away, and 2 that cannot be answered. One in a hundred of those to one model is published twice.
"""
import json
import queue
import random
import threading
import time

import msgpack
import redis

MODELS = ("m-openai", "m-anthropic", "m-ollama")
SESSIONS, TURNS = 40, 15
SIDE, NARROW = "side", "narrow"
# Requests that may wait for a limit until their deadline is over; what is measured of the throughput leaves them out.
BOUND = {"limited": 6, "narrow": 3}
BOUND_DEADLINE_MS = 45000
MIX = {"one": 27, "several": 10, "turn": 22, "route": 8, "hedged": 8, "embed": 6, **BOUND, "stream": 5, "cancelled": 2, "deadline": 1, "unknown model": 1, "unreadable": 1}
KINDS = [kind for kind, share in MIX.items() for _ in range(share)]


class Sent:
    """One request: what it is, and its place in Kafka once it is acknowledged."""

    __slots__ = ("id", "kind", "session", "text", "models", "tenant", "at_ms", "partition", "offset", "acked_ms", "again", "cancelled_ms", "texts")

    def __init__(self, id, kind, session, text, models, tenant):
        self.id, self.kind, self.session, self.text, self.models, self.tenant = id, kind, session, text, models, tenant
        self.at_ms = time.time() * 1000
        self.partition = self.offset = self.acked_ms = None
        self.again = []  # places of its second record
        self.texts = []  # to be embedded
        self.cancelled_ms = None  # when Redis had taken that it is


class Cancels(threading.Thread):
    """What `quern cancel` does, some moments after the request; one that Redis does not take counts as never made."""

    def __init__(self, url, prefix):
        super().__init__(daemon=True)
        self.redis = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
        self.prefix, self.todo = prefix, queue.Queue()

    def run(self):
        while (item := self.todo.get()) is not None:
            due, sent = item
            time.sleep(max(0, due - time.monotonic()))
            try:
                self.redis.set("%scancelled:{%s:%s}" % (self.prefix, sent.tenant, sent.id), "1", ex=86400)
                if self.redis.publish(self.prefix + "cancel", "%s\x1f%s" % (sent.tenant, sent.id)):
                    sent.cancelled_ms = time.time() * 1000
            except redis.RedisError:
                pass


class Load:
    def __init__(self, fleet, rate, seed):
        self.f, self.rate, self.rand = fleet, rate, random.Random(seed)
        self.sent, self.later, self.number = [], [], 0
        self.sessions, self.session_count = [], 0
        self.problem = None
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.cancels = Cancels(fleet.settings["QUERN_REDIS__URL"], fleet.prefix + ":")

    @property
    def free_rate(self):
        """Of those that no limit holds back."""
        return self.rate * (100 - sum(BOUND.values())) / 100

    def begin(self):
        self.began_ms = time.time() * 1000
        self.thread.start()
        self.cancels.start()

    def end(self):
        self.ending.set()
        self.thread.join(30)
        self.cancels.todo.put(None)
        self.cancels.join(30)
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
        kind = self.rand.choice(KINDS)
        if kind == "one":
            self._ask(kind, models=[self.rand.choice(MODELS)], tenant=SIDE if self.rand.randrange(4) == 0 else None)
        elif kind == "several":
            policy = self.rand.choice(("all", "all", "first"))
            self._ask(kind, models=self.rand.sample(MODELS, self.rand.choice((2, 3))), merge={"policy": policy})
        elif kind == "turn":
            self._ask(kind, session=self._session(), models=["m-openai"])
        elif kind == "route":
            self._ask(kind, route="either")
        elif kind == "hedged":
            self._ask(kind, models=["m-hedged"])
        elif kind == "embed":
            self._ask(kind, models=["m-vectors"], texts=self.rand.randint(1, 4))
        elif kind == "limited":
            self._ask(kind, models=["m-limited"], deadline_ms=BOUND_DEADLINE_MS)
        elif kind == "narrow":
            self._ask(kind, models=["m-openai"], tenant=NARROW, deadline_ms=BOUND_DEADLINE_MS)
        elif kind == "stream":
            self._ask(kind, models=["m-stream"], stream=True)
        elif kind == "cancelled":
            sent = self._ask(kind, models=["m-slow"])
            self.cancels.todo.put((time.monotonic() + 0.3, sent))
        elif kind == "deadline":
            self._ask(kind, models=["m-openai"], deadline_ms=3600000)
        elif kind == "unknown model":
            self._ask(kind, models=["m-nobody"])
        else:
            sent = Sent("bad-%d" % self.number, kind, None, "", (), self.f.tenant)
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

    def _ask(self, kind, session=None, models=(), tenant=None, texts=0, **fields):
        text = "request %d of the chaos, %s" % (self.number, session or "alone")
        sent = Sent("c-%d" % self.number, kind, session, text, tuple(models), tenant or self.f.tenant)
        sent.texts = ["%s, text %d" % (text, i) for i in range(texts)]
        document = {"id": sent.id, "tenant": sent.tenant, "user": "user%d" % (self.number % 5), "input": sent.texts or text, **fields}
        if texts:
            document["kind"] = "embed"
        if models:
            document["models"] = list(models)
        if session:
            document["session"] = session
        self._publish(sent, document)
        if kind == "one" and self.rand.randrange(100) == 0:
            self.later.append((self.number + self.rand.randint(1, 300), sent, document))
            self.later.sort(key=lambda item: item[0])
        return sent

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
