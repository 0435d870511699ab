#!/usr/bin/python3
"""Runs the tests of the Python client against the daemon that OUTRIGGERD names.

`run.py [NAME...]` runs all tests, or those whose name has one of the words, as `test_golden.Cases`.
The last line is "N passed, N failed".
"""

import sys
import unittest

MODULES = ["test_golden", "test_session", "test_sockets", "test_hostile"]


class Result(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main(words):
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{word}*" for word in words] or None
    suite = loader.loadTestsFromNames(MODULES)
    result = unittest.TextTestRunner(stream=sys.stdout, resultclass=Result).run(suite)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.passed} passed, {failed} failed")
    return 1 if failed or not result.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
