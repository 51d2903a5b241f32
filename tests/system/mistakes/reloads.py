"""A running program that gets a broken file at SIGHUP says so with its place, and goes on with the old one."""

import json
import os
import pathlib
import queue
import signal
import subprocess
import tempfile
import threading

GOOD = """kafka: {bootstrap_servers: "127.0.0.1:1"}
postgres: {conninfo: "host=127.0.0.1 port=1 dbname=x user=x"}
redis: {url: ""}
%s: {http_address: "", lock_dir: ., drain_timeout: 100ms}
"""
BROKEN = (
    ("models: {a: {timeuot: 5s}}\n", "quern.yaml:5: unknown key 'models.a.timeuot', did you mean 'models.a.timeout'?"),
    ("default_model: [\n", "quern.yaml:"),
    ("models: {a: {timeout: 5}}\n", "quern.yaml:5: 'models.a.timeout' needs a unit"),
    ("models: {large: }\nroutes: {r: {models: [larg]}}\n", "quern.yaml:6: 'routes.r.models[0]' names the model 'larg'"),
)
COUNT = 2 * len(BROKEN)


class Program:
    def __init__(self, kind, path, folder):
        self.file = pathlib.Path(folder) / "quern.yaml"
        self.good = GOOD % kind
        self.write("")
        env = {"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"}
        self.process = subprocess.Popen([path, "--config", "quern.yaml"], cwd=folder, env=env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def write(self, more):
        self.file.write_text(self.good + more)

    def read(self):
        for line in self.process.stderr:
            self.lines.put(line)
        self.lines.put(None)

    def wait(self, message):
        """The line with this message."""
        while True:
            line = self.lines.get(timeout=20)
            if line is None:
                raise EOFError("it ended before %r" % message)
            if line.startswith("{") and message in json.loads(line)["msg"]:
                return json.loads(line)


def faults_of(kind, path):
    with tempfile.TemporaryDirectory(prefix="quern-reload-") as folder:
        program = Program(kind, path, folder)
        try:
            program.wait("starts")
            for text, said in BROKEN:
                program.write(text)
                program.process.send_signal(signal.SIGHUP)
                line = program.wait("configuration")
                if line["msg"] != "configuration not reloaded, the old one stays" or said not in line["error"]:
                    yield "%s at SIGHUP with %r: %r" % (kind, text, line)
            program.write("")
            program.process.send_signal(signal.SIGHUP)
            if program.wait("configuration")["msg"] != "configuration reloaded":
                yield "%s does not take the good file again" % kind
        except (queue.Empty, EOFError) as why:
            yield "%s at SIGHUP: %r" % (kind, why)
        finally:
            program.process.kill()
            program.process.wait()


def faults(programs):
    return [fault for kind in ("worker", "aggregator") for fault in faults_of(kind, programs[kind])]
