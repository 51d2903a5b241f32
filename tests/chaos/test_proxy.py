"""test_proxy.py PROGRAM -- tries quern-chaos-proxy over real sockets against an echo server of its own."""
import socket
import sys
import threading
import time

from proxy import Proxy


def echo(listener):
    def serve(peer):
        with peer:
            try:
                while (data := peer.recv(65536)) and data != b"bye":
                    peer.sendall(data)
            except OSError:
                pass

    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(peer,), daemon=True).start()


class Case:
    def __init__(self, proxy):
        self.proxy = proxy

    def connect(self, seconds=2):
        return socket.create_connection(("127.0.0.1", self.proxy.ports["echo"]), seconds)

    def do(self, *words):
        self.proxy.do("echo", *words)


def outcome(action):
    """What an action on a socket gave: its value, or the name of the error."""
    try:
        return action()
    except OSError as error:
        return type(error).__name__


def exchange(s, data=b"hello"):
    def action():
        s.sendall(data)
        got = b""
        while len(got) < len(data) and (piece := s.recv(65536)):
            got += piece
        return got

    return outcome(action)


def everything_passes_both_ways(c):
    data = bytes(range(256)) * 8000
    with c.connect() as s:
        sender = threading.Thread(target=s.sendall, args=(data,))
        sender.start()
        got = b""
        while len(got) < len(data) and (piece := s.recv(65536)):
            got += piece
        sender.join()
        assert got == data
        s.shutdown(socket.SHUT_WR)
        assert s.recv(10) == b"", "the end is passed on"


def down_refuses_the_new_and_resets_the_old_and_the_port_stays(c):
    with c.connect() as s:
        assert exchange(s) == b"hello"
        c.do("down")
        assert outcome(lambda: s.recv(10)) == "ConnectionResetError"
    for _ in range(3):
        assert outcome(c.connect) == "ConnectionRefusedError"
    c.do("up")
    with c.connect() as s:
        assert exchange(s) == b"hello"


def a_link_comes_up_again_though_the_target_had_hung_up_on_clients(c):
    for _ in range(3):
        with c.connect() as s:
            s.sendall(b"bye")
            assert s.recv(10) == b"", "the end is passed on"
    c.do("down")
    c.do("up")
    with c.connect() as s:
        assert exchange(s) == b"hello"


def a_black_hole_accepts_and_passes_nothing_until_it_ends(c):
    with c.connect() as old:
        assert exchange(old) == b"hello"
        c.do("blackhole")
        with c.connect(0.3) as new:
            old.settimeout(0.3)
            for s in (old, new):
                assert exchange(s, b"later") == "TimeoutError"
            c.do("clear")
            for s in (old, new):
                s.settimeout(2)
                assert s.recv(10) == b"later"


def a_direction_may_be_held_alone(c):
    for way in ("up", "down"):
        before = c.proxy.counts()["echo"]
        with c.connect() as s:
            s.settimeout(0.3)
            c.do("hold", way)
            assert exchange(s, b"held!") == "TimeoutError"
            after = c.proxy.counts()["echo"]
            assert after["up"] - before["up"] == (0 if way == "up" else 5), (way, before, after)
            assert after["down"] == before["down"]
            c.do("clear")
            s.settimeout(2)
            assert s.recv(10) == b"held!"


def latency_delays_each_way(c):
    with c.connect() as s:
        c.do("latency", 100)
        began = time.monotonic()
        assert exchange(s) == b"hello"
        assert 0.19 < time.monotonic() - began < 1


def a_rate_drips(c):
    with c.connect() as s:
        c.do("rate", 1, 50)
        began = time.monotonic()
        assert exchange(s) == b"hello"
        assert time.monotonic() - began > 0.19


def a_connection_is_cut_after_so_many_bytes(c):
    c.do("cut", 7)
    for _ in range(2):
        with c.connect() as s:
            assert exchange(s) == b"hello"
            s.sendall(b"world")
            assert s.recv(2, socket.MSG_WAITALL) == b"wo"
            assert outcome(lambda: s.recv(10)) == "ConnectionResetError"


def bad_luck_resets_and_reset_resets(c):
    c.do("chance", 1000000)
    with c.connect() as s:
        assert exchange(s) == "ConnectionResetError"
    c.do("clear")
    with c.connect() as s:
        assert exchange(s) == b"hello"
        c.do("reset")
        assert outcome(lambda: s.recv(10)) == "ConnectionResetError"


def a_target_that_refuses_is_passed_on_and_may_be_changed(c):
    target = c.target
    c.do("target", "127.0.0.1:1")
    assert outcome(lambda: c.connect().recv(10)) == "ConnectionResetError"
    c.do("target", target)
    with c.connect() as s:
        assert exchange(s) == b"hello"


def nonsense_is_refused(c):
    for line in ("echo fly", "nobody down", "echo latency x", "echo target nowhere", ""):
        try:
            c.proxy.ask(line)
        except ValueError as error:
            assert "error: " in str(error)
        else:
            raise AssertionError("%r was taken" % line)


def main():
    passed = failed = 0
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        target = "127.0.0.1:%d" % listener.getsockname()[1]
        proxy = Proxy(sys.argv[1], {"echo": target})
        case = Case(proxy)
        case.target = target
        for name, test in list(globals().items()):
            if getattr(test, "__code__", None) is None or test.__code__.co_varnames[:1] != ("c",):
                continue
            try:
                test(case)
                passed += 1
                print("ok      " + name.replace("_", " "))
            except Exception as error:
                failed += 1
                print("FAILED  %s: %r" % (name.replace("_", " "), error))
            proxy.clear()
        if proxy.stop() != 0:
            failed += 1
            print("FAILED  SIGTERM ends it with 0")
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
