"""The ledger: every call is a row whatever became of it, sums are the same however they are grouped, and a request's story is told."""
import csv
import io
import json

from harness import same, scenario, true, wait_until

FLEET = {
    "models": {
        "cached-openai": {"model": "cached-60", "stream": "off", "price_cached_input": 1},
        "cached-claude": {"provider": "anthropic", "model": "cached-60", "max_tokens": 500, "price_cached_input": 1, "price_cache_write": 9},
        "flaky": {"model": "fake-flaky-2", "stream": "off"},
        "cut": {"model": "fake-cut", "stream": "off", "attempts_max": 2},
        "slow": {"model": "fake-slow-9000", "stream": "off"},
        "unpriced": {"model": "gpt-x", "price_input": "", "price_output": ""},
    },
    "settings": {"worker.max_in_flight": 50, "worker.retry_base": "300ms", "worker.retry_cap": "400ms"},
}


def usage(w, *words):
    done = w.quern("usage", "--tenant", w.tenant, "-o", "json", *words)
    same(done.returncode, 0, "exit code; %s" % done.stderr)
    return json.loads(done.stdout), done.stderr


def ask_around(w):
    for i in range(4):
        for model in ("cached-openai", "cached-claude", "flaky", "unpriced"):
            w.post(w.request("question %d" % i, models=[model], user="u%d" % (i % 2)))
    w.post(w.request("cut off", models=["cut"]))
    w.post(w.request("too slow", models=["slow"], deadline_ms=3000))
    w.flush()
    w.finals(18)


@scenario
def usage_adds_up_however_it_is_grouped(w):
    ask_around(w)
    whole, said = usage(w)
    total = whole["total"]
    outcomes = {name: total[name] for name in ("ok", "failed", "cancelled", "cut", "late", "hedged", "ambiguous")}
    same(outcomes, {"ok": 16, "failed": 8, "cancelled": 1, "cut": 2, "late": 0, "hedged": 0, "ambiguous": 0}, "outcomes")
    same((total["requests"], total["calls"], total["unpriced"]), (18, 27, 4), "requests, calls, unpriced calls")
    true("no price" in said and "3 call(s)" in said, "stderr is %r" % said)
    for by in ("tenant", "user", "model", "provider", "day", "user,model", "day,tenant,user,model,provider"):
        grouped, _ = usage(w, "--by", by)
        same(grouped["total"], total, "the total by " + by)
        for name in total:
            same(sum(row[name] for row in grouped["rows"]), total[name], "%s by %s" % (name, by))
    by_model = {row["model"]: row for row in usage(w, "--by", "model")[0]["rows"]}
    for model in ("cached-openai", "cached-claude"):
        calls = [c for c in w.calls() if c["model"] == "cached-60" and c["path"].endswith("messages") == (model == "cached-claude")]
        same(by_model[model]["input_tokens"], sum(c["input_tokens"] for c in calls), model + ": input")
        same(by_model[model]["cached_input_tokens"], sum(c["input_tokens"] * 60 // 100 for c in calls), model + ": cached input")
    true(by_model["cached-claude"]["cache_write_tokens"] > 0 and by_model["cached-openai"]["cache_write_tokens"] == 0, "tokens written to the cache")


@scenario
def usage_prints_tables_and_csv_and_refuses_nonsense(w):
    ask_around(w)
    table = w.quern("usage", "--tenant", w.tenant, "--by", "model").stdout
    true("cached-claude" in table and "total" in table and "hedged" not in table, "the table is\n" + table)
    text = w.quern("usage", "--tenant", w.tenant, "--by", "user,model", "-o", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    same(sum(int(row["calls"]) for row in rows), 27, "calls")
    true(all(len(row["cost_usd"].split(".")[1]) == 6 for row in rows), "costs are %s" % [row["cost_usd"] for row in rows])
    same(w.quern("usage", "--tenant", w.tenant, "--since", "2020-01-01", "--until", "2020-12-31", "-o", "csv").stdout.count("\n"), 1, "lines of an empty time")
    for words in (("--by", "colour"), ("--since", "yesterday"), ("--until", "2026-02-30"), ("--by", "")):
        done = w.quern("usage", *words)
        same(done.returncode, 2, "exit code of %s" % (words,))
        true(words[0] in done.stderr, "stderr is %r" % done.stderr)
    same(w.quern("show", "-o", "csv", "x").returncode, 2, "exit code of show -o csv")


@scenario
def show_tells_each_call_and_what_it_cost(w):
    id = w.ask("tell me", models=["flaky"])["request_id"]
    told = json.loads(w.must_quern("show", "--tenant", w.tenant, "-o", "json", id).stdout)
    same([e["what"] for e in told["story"]], ["published", "taken up", "call 1 to flaky", "call 2 to flaky", "call 3 to flaky", "final"], "the story")
    true("failed" in told["story"][2]["told"] and "HTTP 500" in told["story"][2]["told"] and "provider_down" in told["story"][2]["told"], told["story"][2])
    true("waited" in told["story"][3]["told"] + told["story"][4]["told"] and "USD" in told["story"][4]["told"] and "tokens in" in told["story"][4]["told"], told["story"])
    page = w.must_quern("show", "--tenant", w.tenant, id).stdout
    true("call 3 to flaky" in page and "USD" in page, page)


@scenario
def a_killed_workers_call_is_ambiguous(w):
    w.fake.control(latency=1500)
    id = w.publish(w.request("who dies", models=["cached-openai"]))
    wait_until(lambda: w.calls(id), what="the first call")
    w.worker.kill()
    w.ensure_fleet()
    w.final(id, 40)
    runs = w.runs(id)
    same(sorted(run["outcome"] for run in runs), ["ambiguous", "ok"], "outcomes")
    same(len(w.calls(id)), 2, "calls of the provider")
    lost = next(run for run in runs if run["outcome"] == "ambiguous")
    same((lost["model"], lost["input_tokens"], lost["cost_microusd"]), ("cached-openai", 0, None), "the row of the dead one's call")
