"""Texts into vectors: every provider's form, what is refused before it costs anything, books, batches."""
import base64
import json
import struct

from fake_client import tokens, vector
from harness import PRICE_INPUT, same, scenario, true, wait_until

FLEET = {
    "models": {
        "e-openai": {"model": "emb"},
        "e-azure": {"provider": "azure", "api_version": "2024-10-21", "model": "emb"},
        "e-ollama": {"provider": "ollama", "model": "emb"},
        "e-qwen": {"provider": "qwen", "model": "emb"},
        "e-hunyuan": {"provider": "hunyuan", "model": "emb"},
        "e-input-price": {"model": "emb", "price_output": ""},
        "deepseek": {"provider": "deepseek"},
        **{"fake-embed-" + how: {"attempts_max": 2} for how in ("short", "twice", "lengths", "nan")},
        "o-short": {"provider": "ollama", "model": "fake-embed-short", "attempts_max": 2},
        "fake-500": {"attempts_max": 2},
        "fake-401": {},
    },
    "settings": {
        "routes": [
            {"name": "vectors", "models": ["fake-401", "e-azure"]},
            {"name": "mixed", "models": ["m-anthropic", "fake-500", "e-openai"]},
            {"name": "chat-only", "models": ["m-anthropic", "deepseek"]},
        ]
    },
}
TEXTS = ["What is a quern?", "\u00e4\u4e2d\U0001f600 \"quoted\"\nline", "three"]


def numbers(text):
    data = base64.b64decode(text, validate=True)
    return list(struct.unpack("<%df" % (len(data) // 4), data))


def close(got, want, what):
    """Ollama and Qwen write numbers of nine digits."""
    same([len(v) for v in got], [len(v) for v in want], "lengths of " + what)
    true(all(abs(a - b) < 1e-8 for g, w in zip(got, want) for a, b in zip(g, w)), "%s: %r, not %r" % (what, got, want))


def embed(w, input, **fields):
    return w.request(input, kind="embed", **fields)


def vectors_of(reply):
    same(reply["status"], "done", "status of %s" % json.dumps(reply)[:500])
    true("text" not in reply and "message" not in reply, "there is a text beside the vectors")
    return [numbers(text) for text in reply["embeddings"]]


@scenario
def every_provider_turns_texts_into_vectors_in_its_own_form(w):
    paths = {"e-openai": "/v1/embeddings", "e-azure": "/openai/deployments/*/embeddings", "e-ollama": "/api/embed", "e-qwen": "/v1/embeddings", "e-hunyuan": "/v1/embeddings"}
    ids = {model: w.post(embed(w, TEXTS, models=[model])) for model in paths}
    w.flush()
    used = tokens("".join(TEXTS))
    for model, id in ids.items():
        reply = w.reply(id)
        close(vectors_of(reply), [vector(t) for t in TEXTS], "vectors of " + model)
        same((reply["usage"], reply["cost_microusd"], reply["merge"]["winner"]), ({"input": used}, used * PRICE_INPUT, model), "usage, cost and model of " + model)
        (call,) = w.calls(id)
        same((call["path"], call["input_tokens"], call["output_tokens"]), (paths[model], used, 0), "the provider's ledger of " + model)
        row = w.final(id)
        same((row["text"], row["input_tokens"], row["output_tokens"], row["cost_microusd"], row["session_id"], row["turn"]), (None, used, 0, used * PRICE_INPUT, None, None), "the row of " + model)
        (run,) = w.runs(id)
        same((run["outcome"], run["input_tokens"], run["output_tokens"], run["cost_microusd"], run["response"]), ("ok", used, 0, used * PRICE_INPUT, None), "the run of " + model)
    same(w.sql("SELECT DISTINCT kind FROM requests WHERE tenant = %s", w.tenant), [("embed",)], "kind")
    same(w.sql("SELECT sum(input_tokens), sum(output_tokens), sum(calls) FROM usage_daily WHERE tenant = %s", w.tenant), [(5 * used, 0, 5)], "usage_daily")
    same(w.sql("SELECT count(*) FROM request_embeddings WHERE tenant = %s", w.tenant), [(5,)], "stored vectors")
    same(w.sql("SELECT count(*) FROM messages WHERE tenant = %s", w.tenant), [(0,)], "messages")


@scenario
def one_text_or_many_in_either_encoding_and_as_short_as_asked_for(w):
    (one,) = vectors_of(w.ask("a text alone", kind="embed", models=["e-openai"]))
    same(one, vector("a text alone"), "the vector")
    short = vectors_of(w.ask(TEXTS, kind="embed", models=["e-openai"], params={"dimensions": 3, "encoding_format": "base64"}, encoding="msgpack"))
    same(short, [vector(t, 3) for t in TEXTS], "the short vectors")
    many = ["text %d" % i for i in range(2048)]
    same(vectors_of(w.ask(many, kind="embed", models=["e-openai"])), [vector(t) for t in many], "2,048 vectors")
    reply = w.ask("priced by its input", kind="embed", models=["e-input-price"])
    same(reply["cost_microusd"], tokens("priced by its input") * PRICE_INPUT, "the cost without a price of output")


@scenario
def who_asks_again_gets_the_stored_vectors_and_nobody_is_paid_twice(w):
    document = embed(w, TEXTS, models=["e-openai"])
    id = w.publish(document)
    first = w.reply(id)
    w.publish(document)
    second = w.replies(id, count=2)[1]
    same(second["embeddings"], first["embeddings"], "the vectors of the second reply")
    same(len(w.calls(id)), 1, "calls at the provider")
    document["input"] = TEXTS[:2]
    w.publish(document)
    same(w.replies(id, count=3)[2]["error"]["code"], "id_conflict", "the reply to other texts under the same id")


@scenario
def what_cannot_become_vectors_is_refused_before_it_costs_anything(w):
    cases = [
        ({"input": []}, "a text at least"),
        ({"input": ""}, "input[0] must be a text that is not empty"),
        ({"input": ["a", ""]}, "input[1] must be a text"),
        ({"input": [[1, 2, 3]]}, "tokens are not taken"),
        ({"input": ["x"] * 2049}, "at most 2048 texts, has 2049; split it"),
        ({"session": "s"}, "no turn of a conversation"),
        ({"stream": True}, "vectors come whole"),
        ({"input": None, "messages": [{"role": "user", "content": "x"}]}, "put the texts into input"),
        ({"params": {"max_tokens": 5}}, "dimensions and encoding_format"),
        ({"params": {"encoding_format": "float"}}, "must be one of base64"),
        ({"params": {"dimensions": 0}}, "must be between 1"),
        ({"models": ["m-anthropic"]}, "has no embeddings; use a model of openai"),
        ({"models": ["e-openai", "deepseek"]}, "provider 'deepseek' of model 'deepseek' has no embeddings"),
        ({"models": ["e-hunyuan"], "params": {"dimensions": 64}}, "takes no dimensions"),
        ({"models": None, "route": "chat-only"}, "no model of the route has embeddings"),
        ({"kind": "paint"}, "must be one of chat|embed"),
        ({"kind": "chat", "input": ["a"]}, "lists of texts are for kind embed"),
        ({"kind": "chat", "params": {"dimensions": 3}}, "is for kind embed only"),
    ]
    ids = [w.post(w.request(**{"kind": "embed", "input": "x", "models": ["e-openai"], **fields})) for fields, _ in cases]
    w.flush()
    for id, (fields, words) in zip(ids, cases):
        reply = w.reply(id)
        error = reply["merge"]["parts"][0]["error"] if "parts" in reply.get("merge", {}) else reply["error"]
        same(error["code"], "invalid_request", "the code for %s (%s)" % (str(fields)[:80], error["message"]))
        true(words in error["message"], "the message for %s is %r" % (str(fields)[:80], error["message"]))
        same(w.runs(id), [], "runs")
    same(w.calls(), [], "calls at the provider")


@scenario
def more_than_a_reply_can_hold_is_refused_with_the_number_that_fits(w):
    reply = w.ask(["x"] * 2048, kind="embed", models=["e-openai"], params={"dimensions": 3072})
    same(reply["error"]["code"], "too_big", "the code")
    true("at most 510 texts in one request" in reply["error"]["message"], "the message is %r" % reply["error"]["message"])
    same(w.calls(), [], "calls at the provider")
    reply = w.ask(["x %d" % i for i in range(500)], kind="embed", models=["e-openai"], params={"dimensions": 3072})
    same(vectors_of(reply)[499], vector("x 499", 3072), "the last of 500 vectors of 3,072 numbers")


@scenario
def vectors_that_are_not_whole_are_no_answer_and_their_tokens_are_in_the_books(w):
    models = ["fake-embed-short", "fake-embed-twice", "fake-embed-lengths", "fake-embed-nan", "o-short"]
    ids = {model: w.post(embed(w, TEXTS, models=[model])) for model in models}
    w.flush()
    used = tokens("".join(TEXTS))
    for model, id in ids.items():
        reply = w.reply(id)
        same((reply["status"], reply["error"]["code"], reply.get("embeddings")), ("failed", "provider_bad_reply", None), "the reply of " + model)
        same([(r["outcome"], r["http_status"], r["input_tokens"], r["cost_microusd"]) for r in w.runs(id)], [("failed", 200, used, used * PRICE_INPUT)] * 2, "the runs of " + model)
        same(reply["usage"]["input"], 2 * used, "the usage of " + model)


@scenario
def a_route_goes_to_who_has_embeddings_and_is_there(w):
    for route, winner in (("vectors", "e-azure"), ("mixed", "e-openai")):
        reply = w.ask(TEXTS, kind="embed", route=route)
        same(vectors_of(reply), [vector(t) for t in TEXTS], "the vectors by way of " + route)
        same(reply["merge"]["winner"], winner, "who answered by way of " + route)


@scenario
def several_models_each_give_their_vectors_and_are_not_compared(w):
    id = w.publish(embed(w, TEXTS, models=["e-openai", "e-ollama"], merge={"policy": "all"}))
    reply = w.reply(id)
    want = [vector(t) for t in TEXTS]
    same(vectors_of(reply), want, "the vectors of the first model")
    merge = reply["merge"]
    same((merge["winner"], merge.get("agreement"), w.final(id)["agreement"]), ("e-openai", None, None), "the merge")
    close([numbers(t) for t in merge["parts"][1]["embeddings"]], want, "the vectors of the second part")
    reply = w.ask(TEXTS, kind="embed", models=["fake-401", "e-ollama"], merge={"policy": "first"})
    close(vectors_of(reply), want, "the first good vectors")


@scenario
def a_batch_file_of_embeddings_is_answered_in_openais_form(w):
    def line(i, **body):
        return {"custom_id": "c-%d" % i, "method": "POST", "url": "/v1/embeddings", "body": {"model": "e-openai", "input": ["a %d" % i, "b %d" % i], **body}}

    lines = [line(i) for i in range(20)] + [line(20, encoding_format="base64"), line(21, dimensions=3), line(22, input=[]), line(23, model="m-anthropic")]
    lines.append({"custom_id": "chat", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m-openai", "messages": [{"role": "user", "content": "hi"}]}})
    path, output = w.run_dir / "vectors.jsonl", w.run_dir / "vectors.out.jsonl"
    output.unlink(missing_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    w.must_quern("batch", "run", "--tenant", w.tenant, "--progress", "never", "--output", output, path)
    got = {line["custom_id"]: line for line in map(json.loads, open(output, encoding="utf-8"))}
    same(len(got), len(lines), "lines of the output")
    for i in range(20):
        body = got["c-%d" % i]["response"]["body"]
        same((body["object"], body["model"], [d["index"] for d in body["data"]]), ("list", "e-openai", [0, 1]), "the form of line %d" % i)
        same([[struct.unpack("<f", struct.pack("<f", n))[0] for n in d["embedding"]] for d in body["data"]], [vector("a %d" % i), vector("b %d" % i)], "the vectors of line %d" % i)
        used = tokens("a %db %d" % (i, i))
        same(body["usage"], {"prompt_tokens": used, "total_tokens": used}, "the usage of line %d" % i)
    same([numbers(d["embedding"]) for d in got["c-20"]["response"]["body"]["data"]], [vector("a 20"), vector("b 20")], "the vectors in base64")
    same(len(got["c-21"]["response"]["body"]["data"][0]["embedding"]), 3, "dimensions")
    same([got["c-22"]["error"]["code"], got["c-23"]["error"]["code"]], ["invalid_request"] * 2, "the bad lines")
    same(got["chat"]["response"]["body"]["object"], "chat.completion", "the chat line")
    before = open(output, encoding="utf-8").read()
    w.must_quern("batch", "run", "--tenant", w.tenant, "--progress", "never", "--output", output, "--resume", path)
    same(open(output, encoding="utf-8").read(), before, "the output after --resume")


@scenario
def the_command_line_prints_vectors_and_tells_of_them(w):
    done = w.must_quern("submit", "--kind", "embed", "--tenant", w.tenant, "-m", "e-openai", "--dimensions", 3, "--wait", "from the command line")
    got = [struct.unpack("<f", struct.pack("<f", n))[0] for n in json.loads(done.stdout)]
    same(got, vector("from the command line", 3), "stdout")
    id = w.publish(embed(w, TEXTS, models=["e-openai"]))
    w.reply(id)
    story = w.must_quern("show", "--tenant", w.tenant, id).stdout
    true("3 vectors of 8 numbers" in story and "kind           embed" in story, "the story is\n" + story)
    bad = w.quern("submit", "--kind", "embed", "--session", "s", "--tenant", w.tenant, "x")
    true(bad.returncode != 0 and "no turn of a conversation" in bad.stderr, "stderr is %r" % bad.stderr)
    bad = w.quern("submit", "--kind", "paint", "--tenant", w.tenant, "x")
    true(bad.returncode != 0 and "kind must be" in bad.stderr, "stderr is %r" % bad.stderr)


@scenario
def a_dead_aggregator_loses_no_vectors(w):
    ids = {w.post(embed(w, ["dead %d" % i, "aggregator"], models=["e-openai"])): i for i in range(200)}
    w.flush()
    wait_until(lambda: w.sql("SELECT count(*) FROM requests WHERE tenant = %s", w.tenant)[0][0] > 20, what="some finals")
    w.aggregator.kill()
    w.start("aggregator")
    for id, i in ids.items():
        same(vectors_of(w.reply(id, 60)), [vector("dead %d" % i), vector("aggregator")], "the vectors of request %d" % i)
    same(len(w.calls()), 200, "calls at the provider")


@scenario(seconds=90, settings={**FLEET["settings"], "worker.reply_bytes_max": "32MiB"})
def the_largest_request_fits_where_replies_may_be_as_large(w):
    texts = ["text %d" % i for i in range(2048)]
    id = w.publish(embed(w, texts, models=["e-openai"], params={"dimensions": 1536}))
    reply = w.reply(id, 60)
    same(len(reply["embeddings"]), 2048, "vectors")
    for i in (0, 1, 1023, 2047):
        same(numbers(reply["embeddings"][i]), vector(texts[i], 1536), "vector %d" % i)
    w.publish(embed(w, texts, models=["e-openai"], params={"dimensions": 1536}, id=id))
    same(w.replies(id, 60, count=2)[1]["embeddings"], reply["embeddings"], "the vectors that were stored")


@scenario(settings={**FLEET["settings"], "worker.reply_bytes_max": "64KiB"})
def a_reply_that_turns_out_too_large_says_what_to_ask_for(w):
    reply = w.ask(["text %d" % i for i in range(2048)], kind="embed", models=["e-openai"])
    same(reply["error"]["code"], "too_big", "the code")
    true("ask for fewer texts in one request" in reply["error"]["message"], "the message is %r" % reply["error"]["message"])
    same(len(w.calls()), 1, "calls at the provider")
