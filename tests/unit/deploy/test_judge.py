#!/usr/bin/env python3
"""deploy/sample/judge.py: each way in which a run can be wrong is told, and makes the exit code 1.

A `Run` is a small run of the quickstart in which everything is as it should be: six requests, of which one is refused
before it is published and one fails at the provider, and two records that nobody can read. A test spoils one thing.
"""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "deploy/sample"))
sys.dont_write_bytecode = True
import judge  # noqa: E402

SINCE = "2026-11-22T07:00:00.000Z"
LATER = "2026-11-22T07:00:09.500Z"
EARLIER = "2026-11-22T06:59:59.999Z"


def answered(name):
    return {"request_id": name, "status": "done", "text": "an answer to " + name}


def in_openais_form(name):
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "an answer"}}]}
    return {"custom_id": name, "response": {"status_code": 200, "body": body}, "error": None}


def failure(name, code):
    return {"request_id": name, "status": "failed", "error": {"code": code, "message": "so it is"}}


def refused(number, code):
    return {"custom_id": None, "line": number, "response": None, "error": {"code": code, "message": "line"}}


def row(name, status="done", error=None):
    return {"id": name, "status": status, "error": error}


def letter(code, name=None, time=LATER):
    return {"id": name, "code": code, "time": time, "reason": "nobody can read it"}


class Run:
    def __init__(self):
        self.sample = [{"id": name} for name in ("a", "b", "wrong", "unlucky", "c")]
        self.sample.append({"custom_id": "openai", "method": "POST"})
        self.output = [answered("a"), answered("b"), answered("c"), in_openais_form("openai")]
        self.output += [refused(3, "invalid_request"), failure("unlucky", "provider_refused")]
        self.stored = [row("a"), row("b"), row("c"), row("run-1:openai"), row("unlucky", "failed", "provider_refused")]
        self.expected = "# a comment\nwrong invalid_request\nunlucky provider_refused\n\nx.bin invalid_encoding\ny.bin too_big\n"
        self.dead = [letter("invalid_encoding"), letter("too_big"), letter("provider_refused", "unlucky")]
        self.dead += [letter("invalid_encoding", time=EARLIER)]
        self.raw = ["somewhere/x.bin", "y.bin"]

    def judged(self):
        """(exit code, standard output, standard error) of the judge."""
        with tempfile.TemporaryDirectory(prefix="quern-judge-") as folder:
            words = ["--since", SINCE]
            for name in ("sample", "output", "stored", "dead", "expected"):
                path = pathlib.Path(folder, name)
                path.write_text(self.text_of(name))
                words += ["--" + name, str(path)]
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = judge.main(words + ["--raw", *self.raw])
        return code, out.getvalue(), err.getvalue()

    def text_of(self, name):
        content = getattr(self, name)
        if isinstance(content, str):
            return content
        return json.dumps(content) if name == "dead" else "".join(json.dumps(line) + "\n" for line in content)


class Judge(unittest.TestCase):
    def setUp(self):
        self.run_ = Run()

    def blamed(self, *sentences):
        """The judge says these sentences, no other, and 1."""
        code, _, err = self.run_.judged()
        self.assertEqual(sorted(err.splitlines()), sorted("judge: " + s for s in sentences))
        self.assertEqual(code, 1)

    def test_what_is_as_it_should_be_passes(self):
        code, out, err = self.run_.judged()
        self.assertEqual((code, err), (0, ""))
        self.assertIn("6 requests and 2 unreadable records: 1 refused before publishing, 5 accepted, 5 final results stored; "
                      "4 failed, 4 meant to fail", out)
        self.assertIn("an answer to a", out)
        self.assertRegex(out, r"unlucky +provider_refused: so it is")
        self.assertRegex(out, r"\(unreadable record\) +too_big: nobody can read it")

    def test_a_final_result_is_missing(self):
        self.run_.stored = self.run_.stored[1:]
        self.blamed("a was accepted and has no final result")

    def test_an_open_request_has_no_final_result(self):
        self.run_.stored[1] = row("b", "open")
        self.blamed("b was accepted and has no final result", "b is still open")

    def test_a_final_result_is_there_twice(self):
        self.run_.stored.append(row("run-1:openai"))
        self.blamed("openai has 2 final results")

    def test_a_refused_request_is_stored(self):
        self.run_.stored.append(row("wrong", "failed", "invalid_request"))
        self.blamed("wrong is stored and was not accepted")

    def test_something_is_stored_that_nobody_sent(self):
        self.run_.stored.append(row("stranger"))
        self.blamed("stranger is stored and was not accepted")

    def test_one_failure_too_many(self):
        self.run_.output[1] = failure("b", "provider_timeout")
        self.run_.stored[1] = row("b", "failed", "provider_timeout")
        self.blamed("b failed with provider_timeout")

    def test_expired_is_a_failure(self):
        self.run_.output[1] = failure("b", "expired")
        self.run_.stored[1] = row("b", "expired", "expired")
        self.blamed("b failed with expired")

    def test_one_failure_too_few(self):
        self.run_.output[5] = answered("unlucky")
        self.run_.stored[4] = row("unlucky")
        self.blamed("unlucky should have failed with provider_refused")

    def test_another_reason(self):
        self.run_.output[5] = failure("unlucky", "provider_unavailable")
        self.run_.stored[4] = row("unlucky", "failed", "provider_unavailable")
        self.blamed("unlucky failed with provider_unavailable, not with provider_refused")

    def test_a_refusal_for_another_reason(self):
        self.run_.output[4] = refused(3, "too_big")
        self.blamed("wrong failed with too_big, not with invalid_request")

    def test_the_list_names_a_failure_more(self):
        self.run_.expected += "c expired\n"
        self.blamed("c should have failed with expired")

    def test_without_a_list_nothing_may_fail(self):
        self.run_.expected, self.run_.raw, self.run_.dead = "", [], []
        self.blamed("wrong failed with invalid_request", "unlucky failed with provider_refused")

    def test_a_reply_that_the_store_does_not_know(self):
        self.run_.output[0] = failure("a", "expired")
        self.blamed("a: the reply says 'expired', the store 'done'")

    def test_a_line_without_a_reply(self):
        del self.run_.output[0]
        self.blamed("a has no line in the output")

    def test_two_replies_to_one_request(self):
        self.run_.output.append(answered("a"))
        self.blamed("a has 2 lines in the output")

    def test_an_unreadable_record_left_nothing(self):
        del self.run_.dead[0]
        self.blamed("unreadable records: 0 dead letters with invalid_encoding, not 1")

    def test_an_unreadable_record_for_another_reason(self):
        self.run_.dead[1] = letter("invalid_encoding")
        self.blamed("unreadable records: 2 dead letters with invalid_encoding, not 1",
                    "unreadable records: 0 dead letters with too_big, not 1")

    def test_an_unreadable_record_that_nobody_sent(self):
        self.run_.dead.append(letter("too_big"))
        self.blamed("unreadable records: 2 dead letters with too_big, not 1")

    def test_a_sample_that_has_an_id_twice(self):
        self.run_.sample.append({"id": "a"})
        code, _, err = self.run_.judged()
        self.assertEqual(code, 1)
        self.assertIn("a stands in the sample 2 times", err)

    def test_many_problems_are_counted(self):
        self.run_.stored = []
        self.run_.sample += [{"id": "n%d" % i} for i in range(40)]
        code, _, err = self.run_.judged()
        self.assertEqual((code, len(err.splitlines())), (1, judge.PROBLEMS_SHOWN + 1))
        self.assertRegex(err.splitlines()[-1], r"judge: and \d+ more")


class Sample(unittest.TestCase):
    """The sample itself has what the quickstart says it shows."""

    def setUp(self):
        self.requests = judge.lines_of(ROOT / "deploy/sample/requests.jsonl")
        self.names = [judge.name_of(request) for request in self.requests]
        self.expected = judge.read_expected(ROOT / "deploy/sample/expected-failures.txt")

    def test_there_are_at_least_200_requests_with_names_of_their_own(self):
        self.assertGreaterEqual(len(self.names), 200)
        self.assertEqual(len(set(self.names)), len(self.names))

    def test_each_kind_of_request_is_there(self):
        self.assertGreater(sum("models" not in r and "session" not in r for r in self.requests), 50)
        self.assertGreater(sum(len(r.get("models", ())) > 1 for r in self.requests), 20)
        turns = [r["session"] for r in self.requests if "session" in r]
        self.assertGreater(len(turns), 20)
        self.assertTrue(all(turns.count(session) > 2 for session in turns))
        self.assertGreater(sum("custom_id" in r for r in self.requests), 10)

    def test_what_is_meant_to_fail_is_there(self):
        for name in self.expected:
            self.assertTrue(name in self.names or (ROOT / "deploy/sample" / name).is_file(), name)
        self.assertGreater(len(set(self.expected.values())), 4)


if __name__ == "__main__":
    unittest.main()
