"""Answers in pieces: every trouble a provider can have, streamed and whole, and readers who read along."""
import threading
import time

from harness import expected, same, scenario, true, wait_until

CUTS = ["fake-cut-%d" % k for k in (1, 20, 150, 250)] + ["fake-reset-150", "fake-stall-150", "fake-error-midstream", "fake-no-end"]
GOOD = ["fake-gzip", "fake-1xx", "fake-double-end", "fake-stream-50-20", "fake-length", "fake-usage-none", "fake-usage-negative", "fake-usage-absurd"]
DIALECTS = ("openai", "anthropic", "ollama")
# Whole answers of these have no end marker of their own, and some servers that stream in OpenAI's form send no [DONE].
NO_MARKER = ("openai-off-fake-no-end", "anthropic-off-fake-no-end", "openai-on-fake-no-end")


def troubled(provider, stream):
    settings = {"provider": provider, "stream": stream, "attempts_max": 1, "idle_timeout": "500ms", "first_token_timeout": "700ms", "timeout": "3s", "max_tokens": 1000}
    names = CUTS + GOOD + ["fake-hang", "fake-hang-first", "fake-302"]
    return {"%s-%s-%s" % (provider, stream, name): {**settings, "model": name} for name in names}


FLEET = {"models": {name: row for provider in DIALECTS for stream in ("on", "off") for name, row in troubled(provider, stream).items()}}
FLEET["models"]["slow-stream"] = {"model": "fake-stream-300-150", "stream": "on"}
FLEET["models"]["slower-stream"] = {"model": "fake-stream-300-2000", "stream": "on"}
FLEET["models"]["cut-once"] = {"stream": "on", "attempts_max": 10, "idle_timeout": "1s"}


def ask_all(w, names):
    """Each dialect and way with these troubles: (model, reply)."""
    asked = {}
    for provider in DIALECTS:
        for stream in ("on", "off"):
            for name in names:
                model = "%s-%s-%s" % (provider, stream, name)
                asked[model] = w.post(w.request("to " + model, models=[model]))
    w.flush()
    return [(model, w.reply(id)) for model, id in asked.items()]


@scenario
def half_an_answer_is_never_taken_for_a_whole_one(w):
    for model, reply in ask_all(w, CUTS):
        if model in NO_MARKER:
            same(reply["status"], "done", model)
            continue
        same((reply["status"], reply.get("text")), ("failed", None), model)
        true(reply["error"]["code"] in ("provider_cut", "provider_bad_reply", "provider_down", "provider_timeout", "provider_refused"), "%s: %s" % (model, reply["error"]))


@scenario
def oddities_that_do_no_harm_do_none(w):
    for model, reply in ask_all(w, GOOD):
        same(reply["status"], "done", "%s: %s" % (model, reply.get("error")))
        true(reply["text"].startswith("digest="), "%s: %r" % (model, reply["text"]))


@scenario
def silence_before_the_first_token_is_given_up_long_before_the_call(w):
    for model, reply in ask_all(w, ["fake-hang", "fake-hang-first"]):
        same((reply["status"], reply["error"]["code"]), ("failed", "provider_timeout"), model)
        took = w.sql("SELECT latency_ms FROM inference_runs WHERE tenant = %s AND model = %s", w.tenant, model)[0][0]
        low, high = (600, 1500) if "-on-" in model else (2900, 4000)
        true(low <= took <= high, "%s: the call took %d ms" % (model, took))


@scenario
def a_redirect_is_not_followed(w):
    for model, reply in ask_all(w, ["fake-302"]):
        same(reply["status"], "failed", model)
        same(len(w.calls(reply["request_id"])), 1, "calls of " + model)


class Reader(threading.Thread):
    """Reads along from the beginning until the end is told: (seconds since it began, fields)."""

    def __init__(self, w, id):
        super().__init__(daemon=True)
        self.redis, self.key, self.seen = w.redis, "%s:chunks:{%s:%s}" % (w.prefix, w.tenant, id), []
        self.began = time.monotonic()
        self.start()

    def run(self):
        last = "0"
        while time.monotonic() - self.began < 20:
            for _, entries in self.redis.xread({self.key: last}, count=100, block=200) or []:
                for last, fields in entries:
                    self.seen.append((time.monotonic() - self.began, {k.decode(): v.decode() for k, v in fields.items()}))
                    if "end" in self.seen[-1][1]:
                        return

    def text(self):
        self.join(20)
        runs = sorted({f["run"] for _, f in self.seen})
        pieces = [f for _, f in self.seen if f["run"] == runs[-1]]
        same([int(f["n"]) for f in pieces], list(range(1, len(pieces) + 1)), "the numbers")
        return "".join(f.get("text", "") for f in pieces), pieces[-1].get("end"), runs


@scenario
def who_reads_along_has_the_text_before_the_reply(w):
    request = w.request("read along", models=["slow-stream"], stream=True)
    early = Reader(w, request["id"])
    id = w.publish(request)
    reply = w.reply(id)
    text, end, runs = early.text()
    same((text, end, len(runs)), (reply["text"], "ok", 1), "what was read")
    first, last = early.seen[0][0], early.seen[-1][0]
    true(len(early.seen) >= 4 and last - first > 0.4, "%d chunks within %.2f s" % (len(early.seen), last - first))
    same(Reader(w, id).text()[:2], (text, "ok"), "what who comes late reads")
    left = w.redis.pttl(early.key)
    true(500000 < left <= 600000, "the chunks live for %d ms" % left)


@scenario
def who_reads_along_gets_whole_answers_too(w):
    for model in ("m-openai", "m-anthropic"):
        request = w.request("read along", models=[model], stream=True)
        reader = Reader(w, request["id"])
        reply = w.reply(w.publish(request))
        same(reader.text()[:2], (reply["text"], "ok"), model)


@scenario
def who_reads_along_a_failure_is_told(w):
    request = w.request("in vain", models=["openai-on-fake-cut-250"], stream=True)
    reader = Reader(w, request["id"])
    w.reply(w.publish(request))
    same(reader.text()[1], "provider_cut", "the end")


@scenario
def an_expired_request_hangs_up_at_once(w):
    id = w.publish(w.request("too slow", models=["slow-stream"], deadline_ms=600))
    same(w.reply(id)["status"], "expired", "the reply")
    run = w.runs(id)[0]
    same((run["outcome"], run["error_code"]), ("cancelled", "provider_timeout"), "the run")
    call = wait_until(lambda: [c for c in w.calls(id) if c["done_ms"]], what="the provider has seen the end")[0]
    true(not call["delivered"] and call["done_ms"] - call["t_ms"] < 1600, "the provider saw %r" % call)


@scenario(workers=2)
def streams_that_break_again_and_again_end_whole(w):
    w.fake.control(trouble_rate={"fake-cut-300": 0.15, "fake-stall-200": 0.02, "fake-reset-350": 0.1})
    ids = {w.post(w.request("question %d" % n, models=["cut-once"])): n for n in range(200)}
    w.flush()
    for id, n in ids.items():
        same(w.reply(id, 60)["text"], expected("question %d" % n), "the answer")
    w.fake.control(trouble_rate={})
    outcomes = dict(w.sql("SELECT outcome, count(*) FROM inference_runs WHERE tenant = %s GROUP BY 1", w.tenant))
    same(outcomes["ok"], 200, "good runs")
    true(sum(outcomes.values()) > 220, "runs: %s" % outcomes)


@scenario
def the_command_line_follows_an_answer_and_ends_one(w):
    followed = w.quern("submit", "--tenant", w.tenant, "--model", "slow-stream", "--stream", "follow me").stdout.strip()
    out = w.quern("follow", followed, "--tenant", w.tenant)
    same(out.stdout.strip(), w.reply(followed)["text"], "what quern follow prints")
    ended = w.quern("submit", "--tenant", w.tenant, "--model", "slower-stream", "end me").stdout.strip()
    wait_until(lambda: w.calls(ended), what="its call")
    true("1 worker was told" in w.quern("cancel", ended, "--tenant", w.tenant).stdout, "what quern cancel prints")
    reply = w.reply(ended, 5)
    same((reply["status"], reply["error"]["code"]), ("cancelled", "cancelled"), "the reply")
    call = wait_until(lambda: [c for c in w.calls(ended) if c["done_ms"]], what="the provider has seen the end")[0]
    true(not call["delivered"], "the call was delivered")
    same(w.quern("follow", ended, "--tenant", w.tenant, "--timeout", "1s").returncode, 69, "nothing to follow")
