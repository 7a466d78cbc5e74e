"""What the fuzz tests share with pytest."""

from cases import tried


def pytest_terminal_summary(terminalreporter):
    if tried:
        cases = ", ".join(f"{n:,} {what}" for what, n in tried.items())
        terminalreporter.write_line(f"fuzzed: {sum(tried.values()):,} cases ({cases})")
