"""What an answer in pieces costs: CPU per chunk beside the same answers read whole."""
import json
import urllib.request

MODEL = "fake-big-16"  # 16 KiB of text


def chunks(bench):
    """Events of one answer, as the provider sends them."""
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    ask = urllib.request.Request(bench.fake_url + "/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json", "authorization": "Bearer k"})
    with urllib.request.urlopen(ask, timeout=30) as reply:
        return sum(line.startswith(b"data:") for line in reply)


def streams(bench, rounds):
    count = 5000
    rows = {"whole": "m16", "pieces": "s16"}
    per_chunk, small = [], []
    n = chunks(bench)
    for _ in range(rounds):
        cpu = {name: bench.run_worker(count, 256, "0", [f"default_model={model}"])["cpu_us"] for name, model in rows.items()}
        per_chunk.append((cpu["pieces"] - cpu["whole"]) / n)
        whole = bench.run_worker(20000, 256, "0")["cpu_us"]
        pieces = bench.run_worker(20000, 256, "0", ["default_model=s"])["cpu_us"]
        small.append((pieces / whole, whole, pieces))
    per_chunk.sort(), small.sort()
    bench.row(f"streamed: CPU per chunk, beyond the same answers whole ({n} chunks of {16384 // n} bytes)", f"{per_chunk[len(per_chunk) // 2]:.2f} us", "<= 2 us")
    ratio, whole, pieces = small[len(small) // 2]
    bench.row("streamed: CPU per request of a short answer, against whole", f"{pieces:.0f} us / {whole:.0f} us = {ratio:.2f}", "")
