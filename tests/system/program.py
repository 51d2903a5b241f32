"""One process under test: started with its own log file, asked over its operation port, ended.

`expected_end` is set by whoever ends it on purpose; a program that ends otherwise, or whose log has
a line that is no JSON (a sanitizer's report, an assertion), is reported by `complaints()`.
"""
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request


def http_get(url, timeout=5):
    """(status, body); (0, reason) when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def wait_until(condition, seconds=20, what="the condition", pause=0.02):
    """Waits until condition() is true and returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %s s in vain for %s" % (seconds, what() if callable(what) else what))
        time.sleep(pause)


class Program:
    def __init__(self, name, argv, log, env, port):
        self.name, self.log, self.port = name, log, port
        self.expected_end = False
        self.ended_badly = None
        self.output = open(log, "wb")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, env=env)

    @property
    def pid(self):
        return self.process.pid

    def url(self, path):
        return "http://127.0.0.1:%d%s" % (self.port, path)

    def alive(self):
        return self.process.poll() is None

    def ready(self):
        return http_get(self.url("/readyz"), 2)[0] == 200

    def why_unready(self):
        status, body = http_get(self.url("/readyz?verbose"), 2)
        return "%s to be ready; /readyz: %s %s; exit code %s" % (self.name, status, body.strip(), self.process.poll())

    def wait_ready(self, seconds=30):
        wait_until(lambda: self.ready() or not self.alive(), seconds, self.why_unready)
        if not self.alive():
            raise AssertionError("%s ended with code %s instead of becoming ready" % (self.name, self.process.poll()))

    def metrics(self):
        """{name{labels}: value}"""
        status, body = http_get(self.url("/metrics"))
        if status != 200:
            raise AssertionError("%s: /metrics says %s %s" % (self.name, status, body))
        pairs = (line.rsplit(" ", 1) for line in body.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def signal(self, number):
        os.kill(self.pid, number)

    def wait_end(self, seconds=40):
        self.expected_end = True
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError("%s has not ended within %s s" % (self.name, seconds)) from None

    def term(self, seconds=40):
        """SIGTERM; the program drains and must end with 0."""
        self.expected_end = True
        self.signal(signal.SIGTERM)
        code = self.wait_end(seconds)
        if code != 0:
            self.ended_badly = code
            raise AssertionError("%s ended with code %s after SIGTERM" % (self.name, code))

    def kill(self):
        """kill -9"""
        self.expected_end = True
        if self.alive():
            self.signal(signal.SIGKILL)
        self.process.wait(10)

    def lines(self):
        """Every log line as a dict; a line that is no JSON object as {"broken": line}."""
        result = []
        with open(self.log, encoding="utf-8", errors="backslashreplace") as file:
            for line in file:
                try:
                    parsed = json.loads(line)
                except ValueError:
                    parsed = None
                result.append(parsed if isinstance(parsed, dict) else {"broken": line.rstrip("\n")})
        return result

    def said(self, words, **fields):
        """Log lines whose message contains the words and whose fields are these."""
        return [
            line
            for line in self.lines()
            if words in str(line.get("msg", line.get("message", "")))
            and all(str(line.get(k)) == str(v) for k, v in fields.items())
        ]

    def complaints(self):
        found = []
        if not self.expected_end and not self.alive():
            found.append("%s ended by itself with code %s" % (self.name, self.process.poll()))
        # kill -9 may cut a line, and a mistake in the configuration (78) is told before the format is known.
        if self.process.poll() not in (-signal.SIGKILL, 78):
            broken = [line["broken"] for line in self.lines() if "broken" in line]
            if broken:
                found.append("%s: %d log lines are no JSON, the first: %s" % (self.name, len(broken), broken[0][:300]))
        return found

    def close(self):
        self.output.close()

    def tail(self, count=25):
        with open(self.log, "rb") as file:
            return file.read().decode("utf-8", "backslashreplace").splitlines()[-count:]
