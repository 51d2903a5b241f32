"""Programs that are killed, stopped, joined and left under load: nothing is lost, hardly anything is asked twice."""
import json
import signal
import time

from checker import Load
from harness import same, scenario, true, wait_until

FLEET = {"settings": {"worker.max_in_flight": 100}, "models": {"m-slow": {"model": "fake-slow-300"}}}


def under_load(w, count=400, sessions=20, latency=300):
    """A load in the middle of its work: some requests final, others not."""
    w.fake.control(latency=latency)
    load = Load(w)
    load.many(count // 2, sessions)
    load.many(count // 2, models=("m-openai", "m-anthropic")[: 1 + count % 2])
    load.accepted()
    wait_until(lambda: load.final_count() > count // 10, 30, "the first answers")
    return load


def kill_with_calls_in_flight(w, program):
    """(calls in flight at the kill, wall milliseconds of the kill)"""
    wait_until(lambda: w.fake.summary()["in_flight"] > 10, 20, "calls in flight")
    at = time.time() * 1000
    before = w.fake.summary()["in_flight"]
    program.kill()
    return max(before, w.fake.summary()["in_flight"], 1), at


@scenario(seconds=90)
def a_killed_worker_loses_nothing_and_repeats_only_what_was_in_flight(w):
    load = under_load(w)
    in_flight, at = kill_with_calls_in_flight(w, w.worker)
    true(load.final_count() < len(load.sent), "everything was final before the kill")
    w.start("worker")
    load.wait().check(repeats_max=100, answered_before_ms=at)
    true(load.repeated <= 100, "%d calls were repeated, %d were in flight" % (load.repeated, in_flight))


@scenario(seconds=90)
def a_worker_killed_three_times_still_loses_nothing(w):
    load, first = under_load(w, 600), None
    for _ in range(3):
        _, at = kill_with_calls_in_flight(w, w.worker)
        first = first or at
        w.start("worker")
    load.wait().check(repeats_max=300)


@scenario(seconds=90)
def a_restarted_worker_makes_its_first_call_within_seconds(w):
    load = under_load(w, 600)
    kill_with_calls_in_flight(w, w.worker)
    calls, began = w.fake.summary()["calls"], time.monotonic()
    w.start("worker", wait=False)
    wait_until(lambda: w.fake.summary()["calls"] > calls, 20, "the first call")
    took = time.monotonic() - began
    load.wait().check(repeats_max=100)
    true(took < 4, "the first call came %.1f s after the restart" % took)


@scenario(seconds=90)
def a_worker_that_drains_repeats_no_call(w):
    load = under_load(w)
    wait_until(lambda: w.fake.summary()["in_flight"] > 10, 20, "calls in flight")
    w.worker.term()
    true(load.final_count() < len(load.sent), "everything was final before the drain")
    w.start("worker")
    load.wait().check()


@scenario(seconds=90)
def a_second_worker_joins_and_leaves_under_load_without_a_repeated_call(w):
    load = under_load(w, 1200, latency=100)
    second = w.start("worker")
    time.sleep(1)
    second.term()
    load.wait().check()


@scenario(seconds=90, workers=2)
def one_of_two_workers_is_killed_and_the_other_takes_over(w):
    load = under_load(w, 600)
    _, at = kill_with_calls_in_flight(w, w.of("worker")[1])
    load.wait(70).check(repeats_max=100, answered_before_ms=at)


@scenario(seconds=90, workers=2)
def a_worker_that_sleeps_ten_seconds_and_wakes_disturbs_nobody(w):
    load = under_load(w, 600)
    zombie = w.of("worker")[0]
    zombie.signal(signal.SIGSTOP)
    time.sleep(10)
    woke_ms = time.time() * 1000
    zombie.signal(signal.SIGCONT)
    load.wait(60).check(repeats_max=100)
    before = {call["call_id"] for call in load.ledger if call["wall_ms"] < woke_ms}
    again = [call["call_id"] for call in load.ledger if call["wall_ms"] >= woke_ms and call["call_id"] in before]
    same(again, [], "calls that were made again when it went on")


@scenario(seconds=90)
def a_killed_aggregator_loses_nothing(w):
    load = under_load(w, 800, latency=20)
    for _ in range(3):
        w.aggregator.kill()
        w.start("aggregator")
    load.wait().check()


@scenario(seconds=90)
def an_aggregator_that_drains_loses_nothing(w):
    load = under_load(w, 800, latency=20)
    w.aggregator.term()
    w.start("aggregator")
    load.wait().check()


@scenario(seconds=90, aggregators=2)
def an_aggregator_that_sleeps_ten_seconds_is_fenced(w):
    load = under_load(w, 600, latency=50)
    zombie = w.of("aggregator")[0]
    zombie.signal(signal.SIGSTOP)
    time.sleep(10)
    zombie.signal(signal.SIGCONT)
    load.many(100)
    load.accepted().wait(60).check()


@scenario(seconds=90, aggregators=2)
def a_second_aggregator_leaves_and_another_joins(w):
    load = under_load(w, 800, latency=20)
    w.of("aggregator")[1].term()
    w.start("aggregator")
    load.wait().check()


@scenario(seconds=90)
def worker_and_aggregator_killed_together_with_models_side_by_side(w):
    w.fake.control(latency=100)
    load = Load(w)
    load.many(150, models=("m-openai", "m-anthropic", "m-ollama"))
    load.accepted()
    wait_until(lambda: load.final_count() > 10, 30, "the first answers")
    _, at = kill_with_calls_in_flight(w, w.worker)
    w.aggregator.kill()
    w.start("aggregator", wait=False)
    w.start("worker")
    load.wait().check(repeats_max=100, answered_before_ms=at)


@scenario(seconds=60, settings={"worker.drain_timeout": "1s"})
def a_worker_that_leaves_in_the_midst_of_its_calls_lets_go_of_them(w):
    w.fake.control(latency=20000)
    load = Load(w)
    load.many(20)
    load.accepted()
    wait_until(lambda: w.fake.summary()["in_flight"] >= 20, 20, "the calls")
    w.worker.term()
    left = [key.decode() for key in w.redis.keys("*") if b":call:" in key or b":alive:" in key]
    same(left, [], "what others would wait for")
    w.fake.control(latency=20)
    w.start("worker")
    load.wait()


@scenario(seconds=90)
def requests_published_while_nobody_works_are_answered_later(w):
    w.worker.term()
    w.aggregator.term()
    load = Load(w)
    load.many(300, sessions=10)
    load.accepted()
    w.start("aggregator", wait=False)
    w.start("worker")
    load.wait().check()


def dies_of_it(w, at):
    """A life that aborts when it comes to this step."""
    worker = w.start("worker", wait=False, env=w.environment(QUERN_CRASH_AT=at + "!"))
    worker.expected_end = True
    same(worker.wait_end(30), -signal.SIGABRT, "how the worker ended")


@scenario(seconds=120)
def a_request_that_crashes_its_worker_three_times_is_put_aside(w):
    for step, readable in (("prompt", True), ("admit", False)):
        w.worker.term()  # what it has answered is committed
        poison = w.request("poison at " + step)
        w.post(poison, partition=3)
        w.flush()
        for _ in range(3):
            dies_of_it(w, step)
        w.start("worker")
        w.reply(w.publish(w.request("behind the poison")))
        if readable:
            reply = w.reply(poison["id"])
            same((reply["status"], reply["error"]["code"]), ("failed", "too_many_attempts"), "the reply")
            true("3 times" in reply["error"]["message"] and step in reply["error"]["message"], reply["error"]["message"])
        dead = lambda: [d for d in w.dead(code="too_many_attempts") if json.loads(d.value)["id"] == poison["id"]]  # noqa: E731
        letter = wait_until(dead, 20, "the dead letter")
        same((len(letter), letter[0].partition), (1, "3"), "the dead letter")
        same(w.calls(poison["id"]), [], "calls at the provider")
