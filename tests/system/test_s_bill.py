"""`quern usage --reconcile`: the ledger beside a bill, which is written here from the provider's own books."""
import collections
import csv
import json
import time

from harness import PRICE_INPUT, PRICE_OUTPUT, same, scenario, true

CACHED, WRITTEN = 1, 9
FLEET = {
    "models": {
        "cached-openai": {"model": "cached-60", "stream": "off", "price_cached_input": CACHED},
        "cached-claude": {"provider": "anthropic", "model": "cached-61", "max_tokens": 500, "price_cached_input": CACHED, "price_cache_write": WRITTEN},
        "small": {"model": "gpt-4o-mini", "stream": "off"},
        "small-too": {"model": "gpt-4o-mini-2024-07-18", "stream": "on"},
        "flaky": {"model": "fake-flaky-1", "stream": "off"},
        "cut": {"model": "fake-cut", "stream": "off", "attempts_max": 2},
    }
}
GOOD = ("cached-openai", "cached-claude", "small", "small-too", "flaky")


def ask_around(w, models=GOOD, count=5):
    for i in range(count):
        for model in models:
            w.post(w.request("question %d" % i, models=[model], user="u%d" % (i % 2)))
    w.flush()
    w.finals(count * len(models))


def price(call):
    """(cached, written, microdollars) of a call, by the provider's rules and the prices of the configuration."""
    share = int(call["model"].removeprefix("cached-")) if call["model"].startswith("cached-") else 0
    cached = call["input_tokens"] * share // 100
    written = (call["input_tokens"] - cached) // 2 if share and call["path"].endswith("/messages") else 0
    plain = call["input_tokens"] - cached - written
    return cached, written, plain * PRICE_INPUT + cached * CACHED + written * WRITTEN + call["output_tokens"] * PRICE_OUTPUT


def bill_of(w):
    """What the provider charges: (day, model) -> tokens and money of all it began to answer."""
    bill = collections.defaultdict(lambda: collections.Counter())
    for call in w.calls():
        if call["status"] == 200:
            cached, written, micro = price(call)
            day = time.strftime("%Y-%m-%d", time.gmtime(call["wall_ms"] / 1000))
            bill[day, call["model"]].update(input=call["input_tokens"], output=call["output_tokens"], cached=cached, written=written, micro=micro)
    return bill


def write_csv(w, bill):
    path = w.run_dir / "bill.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["day", "model", "input_tokens", "output_tokens", "cost"])
        for (day, model), n in bill.items():
            out.writerow([day, model, n["input"], n["output"], "%.6f" % (n["micro"] / 1e6)])
    return path


def reconcile(w, path, code, *words):
    done = w.quern("usage", "--tenant", w.tenant, "-o", "json", "--reconcile", path, *words)
    same(done.returncode, code, "exit code; %s%s" % (done.stdout, done.stderr))
    return json.loads(done.stdout), done.stderr


@scenario
def the_providers_books_and_ours_are_equal_to_the_token(w):
    ask_around(w)
    bill = bill_of(w)
    told, said = reconcile(w, write_csv(w, bill), 0)
    same({row["equal"] for row in told["rows"]}, {True}, "rows that are equal")
    models = {row["model"]: row for row in told["rows"]}
    same(set(models), {"cached-60", "cached-61", "gpt-4o-mini", "fake-flaky-1"}, "models; two of ours are one of the provider's")
    same(models["gpt-4o-mini"]["calls"], 10, "calls")
    same(models["fake-flaky-1"]["calls"], 10, "calls with the failed ones")
    total = told["total"]
    for name, key in (("input_tokens", "input"), ("output_tokens", "output"), ("cost_microusd", "micro")):
        theirs = sum(n[key] for n in bill.values())
        same((total[name]["ours"], total[name]["bill"], total[name]["difference"]), (theirs, theirs, 0), name)
    same(said, "", "nothing is to be said")
    table = w.quern("usage", "--tenant", w.tenant, "--reconcile", w.run_dir / "bill.csv").stdout
    true("input_diff" in table and "gpt-4o-mini" in table and "total" in table and "differs" not in table, table)


@scenario
def a_bill_that_says_more_is_told_by_day_and_model(w):
    ask_around(w)
    bill = bill_of(w)
    day = next(iter(bill))[0]
    bill[day, "gpt-4o-mini"]["input"] += 100
    bill[day, "gpt-4o-mini"]["micro"] += 100 * PRICE_INPUT
    bill[day, "somebody-elses"].update(input=7, output=8, micro=9)
    told, said = reconcile(w, write_csv(w, bill), 1)
    wrong = {row["model"]: row for row in told["rows"] if not row["equal"]}
    same(set(wrong), {"gpt-4o-mini", "somebody-elses"}, "rows that differ")
    same((wrong["gpt-4o-mini"]["input_tokens"]["difference"], wrong["gpt-4o-mini"]["output_tokens"]["difference"]), (100, 0), "tokens more")
    same(wrong["gpt-4o-mini"]["cost_microusd"]["difference"], 100 * PRICE_INPUT, "money more")
    same(wrong["somebody-elses"]["input_tokens"], {"ours": 0, "bill": 7, "difference": 7}, "a model that we never asked")
    true("2 of 4 rows differ" in said or "2 of" in said, said)
    table = w.quern("usage", "--tenant", w.tenant, "--reconcile", w.run_dir / "bill.csv")
    same((table.returncode, table.stdout.count("differs")), (1, 3), "rows and total of the table")
    reconcile(w, w.run_dir / "bill.csv", 1, "--tolerance", "90")  # of what we never asked all is too much
    reconcile(w, w.run_dir / "bill.csv", 0, "--tolerance", "90", "--model", "small")
    del bill[day, "somebody-elses"], bill[day, "cached-60"]
    told, _ = reconcile(w, write_csv(w, bill), 1)
    same({row["model"] for row in told["rows"] if not row["equal"]}, {"gpt-4o-mini", "cached-60"}, "what the bill does not know differs, too")


@scenario
def calls_that_were_cut_are_named_beside_the_difference(w):
    ask_around(w, ("small", "cut"), 3)
    told, said = reconcile(w, write_csv(w, bill_of(w)), 1)
    cut = next(row for row in told["rows"] if row["model"] == "fake-cut")
    same((cut["calls"], cut["unsure"], cut["input_tokens"]["ours"]), (6, 6, 0), "calls, those of unsure fate, tokens")
    true(cut["input_tokens"]["bill"] > 0, "the provider charges nothing")
    true("6 call(s) were cancelled, cut" in said, said)


def usage_page(bill):
    """As OpenAI's usage API answers."""
    days = collections.defaultdict(list)
    for (day, model), n in bill.items():
        days[day].append({"object": "organization.usage.completions.result", "model": model, "num_model_requests": 1,
                          "input_tokens": n["input"], "input_cached_tokens": n["cached"], "output_tokens": n["output"]})
    start = {day: int(time.mktime(time.strptime(day + " UTC", "%Y-%m-%d %Z"))) - time.timezone for day in days}
    data = [{"object": "bucket", "start_time": start[day], "end_time": start[day] + 86400, "results": rows} for day, rows in days.items()]
    return {"object": "page", "data": data, "has_more": False, "next_page": None}


def claude_csv(bill):
    """As Anthropic's console exports usage: what was read from the cache and written to it stands apart."""
    lines = ["usage_date_utc,model_version,api_key,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
             "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens"]
    for (day, model), n in bill.items():
        lines.append("%s,%s,key,%d,%d,0,%d,%d" % (day, model, n["input"] - n["cached"] - n["written"], n["written"], n["cached"], n["output"]))
    return "\n".join(lines) + "\n"


@scenario
def each_vendors_own_form_is_compared_with_its_calls_only(w):
    ask_around(w)
    bill = bill_of(w)
    claude = {place: n for place, n in bill.items() if place[1] == "cached-61"}
    others = {place: n for place, n in bill.items() if place[1] != "cached-61"}
    page, table = w.run_dir / "usage.json", w.run_dir / "usage.csv"
    page.write_text(json.dumps(usage_page(others), indent=1))
    table.write_text(claude_csv(claude))
    told, said = reconcile(w, page, 0)
    same({row["model"] for row in told["rows"]}, {"cached-60", "gpt-4o-mini", "fake-flaky-1"}, "models of OpenAI's")
    true("cost_microusd" not in told["total"] and "no costs" in said, said)
    told, _ = reconcile(w, table, 0)
    same([row["model"] for row in told["rows"]], ["cached-61"], "models of Anthropic's")


@scenario
def a_file_that_is_no_bill_is_refused_with_its_line(w):
    path = w.run_dir / "broken.csv"
    for text, words in (
        ("what is this?\n", "line 1: no column is the day"),
        ("day,model,cost\n2026-11-01,m,1\n2026-11-31,m,1\n", "line 3: the day is '2026-11-31'"),
        ("day,model,input_tokens\n2026-11-01,m,1.5\n", "line 2: input_tokens is '1.5', must be a whole number"),
        ('{"data": [], "has_more": true}', "put the next pages behind it"),
        ("day,model,cost\n", "nothing was used"),
    ):
        path.write_text(text)
        done = w.quern("usage", "--reconcile", path)
        same((done.returncode, done.stdout), (2, ""), "exit code and output for %r" % text)
        true(words in done.stderr, "stderr is %r" % done.stderr)
    for words in (("--reconcile", w.run_dir / "not-there"), ("--tolerance", "1"), ("--reconcile", path, "--by", "day"), ("--reconcile", path, "--tolerance", "101")):
        same(w.quern("usage", *words).returncode, 2, "exit code of %s" % (words,))
