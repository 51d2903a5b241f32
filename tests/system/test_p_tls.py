"""Providers behind TLS: whom we trust, HTTP/1.1 and HTTP/2, and connections that belong to one key."""
import json

from harness import same, scenario, true
from tls_front import TlsFront

FLEET = {"workers": 1, "aggregators": 1}


def with_front(function):
    """Runs a scenario with nginx before the fake provider."""

    def run(w):
        front = TlsFront(w.run_dir / "tls", w.fake.url, keepalive_requests=200)
        try:
            function(w, front)
        finally:
            front.stop()
            w.rewrite_config()

    run.__name__, run.__module__ = function.__name__, function.__module__
    return run


def use(w, **models):
    w.rewrite_config(models=w.models() + [w.model(name, **settings) for name, settings in models.items()])


def ask(w, models, count=1):
    ids = [w.post(w.request("question %d to %s" % (i, model), models=[model])) for i in range(count) for model in models]
    w.flush()
    return [w.reply(id) for id in ids]


@scenario
@with_front
def both_versions_and_two_keys_never_share_a_connection(w, front):
    at = {"base_url": front.url, "ca_file": front.ca, "model": "gpt-a"}
    use(w, **{"one-%s-%s" % (key, http): {**at, "api_key": "key-" + key, "http": http} for key in "abc" for http in ("1.1", "2", "auto")})
    names = ["one-%s-%s" % (key, http) for key in "abc" for http in ("1.1", "2", "auto")]
    for reply in ask(w, names, 60):
        same(reply["status"], "done", str(reply.get("error")))
    calls = front.calls()
    same(len(calls), 540, "calls that nginx saw")
    keys_of, versions = {}, {}
    for connection, version, status, key in calls:
        same(status, 200)
        keys_of.setdefault(connection, set()).add(key)
        versions[version] = versions.get(version, 0) + 1
    true(all(len(keys) == 1 for keys in keys_of.values()), "a connection was used with two keys: %r" % keys_of)
    same({key for keys in keys_of.values() for key in keys}, {"Bearer key-a", "Bearer key-b", "Bearer key-c"})
    true(versions["HTTP/1.1"] >= 180 and versions["HTTP/2.0"] >= 180, str(versions))


@scenario
@with_front
def the_keys_of_one_model_never_share_a_connection(w, front):
    keys = ["key-%d" % n for n in range(3)]
    at = {"base_url": front.url, "ca_file": front.ca, "model": "gpt-a", "api_keys": keys}
    use(w, **{"many-" + http: {**at, "http": http} for http in ("1.1", "2")})
    w.fake.control(latency="20ms")
    try:
        for reply in ask(w, ["many-1.1", "many-2"], 150):
            same(reply["status"], "done", str(reply.get("error")))
    finally:
        w.fake.control(latency="0")
    keys_of, used = {}, {}
    for connection, version, status, key in front.calls():
        same(status, 200)
        keys_of.setdefault(connection, set()).add(key)
        used[version, key] = used.get((version, key), 0) + 1
    true(all(len(found) == 1 for found in keys_of.values()), "a connection was used with two keys: %r" % keys_of)
    same(set(used), {(version, "Bearer " + key) for version in ("HTTP/1.1", "HTTP/2.0") for key in keys}, "versions and keys")
    # The key with the fewest calls in flight is next: whose connections are there first gets a few more.
    true(all(n >= 30 for n in used.values()), "calls of each key are %r" % used)


@scenario
@with_front
def many_calls_share_few_connections_and_none_is_paid_twice(w, front):
    """nginx ends each connection after 200 requests, which is a GOAWAY in the middle of others."""
    use(w, two={"base_url": front.url, "ca_file": front.ca, "http": "2", "model": "gpt-a"})
    w.fake.control(latency="50ms")
    try:
        for reply in ask(w, ["two"], 3000):
            same(reply["status"], "done", str(reply.get("error")))
    finally:
        w.fake.control(latency="0")
    calls = front.calls()
    used = {connection for connection, *_ in calls}
    true(3000 / 200 <= len(used) <= 60, "%d connections" % len(used))
    same(len(calls), 3000, "calls")
    # A call that was refused when its connection was all but gone is an attempt of its own: we cannot tell it from one that was cut.
    again = w.sql("SELECT count(*) FROM inference_runs WHERE tenant = %s AND attempt <> 1", w.tenant)[0][0]
    # How many are on their way when a connection ends depends on how busy the machine is; most must not be.
    true(again <= 300, "%d calls were made again" % again)


@scenario
@with_front
def a_server_without_http_2_is_spoken_to_in_1_1(w, front):
    use(w, old={"base_url": front.url_1_1, "ca_file": front.ca, "http": "2", "model": "gpt-a"})
    for reply in ask(w, ["old"], 20):
        same(reply["status"], "done", str(reply.get("error")))
    same({version for _, version, *_ in front.calls()}, {"HTTP/1.1"})


@scenario
@with_front
def who_cannot_be_verified_is_asked_nothing(w, front):
    use(
        w,
        unknown={"base_url": front.url},
        other={"base_url": front.url, "ca_file": front.other_ca},
        expired={"base_url": front.url_expired, "ca_file": front.ca},
        name={"base_url": front.url.replace("127.0.0.1", "localhost"), "ca_file": front.ca},
        old={"base_url": front.url, "ca_file": front.other_ca, "http": "1.1"},
    )
    for name, reply in zip(("unknown", "other", "expired", "name", "old"), ask(w, ["unknown", "other", "expired", "name", "old"])):
        same((reply["status"], reply["error"]["code"]), ("failed", "provider_tls"), "%s: %s" % (name, reply["error"]))
        true("certificate" in reply["error"]["message"] or "SSL" in reply["error"]["message"], str(reply["error"]))
    same(front.calls(), [], "calls")
    done = w.quern("doctor")
    true("set ca_file" in done.stdout, done.stdout)


@scenario
def only_allowed_addresses_are_taken(w):
    path = w.run_dir / "addresses.yaml"
    for allowed, code in ((["127.0.0.1"], 0), (["api.openai.com", ".example"], 78), ([], 0)):
        path.write_text(json.dumps(w.config(**{"providers.allowed_addresses": allowed})))
        done = w.quern("config", "check", "--config", path)
        same(done.returncode, code, done.stdout + done.stderr)
        true(code == 0 or "providers.allowed_addresses" in done.stderr + done.stdout, done.stdout + done.stderr)
    w._write_config(**{"providers.allowed_addresses": ["api.openai.com"]})
    same(w.reload(w.worker), False, "a reload with an address that is not allowed")
    w._write_config()
