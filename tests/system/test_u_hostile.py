"""A provider that means harm, byte for byte: what it sends costs its own request at most, and no other."""
import gzip
import json
import socket
import threading
import time

from harness import same, scenario, true, wait_until

FINE = json.dumps({"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def whole(body, head=HEAD, *more):
    return head + b"".join(more) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunk(text, **more):
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}, **more}]}).encode() + b"\n\n"


END = chunk("", finish_reason="stop") + b"data: [DONE]\n\n"


def bomb():
    return gzip.compress(b" " * (64 << 20))


def forever(piece, pause=0.0, most=20.0):
    def send(s):
        end = time.monotonic() + most
        while time.monotonic() < end:
            s.sendall(piece)
            if pause:
                time.sleep(pause)

    return send


def seq(*parts):
    def send(s):
        for part in parts:
            part(s) if callable(part) else s.sendall(part)

    return send


stale = json.dumps({"choices": [{"message": {"content": "STALE"}, "finish_reason": "stop"}]}).encode()
ODD = {
    "gzip bomb": whole(bomb(), HEAD + b"Content-Encoding: gzip\r\n"),
    "gzip bomb stream": SSE.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + bomb(),
    "gzip cut": whole(gzip.compress(FINE)[:-9], HEAD + b"Content-Encoding: gzip\r\n"),
    "long content-length": HEAD + b"Connection: close\r\nContent-Length: 1000\r\n\r\n" + FINE,
    "short content-length": HEAD + b"Content-Length: %d\r\n\r\n" % (len(FINE) - 5) + FINE,
    "huge content-length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n" + FINE,
    "negative content-length": HEAD + b"Content-Length: -5\r\n\r\n" + FINE,
    "two content-lengths": HEAD + b"Content-Length: 5\r\nContent-Length: %d\r\n\r\n" % len(FINE) + FINE,
    "a second answer behind": whole(FINE) + whole(stale),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "status 000": b"HTTP/1.1 000 x\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n",
    "status -1": b"HTTP/1.1 -1 x\r\nContent-Length: 0\r\n\r\n",
    "http/0.9": FINE,
    "http/9.9": whole(FINE, HEAD.replace(b"1.1", b"9.9")),
    "10,000 headers": whole(FINE, HEAD, b"".join(b"X-%d: y\r\n" % i for i in range(10_000))),
    "a header of 1 MB": whole(FINE, HEAD + b"X: " + b"y" * (1 << 20) + b"\r\n"),
    "headers without end": seq(HEAD, forever(b"X: " + b"y" * 100 + b"\r\n", most=5)),
    "nul in a header": whole(FINE, HEAD + b"X-Ratelimit-Limit-Requests: 5\x00\r\nRetry-After: \x00\r\n"),
    "no colon": whole(FINE, HEAD + b"what is this\r\n"),
    "trailers": HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(FINE) + FINE + b"\r\n0\r\nHTTP/1.1: 500 x\r\nX-Ratelimit-Limit-Requests: 1\r\n\r\n",
    "bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + FINE,
    "chunk of 2^64": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + FINE,
    "chunks cut": HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n" % len(FINE) + FINE + b"\r\n",
    "a cookie": whole(FINE, HEAD + b"Set-Cookie: a=b; Domain=.com\r\n"),
    "deep": whole(b'{"choices":' * 100_000),
    "deep lists": whole(b"[" * 1_000_000),
    "deep event": SSE + b"data: " + b'{"choices":' * 100_000 + b"\n\n" + chunk("hi") + END,
    "cr only": SSE + (chunk("fi") + chunk("ne") + END).replace(b"\n", b"\r"),
    "crlf": SSE + (chunk("fi") + chunk("ne") + END).replace(b"\n", b"\r\n"),
    "bom": SSE + b"\xef\xbb\xbf" + chunk("fine") + END,
    "after done": SSE + chunk("fine") + END + chunk(" not") + END,
    "two ends": SSE + chunk("fine") + chunk("", finish_reason="stop") + chunk("", finish_reason="length") + b"data: [DONE]\n\n",
    "surrogates": SSE + b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\ndata: {"choices":[{"delta":{"content":"\\ude00"}}]}\n\n' + END,
    "index of 2^31": SSE
    + b'data: {"choices":[{"delta":{"tool_calls":[{"index":2147483648,"id":"a","function":{"name":"f","arguments":"{}"}},{"index":-9223372036854775808,"id":"b","function":{"name":"g","arguments":"{}"}},{"index":1e300,"id":"c"}]}}]}\n\n'
    + END,
    "many calls": SSE + b"".join(b'data: {"choices":[{"delta":{"tool_calls":[{"index":%d,"id":"%d"}]}}]}\n\n' % (i, i) for i in range(10_000)) + END,
    "nul text": SSE + chunk("fi\x00ne") + END,
    "bad utf-8": SSE + b'data: {"choices":[{"delta":{"content":"\xff\xfe"}}]}\n\n' + END,
    "drip behind the end": seq(SSE + chunk("fine") + END, forever(b": x\n\n", 0.1, 30)),
}


class Hostile:
    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.url = "http://127.0.0.1:%d" % self.server.getsockname()[1]
        self.asked = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            f = s.makefile("rb")
            while line := f.readline():
                length = 0
                while (line := f.readline().strip().lower()) != b"":
                    if line.startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                name = json.loads(f.read(length))["messages"][-1]["content"]
                self.asked.append(name)
                what = ODD.get(name, whole(FINE))
                what(s) if callable(what) else s.sendall(what)
                if b"close" in (what if isinstance(what, bytes) else b"close")[:200]:
                    return
        except OSError:
            pass
        finally:
            s.close()


# Those whose answer is there all the same, and what it is.
TEXTS = {name: "fine" for name in ("gzip cut", "two content-lengths", "a second answer behind", "trailers", "a cookie", "cr only", "crlf", "bom")}
TEXTS.update({name: "fine" for name in ("after done", "two ends", "drip behind the end")})
TEXTS.update({"nul text": "fi\ufffdne", "index of 2^31": ""})


@scenario(seconds=120)
def a_provider_that_means_harm_harms_its_own_request_at_most(w):
    hostile = Hostile()
    odd = w.model("odd", base_url=hostile.url, attempts_max=1, timeout="20s", stream="on", breaker_failures=0)
    w.rewrite_config(models=w.models() + [odd])
    try:
        for name in ODD:
            began = time.monotonic()
            reply = w.reply(w.publish(w.request(name, models=["odd"])), 30)
            took = time.monotonic() - began
            if name in TEXTS:
                same((reply["status"], reply.get("text")), ("done", TEXTS[name]), name)
            else:
                same(reply["status"], "failed", name)
                true(reply["error"]["code"] in ("too_big", "provider_bad_reply"), "%s ended as %s" % (name, reply["error"]))
            true(took < 16, "%s took %.1f s" % (name, took))
            after = w.reply(w.publish(w.request("behind " + name, models=["odd"])), 20)
            same((after["status"], after.get("text")), ("done", "fine"), "the request behind " + name)
        same(hostile.asked, [n for name in ODD for n in (name, "behind " + name)], "what was asked")
    finally:
        hostile.server.close()
        w.rewrite_config()


# ---- names and numbers of publishers, and what an operator reads of them ----

NAMES = ["a:b", "a", "b", "{a}", "{a}:b", "%", "%3A", "a%3Ab", "default", "A", " a", "a ", "a b", "\u00e9" * 32, "e\u0301", "*", "?", "..", "-", "--tenant", "'; DROP TABLE requests; --", "=1+1", "null", "\u202eabc", "\U0001f600"]


@scenario(seconds=120, settings={"tenants": [{"name": "default", "requests_per_minute": 1000, "user_requests_per_minute": 1000, "budget_day": 100}]})
def tenants_of_any_name_have_their_own_books(w):
    ids = []
    for tenant in NAMES:
        for user in ("u", tenant, "b:u"):
            ids.append((tenant, user, w.post(w.request("same id, other tenant", id="one-id-" + user, tenant=tenant, user=user))))
    w.flush()
    wait_until(lambda: w.sql("SELECT count(*) FROM requests WHERE status = 'done'")[0][0] == len(ids), seconds=60, what="all to be answered")
    same(w.sql("SELECT count(*), count(DISTINCT (tenant, id)) FROM requests"), [(len(ids), len(ids))], "requests")
    told = json.loads(w.must_quern("usage", "--by", "tenant,user", "-o", "json").stdout)
    rows = {(r["tenant"], r["user"]): (r["requests"], r["calls"]) for r in told["rows"]}
    same(rows, {(t, u): (sum(x[:2] == (t, u) for x in ids),) * 2 for t, u, _ in ids}, "usage")
    same(told["total"]["requests"], len(ids), "the total")
    for tenant in NAMES:
        shown = json.loads(w.must_quern("show", "one-id-u", "--tenant=" + tenant, "-o", "json").stdout)
        same((shown["request"]["tenant"], shown["request"]["user_id"]), (tenant, "u"), "quern show")


@scenario
def cancelled_before_during_twice_and_after(w):
    before = "early-" + w.tenant
    w.must_quern("cancel", before, "--tenant", w.tenant)
    w.must_quern("cancel", before, "--tenant", w.tenant)
    w.publish(w.request("never asked", id=before))
    same(w.reply(before)["status"], "cancelled", "cancelled before")
    same(w.calls(before), [], "calls")
    late = w.publish(w.request("answered"))
    same(w.reply(late)["status"], "done", "answered")
    w.must_quern("cancel", late, "--tenant", w.tenant)
    w.must_quern("cancel", late, "--tenant", w.tenant)
    w.publish(w.request("answered", id=late))
    same([r["status"] for r in w.replies(late, count=2)], ["done", "done"], "the replies")
    same(w.sql("SELECT status FROM requests WHERE tenant = %s AND id = %s", w.tenant, late), [("done",)], "the row")


@scenario
def times_beyond_all_time(w):
    now = int(time.time() * 1000)
    for fields, status in (
        ({"deadline_ms": 604800000}, "done"),
        ({"deadline_ms": 604800001}, "failed"),
        ({"deadline_ms": 10**18}, "failed"),
        ({"deadline_ms": 0}, "failed"),
        ({"deadline_ms": -1}, "failed"),
        ({"deadline_ms": 1e300}, "failed"),
        ({"max_latency_ms": 0}, "failed"),
        ({"max_latency_ms": 10**18}, "failed"),
        ({"max_latency_ms": 1}, "done"),
        ({"created_at": 253402300799999}, "done"),
        ({"created_at": 0, "deadline_ms": 1000}, "expired"),
        ({"created_at": now - 10_000, "deadline_ms": 5000}, "expired"),
        ({"created_at": 10**19}, "failed"),
        ({"created_at": -1}, "failed"),
    ):
        reply = w.reply(w.publish(w.request("time", **fields)), 15)
        same(reply["status"], status, "the reply to %r (%r)" % (fields, reply.get("error")))
