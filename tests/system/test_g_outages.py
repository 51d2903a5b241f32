"""Servers that go away and come back: readiness goes off and on, it is said once, nothing is lost."""
import time

from checker import Load
from harness import expected, same, scenario, true, wait_until
from program import http_get

FLEET = {"settings": {"worker.max_in_flight": 100}}


def both(w):
    return [w.worker, w.aggregator]


def ready(w, kind):
    return any(program.ready() for program in w.of(kind))


def wait_unready(w, server):
    for program in both(w):
        wait_until(lambda p=program: server in http_get(p.url("/readyz?verbose"))[1], 12, "%s to say that %s is away" % (program.name, server))
        same(http_get(program.url("/healthz"))[0], 200, "/healthz of " + program.name)


def begin_load(w, count=600):
    w.fake.control(latency=100)
    load = Load(w)
    load.many(count // 2, sessions=20)
    load.many(count // 2)
    load.accepted()
    wait_until(lambda: load.final_count() > 20, 30, "the first answers")
    return load


SERVERS = ["kafka", "postgres", "redis"]
NAMES = {"kafka": "kafka", "postgres": "postgresql", "redis": "redis"}


def away_lines(program, server):
    """How often the program said that the server is away."""
    return len(program.said(NAMES[server] + " is away"))


def there_lines(program, server):
    return program.said(NAMES[server] + " is there")


# A member that hears of its fencing in the moment in which Kafka is back says so: that is news.
JOINS_ANEW = "the consumer was fenced while it was not settled, joining anew"


def warnings_while_away(program, server):
    """The clients' libraries have much to say of an outage; none of it is news."""
    lines = program.lines()
    began, ended = (max(i for i, line in enumerate(lines) if line["msg"] == NAMES[server] + word) for word in (" is away", " is there"))
    return [line for line in lines[began + 1 : ended] if line["level"] != "info" and line["msg"] != JOINS_ANEW]


def outage(w, server, seconds, **check):
    """The server is away for a while under load; afterwards everything holds."""
    programs = both(w)
    before = [(away_lines(p, server), len(there_lines(p, server))) for p in programs]
    load = begin_load(w)
    w.stop_server(server)
    wait_unready(w, server)
    time.sleep(seconds)
    w.start_server(server)
    wait_until(lambda: ready(w, "worker") and ready(w, "aggregator"), 40, "both programs to be ready again")
    load.many(20, sessions=2) if server != "redis" else load.many(20)
    load.accepted()
    wait_until(lambda: load.final_count() == len(load.sent), 70, lambda: "all finals, there are %d" % load.final_count())
    load.check(**check)
    after = [(away_lines(p, server), len(there_lines(p, server))) for p in programs]
    same(after, [(away + 1, there + 1) for away, there in before], "how often it was said that it is away, and there")
    for program in programs:
        same(warnings_while_away(program, server), [], "warnings of %s while %s was away" % (program.name, server))
        away_ms = there_lines(program, server)[-1]["away_ms"]
        true(seconds * 1000 - 500 < away_ms < 60000, "%s says that it was away for %s ms" % (program.name, away_ms))


@scenario(seconds=120)
def postgresql_goes_away_under_load_and_comes_back(w):
    outage(w, "postgres", 2)


@scenario(seconds=120)
def redis_goes_away_under_load_and_comes_back(w):
    outage(w, "redis", 2)


@scenario(seconds=150)
def kafka_restarts_under_load(w):
    outage(w, "kafka", 1, repeats_max=100)


@scenario(seconds=150)
def kafka_away_for_longer_than_the_session_ends_nobody(w):
    """librdkafka may then take its own next life for a stranger; the door joins anew, and says so."""
    outage(w, "kafka", 8, repeats_max=200)


@scenario(seconds=240)
def kafka_killed_hard_again_and_again_ends_nobody(w):
    """librdkafka before 2.3 now and then breaks down when a broker comes back; the door then builds its producer anew."""
    programs = both(w)
    w.fake.control(latency=1000)
    load = Load(w)
    load.many(1500, sessions=300)
    load.accepted()
    for count in (50, 300, 600):
        wait_until(lambda c=count: load.final_count() > c, 60, "%d finals" % count)
        w.stopped.add("kafka")
        w.stack("kill", "kafka")
        w.start_server("kafka")
    wait_until(lambda: load.final_count() == len(load.sent), 120, lambda: "all finals, there are %d" % load.final_count())
    load.check(repeats_max=300)
    for program in programs:
        true(program.alive(), "%s has ended" % program.name)
        renewals = program.metrics()["quern_kafka_producer_renewals_total"]
        same(len(program.said("the kafka producer broke down and is made anew")), renewals, "how often %s says so" % program.name)


@scenario(seconds=90)
def a_program_whose_name_another_takes_says_so_and_ends(w):
    first = w.worker
    locks = w.run_dir / "locks-of-another-host"
    locks.mkdir(exist_ok=True)
    second = w.start("worker", args=["--set", "worker.lock_dir=%s" % locks])
    same(first.wait_end(20), 1, "the exit code of the first")
    true("another process has joined the group as instance" in first.said("the program stops")[0]["error"], "the reason")
    same(w.ask("who is there", seconds=30)["text"], expected("who is there"), "the answer of the second")
    true(second.alive(), "the second has ended")


@scenario(seconds=90)
def postgresql_killed_hard_loses_nothing(w):
    load = begin_load(w)
    w.stopped.add("postgres")
    w.stack("kill", "postgres")
    time.sleep(1)
    w.start_server("postgres")
    load.wait(60).check()


@scenario(seconds=90)
def work_goes_on_without_redis(w):
    w.stop_server("redis")
    load = Load(w)
    load.many(60, sessions=3)
    load.accepted().wait(60)
    same([r["status"] for s in load.sent for r in w.replies(s.id)[:1]].count("done"), 60, "answers without Redis")
    w.start_server("redis")


@scenario(seconds=90)
def a_full_redis_is_told_of_and_loses_nothing(w):
    limit = w.redis.config_get("maxmemory")["maxmemory"]
    w.redis.config_set("maxmemory", 1)
    try:
        load = Load(w)
        load.many(60, sessions=3)
        load.accepted().wait(60)
        doctor = w.quern("doctor")
    finally:
        w.redis.config_set("maxmemory", limit)
    load.check()
    for program in both(w):
        (said,) = program.said("redis refuses commands")  # once, not for each of them
        true(said["error"].startswith("OOM") and "maxmemory" in said["hint"], "what %s says: %s" % (program.name, said))
        true(program.metrics()["quern_redis_refused_total"] > 10, "what %s counts" % program.name)
    same(doctor.returncode, 1, "the exit code of quern doctor")
    true("OOM" in doctor.stdout and "maxmemory" in doctor.stdout, "quern doctor says: %s" % doctor.stdout)
    refused = w.worker.metrics()["quern_redis_refused_total"]
    load.many(20, sessions=2)
    load.accepted().wait(60).check()
    same(w.worker.metrics()["quern_redis_refused_total"], refused, "refused commands when there was room again")


@scenario(seconds=90)
def a_fleet_started_while_postgresql_is_away_begins_when_it_comes(w):
    w.worker.term()
    w.aggregator.term()
    w.stop_server("postgres")
    programs = [w.start("worker", wait=False), w.start("aggregator", wait=False)]
    id = w.publish(w.request("early"))
    for program in programs:
        wait_until(lambda p=program: http_get(p.url("/readyz?verbose"))[0] == 503, 10, "%s to answer" % program.name)
    time.sleep(2)
    for program in programs:
        true(program.alive() and not program.ready(), "%s does not wait for PostgreSQL" % program.name)
    w.start_server("postgres")
    for program in programs:
        program.wait_ready(30)
    same(w.reply(id, 30)["text"], expected("early"), "the answer")


@scenario(seconds=90)
def a_worker_started_again_while_postgresql_is_away_goes_on_with_what_is_fresh(w):
    """The batch lane is empty, and so are most partitions; they are committed all the same."""
    same(w.ask("before")["text"], expected("before"), "the first answer")
    time.sleep(3)  # commits, once a second
    w.worker.term()
    w.stop_server("postgres")
    worker = w.start("worker", wait=False)
    wait_until(lambda: worker.said("partitions assigned"), 20, "partitions")
    time.sleep(1)
    id = w.publish(w.request("meanwhile"))
    wait_until(lambda: w.calls(id), 10, "the call of a fresh request")
    w.start_server("postgres")
    same(w.reply(id, 30)["text"], expected("meanwhile"), "the answer")
    same(len(w.calls(id)), 1, "calls")


def dependency(program, server):
    return program.metrics()['quern_dependency_up{dependency="%s"}' % server]


def waits_for(program, server):
    """It lives, is not ready, and says so of this server: in /readyz, and once in the log."""
    wait_until(lambda: http_get(program.url("/healthz"))[0] == 200, 10, "/healthz of " + program.name)
    wait_until(lambda: away_lines(program, server), 10, "%s to say that %s is away" % (program.name, server))
    status, body = http_get(program.url("/readyz"))
    same(status, 503, "/readyz of " + program.name)
    true(server + ": " in body, "/readyz of %s does not name %s: %s" % (program.name, server, body))
    same(dependency(program, server), 0, "%s in the metrics of %s" % (server, program.name))
    true("correct " in program.said(NAMES[server] + " is away")[0]["hint"], "%s does not say what to do" % program.name)


@scenario(seconds=90)
def a_fleet_started_while_every_server_is_away_says_so_once_and_begins_when_they_come(w):
    w.worker.term()
    w.aggregator.term()
    for server in SERVERS:
        w.stop_server(server)
    programs = [w.start("worker", wait=False), w.start("aggregator", wait=False)]
    for program in programs:
        for server in SERVERS:
            waits_for(program, server)
    time.sleep(1)  # they try again, and say nothing more
    for server in SERVERS:
        for program in programs:
            true(program.alive() and not program.ready(), "%s does not wait for %s" % (program.name, server))
        w.start_server(server)
    for program in programs:
        program.wait_ready(30)
    same(w.ask("late start", seconds=30)["text"], expected("late start"), "the answer")
    for program in programs:
        said = {server: (away_lines(program, server), len(there_lines(program, server))) for server in SERVERS}
        same(said, dict.fromkeys(SERVERS, (1, 1)), "how often %s said away and there" % program.name)
        same([line["msg"] for line in program.lines() if line["level"] in ("warn", "error") and " is away" not in line["msg"]], [], "what else %s warns of" % program.name)
        for server in SERVERS:
            same(dependency(program, server), 1, "%s in the metrics of %s" % (server, program.name))
            true(there_lines(program, server)[0]["away_ms"] >= 1000, "away_ms of %s" % server)


@scenario(seconds=90, models={"m-openai": {"attempts_max": 12}})
def a_provider_that_is_away_for_a_while_costs_time_and_no_request(w):
    load = Load(w)
    w.fake.control(error_rate={"503": 1.0})
    load.many(100)
    load.accepted()
    time.sleep(0.3)
    w.fake.control(error_rate={})
    load.wait().check()
