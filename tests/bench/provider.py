"""The fake provider itself: what it answers on one core with 15,000 connections open. wrk asks it, from the other core."""

import os
import re
import resource
import subprocess

CONNECTIONS, SECONDS = 15000, 8
SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = '{"model":"bench","messages":[{"role":"user","content":"question: what is it that grinds the corn, and who was it?"}]}'
"""


def files_for_all():
    resource.setrlimit(resource.RLIMIT_NOFILE, (CONNECTIONS + 1000, max(resource.getrlimit(resource.RLIMIT_NOFILE)[1], CONNECTIONS + 1000)))


def ask(bench):
    script = os.path.join(bench.run_dir, "ask.lua")
    with open(script, "w", encoding="utf-8") as file:
        file.write(SCRIPT)
    words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--timeout", "20s", "-s", script, bench.fake_url + "/v1/chat/completions"]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=SECONDS + 60, preexec_fn=files_for_all).stdout


def provider(bench):
    bench.provider("0")
    before = bench.fake.cpu()
    said = ask(bench)
    if re.search(r"Socket errors|Non-2xx", said):
        raise SystemExit("the fake provider refused or lost calls:\n" + said)
    answers = int(re.search(r"(\d+) requests in", said).group(1))
    rate = answers / (bench.fake.cpu() - before)
    bench.row(f"fake provider: answers/s of one core, {CONNECTIONS:,} connections", f"{rate:,.0f}/s", ">= 40,000/s")
