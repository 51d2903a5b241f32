"""The house of a chaos run: a World whose programs reach every server through the chaos proxy.

Kafka names the proxy's port to the programs (deploy/local/lib/kafka.sh); the publisher, the collector
and all questions of the judge go to the servers directly, so that what is judged is the fleet and not
the judge's own connections.

Each program shows the provider an API key of its own, its name: so the provider's ledger says who
made which call. `ends` has every kill, SIGTERM and sleep with its time, for the judge.
"""
import collections
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import harness
from fake_client import fnv
from program import http_get
from proxy import Proxy

harness.PROGRAMS = (*harness.PROGRAMS, "quern-chaos-proxy")

# how: "kill", "term" or "sleep"; a sleep lasts until `until_ms`.
End = collections.namedtuple("End", "program how at_ms until_ms")
SESSION_TIMEOUT_S = 6


def wall_ms():
    return time.time() * 1000


def key_hash(key):
    """The provider's ledger has this of an API key."""
    return "%016x" % fnv(key.encode())


class Fleet(harness.World):
    def __init__(self, build, run_dir):
        super().__init__(build, run_dir)
        self.ends, self.supervised, self.by_themselves = [], [], []
        self.proxy_log = open(self.logs / "proxy.log", "wb")
        self.proxy = Proxy(
            self.programs["quern-chaos-proxy"],
            {link: "127.0.0.1:0" for link in ("kafka", "postgres", "redis", "provider")},
            self.proxy_log,
            self.run_dir,
        )

    # -- a World behind the proxy -------------------------------------------------------------------------------

    def stack_environment(self):
        return {**super().stack_environment(), "QUERN_KAFKA_PROXY_PORT": str(self.proxy.ports["kafka"])}

    def up(self):
        super().up()
        s = self.settings
        for link, port in (("kafka", s["KAFKA_PROXIED_PORT"]), ("postgres", s["POSTGRES_PORT"]), ("redis", s["REDIS_PORT"])):
            self.proxy.do(link, "target", "127.0.0.1:" + port)
        self.proxy.do("provider", "target", self.fake.url.removeprefix("http://"))

    def down(self):
        try:
            super().down()
        finally:
            self.proxy.stop()
            self.proxy_log.close()

    def model(self, name, **settings):
        own = {"base_url": "http://127.0.0.1:%d" % self.proxy.ports["provider"], "api_key": "${CHAOS_KEY}"}
        return super().model(name, **{**own, **settings})

    def config(self, **changes):
        ports = self.proxy.ports
        through = {
            "kafka.bootstrap_servers": "127.0.0.1:%d" % ports["kafka"],
            "postgres.conninfo": self.conninfo().replace("port=" + self.settings["POSTGRES_PORT"], "port=%d" % ports["postgres"]),
            "redis.url": "redis://127.0.0.1:%d/0" % ports["redis"],
        }
        return super().config(**{**through, **changes})

    def environment(self, **more):
        return super().environment(**{"CHAOS_KEY": "nobody", **more})

    def environment_of(self, program):
        return self.environment(CHAOS_KEY=program)

    # -- programs that come and go --------------------------------------------------------------------------------

    def start(self, kind, *, wait=True, args=(), env=None):
        began = wall_ms()
        program = super().start(kind, wait=False, args=args, env=env)
        program.began_ms, program.ready_ms, program.peak_kb = began, None, 0
        threading.Thread(target=self._watch_ready, args=(program,), daemon=True).start()
        if wait:
            program.wait_ready()
        return program

    @staticmethod
    def _watch_ready(program):
        """When it was up, to 20 ms."""
        while program.alive() and program.ready_ms is None:
            if http_get(program.url("/readyz"), 1)[0] == 200:
                program.ready_ms = wall_ms()
            time.sleep(0.02)

    def note_end(self, program, how, until_ms=None):
        self.ends.append(End(program.name, how, wall_ms(), until_ms))

    def kill(self, program):
        self.measure(program)
        self.note_end(program, "kill")
        program.kill()

    def drain(self, program):
        """SIGTERM; ended() tells when it has gone."""
        self.measure(program)
        self.note_end(program, "term")
        program.expected_end = True
        program.signal(signal.SIGTERM)

    def sleep(self, program):
        self.measure(program)
        program.slept_ms = wall_ms()
        program.signal(signal.SIGSTOP)

    def wake(self, program):
        self.ends.append(End(program.name, "sleep", program.slept_ms, wall_ms()))
        if program.alive():
            program.signal(signal.SIGCONT)

    @staticmethod
    def measure(program):
        """Its memory's peak; asked while it lives."""
        try:
            status = pathlib.Path("/proc/%d/status" % program.pid).read_text()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                program.peak_kb = max(program.peak_kb, int(line.split()[1]))

    def tend(self):
        """What systemd or Kubernetes does, and what a watcher of memory does. A program that cannot go on (fenced by
        Kafka, a fatal error of its producer) says why and ends with 1; everything else is a crash."""
        for program in list(self.running):
            if program.alive():
                self.measure(program)
            elif not program.expected_end:
                told = program.said("the program stops")
                if told and program.process.poll() == 1:
                    self.supervised.append("%s: %s: %s" % (program.name, told[-1].get("code"), str(told[-1].get("error"))[:200]))
                else:
                    self.by_themselves.append("%s ended by itself with code %s" % (program.name, program.process.poll()))
                self.note_end(program, "kill")
                program.expected_end = True
                self.start("worker" if "-worker-" in program.name else "aggregator", wait=False)

    # -- servers --------------------------------------------------------------------------------------------------

    def stack_begin(self, *words):
        """deploy/local/stack in the background; a Popen."""
        return subprocess.Popen(
            [str(harness.ROOT / "deploy/local/stack"), *words],
            env=self.stack_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(self.logs / "stack.log", "ab"),
        )

    def server_pid(self, name):
        env = self.stack_environment()
        done = subprocess.run([str(harness.ROOT / "deploy/local/stack"), "status"], env=env, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            words = line.split()
            if words[:1] == [name] and words[1].isdigit():
                return int(words[1])
        raise AssertionError("%s does not run" % name)

    def immediate(self, name):
        """PostgreSQL's immediate shutdown: as a crash, but told to its children."""
        os.kill(self.server_pid(name), signal.SIGQUIT)

    def redis_do(self, *words):
        """One command, on a connection of its own; quiet when Redis is away."""
        text = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)
        try:
            with socket.create_connection(("127.0.0.1", int(self.settings["REDIS_PORT"])), 2) as s:
                s.sendall(text)
                s.recv(100)
        except OSError:
            pass

    def put_right(self):
        """All faults off: links clear, provider well, servers up, sleepers awake."""
        self.proxy.clear()
        self.fake.control(error_rate={}, retry_after=None)
        for program in self.running:
            if program.alive():
                program.signal(signal.SIGCONT)
        if self.stack_begin("up").wait(120) != 0:
            raise AssertionError("the stack does not come up again, see %s" % (self.logs / "stack.log"))

    def end_programs(self):
        """SIGTERM for all; complaints about how they end."""
        alive = [p for p in self.running if p.alive()]
        for program in alive:
            self.measure(program)
            program.expected_end = True
            program.signal(signal.SIGTERM)
        found = []
        for program in alive:
            try:
                code = program.process.wait(40)
                if code != 0:
                    found.append("%s ended with code %s after SIGTERM" % (program.name, code))
            except subprocess.TimeoutExpired:
                found.append("%s has not ended within 40 s" % program.name)
                program.kill()
        return found + [text for program in self.running for text in program.complaints()]
