"""deploy/quickstart as its reader runs it, with the programs under test and a run folder of its own.

It brings its own stack, fake provider, workers and aggregator, so the lane's fleet has nothing to do. All runs are one
scenario: each start of a stack costs seconds.
"""
import os
import pathlib
import pty
import re
import subprocess
import tempfile

from harness import ROOT, same, scenario, true

FLEET = {"workers": 0, "aggregators": 0}
QUICKSTART = str(ROOT / "deploy/quickstart")
STACK = str(ROOT / "deploy/local/stack")
EXPECTED = ROOT / "deploy/sample/expected-failures.txt"
FLEET_PROGRAMS = ["quern-aggregator", "quern-fake", "quern-worker", "quern-worker"]


class Quickstart:
    """Runs of it in one run folder."""

    def __init__(self, w):
        self.folder = w.run_dir / "quickstart"
        self.folder.mkdir()
        self.env = w.environment(QUERN_BUILD=str(w.build), QUERN_RUN_DIR=str(self.folder))

    def run(self, *words, **env):
        """(exit code, standard output, what it showed on its terminal)."""
        master, slave = pty.openpty()
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen([QUICKSTART, *words], env={**self.env, **env}, stdin=subprocess.DEVNULL, stdout=out, stderr=slave)
            os.close(slave)
            shown = read_to_the_end(master)
            code = process.wait()
            out.seek(0)
            return code, out.read(), shown

    def stack(self, *words):
        return subprocess.run([STACK, *words], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def server_pids(self):
        return re.findall(r"^\w+ +(\d+) +\d+  yes$", self.stack("status").stdout, re.MULTILINE)

    def programs(self):
        """{pid: name} of the processes that work in the fleet's folder."""
        found = {}
        for cwd in pathlib.Path("/proc").glob("[0-9]*/cwd"):
            try:
                if os.readlink(cwd) == str(self.folder / "fleet"):
                    found[cwd.parent.name] = os.path.basename((cwd.parent / "cmdline").read_bytes().split(b"\0")[0]).decode()
            except OSError:
                pass  # it has ended
        return found

    def log_lines(self):
        return [line for log in (self.folder / "fleet").glob("*.log*") for line in log.read_text(errors="replace").splitlines()]

    def end(self):
        self.run("--stop")
        self.stack("reset")


def read_to_the_end(master):
    """Until nobody holds the terminal any more: a daemon that did would be waited for in vain."""
    shown = b""
    try:
        while chunk := os.read(master, 65536):
            shown += chunk
    except OSError:
        pass  # so Linux says that the other end is closed
    os.close(master)
    return shown.decode(errors="replace")


def runs(pid):
    """A process that has ended, and that init has not taken notice of yet, has no command line."""
    try:
        return pathlib.Path("/proc", pid, "cmdline").read_bytes() != b""
    except OSError:
        return False


def seconds_until_up(shown):
    return int(re.search(r"the fleet was up after (\d+) s", shown).group(1))


def look_at_the_first_run(code, out, shown):
    same(code, 0, "exit code (%s%s)" % (out[-1500:], shown[-1500:]))
    true(re.search(r"\[#+\.*\] \d+/230", shown), "there is no progress bar: " + shown[-600:])
    for row in (r"lines +230", r"answered +220", r"failed +10", r"  unknown_model +2", r"latency p50 +[\d.]+ m?s",
                r"latency p99 +[\d.]+ m?s", r"tokens in +[1-9]", r"tokens out +[1-9]", r"cost +\$0\.00[1-9]"):
        true(re.search("^%s" % row, out, re.MULTILINE), "the table has no line '%s': %s" % (row, out))
    true(out.count("digest=") >= 5, "there are no answers: " + out)
    true("5 refused before publishing, 225 accepted, 225 final results stored; 12 failed, 12 meant to fail" in out, out[-800:])


def look_at_a_run_with_another_list(code, shown):
    same(code, 1, "exit code with another list of failures (%s)" % shown[-1500:])
    true("one-001 should have failed with expired" in shown, "what it says: " + shown[-800:])
    true("broken-type failed with invalid_request, not with too_big" in shown, "what it says: " + shown[-800:])
    true("--stop' ends it" in shown, "it does not say how to end what runs: " + shown[-800:])


@scenario(seconds=150)
def the_quickstart_shows_the_fleet_at_work_and_ends_it(w):
    quickstart = Quickstart(w)
    try:
        look_at_the_first_run(*quickstart.run())
        first = quickstart.programs()
        same(sorted(first.values()), FLEET_PROGRAMS, "the fleet's programs")

        # A list that says otherwise, while the fleet runs: it is ended, and starts again within half a minute.
        other = quickstart.folder / "other-list"
        other.write_text(EXPECTED.read_text().replace("broken-type invalid_request", "broken-type too_big") + "one-001 expired\n")
        code, _, shown = quickstart.run(QUERN_EXPECTED=str(other))
        look_at_a_run_with_another_list(code, shown)
        second = quickstart.programs()
        same((sorted(second.values()), set(first) & set(second)), (FLEET_PROGRAMS, set()), "the fleet's programs, and those left of the first")

        # The real provider, played by the lane's fake one.
        code, out, shown = quickstart.run("--real", OPENAI_API_KEY="sk-somebody", OPENAI_BASE_URL=w.fake.url + "/v1", OPENAI_MODEL="gpt-4o")
        same(code, 0, "exit code of --real (%s%s)" % (out[-1500:], shown[-1500:]))
        true("5 accepted, 5 final results stored; 0 failed" in out, out)
        true(re.search(r"^cost +\$0\.00[0-9]*[1-9]", out, re.MULTILINE), "the list price of the model is not in the table: " + out)
        true(seconds_until_up(shown) < 30, "a further start takes 30 s or more: " + shown)
        same(len(w.fake.ledger()), 5, "calls at the provider that --real named")
        true("sk-somebody" not in "".join(quickstart.log_lines()), "the key stands in a log")

        servers, programs = quickstart.server_pids(), quickstart.programs()
        same((len(servers), len(programs)), (3, 3), "servers and programs before the end")
        code, _, shown = quickstart.run("--stop")
        same(code, 0, "exit code of --stop (%s)" % shown)
        same([pid for pid in [*servers, *programs] if runs(pid)], [], "processes left behind")
        same([line for line in quickstart.log_lines() if "Sanitizer" in line or "runtime error" in line], [], "reports in the logs")
        same(quickstart.stack("reset").returncode, 0, "exit code of stack reset")
    finally:
        quickstart.end()
