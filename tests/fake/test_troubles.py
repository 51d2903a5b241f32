"""Checks of what quern-fake does to a connection, a body and a stream, as a client sees it; run by test_fake.py."""
import gzip
import http.client
import json
import time

from client import ANTHROPIC, Server, all_of, answer_of, is_subset, same, sse, true, wait_until

ASKED = [{"role": "user", "content": "hi"}]
TEXT = answer_of([("user", "hi")])


def request(model, path="/v1/chat/completions", **fields):
    body = json.dumps({"model": model, "max_tokens": 5, "messages": ASKED, **fields}).encode()
    return (b"POST %s HTTP/1.1\r\ncontent-type: application/json\r\nanthropic-version: 1\r\ncontent-length: %d\r\n\r\n%s"
            % (path.encode(), len(body), body))


def raw(server, model, **fields):
    """All bytes until the server closes."""
    return all_of(server.socket(request(model, **fields)))


def body_of(data):
    head, _, body = data.partition(b"\r\n\r\n")
    true(head.startswith(b"HTTP/1.1 200"))
    return body


def some(sock, seconds=0.15):
    """What comes until nothing comes for so long, and whether the connection still stands."""
    data = b""
    sock.settimeout(seconds)
    try:
        while part := sock.recv(65536):
            data += part
    except TimeoutError:
        return data, True
    return data, False


def steady(server, **fields):
    """The body that any other model would be sent, for comparison: names of the same length make equal bodies."""
    sock = server.socket(request("fake-mod-n", **fields))
    data = body_of(some(sock)[0])
    sock.close()
    return data


def text_of(events):
    deltas = [json.loads(data)["choices"] for _, data in events if data != "[DONE]"]
    return "".join(choice["delta"].get("content", "") for choices in deltas for choice in choices)


# --- ends -------------------------------------------------------------------------------------------

def check_cut_at_any_byte(server):
    for stream in (False, True):
        for k in (0, 1, 2, 57, 100, 321, 400):
            same((stream, k, len(body_of(raw(server, "fake-cut-%d" % k, stream=stream)))), (stream, k, k))
    same({line["delivered"] for line in server.ledger()}, {False})
    length = len(steady(server))
    same(len(body_of(raw(server, "fake-cut-999999"))) > length, True)  # beyond the end: all of it, then closed


def check_cut_head_and_close_leave_no_answer(server):
    data = raw(server, "fake-cut-head")
    true(data.startswith(b"HTTP/1.1 200") and b"\r\n\r\n" not in data)
    same(raw(server, "fake-close"), b"")
    try:
        server.openai("fake-close")
        raise AssertionError("answered")
    except http.client.RemoteDisconnected:
        pass
    same([line["delivered"] for line in server.ledger()], [False] * 3)


def check_reset_comes_in_the_middle(server):
    for stream in (False, True):
        for model, least in (("fake-reset", 100), ("fake-reset-7", 7)):
            sock = server.socket(request(model, stream=stream))
            data = b""
            try:
                while part := sock.recv(65536):
                    data += part
                raise AssertionError("closed in peace")
            except ConnectionResetError:
                pass
            sock.close()
            true(len(body_of(data)) >= least)
            if least == 7:
                same(len(body_of(data)), 7)


def check_stall_keeps_the_connection_and_says_no_more(server):
    for model, stream, length in (("fake-stall-30", False, 30), ("fake-stall-200", True, 200), ("fake-hang-first", True, 0)):
        sock = server.socket(request(model, stream=stream))
        data, stands = some(sock)
        same((model, len(body_of(data)), stands), (model, length, True))
        sock.close()
    sock = server.socket(request("fake-stall"))
    data, stands = some(sock)
    true(stands and 0 < len(body_of(data)) < len(steady(server)))
    is_subset(server.summary(), {"in_flight": 1})
    sock.close()
    wait_until(lambda: server.summary()["in_flight"] == 0)
    same([line["delivered"] for line in server.ledger()], [False] * 4 + [True])


# --- pace -------------------------------------------------------------------------------------------

def check_drip_sends_so_many_bytes_in_so_many_milliseconds(server):
    for stream in (False, True):
        sock, start = server.socket(request("fake-drip-50-10", stream=stream)), time.monotonic()
        data = b""
        while not (data.endswith(b"0\r\n\r\n") if stream else data.endswith(b"}")):
            data += sock.recv(65536)
        took, length = time.monotonic() - start, len(body_of(data))
        sock.close()
        true(took >= (length // 50) * 0.01, "%d bytes in %.3f s" % (length, took))
    same([line["delivered"] for line in server.ledger()], [True, True])


def timed_events(server, path, **fields):
    """[(seconds since the head, bytes)] of the chunks of a stream."""
    sock = server.socket(request(fields.pop("model", "m"), path, stream=True, **fields))
    stream = sock.makefile("rb")
    while stream.readline() != b"\r\n":
        pass
    start, events = time.monotonic(), []
    while size := int(stream.readline(), 16):
        events.append((time.monotonic() - start, stream.read(size)))
        stream.readline()
    stream.close()
    sock.close()
    return events


def check_streams_have_a_first_token_delay_and_a_chunk_delay(server):
    same(server.control(first_token=120, chunk_delay=20)[0], 200)
    for path in ("/v1/chat/completions", "/v1/messages", "/api/chat"):
        events = timed_events(server, path)
        true(len(events) >= 4, "text in several chunks")
        true(0.11 <= events[0][0] < 3, "first after %.3f s" % events[0][0])
        true(events[-1][0] - events[0][0] >= 0.018 * (len(events) - 1), "one after the other")
    start = time.monotonic()
    same(server.openai()[0], 200)
    true(time.monotonic() - start < 0.1, "what is not streamed is not delayed")


def check_a_model_can_have_a_pace_of_its_own(server):
    events = timed_events(server, "/v1/chat/completions", model="fake-stream-60-0")
    true(events[0][0] >= 0.05 and events[-1][0] - events[0][0] < 0.05)
    events = timed_events(server, "/v1/chat/completions", model="fake-stream-0-30")
    true(events[0][0] < 0.05 and events[-1][0] >= 0.027 * (len(events) - 1))
    same(text_of(sse(b"".join(data for _, data in events))), TEXT)
    body = request("fake-stream-0-30", stream=True).replace(b"HTTP/1.1", b"HTTP/1.0")
    start = time.monotonic()
    same(text_of(sse(body_of(all_of(server.socket(body))))), TEXT)
    true(time.monotonic() - start > 0.1, "HTTP/1.0 streams too")


# --- frames -----------------------------------------------------------------------------------------

def check_wrong_content_lengths(server):
    try:
        server.openai("fake-content-length-long")
        raise AssertionError("complete")
    except http.client.IncompleteRead as cut:
        same((json.loads(cut.partial)["object"], cut.expected), ("chat.completion", 20))
    sock = server.socket(request("fake-content-length-short"))
    head, _, body = some(sock)[0].partition(b"\r\n\r\n")
    same(len(body) - int(head.rsplit(b" ", 1)[1]), 20)
    sock.sendall(request("m"))  # the connection goes on; a client that reuses it finds the rest first
    true(some(sock)[0].startswith(b"HTTP/1.1 200"))
    sock.close()
    data = raw(server, "fake-content-length-long", stream=True)
    true(b"chunked" not in data and data.endswith(b"data: [DONE]\n\n"))


def check_gzip_comes_unasked(server):
    for stream in (False, True):
        status, headers, body = server.openai("fake-gzip", stream=stream)
        same((status, headers["content-encoding"]), (200, "gzip"))
        plain = gzip.decompress(body)
        same(text_of(sse(plain)) if stream else json.loads(plain)["choices"][0]["message"]["content"], TEXT)


def check_interim_replies_come_first(server):
    sock = server.socket(request("fake-1xx"))
    data, _ = some(sock)
    sock.close()
    same([line.split()[1] for line in data.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")], [b"102", b"103", b"200"])


def check_redirects_lead_to_another_host(server):
    for status in (301, 302, 303, 307, 308):
        got, headers, _ = server.openai("fake-%d" % status)
        same((got, headers["location"]), (status, "http://elsewhere.invalid/v1/chat/completions"))
    same(server.control(redirect="http://127.0.0.1:1")[0], 200)
    same(server.openai("fake-307")[1]["location"], "http://127.0.0.1:1/v1/chat/completions")
    same(server.control(redirect="x\r\ny: z")[0], 400)
    same(server.control(redirect="http://elsewhere.invalid")[0], 200)
    is_subset(server.summary(), {"by_status": {"301": 1, "302": 1, "303": 1, "307": 2, "308": 1}, "output_tokens": 0})


# --- endless ----------------------------------------------------------------------------------------

def check_an_endless_stream_goes_on_until_the_client_leaves(server):
    sock = server.socket(request("fake-endless", stream=True))
    data = b""
    while len(data) < 20000:
        data += sock.recv(65536)
    true(data.count(b"xxxxxxxx") > 5 and b"[DONE]" not in data and b'"finish_reason":"stop"' not in data)
    sock.close()
    wait_until(lambda: server.summary()["in_flight"] == 0)
    sock = server.socket(request("fake-endless"))
    data = b""
    while len(data) < 5000:
        data += sock.recv(65536)
    sock.close()
    true(b"transfer-encoding: chunked" in data and data.endswith(b" " * 100))


def check_a_huge_body_is_sent_slowly_to_who_wants_it(server):
    status, headers, body = server.openai("fake-huge-1")
    same((status, int(headers["content-length"])), (200, len(body)))
    true(len(body) > 1 << 20 and json.loads(body)["choices"][0]["message"]["content"] == TEXT)
    sock = server.socket(request("fake-huge-1024"))
    true(int(sock.recv(4096).split(b"content-length: ")[1].split(b"\r\n")[0]) > 1 << 30)
    sock.close()
    body = body_of(raw(server, "fake-huge-1", stream=True))
    true(len(body) > 1 << 20 and b"[DONE]" not in body)
    wait_until(lambda: server.summary()["in_flight"] == 0)
    same([line["delivered"] for line in server.ledger()], [True, False, False])


# --- contents ---------------------------------------------------------------------------------------

def stream(server, model, path="/v1/chat/completions"):
    body = {"model": model, "max_tokens": 5, "messages": ASKED, "stream": True}
    if path == "/v1/chat/completions":
        body["stream_options"] = {"include_usage": True}
    return server.ask("POST", path, body, ANTHROPIC)[2]


def check_an_error_can_come_in_the_middle_of_a_stream(server):
    events = sse(stream(server, "fake-error-midstream"))
    true(len(events) >= 3 and "error" in json.loads(events[-1][1]))
    true(0 < len(text_of(events[:-1])) < len(TEXT))
    events = sse(stream(server, "fake-error-midstream", "/v1/messages"))
    same((events[0][0], events[-1][0], json.loads(events[-1][1])["error"]["type"]), ("message_start", "error", "api_error"))
    lines = [json.loads(line) for line in stream(server, "fake-error-midstream", "/api/chat").splitlines()]
    same((lines[0]["done"], list(lines[-1])), (False, ["error"]))
    events = sse(stream(server, "fake-error200"))
    same((len(events), list(json.loads(events[0][1]))), (1, ["error"]))
    true("error" in json.loads(server.openai("fake-error-midstream")[2]))
    same({line["output_tokens"] for line in server.ledger()}, {0})


def check_the_last_events_can_come_twice(server):
    datas = [data for _, data in sse(stream(server, "fake-double-end"))]
    same(datas.count("[DONE]"), 2)
    same(sum('"finish_reason":"stop"' in data for data in datas), 2)
    names = [name for name, _ in sse(stream(server, "fake-double-end", "/v1/messages"))]
    same((names.count("message_delta"), names.count("message_stop")), (2, 2))
    same(stream(server, "fake-double-end", "/api/chat").count(b'"done":true'), 2)


def check_the_finish_can_be_unsaid_or_missing(server):
    datas = [data for _, data in sse(stream(server, "fake-no-finish"))]
    same((datas[-1], any('"stop"' in data for data in datas)), ("[DONE]", False))
    datas = [data for _, data in sse(stream(server, "fake-no-end"))]
    same(("[DONE]" in datas, any('"finish_reason":"stop"' in data for data in datas)), (False, True))
    events = sse(stream(server, "fake-no-finish", "/v1/messages"))
    same([json.loads(d)["delta"]["stop_reason"] for name, d in events if name == "message_delta"], [None])
    same(sse(stream(server, "fake-no-end", "/v1/messages"))[-1][0], "message_delta")
    true(b"done_reason" not in stream(server, "fake-no-finish", "/api/chat"))
    true(b'"done":true' not in stream(server, "fake-no-end", "/api/chat"))
    same(json.loads(server.openai("fake-no-finish")[2])["choices"][0]["finish_reason"], None)


def check_usage_can_be_missing_or_nonsense(server):
    true("usage" not in json.loads(server.openai("fake-usage-none")[2]))
    true(b'"usage":{' not in stream(server, "fake-usage-none"))
    for model, value in (("fake-usage-negative", -7), ("fake-usage-absurd", 2**63 - 1), ("fake-usage-text", "1")):
        same(json.loads(server.openai(model)[2])["usage"]["prompt_tokens"], value)
        usage = json.loads(sse(stream(server, model))[-2][1])["usage"]
        same(usage["prompt_tokens"], value)
        events = sse(stream(server, model, "/v1/messages"))
        same(json.loads(events[0][1])["message"]["usage"]["input_tokens"], value)
        last = json.loads(stream(server, model, "/api/chat").splitlines()[-1])
        same(last["prompt_eval_count"], value)
    true(b'"usage"' not in stream(server, "fake-usage-none", "/v1/messages"))
    true(b"eval_count" not in stream(server, "fake-usage-none", "/api/chat"))
    same({line["input_tokens"] for line in server.ledger()}, {1})  # the ledger knows better


def check_troubles_go_by_the_name_behind_the_vendor(server):
    same(len(body_of(raw(server, "qwen/fake-cut-9"))), 9)
    same(len(body_of(raw(server, "fake-cut-9", path="/v1/messages"))), 9)
    same(len(body_of(raw(server, "fake-cut-9", path="/api/chat"))), 9)
    for model in ("fake-cut-x", "fake-cut-", "fake-drip-5", "fake-drip-0-1", "fake-stream-1-", "meta/fake-429"):
        same((model, server.openai(model)[0]), (model, 200))


def check_troubles_can_come_by_rate(server):
    same(server.control(trouble_rate={"fake-close": 0.5, "fake-usage-none": 0.5}, seed=3)[0], 200)
    got = []
    for _ in range(60):
        try:
            got.append("usage" in json.loads(server.openai("gpt")[2]))
        except http.client.RemoteDisconnected:
            got.append(None)
    true(15 < got.count(None) < 45 and got.count(False) == 60 - got.count(None), "None %d" % got.count(None))
    same(server.openai("fake-empty")[0], 200)  # a name of its own goes first
    same(server.ask_json("GET", "/control")[1]["trouble_rate"], {"fake-close": 0.5, "fake-usage-none": 0.5})
    for wish in ({"gpt": 0.5}, {"fake-cut": 1.5}, {"fake-cut": 0.6, "fake-stall": 0.6}, 7):
        same((wish, server.control(trouble_rate=wish)[0]), (wish, 400))
    other = Server(server.process.args[0], "--trouble", "fake-401:1")
    same(other.openai()[0], 401)
    same(other.stop(), 0)


def check_many_slow_streams_at_once(server):
    socks = [server.socket(request("fake-stream-400-5", stream=True)) for _ in range(300)]
    for sock in socks:
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += sock.recv(65536)
        sock.close()
    is_subset(server.summary(), {"calls": 300, "delivered": 300})
