"""One request in every form, and one request to several models."""
import json
import os

from fake_client import answer, input_tokens, tokens
from harness import PRICE_INPUT, PRICE_OUTPUT, expected, same, scenario, true, wait_until

FLEET = {
    "models": {
        "fake-400": {},
        "fake-404": {},
        "fake-hang": {"timeout": "5s", "attempts_max": 1},
        "fake-slow-300": {},
        "fake-slow-600": {},
        "fake-length": {},
        "no-price": {"price_input": "", "price_output": ""},
    }
}


def price(question, text):
    return tokens(question) * PRICE_INPUT + tokens(text) * PRICE_OUTPUT


@scenario
def a_request_in_json_is_answered_stored_and_paid_for(w):
    question = "what is a quern? \u00e4\u4e2d\U0001f600"
    id = w.publish(w.request(question, user="ann", metadata={"order": 7, "tags": ["a"]}))
    reply, text = w.reply(id), expected(question)
    same(reply["text"], text, "the answer")
    same(reply["status"], "done", "status")
    same(reply["metadata"], {"order": 7, "tags": ["a"]}, "metadata")
    same(reply.headers["content-type"], "application/json", "content-type")
    same(reply.headers["ce_id"], id, "ce_id")
    same(reply.headers["ce_type"], "quern.reply", "ce_type")
    same(reply.key, id.encode(), "the reply's key")
    row = w.final(id)
    same((row["status"], row["text"], row["user_id"]), ("done", text, "ann"), "the requests row")
    same((row["input_tokens"], row["output_tokens"]), (tokens(question), tokens(text)), "tokens")
    same(row["cost_microusd"], price(question, text), "cost")
    same(row["metadata"], {"order": 7, "tags": ["a"]}, "stored metadata")
    same((reply["usage"]["input"], reply["usage"]["output"]), (tokens(question), tokens(text)), "the reply's usage")
    same(reply["cost_microusd"], price(question, text), "the reply's cost")
    same(w.sql("SELECT metadata FROM inference_runs WHERE tenant = %s", w.tenant), [({"order": 7, "tags": ["a"]},)], "the run's metadata")
    (run,) = w.runs(id)
    same((run["outcome"], run["http_status"], run["model"], run["provider"]), ("ok", 200, "m-openai", "openai"), "the run")
    same((run["prompt"], run["response"], run["cost_microusd"]), (question, text, price(question, text)), "the run")
    same(
        w.sql("SELECT user_id, model, provider, requests, calls, failed_calls, input_tokens, output_tokens, cost_microusd FROM usage_daily WHERE tenant = %s", w.tenant),
        [("ann", "m-openai", "openai", 1, 1, 0, tokens(question), tokens(text), price(question, text))],
        "usage_daily",
    )
    (call,) = w.calls(id)
    same((call["path"], call["status"], call["delivered"]), ("/v1/chat/completions", 200, True), "the provider's ledger")


@scenario
def sixteen_models_are_called_at_once_and_merged_and_seventeen_are_refused(w):
    models = ["m-%d" % i for i in range(16)]
    w.rewrite_config(models=w.models() + [w.model(name, model="fake-slow-300", price_input="0", price_output=str(i)) for i, name in enumerate(models)])
    try:
        id = w.publish(w.request("all of you", models=models, merge={"policy": "all"}))
        reply = w.reply(id)
        calls = w.calls(id)
        same(len(calls), 16, "calls at the provider")
        true(max(c["t_ms"] for c in calls) < min(c["done_ms"] for c in calls), "a call began after another one had ended: %s" % calls)
        parts = reply["merge"]["parts"]
        same(([p["model"] for p in parts], {p["status"] for p in parts}), (models, {"ok"}), "the parts of the reply")
        same((reply["status"], reply["text"], reply["merge"]["agreement"]), ("done", expected("all of you"), 1), "the merged answer")
        same(reply["cost_microusd"], tokens(expected("all of you")) * sum(range(16)), "the cost of all")
        same(w.sql("SELECT count(*), count(DISTINCT model) FROM inference_runs WHERE tenant = %s", w.tenant), [(16, 16)], "stored runs")
        reply = w.ask("one too many", models=models + ["m-openai"])
        same((reply["status"], reply["error"]["code"]), ("failed", "invalid_request"), "the refusal")
        true("models" in reply["error"]["message"] and "16" in reply["error"]["message"], "the refusal says %r" % reply["error"]["message"])
        same(len(w.calls()), 16, "calls at the provider after the refusal")
    finally:
        w.rewrite_config()


@scenario
def a_request_in_messagepack_gets_the_same_answer(w):
    same(w.ask("packed", encoding="msgpack")["text"], expected("packed"), "the answer")


@scenario
def json_is_assumed_without_a_content_type(w):
    document = w.request("bare")
    w.send(json.dumps(document).encode(), key=document["id"])
    w.flush()
    same(w.reply(document["id"])["text"], expected("bare"), "the answer")


@scenario
def a_cloudevent_in_binary_mode_names_the_request(w):
    document, id = w.request("binary event", id=None), w.new_id()
    headers = [("ce_id", id), ("ce_type", "quern.request"), ("ce_source", "test"), ("ce_specversion", "1.0"), ("content-type", "application/json")]
    w.send(json.dumps(document).encode(), key=id, headers=headers)
    w.flush()
    same(w.reply(id)["text"], expected("binary event"), "the answer")


@scenario
def a_cloudevent_in_structured_mode_is_unwrapped(w):
    id = w.new_id()
    event = {"specversion": "1.0", "id": id, "source": "test", "type": "quern.request", "data": w.request("structured event", id=None)}
    w.send(json.dumps(event).encode(), key=id, headers=[("content-type", "application/cloudevents+json; charset=UTF-8")])
    w.flush()
    same(w.reply(id)["text"], expected("structured event"), "the answer")


@scenario
def a_request_without_an_id_gets_one_and_its_traceparent_comes_back(w):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    w.send(json.dumps(w.request("nameless", id=None)).encode(), key="x", headers=[("traceparent", trace)])
    w.flush()
    (id,) = wait_until(lambda: w.collector.ids(w.tenant), what="a reply")
    same(len(id), 36, "length of the id that was made")
    reply = w.reply(id)
    same(reply["text"], expected("nameless"), "the answer")
    same(reply.headers.get("traceparent", "").split("-")[1], trace.split("-")[1], "the trace")


@scenario
def unknown_fields_come_back_in_the_reply(w):
    reply = w.ask("with extras", x_campaign={"id": 5}, x_note="keep me")
    same((reply.get("x_campaign"), reply.get("x_note")), ({"id": 5}, "keep me"), "the unknown fields")


@scenario
def every_provider_is_asked_in_its_own_form(w):
    paths = {"m-openai": "/v1/chat/completions", "m-anthropic": "/v1/messages", "m-ollama": "/api/chat", "m-generate": "/api/generate"}
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "forms"}]
    ids = {model: w.post(w.request(input=None, messages=messages, models=[model])) for model in paths}
    w.flush()
    for model, id in ids.items():
        same(w.reply(id)["text"], answer([("system", "be brief"), ("user", "forms")]), "answer of " + model)
        (call,) = w.calls(id)
        same(call["path"], paths[model], "path of " + model)
        row = w.final(id)
        same(row["cost_microusd"], row["input_tokens"] * PRICE_INPUT + row["output_tokens"] * PRICE_OUTPUT, "cost of " + model)
        same(row["input_tokens"], input_tokens([("system", "be brief"), ("user", "forms")]), "input tokens of " + model)


@scenario
def policy_all_waits_for_every_model_and_says_how_far_they_agree(w):
    models = ["m-openai", "m-anthropic", "m-ollama", "fake-slow-300"]
    id = w.publish(w.request("all of you", models=models, merge={"policy": "all"}))
    reply = w.reply(id)
    same((reply["status"], reply["text"]), ("done", expected("all of you")), "the reply")
    merge = reply["merge"]
    same((merge["policy"], merge["winner"], merge["agreement"]), ("all", "m-openai", 1.0), "merge")
    parts = [(p.get("slot", 0), p["model"], p["status"], p["text"]) for p in merge["parts"]]
    same(parts, [(i, m, "ok", expected("all of you")) for i, m in enumerate(models)], "the parts")
    row = w.final(id)
    text = expected("all of you")
    same((row["slots"], row["winner"], row["agreement"]), (4, "m-openai", 1.0), "the row")
    same(row["cost_microusd"], 4 * price("all of you", text), "the cost of all four")
    same(len(w.runs(id)), 4, "number of runs")


@scenario
def policy_first_takes_the_first_good_answer_and_still_counts_the_others(w):
    id = w.publish(w.request("first wins", models=["fake-400", "fake-slow-600", "m-anthropic"], merge={"policy": "first"}))
    reply = w.reply(id)
    same((reply["status"], reply["merge"]["winner"]), ("done", "m-anthropic"), "the reply")
    true(w.final(id)["took_ms"] < 550, "the answer took %s ms, so it waited for the slow model" % w.final(id)["took_ms"])
    wait_until(lambda: len(w.runs(id)) == 3, what="the runs of all three models")
    runs = w.runs(id)
    same([r["outcome"] for r in runs], ["failed", "late", "ok"], "outcomes")
    wait_until(lambda: w.sql("SELECT sum(calls) FROM usage_daily WHERE tenant = %s", w.tenant)[0][0] == 3, what="three calls in usage_daily")


@scenario
def a_quorum_is_reached_although_one_model_fails(w):
    reply = w.ask("two of three", models=["fake-400", "m-openai", "m-ollama"], merge={"policy": "all", "quorum": 2})
    same((reply["status"], reply["merge"]["winner"], reply["text"]), ("done", "m-openai", expected("two of three")), "the reply")
    failed = reply["merge"]["parts"][0]
    same((failed["status"], failed["error"]["code"]), ("failed", "provider_refused"), "the failed part")


@scenario
def a_quorum_that_is_missed_fails_with_its_name(w):
    reply = w.ask("three of three", models=["fake-400", "m-openai"], merge={"policy": "all", "quorum": 2})
    same((reply["status"], reply["error"]["code"]), ("failed", "quorum_not_reached"), "the reply")


@scenario
def all_models_failing_says_so_and_shows_every_reason(w):
    reply = w.ask("nobody", models=["fake-400", "fake-404"])
    same((reply["status"], reply["error"]["code"]), ("failed", "all_models_failed"), "the reply")
    same([p["error"]["code"] for p in reply["merge"]["parts"]], ["provider_refused", "provider_not_found"], "the parts' reasons")


@scenario
def a_merge_deadline_goes_on_without_the_model_that_hangs(w):
    id = w.publish(w.request("no waiting", models=["m-openai", "fake-hang"], merge={"policy": "all", "deadline_ms": 400}))
    reply = w.reply(id)
    same((reply["status"], reply["merge"]["winner"]), ("done", "m-openai"), "the reply")
    true(w.final(id)["took_ms"] < 2500, "final after %s ms" % w.final(id)["took_ms"])


@scenario
def an_answer_cut_by_the_limit_says_length(w):
    same(w.ask("long", models=["fake-length"])["finish_reason"], "length", "finish_reason")


@scenario
def without_a_price_there_is_no_cost(w):
    id = w.publish(w.request("free", models=["no-price"]))
    reply = w.reply(id)
    same((reply.get("cost_microusd"), w.final(id)["cost_microusd"]), (None, None), "cost")


@scenario
def reply_to_sends_the_reply_to_a_topic_of_ones_own(w):
    topic = w.reply_topic("mine")
    reply = w.ask("elsewhere", reply_to=topic, seconds=30)
    same((reply.topic, reply["text"]), (topic, expected("elsewhere")), "the reply")


@scenario
def a_reply_whose_topic_is_missing_does_not_hold_up_the_others(w):
    lost = w.publish(w.request("nowhere", reply_to=w.topic("replies.absent")))
    same(w.ask("behind it")["text"], expected("behind it"), "the next answer")
    same(w.final(lost)["status"], "done", "the row")
    true(w.sql("SELECT count(*) FROM outbox WHERE tenant = %s AND request_id = %s", w.tenant, lost)[0][0] == 1, "the undelivered reply is not in the outbox")


@scenario
def a_reply_that_its_topic_does_not_take_becomes_one_that_says_so(w):
    topic = w.reply_topic("narrow", **{"max.message.bytes": "2000"})
    reply = w.ask("a lot", reply_to=topic, metadata={"noise": os.urandom(3000).hex()}, seconds=30)
    same((reply.topic, reply["status"], reply["error"]["code"]), (topic, "failed", "too_big"), "the reply")
    true("max.message.bytes" in reply["error"]["message"], "it says: " + reply["error"]["message"])
    same(w.final(reply["request_id"])["status"], "done", "the row")
    wait_until(lambda: w.sql("SELECT count(*) FROM outbox WHERE tenant = %s", w.tenant)[0][0] == 0, 10, "the outbox to be empty")


@scenario
def two_hundred_requests_in_both_encodings_get_each_their_own_answer(w):
    models = ["m-openai", "m-anthropic", "m-ollama", "m-generate"]
    texts = {}
    for i in range(200):
        text = "question %d" % i
        how = {"encoding": ["json", "msgpack"][i % 2], "topic": ["requests", "requests.batch"][i // 2 % 2]}
        texts[w.post(w.request(text, models=[models[i % 4]]), **how)] = text
    w.flush()
    for id, text in texts.items():
        same(w.reply(id, 40)["text"], expected(text), "the answer to " + text)
    same(len(w.calls()), 200, "calls at the provider")
