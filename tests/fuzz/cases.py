"""How much is tried: some 8,000 cases that fit the test suite and are always the same, or 250,000 new ones (``make soak``)."""

import os
import signal
from collections import Counter

from hypothesis import HealthCheck, seed, settings
from needs import SOAK

ALL = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("pldebias-ci", max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=ALL)
settings.register_profile("pldebias-soak", max_examples=2500, deadline=None, print_blob=True, suppress_health_check=ALL)
PROFILE = settings.get_profile("pldebias-soak" if SOAK else "pldebias-ci")
SEED = int(os.environ.get("PLDEBIAS_FUZZ_SEED") or int.from_bytes(os.urandom(4), "big"))
"""Of the cases at full size; those of the test suite are always the same."""
SECONDS = 60
"""One case may take; more is a hang."""
tried = Counter()


def fuzz(share: float = 1.0):
    """Settings of a fuzz test that takes `share` of the profile's cases."""
    chosen = settings(PROFILE, max_examples=max(1, int(share * PROFILE.max_examples)))
    return (lambda test: seed(SEED)(chosen(test))) if SOAK else chosen


class Hang(BaseException):
    """A case did not come back; no `except Exception` may swallow it."""


class bounded:
    """Counts a case of some kind, and ends it if it hangs."""

    def __init__(self, what: str):
        tried[what] += 1
        self.what = what

    def _stop(self, *_):
        raise Hang(f"{self.what}: no end after {SECONDS} s")

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self._stop)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)
