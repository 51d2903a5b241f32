"""What has to be looked at while it happens: the workers' committed offsets, and whether Redis answers.

Offsets are asked of Kafka directly, twice a second; each answer is kept with the time at which it was there, so
that the judge can tell whether everything below it was finished by then. On a machine with other work Redis may stand
still for a second without a fault of the plan; calls may be repeated then as when it is away.
"""
import threading
import time

import redis

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition


class Offsets:
    def __init__(self, servers, group, topic, partitions=12):
        self.samples = []  # (wall ms, {partition: committed offset})
        self.places = [TopicPartition(topic, p) for p in range(partitions)]
        self.consumer = Consumer(
            {"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False, "reconnect.backoff.max.ms": 500, "log_level": 2}
        )
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ending.wait(0.5):
            try:
                found = self.consumer.committed(self.places, timeout=3)
            except KafkaException:
                continue
            self.samples.append((time.time() * 1000, {p.partition: p.offset for p in found if not p.error and p.offset >= 0}))

    def stop(self):
        self.ending.set()
        self.thread.join(20)
        self.consumer.close()


class Silences(threading.Thread):
    """Times (from, to) in which Redis did not answer for SILENT_S, or refused; in wall ms."""

    SILENT_S = 0.4  # a command is a miss after half a second

    def __init__(self, url):
        super().__init__(daemon=True)
        self.redis, self.found, self.ending = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5), [], threading.Event()
        self.start()

    def run(self):
        while not self.ending.wait(0.1):
            began = time.time()
            try:
                self.redis.ping()
            except redis.RedisError:
                began -= self.SILENT_S
            if time.time() - began >= self.SILENT_S:
                self.found.append((began * 1000, time.time() * 1000))


def ends(consumer, topic):
    """Partition -> next offset, of those that hold something."""
    left = {}
    for p in consumer.list_topics(topic, timeout=20).topics[topic].partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20)
        if high > low:
            left[p] = high
    return left


def patiently(question, seconds=180):
    """The judge comes right after the last fault: a broker that is busy is asked again."""
    end = time.monotonic() + seconds
    while True:
        try:
            return question()
        except KafkaException:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def read_topic(servers, topic, take):
    """Gives every record of a topic, from its beginning to its present end, to take(message)."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "chaos-judge", "enable.auto.commit": False, "fetch.wait.max.ms": 20, "log_level": 2})
    left = patiently(lambda: ends(consumer, topic))
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in left])
    end = time.monotonic() + 120
    while left:
        if time.monotonic() > end:
            raise AssertionError("%s cannot be read to its end: partitions %s" % (topic, sorted(left)))
        for message in consumer.consume(2000, 0.2):
            if message.error():
                continue
            take(message)
            if message.partition() in left and message.offset() + 1 >= left[message.partition()]:
                del left[message.partition()]
    consumer.close()
