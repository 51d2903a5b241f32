"""Checks of the limits of quern-fake, with small windows; run by test_fake.py.

Each check counts for itself what a window of the server's may let in, and compares with what was let in.
"""
import calendar
import http.client
import json
import random
import re
import time

from client import ANTHROPIC, JSON, Server, fnv, is_subset, same, tokens, true, wait_until

TEN_TOKENS = [{"role": "user", "content": "x" * 40}]


def ask(server, key="k1", model="m", **fields):
    """(status, headers, JSON) of a call in OpenAI's form."""
    headers = {"Authorization": "Bearer " + key} if key else {}
    status, got, body = server.openai(model, fields.pop("messages", TEN_TOKENS), headers, **fields)
    return status, got, json.loads(body)


def anthropic(server, path="/v1/messages"):
    body = {"model": "m", "max_tokens": 5, "messages": TEN_TOKENS}
    return server.ask("POST", path, body, {**ANTHROPIC, "x-api-key": "k1"})


def limits(server, **rule):
    same(server.control(limits=[rule])[0], 200)


def meters(server):
    return server.ask_json("GET", "/ledger/limits")[1]["limits"]


def span_ms(text):
    """What a duration such as 6m0s or 20ms is in milliseconds."""
    match = re.fullmatch(r"(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?|(\d+)ms", text)
    true(match, "%r is a duration" % text)
    minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return minutes * 60000 + seconds * 1000 + milliseconds


# --- requests ---------------------------------------------------------------------------------------

def check_requests_beyond_the_limit_are_refused_until_one_is_a_window_old(server):
    limits(server, key="k1", model="m", requests=3, window_ms=400)
    start = time.monotonic()
    same([ask(server)[0] for _ in range(3)], [200, 200, 200])
    status, headers, reply = ask(server)
    same(status, 429)
    is_subset(reply["error"], {"type": "requests", "param": None, "code": "rate_limit_exceeded"})
    true("Limit 3, Used 3, Requested 1" in reply["error"]["message"])
    wait = int(headers["retry-after-ms"])
    true(0 < wait <= 400, "waits %d ms" % wait)
    same(headers["retry-after"], "1")
    time.sleep(wait / 1000)
    same(ask(server)[0], 200)
    true(time.monotonic() - start >= 0.4, "the first was a window old")
    same([line["status"] for line in server.ledger()], [200, 200, 200, 429, 200])


def check_the_window_slides_and_has_no_edge(server):
    limits(server, requests=4, window_ms=200)
    end, admitted = time.monotonic() + 0.7, []
    conn = server.connect()
    body = json.dumps({"model": "m", "messages": TEN_TOKENS})
    while time.monotonic() < end:
        before = time.monotonic()
        conn.request("POST", "/v1/chat/completions", body, JSON)
        reply = conn.getresponse()
        reply.read()
        if reply.status == 200:
            admitted.append((before, time.monotonic()))
        time.sleep(0.005)
    conn.close()
    # Five admissions lie more than a window apart, whatever the second they began in: from before the first was
    # asked to after the fifth was answered.
    for first, fifth in zip(admitted, admitted[4:]):
        true(fifth[1] - first[0] >= 0.2, "%.3f s for five" % (fifth[1] - first[0]))
    true(len(admitted) >= 8, "admitted %d" % len(admitted))
    is_subset(meters(server)[0], {"requests_highest": 4, "admitted": len(admitted)})


def check_keys_and_models_have_limits_of_their_own(server):
    limits(server, requests=1, window_ms=60000)
    pairs = [("k1", "m"), ("k2", "m"), ("k1", "n"), (None, "m")]
    same([ask(server, *pair)[0] for pair in pairs], [200] * 4)
    same([ask(server, *pair)[0] for pair in pairs], [429] * 4)
    hashes = ["%016x" % fnv(b"k1"), "%016x" % fnv(b"k2"), "%016x" % fnv(b"k1"), None]
    same([(m["key_hash"], m["model"], m["admitted"], m["refused"]) for m in meters(server)],
         [(h, model, 1, 1) for h, (_, model) in zip(hashes, pairs)])


def check_the_first_rule_that_fits_counts(server):
    rules = [{"key": "k1", "model": "m", "requests": 1}, {"key": "k1", "requests": 2}]
    same(server.control(limits=rules)[0], 200)
    same([ask(server)[0] for _ in range(2)], [200, 429])
    same([ask(server, model="n")[0] for _ in range(3)], [200, 200, 429])
    same([ask(server, key="k2")[0] for _ in range(4)], [200] * 4)
    same(len(meters(server)), 2)


# --- tokens -----------------------------------------------------------------------------------------

def check_tokens_count_with_the_output_that_was_given(server):
    limits(server, tokens=40, window_ms=60000)
    status, headers, reply = ask(server)
    spent = reply["usage"]["total_tokens"]
    same((status, headers["x-ratelimit-remaining-tokens"]), (200, "30"))  # the output is not given yet
    wait_until(lambda: meters(server)[0]["tokens_now"] == spent)
    same(spent, 10 + tokens(len('digest=0123456789abcdef turns=1 last=""') + 40))
    status, headers, reply = ask(server, messages=[{"role": "user", "content": "x" * 4 * (41 - spent)}])
    same((status, reply["error"]["type"], headers["x-ratelimit-remaining-tokens"]), (429, "tokens", str(40 - spent)))
    same(ask(server, messages=[{"role": "user", "content": "x" * 4 * (40 - spent)}])[0], 200)
    is_subset(meters(server)[0], {"refused_by_tokens": 1, "refused_by_requests": 0, "admitted": 2, "tokens_limit": 40})
    true(meters(server)[0]["tokens_highest"] > 40, "the second output came on top")


def check_tokens_can_be_counted_as_an_estimate(server):
    limits(server, tokens=100, window_ms=60000, count="estimate")
    same(ask(server, max_tokens=50)[0], 200)
    same(meters(server)[0]["tokens_now"], 60)
    same(ask(server, max_tokens=31)[0], 429)
    same(ask(server, max_completion_tokens=30)[0], 200)
    is_subset(meters(server)[0], {"tokens_now": 100, "tokens_highest": 100})


def check_output_is_charged_when_it_is_given(server):
    limits(server, tokens=1000, window_ms=60000)
    sock = server.socket(b'POST /api/generate HTTP/1.1\r\ncontent-length: 63\r\n\r\n'
                         b'{"model":"fake-slow-200","prompt":"abcd","stream":false}       ')
    wait_until(lambda: server.summary()["in_flight"] == 1)
    same(meters(server)[0]["tokens_now"], 1)
    true(sock.recv(4096).startswith(b"HTTP/1.1 200"))
    wait_until(lambda: meters(server)[0]["tokens_now"] > 1)
    sock.close()


def check_output_that_broke_off_is_charged_and_output_that_never_came_is_not(server):
    limits(server, tokens=1000, window_ms=60000)
    for model, charged in (("fake-cut", True), ("fake-stall", True), ("fake-hang-first", False), ("fake-hang", False),
                           ("fake-cut-head", False), ("fake-slow-5000", False)):
        try:
            server.openai(model, TEN_TOKENS, timeout=0.1)
        except (OSError, http.client.HTTPException):
            pass
        wait_until(lambda: server.summary()["in_flight"] == 0)
        same((model, meters(server)[-1]["tokens_now"] > 10), (model, charged))


def check_a_request_larger_than_the_limit_never_fits(server):
    limits(server, tokens=5, window_ms=300)
    status, headers, reply = ask(server)
    same((status, headers["retry-after-ms"]), (429, "300"))
    true("Request too large" in reply["error"]["message"] and "Limit 5, Requested 10" in reply["error"]["message"])
    same(anthropic(server)[0], 429)


def check_every_verdict_agrees_with_a_recount(server):
    """From the ledger's moments, which are a millisecond coarse: hence the slack of two at the window's edge."""
    window, limit, dice = 150, 120, random.Random(11)
    limits(server, tokens=limit, window_ms=window)
    end, refused = time.monotonic() + 0.6, 0
    conn = server.connect()
    while time.monotonic() < end:
        body = {"model": "m", "messages": [{"role": "user", "content": "x" * 4 * dice.randrange(1, 40)}]}
        asked = str(len(body["messages"][0]["content"]) // 4)
        conn.request("POST", "/v1/chat/completions", json.dumps(body), {**JSON, "X-Call-Id": asked})
        conn.getresponse().read()
        time.sleep(dice.random() / 100)
    conn.close()
    events, highest = [], 0
    for line in server.ledger():
        asked, now = int(line["call_id"]), line["t_ms"]
        surely = sum(n for t, n in events if t > now - window + 2)
        maybe = sum(n for t, n in events if t > now - window - 2)
        if line["status"] == 200:
            true(surely + asked <= limit, "%d + %d let in" % (surely, asked))
            events += [(now, asked), (line["done_ms"], line["output_tokens"])]
            highest = max(highest, surely + asked + line["output_tokens"])
        else:
            refused += 1
            true(maybe + asked > limit, "%d + %d refused" % (maybe, asked))
    true(refused > 5 and len(events) > 10, "%d refused" % refused)
    true(highest <= meters(server)[0]["tokens_highest"] < limit + 60)


# --- headers ----------------------------------------------------------------------------------------

def check_openai_headers_come_with_every_answer(server):
    limits(server, requests=2, tokens=1000, window_ms=360000)
    _, headers, _ = ask(server)
    is_subset(headers, {"x-ratelimit-limit-requests": "2", "x-ratelimit-remaining-requests": "1",
                        "x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "990"})
    same((headers["x-ratelimit-reset-requests"], headers["retry-after"]), ("6m0s", None))
    ask(server)
    status, headers, _ = ask(server)
    same((status, headers["x-ratelimit-remaining-requests"]), (429, "0"))
    true(350000 < span_ms(headers["x-ratelimit-reset-requests"]) <= 360000)
    same(headers["x-ratelimit-reset-requests"], headers["x-ratelimit-reset-tokens"])
    wait = int(headers["retry-after-ms"])
    same(int(headers["retry-after"]), -(-wait // 1000))


def check_short_times_are_in_milliseconds(server):
    for window, pattern in ((20, r"20ms"), (1000, r"1s"), (1500, r"1\.5s"), (90000, r"1m30s")):
        limits(server, requests=100, window_ms=window)
        same((window, ask(server)[1]["x-ratelimit-reset-requests"]), (window, pattern.replace("\\", "")))


def check_anthropic_headers_are_moments(server):
    limits(server, requests=1, tokens=100, window_ms=60000)
    for want in (200, 429):
        status, headers, body = anthropic(server)
        same(status, want)
        is_subset(headers, {"anthropic-ratelimit-requests-limit": "1", "anthropic-ratelimit-requests-remaining": "0",
                            "anthropic-ratelimit-tokens-limit": "100"})
        moment = calendar.timegm(time.strptime(headers["anthropic-ratelimit-requests-reset"], "%Y-%m-%dT%H:%M:%SZ"))
        true(50 < moment - time.time() <= 61.5, "a minute from now")
    true(50 <= int(headers["retry-after"]) <= 60)
    reply = json.loads(body)
    same((reply["type"], reply["error"]["type"]), ("error", "rate_limit_error"))


def check_azure_says_code_and_seconds(server):
    limits(server, requests=1, window_ms=60000)
    path = "/openai/deployments/m/chat/completions?api-version=2024-10-21"
    for want in (200, 429):
        status, headers, body = server.ask("POST", path, {"messages": TEN_TOKENS}, {**JSON, "api-key": "k1"})
        same((status, headers["x-ratelimit-remaining-requests"]), (want, "0"))
    same(headers["x-ratelimit-reset-requests"], None)
    reply = json.loads(body)["error"]
    same((reply["code"], sorted(reply)), ("429", ["code", "message"]))
    true("Please retry after %s seconds" % headers["retry-after"] in reply["message"])


def check_a_silent_limit_and_a_silent_vendor_say_nothing(server):
    limits(server, requests=1, silent=True)
    ask(server)
    status, headers, _ = ask(server)
    same((status, headers["retry-after"], headers["x-ratelimit-limit-requests"]), (429, None, None))
    limits(server, requests=1)
    ask(server, model="qwen-plus")
    status, headers, reply = ask(server, model="qwen-plus")
    same((status, headers["retry-after"], reply["error"]["code"]), (429, None, "limit_requests"))


# --- books ------------------------------------------------------------------------------------------

def check_the_books_tell_arrivals_and_use(server):
    limits(server, key="k1", requests=5, window_ms=60000)
    for _ in range(8):
        ask(server)
    meter = meters(server)[0]
    is_subset(meter, {"arrivals": 8, "admitted": 5, "refused": 3, "refused_by_requests": 3, "requests_now": 5,
                      "requests_highest": 5, "requests_limit": 5, "tokens_limit": 0})
    same(sum(meter["arrivals_by_second"]), 8)
    same(max(meter["arrivals_by_second"]), meter["arrivals_per_second_max"])
    true(meter["first_ms"] <= meter["last_ms"])
    is_subset(server.summary(), {"calls": 8, "by_status": {"200": 5, "429": 3}})


def check_reset_empties_the_windows_and_keeps_the_rules(server):
    limits(server, requests=1)
    same([ask(server)[0] for _ in range(2)], [200, 429])
    server.ask("POST", "/control/reset")
    is_subset(meters(server)[0], {"arrivals": 0, "requests_now": 0, "requests_highest": 0, "arrivals_by_second": []})
    same([ask(server)[0] for _ in range(2)], [200, 429])


def check_wrong_and_troubled_calls_do_not_confuse_the_meter(server):
    limits(server, requests=3, tokens=1000, window_ms=60000)
    server.ask("POST", "/v1/chat/completions", "{", JSON)
    same(meters(server), [])  # not understood, not metered
    same(ask(server, model="fake-500")[0], 500)
    is_subset(meters(server)[0], {"admitted": 1, "tokens_now": 10})  # let in, and no output


def check_limits_are_shown_without_keys_and_wrong_ones_refused(server):
    limits(server, key="secret", model="m", requests=6000, tokens=3000000)
    shown = server.ask_json("GET", "/control")[1]["limits"]
    same(shown, [{"key": "(set)", "model": "m", "requests": 6000, "tokens": 3000000, "window_ms": 60000,
                  "count": "actual", "silent": False}])
    for rule in ({"requests": -1}, {"requests": "x"}, {"window_ms": 0}, {"key": ""}, {"count": "x"}, {"nonsense": 1},
                 {"silent": 1}, 7):
        same((rule, server.control(limits=[rule])[0]), (rule, 400))
    same(server.control(limits={})[0], 400)
    same(server.ask_json("GET", "/control")[1]["limits"], shown)


def check_limits_are_read_from_the_command_line(server):
    binary = server.process.args[0]
    other = Server(binary, "--limit", "key=k1,model=m,requests=1,tokens=100,window=5000,count=estimate",
                   "--limit", "requests=2,silent", "--first-token", "3", "--chunk-delay", "4", "--vendor", "deepseek")
    try:
        shown = other.ask_json("GET", "/control")[1]
        is_subset(shown, {"first_token": 3, "chunk_delay": 4, "vendor": "deepseek"})
        is_subset(shown["limits"][0], {"key": "(set)", "requests": 1, "tokens": 100, "window_ms": 5000, "count": "estimate"})
        is_subset(shown["limits"][1], {"key": None, "model": None, "requests": 2, "silent": True})
        same([ask(other)[0] for _ in range(2)], [200, 429])
    finally:
        same(other.stop(), 0)
