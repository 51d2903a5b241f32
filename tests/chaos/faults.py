"""The table of faults, and the plan: which of them strike when, from a seed.

A fault is a generator: what it does stands before its first `yield`, each `yield SECONDS` lets that
time pass, and when it returns it is over. So a fault may do several things, and faults may overlap.
It is given the fleet and a random generator of its own.

@fault(..) puts one into the table:
  must      in every plan that is long enough
  evicts    recovery is counted from the eviction of the member (session time-out), not from the end
  outage    the provider answers nobody: retry amplification is measured
  redis     Redis may lose what it knew, or is not reached: calls may be repeated
  provider  answers may be lost between provider and worker
  members   consumers come or go

To add a fault: a function here.
"""
import collections
import random

Kind = collections.namedtuple("Kind", "name act must seconds flags")
# One place in the plan: strikes at `at` seconds; `with_` are kinds that strike a moment later.
Strike = collections.namedtuple("Strike", "at kind with_")
KINDS = {}
CALM_S = 14  # between faults: to recover in, and to measure what comes before the next


def fault(*flags, seconds, must=False):
    """seconds: about how long it takes, for the plan."""

    def mark(act):
        name = act.__name__.replace("_", "-")
        KINDS[name] = Kind(name, act, must, seconds, frozenset(flags))
        return act

    return mark


def waiting(process):
    """Lets time pass until a command has ended."""
    while process.poll() is None:
        yield 0.1
    if process.returncode != 0:
        raise AssertionError("deploy/local/stack failed, see the run folder's logs/stack.log")


def gone(program):
    while program.alive():
        yield 0.1


# -- programs -----------------------------------------------------------------------------------------------------


@fault("members", seconds=1, must=True)
def worker_killed(f, rand):
    f.kill(rand.choice(f.of("worker")))
    f.start("worker", wait=False)
    yield 0.1


@fault("members", "evicts", seconds=10)
def worker_killed_and_missed(f, rand):
    f.kill(rand.choice(f.of("worker")))
    yield 10
    f.start("worker", wait=False)


@fault("members", seconds=1)
def all_workers_killed(f, rand):
    for program in f.of("worker"):
        f.kill(program)
        f.start("worker", wait=False)
    yield 0.1


@fault("members", seconds=1, must=True)
def aggregator_killed(f, rand):
    f.kill(rand.choice(f.of("aggregator")))
    f.start("aggregator", wait=False)
    yield 0.1


@fault("members", seconds=1)
def everything_killed(f, rand):
    for kind in ("worker", "aggregator"):
        for program in f.of(kind):
            f.kill(program)
            f.start(kind, wait=False)
    yield 0.1


@fault("members", "evicts", seconds=11, must=True)
def worker_sleeps(f, rand):
    program = rand.choice(f.of("worker"))
    f.sleep(program)
    yield rand.uniform(9, 12)
    f.wake(program)


@fault("members", "evicts", seconds=11, must=True)
def aggregator_sleeps(f, rand):
    program = rand.choice(f.of("aggregator"))
    f.sleep(program)
    yield rand.uniform(9, 12)
    f.wake(program)


def drained(f, rand, kind):
    program = rand.choice(f.of(kind))
    f.drain(program)
    yield from gone(program)
    f.start(kind, wait=False)


@fault("members", seconds=1, must=True)
def worker_drains(f, rand):
    yield from drained(f, rand, "worker")


@fault("members", seconds=1)
def aggregator_drains(f, rand):
    yield from drained(f, rand, "aggregator")


@fault("members", seconds=14, must=True)
def rebalance_storm(f, rand):
    """Members come and go every second; a static one that left is missed only after the session time-out."""
    guests = []
    for _ in range(rand.randint(10, 14)):
        if len(guests) < 2 or rand.random() < 0.5:
            guests.append(f.start("worker", wait=False))
        else:
            f.drain(guests.pop(rand.randrange(len(guests))))
        yield 1
    for program in guests:
        f.drain(program)
    for program in guests:
        yield from gone(program)
    yield 6


# -- servers ------------------------------------------------------------------------------------------------------


@fault("members", seconds=8, must=True)
def kafka_restarts(f, rand):
    yield from waiting(f.stack_begin("stop", "kafka"))
    yield from waiting(f.stack_begin("start", "kafka"))


@fault("members", seconds=6)
def kafka_killed(f, rand):
    yield from waiting(f.stack_begin("kill", "kafka"))
    yield from waiting(f.stack_begin("start", "kafka"))


@fault(seconds=4, must=True)
def postgres_immediate_restart(f, rand):
    f.immediate("postgres")
    yield 0.5
    yield from waiting(f.stack_begin("start", "postgres"))


@fault(seconds=5, must=True)
def postgres_backends_terminated(f, rand):
    for _ in range(25):
        f.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1")
        yield 0.2


@fault("redis", seconds=3, must=True)
def redis_killed(f, rand):
    yield from waiting(f.stack_begin("kill", "redis"))
    yield 2
    yield from waiting(f.stack_begin("start", "redis"))


@fault("redis", seconds=1, must=True)
def redis_flushed(f, rand):
    f.redis_do("FLUSHALL")
    yield 0.1


@fault("redis", seconds=5)
def redis_sleeps(f, rand):
    f.redis_do("CLIENT", "PAUSE", "5000", "ALL")
    yield 5


# -- the provider -------------------------------------------------------------------------------------------------


@fault("provider", seconds=6, must=True)
def provider_429(f, rand):
    f.fake.control(error_rate={"429": 0.7}, retry_after=1)
    yield 6
    f.fake.control(error_rate={}, retry_after=None)


@fault("provider", "outage", seconds=10, must=True)
def provider_500(f, rand):
    f.fake.control(error_rate={rand.choice(("500", "503", "529")): 1.0})
    yield 10
    f.fake.control(error_rate={})


def linked(f, link, seconds, *words):
    """A rule on a link for a while."""
    f.proxy.do(link, *words)
    yield seconds
    f.proxy.do(link, "clear")


@fault("provider", seconds=6, must=True)
def provider_drips(f, rand):
    yield from linked(f, "provider", 6, "rate", 100, 100)


@fault("provider", seconds=5, must=True)
def provider_cuts(f, rand):
    """Every connection breaks in the middle of an answer."""
    yield from linked(f, "provider", 5, "cut", rand.randint(20, 400))


@fault("provider", seconds=8, must=True)
def provider_hangs(f, rand):
    yield from linked(f, "provider", 8, "blackhole")


@fault("provider", "outage", seconds=8)
def provider_refuses(f, rand):
    yield from linked(f, "provider", 8, "down")


# -- links --------------------------------------------------------------------------------------------------------


@fault("members", seconds=4)
def kafka_link_down(f, rand):
    yield from linked(f, "kafka", 4, "down")


@fault("members", seconds=9)
def kafka_link_silent(f, rand):
    """For longer than the session time-out: every member is evicted, and none is told."""
    yield from linked(f, "kafka", 9, "blackhole")


@fault(seconds=8)
def kafka_link_slow(f, rand):
    yield from linked(f, "kafka", 8, "latency", 60)


@fault("members", seconds=6)
def kafka_link_breaks(f, rand):
    yield from linked(f, "kafka", 6, "chance", 30000)


@fault(seconds=4)
def postgres_link_down(f, rand):
    yield from linked(f, "postgres", 4, "down")


@fault(seconds=6)
def postgres_link_half_open(f, rand):
    """Statements arrive, answers do not: the outcome of commits is unknown."""
    yield from linked(f, "postgres", 3, "hold", "down")
    f.proxy.do("postgres", "reset")
    yield 3


@fault(seconds=6)
def postgres_link_breaks(f, rand):
    yield from linked(f, "postgres", 6, "chance", 50000)


@fault("redis", seconds=4)
def redis_link_down(f, rand):
    yield from linked(f, "redis", 4, "down")


@fault("redis", seconds=5)
def redis_link_half_open(f, rand):
    yield from linked(f, "redis", 5, "hold", rand.choice(("up", "down")))


@fault("redis", seconds=5)
def redis_link_slow(f, rand):
    yield from linked(f, "redis", 5, "latency", 700)


@fault("redis", "provider", "members", seconds=8, must=True)
def swizzle(f, rand):
    """All links down one by one, and back in random order."""
    links = list(f.proxy.links)
    rand.shuffle(links)
    for link in links:
        f.proxy.do(link, "down")
        yield 1
    rand.shuffle(links)
    for link in links:
        f.proxy.do(link, "clear")
        yield 1


# -- the plan -----------------------------------------------------------------------------------------------------


def make_plan(minutes, seed, only=()):
    """Strikes in order of time. Kinds that must be there come first into the bag, all others as often as fits; in long
    runs every sixth place is for two at once."""
    rand = random.Random(seed)
    if only:
        bag = [[KINDS[name] for name in names.split("+")] for names in only]
    else:
        musts, others = [k for k in KINDS.values() if k.must], [k for k in KINDS.values() if not k.must]
        rand.shuffle(musts)
        rand.shuffle(others)
        # Short runs see both: what must be, with another kind after every third.
        bag = []
        while musts or others:
            bag += [musts.pop() for _ in range(min(3, len(musts)))] + [others.pop() for _ in range(min(1, len(others)))]
    at, end, plan, places = CALM_S, minutes * 60 - CALM_S, [], 0
    while True:
        kind, *with_ = bag[places % len(bag)] if only else [bag[places % len(bag)]]
        if at + kind.seconds > end:
            return plan
        if minutes >= 8 and places % 6 == 5 and not only:
            with_ = rand.sample([k for k in KINDS.values() if k is not kind], rand.choice((1, 1, 2)))
        plan.append(Strike(at, kind, tuple(with_)))
        at += max([kind.seconds, *(k.seconds + 1 for k in with_)]) + CALM_S + (6 if with_ else 0)
        places += 1


def show_plan(plan):
    for strike in plan:
        both = " with ".join([strike.kind.name, *(k.name for k in strike.with_)])
        print("plan  %4d s  %s" % (strike.at, both))
