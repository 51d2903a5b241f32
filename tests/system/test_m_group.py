"""Places in the consumer group: spare programs, a fleet that shrinks, a program that is started again."""
import time

from harness import expected, same, scenario, true, wait_until

FLEET = {"partitions": 2, "workers": 2}


def assigned(program):
    return program.metrics()["quern_partitions_assigned"]


def assignments(program):
    return len(program.said("partitions assigned"))


def wait_assigned(program, count):
    wait_until(lambda: assigned(program) == count, 20, "%s to have %d partitions" % (program.name, count))


def seconds_to_hand_over(leaver, heir):
    """From the signal until the heir has what the leaver had (both lanes: twice the partitions)."""
    began = time.monotonic()
    leaver.term()
    wait_assigned(heir, 4)
    return time.monotonic() - began


@scenario(seconds=90)
def a_worker_keeps_its_place_over_a_restart(w):
    """The first scenario: in a house where nobody has just left a place behind."""
    first, second = w.of("worker")
    for program in (first, second):
        wait_assigned(program, 2)
    before = assignments(second)
    first.term()
    again = w.start("worker")
    wait_assigned(again, 2)
    time.sleep(1)
    same(assignments(second), before, "how often the other was given partitions")
    took = seconds_to_hand_over(again, second)
    print("        handed over within %.1f s" % took)
    true(took > 3, "the place was gone after %.1f s" % took)


@scenario
def a_spare_worker_is_ready_and_steps_in(w):
    w.start("worker")
    wait_until(lambda: sorted(map(assigned, w.of("worker"))) == [0, 2, 2], 20, "two workers to work and one to be spare")
    true(all(p.ready() for p in w.of("worker")), "a worker is not ready")
    for program in w.of("worker"):
        if assigned(program):
            program.term()
    same(w.ask("anybody there", seconds=30)["text"], expected("anybody there"), "the answer")


@scenario(settings={"worker.leave_group": "true"})
def a_worker_that_leaves_the_group_hands_over_at_once(w):
    first, second = w.of("worker")
    for program in (first, second):
        wait_assigned(program, 2)
    took = seconds_to_hand_over(first, second)
    print("        handed over within %.1f s" % took)
    true(took < 4, "handing over took %.1f s" % took)
    before = assignments(second)
    again = w.start("worker")
    wait_assigned(again, 2)
    wait_assigned(second, 2)
    again.term()
    wait_assigned(second, 4)
    same(assignments(second) - before, 2, "rebalances that a restart costs the other")


@scenario(seconds=90)
def a_worker_that_gives_up_its_drain_leaves_no_thread_behind(w):
    """A job that is still under way keeps a record larger than what is copied."""
    w.fake.control(latency=20000)
    short = w.start("worker", args=["--set", "worker.drain_timeout=1s"])
    for program in w.of("worker"):
        if program is not short:
            program.term()
    id = w.publish(w.request("x" * 200000))
    wait_until(lambda: w.fake.summary()["in_flight"] > 0, 30, "the call to be under way")
    began = time.monotonic()
    short.term()
    true(time.monotonic() - began < 3, "it took %.1f s to end" % (time.monotonic() - began))
    same(short.said("did not stop in time"), [], "what was left behind")
    w.fake.control(latency=0)
    w.start("worker")
    same(w.reply(id, 40)["status"], "done", "the status")
