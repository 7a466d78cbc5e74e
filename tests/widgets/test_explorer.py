"""The explorer's Python side: what it sends, what it refuses, how it is written down."""

import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from made_runs import HOSTILE, make_run, samples
from traitlets import TraitError

import pldebias as pld
from pldebias import metrics
from pldebias.runs import Recorder, open_run
from pldebias.widgets import module as joining
from pldebias.widgets.explorer import Explorer
from pldebias.widgets.followed import followed
from pldebias.widgets.module import module
from pldebias.widgets.payload import KEYS, KINDS

JS = joining.HERE
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return make_run(root / "a", "fixmatch"), make_run(root / "b", "fixmatch+daso", right=(18, 18, 16, 14, 12, 10))


def test_one_line_shows_a_run(runs):
    view = pld.explore(runs[0])
    assert view.epoch == 3
    assert view.kind == "sweep"
    assert view.meta["classes"] == list(runs[0].class_names)
    assert repr(view) == f"Explorer({runs[0].name}; epoch 3, sweep, all)"


def test_state_reproduces_the_view(runs):
    view = pld.explore(
        *runs, epoch=1, kind="test", metric="precision", normalize="pred", scale="sqrt", cell=[4, 0], run_a=1, run_b=0, difference=True,
        order="similar", collapse=True, range=[1, 3], link="pair",
    )  # fmt: skip
    again = pld.explore(*runs, **view.state)
    assert again.state == view.state
    assert again.data == view.data
    assert repr(view).startswith(f"Explorer({runs[1].name}, {runs[0].name};")


def test_orders_hold_every_class_once(runs):
    view = pld.explore(runs[0])
    found, matrix = view.meta["orders"], runs[0].confusion("sweep", epoch=-1)
    assert all(sorted(order) == list(range(6)) for order in found.values())
    assert found["labelled"] == metrics.groups(runs[0].labelled_counts).order.tolist()
    assert found["class"] == list(range(6))
    assert metrics.recall(matrix)[found["recall"]].tolist() == sorted(metrics.recall(matrix).tolist(), reverse=True)
    assert np.diff(np.asarray(runs[0].unlabelled_counts)[found["true"]]).max() <= 0


def test_classes_that_are_confused_stand_together(tmp_path):
    """Classes that are confused with each other alone are neighbours in the order by similarity, wherever head and tail are."""
    matrix = np.diag([10] * 6)
    for a, b in ((0, 4), (1, 5), (2, 3)):
        matrix[a, b] = matrix[b, a] = 10
    truth, label = samples(matrix)
    with Recorder(tmp_path / "run", truth, [9, 8, 7, 6, 5, 4], list("abcdef"), num_epochs=1) as recorder:
        recorder.end_epoch(sweep=(label, label == truth))
    place = np.argsort(pld.explore(open_run(tmp_path / "run")).meta["orders"]["similar"])
    assert [abs(place[a] - place[b]) for a, b in ((0, 4), (1, 5), (2, 3))] == [1, 1, 1]


def test_samples_of_a_cell_are_those_that_the_matrix_counts(runs):
    run = runs[0]
    epochs = run.logged("history")
    history = (epochs, *run.history(epochs))
    matrix = run.confusion("sweep", epoch=2)
    for true, label in np.argwhere(matrix):
        reply, (labels, accepted, picture) = followed(run, history, 2, cell=[true, label], most=99)
        assert reply["total"] == len(reply["ids"]) == matrix[true, label]
        strips = np.frombuffer(labels, "<i2").reshape(reply["total"], len(epochs))
        assert (strips[:, 2] == label).all() and (run.true_labels[reply["ids"]] == true).all()
        assert np.array_equal(strips, history[1][:, reply["ids"]].T)
        assert np.array_equal(np.frombuffer(accepted, np.uint8).reshape(strips.shape), history[2][:, reply["ids"]].T)
        since = (strips == label).sum(1)
        assert (np.diff(since) <= 0).all()  # those longest with the label come first
        assert not picture and reply["problem"].startswith("No pictures: ")  # these runs' data do not exist
    right = reply["total"]
    assert followed(run, history, 2, cell=[0, 0], split="rejected")[0]["total"] == 0
    assert followed(run, history, 2, ids=[5, 3])[0]["ids"] == [5, 3]
    assert right > 0


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        ({"kind": "test", "cell": [0, 0]}, "choose sweep"),
        ({"cell": [0, 0], "epoch": 77}, "kept no labels of single samples at epoch 77"),
        ({"ids": [0, 120]}, "numbered 0 to 119"),
    ],
)
def test_samples_that_cannot_be_told(runs, question, problem):
    epochs = runs[0].logged("history")
    reply, buffers = followed(runs[0], (epochs, *runs[0].history(epochs)), question.pop("epoch", 3), **question)
    assert problem in reply["problem"]
    assert reply["ids"] == [] and buffers == [b"", b"", b""]


def test_questions_of_the_view_are_answered_even_when_a_run_is_gone(runs, monkeypatch):
    view, sent = pld.explore(runs[0]), []
    monkeypatch.setattr(view, "send", lambda content, buffers=None: sent.append((content, buffers)))
    question = {"type": "samples", "request": 7, "run": 0, "epoch": 3, "kind": "sweep", "split": "all", "cell": [0, 0], "ids": []}
    view._answer(view, question, [])
    assert sent[0][0]["request"] == 7
    assert sent[0][0]["total"] == runs[0].confusion("sweep", epoch=3)[0, 0]

    def gone(number):
        raise OSError("the disk was taken away")

    monkeypatch.setattr(view, "_history", gone)
    view._answer(view, question, [])
    assert "could not be read: the disk was taken away" in sent[1][0]["problem"]


def test_bundle_has_a_still_image_and_static_mode_a_page(runs, monkeypatch):
    view = pld.explore(runs[0])
    bundle, _ = view._repr_mimebundle_()
    assert bundle["image/png"].startswith("iVBOR")
    assert "application/vnd.jupyter.widget-view+json" in bundle
    monkeypatch.setenv("PLDEBIAS_STATIC", "1")
    bundle, _ = view._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" not in bundle
    assert "<iframe" in bundle["text/html"]
    view.close()


def test_page_loads_nothing_and_no_name_is_markup(tmp_path):
    names = list(HOSTILE)
    run = make_run(tmp_path / "hostile", names=names, attrs={"method": "<img src=x onerror=alert(1)>"})
    page = pld.explore(run).to_html(tmp_path / "page.html").read_text()
    assert "default-src 'none'" in page
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page
    assert 'src="http' not in page
    assert "@import" not in page


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"epoch": 9}, "epoch 9 was not recorded"),
        ({"kinds": ("sweeps",)}, r"kinds must be some of .*'sweeps' \(did you mean 'sweep'"),
        ({"kinds": "sweeps"}, "kinds must be some of .* got 'sweeps'"),
        ({"kinds": []}, "kinds is empty"),
        ({"kinds": 3}, "kinds=3 must be a text or a list"),
        ({"order": "x"}, "order must be one of 'labelled', .* got 'x'"),
        ({"link": 3}, "link=3 must be a text"),
        ({"epoch": 1.5}, "epoch=1.5 must be a whole number"),
        ({"mute": "no"}, "mute='no' must be True or False"),
        ({"speed": "5"}, "speed must be one of 1, 2, 5, 10, 30; got '5'"),
        ({"cell": "ab"}, "cell='ab' must be a list"),
        ({"groups": 3}, "'tertiles' or a pair"),
        ({"zoom": 2}, "unknown state"),
        ({"kind": "test", "split": "accepted"}, "needs a threshold"),
        ({"cell": [0, 99]}, "classes 0..5"),
        ({"run_a": 1}, "run_a is the number of a run, 0 to 0"),
        ({"range": [3, 1]}, "range is"),
    ],
)
def test_choices_that_a_run_does_not_offer(runs, choice, message):
    with pytest.raises(ValueError, match=message):
        pld.explore(runs[0], **choice)


def test_values_of_any_type_are_taken_and_one_text_is_one_entry(runs):
    view = pld.explore(runs[0], kinds="test", epoch=np.int64(1), cell=np.array([0, 1]), mute=np.False_, run_a=0.0)
    assert view.kinds == ("test",) and view.epoch == 1 and view.cell == [0, 1]
    view.epoch = np.uint8(2)
    assert view.epoch == 2
    with pytest.raises(ValueError, match="order must be one of"):
        view.order = "size"
    for dpi in (-1, "x", 1e9):
        with pytest.raises(ValueError, match="dpi="):
            view.png(dpi=dpi)
    with pytest.raises(ValueError, match="every='x' must be a finite number"):
        view.follow("x")
    for kinds in ("tests", [], 3):
        with pytest.raises(ValueError, match="kinds"):
            view.to_html("page.html", kinds=kinds)


def test_runs_that_count_different_things_are_refused(runs, tmp_path):
    other_names = make_run(tmp_path / "names", names=[f"other {i}" for i in range(6)])
    other_tail = make_run(tmp_path / "tail", labelled=(3, 9, 20, 40, 60, 90))
    other_samples = make_run(tmp_path / "samples", per_class=10, right=(9, 8, 6, 4, 2, 1))
    for other, message in ((other_names, "class lists differ"), (other_tail, "head"), (other_samples, "unlabelled")):
        with pytest.raises(ValueError, match=f"cannot be compared.*{message}"):
            pld.explore(runs[0], other)


def test_unknown_truth_is_said(tmp_path):
    run = make_run(tmp_path / "unknown", unknown=True)
    view = pld.explore(run)
    assert view.kind == "test"
    missing = view.meta["runs"][0]["missing"]
    assert set(missing) & set(KINDS) == set(KINDS) - {"test"}
    with pytest.raises((ValueError, TraitError), match="kind 'sweep' cannot be shown"):
        view.kind = "sweep"


def test_a_supervised_run_has_no_visits(tmp_path):
    labels = np.arange(20) % 2
    with Recorder(tmp_path / "run", labels, [5, 5], ["a", "b"], num_epochs=1) as recorder:
        recorder.end_epoch(sweep=(labels, labels == 0), test=np.eye(2, dtype=int))
    view = pld.explore(open_run(tmp_path / "run"))
    assert "visits" in view.meta["runs"][0]["missing"]
    assert view.kind == "sweep"


def test_a_run_being_written_is_followed(tmp_path):
    labels = np.arange(20) % 2
    with Recorder(tmp_path / "run", labels, [5, 5], ["a", "b"], num_epochs=3) as recorder:
        for epoch in range(3):
            recorder.end_epoch(sweep=(labels, labels == 0))
            recorder.flush()
            if epoch == 0:
                view = pld.explore(open_run(tmp_path / "run"))
                assert view.epochs == [0]
            view.refresh()
            assert view.epochs == list(range(epoch + 1))
            assert view.epoch == epoch
    with Recorder(tmp_path / "empty", labels, [5, 5], ["a", "b"], num_epochs=3), pytest.raises(ValueError, match="no finished epoch yet"):
        pld.explore(tmp_path / "empty")


def test_a_view_follows_a_run_by_itself(tmp_path):
    labels = np.arange(20) % 2

    def until(done):
        for _ in range(600):
            if done():
                return
            time.sleep(0.02)
        pytest.fail("the view did not follow within 12 s")

    with Recorder(tmp_path / "run", labels, [5, 5], ["a", "b"], num_epochs=4) as recorder:

        def record():
            recorder.end_epoch(sweep=(labels, labels == 0))
            recorder.flush()

        record()
        view = pld.explore(open_run(tmp_path / "run")).follow(0.02)
        record()
        until(lambda: view.epoch == 1)
        view.epoch = 0  # scrubbed back: it stays while epochs arrive
        record()
        until(lambda: view.epochs == [0, 1, 2])
        assert view.epoch == 0
        record()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "pldebias-follow"])
    assert view.epochs == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="seconds above 0; got 0"):
        view.follow(0)


def test_many_classes_and_epochs_stay_small(tmp_path):
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(100), np.geomspace(200, 4, 100).astype(int))
    with Recorder(tmp_path / "run", truth, np.geomspace(50, 5, 100).astype(int), [f"c{i}" for i in range(100)], num_epochs=60) as recorder:
        for _ in range(60):
            label = np.where(rng.random(len(truth)) < 0.7, truth, rng.integers(0, 100, len(truth)))
            recorder.end_epoch(sweep=(label, rng.random(len(truth)) < 0.5))
    view = pld.explore(open_run(tmp_path / "run"))
    assert view.scale == "sqrt"  # a linear scale hides what lies beside the diagonal
    assert len(view.data) < 1_000_000


def test_a_page_of_many_counts_carries_the_kind_on_show(runs, tmp_path, monkeypatch):
    view = pld.explore(runs[0], kind="test")
    whole = view.to_html(tmp_path / "whole.html", samples=False).read_text()
    monkeypatch.setattr("pldebias.widgets.static.MOST_COUNTS", 10)
    page = view.to_html(tmp_path / "small.html", samples=False).read_text()
    assert len(page) < len(whole)
    assert "sweep was left out" in page and "sweep was left out" not in whole
    again = view.to_html(tmp_path / "again.html", samples=False, kinds=view.kinds).read_text()
    assert again == whole
    with pytest.raises(ValueError, match="must hold 'test', which the view shows"):
        view.to_html(tmp_path / "none.html", kinds=("sweep",))


def test_the_page_of_the_explorer_lists_its_keys():
    page = (ROOT / "docs" / "explorer.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (.+) \| (.+) \|$", page.split("## Keys")[1].split("## ")[0], flags=re.M)
    assert dict(table) == KEYS


def test_more_runs_than_a_view_holds_are_refused(runs):
    with pytest.raises(ValueError, match="1 to 12 runs; got 13"):
        pld.explore(*[runs[0]] * 13)
    with pytest.raises(ValueError, match="got 0"):
        pld.explore()
    with pytest.raises(ValueError, match=r"as in explore\(a, b\)"):
        pld.explore([runs[0], 3])


def test_the_module_is_small_and_asks_for_nothing():
    text = module("explorer")
    assert Explorer._esm == text
    assert len(text.encode()) < 70_000
    assert "import(" not in text and "import " not in text
    assert text.count("export") == 1
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "innerHTML" not in text


@pytest.mark.parametrize("path", sorted(JS.rglob("*.js")), ids=lambda path: path.stem)
def test_sources_hold_no_template_inside_a_template(path):
    """Blanks inside one would be lost when the parts are joined."""
    assert not re.findall(r"\$\{[^}`]*`", path.read_text())


def test_joining_keeps_every_string():
    """What is said and drawn is the same text in the sources and in the joined module."""
    said = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`')
    texts = (path.read_text() for folder in ("core", "stats", "views") for path in (JS / folder).glob("*.js"))
    sources = "".join(re.sub(r"(?<![:\"`])//.*|^import .*", "", re.sub(r"/\*.*?\*/ ?", "", text, flags=re.S), flags=re.M) for text in texts)
    joined = module("explorer", "answers") + module("embedding")  # each has views that the other has not
    joined = re.sub(r"/\*.*?\*/ ?", "", joined)  # of types, inside a text
    for text in set(said.findall(re.sub(r"/\*.*?\*/ ?", "", sources, flags=re.S))):
        assert text in joined, text


def timed(path, every, epochs, gaps=()):
    """A run whose epochs last `every` steps, some of them left out; None: no steps were told."""
    with Recorder(path, np.arange(12) % 3, [5, 3, 1], [*"abc"], num_epochs=epochs, attrs={"method": path.name}) as recorder:
        for epoch in sorted(set(range(epochs)) - set(gaps)):
            recorder.epoch = epoch
            label = np.full(12, epoch % 3)
            recorder.end_epoch(iteration=None if every is None else every * (epoch + 1), sweep=(label, label >= 0))
    return pld.open_run(path)


@pytest.mark.parametrize(
    ("every", "epochs", "gaps", "places"),
    [
        (10, 4, (), [0, 1, 2, 3]),
        (10, 8, (), [0, 1, 2, 3, 4, 5, 6, 7]),  # longer
        (10, 6, (1, 2, 4), [0, 3, 5]),
        (20, 4, (), [1, 3, 5, 7]),  # half as many, up to twice the steps
        (5, 8, (), [None, 0, None, 1, None, 2, None, 3]),
        (None, 3, (), [0, 1, 2]),
    ],
)
def test_runs_stand_beside_each_other_by_iteration(tmp_path, every, epochs, gaps, places):
    view = pld.explore(timed(tmp_path / "lead", 10, 4), timed(tmp_path / "other", every, epochs, gaps))
    lead, other = view.meta["runs"]
    assert lead["places"] == lead["epochs"] == [0, 1, 2, 3] and other["places"] == places
    assert ("stand at their iterations" in other["note"]) == (every in (5, 20))
    assert bool(view.meta["lengths"]) == ((every or 10) * epochs != 40) and view.epoch == max(view.epochs)
    view.epoch = 3
    assert view.png()[:4] == b"\x89PNG"
