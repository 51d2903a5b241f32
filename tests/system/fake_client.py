"""The fake provider as tests see it: its process, its ledger, and what it must answer.

Digest, answer and token counts are computed here from their description in tests/fake/README.md, so
that an answer which comes back through the fleet can be judged without asking the fleet.
"""
import json
import re
import subprocess
import urllib.request

FNV_OFFSET = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3


def fnv(data):
    """FNV-1a, 64 bits."""
    value = FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


def digest(messages):
    """16 hex digits of [(role, content), ...]."""
    return "%016x" % fnv(b"".join(r.encode() + b"\0" + c.encode() + b"\0" for r, c in messages))


def vector(text, count=8):
    """The numbers a text becomes."""
    return [(fnv(text.encode() + b"\0" + b"%d" % k) >> 40) / 2**23 - 1 for k in range(count)]


def answer(messages):
    """The text a well-behaved model gives to these messages."""
    last = [content for role, content in messages if role == "user"][-1:] or [""]
    return 'digest=%s turns=%d last="%s"' % (digest(messages), len(messages), last[0][:40])


def tokens(text):
    return (len(text.encode()) + 3) // 4


def input_tokens(messages):
    return (sum(len(content.encode()) for _, content in messages) + 3) // 4


class Fake:
    def __init__(self, binary, log):
        self.log = open(log, "ab")
        self.process = subprocess.Popen([binary, "--port", "0"], stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        match = re.fullmatch(r"listening on ([0-9.]+:\d+)\n", line)
        if not match:
            raise RuntimeError("quern-fake does not start, it says %r" % line)
        self.url = "http://" + match.group(1)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(10)
        self.process.stdout.close()
        self.log.close()
        return code

    def _ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.read()

    def control(self, **settings):
        self._ask("/control", settings)

    def reset(self, latency=0):
        self.control(latency=latency, error_rate={}, trouble_rate={}, retry_after=None, seed=1)
        self._ask("/control/reset", {})

    def summary(self):
        return json.loads(self._ask("/ledger/summary"))

    def ledger(self, tenant=None, request=None, model=None):
        """Calls so far, oldest first; of one tenant or one of its requests. A call id is TENANT/ID/SLOT/ATTEMPT."""
        calls = [json.loads(line) for line in self._ask("/ledger").decode().splitlines()]
        if tenant is not None:
            prefix = tenant + "/" + (request + "/" if request is not None else "")
            calls = [c for c in calls if (c["call_id"] or "").startswith(prefix)]
        if model is not None:
            calls = [c for c in calls if c["model"] == model]
        return calls
