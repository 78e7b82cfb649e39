"""Named checks: each prints one line, and the last line of a run counts them (ops/test reads it)."""

import os
import time
import traceback

from matrix import MatrixError, Waited


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Checks:
    """A check that needs an earlier one which failed is reported as failed without being tried."""

    def __init__(self, quiet=False):
        self.passed, self.failed, self.prefix, self.quiet = [], [], "", quiet  # quiet: only what fails is printed

    def step(self, name, action, needs=()):
        """Runs action(); returns its result, or None when it failed."""
        name = self.prefix + name
        broken = [need for need in (self.prefix + need for need in needs) if need not in self.passed]
        started, result = time.monotonic(), None
        problem = f'not tried, "{broken[0]}" did not pass' if broken else None
        if not problem:
            try:
                result = action()
            except Exception as error:  # whatever goes wrong in a check is that check's result
                problem = f"{type(error).__name__}: {error}"
                if os.environ.get("TRACE") or not isinstance(error, (MatrixError, Waited, AssertionError)):
                    traceback.print_exc()
        (self.failed if problem else self.passed).append(name)
        if problem or not self.quiet:
            took = time.monotonic() - started
            print(f"{'FAIL' if problem else 'ok  '}  {name}  ({took:.2f} s)" + (f"\n      {problem}" if problem else ""), flush=True)
        return result

    def note(self, text):
        print("      " + text, flush=True)

    def close(self):
        """Prints the count line; the exit status of the run."""
        for name in self.failed:
            print("failed: " + name)
        print(f"{len(self.passed)} passed, {len(self.failed)} failed", flush=True)
        return 1 if self.failed else 0
