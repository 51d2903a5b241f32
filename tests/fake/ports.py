"""Ports for servers that a test starts.

They lie below those that the kernel gives to outgoing connections, so that between the choice and the
server's bind no connection of another test can take one; above those of deploy/local/stack, so that a
server which is down for a while finds its own again; and none is given twice by one process.
"""
import random
import socket

_FIRST, _LAST = 27000, 32767
_given = set()


def free_port():
    for port in random.sample(range(_FIRST, _LAST), 1000):
        if port in _given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port between %d and %d" % (_FIRST, _LAST))
