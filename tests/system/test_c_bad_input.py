"""What cannot be answered: the reason, the original bytes, and the good request right behind it."""
import hashlib
import json
import time

import msgpack

from harness import expected, same, scenario, true, wait_until

MIB = 1 << 20
FLEET = {"models": {}}
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def check_refused(w, value, code, *, id=None, headers=(), topic="requests", good_too=True):
    """The bytes go to the dead letters with this code; a good request behind them in the same partition is answered."""
    good = w.request("behind " + code)
    w.send(value, key=id, headers=headers, topic=topic, partition=5)
    w.post(good, topic=topic, partition=5)
    w.flush()
    if good_too:
        same(w.reply(good["id"])["text"], expected("behind " + code), "the good request behind it")
    # There may be others with this code, and the good one's reply may be seen before this one.
    letters = wait_until(
        lambda: [d for d in w.dead(code=code, topic=w.topic(topic)) if d.value in (value, (value or b"")[:65536])],
        20, "a dead letter with these bytes and code " + code)
    same(len(letters), 1, "dead letters with these bytes and code " + code)
    letter = letters[0]
    true(len(letter.reason) > 15, "the reason is no sentence: %r" % letter.reason)
    same((letter.topic, letter.partition), (w.topic(topic), "5"), "the origin")
    if id is None:
        true("quern-dead-id" not in letter.headers, "an id was read where there is none")
        return letter
    same((letter.id, letter.tenant), (id, w.tenant), "id and tenant in the headers")
    row, reply = w.final(id), w.reply(id)
    status = "expired" if code == "expired" else "failed"
    same((row["status"], row["error_code"], reply["status"], reply["error"]["code"]), (status, code, status, code), "the final")
    true(len(reply["error"]["message"]) > 15, "the error's message is no sentence: %r" % reply["error"]["message"])
    same(w.calls(id), [], "calls at the provider")
    return letter


def refused(w, code, **fields):
    """A document of this scenario's tenant that is refused with this code."""
    document = w.request(**fields)
    return check_refused(w, json.dumps(document).encode(), code, id=document["id"], topic=fields.pop("topic", "requests"))


@scenario
def bytes_that_are_not_json(w):
    check_refused(w, b"this is no JSON", "invalid_encoding")
    check_refused(w, b'{"id": "cut", "input": "cut of', "invalid_encoding")
    check_refused(w, b"\x00\x01\x02\xff", "invalid_encoding")


@scenario
def bytes_that_are_not_messagepack(w):
    packed = [("content-type", b"application/msgpack")]
    check_refused(w, b"\xc1\xc1\xc1", "invalid_encoding", headers=packed)
    check_refused(w, msgpack.packb({"id": "x", "input": "long enough"})[:-3], "invalid_encoding", headers=packed)


@scenario
def an_unknown_content_type(w):
    check_refused(w, b"<request/>", "invalid_encoding", headers=[("content-type", b"text/xml")])


@scenario
def an_empty_message_and_a_tombstone(w):
    check_refused(w, b"", "invalid_encoding")
    w.send(None, key="tombstone", partition=5)
    good = w.request("behind a tombstone")
    w.post(good, partition=5)
    w.flush()
    same(w.reply(good["id"])["text"], expected("behind a tombstone"), "the good request behind it")


@scenario
def a_document_that_is_no_request(w):
    for value in (b"[]", b"17", b'"text"', b"null", b"{}"):
        w.send(value, partition=5)
    good = w.request("behind five of them")
    w.post(good, partition=5)
    w.flush()
    same(w.reply(good["id"])["text"], expected("behind five of them"), "the good request behind them")
    def look():
        letters = [d for d in w.dead(code="invalid_request", count=5) if d.value in (b"[]", b"17", b'"text"', b"null", b"{}")]
        return letters if len(letters) >= 5 else None

    letters = wait_until(look, 20, "five dead letters")
    same(len(letters), 5, "dead letters")


@scenario
def wrong_types_and_values_name_the_field(w):
    wrong = [
        ("input", 17),
        ("models", "m-openai"),
        ("models", [1]),
        ("params", {"temperature": 7}),
        ("params", {"max_tokens": "many"}),
        ("params", []),
        ("deadline_ms", -1),
        ("merge", {"policy": "vote"}),
        ("kind", "dance"),
        ("session", "x" * 300),
        ("metadata", "text"),
        ("messages", [{"role": "user", "content": "both"}]),
    ]
    documents = [(field, w.request(**{field: value}) | {"input": "both" if field != "input" else value}) for field, value in wrong]
    for _, document in documents:
        w.send(json.dumps(document).encode(), key=document["id"], partition=5)
    w.flush()
    for field, document in documents:
        reply = w.reply(document["id"])
        code = "too_big" if field == "session" else "invalid_request"
        same((reply["status"], reply["error"]["code"]), ("failed", code), "what %s=%r gives" % (field, document[field]))
        true(field in reply["error"]["message"], "the message does not name %r: %s" % (field, reply["error"]["message"]))
        same(w.final(document["id"])["status"], "failed", "the row")


@scenario
def messages_that_are_no_messages(w):
    for messages in ([], [{"role": "user"}], [{"role": "king", "content": "x"}], ["text"], [{"content": "x"}]):
        refused(w, "invalid_request", input=None, messages=messages)


@scenario
def an_unknown_model(w):
    letter = refused(w, "unknown_model", models=["gpt-99"])
    true("gpt-99" in letter.reason, "the reason does not name the model: " + letter.reason)


@scenario(settings={"default_model": ""})
def no_model_and_no_default(w):
    document = w.request("no model")
    w.publish(document, partition=5)
    reply = w.reply(document["id"])
    same((reply["status"], reply["error"]["code"]), ("failed", "no_model"), "the reply")
    same(w.dead(id=document["id"])[0].code, "no_model", "the dead letter's code")
    same(w.ask("with model", models=["m-openai"])["text"], expected("with model"), "the next one")


@scenario
def too_many_bytes(w):
    document = w.request("x" * (2 * MIB))
    value = json.dumps(document).encode()
    letter = check_refused(w, value, "too_big", id=document["id"])
    same(letter.value, value[:65536], "the part of the original that is kept")
    same(letter.headers["quern-dead-original-bytes"], str(len(value)), "size of the original")
    same(letter.headers["quern-dead-sha256"], hashlib.sha256(value).hexdigest(), "hash of the original")


@scenario
def sixteen_megabytes(w):
    document = w.request("y" * (16 * MIB))
    check_refused(w, json.dumps(document).encode(), "too_big", id=document["id"])


@scenario
def a_hundred_thousand_brackets(w):
    check_refused(w, b"[" * 100_000, "invalid_encoding")
    check_refused(w, b"[" * 100_000 + b"]" * 100_000, "too_deep")
    check_refused(w, b'{"metadata":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "too_deep")
    check_refused(w, b"\x91" * 100_000, "too_deep", headers=[("content-type", b"application/msgpack")])


@scenario
def text_that_is_not_utf8(w):
    document = json.dumps(w.request("CAFE")).encode()
    check_refused(w, document.replace(b"CAFE", b"caf\xe9"), "invalid_encoding", id=json.loads(document)["id"])


@scenario
def who_sent_what_is_refused_finds_it_again(w):
    topic = w.reply_topic("refused")
    who = {"user": "anna", "session": "refused", "reply_to": topic, "metadata": {"order": 17}}
    deep = b"[" * 100_000 + b"]" * 100_000
    for turn, (fields, old, new) in enumerate([
        ({"params": {"temperature": 99}}, b"", b""),
        ({"models": ["gpt-99"]}, b"", b""),
        ({"text": "HOLE"}, b"HOLE", b"\xff\xfe"),
        ({"validate": "HOLE"}, b'"HOLE"', deep),
        ({"text": "z" * (9 * MIB)}, b"", b""),
    ], start=1):
        document = w.request(**(who | fields))
        w.send(json.dumps(document).encode().replace(old, new), key="refused", partition=5)
        w.flush()
        reply, row = w.reply(document["id"], 30), w.final(document["id"])
        same((reply.topic, reply["status"], reply["session"], reply["turn"], reply["metadata"]),
             (topic, "failed", "refused", turn, {"order": 17}), "the reply to %r" % list(fields))
        same((row["user_id"], row["session_id"], row["turn"], row["metadata"]), ("anna", "refused", turn, {"order": 17}), "its row")


@scenario
def the_events_id_stands_in_for_one_that_cannot_be_read(w):
    for value in (b"no JSON", b'{"id": "cut", "input": "cut of', b"", b"[" * 100_000):
        id = w.new_id()
        w.send(value, key="event", headers=[("ce_id", id.encode()), ("traceparent", TRACE), ("x-own", b"\xff")], partition=5)
        w.flush()
        letter = w.dead(id=id, code="invalid_encoding")[0]
        same((letter.value or b"", letter.tenant), (value, "default"), "the dead letter")
        same((letter.headers["ce_id"], letter.headers["traceparent"]), (id, TRACE.decode()), "its headers")
        row = w.final(id, tenant="default")
        same((row["status"], row["error_code"]), ("failed", "invalid_encoding"), "the final")
        reply = wait_until(lambda: w.collector.replies("default", id), 20, "a reply to %r" % value)[0]
        same((reply["status"], reply["error"]["code"]), ("failed", "invalid_encoding"), "the reply")


@scenario
def an_empty_list_of_messages_beside_a_question_is_none(w):
    same(w.ask("the question", messages=[], input="the question")["text"], expected("the question"), "the answer")


@scenario
def the_second_of_two_bodies_is_told_where_it_asked_for_it(w):
    first = w.request("the first of two")
    w.publish(first)
    w.reply(first["id"])
    topic = w.reply_topic("second")
    w.publish({**first, "input": "the second of two", "reply_to": topic})
    conflict = w.replies(first["id"], count=2)[-1]
    same((conflict["error"]["code"], conflict.topic), ("id_conflict", topic), "the reply and where it is told")


@scenario
def a_zero_character_that_no_store_keeps(w):
    refused(w, "invalid_request", text="nul \x00 inside")


@scenario
def a_deadline_that_has_passed(w):
    refused(w, "expired", created_at=int(time.time() * 1000) - 60_000, deadline_ms=1000)


@scenario
def a_reply_to_outside_the_allowed_prefix(w):
    refused(w, "reply_to_forbidden", reply_to="somebody.elses.topic")


@scenario
def a_session_in_the_batch_lane(w):
    document = w.request("in the wrong lane", session="s")
    check_refused(w, json.dumps(document).encode(), "session_in_batch", id=document["id"], topic="requests.batch")


@scenario
def a_known_id_with_another_body_hurts_only_itself(w):
    first = w.request("the first body")
    w.publish(first)
    w.reply(first["id"])
    for again in range(2):
        if again:
            w.redis.flushall()  # then only PostgreSQL knows
        w.publish({**first, "input": "another body %d" % again})
        conflict = w.replies(first["id"], count=2 + again)[-1]
        same((conflict["status"], conflict["error"]["code"]), ("failed", "id_conflict"), "the second reply")
    same(len(w.dead(code="id_conflict", id=first["id"], count=2)), 2, "dead letters")
    row = w.final(first["id"])
    same((row["status"], row["text"]), ("done", expected("the first body")), "the first request's row")
    same(len(w.calls(first["id"])), 1, "calls at the provider")


@scenario
def a_bad_body_under_a_known_id_leaves_the_answer_alone(w):
    first = w.request("keep me")
    w.publish(first)
    w.reply(first["id"])
    w.publish({**first, "params": {"temperature": 99}})
    w.dead(code="id_conflict", id=first["id"])
    same(w.final(first["id"])["text"], expected("keep me"), "the first request's row")


@scenario
def hostile_names_stay_in_their_place(w):
    for name in ("a:b{c}%", "'; drop table requests; --", "../../etc/passwd", "\u202e\U0001f9ff", "x" * 128):
        document = {**w.request("named"), "id": name, "session": name, "user": name}
        w.publish(document)
        same(w.reply(name)["text"], expected("named"), "the answer of %r" % name)
        same(w.final(name)["session_id"], name, "the stored session")


@scenario
def a_thousand_bad_ones_do_not_hold_up_a_good_one(w):
    for i in range(1000):
        w.send(b"garbage %d" % i, partition=5)
    good = w.request("behind a thousand")
    w.post(good, partition=5)
    w.flush()
    same(w.reply(good["id"])["text"], expected("behind a thousand"), "the good request")
    w.dead(code="invalid_encoding", count=1000)


@scenario
def names_that_are_no_names(w):
    for name in ("a\x00b", "a\nb", "i" * 129):
        value = json.dumps({"tenant": w.tenant, "id": name, "input": "whose is it?"}).encode()
        check_refused(w, value, "too_big" if len(name) > 128 else "invalid_request")
    for name in ("i" * 1_100_000, "a\x00b", ""):
        event = {"specversion": "1.0", "source": "/test", "type": "ask", "id": name,
                 "data": {"tenant": w.tenant, "input": "an event whose id is no name"}}
        w.send(json.dumps(event).encode(), key="event", headers=[("content-type", b"application/cloudevents+json")], partition=5)
    good = w.request("behind events without a name")
    w.post(good, partition=5)
    w.flush()
    same(w.reply(good["id"])["text"], expected("behind events without a name"), "the good request behind them")


@scenario
def thousands_of_messages_that_one_provider_wants_joined(w):
    messages = [{"role": "system", "content": "s" * 64}] * 4095 + [{"role": "user", "content": "and now?"}]
    asked = [w.request(messages=messages, models=[model]) for model in ("m-anthropic", "m-generate")]
    for request in asked:
        w.post(request)
    w.flush()
    for request in asked:
        same(w.reply(request["id"])["status"], "done", "the status")
