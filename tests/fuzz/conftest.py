"""What the fuzz tests share with pytest."""

from cases import SEED, tried
from needs import SOAK


def pytest_terminal_summary(terminalreporter):
    if tried:
        cases = ", ".join(f"{n:,} {what}" for what, n in tried.items())
        terminalreporter.write_line(f"fuzzed: {sum(tried.values()):,} cases ({cases})" + f", PLDEBIAS_FUZZ_SEED={SEED}" * SOAK)
