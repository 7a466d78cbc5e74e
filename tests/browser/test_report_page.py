"""The report, opened from disk in Chromium without a network: it scrubs, switches runs, and no name in it is code."""

import chromium
import pytest
from made_runs import HOSTILE, make_run

from pldebias import metrics
from pldebias.report import report

pytestmark = pytest.mark.browser
PIXELS = "every => every.map((canvas) => canvas.toDataURL())"
A, B = (18, 16, 12, 9, 5, 2), (18, 16, 12, 9, 8, 8)


def opened(path):
    return chromium.opened(path, lambda page: page.frame_locator("#stage iframe").locator("input[type=range]").first.wait_for(), height=900)


def test_a_report_of_three_runs(tmp_path):
    runs = [make_run(tmp_path / m, m, right=right) for m, right in (("fixmatch", A), ("fixmatch+daso", B), ("fixmatch+la", B))]
    path = report(runs, tmp_path / "new" / "report.html", baseline="fixmatch")
    with opened(path) as page:
        assert page.title() == "fixmatch · fixmatch+daso · fixmatch+la"
        assert page.locator("h2").all_inner_texts() == ["Summary", "Results", "Explorer", "Figures", "Settings", "Provenance"]
        table = page.locator("#results table").inner_text()
        assert f"{100 * sum(A) / 120:.1f}" in table and f"+{100 * 9 / 120:.1f}" in table
        assert all(page.locator("figure img").evaluate_all("images => images.map(image => image.complete && image.naturalWidth > 0)"))

        # The scrubber works, and the explorer says what the package computes.
        frame = page.frame_locator("#stage iframe")
        slider, status = frame.locator("input[type=range]").first, frame.locator("[aria-live]").first
        before = frame.locator("canvas").evaluate_all(PIXELS)
        slider.focus()
        page.keyboard.press("Home")
        for run in runs[:2]:
            told = 100 * float(metrics.balanced_accuracy(run.confusion("sweep", epoch=0)))
            status.get_by_text(f"balanced accuracy {told:.1f}").first.wait_for()
        assert frame.locator("canvas").evaluate_all(PIXELS) != before

        assert page.locator("#pick").count() == 0  # one explorer holds all three
        frame.get_by_label("run B").select_option(label="fixmatch+la/s0")
        status.get_by_text("B fixmatch+la/s0: balanced accuracy").wait_for()
        page.wait_for_function("document.querySelector('#stage iframe').contentDocument.documentElement.scrollHeight <= "
                               "document.querySelector('#stage iframe').clientHeight + 6")  # fmt: skip


def test_names_are_only_names(tmp_path):
    evil = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
    first = make_run(tmp_path / "a", "fixmatch", names=HOSTILE, attrs={"note": evil}, note=evil)
    second = make_run(tmp_path / "b", evil, names=HOSTILE, right=B)
    with opened(report({evil: first, "</title></main>": second}, tmp_path / "r.html")) as page:
        assert page.title() == f"{evil} · </title></main>"
        assert page.locator("#settings").inner_text().count("onerror=alert(1)") >= 1
        assert page.locator("main img[src=x]").count() == 0


def test_a_run_alone_and_what_it_lacks(tmp_path):
    run = make_run(tmp_path / "u", unknown=True, series=False, num_epochs=9)
    with opened(report(run, tmp_path / "r.html")) as page:
        assert page.locator("#pick").count() == 0
        lacks = page.locator("#not-shown").inner_text()
        assert "true classes of its unlabelled samples are not known" in lacks
        assert "unfinished, 4 of 9 epochs" in page.locator("#summary").inner_text()


def test_seeds_on_other_splits_get_an_explorer_each(tmp_path):
    path = report([make_run(tmp_path / "a", seed=0), make_run(tmp_path / "b", seed=1, per_class=30)], tmp_path / "r.html")
    with opened(path) as page:
        assert page.locator("#pick option").count() == 2 and ", " not in page.locator("#pick").inner_text()
        assert "±" in page.locator("#results table").inner_text()
