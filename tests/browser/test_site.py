"""The site that `make site` builds: search, navigation, and a live explorer on a phone."""

from pathlib import Path

import pytest
from chromium import opened
from needs import missing

import pldebias as pld

pytestmark = pytest.mark.browser
SITE = Path(__file__).parents[2] / "site"


@pytest.fixture(scope="module")
def site():
    if not (SITE / "docs/index.html").exists():
        missing("site/docs/index.html is not there; build it with: make site")
    return SITE


def test_search_finds_a_function_and_leads_to_it(site):
    with opened(site / "docs/index.html", lambda page: page.locator("h1").wait_for()) as page:
        page.goto((site / "search.html").as_uri() + "?q=what_if")
        link = page.locator("#search-results a[href*='api/pldebias.html']").first
        link.wait_for()
        link.click()
        page.locator("dt[id='pldebias.what_if']").wait_for()


def test_guide_course_and_reference_are_reached_from_every_page(site):
    with opened(site / "docs/explorer.html", lambda page: page.locator("h1").wait_for()) as page:
        for name, heading in (("Course", "Course"), ("Reference", "Reference"), ("Guide", "Guide")):
            page.locator(".bd-header").get_by_role("link", name=name, exact=True).first.click()
            page.locator("h1", has_text=heading).wait_for()


def test_every_public_name_is_in_the_reference(site):
    text = (site / "docs/api/pldebias.html").read_text()
    assert [name for name in pld.__all__ if f'id="pldebias.{name}"' not in text and callable(getattr(pld, name))] == []


def test_a_live_explorer_is_usable_on_a_phone(site):
    with opened(site / "docs/live.html", lambda page: page.locator("iframe.live").wait_for(), width=390, height=844) as page:
        page.locator("iframe.live").scroll_into_view_if_needed()
        frame = page.frame_locator("iframe.live")
        frame.locator(".pldebias[data-epoch]").wait_for()
        for document in (page, page.frames[1]):
            assert document.evaluate("document.documentElement.scrollWidth <= innerWidth")
        last = frame.locator(".pldebias").get_attribute("data-epoch")
        frame.get_by_role("button", name="previous epoch").click()
        frame.locator(f".pldebias:not([data-epoch='{last}'])").wait_for()
        assert frame.locator("canvas.pld-matrix:not([hidden])").first.bounding_box()["width"] <= 390
