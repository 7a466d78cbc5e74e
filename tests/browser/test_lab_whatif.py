"""The what-if panel in a real JupyterLab: what a slider and a button show is what `pld.what_if` computes."""

import numpy as np
import pytest
from test_lab import lab, run_all, write_notebook

import pldebias as pld
from pldebias.runs import Recorder

pytestmark = pytest.mark.browser
NAMES = ["cat", "<b>dog</b>", "fox & owl", "yak"]
CODE = """# %%
from pldebias.widgets.whatif import WhatIfPanel

panel = WhatIfPanel("run", root=False)
panel

# %%
WhatIfPanel("wrong", root=False)
"""


def record(path, shift=0):
    """A run whose logged labels follow from its logits, or with `shift` do not."""
    random = np.random.default_rng(0)
    true = np.repeat(np.arange(4), [150, 90, 40, 20])
    logits = (random.normal(size=(300, 4)) + 2 * np.eye(4)[true] + np.array([1.5, 0.5, 0, -1])).astype(np.float16).astype(np.float32)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    label = np.where(np.arange(300) < shift, (logits.argmax(1) + 1) % 4, logits.argmax(1))
    attrs = {"method": "fixmatch(threshold=0.7)", "seed": 0}
    with Recorder(path, true, [100, 50, 20, 10], NAMES, num_epochs=1, attrs=attrs) as recorder:
        recorder.end_epoch(sweep=(label, probs.max(1) >= 0.7), logits=logits, iteration=1)
    return pld.open_run(path)


def expected(result, trained=None):
    """What the panel must say of a result (and of a run really trained so): hints of the matrices, changes, scores of the tail."""
    share, change = result.shares()
    matrices = [(share, "{:.1f} %"), (change, "{:+z.1f} points")]
    if trained is not None:
        counts = trained.confusion("sweep", epoch=result.epoch)
        matrices.append((counts / counts.sum(1, keepdims=True), "{:.1f} %"))
    order, names = result.groups.order, result.run.class_names
    cells = [f"{names[t]} called {names[p]}: {text.format(100 * values[t, p])}" for values, text in matrices for t in order for p in order]
    tail = [result.table.loc["tail", (name, "what if")] for name in ("recall %", "precision %", "accepted %")]
    tail = ["–" if np.isnan(value) else f"{value:.1f}" for value in tail]
    return cells, f"{len(result.changed):,} of {len(result.label):,} labels change", tail


def assert_shows(panel, result, trained=None):
    cells, changes, tail = expected(result, trained)
    panel.get_by_text(changes).wait_for(timeout=10_000)
    assert panel.locator("td[title]").evaluate_all("cells => cells.map((cell) => cell.title)") == cells
    row = panel.locator("tr", has=panel.page.locator("th", has_text="tail")).last.locator("td")
    assert [text.split()[0] for text in row.all_inner_texts()][:3] == tail


def test_sliders_and_buttons_show_what_the_package_computes(tmp_path):
    run = record(tmp_path / "run")
    record(tmp_path / "wrong", shift=7)
    write_notebook(tmp_path, CODE)
    with lab(tmp_path, "look.ipynb") as page:
        run_all(page, 90_000, ".jp-OutputArea td[title]")
        panel, wrong = (page.locator(".jp-CodeCell").nth(cell).locator(".jp-OutputArea") for cell in (0, 1))
        assert_shows(panel, pld.what_if(run))
        assert "all 300 logged labels and acceptances come out again" in panel.inner_text()
        panel.get_by_role("button", name="DebiasPL", exact=True).click()
        handle = panel.locator(".widget-slider", has_text="debiaspl tau").locator(".noUi-handle")
        handle.focus()
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        chain = panel.locator(".widget-text input")
        page.wait_for_function("input => input.value === 'debiaspl(tau=0.8)'", arg=chain.element_handle(), timeout=10_000)
        debiased = pld.what_if(run, "debiaspl(tau=0.8)")
        assert len(debiased.changed) > 0
        assert_shows(panel, debiased)
        panel.get_by_role("button", name="logit adjustment").click()
        assert_shows(panel, pld.what_if(run, "la(at=pseudo,tau=1.0)"))
        assert chain.input_value() == "la(at=pseudo,tau=1.0)" and "1.00" in panel.locator(".widget-slider", has_text="la tau").inner_text()
        panel.get_by_role("button", name="as trained").click()
        assert_shows(panel, pld.what_if(run))
        chain.fill("dazo")
        chain.press("Enter")
        panel.get_by_text("did you mean").wait_for(timeout=10_000)
        assert panel.get_by_text("weights unchanged: one-step counterfactual").count() >= 3
        notice = wrong.get_by_text("CHECK FAILED: relabelled as trained, 7 of 300 samples differ")
        notice.wait_for(timeout=30_000)
        assert notice.evaluate("node => getComputedStyle(node).color") == "rgb(160, 48, 0)"
        assert page.locator(".jp-OutputArea b", has_text="dog").count() == 0  # a class name is text
