"""Tenants side by side: who has many requests, and who has few."""
import time

from harness import expected, same, scenario, true

FLEET = {"settings": {"worker.max_in_flight": 20, "worker.read_ahead": 40}}


def order_of_calls(w, count, *tenants):
    """Whose the first calls were, in the order in which the provider got them."""
    rows = sorted((row for tenant in tenants for row in w.fake.ledger(tenant)), key=lambda row: row["n"])
    return [row["call_id"].split("/")[0] for row in rows[:count]]


@scenario(seconds=120)
def a_question_behind_another_tenants_thousands_is_answered_at_once(w):
    w.fake.control(latency=200)
    for i in range(3000):
        w.post(w.request("bulk %d" % i, tenant="bulk"))
    w.flush()
    for i in range(5):
        began = time.monotonic()
        same(w.ask("mine %d" % i)["text"], expected("mine %d" % i), "the answer")
        took = time.monotonic() - began
        true(took < 1.5, "behind three thousand of another tenant it took %.1f s" % took)
    # What was read past is fetched again, and all of it is answered, once.
    w.fake.control(latency=5)
    w.finals(3000, 60, tenant="bulk")
    same(len(w.fake.ledger("bulk")), 3000, "calls for the other tenant")


@scenario(seconds=120, settings={"worker.max_in_flight": 20, "worker.read_ahead": 1000, "tenants": [{"name": "gold", "weight": 3}]})
def a_tenant_of_weight_three_gets_three_times_as_much(w):
    w.fake.control(latency=100)
    for i in range(400):
        for tenant in ("gold", "plain"):
            w.post(w.request("question %d of equal length" % (i + 100), tenant=tenant))
    w.flush()
    w.finals(350, 60, tenant="gold")
    # What the first ones were estimated too high at is given back, and that is the same for both.
    calls = order_of_calls(w, 440, "gold", "plain")
    gold = calls[200:].count("gold")
    true(160 <= gold <= 200, "of 240 calls %d were gold's, 180 are its part" % gold)
    w.fake.control(latency=5)
    w.finals(400, 60, tenant="plain")


@scenario(seconds=120)
def a_kill_loses_nothing_of_what_was_read_past(w):
    w.fake.control(latency=50)
    for i in range(1000):
        w.post(w.request("bulk %d" % i, tenant="bulk"))
    w.flush()
    w.finals(100, 60, tenant="bulk")
    w.worker.kill()
    w.start("worker")
    w.finals(1000, 60, tenant="bulk")
    calls = len(w.fake.ledger("bulk"))
    true(1000 <= calls <= 1020, "%d calls for 1,000 requests and 20 in flight at the kill" % calls)
