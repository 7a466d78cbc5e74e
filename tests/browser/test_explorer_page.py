"""The explorer's page, opened from disk in Chromium without a network: it scrubs, plays, compares, and says what the package computes."""

import re

import chromium
import numpy as np
import pytest
from made_runs import HOSTILE, make_run

import pldebias as pld
from pldebias import metrics
from pldebias.runs import Recorder
from pldebias.widgets.followed import followed
from pldebias.widgets.module import module

pytestmark = pytest.mark.browser
PIXELS = "canvases => canvases.map((canvas) => canvas.toDataURL()).join()"


def opened(path, **context):
    return chromium.opened(path, lambda page: page.locator(".pldebias[data-epoch]").wait_for(), **context)


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
        painted(page)
        text = page.locator("[role=status]").inner_text()
        for run in runs:
            told = 100 * float(metrics.balanced_accuracy(run.confusion("sweep", epoch=0)))
            assert f"{run.name}: balanced accuracy {told:.1f} %" in text
        left = page.locator("canvas.pld-matrix:not([hidden])").first.get_attribute("aria-label")
        page.keyboard.press("x")
        painted(page)
        assert page.locator("canvas.pld-matrix:not([hidden])").first.get_attribute("aria-label") != left


def number(text):
    return float(text.replace("−", "-"))


def test_the_difference_of_two_runs_is_told_in_points(runs, tmp_path):
    """A - B: what is shown is the difference of what `metrics` computes, with Newcombe's interval, and its sign turns when A and B do."""
    path = pld.explore(runs[1], runs[0], cell=[5, 0]).to_html(tmp_path / "two.html")
    with opened(path) as page:
        page.locator("input[type=range]").focus()
        both = painted(page)
        page.keyboard.press("d")
        assert painted(page) != both
        assert page.locator("canvas.pld-matrix:not([hidden])").count() == 1
        text = page.locator("[role=status]").inner_text()
        pair = [run.confusion("sweep", epoch=11) for run in (runs[1], runs[0])]
        told = re.search(r"A − B: (\S+) points of true \[(\S+), (\S+)\]", text)
        gap, low, high = (number(value) for value in told.groups())
        shares = [matrix[5, 0] / matrix[5].sum() for matrix in pair]
        (pl, ph), (ql, qh) = (metrics.wilson(matrix[5, 0], matrix[5].sum()) for matrix in pair)
        assert gap == pytest.approx(100 * (shares[0] - shares[1]), abs=0.051)
        assert low == pytest.approx(100 * (shares[0] - shares[1] - np.hypot(shares[0] - pl, qh - shares[1])), abs=0.051)
        assert high == pytest.approx(100 * (shares[0] - shares[1] + np.hypot(ph - shares[0], shares[1] - ql)), abs=0.051)
        page.keyboard.press("x")
        painted(page)
        text = page.locator("[role=status]").inner_text()
        assert number(re.search(r"A − B: (\S+) points of true", text)[1]) == -gap


def test_one_run_can_be_taken_away_and_another_chosen(runs, tmp_path):
    third = make_run(tmp_path / "third", "flexmatch", right=(20, 20, 20, 20, 20, 20), epochs=12)
    path = pld.explore(*runs, third).to_html(tmp_path / "three.html")
    with opened(path) as page:
        second = page.get_by_label("run B")
        assert second.locator("option").all_inner_texts() == ["off", runs[0].name, runs[1].name, third.name]
        second.select_option(label=third.name)
        page.wait_for_function("name => document.querySelector('[role=status]').innerText.includes(name)", arg=third.name)
        assert f"{third.name}: balanced accuracy 100.0 %" in page.locator("[role=status]").inner_text()
        second.select_option(label="off")
        painted(page)
        assert page.locator("canvas.pld-matrix:not([hidden])").count() == 1
        assert page.get_by_role("button", name="A − B").get_attribute("aria-disabled") == "true"


def test_groups_count_what_their_classes_count(single, runs):
    with opened(single) as page:
        page.locator("input[type=range]").focus()
        before = painted(page)
        page.keyboard.press("g")
        assert painted(page) != before
        matrix = page.locator("canvas.pld-matrix:not([hidden])")
        matrix.focus()
        rows = page.locator(".pld-confusions li:not([hidden])").all_inner_texts()
        counts, parts = runs[0].confusion("sweep", epoch=11), metrics.groups(runs[0].labelled_counts)
        leak, tail = counts[np.ix_(parts.tail, parts.head)].sum(), counts[parts.tail].sum()
        (row,) = [row for row in rows if row.startswith("tail → head")]
        assert f"{100 * leak / tail:.1f} % ({leak} of {tail})" in row
        page.keyboard.press("g")
        assert painted(page) == before


def test_the_list_holds_the_largest_confusions_and_opens_them(single, runs):
    """Sorted by what the cells show; a row chosen by keys alone shows the samples that the matrix counts there, at every epoch."""
    counts, names = runs[0].confusion("sweep", epoch=11), runs[0].class_names
    share = counts / counts.sum(1, keepdims=True)
    np.fill_diagonal(share, 0)
    with opened(single) as page:
        rows = page.locator(".pld-confusions li:not([hidden]) button")
        shown = [float(re.search(r"([\d.]+) %", text)[1]) for text in rows.all_inner_texts()]
        expected = np.sort(share[share > 0])[::-1][: len(shown)]
        assert shown == pytest.approx(100 * expected, abs=0.051)
        rows.first.focus()
        page.keyboard.press("Enter")
        box = page.locator(".pld-samples")
        box.wait_for()
        true, label = np.unravel_index(share.argmax(), share.shape)
        n = counts[true, label]
        assert (
            f"{min(n, 24)} of {n} samples of true class {names[true]} with pseudo-label {names[label]} in the sweep of epoch 11"
            in box.inner_text()
        )
        assert rows.first.get_attribute("aria-pressed") == "true"
        strips = box.locator("canvas").evaluate("canvas => canvas.toDataURL()")
        page.keyboard.press("ArrowLeft")  # the samples follow the epoch
        earlier = runs[0].confusion("sweep", epoch=10)[true, label]
        page.wait_for_function("text => document.querySelector('.pld-samples').innerText.includes(text)", arg=f"of {earlier} samples")
        assert box.locator("canvas").evaluate("canvas => canvas.toDataURL()") != strips
        page.get_by_role("button", name="close").click()
        box.wait_for(state="hidden")


def test_a_page_without_samples_says_so(runs, tmp_path):
    path = pld.explore(runs[0]).to_html(tmp_path / "small.html", samples=False)
    with opened(path) as page:
        page.locator(".pld-confusions button").first.click()
        page.locator(".pld-samples").wait_for()
        assert "carries no single samples" in page.locator(".pld-samples").inner_text()


def test_page_and_kernel_answer_alike(runs, tmp_path):
    """The page's stand-in for the kernel tells, of every cell, what the kernel tells."""
    view = pld.explore(runs[0])
    epochs = runs[0].logged("history")
    history = (epochs, *runs[0].history(epochs))
    questions = [
        {"run": 0, "epoch": 7, "kind": kind, "split": split, "cell": [int(t), int(p)], "ids": []}
        for kind, split in (("sweep", "all"), ("visits", "accepted"), ("sweep", "rejected"), ("test", "all"))
        for t, p in ((0, 0), (4, 5), (5, 0), (0, 3))
    ] + [{"run": 0, "epoch": 3, "kind": "sweep", "split": "all", "cell": [], "ids": [50, 7, 119]}]
    with opened(view.to_html(tmp_path / "page.html")) as page:
        asked = """async (questions) => {
          const text = (id) => document.getElementById(id).textContent;
          const module = await import(URL.createObjectURL(new Blob([text("module-0")], { type: "text/javascript" })));
          const state = JSON.parse(text("state-0")), bytes = Uint8Array.from(atob(text("data-0")), (c) => c.charCodeAt(0));
          const answers = new module.Answers(state.samples, new DataView(bytes.buffer), state.meta.classes), told = [];
          for (const question of questions) {
            const [reply, buffers] = await answers.reply(question);
            told.push([reply, ...buffers.slice(0, 2).map((b) => Array.from(b))]);
          }
          return told;
        }"""
        for question, (reply, *strips) in zip(questions, page.evaluate(asked, questions), strict=True):
            run, epoch = question.pop("run"), question.pop("epoch")
            expected, (labels, accepted, _) = followed(runs[run], history, epoch, **question)
            same = ("ids", "true", "chosen", "epochs", "total", "title")
            assert {key: reply[key] for key in same} == {key: expected[key] for key in same}
            if expected["ids"]:
                assert strips == [np.frombuffer(labels, "<i2").tolist(), np.frombuffer(accepted, np.uint8).tolist()]
            else:
                assert bool(reply["problem"]) == bool(expected["problem"])


def test_rates_are_printed_as_python_prints_them(single):
    """Also where two roundings are equally near, which browsers and Python decide differently."""
    shares = [100 * count / n for n in range(1, 101) for count in range(n + 1)]
    with opened(single) as page:
        shown = page.evaluate(
            """async ([source, shares]) => {
              const { fixed } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
              return [0, 1, 2].map((digits) => shares.map((v) => fixed(v, digits)));
            }""",
            [module("stats/format") + "\nexport { fixed };", shares],
        )
    for digits in range(3):
        assert shown[digits] == [f"{share:.{digits}f}" for share in shares]


def test_play_stays_within_the_brushed_epochs(single):
    with opened(single, reduced_motion="no-preference") as page:
        box = page.locator("canvas.pld-overview").bounding_box()
        page.keyboard.down("Shift")
        page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 40, steps=4)
        page.mouse.up()
        page.keyboard.up("Shift")
        page.get_by_role("button", name="play").click()
        page.get_by_role("button", name="play").wait_for()  # it ended by itself
        painted(page)
        end = epoch(page)
        assert 4 < end < 8
        page.get_by_label("epochs per second").select_option("2")
        page.get_by_role("button", name="play").click()
        page.wait_for_function("end => +document.querySelector('.pldebias').dataset.epoch < end", arg=end)  # from the beginning again
        page.get_by_role("button", name="play").wait_for()
        painted(page)
        assert epoch(page) == end


def test_orders_move_rows_and_classes_are_found_by_name(tmp_path):
    names = [f"class number {i}" for i in range(40)]
    run = make_run(
        tmp_path / "k40", right=np.linspace(19, 3, 40).astype(int), names=names, labelled=np.geomspace(5, 500, 40).astype(int), epochs=3
    )
    with opened(pld.explore(run).to_html(tmp_path / "k40.html")) as page:
        before = painted(page)
        page.get_by_label("order").select_option(label="class number")
        assert painted(page) != before
        page.locator("input[type=range]").focus()
        page.keyboard.press("/")
        page.keyboard.type("number 17")
        painted(page)
        assert "true class number 17 → pseudo-label class number 17" in page.locator("[role=status]").inner_text()
        page.keyboard.press("Escape")
        page.keyboard.press("Home")
        page.wait_for_function("() => document.querySelector('.pldebias').dataset.epoch == 0")


def test_views_of_one_name_move_together(single, runs, tmp_path):
    """The explorer tells other views of its page what it shows, and follows what they choose, without a kernel."""
    path = pld.explore(runs[0], link="lecture").to_html(tmp_path / "linked.html")
    with opened(path) as page:
        page.evaluate("""() => {
          const hub = window.__pldebias.lecture;
          window.heard = [];
          hub.listeners.add((patch, origin) => origin !== window && window.heard.push(patch));
          window.say = (patch) => hub.listeners.forEach((f) => f(patch, window));
        }""")
        page.locator("input[type=range]").focus()
        page.keyboard.press("Home")
        painted(page)
        assert page.evaluate("() => window.heard") == [{"epoch": 0}]
        page.evaluate("() => window.say({ epoch: 5.4, cell: { true: 5, label: 0 } })")
        page.wait_for_function("() => document.querySelector('.pldebias').dataset.epoch == 6")
        names = runs[0].class_names
        assert f"true {names[5]} → pseudo-label {names[0]}" in page.locator("[role=status]").inner_text()
        before = painted(page)
        chosen = [100, 101, 102]
        page.evaluate("chosen => window.say({ samples: chosen, cells: [[5, 0, 2], [5, 5, 1]] })", chosen)
        page.locator(".pld-samples").wait_for()
        assert "3 of 3 chosen samples in the sweep of epoch 6" in page.locator(".pld-samples").inner_text()
        assert painted(page) != before
        assert page.evaluate("() => window.heard.length") == 1  # what came from another view is not sent back
        page.evaluate("() => window.say({ samples: null })")
        page.locator(".pld-samples").wait_for(state="hidden")


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


def test_runs_with_other_epochs_stand_at_their_iterations(tmp_path):
    """Also: without iterations none is told, and a class that no label names has a colour of its own."""

    def timed(name, every, epochs):
        with Recorder(tmp_path / name, np.arange(12) % 3, [5, 3, 1], [*"abc"], num_epochs=epochs, attrs={"method": name}) as recorder:
            for epoch in range(epochs):
                label = np.full(12, epoch % 2)
                recorder.end_epoch(iteration=every and every * (epoch + 1), sweep=(label, label >= 0))
        return pld.open_run(tmp_path / name)

    lead, rough, untold = timed("lead", 10, 4), timed("rough", 20, 3), timed("untold", None, 3)
    with opened(pld.explore(lead, rough, metric="ratio").to_html(tmp_path / "two.html")) as page:
        page.locator("input[type=range]").focus()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => document.querySelector('.pldebias').dataset.epoch == 1")
        assert "epoch 1 of 5, iteration 20" in page.locator(".pldebias").inner_text()
        note = page.locator(".pld-counting").inner_text()
        assert "rough has longer or shorter epochs than lead; beside it they stand at their iterations." in note
        assert "lead at iteration 40; rough at iteration 60" in note
        pixels = "canvas => [...new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)]"
        purple = 0xFF94327B  # little-endian RGBA of #7b3294
        assert purple in page.locator("canvas.pld-carpet").first.evaluate(pixels)
        page.keyboard.press("End")
        page.wait_for_function("() => document.querySelector('.pldebias').dataset.epoch == 5")
        assert "epoch 5 of 5, iteration 60" in page.locator(".pldebias").inner_text()  # of the run that goes on
        assert "A lead (own epoch 3): balanced" in page.locator("[role=status]").inner_text()
        page.get_by_role("button", name="A − B").click()
        page.wait_for_function("() => document.querySelector('[role=status]').innerText.includes('A − B: balanced')")
        assert len(set(page.locator("canvas.pld-matrix").first.evaluate(pixels))) > 9
    with opened(pld.explore(untold).to_html(tmp_path / "untold.html")) as page:
        assert "iteration" not in page.locator(".pldebias").inner_text() and epoch(page) == 2
