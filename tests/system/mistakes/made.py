"""Rows made from the settings' own table, as `quern config reference` prints it: each setting misspelled, of a wrong
type, out of its range, without a unit; and one row with every variable that a script or test of the repository reads."""

import re
import subprocess

from row import Row

WRONG = {
    "number": ("ten", "number"),
    "boolean": ("perhaps", "true or false"),
    "choice": ("zzz", "must be one of"),
    "duration": ("soon", "a duration like"),
    "size": ("large", "a size like"),
    "text": ("{a: b}", "must be one value"),
    "secret": ("{a: s3cr3t}", "must be one value"),
    "list": ("{a: b}", "must be one value or a list"),
    "list of secrets": ("{a: s3cr3t}", "must be one value or a list"),
    "map": ("plain", "must be a map"),
    "map of maps": ("plain", "must be a map or a list of maps"),
}


def settings(quern):
    page = subprocess.run([quern, "config", "reference"], capture_output=True, text=True, check=True, timeout=30).stdout
    for line in page.splitlines():
        found = re.match(r"\| `([^`]+)` \| ([a-z ]+)(: [^|]*)?(?:, (-?\d+) to (-?\d+)( ms| bytes)?)? \|", line)
        if found:
            key, kind, _, low, high, _ = found.groups()
            yield key, kind.strip(), low and int(low), high and int(high)


def place(key, value):
    """A file in which `value` stands at `key`, marked."""
    parts = key.replace("NAME", "a").split(".")
    lines = ["  " * depth + part + ":" for depth, part in enumerate(parts)]
    lines[-1] += " %s #1" % value
    return "# a comment\n" + "\n".join(lines) + "\n"


def misspelled(key):
    """Without a letter in the middle of its last word."""
    head, dot, last = key.rpartition(".")
    middle = len(last) // 2
    return head + dot + last[:middle] + last[middle + 1 :]


def rows(quern):
    found = list(settings(quern))
    assert len(found) > 90, "the reference page has only %d settings" % len(found)
    turns = {}
    for number, (key, kind, low, high) in enumerate(found):
        only = ("quern",)
        shown = key.replace("NAME", "a")
        wrong = misspelled(key)
        yield Row(key + " misspelled", place(wrong, "1"), ("unknown key '%s', did you mean '%s'?" % (wrong.replace("NAME", "a"), shown),), programs=only)
        turns[kind] = turns.get(kind, 0) + 1
        if turns[kind] <= 4 and not key.endswith("NAME.name"):  # a name that is none is another mistake
            value, said = WRONG[kind]
            yield Row(key + " of a wrong type", place(key, value), (shown, said), programs=only)
        unit = {"duration": "ms", "size": "B"}.get(kind, "")
        if high is not None:
            value = high + 1 if number % 2 or low == 0 and kind in ("duration", "size") else low - 1
            yield Row(key + " out of range", place(key, "%d%s" % (value, unit)), ("'%s' must be between" % shown,), programs=only)
        if kind == "duration":
            yield Row(key + " without a unit", place(key, "5"), ("'%s' needs a unit: write 5s or 5ms" % shown,), programs=only)
        if kind == "size":
            yield Row(key + " with half a unit", place(key, "64M"), ("'%s' needs a unit: write 64MiB or 64MB" % shown,), programs=only)


def variables(source):
    """No false alarm: whatever our own scripts and tests read from the environment may be there."""
    listed = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "--", "deploy", "tests", ".ci", "docs/examples"], cwd=source, capture_output=True, text=True, timeout=30)
    names = listed.stdout.split() or [str(p.relative_to(source)) for room in ("deploy", "tests") for p in (source / room).rglob("*") if p.is_file()]
    reads = re.compile(r"""(?:getenv\("|environ(?:\.get)?[\[(]["']|\$\{?|export )(QUERN_[A-Z][A-Z_]*)""")
    seen = set()
    for name in names:
        if not name.startswith("tests/unit/") and not name.startswith("tests/system/mistakes"):
            seen.update(reads.findall((source / name).read_text(errors="replace")))
    seen = {name for name in seen if "__" not in name}
    assert {"QUERN_RUN_DIR", "QUERN_STACK", "QUERN_BUILD"} <= seen, seen
    env = {name: "x" for name in seen - {"QUERN_CONFIG", "QUERN_CRASH_AT"}}
    yield Row("what scripts put into the environment is no mistake", env=env, file="", code=0, programs=("quern", "worker", "aggregator"))
