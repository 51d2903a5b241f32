"""The command line as people and scripts use it: what it prints, what it leaves behind, how it exits."""
import json
import os
import pathlib
import pty
import signal
import subprocess
import time

from fake_client import answer
from harness import expected, same, scenario, true, wait_until

FLEET = {"models": {"fake-400": {}, "m-slow": {"model": "fake-slow-200"}}}


def exits(w, code, *words, **options):
    done = w.quern(*words, **options)
    same(done.returncode, code, "exit code of quern %s (stdout %r, stderr %r)" % (" ".join(map(str, words)), done.stdout[-500:], done.stderr[-500:]))
    return done


def lines(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


@scenario
def submit_waits_for_the_answer_and_prints_it(w):
    done = exits(w, 0, "submit", "--tenant", w.tenant, "--wait", "what is flour?")
    same(done.stdout.strip(), expected("what is flour?"), "stdout")
    done = exits(w, 0, "submit", "--tenant", w.tenant, "--wait", "-o", "json", "-m", "m-openai", "-m", "m-anthropic", "two models")
    reply = json.loads(done.stdout)
    same((reply["text"], reply["merge"]["winner"]), (expected("two models"), "m-openai"), "the reply")
    done = exits(w, 0, "submit", "--tenant", w.tenant, "--wait", "--encoding", "msgpack", "-", input="from standard input")
    same(done.stdout.strip(), expected("from standard input"), "stdout")


@scenario
def submit_prints_the_id_and_show_tells_its_story(w):
    id = exits(w, 0, "submit", "--tenant", w.tenant, "--user", "ann", "--session", "s", "remember me").stdout.strip()
    w.final(id)
    story = exits(w, 0, "show", "--tenant", w.tenant, id).stdout
    for word in (id, "done", "m-openai", expected("remember me")):
        true(word in story, "the story does not tell %r:\n%s" % (word, story))
    told = json.loads(exits(w, 0, "show", "--tenant", w.tenant, "-o", "json", id).stdout)
    true("remember me" in json.dumps(told) and len(told) > 1, "the JSON is %s" % told)
    lost = exits(w, 1, "show", "--tenant", w.tenant, "no-such-id")
    true("no-such-id" in lost.stderr and not lost.stdout, "stderr is %r" % lost.stderr)


@scenario
def submit_says_why_a_request_failed(w):
    done = exits(w, 1, "submit", "--tenant", w.tenant, "--wait", "-m", "no-such-model", "hello")
    true("unknown_model" in done.stderr, "stderr is %r" % done.stderr)
    w.fake.control(latency=5000)
    late = exits(w, 1, "submit", "--tenant", w.tenant, "--wait", "--timeout", "300ms", "slow")
    true(late.stderr.strip(), "nothing is said of the time-out")


@scenario
def submit_takes_files_lines_and_raw_bytes(w):
    text, many, raw = (w.run_dir / name for name in ("question.txt", "many.jsonl", "raw.bin"))
    text.write_text("from a file")
    same(exits(w, 0, "submit", "--tenant", w.tenant, "--wait", "--file", text).stdout.strip(), expected("from a file"), "stdout")
    documents = [w.request("line %d" % i) for i in range(20)]
    many.write_text("".join(json.dumps(d) + "\n" for d in documents))
    printed = exits(w, 0, "submit", "--lines", many).stdout.split()
    same(sorted(printed), sorted(d["id"] for d in documents), "the printed ids")
    for i, document in enumerate(documents):
        same(w.reply(document["id"])["text"], expected("line %d" % i), "the answer to line %d" % i)
    raw.write_bytes(b"\xff\xfe no JSON at all")
    exits(w, 0, "submit", "--raw", raw)
    wait_until(lambda: [d for d in w.dead(code="invalid_encoding") if d.value == b"\xff\xfe no JSON at all"], what="the dead letter")


@scenario
def submit_uses_the_partition_that_other_clients_use(w):
    ours = [w.new_id() for _ in range(12)]
    for i, session in enumerate(ours):
        if i % 2:
            exits(w, 0, "submit", "--tenant", w.tenant, "--session", session, "from the command line")
        w.publish(w.request("from Python", session=session))
    w.finals(18)
    rows = w.sql("SELECT count(DISTINCT origin_partition) FROM requests WHERE tenant = %s GROUP BY session_id", w.tenant)
    same({n for (n,) in rows}, {1}, "partitions per session")


def openai_line(number, content, model="m-openai"):
    body = {"model": model, "messages": [{"role": "user", "content": content}]}
    return {"custom_id": "c-%d" % number, "method": "POST", "url": "/v1/chat/completions", "body": body}


def check_output(output, count, content="batch line %d"):
    got = {line["custom_id"]: line for line in lines(output)}
    same(len(lines(output)), count, "lines of the output")
    for i in range(count):
        line = got["c-%d" % i]
        same((line["error"], line["response"]["status_code"]), (None, 200), "line c-%d" % i)
        body = line["response"]["body"]
        same(body["object"], "chat.completion", "the form of line c-%d" % i)
        same(body["choices"][0]["message"]["content"], answer([("user", content % i)]), "the answer of line c-%d" % i)


def write_batch(w, name, count, content="batch line %d"):
    path = w.run_dir / name
    path.write_text("".join(json.dumps(openai_line(i, content % i)) + "\n" for i in range(count)))
    return path


def run_batch(w, *words, code=0, **options):
    return exits(w, code, "batch", "run", "--tenant", w.tenant, "--progress", "never", *words, **options)


@scenario
def a_batch_in_openais_form_is_answered_line_by_line(w):
    path, output = write_batch(w, "batch.jsonl", 200), w.run_dir / "batch.out.jsonl"
    done = run_batch(w, "--output", output, path)
    check_output(output, 200)
    same(len(w.calls()), 200, "calls at the provider")
    true("200" in done.stdout + done.stderr, "the table does not count 200: %r %r" % (done.stdout, done.stderr))
    again = run_batch(w, "--output", output, path, code=2)
    true("--resume" in again.stderr, "an existing output is not explained: %r" % again.stderr)
    run_batch(w, "--output", output, "--resume", path)
    check_output(output, 200)
    same(len(w.calls()), 200, "calls at the provider after --resume")


@scenario
def a_batch_of_our_own_documents_in_both_encodings(w):
    documents = [w.request("own %d" % i, session="s%d" % (i % 3) if i % 2 else None) for i in range(60)]
    path, output = w.run_dir / "own.jsonl", w.run_dir / "own.out.jsonl"
    path.write_text("".join(json.dumps(d) + "\n" for d in documents))
    run_batch(w, "--output", output, "--encoding", "alternate", path)
    got = lines(output)
    same((len(got), {r["status"] for r in got}), (60, {"done"}), "the output")


@scenario
def bad_lines_of_a_batch_get_an_error_and_do_not_stop_the_rest(w):
    path, output = w.run_dir / "bad.jsonl", w.run_dir / "bad.out.jsonl"
    good = [json.dumps(openai_line(i, "batch line %d" % i)) for i in range(5)]
    bad = ["this is no JSON", "[]", json.dumps(openai_line(0, "the same custom_id")), json.dumps(openai_line(7, "x", "no-such-model"))]
    path.write_text("\n".join(good[:2] + bad[:2] + good[2:] + bad[2:]) + "\n")
    done = w.quern("batch", "run", "--tenant", w.tenant, "--progress", "never", "--output", output, path)
    true(done.returncode in (0, 1), "exit code %d: %s" % (done.returncode, done.stderr))
    got = lines(output)
    same(len(got), 9, "lines of the output")
    same(sum(bool(line.get("error")) for line in got), 4, "lines with an error")
    for line in got:
        if line.get("error"):
            true(line["error"]["code"] and line["error"]["message"] and not line.get("response"), "a bad line's output is %s" % line)


def batch_process(w, path, output):
    argv = [w.programs["quern"], "--config", str(w.config_path), "batch", "run", "--tenant", w.tenant, "--progress", "never"]
    return subprocess.Popen([*argv, "--output", str(output), str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=w.environment())


def interrupt(w, number, name):
    """A batch that is interrupted by this signal in the middle; returns what it said, its input and output."""
    path, output = write_batch(w, name + ".jsonl", 1500), w.run_dir / (name + ".out.jsonl")
    w.fake.control(latency=200)
    process = batch_process(w, path, output)
    wait_until(lambda: output.exists() and output.read_bytes().count(b"\n") > 50, 30, "the first lines of output")
    process.send_signal(number)
    said = process.communicate(timeout=20)[1]
    true(output.read_bytes().count(b"\n") < 1500, "the batch was complete before it was interrupted")
    return process.returncode, said, path, output


@scenario(seconds=90)
def an_interrupted_batch_is_resumed_and_nothing_is_asked_twice(w):
    code, said, path, output = interrupt(w, signal.SIGINT, "interrupted")
    true(code != 0 and "--resume" in said, "code %s, it says %r" % (code, said))
    run_batch(w, "--output", output, "--resume", path)
    check_output(output, 1500)
    same(len(w.calls()), 1500, "calls at the provider")


@scenario(seconds=90)
def a_killed_batch_with_half_a_line_is_resumed_too(w):
    _, _, path, output = interrupt(w, signal.SIGKILL, "killed")
    with open(output, "ab") as file:
        file.write(b'{"id": "half a li')
    run_batch(w, "--output", output, "--resume", path)
    check_output(output, 1500)
    same(len(w.calls()), 1500, "calls at the provider")


@scenario
def topics_are_checked_and_differences_named(w):
    exits(w, 0, "topics", "check")
    exits(w, 0, "topics", "create")
    done = exits(w, 1, "topics", "check", "--set", "topics.prefix=nobody-made-these")
    true("nobody-made-these.requests" in done.stdout + done.stderr, "the missing topic is not named")


@scenario
def migrations_are_listed_and_run_once(w):
    status = exits(w, 0, "migrate", "status")
    true("0001" in status.stdout or "core" in status.stdout, "stdout is %r" % status.stdout)
    before = w.sql("SELECT count(*) FROM schema_migrations")
    exits(w, 0, "migrate", "up")
    same(w.sql("SELECT count(*) FROM schema_migrations"), before, "migrations after a second run")
    w.pg.execute("UPDATE schema_migrations SET sha256 = 'x' || sha256")
    changed = exits(w, 78, "migrate", "up")
    true("changed" in changed.stderr, "nothing is said of the changed file: %r" % changed.stderr)
    w.pg.execute("UPDATE schema_migrations SET sha256 = substr(sha256, 2)")
    exits(w, 0, "migrate", "up")


@scenario
def migrations_that_run_at_the_same_time_do_not_meet(w):
    with w.connect("quern") as admin:
        admin.execute("CREATE DATABASE race_%d" % w.houses)
    env = w.environment(QUERN_POSTGRES__CONNINFO=w.conninfo("race_%d" % w.houses))
    argv = [w.programs["quern"], "--config", str(w.config_path), "migrate", "up"]
    runs = [subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(4)]
    for run in runs:
        said = run.communicate(timeout=30)[1]
        same(run.returncode, 0, "exit code of a concurrent migration (%r)" % said)


def doctor_finds(w, code, what, state, *words, **options):
    """quern doctor ends with the code, and has a line with this state, a finding and a fix; returns the line."""
    done = exits(w, code, *words, "doctor", "-o", "json", **options)
    rows = {row["what"]: row for row in json.loads(done.stdout)}
    same(rows[what]["state"], state, "what doctor says of %s: %s" % (what, rows[what]))
    true(rows[what]["finding"] and rows[what]["fix"], "doctor does not say what to do: %s" % rows[what])
    return rows[what]


@scenario
def doctor_finds_everything_well_and_ends_with_a_code_for_what_is_wrong(w):
    done = exits(w, 0, "doctor")
    for word in ("kafka", "postgres", "redis", "topics", "migrations", "m-openai"):
        true(word in done.stdout.lower(), "doctor says nothing of %s:\n%s" % (word, done.stdout))
    away = {
        "kafka": {"words": ["--set", "kafka.bootstrap_servers=127.0.0.1:1"]},
        "redis": {"words": ["--set", "redis.url=redis://127.0.0.1:1/0"]},
        "postgresql": {"env": w.environment(QUERN_POSTGRES__CONNINFO="host=127.0.0.1 port=1 dbname=x user=x")},
    }
    for what, how in away.items():
        doctor_finds(w, 69, what, "away", *how.get("words", ()), env=how.get("env"))
    doctor_finds(w, 1, "topics", "fail", "--set", "topics.prefix=nobody.made.these")
    with w.connect("quern") as admin:
        admin.execute("CREATE DATABASE empty_one")
    empty = w.environment(QUERN_POSTGRES__CONNINFO=w.conninfo("empty_one"))
    same(doctor_finds(w, 1, "migrations", "fail", env=empty)["fix"], "quern migrate up", "what to do about a schema that is old")
    nobody = w.environment(QUERN_POSTGRES__CONNINFO=w.conninfo("not_there"))
    doctor_finds(w, 78, "postgresql", "wrong", env=nobody)
    doctor_finds(w, 78, "redis", "wrong", "--set", "redis.url=" + w.settings["QUERN_REDIS__URL"].replace("//", "//x:wrong@"))
    doctor_finds(w, 78, "prices", "wrong", "--set", "prices_file=/nowhere.yaml", "--set", "redis.url=redis://127.0.0.1:1/0")  # before who is away
    path = w.run_dir / "broken.yaml"
    path.write_text("kafka:\n  bootstrap_server: 127.0.0.1:1\n")
    done = exits(w, 78, "doctor", "--config", path)
    true("broken.yaml:2" in done.stderr and "bootstrap_servers" in done.stderr, "what is said of a broken file: %r" % done.stderr)
    for code in ("0 ", "1 ", "69 ", "78 "):
        true(code in exits(w, 0, "doctor", "--help").stdout.split("exit codes:")[1], "the exit code %s in --help" % code)


@scenario
def commands_end_with_69_when_their_server_is_away(w):
    nowhere = ["--set", "kafka.bootstrap_servers=127.0.0.1:1"]
    began = time.monotonic()
    done = exits(w, 69, "submit", *nowhere, "hello")
    true("127.0.0.1:1, nothing was published" in done.stderr, "submit says %r" % done.stderr)
    true(time.monotonic() - began < 15, "it took as long as the delivery time-out")
    true("Connection refused; 'quern doctor' says" in exits(w, 69, "topics", "check", *nowhere).stderr, "topics check does not say what to do")
    output = w.run_dir / "never.out.jsonl"
    exits(w, 69, "batch", "run", "--output", output, *nowhere, write_batch(w, "never.jsonl", 1))
    true(not output.exists(), "a batch that did not begin leaves an output behind")
    env = w.environment(QUERN_POSTGRES__CONNINFO="host=127.0.0.1 port=1 dbname=x user=x")
    exits(w, 69, "migrate", "status", env=env)
    exits(w, 69, "show", "some-id", env=env)


@scenario
def wrong_usage_ends_with_2_and_a_wrong_setting_with_78(w):
    for words, hint in ((("sumbit",), "'submit'"), (("dead", "lst"), "'dead list'"), (("deed", "list"), "'dead list'")):
        true("did you mean " + hint in exits(w, 2, *words).stderr, "no hint at %s" % hint)
    done = exits(w, 78, "submit", "--tenat", "t")
    true("--tenant" in done.stderr, "the nearest flag is not named: %r" % done.stderr)
    exits(w, 2, "submit", "--tenant")
    exits(w, 2, "submit", "--session", "s", "--batch-lane", "hello")
    exits(w, 2, "batch", "run")
    exits(w, 2)
    done = exits(w, 78, "topics", "check", "--set", "topics.prefx=q")
    true("topics.prefix" in done.stderr, "the nearest key is not named: %r" % done.stderr)


@scenario
def every_program_has_help_and_refuses_what_it_does_not_know(w):
    for name in ("quern", "quern-worker", "quern-aggregator"):

        def run(*words):
            return subprocess.run([w.programs[name], *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=w.environment(), timeout=20)

        for word in ("--help", "-h"):
            done = run(word)
            same((done.returncode, done.stderr), (0, ""), "%s %s" % (name, word))
            true("usage: %s " % name in done.stdout and "exit codes: 0 " in done.stdout, "%s %s prints %r" % (name, word, done.stdout[:200]))
        for word, code in (("--no-such-flag", 78), ("dance", 2)):
            done = run(word)
            same((done.returncode, done.stdout), (code, ""), "%s %s" % (name, word))
            true("--help" in done.stderr and word in done.stderr, "%s %s says %r" % (name, word, done.stderr))


def places_of(w, *ids):
    """Where their dead letters lie, in the words of `quern dead list`."""
    rows = json.loads(exits(w, 0, "dead", "list", "-o", "json").stdout)
    return [next(row["record"] for row in rows if row["id"] == id) for id in ids]


def retried(w, code, *words):
    """{place: its row} of what `quern dead retry` prints, and what it says."""
    done = exits(w, code, "dead", "retry", "-o", "json", *words)
    return {row["record"]: row for row in json.loads(done.stdout)}, done.stderr


@scenario
def dead_letters_are_listed_and_shown(w):
    document = w.request("a model that will exist", models=["m-tomorrow"])
    w.publish(document)
    letter = w.dead(id=document["id"])[0]
    listed = exits(w, 0, "dead", "list").stdout
    true("unknown_model" in listed and document["id"] in listed, "the list is:\n" + listed)
    (place,) = places_of(w, document["id"])
    same(json.loads(exits(w, 0, "dead", "list", "--code", "expired", "-o", "json").stdout), [], "those of another code")
    true("no error 'unknwon_model'" in exits(w, 2, "dead", "list", "--code", "unknwon_model").stderr, "a code that does not exist")
    shown = exits(w, 0, "dead", "show", place).stdout
    true("m-tomorrow" in shown and letter.reason in shown, "the letter is shown as:\n" + shown)
    same(json.loads(exits(w, 0, "dead", "show", "--bytes", place).stdout), document, "the original bytes")
    for wrong in ("0:999999", "77:0"):
        true("there is no record " + wrong in exits(w, 1, "dead", "show", wrong).stderr, "what is said of %s" % wrong)
    exits(w, 2, "dead", "show", "first")


@scenario
def dead_letters_are_retried_one_several_and_again(w):
    trace = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    first, second = (w.request("retry %d" % i, models=["m-tomorrow"]) for i in range(2))
    named = w.new_id()  # stands in its header only
    third = json.dumps({k: v for k, v in w.request("retry 2", models=["m-tomorrow"]).items() if k != "id"}).encode()
    w.publish(first)
    w.publish(second, encoding="msgpack")
    w.send(third, key="some key", headers=[("ce_id", named.encode()), ("ce_specversion", b"1.0"), trace])
    w.flush()
    for id in (first["id"], second["id"], named):
        w.dead(id=id)
    places = places_of(w, first["id"], second["id"], named)
    w.rewrite_config(models=w.models() + [w.model("m-tomorrow")])
    try:
        rows, said = retried(w, 1, places[0], "0:999999", places[2])  # as they were; the one that is not there holds up nobody
        same([rows[p]["outcome"] for p in (places[0], "0:999999", places[2])], ["published", "left out", "published"], "the outcomes")
        true("there is no record 0:999999" in rows["0:999999"]["why"], "why: %s" % rows["0:999999"])
        true("2 record(s) published again, 1 not" in said and "--new-id" in said, "what is said: %r" % said)
        same({r["status"] for id in (first["id"], named) for r in w.replies(id, count=2)}, {"failed"}, "answers under the old ids, from the store")
        once, again = w.records("requests", named)
        same((again.value(), again.key(), again.headers()), (once.value(), once.key(), once.headers()), "the record that was retried as it was")
        rows, said = retried(w, 0, "--new-id", *places)
        ids = [rows[place]["id"] for place in places]
        same([w.reply(id)["text"] for id in ids], [expected("retry %d" % i) for i in range(3)], "the answers")
        same(len(set(ids) | {first["id"], second["id"], named}), 6, "ids")
        (anew,) = w.records("requests", ids[2])
        same(sorted(anew.headers()), [("content-type", b"application/json"), trace], "the headers under a new id")
        rows, said = retried(w, 0, "--new-id", places[1])  # it was retried before: it stays where it is, and is asked once more
        same(w.reply(rows[places[1]]["id"])["text"], expected("retry 1"), "the answer to what was retried before")
        same(len(w.sql("SELECT 1 FROM requests WHERE tenant = %s AND status = 'done'", w.tenant)), 4, "answered requests")
    finally:
        w.rewrite_config()


def stop_still(pid):
    """The first thread that is scheduled tells the others: under load they go on for some milliseconds."""
    os.kill(pid, signal.SIGSTOP)
    states = lambda: {task.read_text().rpartition(")")[2].split()[0] for task in pathlib.Path("/proc", str(pid), "task").glob("*/stat")}
    wait_until(lambda: states() == {"T"}, 10, lambda: "all threads to stand still, they are %s" % states())


@scenario
def a_submit_of_unknown_fate_tells_its_id(w):
    sure, unsure = w.request("before"), w.request("while Kafka stands still")
    pid = next(int(line.split()[1]) for line in w.stack("status").splitlines() if line.startswith("kafka"))
    argv = [w.programs["quern"], "--config", str(w.config_path), "submit", "--set", "kafka.delivery_timeout=1s", "--lines", "-"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=w.environment())
    process.stdin.write(json.dumps(sure) + "\n")
    process.stdin.flush()
    w.reply(sure["id"])
    try:
        stop_still(pid)
        printed, said = process.communicate(json.dumps(unsure) + "\n", timeout=30)
    finally:
        os.kill(pid, signal.SIGCONT)
    same((process.returncode, printed.split()), (69, [sure["id"]]), "exit code and what is printed as accepted (%r)" % said)
    true("did not say in time" in said and "--id %s is harmless" % unsure["id"] in said, "submit says %r" % said)
    w.must_quern("submit", "--tenant", w.tenant, "--id", unsure["id"], unsure["input"])
    same(w.reply(unsure["id"])["text"], expected(unsure["input"]), "the answer")
    same(len(w.calls(unsure["id"])), 1, "calls")


@scenario
def a_retry_says_what_cannot_be_retried(w):
    cut = b'{"tenant": "%s", "input": "%s"}' % (w.tenant.encode(), b"x" * (2 << 20))
    w.send(cut)
    w.send(b"no JSON", key="k")
    w.flush()
    (large,) = w.dead(code="too_big")
    wait_until(lambda: [d for d in w.dead(code="invalid_encoding") if d.value == b"no JSON"], what="the dead letter")
    rows = json.loads(exits(w, 0, "dead", "list", "-o", "json").stdout)
    places = [next(r["record"] for r in reversed(rows) if r["code"] == code) for code in ("too_big", "invalid_encoding")]
    rows, said = retried(w, 1, "--new-id", *places)
    same([rows[p]["outcome"] for p in places], ["left out"] * 2, "outcomes")
    true("only its beginning" in rows[places[0]]["why"] and "cannot be read" in rows[places[1]]["why"], "why: %s" % rows)
    same(exits(w, 2, "dead", "retry", places[0], "every").stdout, "", "what a wrong word publishes")
    w.send(b"letter", topic="dead", partition=0, headers=[("quern-dead-topic", w.topic("gone").encode()), ("quern-dead-code", b"internal")])
    w.flush()
    last = json.loads(exits(w, 0, "dead", "list", "--code", "internal", "-o", "json").stdout)[-1]["record"]
    rows, said = retried(w, 1, last)
    true(rows[last]["outcome"] == "left out" and "does not exist" in rows[last]["why"], "of a letter whose topic is gone: %s" % rows)
    nowhere = ("--set", "kafka.bootstrap_servers=127.0.0.1:1", "--set", "kafka.delivery_timeout=1s")
    exits(w, 69, "dead", "retry", *nowhere, "all")


@scenario
def config_prints_checks_samples_and_explains(w):
    printed = exits(w, 0, "config", "print").stdout
    true("max_in_flight: 500" in printed and w.settings["PASSWORD"] not in printed, "config print is:\n" + printed)
    exits(w, 0, "config", "check")
    sample = w.run_dir / "sample.yaml"
    sample.write_text(exits(w, 0, "config", "sample").stdout)
    for name in ("quern-worker", "quern-aggregator"):
        done = subprocess.run([w.programs[name], "--config", str(sample), "--check-config"], capture_output=True, text=True, env=w.environment(), timeout=20)
        same((done.returncode, done.stderr), (0, ""), "%s with the sample file" % name)
    true("worker.max_in_flight" in exits(w, 0, "config", "reference").stdout, "the reference does not name worker.max_in_flight")
    json.loads(exits(w, 0, "config", "schema").stdout)


@scenario
def reference_pages_are_there(w):
    for page in ("messages", "errors", "topics", "metrics", "commands"):
        true(len(exits(w, 0, "reference", page).stdout) > 300, "the page %s is short" % page)
    same(json.loads(exits(w, 0, "reference", "asyncapi").stdout)["asyncapi"][:2], "3.", "AsyncAPI's version")
    import jsonschema

    for name in ("request", "result", "reply"):
        schema = json.loads(exits(w, 0, "reference", "schema", name).stdout)
        jsonschema.Draft202012Validator.check_schema(schema)
        if name == "request":
            jsonschema.validate(w.request("fits", metadata={"a": 1}), schema)
        if name == "reply":
            jsonschema.validate(dict(w.ask("judge me", models=["m-openai", "m-ollama"])), schema)


@scenario
def a_progress_bar_is_shown_on_a_terminal_only(w):
    path = write_batch(w, "bar.jsonl", 60)
    w.fake.control(latency=300)
    leader, follower = pty.openpty()
    argv = [w.programs["quern"], "--config", str(w.config_path), "batch", "run", "--tenant", w.tenant, str(path)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=follower, env=w.environment(TERM="xterm"))
    os.close(follower)
    shown = b""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            some = os.read(leader, 65536)
        except OSError:
            break
        if not some:
            break
        shown += some
    os.close(leader)
    same(process.wait(20), 0, "exit code")
    true(b"\r" in shown and b"60" in shown, "the terminal showed %r" % shown[-300:])


@scenario
def completion_is_valid_bash(w):
    script = exits(w, 0, "completion", "bash").stdout
    same(subprocess.run(["bash", "-n"], input=script, text=True, timeout=10).returncode, 0, "bash -n")
    true("submit" in script, "the completion does not know submit")
