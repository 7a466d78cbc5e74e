"""The embedding view's page, opened from disk in Chromium: it scrubs, selects, links, and says what the package computes."""

import hashlib
import re

import chromium
import numpy as np
import pytest
from made_runs import HOSTILE, make_snapshots

import pldebias as pld
from pldebias.analysis.embedding import FLIPS
from pldebias.widgets.page import page as page_of

pytestmark = pytest.mark.browser
GROUPS = ("head", "medium", "tail", "all")
LISTEN = """() => {
  window.heard = [];
  window.__pldebias.both.listeners.add((patch, origin) => origin !== "test" && window.heard.push(JSON.parse(JSON.stringify(patch))));
}"""
SEND = """patch => {
  const hub = window.__pldebias.both;
  Object.assign(hub.values, patch);
  for (const f of hub.listeners) f(patch, "test");
}"""
# The module rendered a second time by hand, with a model that counts what it is told.
BY_HAND = """async () => {
  const text = (id) => document.getElementById(id).textContent, saved = (window.saved = []), state = JSON.parse(text("state-0"));
  state.data = new DataView(Uint8Array.from(atob(text("data-0")), (c) => c.charCodeAt(0)).buffer);
  const { default: { render } } = await import(URL.createObjectURL(new Blob([text("module-0")], { type: "text/javascript" })));
  const el = document.body.appendChild(document.createElement("div"));
  const model = { get: (key) => state[key], set: (key, value) => (state[key] = value), on() {}, off() {} };
  model.save_changes = () => saved.push(state.epoch);
  window.close_it = render({ model, el });
}"""


def opened(path, **context):
    return chromium.opened(path, lambda page: page.locator(".pld-embedding[data-epoch]").last.wait_for(), **context)


def settled(page, epoch=None):
    """Digest of the picture's pixels once nothing moves (and `epoch` is shown)."""
    page.wait_for_function(
        """epoch => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
          const { t, frame, epoch: shown } = document.querySelector(".pld-embedding").dataset;
          done(+t === +frame && (epoch === null || +shown === epoch));
        })))""",
        arg=epoch,
    )
    last, now = None, page.locator(".pld-points").first.evaluate("canvas => canvas.toDataURL()")
    while now != last:  # a page just opened may still find its width
        page.wait_for_timeout(60)
        last, now = now, page.locator(".pld-points").first.evaluate("canvas => canvas.toDataURL()")
    return hashlib.sha256(now.encode()).hexdigest()


def status(page):
    return page.locator("[role=status]").first.inner_text()


def told(points, frame):
    """The sentence that the status line must say of a snapshot."""

    def each(values, say):
        return ", ".join(f"{group} {say(v)}" for group, v in zip(GROUPS, values, strict=True))

    return (
        f"epoch {points.epochs[frame]}; right labels of those shown: {each(points.right[frame], lambda v: f'{100 * v:.1f} %')}; "
        f"neighbourhood purity {each(points.purity[frame], lambda v: f'{v:.2f}')}; trustworthiness {points.trustworthiness[frame]:.2f}."
    )


def point_told(points, frame, sample):
    """What must be said of a sample at a snapshot."""
    i, names = int(np.flatnonzero(points.index == sample)[0]), points.run.class_names
    true, label = points.true[i], points.label[frame, i]
    return (
        f"epoch {points.epochs[frame]}, sample {sample}, true {names[true]} → pseudo-label {names[label]}, "
        f"{'right' if true == label else 'wrong'}, confidence {np.round(100 * points.confidence[frame, i], 1):.1f} %, "
        f"{'accepted' if points.accepted[frame, i] else 'rejected'}."
    )


def cells(points, frame, samples):
    """``[true, label, n]`` of samples, largest first, ties by class."""
    rows = np.isin(points.index, samples)
    found, counts = np.unique(points.true[rows] * 6 + points.label[frame, rows], return_counts=True)
    order = np.lexsort((found, -counts))
    return [[int(found[k] // 6), int(found[k] % 6), int(counts[k])] for k in order]


def lasso(page, corners):
    """Drag along corners given as shares of the picture."""
    box = page.locator(".pld-points").first.bounding_box()
    places = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] + 30, box["y"])


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    return pld.embed(make_snapshots(tmp_path_factory.mktemp("runs") / "a"), per_class=None)


@pytest.fixture(scope="module")
def single(points, tmp_path_factory):
    return pld.embedding_view(points, link="both").to_html(tmp_path_factory.mktemp("page") / "single.html")


def test_keys_move_the_points_and_the_numbers_are_those_of_the_package(single, points):
    with opened(single) as page:
        page.locator("input").focus()
        seen = {3: (settled(page, 3), status(page))}
        for key, expected in (("Home", 0), ("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("End", 3), ("Home", 0)):
            page.keyboard.press(key)
            now = settled(page, expected), status(page)
            assert seen.setdefault(expected, now) == now  # the same snapshot always looks the same
        assert len({pixels for pixels, _ in seen.values()}) == 3
        for frame, epoch in enumerate(points.epochs.tolist()):
            assert seen[epoch][1] == told(points, frame)
        cells_of_table = page.locator("table tr").all_inner_texts()
        n = len(points.index)
        assert cells_of_table[4].split() == ["all", str(n), f"{100 * points.right[0, 3]:.1f}", "%", f"{points.purity[0, 3]:.2f}"]


def test_the_slider_shows_positions_between_snapshots_and_play_runs_to_the_end(single):
    with opened(single, reduced_motion="no-preference") as page:
        slider, root = page.locator("input"), page.locator(".pld-embedding")
        box = slider.bounding_box()
        y = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] - 8, y)
        page.mouse.down()
        visited = []
        for part in (0.8, 0.6, 0.4, 0.3):
            page.mouse.move(box["x"] + part * box["width"], y)
            page.wait_for_timeout(80)
            visited.append(float(root.get_attribute("data-t")))
        assert visited == sorted(visited, reverse=True) and any(t % 1 for t in visited)
        assert "moving 0 → 2" in page.locator("output").inner_text()
        page.mouse.up()
        settled(page)
        assert float(root.get_attribute("data-t")) % 1 == 0
        page.get_by_label("snapshots per second").select_option("4")
        page.get_by_role("button", name="play").click()
        page.wait_for_function("() => document.querySelector('.pld-embedding').dataset.t == 2")
        page.get_by_role("button", name="play").wait_for()  # it says pause until it has ended


def test_reduced_motion_jumps(single):
    with opened(single, reduced_motion="reduce") as page:
        page.evaluate(
            """() => {
              const root = document.querySelector(".pld-embedding");
              window.ts = new Set();
              new MutationObserver(() => window.ts.add(root.dataset.t)).observe(root, { attributes: true });
            }"""
        )
        page.locator("input").focus()
        for key in ("Home", "ArrowRight", "Space"):
            page.keyboard.press(key)
            page.wait_for_timeout(400)
        assert {float(t) % 1 for t in page.evaluate("() => [...window.ts]")} == {0}


def test_hovering_and_walking_tell_a_sample(single, points):
    with opened(single) as page:
        settled(page, 3)
        page.locator(".pld-points").focus()
        page.keyboard.press("Enter")
        walked = set()
        for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
            settled(page)
            sample = int(re.search(r"sample (\d+)", status(page))[1])
            assert status(page) == point_told(points, 2, sample)
            walked.add(sample)
        assert len(walked) > 2
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        settled(page)
        assert "1 selected" in status(page)
        page.keyboard.press("Escape")
        settled(page)
        assert status(page) == told(points, 2)
        box, tip = page.locator(".pld-points").bounding_box(), page.locator(".pld-tip")
        for part in np.linspace(0.1, 0.9, 60):
            page.mouse.move(box["x"] + part * box["width"], box["y"] + 0.5 * box["height"])
            if tip.is_visible():
                break
        settled(page)
        sample = int(re.search(r"sample (\d+)", tip.inner_text())[1])
        assert status(page) == point_told(points, 2, sample)


def test_colours_repaint_and_the_legend_counts(single, points):
    with opened(single) as page:
        looks = {settled(page, 3)}
        select = page.get_by_label("colour")
        for colour in ("true", "flipped", "confidence"):
            select.select_option(colour)
            looks.add(settled(page))
            legend = page.locator(".pld-item").all_inner_texts()
            fill = pld.embedding_view(points, colour=colour, backend="none")["fill"][-1]
            if colour != "confidence":
                texts = FLIPS[:4] if colour == "flipped" else GROUPS[:3]
                for code, text in enumerate(texts[:3]):
                    line = next(line for line in legend if line.startswith(text))
                    assert int(line.split()[-1]) == (fill == code).sum()
        assert len(looks) == 4
        page.locator(".pld-points").focus()
        page.keyboard.press("1")
        assert settled(page) in looks and select.input_value() == "pseudo"


def test_a_lasso_selects_samples_and_tells_their_cells(single, points):
    with opened(single) as page:
        before = settled(page, 3)
        page.evaluate(LISTEN)
        lasso(page, ((0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)))
        assert settled(page) == before  # where all are selected none is dimmed
        everything = page.evaluate("() => window.heard.at(-1)")
        assert everything["samples"] == points.index.tolist()
        assert everything["cells"] == cells(points, 2, points.index)
        lasso(page, ((0.01, 0.01), (0.5, 0.01), (0.5, 0.99), (0.01, 0.99)))
        assert settled(page) != before
        half = page.evaluate("() => window.heard.at(-1)")
        assert 0 < len(half["samples"]) < len(points.index) and half["cells"] == cells(points, 2, half["samples"])
        x = points.frames[2, :, 0]  # what lies in the left half is what was selected
        chosen = np.isin(points.index, half["samples"])
        assert x[chosen].max() < x[~chosen].min()
        names = points.run.class_names
        top = ", ".join(f"{names[t]} → {names[p]} {n}" for t, p, n in half["cells"][:4])
        assert status(page) == f"epoch 3; {len(half['samples'])} selected, {top}."
        page.keyboard.press("Home")
        settled(page, 0)
        again, moved = page.evaluate("() => window.heard.slice(-2)")
        assert again == {"samples": half["samples"], "cells": cells(points, 0, half["samples"])}  # they have other labels there
        assert moved == {"epoch": 0}
        page.get_by_role("button", name="clear selection").click()
        assert page.evaluate("() => window.heard.at(-1)") == {"samples": None, "cells": []}


def test_what_others_say_is_shown_and_not_repeated(single, points):
    with opened(single) as page:
        settled(page, 3)
        page.evaluate(LISTEN)
        page.evaluate(SEND, {"epoch": 1})
        settled(page, 0)  # as near as 2, and earlier
        assert page.locator("output").inner_text() == "epoch 0, snapshot 1 of 3 (nearest to epoch 1)"
        before = settled(page, 0)
        page.evaluate(SEND, {"cell": {"true": 5, "label": 0}})
        assert settled(page) != before
        hits = int(((points.true == 5) & (points.label[0] == 0)).sum())
        of = int((points.true == 5).sum())
        assert f"true class 5 → pseudo-label class 0: {hits} of {of} shown of this class ({100 * hits / of:.1f} %)" in status(page)
        page.evaluate(SEND, {"samples": [0, 3, 9_999_999]})
        settled(page)
        assert "2 selected" in status(page) and "1 of the samples chosen elsewhere are not in this picture" in status(page)
        for nonsense in ({"cell": {"true": 99, "label": "x"}}, {"epoch": None}, {"samples": "all"}, {"other": 1}):
            page.evaluate(SEND, nonsense)
        page.evaluate(SEND, {"cell": None, "samples": None})
        settled(page)
        assert status(page) == told(points, 0)
        assert page.evaluate("() => window.heard") == []  # hearing is not saying


def test_the_keyboard_alone_chooses_a_cell_and_selects_it(single, points):
    with opened(single) as page:
        settled(page, 3)
        page.evaluate(LISTEN)
        true, label, _ = next(cell for cell in cells(points, 2, points.index) if cell[0] != cell[1])
        page.get_by_label("true").select_option(str(true))
        assert page.evaluate("() => window.heard") == []  # half a cell is nobody else's business
        page.get_by_label("pseudo-label").select_option(str(label))
        page.locator(".pld-points").focus()
        page.keyboard.press("s")
        settled(page)
        cell, selected = page.evaluate("() => window.heard")
        expected = points.index[(points.true == true) & (points.label[2] == label)].tolist()
        assert cell == {"cell": {"true": true, "label": label}}
        assert selected == {"samples": expected, "cells": [[true, label, len(expected)]]}
        stops = page.evaluate(
            """() => [...document.querySelectorAll(".pld-embedding :is(button, select, input, [tabindex]), .pld-embedding")]
               .filter((node) => node.dataset.lmSuppressShortcuts !== "true").length"""
        )
        assert stops == 0  # JupyterLab would take their keys


def test_two_views_of_a_page_move_together(points, tmp_path):
    path = tmp_path / "two.html"
    path.write_text(
        page_of(pld.embedding_view(points, link="both").piece(), pld.embedding_view(points, link="both", colour="true").piece())
    )
    with opened(path) as page:
        settled(page, 3)
        page.locator("input").nth(1).focus()
        page.keyboard.press("Home")
        settled(page, 0)
        lasso(page, ((0.01, 0.01), (0.5, 0.01), (0.5, 0.99), (0.01, 0.99)))
        settled(page)
        assert "selected" in status(page) and page.locator("[role=status]").nth(1).inner_text() == status(page)
        page.locator("input").nth(1).focus()
        page.keyboard.press("Escape")
        page.wait_for_function(
            "() => [...document.querySelectorAll('[role=status]')].every((node) => node.textContent.startsWith('epoch 0; right'))"
        )


def test_a_page_with_the_explorer_is_linked_both_ways(points, tmp_path):
    run, view = points.run, pld.embedding_view(points, link="both")
    path = view.to_html(tmp_path / "both.html", explorer=pld.explore(run, link="both"))
    with opened(path) as page:
        explorer = page.locator(".pldebias[data-epoch]")
        explorer.wait_for()
        settled(page, 3)
        page.locator(".pldebias input[type=range]").focus()
        page.keyboard.press("Home")
        settled(page, 0)  # the explorer leads
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => document.querySelector('.pld-embedding output').textContent.endsWith('(nearest to epoch 1)')")
        page.locator(".pld-embedding input").focus()
        page.keyboard.press("End")
        page.wait_for_function("() => document.querySelector('.pldebias').dataset.epoch == 3")  # and follows
        page.locator(".pldebias .pld-matrix:not([hidden])").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => +document.querySelector('.pld-embedding [aria-label=true]').value >= 0")
        true, label = (
            int(page.locator(".pld-embedding").get_by_label(name, exact=True).input_value()) for name in ("true", "pseudo-label")
        )
        of, hits = int((points.true == true).sum()), int(((points.true == true) & (points.label[2] == label)).sum())
        settled(page)
        assert f": {hits} of {of} shown of this class" in page.locator(".pld-embedding [role=status]").inner_text()
        before = page.locator(".pldebias .pld-matrix:not([hidden])").evaluate("canvas => canvas.toDataURL()")
        page.locator(".pld-points").scroll_into_view_if_needed()
        lasso(page, ((0.01, 0.01), (0.5, 0.01), (0.5, 0.99), (0.01, 0.99)))
        settled(page)
        assert page.locator(".pldebias .pld-matrix:not([hidden])").evaluate("canvas => canvas.toDataURL()") != before  # marks its cells
    with pytest.raises(ValueError, match="must have one link name"):
        view.to_html(tmp_path / "none.html", explorer=pld.explore(run))


def test_the_kernel_hears_seldom_and_of_the_last_change_and_a_closed_view_is_gone(single):
    with opened(single) as page:
        settled(page, 3)
        page.evaluate(BY_HAND)
        page.locator(".pld-embedding[data-epoch]").nth(1).wait_for()
        assert page.evaluate("() => window.__pldebias.both.listeners.size") == 2
        page.evaluate("""async () => {
          const slider = document.querySelectorAll("input")[1];
          for (let k = 0; k <= 60; k++) {
            slider.value = 2 - (k % 3);
            slider.dispatchEvent(new Event("input"));
            await new Promise(requestAnimationFrame);
          }
        }""")
        page.wait_for_timeout(300)
        saved = page.evaluate("() => window.saved")
        assert 2 <= len(saved) < 45 and saved[-1] == 3  # 61 changes in a second or more; the last is snapshot 2
        page.evaluate("() => window.close_it()")
        assert page.evaluate("() => window.__pldebias.both.listeners.size") == 1


def test_unknown_truth_still_shows_labels(tmp_path):
    run = make_snapshots(tmp_path / "unknown", unknown=True)
    path = pld.embedding_view(run).to_html(tmp_path / "unknown.html")
    with opened(path) as page:
        settled(page, 3)
        assert page.get_by_label("true").is_disabled()
        assert page.locator("option[value=true]").is_disabled()
        page.locator(".pld-points").focus()
        page.keyboard.press("2")
        settled(page, 3)
        assert "true classes" in status(page)
        assert "wrong" not in page.locator(".pld-side").inner_text()


def test_names_are_text_and_narrow_or_dark_windows_work(tmp_path):
    run = make_snapshots(tmp_path / "hostile", names=list(HOSTILE))
    path = pld.embedding_view(run, colour="true").to_html(tmp_path / "hostile.html")
    for context in ({"width": 420}, {"color_scheme": "dark"}):
        with opened(path, **context) as page:
            settled(page, 3)
            assert page.locator("script").count() == 4  # those of the template
            assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
            page.locator(".pld-points").focus()
            page.keyboard.press("Enter")
            settled(page)
            assert any(name in status(page) for name in HOSTILE)
