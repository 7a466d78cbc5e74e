"""Pages that are opened from disk share a browser; each has a context of its own, as a new window of a browser that was just started."""

import pytest
from chromium import one_browser

PAGES = ("test_accessibility", "test_embedding_page", "test_explorer_page", "test_report_page")


@pytest.fixture(scope="module", autouse=True)
def browser_of_the_module(request):
    if request.module.__name__ not in PAGES:
        yield
        return
    with one_browser():
        yield
