"""A client of quern-fake for its checks: starts it on a free port, speaks HTTP with the standard library only.

How it works: `Server` is one running program with the calls a check wants; `same`, `true`, `refused` and the
others say what must hold; `digest_of`, `tokens` compute anew what README.md promises. Upper bounds on time are wide, so that a
busy machine fails nothing.
"""
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time

JSON = {"Content-Type": "application/json"}
ANTHROPIC = {**JSON, "anthropic-version": "2023-06-01"}


def fnv(data, digest=0xCBF29CE484222325):
    for byte in data:
        digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return digest


def digest_of(messages):
    """[(role, content), ...] -> 16 hex digits, as README.md describes it."""
    joined = b"".join(r.encode() + b"\0" + c.encode() + b"\0" for r, c in messages)
    return "%016x" % fnv(joined)


def answer_of(messages):
    last = [c for r, c in messages if r == "user"][-1:] or [""]
    return 'digest=%s turns=%d last="%s"' % (digest_of(messages), len(messages), last[0][:40])


def tokens(text_bytes):
    return (text_bytes + 3) // 4


def input_tokens(messages):
    return tokens(sum(len(c.encode()) for _, c in messages))


class Server:
    def __init__(self, binary, *flags):
        self.process = subprocess.Popen([binary, "--port", "0", *flags], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        match = re.fullmatch(r"listening on ([0-9.]+):(\d+)\n", line)
        if not match:
            raise SystemExit("unexpected first line: %r" % line)
        self.port = int(match.group(2))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(5)
        self.process.stdout.close()
        return code

    def connect(self, timeout=10):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def socket(self, data=b"", timeout=10):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        sock.sendall(data)
        return sock

    def ask(self, method, path, body=None, headers=JSON, timeout=10):
        conn = self.connect(timeout)
        try:
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            conn.request(method, path, data, headers)
            reply = conn.getresponse()
            return reply.status, reply.headers, reply.read()
        finally:
            conn.close()

    def ask_json(self, *args, **named):
        status, _, body = self.ask(*args, **named)
        return status, json.loads(body)

    def openai(self, model="m", messages=None, headers=None, timeout=10, **fields):
        body = {"model": model, "messages": messages or [{"role": "user", "content": "hi"}], **fields}
        return self.ask("POST", "/v1/chat/completions", body, {**JSON, **(headers or {})}, timeout)

    def ledger(self, query=""):
        _, _, body = self.ask("GET", "/ledger" + query)
        return [json.loads(line) for line in body.decode().splitlines()]

    def summary(self):
        return self.ask_json("GET", "/ledger/summary")[1]

    def control(self, **settings):
        return self.ask_json("POST", "/control", settings)

    def reset(self):
        same(self.control(latency="0", error_rate={}, retry_after=None, seed=1, first_token=0, chunk_delay=0,
                          vendor="openai", limits=[], trouble_rate={})[0], 200)
        same(self.ask("POST", "/control/reset")[0], 200)


def same(got, want):
    if got != want:
        raise AssertionError("got %r, want %r" % (got, want))


def true(condition, what="condition"):
    if not condition:
        raise AssertionError(what + " does not hold")


def wait_until(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited %s s in vain" % seconds)
        time.sleep(0.01)


def is_subset(got, want):
    """Every member of `want` is in `got` with that value."""
    same({key: got.get(key, "absent") for key in want}, want)


def sse(raw):
    """[(event, data), ...]"""
    events = []
    for block in raw.decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        events.append((fields.get("event"), fields["data"]))
    return events


def all_of(sock):
    data = b""
    while part := sock.recv(65536):
        data += part
    sock.close()
    return data


def as_messages(talk):
    return [{"role": r, "content": c} for r, c in talk]


def run(binary, spaces):
    """Runs every check_* of these name spaces in order of definition; returns the exit code."""
    server = Server(binary)
    passed = failed = 0
    for name, check in [item for space in spaces for item in list(space.items())]:
        if not name.startswith("check_"):
            continue
        try:
            server.reset()
            check(server)
            passed += 1
        except Exception as err:  # a check that breaks in any way has failed
            failed += 1
            print("FAILED %s: %s: %s" % (name[6:].replace("_", " "), type(err).__name__, err))
    if server.stop() != 0:
        failed += 1
        print("FAILED the server did not end with 0")
    else:
        passed += 1
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0
