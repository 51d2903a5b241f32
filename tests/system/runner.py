"""Runs the scenarios of tests/system/test_*.py against a real stack: see ./run --help.

Most of their time is waiting, so several lanes work side by side, each a process with a stack, a fake
provider and a folder of its own. A lane takes one piece after the other, those that may take longest
first: a file of scenarios, or the door tests (C, against the same servers). The scenarios of a file run
as they stand. A file may set FLEET, the fleet its scenarios share. A scenario that fails shows its
reason and the ends of the programs' logs, and the next one begins in a clean house. One whose tools
this machine lacks is told as "skipped", with the reason. Last line: "N passed, N failed".
"""
import argparse
import concurrent.futures
import importlib
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import harness

HERE = pathlib.Path(__file__).resolve().parent
DOORS = "doors"  # the piece that is no file of scenarios
DOOR_SECONDS = 180


class Overtime(BaseException):
    """Not an Exception, so that no scenario catches it."""


def overtime(*_):
    raise Overtime()


def scenarios_of(file, pattern):
    module = importlib.import_module(file)
    found = [f for f in vars(module).values() if hasattr(f, "scenario") and f.__module__ == file]
    return module, [f for f in found if pattern in file + "." + f.__name__]


def files_of(pattern):
    """{file: its scenarios}, without those files that have none."""
    found = {path.stem: scenarios_of(path.stem, pattern)[1] for path in sorted(HERE.glob("test_*.py"))}
    return {file: functions for file, functions in found.items() if functions}


def doors_of(build, pattern):
    doors = [path for path in sorted(pathlib.Path(build).rglob("door_*")) if path.is_file() and os.access(path, os.X_OK)]
    return [path for path in doors if pattern in DOORS + "." + path.name]


def pieces_of(build, pattern):
    """What lanes take, that which may take longest first: nothing long is begun last."""
    seconds = {file: sum(f.scenario["seconds"] for f in functions) for file, functions in files_of(pattern).items()}
    doors = len(doors_of(build, pattern))
    if doors:
        seconds[DOORS] = DOOR_SECONDS * doors
    return sorted(seconds, key=lambda piece: -seconds[piece])


def ends_of_logs(world):
    for program in world.running:
        yield "    --- %s (code %s), the last lines of %s" % (program.name, program.process.poll(), program.log)
        yield from ("    " + line[:400] for line in program.tail())


def run_one(world, function):
    """None when it passed, else why not: a text, or the exception Skipped."""
    options = function.scenario
    world.new_tenant()
    signal.alarm(options["seconds"])
    skipped = None
    try:
        function(world)
        why = None
    except harness.Skipped as reason:
        skipped, why = reason, None
    except Overtime:
        why = "not done after %d s, at:\n%s" % (options["seconds"], "".join(traceback.format_tb(sys.exc_info()[2])[-4:]))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # whatever it was, the others still run
        why = traceback.format_exc()
    signal.alarm(0)
    try:
        complaints = world.mend()
    except Exception:
        complaints = [traceback.format_exc()]
    if complaints:
        why = (why or "") + "\n".join(complaints)
    return why or skipped


def run_door(path, env, running):
    """Whether it passed; its process is added to the list."""
    began = time.monotonic()
    process = subprocess.Popen([path], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    running.append(process)
    try:
        output, code = process.communicate(timeout=DOOR_SECONDS)[0], process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        output, code = process.communicate()[0], "none after %d s" % DOOR_SECONDS
    lines = ["%-6s %5.1f s  doors: %s" % ("ok" if code == 0 else "FAILED", time.monotonic() - began, path.name)]
    if code != 0:
        lines += ["exit code %s" % code] + output.splitlines()[-40:]
    say("\n    ".join(lines) + "\n")
    return code == 0


def run_doors(world, pattern):
    """The C tests of the doors against these servers, Kafka's beside the others', as all mostly wait; (passed, failed, 0)."""
    env = world.environment(**{k: v for k, v in world.settings.items() if k.startswith("QUERN_")})
    env.update(QUERN_STACK=str(harness.ROOT / "deploy/local/stack"), QUERN_RUN_DIR=world.stack_environment()["QUERN_RUN_DIR"])
    doors = doors_of(world.build, pattern)
    lanes = [concurrent.futures.ThreadPoolExecutor(1) for _ in range(2)]
    running = []
    tests = [lanes["kafka" in path.name].submit(run_door, path, env, running) for path in doors]
    try:
        passed = sum(test.result() for test in tests)
    finally:  # when it is ended from outside, something still runs
        for lane in lanes:
            lane.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.kill()
    return passed, len(doors) - passed, 0


def run_scenario(world, function, prepare):
    """As run_one()."""
    try:
        prepare()
    except Exception:
        return "the house could not be made ready\n" + traceback.format_exc()
    return run_one(world, function)


def run_file(world, module, functions):
    """How many of them passed, failed and were skipped."""
    counts = dict.fromkeys(("ok", "FAILED", "skipped"), 0)
    clean = None
    for function in functions:
        fleet = {**getattr(module, "FLEET", {}), **function.scenario["fleet"]}
        began = time.monotonic()
        why = run_scenario(world, function, lambda: clean == fleet or world.begin(fleet))
        outcome = "skipped" if isinstance(why, harness.Skipped) else "FAILED" if why else "ok"
        clean = None if outcome == "FAILED" else fleet
        counts[outcome] += 1
        tell(world, outcome, "%5.1f s  %s: %s" % (time.monotonic() - began, module.__name__[5:], function.__name__.replace("_", " ")), why)
    return tuple(counts.values())


def tell(world, outcome, what, why):
    lines = ["%-6s %s%s" % (outcome, what, ": %s" % why if outcome == "skipped" else "")]
    if outcome == "FAILED":
        lines += ["    " + why.rstrip().replace("\n", "\n    "), *ends_of_logs(world)]
    say("\n".join(lines) + "\n")


def say(text):
    """In one piece, so that what other lanes say stays apart."""
    sys.stdout.write(text)
    sys.stdout.flush()


def work(world, pieces, counts, pattern):
    while piece := pieces.get():
        counts.put(run_doors(world, pattern) if piece == DOORS else run_file(world, *scenarios_of(piece, pattern)))


def lane(build, run_dir, pieces, counts, pattern):
    """The life of one: its process."""
    signal.signal(signal.SIGALRM, overtime)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    world = harness.World(build, run_dir)
    try:
        world.up()
        work(world, pieces, counts, pattern)
    finally:
        world.down()


def start_lanes(context, options, run_dir, queues, number):
    folders = [os.path.join(run_dir, "lane-%d" % (i + 1)) for i in range(number)]
    lanes = [context.Process(target=lane, args=(os.path.abspath(options.build), folder, *queues, options.pattern)) for folder in folders]
    for process in lanes:
        process.start()
    return lanes


def end_lanes(lanes):
    """All of them, in order: each takes its stack with it."""
    for process in lanes:
        process.terminate()
    for process in lanes:
        process.join(120)


def run_lanes(options, run_dir, pieces):
    """(passed, failed, skipped)"""
    context = multiprocessing.get_context("spawn")
    todo, counts = context.SimpleQueue(), context.SimpleQueue()
    number = min(options.lanes, len(pieces))
    for piece in pieces + [None] * number:
        todo.put(piece)
    lanes = start_lanes(context, options, run_dir, (todo, counts), number)
    try:
        for process in lanes:
            process.join()
    finally:
        end_lanes(lanes)
    return sum_up(lanes, counts)


def sum_up(lanes, counts):
    passed = failed = skipped = 0
    while not counts.empty():
        more = counts.get()
        passed, failed, skipped = passed + more[0], failed + more[1], skipped + more[2]
    for process in lanes:
        if process.exitcode != 0:
            print("FAILED %s ended with %s" % (process.name, process.exitcode))
            failed += 1
    return passed, failed, skipped


def list_scenarios(pattern):
    for file, functions in files_of(pattern).items():
        for function in functions:
            print("%s.%s" % (file, function.__name__))


def main():
    parser = argparse.ArgumentParser(prog="tests/system/run", description="Runs the system tests against a real stack.")
    parser.add_argument("pattern", nargs="?", default="", help="only scenarios whose FILE.NAME contains this; 'doors.' for the door tests")
    parser.add_argument("--build", required=True, help="folder of the programs")
    parser.add_argument("--lanes", type=int, default=3, help="how many work side by side; default: %(default)s")
    parser.add_argument("--run-dir", help="where the stacks, the logs and the configuration live; default: a temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave the run folder, with the logs, behind")
    parser.add_argument("--list", action="store_true", help="print the scenarios, and end")
    options = parser.parse_args()
    if options.list:
        return list_scenarios(options.pattern)
    run_dir = os.path.abspath(options.run_dir or tempfile.mkdtemp(prefix="quern-system-"))
    harness.require_free_space(run_dir if os.path.isdir(run_dir) else "/")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Brokers that live for minutes, and are killed and started again, do not earn back what their second compiler costs.
    os.environ["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1"
    for logs in pathlib.Path(run_dir).glob("lane-*/logs"):
        harness.shutil.rmtree(logs, ignore_errors=True)
    passed, failed, skipped = run_lanes(options, run_dir, pieces_of(options.build, options.pattern))
    if failed or options.keep:
        print("logs are in %s" % os.path.join(run_dir, "lane-*/logs"))
    else:
        harness.shutil.rmtree(run_dir, ignore_errors=True)
    if skipped:
        print("%d skipped, see above for the reasons" % skipped)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed + skipped else 0


if __name__ == "__main__":
    sys.exit(main())
