"""Pages opened from disk in headless Chromium, without a network."""

import contextlib

from benchmarks.browser import chromium

_shared: list = []


@contextlib.contextmanager
def one_browser():
    """Meanwhile `opened` opens no browser for each page; asyncio cannot be used meanwhile, which Playwright has in its hands."""
    with chromium() as browser:
        _shared.append(browser)
        try:
            yield
        finally:
            _shared.pop()


@contextlib.contextmanager
def opened(path, drawn, width=1280, height=1000, **context):
    """The page once `drawn(page)` returns; whatever went wrong in it, or was asked for elsewhere, fails the test."""
    with contextlib.nullcontext(_shared[-1]) if _shared else chromium() as browser, contextlib.ExitStack() as stack:
        own = browser.new_context(offline=True, viewport={"width": width, "height": height}, **context)
        stack.callback(own.close)
        page = own.new_page()
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
