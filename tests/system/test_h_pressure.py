"""More requests than the fleet may take at once."""
import time

from checker import Load
from harness import expected, same, scenario, true

FLEET = {"settings": {"worker.max_in_flight": 50}}


@scenario(seconds=120)
def five_thousand_requests_never_have_more_than_fifty_calls_in_flight(w):
    w.fake.control(latency=20)
    load = Load(w)
    load.many(5000)
    load.accepted().wait(100)
    summary = w.fake.summary()
    true(10 < summary["max_in_flight"] <= 50, "%d calls were in flight at once" % summary["max_in_flight"])
    same(summary["calls"], 5000, "calls at the provider")
    load.check()


@scenario(seconds=120)
def several_models_per_request_count_each_against_the_limit(w):
    w.fake.control(latency=20)
    load = Load(w)
    load.many(300, models=("m-openai", "m-anthropic", "m-ollama", "m-generate"))
    load.accepted().wait(100)
    true(w.fake.summary()["max_in_flight"] <= 50, "%d calls were in flight at once" % w.fake.summary()["max_in_flight"])
    load.check()


@scenario(seconds=120)
def one_long_conversation_does_not_hold_up_the_others(w):
    w.fake.control(latency=50)
    load = Load(w)
    load.many(100, sessions=1)
    load.accepted()
    began = time.monotonic()
    same(w.ask("beside it")["text"], expected("beside it"), "the answer")
    true(time.monotonic() - began < 3, "it took %.1f s" % (time.monotonic() - began))
    same(w.ask("another conversation", session="other")["text"], expected("another conversation"), "the answer")
    load.wait(100)


@scenario(seconds=120, settings={"worker.max_in_flight": 50, "worker.lanes": "requests,requests.batch"})
def the_batch_lane_lets_the_other_go_first(w):
    w.fake.control(latency=100)
    for i in range(1000):
        w.post(w.request("batch %d" % i), topic="requests.batch")
    w.flush()
    began = time.monotonic()
    same(w.ask("urgent")["text"], expected("urgent"), "the answer")
    took = time.monotonic() - began
    true(took < 1.5, "an urgent request behind a thousand in the batch lane took %.1f s" % took)
    w.finals(1001, 60)


@scenario(seconds=120, settings={"worker.max_in_flight": 200, "worker.read_ahead_bytes": "1MiB"})
def read_ahead_stays_within_its_bytes(w):
    w.fake.control(latency=50)
    load = Load(w)
    for i in range(300):
        load.add("large %d " % i + "x" * 100_000)
    load.accepted().wait(100)
    load.check()
    same(w.worker.metrics()["quern_partitions_paused"], 0, "partitions that are still paused")
