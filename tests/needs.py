"""What a test cannot do without, and what is said where it is missing."""

import os

import pytest

SOAK = bool(os.environ.get("PLDEBIAS_SOAK"))
"""Whether tests that can grow run at their full size (``make soak``), which takes hours."""


def missing(what: str, variable: str):
    """A stranger's machine may lack the thing, which is then said; where everything is promised (CI is set) its absence is a failure."""
    message = f"{what} not found; set {variable} to the folder that holds it"
    (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
