"""What a test cannot do without, and what is said where it is missing."""

import os

import pytest

SOAK = bool(os.environ.get("PLDEBIAS_SOAK"))
"""Whether tests that can grow run at their full size (``make soak``), which takes hours."""


def missing(message: str):
    """Skip the test with `message`, which says what is missing and how to get it; fail where CI is set, which promises everything."""
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
