"""Checks of quern-fake as an HTTP server; run by test_fake.py."""
import http.client
import json
import socket
import time

from client import Server, all_of, answer_of, as_messages, is_subset, same, true, wait_until

# --- HTTP -------------------------------------------------------------------------------------------

GENERATE = b'{"model":"m","prompt":"hello","stream":false}'


def check_bytes_may_come_one_by_one_and_in_chunks(server):
    head = b"POST /api/generate HTTP/1.1\r\nhost: x\r\n"
    whole = head + b"content-length: %d\r\n\r\n" % len(GENERATE) + GENERATE
    chunked = (head + b"Transfer-Encoding: chunked\r\n\r\n" + b"5;ext=1\r\n" + GENERATE[:5] + b"\r\n%X\r\n"
               % (len(GENERATE) - 5) + GENERATE[5:] + b"\r\n0\r\ntrailer: 1\r\n\r\n")
    sock = server.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for data in (whole, chunked):
        for byte in data:
            sock.sendall(bytes([byte]))
        reply = http.client.HTTPResponse(sock)
        reply.begin()
        same(json.loads(reply.read())["response"], answer_of([("user", "hello")]))
    for _ in range(2):
        sock.sendall(chunked)
        reply = http.client.HTTPResponse(sock)
        reply.begin()
        same(json.loads(reply.read())["response"], answer_of([("user", "hello")]))
    sock.close()


def check_pipelined_requests_are_answered_in_order(server):
    request = b"POST /api/generate HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s"
    bodies = [b'{"model":"fake-slow-60","prompt":"%d","stream":false}' % i for i in range(3)]
    sock = server.socket(b"".join(request % (len(b), b) for b in bodies))
    stream = sock.makefile("rb")
    for i in range(3):
        while not (line := stream.readline()).startswith(b"content-length"):
            pass
        stream.readline()
        reply = json.loads(stream.read(int(line.split()[1])))
        same(reply["response"], answer_of([("user", str(i))]))
    stream.close()
    sock.close()


def check_close_and_http_1_0_close(server):
    got = all_of(server.socket(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"))
    true(b"connection: close" in got and got.endswith(b"}\n"))
    true(all_of(server.socket(b"GET /healthz HTTP/1.0\r\n\r\n")).endswith(b"}\n"))
    body = GENERATE.replace(b"false", b"true ")
    got = all_of(server.socket(b"POST /api/generate HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(body) + body))
    true(b"chunked" not in got and b'"done":true' in got)
    true(b'"n":' in all_of(server.socket(b"GET /ledger HTTP/1.0\r\n\r\n")))


def check_expect_continue_is_granted(server):
    sock = server.socket(b"POST /api/generate HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(GENERATE))
    same(sock.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
    sock.sendall(GENERATE)
    true(sock.recv(100).startswith(b"HTTP/1.1 200"))
    sock.close()


def check_malformed_requests_are_refused(server):
    for data, status in ((b"nonsense\r\n\r\n", 400), (b"GET nowhere HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/2.0\r\n\r\n", 400),
                         (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400), (b"GET / HTTP/1.1\r\na : b\r\n\r\n", 400),
                         (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
                         (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
                         (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
                         (b"POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n", 501),
                         (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
                         (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n", 400),
                         (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffffffff\r\n", 413),
                         (b"POST / HTTP/1.1\r\ncontent-length: 67108865\r\n\r\n", 413),
                         (b"GET / HTTP/1.1\r\nx: " + b"y" * 70000 + b"\r\n\r\n", 431)):
        got = all_of(server.socket(data))
        same((data[:60], got.split(b" ")[1]), (data[:60], b"%d" % status))
        true(b"connection: close" in got)


def check_a_large_body_is_read(server):
    talk = [("user", "0123456789abcdef" * (3 << 16))]
    body = server.openai(messages=as_messages(talk))[2]
    is_subset(json.loads(body)["usage"], {"prompt_tokens": 3 << 18})


def check_a_refused_large_body_still_gets_its_answer(server):
    conn = server.connect()
    conn.putrequest("POST", "/api/chat")
    conn.putheader("content-length", str(100 << 20))
    conn.endheaders()
    try:
        conn.send(b"x" * (4 << 20))
    except OSError:
        pass
    same(conn.getresponse().status, 413)
    conn.close()


def check_many_delayed_answers_at_once(server):
    body = b'{"model":"fake-slow-700","prompt":"x","stream":false}'
    request = b"POST /api/generate HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    socks = [server.socket(request) for _ in range(500)]
    wait_until(lambda: server.summary()["in_flight"] == 500)
    for sock in socks:
        true(sock.recv(4096).startswith(b"HTTP/1.1 200"))
        sock.close()
    is_subset(server.summary(), {"calls": 500, "delivered": 500, "max_in_flight": 500})
    true(server.summary()["max_connections"] >= 501)
    took = [line["done_ms"] - line["t_ms"] for line in server.ledger()]
    true(min(took) >= 700, "none is early")


def check_a_long_ledger_streams_to_a_slow_reader(server):
    conn = server.connect()
    for i in range(4000):
        conn.request("POST", "/api/generate", GENERATE, {"X-Request-Id": "call-%d" % i})
        conn.getresponse().read()
    conn.request("GET", "/ledger")
    time.sleep(0.2)
    lines = conn.getresponse().read().decode().splitlines()
    conn.close()
    same([json.loads(line)["call_id"] for line in lines], ["call-%d" % i for i in range(4000)])


def check_sigterm_ends_at_once_with_calls_in_flight(server):
    other = Server(server.process.args[0])
    socks = [other.socket(b'POST /api/generate HTTP/1.1\r\ncontent-length: 36\r\n\r\n{"model":"fake-hang","prompt":"%d"}  ' % i)
             for i in range(5)]
    wait_until(lambda: other.summary()["in_flight"] == 5)
    start = time.monotonic()
    same(other.stop(), 0)
    true(time.monotonic() - start < 2)
    for sock in socks:
        sock.close()
