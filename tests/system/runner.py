"""Runs the scenarios of tests/system/test_*.py against a real stack: see ./run --help.

Order: the door tests (C, against the same servers), then files and scenarios as they stand. A file
may set FLEET, the fleet its scenarios share. A scenario that fails shows its reason and the ends of
the programs' logs, and the next one begins in a clean house. Last line: "N passed, N failed".
"""
import argparse
import concurrent.futures
import importlib
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


class Overtime(BaseException):
    """Not an Exception, so that no scenario catches it."""


def overtime(*_):
    raise Overtime()


def scenarios_of(pattern):
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        found = [f for f in vars(module).values() if hasattr(f, "scenario") and f.__module__ == path.stem]
        found = [f for f in found if not pattern or pattern in path.stem + "." + f.__name__]
        if found:
            yield module, found


def show_logs(world):
    for program in world.running:
        print("    --- %s (code %s), the last lines of %s" % (program.name, program.process.poll(), program.log))
        for line in program.tail():
            print("    " + line[:400])


def run_one(world, function):
    """None when it passed, else why not."""
    options = function.scenario
    world.new_tenant()
    signal.alarm(options["seconds"])
    try:
        function(world)
        why = None
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
    return why


def run_door(path, env, running):
    """Whether it passed; its process is added to the list."""
    began = time.monotonic()
    process = subprocess.Popen([path], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    running.append(process)
    try:
        output, code = process.communicate(timeout=180)[0], process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        output, code = process.communicate()[0], "none after 180 s"
    lines = ["%-6s %5.1f s  doors: %s" % ("ok" if code == 0 else "FAILED", time.monotonic() - began, path.name)]
    if code != 0:
        lines += ["exit code %s" % code] + output.splitlines()[-40:]
    print("\n    ".join(lines), flush=True)
    return code == 0


def run_doors(world, pattern):
    """The C tests of the doors against these servers, Kafka's beside the others', as all mostly wait; (passed, failed)."""
    env = world.environment(**{k: v for k, v in world.settings.items() if k.startswith("QUERN_")})
    env.update(QUERN_STACK=str(harness.ROOT / "deploy/local/stack"), QUERN_RUN_DIR=world.stack_environment()["QUERN_RUN_DIR"])
    doors = [path for path in sorted(pathlib.Path(world.build).rglob("door_*")) if path.is_file() and os.access(path, os.X_OK)]
    doors = [path for path in doors if pattern in "doors." + path.name]
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
    return passed, len(doors) - passed


def run_file(world, module, functions):
    passed = failed = 0
    clean = None
    for function in functions:
        fleet = {**getattr(module, "FLEET", {}), **function.scenario["fleet"]}
        began = time.monotonic()
        try:
            why = None
            if clean != fleet:
                world.begin(fleet)
                clean = fleet
        except Exception:
            why = "the house could not be made ready\n" + traceback.format_exc()
        why = why or run_one(world, function)
        passed, failed = passed + (not why), failed + bool(why)
        name = "%s: %s" % (module.__name__[5:], function.__name__.replace("_", " "))
        print("%-6s %5.1f s  %s" % ("FAILED" if why else "ok", time.monotonic() - began, name), flush=True)
        if why:
            print("    " + why.rstrip().replace("\n", "\n    "))
            show_logs(world)
            clean = None
    return passed, failed


def main():
    parser = argparse.ArgumentParser(prog="tests/system/run", description="Runs the system tests against a real stack.")
    parser.add_argument("pattern", nargs="?", default="", help="only scenarios whose FILE.NAME contains this; 'doors.' for the door tests")
    parser.add_argument("--build", required=True, help="folder of the programs")
    parser.add_argument("--run-dir", help="where the stack, the logs and the configuration live; default: a temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave the run folder, with the logs, behind")
    parser.add_argument("--list", action="store_true", help="print the scenarios, and end")
    options = parser.parse_args()
    if options.list:
        for module, functions in scenarios_of(options.pattern):
            for function in functions:
                print("%s.%s" % (module.__name__, function.__name__))
        return 0
    temporary = options.run_dir or tempfile.mkdtemp(prefix="quern-system-")
    harness.require_free_space(temporary if os.path.isdir(temporary) else "/")
    signal.signal(signal.SIGALRM, overtime)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    harness.shutil.rmtree(os.path.join(temporary, "logs"), ignore_errors=True)
    world = harness.World(os.path.abspath(options.build), os.path.abspath(temporary))
    passed = failed = 0
    try:
        world.up()
        passed, failed = run_doors(world, options.pattern)
        for module, functions in scenarios_of(options.pattern):
            counts = run_file(world, module, functions)
            passed, failed = passed + counts[0], failed + counts[1]
    finally:
        world.down()
    if failed or options.keep:
        print("logs are in %s" % (world.logs))
    else:
        harness.shutil.rmtree(temporary, ignore_errors=True)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
