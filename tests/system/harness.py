"""The fleet on a real stack, as a scenario sees it.

A `World` has one stack (Kafka, PostgreSQL, Redis of its own, by deploy/local/stack), one fake
provider, and the programs of one build. `world.begin()` gives a clean house: topics with a prefix of
their own, an empty database, an empty Redis, fresh programs. Scenarios of one file share it, each
with a tenant of its own, and so see only what is theirs.

To add a scenario: a function marked with @scenario in a test_*.py; it takes the world. What it
breaks (servers stopped, programs killed) is put right by `world.mend()`, which the runner calls. One
that needs what a machine may lack calls `skip(reason)`.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import uuid

import msgpack
import psycopg
import redis
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from collector import Collector, read_topic
from fake_client import Fake, answer
from program import Program, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/fake"))
from ports import free_port  # noqa: E402

PROGRAMS = ("quern-worker", "quern-aggregator", "quern", "quern-fake")
TOPICS = ("requests", "requests.batch", "results", "replies", "dead")
JSON_TYPE = "application/json"
MSGPACK_TYPE = "application/msgpack"

# Dollars per million tokens, which is millionths of a dollar per token: whole numbers, so sums are exact.
PRICE_INPUT, PRICE_OUTPUT = 3, 15


def scenario(function=None, *, seconds=60, **fleet):
    """Marks a function as a scenario: its time limit, and settings of the fleet that differ from the file's."""

    def mark(function):
        function.scenario = {"seconds": seconds, "fleet": fleet}
        return function

    return mark(function) if function else mark


class Skipped(Exception):
    """What a scenario is about is not on this machine; the text says what is missing."""


def skip(reason):
    """Ends the scenario: told as "skipped" with the reason, and not counted as passed."""
    raise Skipped(reason)


def same(got, want, what="value"):
    if got != want:
        raise AssertionError("%s is %r, not %r" % (what, got, want))


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def find_programs(build):
    found = {}
    for name in PROGRAMS:
        hits = [p for p in pathlib.Path(build).rglob(name) if p.is_file() and os.access(p, os.X_OK)]
        if not hits and name == "quern":
            continue
        if not hits:
            raise SystemExit("there is no %s in %s: build it first" % (name, build))
        found[name] = str(hits[0])
    return found


class World:
    def __init__(self, build, run_dir):
        self.run_dir = pathlib.Path(run_dir)
        self.logs = self.run_dir / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.programs = find_programs(build)
        self.build = build
        self.running = []  # every Program of this house, ended ones too
        self.houses = 0
        self.scenarios = 0
        self.tenant = "none"
        self.fleet = {}
        self.collector = self.pg = self.fake = None
        self.stopped = set()  # servers that a scenario stopped

    # -- the stack ----------------------------------------------------------------------------------------------

    def stack_environment(self):
        return dict(os.environ, QUERN_RUN_DIR=str(self.run_dir / "stack"))

    def stack(self, *words):
        env = self.stack_environment()
        done = subprocess.run(
            [str(ROOT / "deploy/local/stack"), *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240
        )
        if done.returncode != 0:
            raise AssertionError("deploy/local/stack %s: %s%s" % (" ".join(words), done.stdout, done.stderr))
        return done.stdout

    def up(self):
        self.stack("up")
        self._read_settings()
        self.fake = Fake(self.programs["quern-fake"], self.logs / "fake.log")
        self.producer = Producer(
            {
                "bootstrap.servers": self.settings["QUERN_KAFKA__BOOTSTRAP_SERVERS"],
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "message.max.bytes": 33000000,
                "linger.ms": 1,
                "log_level": 2,
            }
        )

    def _read_settings(self):
        self.settings = {}
        for line in (self.run_dir / "stack/env").read_text().splitlines():
            name, _, value = line.partition("=")
            self.settings[name] = value.strip("'")
        self.settings["PASSWORD"] = pathlib.Path(self.settings["QUERN_POSTGRES__PASSWORD_FILE"]).read_text().strip()
        self.redis = redis.Redis.from_url(self.settings["QUERN_REDIS__URL"])

    def stop_server(self, name):
        self.stopped.add(name)
        self.stack("stop", name)

    def start_server(self, name):
        self.stack("start", name)
        self.stopped.discard(name)

    def down(self):
        for program in self.running:
            program.kill()
            program.close()
        if self.collector:
            self.collector.stop()
        if self.pg:
            self.pg.close()
        if self.fake:
            self.fake.stop()
        self.stack("reset")

    # -- a house: topics, database, programs --------------------------------------------------------------------

    def begin(self, fleet):
        """A clean house with this fleet: {"workers": n, "aggregators": n, "partitions": n, "settings": {key: value}, "models": {..}}."""
        self.end()
        self.houses += 1
        self.prefix = "quern" if self.houses == 1 else "quern%d" % self.houses
        self.fleet = fleet
        self._make_database()
        self.redis.flushall()
        self.fake.reset()
        self._write_config()
        if "quern" in self.programs:
            self.must_quern("migrate", "up")
            self.must_quern("topics", "create", *(["--partitions", str(fleet["partitions"])] if "partitions" in fleet else []))
        else:
            from confluent_kafka.admin import NewTopic
            for f in sorted((ROOT / "schemas/sql").glob("*.sql")):
                self.pg.execute(f.read_text())
            admin = AdminClient({"bootstrap.servers": self.settings["QUERN_KAFKA__BOOTSTRAP_SERVERS"], "log_level": 2})
            for f in admin.create_topics([NewTopic(self.topic(t), 12, 1, config={"max.message.bytes": "33554432"}) for t in TOPICS]).values():
                f.result(30)
        self.collector = Collector(self.settings["QUERN_KAFKA__BOOTSTRAP_SERVERS"], [self.topic("replies"), self.topic("dead")])
        self.ensure_fleet()

    def end(self):
        for program in self.running:
            program.kill()
            program.close()
        self.running = []
        if self.collector:
            self.collector.stop()
            self.collector = None
            admin = AdminClient({"bootstrap.servers": self.settings["QUERN_KAFKA__BOOTSTRAP_SERVERS"], "log_level": 2})
            for future in admin.delete_topics([self.topic(name) for name in TOPICS], operation_timeout=20).values():
                future.exception(30)

    def database(self):
        return "quern_%d" % self.houses

    def conninfo(self, database=None):
        s = self.settings
        return "host=127.0.0.1 port=%s dbname=%s user=quern" % (s["POSTGRES_PORT"], database or self.database())

    def connect(self, database=None):
        return psycopg.connect(self.conninfo(database), password=self.settings["PASSWORD"], autocommit=True)

    def _make_database(self):
        if self.pg:
            self.pg.close()
        with self.connect("quern") as admin:
            admin.execute("CREATE DATABASE %s" % self.database())
        self.pg = self.connect()

    def sql(self, text, *params):
        """Rows of a query; connects again when the server was away."""
        if self.pg.closed or self.pg.broken:
            self.pg = self.connect()
        try:
            return self.pg.execute(text, params).fetchall()
        except psycopg.OperationalError:
            self.pg = self.connect()
            return self.pg.execute(text, params).fetchall()

    def topic(self, name):
        return self.prefix + "." + name

    # -- configuration --------------------------------------------------------------------------------------------

    def model(self, name, **settings):
        """One item of `models`, at the fake provider."""
        item = {
            "provider": "openai",
            "base_url": self.fake.url,
            "timeout": "20s",
            "price_input": PRICE_INPUT,
            "price_output": PRICE_OUTPUT,
        }
        item.update(settings)
        return {"name": name, **item}

    def models(self):
        own = self.fleet.get("models", {})
        base = {
            "m-openai": {"model": "gpt-a"},
            "m-anthropic": {"provider": "anthropic", "model": "claude-a", "max_tokens": 500},
            "m-ollama": {"provider": "ollama", "model": "llama-a"},
            "m-generate": {"provider": "ollama", "api": "generate", "model": "llama-b"},
        }
        return [self.model(name, **settings) for name, settings in {**base, **own}.items()]

    def config(self, **changes):
        """The configuration file as a dict; JSON is YAML."""
        lock_dir = self.run_dir / "locks"
        lock_dir.mkdir(exist_ok=True)
        settings = {
            "log.level": "info",
            "log.format": "json",
            "kafka.bootstrap_servers": self.settings["QUERN_KAFKA__BOOTSTRAP_SERVERS"],
            "postgres.conninfo": self.conninfo(),
            "postgres.password_file": self.settings["QUERN_POSTGRES__PASSWORD_FILE"],
            "redis.url": self.settings["QUERN_REDIS__URL"],
            "redis.key_prefix": self.prefix + ":",
            "topics.prefix": self.prefix,
            "replies.allowed_prefixes": [self.topic("replies")],
            "default_model": "m-openai",
            "models": self.models(),
            "worker.group": self.prefix + "-worker",
            "worker.instance": self.prefix,
            "worker.lock_dir": str(lock_dir),
            "worker.max_in_flight": 500,
            "worker.retry_base": "20ms",
            "worker.retry_cap": "200ms",
            "worker.request_bytes_max": "1MiB",
            "aggregator.group": self.prefix + "-aggregator",
            "aggregator.instance": self.prefix,
            "aggregator.lock_dir": str(lock_dir),
        }
        settings.update(self.fleet.get("settings", {}))
        settings.update(changes)
        tree = {}
        for key, value in settings.items():
            *sections, last = key.split(".")
            at = tree
            for section in sections:
                at = at.setdefault(section, {})
            at[last] = value
        return tree

    @property
    def config_path(self):
        return self.run_dir / (self.prefix + ".yaml")

    def _write_config(self, **changes):
        self.config_path.write_text(json.dumps(self.config(**changes), indent=2))

    def rewrite_config(self, **changes):
        """A new configuration file, and SIGHUP to all programs until each has taken it."""
        self._write_config(**changes)
        for program in self.of("worker") + self.of("aggregator"):
            self.reload(program)

    def reload(self, program):
        """SIGHUP; True when the file was taken, False when it was refused."""

        def counts():
            found = program.metrics()
            return [found.get('quern_config_reloads_total{result="%s"}' % r, 0) for r in ("taken", "refused")]

        before = counts()
        program.signal(signal.SIGHUP)
        after = wait_until(lambda: counts() != before and counts(), what="%s to answer SIGHUP" % program.name)
        return after[0] > before[0]

    def environment(self, **more):
        """Ours, without what would change the programs' settings."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("QUERN_", "PG", "OPENAI_", "ANTHROPIC_"))}
        env["ASAN_OPTIONS"] = "abort_on_error=0:detect_leaks=1:log_path=stderr"
        env["UBSAN_OPTIONS"] = "print_stacktrace=1"
        env.update(more)
        return env

    def environment_of(self, program):
        """That of one program, by its name."""
        return self.environment()

    # -- programs -------------------------------------------------------------------------------------------------

    def start(self, kind, *, wait=True, args=(), env=None):
        """Starts one more worker or aggregator."""
        number = 1 + sum(p.name.startswith("%s-%s-" % (self.prefix, kind)) for p in self.running)
        name = "%s-%s-%d" % (self.prefix, kind, number)
        port = free_port()
        argv = [self.programs["quern-" + kind], "--config", str(self.config_path)]
        argv += ["--set", "%s.http_address=127.0.0.1:%d" % (kind, port), *args]
        program = Program(name, argv, self.logs / (name + ".log"), env or self.environment_of(name), port)
        self.running.append(program)
        if wait:
            program.wait_ready()
        return program

    def of(self, kind):
        """Those that run, oldest first."""
        return [p for p in self.running if "-%s-" % kind in p.name and p.alive() and not p.expected_end]

    @property
    def worker(self):
        return self.of("worker")[0]

    @property
    def aggregator(self):
        return self.of("aggregator")[0]

    def ensure_fleet(self):
        """As many programs as the fleet has, all of them ready."""
        for kind in ("worker", "aggregator"):
            want, have = self.fleet.get(kind + "s", 1), self.of(kind)
            for program in have[want:]:
                program.term()
            for _ in range(want - len(have)):
                self.start(kind, wait=False)
        for kind in ("worker", "aggregator"):
            for program in self.of(kind):
                program.wait_ready()

    def mend(self):
        """Puts right what a scenario left broken; returns what is wrong that no scenario asked for."""
        for program in self.running:
            if program.alive():
                program.signal(signal.SIGCONT)
        for name in sorted(self.stopped):
            self.start_server(name)
        complaints = [text for program in self.running for text in program.complaints()]
        self.running = [p for p in self.running if p.alive() or not p.close()]
        self.fake.reset()
        if not complaints:
            self.ensure_fleet()
        return complaints

    def quern(self, *words, timeout=60, input=None, env=None, cwd=None):
        """The command line; the finished process with stdout and stderr as text."""
        return subprocess.run(
            [self.programs["quern"], "--config", str(self.config_path), *map(str, words)],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=env or self.environment(),
            cwd=cwd or self.run_dir,
        )

    def must_quern(self, *words, **options):
        done = self.quern(*words, **options)
        if done.returncode != 0:
            raise AssertionError("quern %s ends with %d: %s%s" % (" ".join(map(str, words)), done.returncode, done.stdout, done.stderr))
        return done

    # -- requests and what becomes of them --------------------------------------------------------------------

    def new_tenant(self):
        self.scenarios += 1
        self.tenant = "tenant%d" % self.scenarios
        return self.tenant

    def new_id(self):
        return "r-" + uuid.uuid4().hex[:12]

    def request(self, text="hello", **fields):
        """A request document of this scenario's tenant. A field given as None is left out."""
        document = {"id": self.new_id(), "tenant": self.tenant, "input": text, **fields}
        if "messages" in fields and "input" not in fields:
            del document["input"]
        return {k: v for k, v in document.items() if v is not None}

    def send(self, value, *, key=None, headers=(), topic="requests", partition=None):
        """Publishes bytes as they are; flush() waits until Kafka has them."""
        place = {} if partition is None else {"partition": partition}
        while True:
            try:
                self.producer.produce(self.topic(topic), value, key, headers=list(headers), on_delivery=self._sent, **place)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def _sent(self, error, message):
        if error:
            self.send_error = error

    send_error = None

    def flush(self, seconds=40):
        left = self.producer.flush(seconds)
        if left or self.send_error:
            error, self.send_error = self.send_error, None
            raise AssertionError("%d records were not published: %s" % (left, error))

    def post(self, document, *, encoding="json", **place):
        """Publishes a request document without waiting; returns its id."""
        packed = encoding == "msgpack"
        value = msgpack.packb(document) if packed else json.dumps(document).encode()
        headers = [("content-type", (MSGPACK_TYPE if packed else JSON_TYPE).encode())]
        place.setdefault("key", document.get("session") or document.get("id"))
        self.send(value, headers=headers, **place)
        return document.get("id")

    def publish(self, document, **how):
        """Publishes a request document and waits until it is accepted; returns its id."""
        id = self.post(document, **how)
        self.flush()
        return id

    def final(self, id, seconds=20, tenant=None):
        """The requests row as a dict, once it is final."""
        columns = (
            "id, status, user_id, session_id, turn, slots, text, finish_reason, winner, agreement, input_tokens, output_tokens,"
            " cost_microusd, error_code, error_message, origin_partition, origin_offset, metadata,"
            " extract(epoch from finished_at - created_at) * 1000"
        )
        names = [c.split(".")[-1].strip() for c in columns.split(", extract")[0].split(",")] + ["took_ms"]

        def look():
            rows = self.sql("SELECT %s FROM requests WHERE tenant = %%s AND id = %%s AND status <> 'open'" % columns, tenant or self.tenant, id)
            return rows and dict(zip(names, rows[0]))

        return wait_until(look, seconds, "request %s to be final" % id)

    def finals(self, count, seconds=60, tenant=None):
        """Waits until so many requests of the tenant are final."""

        def look():
            got = self.sql("SELECT count(*) FROM requests WHERE tenant = %s AND status <> 'open'", tenant or self.tenant)[0][0]
            look.got = got
            return got >= count

        wait_until(look, seconds, lambda: "%d final requests, there are %d" % (count, look.got), pause=0.1)

    def reply(self, id, seconds=20, count=1):
        """The first reply to a request, once there are `count`."""
        return self.replies(id, seconds, count)[0]

    def replies(self, id, seconds=20, count=1):
        def look():
            got = self.collector.replies(self.tenant, id)
            return got if len(got) >= count else None

        return wait_until(look, seconds, "%d replies to %s" % (count, id))

    def reply_topic(self, name, **config):
        """A topic for replies that is made now, and read."""
        from confluent_kafka.admin import AdminClient, NewTopic

        topic = self.topic("replies." + name)
        admin = AdminClient({"bootstrap.servers": self.settings["QUERN_KAFKA__BOOTSTRAP_SERVERS"]})
        admin.create_topics([NewTopic(topic, 1, 1, config=config)])[topic].result(20)
        self.collector.add_topic(topic, 1)
        return topic

    def dead(self, seconds=20, count=1, **headers):
        """Dead letters with these quern-dead-* headers, once there are `count`."""

        def look():
            got = self.collector.dead(headers)
            return got if len(got) >= count else None

        return wait_until(look, seconds, "%d dead letters with %s" % (count, headers))

    def ask(self, text="hello", seconds=20, encoding="json", **fields):
        """Publishes one request and returns its reply."""
        return self.reply(self.publish(self.request(text, **fields), encoding=encoding), seconds)

    def records(self, topic, id):
        """Records of one of our topics whose value or ce_id names this id, in the order of their time."""
        all_of_it = read_topic(self.settings["QUERN_KAFKA__BOOTSTRAP_SERVERS"], self.topic(topic))
        named = [m for m in all_of_it if id.encode() in (m.value() or b"") or dict(m.headers() or []).get("ce_id") == id.encode()]
        return sorted(named, key=lambda m: m.timestamp()[1])

    def runs(self, id):
        """Provider calls stored for a request: slot, attempt, outcome, status, code, tokens, cost, model."""
        names = ("slot", "attempt", "outcome", "http_status", "error_code", "input_tokens", "output_tokens", "cost_microusd", "model", "provider", "prompt", "response")
        rows = self.sql("SELECT %s FROM inference_runs WHERE tenant = %%s AND request_id = %%s ORDER BY slot, attempt" % ", ".join(names), self.tenant, id)
        return [dict(zip(names, row)) for row in rows]

    def calls(self, id=None):
        return self.fake.ledger(self.tenant, id)


def expected(text, history=(), system=None):
    """What a model answers to this input after this history of (role, content)."""
    first = [("system", system)] if system else []
    return answer(first + list(history) + [("user", text)])


def require_free_space(path, bytes_min=1 << 30):
    if shutil.disk_usage(path).free < bytes_min:
        raise SystemExit("less than 1 GiB is free at %s" % path)


def pause(seconds):
    time.sleep(seconds)
