"""Providers that fail, each in its own way: what is tried again, when, and how the request ends."""
import http.server
import json
import threading
import time

from fake_client import answer
from harness import expected, same, scenario, true, wait_until

FLEET = {
    "models": {
        "fake-429": {},
        "fake-500": {"attempts_max": 3},
        "fake-529": {"provider": "anthropic", "max_tokens": 100, "attempts_max": 2},
        "fake-401": {},
        "fake-404": {},
        "fake-flaky-2": {},
        "fake-garbage": {"attempts_max": 2},
        "fake-empty": {"attempts_max": 2, "stream": "off"},
        "fake-empty-stream": {"attempts_max": 2, "stream": "on", "model": "fake-empty"},
        "fake-error200": {"attempts_max": 2},
        "fake-cut": {"attempts_max": 2, "stream": "off"},
        "fake-hang": {"timeout": "300ms", "attempts_max": 2},
        "fake-drip": {"timeout": "400ms", "attempts_max": 1},
        "fake-retry-after-1": {},
        "fake-retry-after-30": {},
        "fake-slow-3000": {},
        "fake-big-1024": {},
        "nobody-there": {"base_url": "http://127.0.0.1:1", "attempts_max": 2, "connect_timeout": "500ms"},
    }
}


def fails(w, model, code, calls, *, status="failed", outcome="failed", seconds=20, **fields):
    """The request fails with this code after so many calls, each of them a run."""
    id = w.publish(w.request("to " + model, models=[model], **fields))
    reply = w.reply(id, seconds)
    same((reply["status"], reply["error"]["code"]), (status, code), "the reply")
    true(len(reply["error"]["message"]) > 10, "the message says nothing: %r" % reply["error"]["message"])
    runs = w.runs(id)
    same([(r["attempt"], r["outcome"]) for r in runs], [(n + 1, outcome) for n in range(calls)], "the runs")
    same(len(w.calls(id)), 0 if model == "nobody-there" else calls, "calls at the provider")
    return id, runs


@scenario
def a_rate_limit_is_tried_again_until_the_attempts_are_used_up(w):
    _, runs = fails(w, "fake-429", "provider_rate_limit", 4)
    same({r["http_status"] for r in runs}, {429}, "status of the runs")


@scenario
def a_server_error_is_tried_again(w):
    _, runs = fails(w, "fake-500", "provider_down", 3)
    same({(r["http_status"], r["error_code"]) for r in runs}, {(500, "provider_down")}, "status of the runs")


@scenario
def an_overloaded_anthropic_is_tried_again(w):
    fails(w, "fake-529", "provider_down", 2)


@scenario
def what_no_second_try_can_mend_is_asked_once(w):
    fails(w, "fake-401", "provider_auth", 1)
    fails(w, "fake-404", "provider_not_found", 1)


@scenario
def the_third_attempt_succeeds_and_the_failed_ones_are_in_the_books(w):
    id = w.publish(w.request("third time", models=["fake-flaky-2"]))
    same(w.reply(id)["text"], expected("third time"), "the answer")
    same([(r["attempt"], r["outcome"], r["http_status"]) for r in w.runs(id)], [(1, "failed", 500), (2, "failed", 500), (3, "ok", 200)], "the runs")
    same(w.sql("SELECT requests, calls, failed_calls FROM usage_daily WHERE tenant = %s", w.tenant), [(1, 3, 2)], "usage_daily")
    same(len({c["call_id"] for c in w.calls(id)}), 3, "different call ids")


@scenario
def an_answer_that_cannot_be_read_is_no_answer(w):
    fails(w, "fake-garbage", "provider_bad_reply", 2)
    fails(w, "fake-empty", "provider_bad_reply", 2)
    fails(w, "fake-empty-stream", "provider_cut", 2, outcome="cut")


@scenario
def an_error_in_a_good_status_is_an_error(w):
    id = w.publish(w.request("error in 200", models=["fake-error200"]))
    reply = w.reply(id)
    same(reply["status"], "failed", "the reply")
    true(reply["error"]["code"].startswith("provider_"), "the code is " + reply["error"]["code"])


@scenario
def an_answer_cut_in_the_middle_is_never_taken_for_a_whole_one(w):
    id = w.publish(w.request("cut", models=["fake-cut"]))
    reply = w.reply(id)
    same((reply["status"], reply.get("text")), ("failed", None), "the reply")
    true(reply["error"]["code"] in ("provider_bad_reply", "provider_down"), "the code is " + reply["error"]["code"])
    same(len(w.runs(id)), 2, "runs")


@scenario
def a_provider_that_hangs_is_given_up_after_the_models_timeout(w):
    began = time.monotonic()
    fails(w, "fake-hang", "provider_timeout", 2, outcome="cut")
    true(time.monotonic() - began < 3, "two calls of 300 ms took %.1f s" % (time.monotonic() - began))


@scenario
def a_provider_that_drips_is_given_up_too(w):
    fails(w, "fake-drip", "provider_timeout", 1, outcome="cut")


@scenario
def nobody_at_the_address_is_a_provider_that_is_down(w):
    fails(w, "nobody-there", "provider_down", 2)


@scenario
def retry_after_is_waited_for(w):
    id = w.publish(w.request("patience", models=["fake-retry-after-1"]))
    same(w.reply(id)["text"], expected("patience"), "the answer")
    first, second = w.calls(id)
    true(990 <= second["t_ms"] - first["done_ms"] < 2500, "the second call came after %d ms" % (second["t_ms"] - first["done_ms"]))


@scenario
def retry_after_beyond_the_deadline_is_not_waited_for(w):
    began = time.monotonic()
    id = w.publish(w.request("no patience", models=["fake-retry-after-30"], deadline_ms=3000))
    reply = w.reply(id)
    same((reply["status"], reply["error"]["code"]), ("failed", "provider_rate_limit"), "the reply")
    true(time.monotonic() - began < 4, "it took %.1f s" % (time.monotonic() - began))


@scenario
def no_request_outlives_its_deadline_by_more_than_a_second(w):
    models = ["fake-hang", "fake-slow-3000", "fake-429", "fake-500", "m-openai"]
    limits = {}
    for model in models:
        for deadline in (300, 800):
            limits[w.post(w.request("in time", models=[model], deadline_ms=deadline))] = deadline
    limits[w.post(w.request("in time", models=["fake-slow-3000", "m-openai"], deadline_ms=700))] = 700
    w.flush()
    for id, deadline in limits.items():
        row = w.final(id)
        true(row["took_ms"] <= deadline + 1000, "%s: final after %d ms, its deadline was %d (%s)" % (id, row["took_ms"], deadline, row["error_code"]))
    late = [c for c in w.calls() if c["model"] == "fake-429" and c["t_ms"] > w.calls()[0]["t_ms"] + 2000]
    same(late, [], "calls long after the deadline")


@scenario
def a_deadline_that_strikes_during_the_call_is_named_so(w):
    id = w.publish(w.request("too slow", models=["fake-slow-3000"], deadline_ms=500))
    reply = w.reply(id)
    same((reply["status"], reply["error"]["code"]), ("expired", "expired"), "the reply")
    same(w.final(id)["status"], "expired", "the row")


@scenario
def an_answer_of_a_megabyte_comes_back_whole(w):
    reply = w.ask("big", models=["fake-big-1024"])
    true(reply["status"] == "done" and len(reply["text"]) == 1024 * 1024, "status %s, %d bytes" % (reply["status"], len(reply.get("text", ""))))


@scenario
def a_failing_model_does_not_hold_up_the_others(w):
    for _ in range(50):
        w.post(w.request("stuck", models=["fake-retry-after-30"], deadline_ms=20_000))
    began = time.monotonic()
    same(w.ask("free", models=["m-openai"])["text"], expected("free"), "the answer")
    true(time.monotonic() - began < 2, "it took %.1f s" % (time.monotonic() - began))


@scenario
def one_in_five_calls_failing_loses_no_request(w):
    w.fake.control(error_rate={"429": 0.1, "500": 0.1}, latency=10)
    texts = {w.post(w.request("rate %d" % i)): "rate %d" % i for i in range(200)}
    w.flush()
    done = sum(w.reply(id, 40).get("text") == answer([("user", text)]) for id, text in texts.items())
    true(done >= 195, "only %d of 200 were answered" % done)
    wait_until(lambda: sum(len(w.runs(id)) for id in texts) == len(w.calls()), what="as many runs as calls")


class OddProvider(http.server.BaseHTTPRequestHandler):
    """Answers in OpenAI's form with what no provider should say."""

    odd = {}

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "fine"}}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        document = {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
        self.odd[asked["messages"][-1]["content"]](document, choice)
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def odd_answers():
    def usage(**fields):
        return lambda document, choice: document["usage"].update(fields)

    def message(**fields):
        return lambda document, choice: choice["message"].update(fields)

    return {
        "a finish_reason of ten thousand characters": lambda d, choice: choice.update(finish_reason="x" * 10_000),
        "a finish_reason that is a number": lambda d, choice: choice.update(finish_reason=7),
        "negative tokens": usage(prompt_tokens=-5),
        "tokens beyond all numbers": usage(prompt_tokens=1e300),
        "tokens that are text": usage(prompt_tokens="many"),
        "no usage": lambda d, choice: d.pop("usage"),
        "a zero character": message(content="a\x00b"),
        "a lone surrogate": message(content="\ud800"),
        "no content": message(content=None),
        "content that is a number": message(content=5),
        "tool calls that are none": message(tool_calls="x", content=None),
        "tool calls with a zero character": message(tool_calls=[{"id": "\x00", "type": "function", "function": {"name": "f", "arguments": "{}"}}]),
        "a role that is a king": message(role="king"),
    }


@scenario
def whatever_a_provider_answers_the_request_becomes_final(w):
    OddProvider.odd = odd_answers()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OddProvider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    odd = w.model("odd", base_url="http://127.0.0.1:%d" % server.server_port, attempts_max=1)
    w.rewrite_config(models=w.models() + [odd])
    try:
        ids = {w.post(w.request(name, models=["odd"], session="s-" + name)): name for name in OddProvider.odd}
        w.flush()
        for id, name in ids.items():
            reply = w.reply(id, 20)
            true(reply["status"] == "done" or reply["error"]["code"].startswith(("provider_", "too_big")), "%s ended as %s" % (name, dict(reply)))
    finally:
        server.shutdown()
        w.rewrite_config()
