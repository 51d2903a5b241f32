"""Routes: which model answers when others fail, each in its own way; several keys; reload."""
import json
import subprocess

from harness import expected, same, scenario, true, wait_until

CANARY = "sk-canary-route-51d0c7e2"
QUICK = {"attempts_max": 2}
FIRST = {
    "fake-401": {},
    "fake-404": {},
    "fake-500": QUICK,
    "fake-503": QUICK,
    "fake-garbage": QUICK,
    "fake-cut": QUICK,
    "fake-close": QUICK,
    "fake-hang": {"timeout": "300ms", "attempts_max": 1},
    "fake-error-quota": {},
    "fake-error-funds": {},
    "fake-301": {"attempts_max": 1},
    "nobody-there": {"base_url": "http://127.0.0.1:1", "connect_timeout": "500ms", **QUICK},
}
KEYED = {"model": "two-keys", "api_keys": [CANARY + "-1", CANARY + "-2"]}
FLEET = {
    "models": {
        **FIRST,
        "fake-400": {},
        "other-401": {"model": "fake-401"},
        "fake-retry-after-30": {},
        "long": {"model": "fake-error-context"},
        "long-anthropic": {"model": "fake-error-context", "provider": "anthropic", "max_tokens": 50},
        "filtered": {"model": "fake-error-filter"},
        "with-fallback": {"model": "fake-404", "fallback": ["m-anthropic"]},
        "keyed": KEYED,
        "house": {"model": "gpt-house", "local": True},
    },
    "settings": {
        "routes": [
            *({"name": "via-" + name, "models": [name, "m-openai"]} for name in FIRST),
            {"name": "refused", "models": ["fake-400", "m-openai"]},
            {"name": "patient", "models": ["fake-retry-after-30", "m-openai"]},
            {"name": "vendors", "models": ["fake-404", "other-401", "m-ollama"]},
            {"name": "none", "models": ["fake-404", "fake-500", "fake-401"]},
            {"name": "long", "models": ["long", "fake-401"], "context_models": ["m-anthropic"]},
            {"name": "long-anthropic", "models": ["long-anthropic"], "context_models": ["m-openai"]},
            {"name": "long-nobody", "models": ["long", "m-openai"]},
            {"name": "filtered", "models": ["filtered", "fake-401"], "filter_models": ["m-ollama"]},
            {"name": "rule", "policy": "rule", "models": ["m-openai", "house"]},
            {"name": "changing", "models": ["m-openai"]},
        ]
    },
}


def answered(w, route, model, **fields):
    """The request gets its answer, and from this model; returns its runs."""
    text = "by way of " + route
    id = w.publish(w.request(text, route=route, **fields))
    reply = w.reply(id)
    same((reply["status"], reply.get("text")), ("done", expected(text)), "the reply by way of " + route)
    runs = w.runs(id)
    same((runs[-1]["model"], runs[-1]["outcome"]), (model, "ok"), "who answered by way of " + route)
    return runs


@scenario
def whatever_becomes_of_the_first_model_the_second_answers(w):
    for name in FIRST:
        runs = answered(w, "via-" + name, "m-openai")
        same({r["model"] for r in runs[:-1]}, {name}, "who was asked before, by way of via-" + name)
        asked = [r for r in runs[:-1] if r["outcome"] != "ambiguous"]  # a send that the library repeats by itself is a row, too
        true(len(asked) <= 2, "%d calls to %s" % (len(asked), name))


@scenario
def another_vendor_answers_the_same_prompt(w):
    runs = answered(w, "vendors", "m-ollama")
    same([(r["model"], r["provider"]) for r in runs], [("fake-404", "openai"), ("other-401", "openai"), ("m-ollama", "ollama")], "the runs")


@scenario
def what_is_invalid_is_not_asked_elsewhere(w):
    id = w.publish(w.request("invalid", route="refused"))
    same(w.reply(id)["error"]["code"], "provider_refused", "the error")
    same([r["model"] for r in w.runs(id)], ["fake-400"], "who was asked")


@scenario
def a_long_retry_after_is_not_waited_for_when_another_is_there(w):
    answered(w, "patient", "m-openai", deadline_ms=20000)


@scenario
def when_none_is_left_the_error_says_all(w):
    id = w.publish(w.request("nobody", route="none"))
    error = w.reply(id)["error"]
    same(error["code"], "provider_auth", "the error's code")
    for words in ("fake-404 provider_not_found", "fake-500 provider_down", "fake-401 provider_auth"):
        true(words in error["message"], "%r does not stand in %r" % (words, error["message"]))


@scenario
def too_long_and_filtered_go_to_the_named_models_only(w):
    same([r["model"] for r in answered(w, "long", "m-anthropic")], ["long", "m-anthropic"], "the runs")
    same([r["model"] for r in answered(w, "long-anthropic", "m-openai")], ["long-anthropic", "m-openai"], "the runs")
    same([r["model"] for r in answered(w, "filtered", "m-ollama")], ["filtered", "m-ollama"], "the runs")
    id = w.publish(w.request("too long", route="long-nobody"))
    same(w.reply(id)["error"]["code"], "context_length", "the error without a named model")
    same([r["model"] for r in w.runs(id)], ["long"], "who was asked")


@scenario
def a_short_budget_means_the_local_model(w):
    answered(w, "rule", "house", max_latency_ms=400)
    answered(w, "rule", "m-openai", max_latency_ms=600)
    answered(w, "rule", "m-openai")


@scenario
def a_model_has_fallbacks_of_its_own(w):
    id = w.publish(w.request("fall back", models=["with-fallback"]))
    same(w.reply(id)["text"], expected("fall back"), "the answer")
    same([r["model"] for r in w.runs(id)], ["with-fallback", "m-anthropic"], "the runs")


@scenario
def an_unknown_route_and_a_route_beside_models_are_refused(w):
    for fields, code, words in (
        ({"route": "no-such-route"}, "unknown_route", "no-such-route"),
        ({"route": "m-openai"}, "unknown_route", "ask for it in models"),
        ({"models": ["changing"]}, "unknown_model", "ask for it as route"),
        ({"route": "changing", "models": ["m-openai"]}, "invalid_request", "both given"),
    ):
        id = w.publish(w.request("refused", **fields))
        error = w.reply(id)["error"]
        same(error["code"], code, "the error of %r" % fields)
        true(words in error["message"], "%r does not stand in %r" % (words, error["message"]))


@scenario
def a_slowed_key_gives_way_to_the_other_and_no_key_is_told(w):
    w.fake.control(limits=[{"key": KEYED["api_keys"][0], "model": "two-keys", "requests": 1, "window_ms": 600000}])
    try:
        ids = [w.publish(w.request("key %d" % n, models=["keyed"])) for n in range(10)]
        for n, id in enumerate(ids):
            same(w.reply(id)["text"], expected("key %d" % n), "the answer")
    finally:
        w.fake.control(limits=[])
    calls = [c for id in ids for c in w.calls(id)]
    refused = [c for c in calls if c["status"] == 429]
    same(len({c["key_hash"] for c in calls}), 2, "keys in use")
    same(len({c["key_hash"] for c in refused}), 1, "keys that were slowed")
    for program in (w.worker, w.aggregator):
        true(CANARY not in json.dumps(program.lines()), "a key stands in the log of " + program.name)
    done = subprocess.run([w.programs["quern"], "--config", str(w.config_path), "config", "print"], capture_output=True, text=True, env=w.environment(), timeout=20)
    true(done.returncode == 0 and CANARY not in done.stdout + done.stderr, "config print shows a key")
    true('api_keys: ["***", "***"]' in done.stdout, "config print says nothing of the keys")


@scenario
def a_reload_changes_a_route_and_drops_no_call(w):
    def route(*models):
        routes = FLEET["settings"]["routes"]
        w.rewrite_config(models=w.models() + [w.model("slow", model="fake-slow-1500")], routes=routes[:-1] + [{"name": "changing", "models": list(models)}])

    route("slow")
    old = w.publish(w.request("before", route="changing"))
    wait_until(lambda: w.worker.metrics().get("quern_calls_in_flight"), 5, "the call is under way")
    route("m-ollama")
    answered(w, "changing", "m-ollama")
    same(w.reply(old)["text"], expected("before"), "the answer of the call that was under way")
    same([(r["model"], r["outcome"]) for r in w.runs(old)], [("slow", "ok")], "its runs")
    route("nobody")
    true(w.worker.said("not reloaded"), "nothing is said of a route with an unknown model")
    answered(w, "changing", "m-ollama")
    w.rewrite_config()
