#!/usr/bin/env python3
"""What deploy/quickstart builds needs nothing that only tests need.

The preset that the quickstart names is configured (nothing is built) with a pkg-config that knows no cmocka and nothing
else that deploy/packages installs for tests only.
"""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
FOR_TESTS_ONLY = "cmocka|lua.*"
PKG_CONFIG = """#!/bin/sh
for word in "$@"; do
    if printf '%%s\\n' "$word" | grep -qE '^(%s)( |$|[<>=])'; then exit 1; fi
done
exec pkg-config "$@"
"""


def preset_of_the_quickstart():
    found = re.findall(r"cmake --preset (\S+)", (ROOT / "deploy/quickstart").read_text())
    assert len(found) == 1, found
    return found[0]


class Configure(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="quern-configure-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.pkg_config = self.folder / "pkg-config"
        self.pkg_config.write_text(PKG_CONFIG % FOR_TESTS_ONLY)
        self.pkg_config.chmod(0o755)

    def configure(self, preset):
        """The finished cmake; its build folder is 'build' in ours."""
        words = ["cmake", "--preset", preset, "-B", str(self.folder / "build"), "-DPKG_CONFIG_EXECUTABLE=%s" % self.pkg_config]
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)

    def targets(self):
        listed = subprocess.run(["ninja", "-C", str(self.folder / "build"), "-t", "targets", "all"], capture_output=True, text=True, timeout=60)
        return {os.path.basename(line.split(":")[0]) for line in listed.stdout.splitlines()}

    def test_the_quickstart_configures_without_what_tests_need(self):
        done = self.configure(preset_of_the_quickstart())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        targets = self.targets()
        self.assertLessEqual({"quern", "quern-worker", "quern-aggregator", "quern-fake"}, targets)
        self.assertEqual([t for t in targets if re.match(r"unit_|door_|test_.*\.c|quern-hunt", t)], [])
        cache = (self.folder / "build/CMakeCache.txt").read_text()
        self.assertIn("CMAKE_BUILD_TYPE:STRING=RelWithDebInfo\n", cache)
        self.assertRegex(cache, r"QUERN_CRASH_POINTS:\w+=OFF\n")

    def test_a_build_with_tests_asks_for_them(self):
        """Else the test above could not fail."""
        done = self.configure("release")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("cmocka", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
