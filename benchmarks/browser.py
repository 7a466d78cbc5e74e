"""Headless Chromium for the benchmarks and the tests that open a page."""

from __future__ import annotations

import contextlib
import functools
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
INSTALL = (
    "install it with `apt-get install chromium` (Debian, Ubuntu), `brew install --cask chromium` (macOS) or `playwright install chromium`"
)


class NoBrowser(SystemExit):
    """No browser could be started; ends a benchmark with its message."""


def _launch(kind, arguments: list[str]):
    from playwright.sync_api import Error, TimeoutError

    path = next(filter(None, map(shutil.which, NAMES)), None)
    # After PATH: the browser that Playwright downloads, then Chrome and Edge where their installers put them.
    places = [{"executable_path": path}] if path else []
    places += [{}, {"channel": "chrome"}, {"channel": "msedge"}]
    why = "no Chromium found"
    for place in places:
        try:
            return kind.launch(args=arguments, **place)
        except TimeoutError:
            raise  # a browser is there, and the machine too busy
        except Error as error:
            if "executable_path" in place:
                why = f"{path} does not start ({str(error).splitlines()[0]})"
    raise NoBrowser(f"{why}; {INSTALL}")


@contextlib.contextmanager
def chromium(*arguments: str):
    """A Playwright browser, closed at the end.

    Parameters
    ----------
    *arguments : str
        More command line arguments of the browser.

    Raises
    ------
    NoBrowser
        If there is no Chromium, Chrome or Edge; the message says how to install one.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = _launch(play.chromium, ["--no-sandbox", "--disable-dev-shm-usage", *arguments])
        yield browser
        browser.close()


@functools.cache
def absence() -> str | None:
    """Return why no browser can be started, None if one can; tried once a process."""
    try:
        with chromium():
            return None
    except NoBrowser as error:
        return str(error)
