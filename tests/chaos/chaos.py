"""Runs a plan of faults against the real stack under load, and judges: see ./run --help.

Order: the stack, the proxy and the fleet (4 workers, 2 aggregators); the load begins; the faults strike
as planned, each told when it begins and when it is over; all faults off; the load ends; waiting until all
is final; the tables. The same minutes and seed give the same plan and the same mix of requests.

The last lines are one per target, "ok" or "FAILED", and "N passed, N failed"; the exit code is 0 only
when every target was reached.
"""
import argparse
import inspect
import os
import random
import shutil
import signal
import sys
import tempfile
import time

import faults
import fleet as fleet_module
import judge_layer  # its lines stand behind judge's
import judge_twice  # and these behind them
from judge import REQUESTS_PER_MINUTE, Evidence, fault_table, judge, leave_behind
from load import NARROW, Load
from watch import Offsets, Silences

HEDGE = {"timeout": "5s", "hedge": "p95", "hedge_floor": "100ms", "hedge_percent": judge_twice.PERCENT}
FLEET = {
    "workers": 4,
    "aggregators": 2,
    "settings": {
        "worker.retry_base": "250ms",  # as they are by default
        "worker.retry_cap": "20s",
        "routes": [{"name": "either", "models": ["m-trouble", "m-openai"]}],
        "tenants": [{"name": NARROW, "requests_per_minute": judge_layer.NARROW_LIMIT}],
    },
    "models": {
        **{name: {"timeout": "5s"} for name in ("m-openai", "m-anthropic", "m-ollama")},
        "m-trouble": {"model": "fake-503", "timeout": "5s"},
        "m-limited": {"model": judge_layer.LIMITED, "timeout": "5s", "requests_per_minute": judge_layer.MODEL_LIMIT, "limits": "off", "api_key": "limited"},
        "m-stream": {"model": "fake-stream-100-20", "timeout": "5s", "stream": "on"},
        "m-slow": {"model": "fake-slow-1500", "timeout": "8s"},
        "m-hedged": {"model": judge_twice.HEDGED, **HEDGE},
        "m-vectors": {"model": judge_twice.VECTORS, **HEDGE},
    },
}
TROUBLE = {"fake-cut-100": 0.01, "fake-slow-2000": 0.01}  # of all calls to models without a name of this kind
RATE = REQUESTS_PER_MINUTE / 60 * 1.14
LATENCY = "lognormal:80,0.4"
SETTLE_S = 90


class Struck:
    """A strike that took place: its kinds, when it began and was over, how much calm came after it."""

    def __init__(self, strike):
        self.kinds = (strike.kind, *strike.with_)
        self.single = not strike.with_
        self.began_ms = self.ended_ms = self.calm_s = None


def say(began, text, *values):
    print("%6.1f s  %s" % (time.monotonic() - began, text % values), flush=True)


def act_out(fleet, plan, seed, minutes, tell):
    """The plan in time; the strikes as they were."""
    began, done, acting = time.monotonic(), [], []
    todo = list(plan)
    tended = late = 0
    now = 0.0
    while acting or now < minutes * 60:
        now = time.monotonic() - began
        if todo and not acting and now >= todo[0].at + late and now + todo[0].kind.seconds + faults.CALM_S <= minutes * 60:
            strike = todo.pop(0)
            struck = Struck(strike)
            done.append(struck)
            struck.began_ms = fleet_module.wall_ms()
            for order, kind in enumerate(struck.kinds):
                rand = random.Random("%s %s %s" % (seed, strike.at, kind.name))
                acting.append([now + order, kind, kind.act(fleet, rand), struck])
        for item in list(acting):
            due, kind, steps, struck = item
            if now < due:
                continue
            if inspect.getgeneratorstate(steps) == inspect.GEN_CREATED:
                tell("on   %s", kind.name)
            try:
                item[0] = now + next(steps)
            except StopIteration:
                acting.remove(item)
                struck.ended_ms = fleet_module.wall_ms()
                tell("over %s", kind.name)
                # A fault that took longer than planned (a slow restart) takes nothing of the calm after it.
                if todo:
                    late = max(late, now + faults.CALM_S - todo[0].at)
        if now - tended > 0.5:
            fleet.tend()
            tended = now
        time.sleep(0.02)
    for struck, after in zip(done, done[1:] + [None]):
        struck.calm_s = ((after.began_ms if after else fleet_module.wall_ms()) - struck.ended_ms) / 1000
    return done


def wait_final(fleet, load, tell):
    """Until every accepted request is final, or it is clear that some never will be."""
    end = time.monotonic() + SETTLE_S
    expected = sum(1 for s in load.accepted() if s.kind != "unreadable")
    while True:
        fleet.tend()
        got = fleet.sql("SELECT count(*) FROM requests WHERE status <> 'open'")[0][0]
        if got >= expected or time.monotonic() > end:
            tell("%d of %d requests are final", got, expected)
            return
        time.sleep(0.3)


def run(fleet, plan, options):
    began = time.monotonic()
    tell = lambda text, *values: say(began, text, *values)  # noqa: E731
    fleet.up()
    fleet.begin(FLEET)
    fleet.new_tenant()
    fleet.fake.control(latency=LATENCY, trouble_rate=TROUBLE)
    offsets = Offsets(fleet.settings["QUERN_KAFKA__BOOTSTRAP_SERVERS"], fleet.prefix + "-worker", fleet.topic("requests"))
    silences = Silences(fleet.settings["QUERN_REDIS__URL"])
    load = Load(fleet, options.rate, options.seed)
    began = time.monotonic()
    tell("the fleet is ready, the load begins: %.0f requests a second", options.rate)
    load.begin()
    struck = act_out(fleet, plan, options.seed, options.minutes, tell)
    fleet.put_right()
    tell("all faults are off, the load ends")
    load.end()
    wait_final(fleet, load, tell)
    offsets.stop()
    silences.ending.set()
    evidence = Evidence(fleet, load, offsets, silences, struck)
    judge_twice.collect(evidence)
    evidence.pieces = judge_layer.collect_pieces(fleet, load)
    leave_behind(evidence, fleet.logs)
    complaints = fleet.end_programs()
    tell("judged")
    return evidence, judge(evidence, complaints)


def show(evidence, lines):
    print()
    for row in fault_table(evidence):
        print(row)
    print("\n| what | figure | target | |\n| --- | --- | --- | --- |")
    for line, _ in lines:
        print("| %s | %s | %s | %s |" % (line.what, line.figure, line.target, {True: "held", False: "MISSED", None: ""}[line.ok]))
    print()
    for line, shown in lines:
        if line.ok is not None:
            print("%-7s chaos: %s: %s" % ("ok" if line.ok else "FAILED", line.what, line.figure))
        for text in shown if line.ok is False else ():
            print("    %s" % (text,))
    passed, failed = (sum(1 for line, _ in lines if line.ok is want) for want in (True, False))
    print("%d passed, %d failed" % (passed, failed))
    return failed


def main():
    parser = argparse.ArgumentParser(prog="tests/chaos/run", description="Faults of every kind on the real stack under load.")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second; default %.0f" % RATE)
    parser.add_argument("--build", help="folder of the programs; default: build/release, built first")
    parser.add_argument("--only", default="", help="names of faults, comma separated, at once with '+', instead of all kinds; they come again until the time is over")
    parser.add_argument("--plan", action="store_true", help="print the plan, and end")
    parser.add_argument("--run-dir", help="where the stack, the logs and the configuration live; default: a temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave the run folder, with the logs, behind")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    for name in options.only.replace("+", ",").split(",") if only else ():
        if name not in faults.KINDS:
            parser.error("there is no fault '%s', only %s" % (name, ", ".join(faults.KINDS)))
    plan = faults.make_plan(options.minutes, options.seed, only)
    faults.show_plan(plan)
    if options.plan:
        return 0
    temporary = os.path.abspath(options.run_dir or tempfile.mkdtemp(prefix="quern-chaos-"))
    fleet_module.harness.require_free_space(temporary if os.path.isdir(temporary) else "/")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(os.path.join(temporary, "logs"), ignore_errors=True)
    fleet = fleet_module.Fleet(os.path.abspath(options.build), temporary)
    failed = 1
    try:
        failed = show(*run(fleet, plan, options))
    finally:
        fleet.down()
        if failed or options.keep:
            print("logs are in %s" % fleet.logs)
        else:
            shutil.rmtree(temporary, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
