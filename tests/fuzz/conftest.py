"""What the fuzz tests share with pytest."""

import pytest
from cases import SOAK, tried


@pytest.fixture
def soak() -> bool:
    """Whether this is the large version."""
    return SOAK


def pytest_terminal_summary(terminalreporter):
    if tried:
        cases = ", ".join(f"{n:,} {what}" for what, n in tried.items())
        terminalreporter.write_line(f"fuzzed: {sum(tried.values()):,} cases ({cases})")
