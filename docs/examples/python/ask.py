"""Asks one question through quern with nothing but the ordinary Kafka client.

    pip install confluent-kafka
    python ask.py [BROKERS] [PREFIX] QUESTION         # python ask.py 127.0.0.1:9092 quern "what is a quern?"
"""
import json
import sys
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition

*where, question = sys.argv[1:]
brokers, prefix = (where + ["127.0.0.1:9092", "quern"][len(where) :])[:2]

# Take up the replies before asking, from where their topic ends now.
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "ask-" + uuid.uuid4().hex, "enable.auto.commit": False})
replies = prefix + ".replies"
partitions = [TopicPartition(replies, p) for p in consumer.list_topics(replies, timeout=10).topics[replies].partitions]
for place in partitions:
    place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
consumer.assign(partitions)

# The id makes the request safe to send again; the same partitioner as all other clients keeps sessions together.
request = {"id": str(uuid.uuid4()), "input": question}
producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})
producer.produce(prefix + ".requests", json.dumps(request), key=request["id"], headers={"content-type": "application/json"})
producer.flush(10)

until = time.monotonic() + 60
while time.monotonic() < until:
    message = consumer.poll(1)
    if message is None or message.error() or message.key() != request["id"].encode():
        continue
    reply = json.loads(message.value())
    print(reply["text"] if reply["status"] == "done" else "%(code)s: %(message)s" % reply["error"])
    sys.exit(reply["status"] != "done")
sys.exit("no reply within a minute")
