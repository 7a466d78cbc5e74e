"""Pages opened from disk in headless Chromium, without a network."""

import contextlib

from benchmarks.browser import chromium


@contextlib.contextmanager
def opened(path, drawn, width=1280, height=1000, **context):
    """The page once `drawn(page)` returns; whatever went wrong in it, or was asked for elsewhere, fails the test."""
    with chromium() as browser:
        page = browser.new_context(offline=True, viewport={"width": width, "height": height}, **context).new_page()
        wrong, asked = [], []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.resolve().as_uri())
        drawn(page)
        yield page
        assert not wrong
        assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]
