"""The same request twice: asked once, answered twice."""
import time

from harness import expected, same, scenario, true, wait_until

FLEET = {"models": {"fake-slow-400": {}, "fake-400": {}}}


def twice(w, between=lambda: None, **fields):
    document = w.request("ask me once", **fields)
    w.publish(document)
    first = w.reply(document["id"])
    between()
    w.publish(document)
    second = w.replies(document["id"], count=2)[1]
    same((second["text"], second["status"], second.headers["ce_id"]), (first["text"], "done", document["id"]), "the second reply")
    same(first["text"], expected("ask me once"), "the first reply")
    same(len(w.calls(document["id"])), len(fields.get("models", [1])), "calls at the provider")
    same(w.sql("SELECT sum(requests) FROM usage_daily WHERE tenant = %s", w.tenant)[0][0], 1, "requests in usage_daily")
    return document, first, second


@scenario
def the_same_id_is_asked_once_and_answered_twice(w):
    _, first, second = twice(w, metadata={"n": 1})
    for field in ("usage", "cost_microusd", "metadata", "finish_reason"):
        same(second.get(field), first.get(field), "the second reply's " + field)


@scenario
def the_same_id_after_redis_forgot_it(w):
    twice(w, between=w.redis.flushall)


@scenario
def the_same_id_after_the_worker_was_replaced(w):
    def replace():
        w.worker.term()
        w.redis.flushall()
        w.start("worker")

    twice(w, between=replace)


@scenario
def the_same_id_of_several_models(w):
    _, first, second = twice(w, models=["m-openai", "m-anthropic"], between=w.redis.flushall)
    same(second["merge"]["winner"], first["merge"]["winner"], "the winner")


@scenario
def the_same_id_in_messagepack_and_with_keys_in_another_order(w):
    document = w.request("one meaning", metadata={"a": 1, "b": 2})
    w.publish(document)
    w.reply(document["id"])
    turned = {k: document[k] for k in reversed(document)}
    turned["metadata"] = {"b": 2, "a": 1}
    w.publish(turned, encoding="msgpack")
    same(w.replies(document["id"], count=2)[1]["text"], expected("one meaning"), "the second reply")
    same(len(w.calls(document["id"])), 1, "calls at the provider")


@scenario
def the_same_id_while_the_first_is_still_at_work(w):
    document = w.request("in flight", models=["fake-slow-400"])
    for _ in range(3):
        w.post(document)
    w.flush()
    replies = w.replies(document["id"], count=3)
    same({r["text"] for r in replies}, {expected("in flight")}, "the replies")
    same(len(w.calls(document["id"])), 1, "calls at the provider")


@scenario
def a_failed_request_under_the_same_id_stays_failed(w):
    document = w.request("fails", models=["fake-400"])
    w.publish(document)
    same(w.reply(document["id"])["status"], "failed", "the first reply")
    w.redis.flushall()
    w.publish(document)
    same(w.replies(document["id"], count=2)[1]["error"]["code"], "provider_refused", "the second reply's code")
    same(len(w.calls(document["id"])), 1, "calls at the provider")


@scenario(seconds=120)
def two_bodies_of_one_id_that_no_worker_could_tell_apart(w):
    """Redis and PostgreSQL are away when the others come, so all are answered; the first one that is stored stays."""
    first = w.request("the first body")
    w.publish(first)
    w.reply(first["id"])
    w.stop_server("redis")
    w.stop_server("postgres")
    late = [{**first, "input": "the second body", "metadata": {"n": 2}}, {**first, "input": "the third body", "metadata": {"n": 3}, "models": ["m-openai", "m-anthropic"]}]
    for count, document in ((2, late[0]), (4, late[1])):
        w.publish(document)
        wait_until(lambda: len(w.calls(first["id"])) == count, 30, "call %d at the provider" % count)
        time.sleep(1)  # it has ended: one that comes while it is at work would wait with it for the store
    w.start_server("postgres")
    replies = w.replies(first["id"], 60, count=3)
    same([r["error"]["code"] for r in replies[1:]], ["id_conflict"] * 2, "the later replies")
    same([r["metadata"] for r in replies[1:]], [d["metadata"] for d in late], "whom they tell")
    letters = w.dead(code="id_conflict", id=first["id"], count=2)
    same({d.topic for d in letters}, {w.topic("results")}, "the dead letters' origin")
    true(all(w.topic("requests") in d.reason for d in letters), "the reasons do not say where the requests are: %r" % [d.reason for d in letters])
    row = w.final(first["id"])
    same((row["status"], row["text"]), ("done", expected("the first body")), "what is stored")
    wait_until(lambda: len(w.runs(first["id"])) == 4, what="the calls of all in the ledger")
    same(len(w.replies(first["id"], count=3)), 3, "replies")


@scenario
def the_same_id_of_two_tenants_is_two_requests(w):
    document = w.request("two owners")
    w.publish(document)
    w.publish({**document, "tenant": w.tenant + "-b"})
    wait_until(lambda: w.collector.replies(w.tenant + "-b", document["id"]), what="the other tenant's reply")
    same(w.reply(document["id"])["text"], expected("two owners"), "the answer")
    same(len(w.fake.ledger(w.tenant + "-b", document["id"])), 1, "calls for the other tenant")


@scenario
def a_turn_of_a_conversation_that_comes_twice_is_one_turn(w):
    document = w.request("turn one", session="s")
    w.publish(document)
    w.publish(document)
    w.replies(document["id"], count=2)
    last = w.request("turn two", session="s")
    w.publish(last)
    reply = w.reply(last["id"])
    same(reply["turn"], 2, "the next turn")
    true("turns=3" in reply["text"], "the history is %r" % reply["text"])
