"""The course in a real JupyterLab: every notebook run whole, then scrubbed, dragged and clicked; its numbers are the package's."""

import contextlib
import re
from types import SimpleNamespace

import jupytext
import nbformat
import numpy as np
import pytest
from test_embedding_page import lasso, settled
from test_embedding_page import told as told_of_points
from test_explorer_page import painted
from test_lab import OFFLINE, TOKEN, notebook_open, run_all, server
from test_lab_whatif import assert_shows
from test_notebooks import NOTEBOOKS, course_folder
from test_notebooks import once as once  # a fixture

import pldebias as pld
from benchmarks.browser import chromium
from pldebias import metrics

pytestmark = pytest.mark.browser
GROUPS = ("head", "medium", "tail")
PANELS = "canvas.pld-overview, canvas.pld-carpet:not([hidden]), canvas.pld-matrix:not([hidden]), canvas.pld-curves"
WRONG = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
HAVE_RUN = """wrong => document.querySelector(wrong) ||
  [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")].every((prompt) => /\\d/.test(prompt.textContent))"""
# Width, height and number of different pixels of a picture.
INSPECT = """async (image) => {
  await image.decode();
  const [w, h] = [image.naturalWidth, image.naturalHeight], ctx = new OffscreenCanvas(w, h).getContext("2d");
  ctx.drawImage(image, 0, 0);
  return [w, h, new Set(new Uint32Array(ctx.getImageData(0, 0, w, h).data.buffer)).size];
}"""
STUDENTS = [f"course/value/glyphs-lt/selftraining_base=*_{teacher}_s0/s0" for teacher in ("supervised_augment=strong", "crt")]
EXPLORERS = {
    "01": [
        ["glyphs-lt/fixmatch/s0"],
        ["glyphs-lt/fixmatch/s0", "glyphs-lt/usadtm/s0"],
        ["glyphs-lt/fixmatch+daso/s0", "glyphs-lt/fixmatch+debiaspl/s0"],
    ],
    "02": [["course/uniform/glyphs-lt/fixmatch/s0"]],
    "03": [["glyphs-lt/fixmatch/s0"]],
    "04": [["glyphs-lt/fixmatch/s0", "glyphs-lt/fixmatch+debiaspl/s0"]],
    "05": [STUDENTS],
    "06": [["compare/glyphs-lt/fixmatch/s0", "compare/glyphs-lt/fixmatch+debiaspl/s0"]],
    "07": [],
    "08": [["own/torch"]],
    "09": [["gallery/consistent_fixmatch_s0.zip", "gallery/consistent_fixmatch+daso_s0.zip"]],
}
"""What every explorer of a notebook shows, below `runs`, or below `data` where it comes with the project."""


@pytest.fixture(scope="module")
def course(tmp_path_factory, once):
    """`course(source)` opens a notebook in JupyterLab; one server, one browser, and one folder where later ones find trainings."""
    from refresh import read

    root = tmp_path_factory.mktemp("course")
    folder = course_folder(root)
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("PLDEBIAS_FAST", "1")
        patch.delenv("PLDEBIAS_CIFAR10", raising=False)  # as on a machine that has no images of the gallery's runs
        address, browser = stack.enter_context(server(root)), stack.enter_context(chromium(OFFLINE))

        def run(path):
            """The run that lies there."""
            (found,) = (root / ("data" if path.startswith("gallery/") else "runs")).glob(path)
            return pld.open_run(found)

        @contextlib.contextmanager
        def opened(source):
            nbformat.write(read(source), folder / f"{source.stem}.ipynb")  # without outputs
            with once(root), notebook_open(browser, address, f"notebooks/{source.stem}.ipynb", source.stem) as page:
                cells = [cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"]

                def output(text):
                    """What the cell printed and drew whose source holds `text`."""
                    (number,) = [number for number, cell in enumerate(cells) if text in cell]
                    return page.locator(".jp-CodeCell").nth(number).locator(".jp-OutputArea")

                yield SimpleNamespace(page=page, cells=cells, output=output, run=run)
                for session in page.request.get(f"{address}/api/sessions?token={TOKEN}").json():
                    assert page.request.delete(f"{address}/api/sessions/{session['id']}?token={TOKEN}").ok

        yield opened


def table(output):
    """The first table of an output: name of a row -> its other cells, as text; headings have the name ''."""
    rows = output.locator("table").first.evaluate("t => [...t.rows].map((row) => [...row.cells].map((cell) => cell.innerText.trim()))")
    return {row[0]: row[1:] for row in rows}


def column(output, number):
    """Numbers of one column of a table, by the name of the row."""
    return {name: float(row[number]) for name, row in table(output).items() if re.fullmatch(r"-?[\d.]+|NaN|inf", row[number])}


def rounded(values, digits):
    """What pandas prints of numbers."""
    return pytest.approx({name: round(float(value), digits) for name, value in values.items()}, abs=1e-9, nan_ok=True)


def balanced(run, kind="test", epoch=-1):
    return 100 * float(metrics.balanced_accuracy(run.confusion(kind, epoch=epoch)))


# ---- what every notebook shows


def assert_ran(lab):
    """Every cell has run in its turn, none failed, and nothing was written to stderr."""
    page = lab.page
    run_all(page, 120_000, ".jp-OutputArea-output:visible")  # a bar that has gone leaves a hidden one
    page.wait_for_function(HAVE_RUN, arg=WRONG, timeout=300_000)
    assert page.locator(WRONG).all_inner_texts() == []
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    assert [text.strip() for text in prompts] == [f"[{number + 1}]:" for number in range(len(lab.cells))]


def assert_pictured(lab, source):
    """Where the notebook of the package has a picture or a table, there is a view, a picture with something in it, or a table."""
    kept = nbformat.read(source.with_suffix(".ipynb"), 4)
    kept = [[set(out.get("data", {})) for out in cell.outputs] for cell in kept.cells if cell.cell_type == "code"]
    for number, outputs in enumerate(kept):
        shown = lab.page.locator(".jp-CodeCell").nth(number).locator(".jp-OutputArea")
        views = shown.locator(".pldebias[data-epoch], .pld-embedding[data-epoch], .widget-box")
        images = shown.locator(".jp-OutputArea-output img")
        if any("image/png" in data for data in outputs):
            assert views.count() or images.count(), lab.cells[number]
        if any("text/html" in data and "image/png" not in data for data in outputs):
            assert shown.locator("table").count(), lab.cells[number]
        for image in images.all():
            width, height, colours = image.evaluate(INSPECT)
            assert width > 200 and height > 100 and colours > 10, lab.cells[number]


# ---- explorers


def told(runs, epoch):
    """The sentence of the status line."""
    each = []
    for letter, run in zip("AB" if len(runs) > 1 else [""], runs, strict=True):
        counts, groups = run.confusion("sweep", epoch=epoch), metrics.groups(run.labelled_counts)
        recall = [f"{name} {100 * value:.1f} %" for name, value in zip(GROUPS, metrics.group(counts, groups).recall, strict=True)]
        share = counts[:, groups.tail].sum() / counts[groups.tail].sum()
        each.append(
            f"{letter} {run.name}: balanced accuracy {balanced(run, 'sweep', epoch):.1f} %; recall {', '.join(recall)}; "
            f"tail labels per true sample {share:.2f}".strip()
        )
    return f"epoch {epoch}, sweep, all. {'. '.join(each)}."


def at(explorer, epoch):
    """Pixels of every panel of an explorer, and what its status says, once it shows an epoch."""
    node = explorer.element_handle()
    explorer.page.wait_for_function("([node, epoch]) => +node.dataset.epoch === epoch", arg=[node, epoch], timeout=15_000)
    painted(explorer)
    pixels = explorer.locator(PANELS).evaluate_all("canvases => canvases.map((canvas) => canvas.toDataURL())")
    return pixels, explorer.locator("[role=status]").inner_text()


def assert_scrubs(explorer, runs):
    """Keys and mouse go through the epochs; the pixels change, and what is said is what `metrics` computes; a cell opens its samples."""
    page, timeline = explorer.page, sorted({epoch for run in runs for epoch in run.epochs.tolist()})
    epochs = [epoch for epoch in timeline if all(epoch in run.epochs for run in runs)]  # copies may lack some
    explorer.scroll_into_view_if_needed()
    seen = {epochs[-1]: at(explorer, epochs[-1])}
    explorer.locator("input[type=range]").focus()
    for key, epoch in (("Home", epochs[0]), ("ArrowRight", epochs[1]), ("End", epochs[-1])):
        for _ in range(timeline.index(epoch) if key == "ArrowRight" else 1):
            page.keyboard.press(key)
        now = at(explorer, epoch)
        assert seen.setdefault(epoch, now) == now  # the same epoch always looks the same
    carpet = explorer.locator("canvas.pld-carpet:not([hidden])").first
    carpet.scroll_into_view_if_needed()
    box = carpet.bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.15 * box["width"], box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert at(explorer, epochs[0]) == seen[epochs[0]]
    panels = list(zip(*(pixels for pixels, _ in seen.values()), strict=True))
    assert len(panels) == 2 + 2 * len(runs)
    assert {len(set(panel)) for panel in panels} == {len(seen)} == {min(len(epochs), 3)}
    for epoch, (_, text) in seen.items():
        assert text == told(runs, epoch)
    assert_opens(explorer, runs, epochs[0])


def assert_opens(explorer, runs, epoch):
    """A click on a cell of the first matrix: its numbers with Wilson intervals, and the samples that the kernel finds."""
    page, status = explorer.page, explorer.locator("[role=status]")
    matrix = explorer.locator("canvas.pld-matrix:not([hidden])").first
    matrix.scroll_into_view_if_needed()
    box, names = matrix.bounding_box(), runs[0].class_names
    counts = [run.confusion("sweep", epoch=epoch) for run in runs]
    for part in np.linspace(0.3, 0.8, 12):
        x, y = round(box["x"] + part * box["width"]), round(box["y"] + 0.4 * box["height"])  # a click has whole pixels
        page.mouse.move(x, y)
        painted(explorer)
        pair = re.search(r"true (.+) → pseudo-label (.+?)\. ", status.inner_text())
        true, label = (names.index(name) for name in pair.groups())
        if true != label and counts[0][true, label]:
            break
    for run, matrix in zip(runs, counts, strict=True):
        n, of = matrix[true, label], matrix[true].sum()
        low, high = (100 * value for value in metrics.wilson(n, of))
        said = f"{run.name}: count {n:,}, {100 * n / of:.1f} % of true [{low:.1f}, {high:.1f}] (n = {of:,})"
        assert said in status.inner_text()
    page.mouse.click(x, y)
    samples, n = explorer.locator(".pld-samples"), counts[0][true, label]
    samples.wait_for(timeout=60_000)
    title = f"{min(n, 24)} of {n} samples of true class {names[true]} with pseudo-label {names[label]} in the sweep of epoch {epoch}"
    assert title in samples.inner_text()
    if runs[0].config:  # a run of this package knows how to make its data again, or says what it lacks
        lacks = "PLDEBIAS_CIFAR10 is not set" if "$" in runs[0].config["source"] else ""
        assert lacks in samples.inner_text() and ("pictures" in samples.inner_text()) is bool(lacks)
    assert samples.locator("canvas").bounding_box()["height"] > 30


# ---- what each notebook shows besides


def scrub(lab):
    run = lab.run("glyphs-lt/fixmatch/s0")
    groups, sweep = metrics.groups(run.labelled_counts), run.confusion("sweep")
    drift = lab.output("drift = pandas")
    assert column(drift, 1) == rounded({"0": metrics.group(sweep[0], groups).recall[2], "3": metrics.group(sweep[3], groups).recall[2]}, 2)
    assert column(drift, 4) == rounded({str(epoch): balanced(run, epoch=epoch) / 100 for epoch in (0, 3)}, 2)
    printed = lab.output("baseline = test[").inner_text()
    for name in ("supervised", "fixmatch", "fixmatch+daso", "fixmatch+debiaspl"):
        assert re.search(rf"^ +{re.escape(name)} +{balanced(lab.run(f'glyphs-lt/{name}/s0')):.1f} %", printed, re.MULTILINE)


def causes(lab):
    worlds = "balanced", "long tail", "uniform", "reversed"
    runs = {name: lab.run(f"course/{name.replace(' ', '-')}/glyphs-lt/fixmatch/s0") for name in worlds}
    gain = metrics.gain(runs["balanced"].confusion("sweep", epoch=-1))
    assert [float(text) for text in table(lab.output("gain = pandas"))["balanced"]] == pytest.approx(np.round(gain, 2), abs=1e-9)
    for number, scheme in enumerate((None, "la(at=pseudo,tau=1)", "debiaspl(tau=1)")):
        answers = {name: 100 * metrics.balanced_accuracy(pld.what_if(run, scheme).confusion) for name, run in runs.items()}
        assert column(lab.output("cures ="), number) == rounded(answers, 1)


def clusters(lab):
    """The embedding view moves, tells what the package measures, and moves the explorer with it; a lasso shows there."""
    page, run = lab.page, lab.run("glyphs-lt/fixmatch/s0")
    view, explorer = page.locator(".pld-embedding"), page.locator(".pldebias")
    first, last = (int(epoch) for epoch in run.logged("features")[-2:])
    points = pld.embed(run, per_class=15, epochs=[first, last])  # purity and labels do not depend on the picture
    view.scroll_into_view_if_needed()
    view.locator("input").focus()
    seen = {last: settled(page, last)}
    for key, epoch in (("Home", first), ("End", last), ("Home", first)):
        page.keyboard.press(key)
        now = settled(page, epoch)
        assert seen.setdefault(epoch, now) == now
        assert at(explorer, epoch)[1] == told([run], epoch)
        said = view.locator("[role=status]").inner_text()
        assert said.startswith(told_of_points(points, [first, last].index(epoch)).rpartition("; trustworthiness")[0])
    assert seen[first] != seen[last]
    lasso(page, [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)])
    settled(page)
    assert f"{len(points.index)} selected" in view.locator("[role=status]").inner_text()
    explorer.locator(".pld-samples").wait_for(timeout=60_000)
    assert f"24 of {len(points.index)} chosen samples in the sweep of epoch {first}" in explorer.locator(".pld-samples").inner_text()
    view.locator(".pld-points").focus()
    page.keyboard.press("Escape")
    explorer.locator(".pld-samples").wait_for(state="hidden")
    view.locator("input").focus()
    page.keyboard.press("End")
    at(explorer, last)
    recall = metrics.group(run.confusion("sweep"), points.groups).recall[:, 2]
    assert column(lab.output('"recall of the tail"'), 1) == rounded({str(epoch): value for epoch, value in enumerate(recall)}, 2)


def counterfactual(lab):
    """The panel's buttons and sliders change its matrices to what `what_if` computes; a really trained run stands beside it."""
    page, run, debiased = lab.page, lab.run("glyphs-lt/fixmatch/s0"), lab.run("glyphs-lt/fixmatch+debiaspl/s0")
    panel = lab.output("WhatIfPanel(run")
    chain, slider = panel.locator(".widget-text input"), panel.locator(".widget-slider", has_text="debiaspl tau")
    assert_shows(panel, pld.what_if(run, "debiaspl(tau=1)"), debiased)
    seen = [panel.locator("table").first.screenshot()]
    panel.get_by_role("button", name="as trained").click()
    assert_shows(panel, pld.what_if(run))
    seen.append(panel.locator("table").first.screenshot())
    panel.get_by_role("button", name="DASO", exact=True).click()
    assert_shows(panel, pld.what_if(run, "daso"), lab.run("glyphs-lt/fixmatch+daso/s0"))
    seen.append(panel.locator("table").first.screenshot())
    panel.get_by_role("button", name="bare learner").click()
    page.wait_for_function("input => input.value === ''", arg=chain.element_handle())
    panel.get_by_role("button", name="DebiasPL", exact=True).click()
    box = slider.locator(".noUi-handle").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 110, box["y"] + box["height"] / 2, steps=8)
    page.mouse.up()
    tau = float(slider.locator(".widget-readout").inner_text())
    assert tau > 0.5
    page.wait_for_function("([input, chain]) => input.value === chain", arg=[chain.element_handle(), f"debiaspl(tau={tau})"])
    assert_shows(panel, pld.what_if(run, chain.input_value()), debiased)
    seen.append(panel.locator("table").first.screenshot())
    assert len(set(seen)) == len(seen)
    assert set(column(lab.output("differing = {"), 1).values()) == {0}


def labels(lab):
    strong = "glyphs-lt/supervised_augment=strong/s0"
    places = {
        "labelled images alone": f"course/value/{strong}",
        "FixMatch": "course/value/glyphs-lt/fixmatch/s0",
        "self-training": STUDENTS[0],
        "re-trained classifier": "course/value/glyphs-lt/crt/s0",
        "self-training from the re-trained one": STUDENTS[1],
        "pre-trained by rotation": f"course/value/after-rotation/{strong}",
        "pre-trained by contrast": f"course/value/after-moco/{strong}",
        "twice the labels": f"course/value/40-labels/{strong}",
    }
    shown = column(lab.output("ways = {"), 2)
    assert shown == rounded({name: balanced(lab.run(path)) for name, path in places.items()}, 1)
    assert list(shown.values()) == sorted(shown.values())


def seeds(lab):
    shown = table(lab.output("table = pld.table"))
    for method in ("fixmatch", "fixmatch+daso", "fixmatch+debiaspl"):
        values = [balanced(lab.run(f"compare/glyphs-lt/{method}/s{seed}")) for seed in (0, 1)]
        assert shown[method][0].startswith(f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}")
    refusal = lab.output("except Incomparable").inner_text()
    assert "gamma_u is 25.0 in the first, 1.0 in the second" in " ".join(refusal.split())
    assert r"\begin{tabular}" in lab.output("to_latex").inner_text()


def figures(lab):
    runs = [lab.run(f"compare/glyphs-lt/fixmatch+daso/s{seed}") for seed in (0, 1)]
    recall = 100 * np.array([metrics.recall(run.confusion("sweep", epoch=-1)) for run in runs])
    names, output = runs[0].class_names, lab.output("backend=")
    assert column(output, 0) == rounded(dict(zip(names, recall.mean(0), strict=True)), 1)
    assert column(output, 1) == rounded(dict(zip(names, recall.std(0, ddof=1), strict=True)), 1)
    assert lab.page.locator(".jp-OutputArea-output img").count() == 4
    assert "recall_precision.pdf" in lab.output("figure.save").inner_text()


def loops(lab):
    runs = {"self-training": lab.run("own/torch"), "numpy self-training": lab.run("own/numpy")}
    assert column(lab.output("pld.table("), 1) == rounded({name: balanced(run) for name, run in runs.items()}, 1)
    assert "the same matrices: True" in lab.output("from_csv(").inner_text()
    run = runs["self-training"]
    recall = metrics.group(run.confusion("test", epoch=-1), metrics.groups(run.labelled_counts)).recall
    logged = column(lab.output("write_tensorboard("), 2)
    assert {name: logged[f"recall_test/{name}"] for name in GROUPS} == rounded(dict(zip(GROUPS, recall, strict=True)), 3)


def photographs(lab):
    run = lab.run("gallery/consistent_fixmatch_s0.zip")
    sweep = run.confusion("sweep", epoch=-1)
    assert column(lab.output("leaks = pandas"), 2) == rounded(dict(zip(run.class_names, 100 * metrics.recall(sweep), strict=True)), 1)
    answers = table(lab.output("what if: tail recall"))
    for name, scheme in (("fixmatch", None), ("fixmatch+daso", "daso"), ("fixmatch+debiaspl", "debiaspl")):
        trained = lab.run(f"gallery/consistent_{name}_s0.zip").confusion("sweep", epoch=-1)
        tails = [metrics.group(m, metrics.groups(run.labelled_counts)).recall[2] for m in (pld.what_if(run, scheme).confusion, trained)]
        assert [float(answers[name][number]) for number in (0, 2)] == pytest.approx([round(100 * value, 1) for value in tails])


BESIDES = {
    **{"01": scrub, "02": causes, "03": clusters, "04": counterfactual, "05": labels, "06": seeds, "07": figures, "08": loops},
    "09": photographs,
}


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_the_notebook_runs_and_its_views_answer(source, course):
    with course(source) as lab:
        assert_ran(lab)
        assert_pictured(lab, source)
        BESIDES[source.stem[:2]](lab)
        explorers, expected = lab.page.locator(".pldebias[data-epoch]"), EXPLORERS[source.stem[:2]]
        assert explorers.count() == len(expected)
        for number, paths in enumerate(expected):
            assert_scrubs(explorers.nth(number), [lab.run(path) for path in paths])
