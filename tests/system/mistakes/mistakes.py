#!/usr/bin/env python3
"""Goal: every mistake in a configuration ends with 78 and says where it is and what was meant.

Method: a table (table.py) of broken files, flags and variables, and rows made from the settings' own table
(made.py); each is given to the real programs in a folder of its own, several at a time. Asserted are the exit
code, the place (FILE:LINE), every word the row names, and that no secret of the row is shown. Two long-lived
programs get their broken files at SIGHUP. Servers are not needed: a configuration is judged before any is asked.

A row's lines with #1 and #2 behind them are the places that must be named: #1 at the front, #2 somewhere.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import made
import reloads
import table

SECRET = "s3cr3t"  # stands for every password and key in the rows


def places(text):
    """What the marks of a file say: (at the front, anywhere)."""
    lines = enumerate(text.split("\n"), 1)
    found = [(n, mark) for n, line in lines for mark in re.findall(r"#([12])\b", line)]
    return ["quern.yaml:%d" % n for n, mark in found if mark == "1"], ["quern.yaml:%d" % n for n, mark in found if mark == "2"]


class Run:
    """One row given to one program."""

    def __init__(self, row, kind, programs):
        self.row, self.kind, self.programs = row, kind, programs

    def words(self):
        words = [str(self.programs[self.kind])]
        if self.row.command is not None:
            return words + list(self.row.command)
        words += ["config", "check"] if self.kind == "quern" else ["--check-config"]
        if self.row.file is not None:
            words += ["--config", "quern.yaml"]
        return words + list(self.row.flags)

    def go(self):
        with tempfile.TemporaryDirectory(prefix="quern-mistake-") as folder:
            for name, content in {**self.row.files, **({"quern.yaml": self.row.file} if self.row.file is not None else {})}.items():
                (pathlib.Path(folder) / name).write_bytes(content if isinstance(content, bytes) else content.encode())
            env = {"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0", **self.row.env}
            done = subprocess.run(self.words(), cwd=folder, env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
        return self.judge(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def judge(self, code, out, err):
        """The faults, as sentences."""
        front, anywhere = places(self.row.file) if isinstance(self.row.file, str) else ([], [])
        start = err.partition(": ")[2]
        faults = []
        if code != self.row.code:
            faults.append("exit code %d instead of %d" % (code, self.row.code))
        faults += ["%s is not at the front" % place for place in front if not start.startswith(place + ": ")]
        faults += ["%s is not named" % word for word in (*anywhere, *self.row.said) if word not in err]
        faults += ["it says %r" % word for word in (SECRET, *self.row.silent) if word in out + err]
        if len(err.splitlines()) > 1 and code == 78:
            faults.append("more than one line")
        return ["%s, %s: %s\n    it said %r" % (self.row.name, self.kind, fault, err) for fault in faults]


def kinds_of(row, number):
    """Each row is for one program that reads what it is about, by turns."""
    text = row.file if isinstance(row.file, str) else ""
    may = [kind for kind in ("worker", "aggregator") if re.search("^%s:" % kind, text, re.M)]
    return row.programs or (("quern", *(may or ("worker", "aggregator")))[number % (1 + len(may or "ab"))],)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("source", "quern", "worker", "aggregator"):
        parser.add_argument("--" + name, type=pathlib.Path, required=True)
    parser.add_argument("--row", help="only rows with this in their name")
    options = parser.parse_args()
    programs = {"quern": options.quern, "worker": options.worker, "aggregator": options.aggregator}
    rows = [*table.rows(), *made.rows(programs["quern"]), *made.variables(options.source)]
    names = [row.name for row in rows]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    rows = [row for row in rows if not options.row or options.row in row.name]
    runs = [Run(row, kind, programs) for number, row in enumerate(rows) for kind in kinds_of(row, number)]
    with concurrent.futures.ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        reloaded = pool.submit(reloads.faults, programs)
        faults = [fault for found in pool.map(Run.go, runs) for fault in found]
        faults += reloaded.result()
    print("\n".join(faults))
    print("%d rows, %d runs, %d reloads, %d faults" % (len(rows), len(runs), reloads.COUNT, len(faults)))
    return 1 if faults or len(rows) == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
