"""Reads replies and dead letters as they come, the way any client would, and keeps them for questions."""
import json
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

ERRORS_MAX = 10  # kept, of one collector


class Reply(dict):
    """The reply document; `headers` as strings, `key` and `topic` besides."""


def read_topic(servers, topic, seconds=20):
    """All records that the topic has now."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader", "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 2})
    try:
        partitions = consumer.list_topics(topic, seconds).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        found, ends, end = [], 0, time.monotonic() + seconds
        while ends < len(partitions) and time.monotonic() < end:
            for message in consumer.consume(1000, 0.1):
                if not message.error():
                    found.append(message)
                ends += bool(message.error()) and message.error().code() == KafkaError._PARTITION_EOF
        if ends < len(partitions):
            raise AssertionError("%s was not read to its end within %s s" % (topic, seconds))
        return found
    finally:
        consumer.close()


class DeadLetter:
    """Its headers as strings; those it has from the original may be any bytes, or none."""

    def __init__(self, message):
        self.value, self.key = message.value(), message.key()
        self.headers = {k: (v or b"").decode(errors="replace") for k, v in message.headers() or []}

    def __getattr__(self, name):
        try:
            return self.headers["quern-dead-" + name]
        except KeyError:
            raise AttributeError(name) from None


class Collector:
    def __init__(self, servers, topics):
        self.lock = threading.Lock()
        self.by_id, self.letters, self.more = {}, [], []
        self.taken, self.errors = 0, []  # for explain()
        self.ending = threading.Event()
        self.replies_topic = topics[0]
        self.consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "collector",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "reconnect.backoff.max.ms": 500,
                "auto.offset.reset": "error",  # the library's default jumps to the end, and replies would be missing
                "log_level": 2,
            }
        )
        known = self.consumer.list_topics(timeout=20).topics
        end = time.monotonic() + 10
        while not all(t in known for t in topics) and time.monotonic() < end:
            time.sleep(0.1)
            known = self.consumer.list_topics(timeout=20).topics
        places = [TopicPartition(t, p, OFFSET_BEGINNING) for t in topics for p in known[t].partitions]
        self.consumer.assign(places)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def add_topic(self, topic, partitions):
        """A topic that was just made; taken up by the reading thread."""
        with self.lock:
            self.more += [TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)]

    def _read(self):
        while not self.ending.is_set():
            with self.lock:
                more, self.more = self.more, []
            if more:
                self.consumer.incremental_assign(more)
            try:
                messages = self.consumer.consume(1000, 0.05)
            except KafkaException:
                continue
            with self.lock:
                for message in messages:
                    if not message.error():
                        self._take(message)
                    elif len(self.errors) < ERRORS_MAX:
                        self.errors.append("%s [%s]: %s" % (message.topic(), message.partition(), message.error()))

    def explain(self):
        """Why something may be missing, as far as the client said."""
        with self.lock:
            return "%d records were taken, errors: %s" % (self.taken, self.errors or "none")

    def _take(self, message):
        self.taken += 1
        if message.topic().endswith(".dead"):
            self.letters.append(DeadLetter(message))
            return
        reply = Reply(json.loads(message.value()))
        reply.headers = {k: v.decode() for k, v in message.headers() or []}
        reply.key, reply.topic = message.key(), message.topic()
        self.by_id.setdefault((reply.get("tenant", "default"), reply["request_id"]), []).append(reply)

    def replies(self, tenant, id):
        with self.lock:
            return list(self.by_id.get((tenant, id), ()))

    def ids(self, tenant):
        with self.lock:
            return {id for owner, id in self.by_id if owner == tenant}

    def everything(self):
        """All bytes that came, for those who look for something that must not be there."""
        with self.lock:
            replies = [json.dumps([r, r.headers]) for many in self.by_id.values() for r in many]
            return replies + [repr((d.value, d.headers)) for d in self.letters]

    def dead(self, headers):
        with self.lock:
            return [d for d in self.letters if all(d.headers.get("quern-dead-" + k) == str(v) for k, v in headers.items())]

    def stop(self):
        self.ending.set()
        self.thread.join(20)
        self.consumer.close()
