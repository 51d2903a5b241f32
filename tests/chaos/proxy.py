"""quern-chaos-proxy as tests see it: its process, its ports, and one call per command.

It uses nothing but Python's own library, as plain ctest runs it, too.
"""
import socket
import subprocess


class Proxy:
    def __init__(self, binary, targets, log=None, folder=None):
        """targets: {link: "IPv4:PORT"}; it works in `folder`, by which it is found when it was left behind."""
        words = [binary] + ["%s=%s" % pair for pair in targets.items()]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder)
        self.ports = {}
        for line in self.process.stdout:
            if line == "ready\n":
                break
            name, port = line.split()
            self.ports[name] = int(port)
        else:
            raise RuntimeError("quern-chaos-proxy does not start, code %s" % self.process.wait(5))
        self.links = [name for name in self.ports if name != "control"]
        self.control = socket.create_connection(("127.0.0.1", self.ports["control"]), 5)

    def ask(self, line):
        """The lines of the answer, without its last."""
        self.control.sendall(line.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n") or not answer.split(b"\n")[-2].startswith((b"ok", b"error: ")):
            piece = self.control.recv(65536)
            if not piece:
                raise RuntimeError("quern-chaos-proxy has hung up")
            answer += piece
        *lines, last = answer.decode().splitlines()
        if last != "ok":
            raise ValueError("'%s': %s" % (line, last))
        return lines

    def do(self, link, *words):
        self.ask(" ".join([link, *map(str, words)]))

    def clear(self):
        for link in self.links:
            self.do(link, "clear")

    def counts(self):
        """{link: {connections, accepted, resets, up, down}}"""
        found = {}
        for line in self.ask("list"):
            name, *words = line.split()
            found[name] = {k: int(v) for k, v in zip(words[4::2], words[5::2])}
        return found

    def stop(self):
        self.control.close()
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(10)
        self.process.stdout.close()
        return code
