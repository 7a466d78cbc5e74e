"""The explorer's page, opened from disk in Chromium without a network: it scrubs, plays, compares, and says what the package computes."""

import contextlib
import shutil

import numpy as np
import pytest
from made_runs import HOSTILE, make_run
from needs import missing

import pldebias as pld
from pldebias import metrics

pytestmark = pytest.mark.browser
PIXELS = "canvases => canvases.map((canvas) => canvas.toDataURL()).join()"


@contextlib.contextmanager
def opened(path, width=1280, height=1000, **context):
    """The page in a browser without a network; whatever went wrong in it, or was asked for elsewhere, fails the test."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as play:
        try:
            browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        except Error as error:
            missing(f"Chromium ({str(error).splitlines()[0]})", "PATH")
        page = browser.new_context(offline=True, viewport={"width": width, "height": height}, **context).new_page()
        wrong, asked = [], []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.resolve().as_uri())
        page.locator(".pldebias[data-epoch]").wait_for()
        yield page
        assert not wrong
        assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]
        browser.close()


def epoch(page):
    return int(page.locator(".pldebias").get_attribute("data-epoch"))


def painted(page):
    """Pixels of all canvases once the frame is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator("canvas").evaluate_all(PIXELS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return make_run(root / "a", "fixmatch", epochs=12), make_run(root / "b", "fixmatch+daso", right=(18, 18, 16, 14, 12, 10), epochs=12)


@pytest.fixture(scope="module")
def single(runs, tmp_path_factory):
    return pld.explore(runs[0]).to_html(tmp_path_factory.mktemp("page") / "single.html")


def test_keys_move_through_the_epochs_and_repaint(single, runs):
    with opened(single) as page:
        slider, status = page.locator("input[type=range]"), page.locator("[role=status]")
        assert epoch(page) == 11
        slider.focus()
        seen = {11: (painted(page), status.inner_text())}
        for key, expected in (("Home", 0), ("ArrowRight", 1), ("Shift+ArrowRight", 11), ("ArrowLeft", 10), ("End", 11)):
            page.keyboard.press(key)
            page.wait_for_function("epoch => document.querySelector('.pldebias').dataset.epoch == epoch", arg=expected)
            now = painted(page), status.inner_text()
            assert seen.setdefault(expected, now) == now  # the same epoch always looks the same
        assert len({pixels for pixels, _ in seen.values()}) == len(seen)  # and different ones differ
        for number, (_, text) in seen.items():
            told = 100 * float(metrics.balanced_accuracy(runs[0].confusion("sweep", epoch=number)))
            assert f"epoch {number}," in text
            assert f"balanced accuracy {told:.1f} %" in text


def test_dragging_scrubs(single):
    with opened(single) as page:
        box = page.locator("canvas.pld-carpet:not([hidden])").bounding_box()
        y = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 0.9 * box["width"], y)
        page.mouse.down()
        visited = []
        for part in (0.7, 0.5, 0.35, 0.25):
            page.mouse.move(box["x"] + part * box["width"], y)
            painted(page)
            visited.append(epoch(page))
        page.mouse.up()
        assert visited == sorted(visited, reverse=True)
        assert len(set(visited)) > 2


def test_a_cell_tells_its_count_rates_and_interval(single, runs):
    """What the page says of a cell is what `metrics` computes."""
    with opened(single) as page:
        page.locator("canvas.pld-matrix:not([hidden])").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowRight")
        text = page.locator("[role=status]").inner_text()
        matrix = runs[0].confusion("sweep", epoch=11)
        names = runs[0].class_names
        for true, label in np.ndindex(matrix.shape):
            if f"true {names[true]} " in text and f"pseudo-label {names[label]}" in text.split("→")[-1][:40]:
                break
        else:
            pytest.fail(f"no cell in {text!r}")
        low, high = metrics.wilson(matrix[true, label], matrix[true].sum())
        assert f"count {matrix[true, label]}" in text
        assert f"{100 * matrix[true, label] / matrix[true].sum():.1f} % of true" in text
        assert f"[{100 * low:.1f}, {100 * high:.1f}]" in text


def test_buttons_play_and_kinds_change_what_is_counted(single):
    with opened(single, reduced_motion="no-preference") as page:
        page.get_by_role("button", name="first").click()
        page.get_by_role("button", name="play").click()
        page.wait_for_function("() => +document.querySelector('.pldebias').dataset.epoch >= 3")
        page.get_by_role("button", name="pause").click()
        before = painted(page)
        page.get_by_role("button", name="test", exact=True).click()
        assert painted(page) != before
        assert "Counted: test" in page.locator(".pldebias").inner_text()
        assert page.get_by_role("button", name="accepted").get_attribute("aria-disabled") == "true"


def test_two_runs_share_the_epoch_and_swap(runs, tmp_path):
    path = pld.explore(*runs).to_html(tmp_path / "two.html")
    with opened(path) as page:
        assert page.locator("canvas.pld-matrix:not([hidden])").count() == 2
        page.locator("input[type=range]").focus()
        page.keyboard.press("Home")
        text = page.locator("[role=status]").inner_text()
        for run in runs:
            told = 100 * float(metrics.balanced_accuracy(run.confusion("sweep", epoch=0)))
            assert f"{run.name}: balanced accuracy {told:.1f} %" in text
        left = page.locator("canvas.pld-matrix:not([hidden])").first.get_attribute("aria-label")
        page.keyboard.press("x")
        assert page.locator("canvas.pld-matrix:not([hidden])").first.get_attribute("aria-label") != left


def test_names_are_text_and_narrow_or_dark_windows_work(tmp_path):
    run = make_run(tmp_path / "hostile", names=list(HOSTILE), epochs=3)
    path = pld.explore(run).to_html(tmp_path / "hostile.html")
    for context in ({"width": 420}, {"color_scheme": "dark"}):
        with opened(path, **context) as page:
            assert page.locator("script").count() == 4  # those of the template
            assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
            assert len(set(painted(page).split(","))) > 1


def test_a_hundred_classes_are_drawn_quickly(tmp_path):
    rng = np.random.default_rng(0)
    right = np.linspace(19, 3, 100).astype(int)
    run = make_run(
        tmp_path / "k100", right=right, names=[f"c{i}" for i in range(100)], labelled=np.geomspace(500, 5, 100).astype(int), epochs=20
    )
    path = pld.explore(run).to_html(tmp_path / "k100.html")
    with opened(path) as page:
        page.locator("input[type=range]").focus()
        for key in rng.choice(["ArrowLeft", "Home", "End"], 12):
            page.keyboard.press(key)
            painted(page)
        assert float(page.locator(".pldebias").get_attribute("data-draw-ms")) > 0
        assert page.locator("[role=status]").inner_text().startswith("epoch ")
