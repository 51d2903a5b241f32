"""The examples under docs/examples, run as their readers run them: with the ordinary clients of each language."""
import json
import shutil
import subprocess
import sys

from harness import ROOT, expected, same, scenario, skip

FLEET = {"models": {}}
EXAMPLES = ROOT / "docs/examples"


def tool(*places):
    """The first of them that can be run; without one the scenario is skipped."""
    found = next((path for place in places for path in [shutil.which(place)] if path), None)
    return found or skip("this machine has no %s" % places[0])


def example(w, argv, question, folder, seconds=60, **env):
    brokers = w.settings["QUERN_KAFKA__BOOTSTRAP_SERVERS"]
    done = subprocess.run(
        [*argv, brokers, w.prefix, question], cwd=folder, env=w.environment(**env), capture_output=True, text=True, timeout=seconds
    )
    same(done.returncode, 0, "exit code of %s (%s)" % (argv, done.stderr[-600:]))
    return done.stdout.strip()


@scenario
def the_python_example_asks_and_prints_the_answer(w):
    same(example(w, [sys.executable, "ask.py"], 'from "Python"', EXAMPLES / "python"), expected('from "Python"'), "what it prints")


@scenario
def the_java_example_asks_and_prints_the_reply(w):
    jars = subprocess.run([str(ROOT / "deploy/packages"), "print", "kafka"], capture_output=True, text=True, timeout=20).stdout.strip()
    printed = example(w, [tool("java"), "-cp", jars + "/*", "Ask.java"], 'from "Java"', EXAMPLES / "java")
    same(json.loads(printed.splitlines()[-1])["text"], expected('from "Java"'), "the reply it prints")


@scenario(seconds=150)
def the_go_example_asks_and_prints_the_answer(w):
    go = tool("go", "/usr/local/go/bin/go")
    folder = w.run_dir / "go"
    shutil.copytree(EXAMPLES / "go", folder, dirs_exist_ok=True)
    try:
        built = subprocess.run([go, "build", "-o", "ask", "."], cwd=folder, env=w.environment(), capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        skip("its Go modules cannot be had within two minutes")
    if built.returncode != 0 and any(word in built.stderr for word in ("dial tcp", "no such host", "connection refused", "i/o timeout")):
        skip("its Go modules cannot be had: " + built.stderr.strip().splitlines()[-1][:200])
    same(built.returncode, 0, "what go build ends with (%s)" % built.stderr[-600:])
    same(example(w, [str(folder / "ask")], "from Go", folder), expected("from Go"), "what it prints")
