"""Hedging: a call without a sign of an answer gets a second one beside it; waits are short, the books agree, and both calls are told."""
import json
import time

from harness import PRICE_INPUT, PRICE_OUTPUT, expected, same, scenario, true, wait_until

HEDGED = {"hedge": "p95", "hedge_floor": "300ms", "hedge_percent": 8}
FLEET = {
    "models": {
        "plain": {"model": "gpt-plain", "stream": "off"},
        "hedged": {"model": "gpt-hedged", "stream": "off", **HEDGED},
        "streamed": {"model": "gpt-streamed", "stream": "on", **HEDGED},
        "dying": {"model": "gpt-dying", "stream": "off", **HEDGED},
        "dripping": {"model": "gpt-dripping", "stream": "off", **HEDGED},
    },
}
USUAL, MANY = 120, 400


def ask(w, model, count, pause_s=0.004):
    """So many requests, one after the other; returns their ids."""
    ids = []
    for i in range(count):
        ids.append(w.post(w.request("%s question %d" % (model, i), models=[model])))
        time.sleep(pause_s)
    w.flush()
    return ids


def ask_in_trouble(w, trouble, models):
    """Every model has answered many calls alike; from now on some fare badly. Returns the ids by model."""
    w.fake.control(latency=20)
    for model in models:
        ask(w, model, USUAL)
    w.finals(USUAL * len(models))
    w.fake.control(latency=20, trouble_rate=trouble)
    ids = {model: ask(w, model, MANY) for model in models}
    w.finals((USUAL + MANY) * len(models))
    w.fake.control(latency=0, trouble_rate={})
    return ids


def p99(w, model):
    rows = w.sql("SELECT total_ms FROM requests WHERE tenant = %s AND winner = %s ORDER BY 1", w.tenant, model)
    return rows[len(rows) * 99 // 100][0]


def runs(w, model, outcome):
    return w.sql("SELECT request_id, call_id FROM inference_runs WHERE tenant = %s AND model = %s AND outcome = %s", w.tenant, model, outcome)


def books_agree(w):
    """Each call of the provider's ledger is a row; what was answered and kept has the provider's tokens; usage says the same."""
    calls = {c["call_id"]: c for c in w.calls()}
    rows = {r[0]: r[1:] for r in w.sql("SELECT call_id, outcome, input_tokens, output_tokens FROM inference_runs WHERE tenant = %s", w.tenant)}
    same(set(rows), set(calls), "call ids")
    tokens = [0, 0]
    for call_id, (outcome, tokens_in, tokens_out) in rows.items():
        call = calls[call_id]
        if outcome == "ok":
            same((call["delivered"], tokens_in, tokens_out), (True, call["input_tokens"], call["output_tokens"]), "the row of " + call_id)
        tokens[0] += tokens_in
        tokens[1] += tokens_out
    done = w.quern("usage", "--tenant", w.tenant, "-o", "json")
    same(done.returncode, 0, "exit code; %s" % done.stderr)
    total = json.loads(done.stdout)["total"]
    same((total["calls"], total["input_tokens"], total["output_tokens"]), (len(calls), *tokens), "calls and tokens in quern usage")
    same(round(float(total["cost_usd"]) * 1e6) if "cost_usd" in total else total["cost_microusd"], tokens[0] * PRICE_INPUT + tokens[1] * PRICE_OUTPUT, "cost")
    same(total["hedged"], sum(row[0] == "hedged" for row in rows.values()), "hedged calls in quern usage")
    return calls


@scenario(seconds=90)
def slow_calls_are_made_twice(w):
    ask_in_trouble(w, {"fake-slow-3000": 0.03}, ["plain", "hedged"])
    slow, quick = p99(w, "plain"), p99(w, "hedged")
    print("    p99 without hedges %d ms, with them %d ms" % (slow, quick))
    true(slow >= 3000 and quick < 1500, "p99 without hedges is %s ms, with them %s ms" % (slow, quick))
    calls = books_agree(w)
    lost = runs(w, "hedged", "hedged")
    same(len([c for c in calls.values() if c["model"] == "gpt-hedged"]), USUAL + MANY + len(lost), "calls of the hedged model")
    same(runs(w, "plain", "hedged"), [], "hedged calls of the other")
    true(5 <= len(lost) <= (USUAL + MANY) * 8 // 100, "%d calls were made twice" % len(lost))
    for _, call_id in lost:
        same(calls[call_id]["delivered"], False, "whether the provider delivered the answer to " + call_id)
    metrics = w.worker.metrics()
    same(metrics['quern_hedges_total{model="hedged"}'], len(lost), "the metric of hedges")
    won = metrics['quern_hedges_won_total{model="hedged"}']
    true(won >= len(lost) // 2, "%d of %d second calls won" % (won, len(lost)))
    story = w.quern("show", "--tenant", w.tenant, lost[0][0]).stdout
    true("beside the one before it, ok" in story and "hedged" in story and "another call for the same answer was faster" in story, "the story is\n" + story)


@scenario(seconds=90)
def a_stream_whose_first_token_never_comes_is_made_twice(w):
    ids = ask_in_trouble(w, {"fake-hang-first": 0.03}, ["streamed"])["streamed"]
    true(p99(w, "streamed") < 1500, "p99 is %s ms" % p99(w, "streamed"))
    lost = runs(w, "streamed", "hedged")
    true(lost, "nothing was made twice")
    books_agree(w)
    for i, id in enumerate(ids):
        if i % 40 == 0:
            same(w.reply(id)["text"], expected("streamed question %d" % i), "the answer to " + id)


@scenario(seconds=90)
def a_body_that_has_begun_is_waited_for(w):
    ask_in_trouble(w, {"fake-drip-20-50": 0.03}, ["dripping"])
    same(runs(w, "dripping", "hedged"), [], "hedged calls")
    true(p99(w, "dripping") > 500, "p99 is %s ms" % p99(w, "dripping"))
    books_agree(w)


@scenario(seconds=90)
def a_death_with_both_calls_under_way_is_told_twice(w):
    w.fake.control(latency=20)
    ask(w, "dying", USUAL)
    w.finals(USUAL)
    w.fake.control(trouble_rate={"fake-hang": 1})
    id = w.publish(w.request("to die with", models=["dying"]))
    wait_until(lambda: len(w.calls(id)) == 2, what="the second call")
    w.worker.kill()
    w.fake.control(trouble_rate={})
    w.start("worker")
    same(w.reply(id, seconds=60)["status"], "done", "the status")
    same(sorted(run["outcome"] for run in w.runs(id)), ["ambiguous", "ambiguous", "ok"], "outcomes")
    story = w.quern("show", "--tenant", w.tenant, id).stdout
    true("made a second call beside its first" in story, "the story is\n" + story)
