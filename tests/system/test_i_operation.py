"""What an operator sees: health, metrics, logs, reload, configuration and its mistakes, secrets."""
import json
import os
import pty
import re
import select
import signal
import subprocess

from harness import expected, free_port, same, scenario, true, wait_until
from program import http_get

CANARY = "sk-canary-7f3a9c51e2d84b06"
FLEET = {"models": {"m-secret": {"api_key": CANARY}, "fake-401": {"api_keys": [CANARY, CANARY + "-second"]}}}

NAME = re.compile(r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")
SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*",?)+\})? (\S+)$')


def check_exposition(text):
    """What promtool checks: every sample has a TYPE before it, names and values are legal, histograms are whole."""
    true(text.endswith("\n"), "the last line has no end")
    types, seen, buckets = {}, set(), {}
    for line in text.splitlines():
        if line.startswith("# HELP ") or line.startswith("# TYPE "):
            word, name, rest = line[2:].split(" ", 2)
            true(NAME.match(name), "the name %r is not legal" % name)
            if word == "TYPE":
                true(name not in types, "%s has two TYPE lines" % name)
                types[name] = rest
            continue
        match = SAMPLE.match(line)
        true(match, "no sample: %r" % line)
        name, labels, value = match.groups()
        float(value)
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        kind = types.get(name) or types.get(base)
        true(kind, "%s has no TYPE" % name)
        true((name, labels) not in seen, "%s%s is there twice" % (name, labels))
        seen.add((name, labels))
        if kind == "counter":
            true(name.endswith("_total"), "the counter %s does not end in _total" % name)
        if name.endswith("_bucket"):
            others = re.sub(r',?le="[^"]*"', "", labels)
            buckets.setdefault((base, others), []).append(float(value))
    for (name, labels), values in buckets.items():
        true(values == sorted(values), "buckets of %s%s fall" % (name, labels))
    return types


@scenario
def health_readiness_version_and_unknown_pages(w):
    for program in (w.worker, w.aggregator):
        same(http_get(program.url("/healthz")), (200, "ok\n"), "/healthz of " + program.name)
        same(http_get(program.url("/readyz"))[0], 200, "/readyz of " + program.name)
        same(http_get(program.url("/nothing"))[0], 404, "an unknown page of " + program.name)
        true("quern" in http_get(program.url("/version"))[1], "/version of %s does not name it" % program.name)


@scenario
def metrics_are_well_formed_and_count_what_happened(w):
    before = w.worker.metrics()
    for i in range(3):
        w.ask("count me", models=["m-anthropic"])
    for program in (w.worker, w.aggregator):
        types = check_exposition(http_get(program.url("/metrics"))[1])
        true(len(types) > 10, "%s has only %d metrics" % (program.name, len(types)))
    after = w.worker.metrics()
    for name in ("quern_records_total", 'quern_requests_total{outcome="answered"}', 'quern_calls_total{model="m-anthropic"}'):
        same(after[name] - before.get(name, 0), 3, "growth of " + name)
    same(after['quern_dependency_up{dependency="redis"}'], 1, "Redis in the metrics")
    true(w.aggregator.metrics()['quern_finals_total{status="done"}'] >= 3, "the aggregator counts too few finals")


@scenario
def log_lines_are_json_with_time_level_and_message(w):
    w.publish(w.request("refused", models=["no-such-model"]))
    w.dead(code="unknown_model")
    for program in (w.worker, w.aggregator):
        lines = program.lines()
        true(lines, "%s says nothing" % program.name)
        for line in lines:
            true(re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$", line.get("ts", "")), "no time in %s" % line)
            true(line.get("level") in ("debug", "info", "warn", "error") and line.get("msg"), "no level or message in %s" % line)


@scenario
def a_terminal_gets_text_instead_of_json(w):
    config = json.loads(w.config_path.read_text())
    del config["log"]["format"]
    path = w.run_dir / "terminal.yaml"
    path.write_text(json.dumps(config))
    leader, follower = pty.openpty()
    words = ["--config", str(path), "--set", "worker.http_address=", "--set", "kafka.bootstrap_servers=127.0.0.1:1", "--set", "worker.instance=terminal"]
    process = subprocess.Popen([w.programs["quern-worker"], *words], stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env=w.environment())
    os.close(follower)
    shown = b""
    try:
        while b"kafka is away" not in shown:
            true(select.select([leader], [], [], 20)[0], "the terminal shows only %r" % shown)
            shown += os.read(leader, 65536)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(40)
        os.close(leader)
    same(code, 0, "exit code after SIGTERM while Kafka is away")
    true(re.search(rb"\n\d{4}-\d\d-\d\dT\S+Z warn  quern-worker: kafka is away servers=127.0.0.1:1 error=", shown), "the terminal shows %r" % shown)
    true(b"{" not in shown, "the terminal shows JSON: %r" % shown)


@scenario
def a_reload_with_a_bad_file_keeps_the_old_one(w):
    """Each program says where the mistake is, and which word was meant, and works on."""
    good = w.config_path.read_text()
    mistakes = {
        "quern-worker": ("log:\n  level: info\nworker: {max_inflight: 5}\n", ":3", "max_in_flight"),
        "quern-aggregator": ("log:\n  level: info\n\naggregator: {histry_turns: 5}\n", ":4", "history_turns"),
    }
    for program in (w.worker, w.aggregator):
        mistake, line, meant = next(mistakes[name] for name in mistakes if name.rpartition("-")[2] in program.name)
        for bad, words in ((mistake, (w.config_path.name + line, meant)), ("}{", (w.config_path.name + ":1",)), ("models:\n  - provider: openai\n", (w.config_path.name, "models"))):
            w.config_path.write_text(bad)
            same(w.reload(program), False, "a reload of %r" % bad)
            said = program.said("not reloaded")[-1]
            true(said["level"] == "error" and all(word in said["error"] for word in words), "%s says of %r: %s" % (program.name, bad, said))
        same(program.metrics()["quern_config_last_reload_successful"], 0, "the metric of the last reload")
        true(program.ready(), "%s is not ready after a bad reload" % program.name)
        same(w.ask("still here")["text"], expected("still here"), "the answer after the bad reload of " + program.name)
        w.config_path.write_text(good)
        same(w.reload(program), True, "a reload of the good file")
        same(program.metrics()["quern_config_last_reload_successful"], 1, "the metric of the last reload")


@scenario
def a_reload_brings_a_new_model_and_takes_one_away(w):
    same(w.ask("too early", models=["m-new"])["error"]["code"], "unknown_model", "the code before")
    w.rewrite_config(models=w.models() + [w.model("m-new")])
    same(w.ask("in time", models=["m-new"])["text"], expected("in time"), "the answer after")
    w.rewrite_config()
    same(w.ask("too late", models=["m-new"])["error"]["code"], "unknown_model", "the code at the end")


@scenario
def the_environment_is_stronger_than_the_file_and_flags_are_stronger_still(w):
    env = w.environment(QUERN_WORKER__MAX_IN_FLIGHT="77", QUERN_LOG__LEVEL="debug")
    done = w.quern("config", "print", env=env)
    true("77" in done.stdout and "debug" in done.stdout, "the environment is not in force:\n" + done.stdout)
    done = subprocess.run(
        [w.programs["quern-worker"], "--config", str(w.config_path), "--set", "worker.max_in_flight=78", "--print-config"],
        env=env,
        capture_output=True,
        text=True,
        timeout=20,
    )
    true("78" in done.stdout and "77" not in done.stdout, "the flag is not in force:\n" + done.stdout)


@scenario
def a_secret_may_come_from_a_file(w):
    secret = w.run_dir / "secret"
    secret.write_text(w.settings["PASSWORD"] + "\n")
    w.worker.term()
    w._write_config(**{"postgres.password_file": "/nowhere/at/all"})
    try:
        program = w.start("worker", wait=False)
        same(program.wait_end(20), 78, "exit code without the file")
        program.expected_end = True
    finally:
        w._write_config()
    config = json.loads(w.config_path.read_text())
    del config["postgres"]["password_file"]
    w.config_path.write_text(json.dumps(config))
    try:
        w.start("worker", env=w.environment(QUERN_POSTGRES__PASSWORD_FILE=str(secret)))
    finally:
        w._write_config()
    same(w.ask("with the file")["text"], expected("with the file"), "the answer")


def check_config(w, text, *words, code=78):
    path = w.run_dir / "mistake.yaml"
    path.write_text(text)
    for name in ("quern-worker", "quern-aggregator"):
        argv = [w.programs[name], "--config", str(path), "--check-config"]
        done = subprocess.run(argv, env=w.environment(), capture_output=True, text=True, timeout=20)
        same(done.returncode, code, "exit code of %s with %r (%s)" % (name, text, done.stderr))
        for word in words:
            true(word in done.stderr, "%s says %r, without %r" % (name, done.stderr, word))


@scenario
def a_mistake_in_the_configuration_is_shown_with_file_line_and_nearest_key(w):
    check_config(w, "log:\n  level: info\ntopics:\n  prefx: q\n", "mistake.yaml:4", "topics.prefx", "topics.prefix")
    check_config(w, "kafka:\n  session_timeout: soon\n", "mistake.yaml:2", "kafka.session_timeout")
    check_config(w, "log:\n  level: loud\n", "mistake.yaml:2", "log.level")
    check_config(w, "log: [\n", "mistake.yaml")
    check_config(w, "models:\n  - name: m\n    provder: openai\n", "mistake.yaml:3", "provder", "provider")
    check_config(w, "models:\n  - name: m\n    base_url: ftp://x\n", "base_url")
    check_config(w, "kafka:\n  properties: {enable.auto.commit: true}\n", "enable.auto.commit")


@scenario
def an_unknown_flag_and_a_missing_file_end_with_78(w):
    for name in ("quern-worker", "quern-aggregator", "quern"):
        for words, code in ((["--no-such-flag"], 78), (["--config", "/no/such/file.yaml", *(["topics", "check"] if name == "quern" else [])], 78)):
            done = subprocess.run([w.programs[name], *words], env=w.environment(), capture_output=True, text=True, timeout=20)
            same(done.returncode, code, "exit code of %s %s (%s)" % (name, words, done.stderr))
        for words in (["--version"], ["--help"]):
            done = subprocess.run([w.programs[name], *words], env=w.environment(), capture_output=True, text=True, timeout=20)
            same((done.returncode, name in done.stdout), (0, True), "%s %s" % (name, words))


@scenario
def two_programs_on_one_port_say_so(w):
    argv = ["--set", "worker.http_address=127.0.0.1:%d" % w.worker.port]
    program = w.start("worker", wait=False, args=argv)
    true(program.wait_end(20) != 0, "the second one ended well")
    program.expected_end = True


@scenario
def a_limit_of_open_files_that_is_too_small_is_a_configuration_mistake(w):
    argv = ["prlimit", "--nofile=300:300", w.programs["quern-worker"], "--config", str(w.config_path)]
    argv += ["--set", "worker.http_address=127.0.0.1:%d" % free_port(), "--set", "worker.max_in_flight=5000"]
    done = subprocess.run(argv, env=w.environment(), capture_output=True, text=True, timeout=20)
    same(done.returncode, 78, "exit code (%s)" % done.stderr)
    true("open" in done.stderr and "file" in done.stderr, "it does not say why: " + done.stderr)


@scenario
def a_second_signal_ends_at_once(w):
    w.fake.control(latency=20_000)
    for _ in range(5):
        w.post(w.request("long", deadline_ms=600_000))
    w.flush()
    wait_until(lambda: w.fake.summary()["in_flight"] == 5, what="five calls in flight")
    program = w.worker
    program.expected_end = True
    program.signal(signal.SIGTERM)
    wait_until(lambda: http_get(program.url("/readyz"))[1] == "draining\n", what="/readyz to say draining")
    program.signal(signal.SIGTERM)
    program.wait_end(5)
    w.fake.control(latency=0)
    w.start("worker")
    w.finals(5, 30)


@scenario
def a_secret_appears_nowhere(w):
    same(w.ask("with a key", models=["m-secret"])["text"], expected("with a key"), "the answer")
    w.ask("refused", models=["fake-401"])
    true(any(c["key_hash"] for c in w.calls()), "the provider was given no key")
    w.worker.signal(signal.SIGHUP)
    places = {path.name: path.read_bytes() for path in w.logs.iterdir()}
    places["replies and dead letters"] = "\n".join(w.collector.everything()).encode()
    for program in (w.worker, w.aggregator):
        places["metrics of " + program.name] = http_get(program.url("/metrics"))[1].encode()
        for name in ("cmdline",):
            with open("/proc/%d/%s" % (program.pid, name), "rb") as file:
                places[name + " of " + program.name] = file.read()
    tables = w.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'")
    for (table,) in tables:
        places["table " + table] = repr(w.sql("SELECT * FROM %s" % table)).encode()
    for words in (["config", "print"], ["config", "check"], ["doctor"]):
        done = w.quern(*words)
        places["quern " + " ".join(words)] = (done.stdout + done.stderr).encode()
    places["redis"] = b"".join(k + (w.redis.get(k) or b"") for k in w.redis.keys() if w.redis.type(k) == b"string")
    for place, content in places.items():
        true(CANARY.encode() not in content, "the API key is in: " + place)
        true(w.settings["PASSWORD"].encode() not in content, "the database's password is in: " + place)
