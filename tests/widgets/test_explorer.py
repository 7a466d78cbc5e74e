"""The explorer's Python side: what it sends, what it refuses, how it is written down."""

import numpy as np
import pytest
from made_runs import HOSTILE, make_run
from traitlets import TraitError

import pldebias as pld
from pldebias.runs import Recorder, open_run
from pldebias.widgets.payload import KINDS


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
    view = pld.explore(*runs, epoch=1, kind="test", metric="precision", normalize="pred", scale="sqrt", cell=[4, 0], swapped=True)
    again = pld.explore(*runs, **view.state)
    assert again.state == view.state
    assert again.data == view.data


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
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page
    assert 'src="http' not in page
    assert "@import" not in page


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"epoch": 9}, "epoch 9 was not recorded"),
        ({"kinds": ("sweeps",)}, "kinds must name some of"),
        ({"zoom": 2}, "unknown state"),
        ({"kind": "test", "split": "accepted"}, "needs a threshold"),
        ({"cell": [0, 99]}, "classes 0..5"),
    ],
)
def test_choices_that_a_run_does_not_offer(runs, choice, message):
    with pytest.raises((ValueError, TraitError), match=message):
        pld.explore(runs[0], **choice)


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
    assert set(missing) == set(KINDS) - {"test"}
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


def test_the_module_is_small_and_asks_for_nothing():
    source = pld.explore.__globals__["HERE"] / "explorer.js"
    text = source.read_text()
    assert len(text.encode()) < 60_000
    assert "import(" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "innerHTML" not in text
