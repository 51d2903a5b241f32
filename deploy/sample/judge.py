#!/usr/bin/env python3
"""Holds a batch's output file against its input and the list of failures that were meant to happen.

judge.py INPUT OUTPUT EXPECTED fake|real: prints some answers; exits 1 with a sentence when a line has no answer or
two, or when something failed that should not have, or did not fail that should have.
"""

import json
import sys


def name(line):
    return line.get("custom_id") or line.get("id") or line.get("request_id", "")


def outcome(line, wanted):
    """(id, error code or None, text) of one output line in either form."""
    if "response" in line:
        if line.get("error"):  # a line that was refused before it was published has its number only
            return name(line) if line.get("custom_id") else wanted[line["line"] - 1], line["error"]["code"], ""
        return name(line), None, line["response"]["body"]["choices"][0]["message"]["content"]
    ident = line.get("request_id", "").split(":", 1)[-1]
    if line.get("status", "done") != "done":
        return ident, line["error"]["code"], ""
    return ident, None, line.get("text", "")


def main(input_path, output_path, expected_path, mode):
    wanted = [name(json.loads(line)) for line in open(input_path, encoding="utf-8")]
    results = [outcome(json.loads(line), wanted) for line in open(output_path, encoding="utf-8")]
    refused = sum(1 for line in open(output_path, encoding="utf-8") if json.loads(line).get("line"))
    failed = {ident: code for ident, code, _ in results if code}
    expected = {}
    if mode == "fake":
        expected = dict(line.split() for line in open(expected_path, encoding="utf-8") if line.strip())

    problems = []
    counts = {}
    for ident, _, _ in results:
        counts[ident] = counts.get(ident, 0) + 1
    problems += [f"{ident} has no final result" for ident in wanted if ident not in counts]
    problems += [f"{ident} has {n} final results" for ident, n in counts.items() if n > 1]
    problems += [f"{ident} failed with {code}" for ident, code in failed.items() if expected.get(ident) != code]
    problems += [f"{ident} should have failed with {code}" for ident, code in expected.items() if ident not in failed]

    print("\nsome of the answers:")
    for ident, code, text in sorted(results)[:: max(1, len(results) // 8)][:8]:
        print(f"  {ident:<28} {'failed: ' + code if code else text[:80]}")
    print(f"\n{len(wanted)} lines: {refused} refused before publishing, {len(wanted) - refused} accepted, "
          f"{len(counts) - refused} final; {len(failed)} failed, {len(expected)} meant to fail")
    for problem in problems[:20]:
        print("  " + problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
