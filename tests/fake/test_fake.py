#!/usr/bin/env python3
"""Checks quern-fake from outside: python3 test_fake.py PATH/TO/quern-fake

How it works: client.py starts the program and speaks to it. Each `check_*` function is one sentence about the program;
they run in order of definition against one server, which is reset before each, here and then in test_http.py,
test_limits.py, test_errors.py and test_troubles.py. Ends with "N passed, N failed" and exit code 1 if anything failed.

To add a check: a function whose name starts with check_ and that takes the server.
"""
import http.client
import json
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # before our own modules: a source tree is no place for caches

import test_errors  # noqa: E402
import test_http  # noqa: E402
import test_limits  # noqa: E402
import test_troubles  # noqa: E402
from client import (  # noqa: E402
    ANTHROPIC, JSON, Server, all_of, answer_of, as_messages, digest_of, fnv, input_tokens, is_subset, run, same,
    sse, tokens, true, wait_until)

# --- answers ----------------------------------------------------------------------------------------

TALK = [("system", "Be kind."), ("user", "Grüße – 你好 \"quoted\"\n and a long tail to be cut"), ("assistant", "ok"),
        ("user", "x" * 30 + "é" * 30)]


def check_openai_answer_has_the_form_and_the_digest(server):
    status, headers, body = server.openai("gpt-x", as_messages(TALK))
    reply, text = json.loads(body), answer_of(TALK)
    same(status, 200)
    same(headers["content-type"], "application/json")
    true(headers["x-request-id"].startswith("req_"))
    is_subset(reply, {"object": "chat.completion", "model": "gpt-x"})
    true(reply["id"].startswith("chatcmpl-") and abs(reply["created"] - time.time()) < 5)
    same(reply["choices"], [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": None},
                             "logprobs": None, "finish_reason": "stop"}])
    used, made = input_tokens(TALK), tokens(len(text.encode()))
    is_subset(reply["usage"], {"prompt_tokens": used, "completion_tokens": made, "total_tokens": used + made})


def check_anthropic_answer_has_the_form_and_the_same_digest(server):
    body = {"model": "claude-x", "max_tokens": 100, "system": TALK[0][1], "messages": as_messages(TALK[1:])}
    status, reply = server.ask_json("POST", "/v1/messages", body, ANTHROPIC)
    same(status, 200)
    text = answer_of(TALK)
    is_subset(reply, {"type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "end_turn",
                      "stop_sequence": None, "content": [{"type": "text", "text": text}]})
    same(reply["usage"], {"input_tokens": input_tokens(TALK), "output_tokens": tokens(len(text.encode())),
                          "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0})


TEXTS = ["one", "two \u00e4\u4e2d", "three"]


def vector(text, count=8):
    return [(fnv(text.encode() + b"\0" + b"%d" % k) >> 40) / 2 ** 23 - 1 for k in range(count)]


def check_embeddings_follow_from_their_texts_in_every_form(server):
    for path, body, index in [("/v1/embeddings", {}, "data"), ("/compatible-mode/v1/embeddings", {"encoding_format": "float"}, "data"),
                              ("/openai/deployments/emb/embeddings?api-version=2024-10-21", {}, "data"), ("/api/embed", {}, "embeddings")]:
        status, reply = server.ask_json("POST", path, {"model": "emb", "input": TEXTS, **body})
        same(status, 200)
        vectors = reply["embeddings"] if index == "embeddings" else [d["embedding"] for d in sorted(reply["data"], key=lambda d: d["index"])]
        same([[round(n, 6) for n in v] for v in vectors], [[round(n, 6) for n in vector(t)] for t in TEXTS])
    used = tokens(sum(len(t.encode()) for t in TEXTS))
    same(reply["prompt_eval_count"], used)
    status, reply = server.ask_json("POST", "/v1/embeddings", {"model": "emb", "input": "one", "dimensions": 3, "encoding_format": "base64"})
    import base64
    import struct
    same(list(struct.unpack("<3f", base64.b64decode(reply["data"][0]["embedding"]))), vector("one", 3))
    same(reply["usage"], {"prompt_tokens": 1, "total_tokens": 1})


def check_embeddings_that_cannot_be_are_refused(server):
    for body in [{"input": []}, {"input": ""}, {"input": ["a", ""]}, {"input": [[1, 2]]}, {}, {"input": "a", "dimensions": 0},
                 {"input": "a", "encoding_format": "hex"}, {"input": ["a"] * 2049}]:
        same(server.ask_json("POST", "/v1/embeddings", {"model": "emb", **body})[0], 400)
    same(server.ask_json("POST", "/v1/embeddings", {"model": "deepseek-chat", "input": "a"})[0], 404)


def check_ollama_chat_answers_whole_or_in_lines(server):
    body = {"model": "llama", "messages": as_messages(TALK), "stream": False}
    status, reply = server.ask_json("POST", "/api/chat", body)
    same(status, 200)
    text = answer_of(TALK)
    is_subset(reply, {"model": "llama", "message": {"role": "assistant", "content": text}, "done": True,
                      "prompt_eval_count": input_tokens(TALK), "eval_count": tokens(len(text.encode()))})
    true(all(isinstance(reply[k], int) for k in
             ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")))
    del body["stream"]
    _, headers, raw = server.ask("POST", "/api/chat", body)
    same(headers["content-type"], "application/x-ndjson")
    lines = [json.loads(line) for line in raw.decode().splitlines()]
    same([line["done"] for line in lines], [False] * (len(lines) - 1) + [True])
    same("".join(line["message"]["content"] for line in lines), text)
    true("prompt_eval_count" in lines[-1])


def check_ollama_generate_answers_whole_or_in_lines(server):
    talk = [("system", "sys"), ("user", "tell me")]
    body = {"model": "llama", "prompt": "tell me", "system": "sys", "stream": False}
    reply = server.ask_json("POST", "/api/generate", body)[1]
    is_subset(reply, {"response": answer_of(talk), "done": True, "prompt_eval_count": 3})
    raw = server.ask("POST", "/api/generate", {**body, "stream": True})[2]
    lines = [json.loads(line) for line in raw.decode().splitlines()]
    same("".join(line["response"] for line in lines), answer_of(talk))


def check_openai_stream_is_sse_with_usage_at_the_end(server):
    _, headers, raw = server.openai(messages=as_messages(TALK), stream=True, stream_options={"include_usage": True})
    same(headers["content-type"], "text/event-stream")
    datas = [data for _, data in sse(raw)]
    same(datas[-1], "[DONE]")
    chunks = [json.loads(data) for data in datas[:-1]]
    same({c["object"] for c in chunks}, {"chat.completion.chunk"})
    same(len({(c["id"], c["created"]) for c in chunks}), 1)
    same(chunks[-1]["choices"], [])
    same(chunks[-1]["usage"]["prompt_tokens"], input_tokens(TALK))
    true(all(c["usage"] is None for c in chunks[:-1]))
    same(chunks[-2]["choices"][0]["finish_reason"], "stop")
    same("".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1]), answer_of(TALK))


def check_anthropic_stream_has_the_events_in_order(server):
    body = {"model": "c", "max_tokens": 5, "messages": as_messages(TALK[1:]), "stream": True}
    raw = server.ask("POST", "/v1/messages", body, ANTHROPIC)[2]
    events = sse(raw)
    true(all(json.loads(data)["type"] == name for name, data in events), "event names equal types")
    names = [name for name, _ in events if name not in ("content_block_delta", "ping")]
    same(names, ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"])
    deltas = [json.loads(data)["delta"]["text"] for name, data in events if name == "content_block_delta"]
    same("".join(deltas), answer_of(TALK[1:]))


def check_parts_are_joined_and_other_parts_ignored(server):
    parts = [{"type": "text", "text": "one "}, {"type": "image_url", "image_url": {"url": "data:,"}},
             {"type": "text", "text": "two"}]
    body = server.openai(messages=[{"role": "user", "content": parts}])[2]
    same(json.loads(body)["choices"][0]["message"]["content"], answer_of([("user", "one two")]))
    blocks = {"model": "c", "max_tokens": 5, "system": [{"type": "text", "text": "s1"}, {"type": "text", "text": "s2"}],
              "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}
    reply = server.ask_json("POST", "/v1/messages", blocks, ANTHROPIC)[1]
    same(reply["content"][0]["text"], answer_of([("system", "s1s2"), ("user", "hi")]))


def check_order_and_role_change_the_digest(server):
    seen = set()
    for talk in ([("user", "a"), ("user", "b")], [("user", "b"), ("user", "a")], [("system", "a"), ("user", "b")],
                 [("user", "ab")], [("user", "a"), ("assistant", "b")]):
        text = json.loads(server.openai(messages=as_messages(talk))[2])["choices"][0]["message"]["content"]
        same(text, answer_of(talk))
        seen.add(text[:23])
    same(len(seen), 5)


# --- refusals ---------------------------------------------------------------------------------------

def check_bad_bodies_are_refused_in_the_vendors_form(server):
    path = "/v1/chat/completions"
    for body in ("", "{", "[]", "{}", '{"model":"m"}', '{"model":"m","messages":[]}', '{"model":1,"messages":[]}',
                 '{"model":"m","messages":[{"role":"boss","content":"x"}]}',
                 '{"model":"m","messages":[{"role":"user"}]}', "[" * 100000,
                 '{"model":"m","messages":[{"role":"user","content":"\ud800"}]}'.encode("utf-8", "surrogatepass"),
                 '{"model":"m","messages":[{"role":"user","content":"x"}],"stream_options":{}}'):
        status, reply = server.ask_json("POST", path, body)
        same((status, reply["error"]["type"]), (400, "invalid_request_error"))
        is_subset(reply["error"], {"param": None, "code": None})
    good = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    for change in ({"max_tokens": 0}, {"max_tokens": None}, {"messages": [{"role": "system", "content": "x"}]}):
        status, reply = server.ask_json("POST", "/v1/messages", {**good, **change}, ANTHROPIC)
        same((status, reply["type"], reply["error"]["type"]), (400, "error", "invalid_request_error"))
    same(server.ask("POST", "/v1/messages", good, JSON)[0], 400)  # no anthropic-version
    same(server.ask("POST", path, json.dumps(good), {"Content-Type": "text/plain"})[0], 400)
    status, reply = server.ask_json("POST", "/api/generate", {"model": "m"})
    same((status, type(reply["error"])), (400, str))
    same(server.summary()["by_status"], {"400": 18})


def check_paths_and_methods_are_checked(server):
    same(server.ask("GET", "/nothing")[0], 404)
    same(server.ask("GET", "/v1/messages")[0], 405)
    same(server.ask("GET", "/healthz")[0], 200)
    status, models = server.ask_json("GET", "/v1/models")
    same((status, models["object"]), (200, "list"))
    true("fake-429" in {m["id"] for m in models["data"]})
    same(server.summary()["calls"], 0)


def check_keys_are_demanded_in_the_vendors_header(server):
    guarded = Server(server.process.args[0], "--api-key", "sk-one", "--api-key", "sk-two")
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    try:
        for key, status in (("sk-one", 200), ("sk-two", 200), ("sk-three", 401), (None, 401), ("sk-on", 401)):
            bearer = {"Authorization": "Bearer " + key} if key else {}
            same(guarded.openai(headers=bearer)[0], status)
            own = {"x-api-key": key} if key else {}
            same(guarded.ask("POST", "/v1/messages", body, {**ANTHROPIC, **own})[0], status)
            same(guarded.ask("GET", "/v1/models", headers=bearer)[0], status)
        same(guarded.ask("POST", "/v1/messages", body, {**ANTHROPIC, "Authorization": "Bearer sk-one"})[0], 401)
        lines = guarded.ledger()
        same(lines[0]["key_hash"], "%016x" % fnv(b"sk-one"))
        true("sk-" not in json.dumps(lines), "no key in the ledger")
        same([line["key_hash"] for line in lines if line["status"] == 401].count(None), 3)
    finally:
        same(guarded.stop(), 0)


# --- faults by model name ---------------------------------------------------------------------------

def check_error_models_answer_with_their_status(server):
    types = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error",
             429: "rate_limit_error", 500: "api_error", 503: "overloaded_error", 529: "overloaded_error"}
    for status, name in types.items():
        model = "fake-%d" % status
        got, _, body = server.openai(model)
        same(got, status)
        same(sorted(json.loads(body)["error"]), ["code", "message", "param", "type"])
        body = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
        got, reply = server.ask_json("POST", "/v1/messages", body, ANTHROPIC)
        same((got, reply["type"], reply["error"]["type"]), (status, "error", name))
        got, reply = server.ask_json("POST", "/api/chat", {**body, "stream": False})
        same((got, type(reply["error"])), (status, str))
    same(server.summary()["output_tokens"], 0)
    same(server.openai("fake-200")[0], 200)
    same(server.openai("fake-4290")[0], 200)


def check_hang_never_answers(server):
    try:
        server.openai("fake-hang", timeout=0.3)
        raise AssertionError("answered")
    except TimeoutError:
        pass
    wait_until(lambda: server.summary()["in_flight"] == 0)
    is_subset(server.ledger()[0], {"status": 0, "delivered": False, "model": "fake-hang", "output_tokens": 0})


def check_strange_bodies_come_with_200(server):
    status, _, body = server.openai("fake-garbage")
    same(status, 200)
    try:
        json.loads(body)
        raise AssertionError("garbage is JSON")
    except ValueError:
        pass
    same(json.loads(server.openai("fake-empty")[2])["choices"], [])
    status, _, body = server.openai("fake-error200")
    same((status, json.loads(body)["error"]["type"]), (200, "server_error"))
    raw = server.openai("fake-error200", stream=True)[2]
    true("error" in json.loads(sse(raw)[0][1]))
    body = {"model": "fake-empty", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    same(server.ask_json("POST", "/v1/messages", body, ANTHROPIC)[1]["content"], [])


def check_length_stops_at_the_limit(server):
    choice = json.loads(server.openai("fake-length")[2])["choices"][0]
    same(choice["finish_reason"], "length")
    same(choice["message"]["content"], "digest=" + digest_of([("user", "hi")]))
    body = {"model": "fake-length", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    same(server.ask_json("POST", "/v1/messages", body, ANTHROPIC)[1]["stop_reason"], "max_tokens")
    same(server.ask_json("POST", "/api/chat", {**body, "stream": False})[1]["done_reason"], "length")


def check_cut_closes_in_the_middle(server):
    for stream in (False, True):
        try:
            server.openai("fake-cut", stream=stream)
            raise AssertionError("complete")
        except http.client.IncompleteRead as cut:
            true(len(cut.partial) > 50, "some bytes came")
    same([line["delivered"] for line in server.ledger()], [False, False])


def check_drip_sends_a_byte_per_tenth_of_a_second(server):
    conn = server.connect()
    body = {"model": "fake-drip", "messages": [{"role": "user", "content": "hi"}]}
    conn.request("POST", "/v1/chat/completions", json.dumps(body), JSON)
    start = time.monotonic()
    reply = conn.getresponse()
    got = reply.read(5)
    took = time.monotonic() - start
    same(got, b'{"id"')
    true(0.45 < took < 5, "five bytes took %.2f s" % took)
    conn.close()
    wait_until(lambda: server.summary()["in_flight"] == 0)
    is_subset(server.ledger()[0], {"delivered": False, "status": 200})


def check_flaky_fails_the_first_attempts_of_each_request(server):
    ids = {"X-Request-Id": "a.0.1"}, {"X-Request-Id": "a.0.2"}, {"X-Request-Id": "a.0.3"}
    same([server.openai("fake-flaky-2", headers=h)[0] for h in ids], [500, 500, 200])
    same([server.openai("fake-flaky-2", headers={"X-Request-Id": "b-7"})[0] for _ in range(3)], [500, 500, 200])
    same([server.openai("fake-flaky-1", headers={"Idempotency-Key": "k"})[0] for _ in range(2)], [500, 200])
    same([server.openai("fake-flaky-1")[0] for _ in range(3)], [500, 200, 200])


def check_retry_after_is_said_once_per_request(server):
    status, headers, _ = server.openai("fake-retry-after-7", headers={"X-Request-Id": "r.1"})
    same((status, headers["retry-after"]), (429, "7"))
    same(server.openai("fake-retry-after-7", headers={"X-Request-Id": "r.2"})[0], 200)
    same(server.openai("fake-429")[1]["retry-after"], None)
    server.control(retry_after=3)
    same(server.openai("fake-429")[1]["retry-after"], "3")
    same(server.openai("fake-500")[1]["retry-after"], None)


def check_slow_and_big_do_what_their_number_says(server):
    start = time.monotonic()
    same(server.openai("fake-slow-300")[0], 200)
    true(0.3 <= time.monotonic() - start, "300 ms")
    reply = json.loads(server.openai("fake-big-1000")[2])
    text = reply["choices"][0]["message"]["content"]
    same(len(text), 1000 * 1024)
    true(text.startswith(answer_of([("user", "hi")])))
    same(reply["usage"]["completion_tokens"], 1000 * 256)
    raw = server.openai("fake-big-1000", stream=True)[2]
    chunks = [json.loads(data) for _, data in sse(raw)[:-1]]
    same("".join(c["choices"][0]["delta"].get("content", "") for c in chunks), text)


# --- latency, rates, control ------------------------------------------------------------------------

def check_latency_changes_at_run_time(server):
    for wish, shown, ms in (("120ms", "120ms", 120), (80, "80ms", 80), ("0", "0ms", 0)):
        status, settings = server.control(latency=wish)
        same((status, settings["latency"]), (200, shown))
        start = time.monotonic()
        same(server.openai()[0], 200)
        took = (time.monotonic() - start) * 1000
        true(ms <= took < ms + 3000, "%s: %d ms" % (wish, took))


def check_lognormal_latency_has_the_median_and_the_spread(server):
    same(server.control(latency="lognormal:50,0.5", seed=7)[1]["latency"], "lognormal:50,0.5")
    socks = []
    for _ in range(300):
        body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
        socks.append(server.socket(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
                                   b"content-length: %d\r\n\r\n" % len(body) + body))
    for sock in socks:
        true(sock.recv(4096).startswith(b"HTTP/1.1 200"))
        sock.close()
    took = sorted(line["done_ms"] - line["t_ms"] for line in server.ledger())
    true(40 < took[150] < 200, "median %d" % took[150])
    true(70 < took[270] < 500, "p90 %d, expected 95" % took[270])


def check_error_rates_are_kept_and_seeded(server):
    def draw():
        server.control(error_rate={"429": 0.2, "500": 0.1}, retry_after=1, seed=42)
        conn, got = server.connect(), []
        for _ in range(500):
            conn.request("POST", "/v1/chat/completions", '{"model":"m","messages":[{"role":"user","content":"hi"}]}', JSON)
            reply = conn.getresponse()
            reply.read()
            got.append(reply.status)
        conn.close()
        return got
    first = draw()
    same(draw(), first)
    true(70 < first.count(429) < 130 and 30 < first.count(500) < 75,
         "429: %d, 500: %d of 500" % (first.count(429), first.count(500)))
    by_status = server.summary()["by_status"]
    same(by_status["429"], 2 * first.count(429))


def check_wrong_settings_change_nothing(server):
    before = server.ask_json("GET", "/control")
    for wish in ('{"latency":"soon"}', '{"latency":-1}', '{"error_rate":{"200":0.1}}', '{"error_rate":{"429":2}}',
                 '{"error_rate":{"429":0.6,"500":0.6}}', '{"latency":"9ms","nonsense":1}', "nonsense", "[]",
                 '{"retry_after":"x"}', '{"latency":"lognormal:5"}', '{"latency":"lognormal:5,x"}'):
        same((wish, server.ask("POST", "/control", wish)[0]), (wish, 400))
    same(server.ask_json("GET", "/control"), before)


def check_flags_are_read_and_wrong_ones_end_with_2(server):
    binary = server.process.args[0]
    other = Server(binary, "--latency", "lognormal:20,0.1", "--error-rate", "429:1", "--retry-after", "9", "--seed", "3",
                   "--bind", "127.0.0.1", "--ledger-max", "3")
    try:
        is_subset(other.ask_json("GET", "/control")[1],
                  {"latency": "lognormal:20,0.1", "error_rate": {"429": 1}, "retry_after": 9, "limits": []})
        status, headers, _ = other.openai()
        same((status, headers["retry-after"]), (429, "9"))
        for _ in range(4):
            other.openai()
        same([line["n"] for line in other.ledger()], [3, 4, 5])
        is_subset(other.summary(), {"calls": 5, "first_n": 3, "last_n": 5})
    finally:
        same(other.stop(), 0)
    for flags in (["--port", "x"], ["--latency", "x"], ["--error-rate", "429"], ["--error-rate", "9:1"], ["--nonsense"],
                  ["--bind"], ["--ledger-max", "0"], ["stray"]):
        same((flags, subprocess.run([binary, *flags], capture_output=True, timeout=5).returncode), (flags, 2))
    same(subprocess.run([binary, "--bind", "nowhere"], capture_output=True, timeout=5).returncode, 1)


# --- ledger -----------------------------------------------------------------------------------------

def check_ledger_has_a_line_per_call(server):
    server.openai("one", headers={"X-Request-Id": "id-1", "Idempotency-Key": "key-1", "Authorization": "Bearer k"})
    server.openai("two", headers={"X-Call-Id": "id-2"})
    server.ask("POST", "/v1/chat/completions", "{", JSON)
    lines = server.ledger()
    same(len(lines), 3)
    same(list(lines[0]), ["n", "t_ms", "wall_ms", "call_id", "idempotency_key", "model", "path", "status", "input_tokens",
                          "output_tokens", "delivered", "done_ms", "key_hash", "digest"])
    is_subset(lines[0], {"call_id": "id-1", "idempotency_key": "key-1", "model": "one", "status": 200, "delivered": True,
                         "path": "/v1/chat/completions", "input_tokens": 1, "output_tokens": 11,
                         "key_hash": "%016x" % fnv(b"k"), "digest": digest_of([("user", "hi")])})
    is_subset(lines[1], {"call_id": "id-2", "idempotency_key": None, "key_hash": None, "n": lines[0]["n"] + 1})
    is_subset(lines[2], {"call_id": None, "status": 400, "digest": None, "model": "", "delivered": True})
    true(abs(lines[0]["wall_ms"] / 1000 - time.time()) < 5)
    true(lines[0]["t_ms"] <= lines[0]["done_ms"] <= lines[2]["t_ms"])
    same([line["model"] for line in server.ledger("?model=two")], ["two"])
    same([line["n"] for line in server.ledger("?since=%d" % lines[0]["n"])], [lines[1]["n"], lines[2]["n"]])
    same(server.ledger("?model=two&since=%d" % lines[1]["n"]), [])
    same(server.ledger("?model=unknown"), [])
    same(server.ask("GET", "/ledger?since=x")[0], 400)


def check_model_filter_is_percent_decoded(server):
    server.openai("meta/llama 3:8b")
    same(len(server.ledger("?model=meta%2Fllama%203%3A8b")), 1)


def check_summary_counts(server):
    for call_id, model in (("a", "m"), ("a", "m"), ("a", "m"), ("b", "fake-500"), ("b", "m"), ("c", "m")):
        server.openai(model, headers={"X-Request-Id": call_id})
    is_subset(server.summary(), {"calls": 6, "by_status": {"200": 5, "500": 1}, "by_model": {"m": 5, "fake-500": 1},
                                 "delivered": 6, "in_flight": 0, "max_in_flight": 1, "input_tokens": 5,
                                 "output_tokens": 55, "repeated_call_ids": 2, "repeated_calls": 3,
                                 "repeated_answers": 2, "connections": 1})


def check_totals_outlive_the_records(server):
    small = Server(server.process.args[0], "--ledger-max", "2")
    body = b'{"model":"fake-slow-300","prompt":"x","stream":false}'
    request = b"POST /api/generate HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    try:
        socks = [small.socket(request) for _ in range(5)]
        for sock in socks:
            true(sock.recv(4096).startswith(b"HTTP/1.1 200"))
            sock.close()
        is_subset(small.summary(), {"calls": 5, "delivered": 5, "in_flight": 0, "max_in_flight": 5, "first_n": 4})
    finally:
        same(small.stop(), 0)


def check_a_client_that_left_was_not_answered(server):
    body = b'{"model":"fake-slow-5000","messages":[{"role":"user","content":"hi"}]}'
    request = (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
               % len(body) + body)
    sock = server.socket(request)
    wait_until(lambda: server.summary()["in_flight"] == 1)
    is_subset(server.ledger()[0], {"delivered": False, "done_ms": None, "status": 200})
    sock.close()
    wait_until(lambda: server.summary()["in_flight"] == 0)
    server.socket(request.replace(b"fake-slow-5000", b"m" * 14)).close()
    wait_until(lambda: len(server.ledger()) == 2)
    first = server.ledger()[0]
    same(first["delivered"], False)
    true(first["done_ms"] - first["t_ms"] < 5000, "booked when the client left")


def check_reset_forgets_calls_but_not_numbers(server):
    server.openai(headers={"X-Request-Id": "again"})
    last = server.summary()["last_n"]
    server.ask("POST", "/control/reset")
    same(server.ledger(), [])
    is_subset(server.summary(), {"calls": 0, "by_status": {}, "by_model": {}, "delivered": 0, "max_connections": 1})
    server.openai(headers={"X-Request-Id": "again"})
    same([line["n"] for line in server.ledger()], [last + 1])
    same(server.summary()["repeated_call_ids"], 0)


def check_reset_with_calls_in_flight(server):
    sock = server.socket(b'POST /api/generate HTTP/1.1\r\ncontent-length: 50\r\n\r\n'
                         b'{"model":"fake-slow-300","prompt":"x"}            ')
    wait_until(lambda: server.summary()["in_flight"] == 1)
    server.ask("POST", "/control/reset")
    is_subset(server.summary(), {"calls": 0, "in_flight": 1, "max_in_flight": 1})
    true(sock.recv(100).startswith(b"HTTP/1.1 200"))
    wait_until(lambda: server.summary()["in_flight"] == 0)
    same(server.summary()["delivered"], 0)
    sock.close()


def check_strange_ids_stay_json(server):
    long_id = "x" * 5000
    server.openai(headers={"X-Request-Id": long_id})
    server.openai(headers={"X-Request-Id": 'a"b\\c\u00e9\t'.encode("latin-1")})
    ids = [line["call_id"] for line in server.ledger()]
    same(ids, ["x" * 256, 'a"b\\c?'])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    spaces = [globals()] + [vars(module) for module in (test_http, test_limits, test_errors, test_troubles)]
    sys.exit(run(sys.argv[1], spaces))
