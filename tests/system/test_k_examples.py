"""The examples under docs/examples, run as their readers run them: with the ordinary clients of each language."""
import json
import os
import shutil
import subprocess
import sys

from harness import ROOT, expected, same, scenario, true

FLEET = {"models": {}}
EXAMPLES = ROOT / "docs/examples"


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
    printed = example(w, ["java", "-cp", jars + "/*", "Ask.java"], 'from "Java"', EXAMPLES / "java")
    same(json.loads(printed.splitlines()[-1])["text"], expected('from "Java"'), "the reply it prints")


@scenario(seconds=150)
def the_go_example_asks_and_prints_the_answer_where_go_is_there(w):
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not os.access(go, os.X_OK):
        return  # this machine has no Go
    folder = w.run_dir / "go"
    shutil.copytree(EXAMPLES / "go", folder, dirs_exist_ok=True)
    try:
        fetched = subprocess.run([go, "build", "-o", "ask", "."], cwd=folder, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return  # its modules cannot be had in time
    if fetched.returncode != 0 and "dial tcp" in fetched.stderr:
        return  # no network
    true(fetched.returncode == 0, "it does not build: " + fetched.stderr[-600:])
    same(example(w, [str(folder / "ask")], "from Go", folder), expected("from Go"), "what it prints")
