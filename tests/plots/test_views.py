"""Figures of the reading side draw what the analysis found, for few classes and many, and refuse nonsense."""

import json
from itertools import pairwise

import numpy as np
import pandas
import pytest

import pldebias as pld
from pldebias import plots
from pldebias.methods import MethodError
from pldebias.runs import Recorder

K, N, D, EPOCHS = 40, 400, 6, 3


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Forty classes with markup and dollar signs in their names."""
    random = np.random.default_rng(0)
    true = random.integers(0, K, N)
    counts = np.linspace(60, 2, K).astype(int)
    names = [f"<b>${k}$</b>" for k in range(K)]
    attrs = {"method": "fixmatch(threshold=0.5)", "seed": 0}
    path = tmp_path_factory.mktemp("many") / "run"
    with Recorder(path, true, counts, names, num_epochs=EPOCHS, num_features=D, attrs=attrs) as recorder:
        for epoch in range(EPOCHS):
            logits = (random.normal(size=(N, K)) + epoch * np.eye(K)[true]).astype(np.float16).astype(np.float32)
            probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            features = random.normal(size=(N, D)) + epoch * np.eye(K)[true][:, :D]
            recorder.end_epoch(sweep=(logits.argmax(1), probs.max(1) >= 0.5), logits=logits, features=features, iteration=epoch + 1)
    return pld.open_run(path)


@pytest.fixture(scope="module", params=["few", "many"])
def run(request):
    if request.param == "many":
        return request.getfixturevalue("many")
    root = request.getfixturevalue("tmp_path_factory").mktemp("few")
    short = {"steps": 30, "steps_per_epoch": 10, "snapshots": 2, "m1": 60, "gamma_u": 4.0}
    return pld.train("fixmatch", out=root, progress=False, **short)


def drawn(figure):
    """The figure, rendered; warnings are errors, so that a layout that does not fit fails here."""
    assert figure._repr_png_().startswith(b"\x89PNG")
    return figure


def test_what_if(run):
    result = pld.what_if(run, "debiaspl(tau=1)")
    figure = drawn(plots.what_if(result))
    order = result.groups.order
    np.testing.assert_array_equal(figure.values["counts"], result.confusion[np.ix_(order, order)])
    sums = np.nansum(figure.values["share"], axis=1)
    assert np.all(np.isclose(sums, 1) | (sums == 0))
    np.testing.assert_allclose(np.nansum(figure.values["change"], axis=1), 0, atol=1e-9)
    assert result.sentence in figure.figure._supxlabel.get_text()
    drawn(plots.what_if(result, split="accepted"))
    with pytest.raises(ValueError, match="'all' or 'accepted'"):
        plots.what_if(result, split="rejected")


def test_flows(run):
    figure = drawn(plots.flows(run))
    counts = figure.values["counts"]
    assert counts.sum() == run.num_unlabelled
    assert counts.shape == ((10, 10) if run.num_classes == 10 else (3, 3))
    drawn(plots.flows(run, of="tail", split="accepted"))


def test_learning_order(run):
    figure = drawn(plots.learning_order(run, level=0.1))
    assert figure.values["epoch"].shape == (run.num_classes,)
    assert "never learned" in figure.axes.get_title("left")


def test_reliability_and_threshold_sweep(run):
    figure = drawn(plots.reliability(run))
    assert figure.values["n"].sum(1)[3] == run.num_unlabelled
    assert "counterfactual" not in figure.figure._suptitle.get_text()
    boxes = [ax.get_title("left") and ax._left_title.get_window_extent() for ax in figure.axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))  # headings beside each other do not touch
    figure = drawn(plots.threshold_sweep(run, "debiaspl(tau=1)"))
    assert "counterfactual" in figure.figure._suptitle.get_text()
    assert figure.values["accepted"].shape == (4, 101)


@pytest.mark.parametrize("choice", ["hardest", "most flipped", "confidently wrong"])
def test_samples(run, choice):
    figure = drawn(plots.samples(run, choice, n=5))
    assert len(figure.values["index"]) <= 5
    says_why = "no images" in figure.figure._suptitle.get_text()
    assert says_why == (run.num_classes == K)


@pytest.mark.parametrize(
    "draw", [plots.reliability, plots.threshold_sweep, plots.samples, plots.blending, lambda path: plots.what_if(pld.what_if(path))]
)
def test_no_figure_shows_a_relabelling_whose_check_fails(tmp_path, draw):
    """The sweep is not what the method gives on these outputs."""
    with Recorder(tmp_path / "run", np.arange(12) % 3, [5, 3, 1], [*"abc"], attrs={"method": "fixmatch+daso(start=0)"}) as recorder:
        logits, prototypes = np.eye(3)[np.arange(12) % 3], {"daso/prototypes": np.eye(3)}
        class_dist, wrong = {"daso/class_dist": np.ones(3)}, (np.arange(12) + 1) % 3
        recorder.end_epoch(sweep=(wrong, wrong < 3), logits=logits, features=logits, series=class_dist, snapshot=prototypes)
    with pytest.raises(MethodError, match="cannot be relabelled at epoch 0: its own method gives 12 of 12 samples another label"):
        draw(tmp_path / "run")


def test_samples_may_be_none(run):
    chosen = [name for k, name in enumerate(run.class_names) if not (run.true_labels == k).any()] or [run.class_names[0]]
    assert drawn(plots.samples(run, "confidently wrong", of=chosen[0], n=2)).values["index"].size <= 2


def test_embedding(run):
    points = pld.embed(run, per_class=20)
    figure = drawn(plots.embedding(points))
    np.testing.assert_array_equal(figure.values["frames"], points.frames)
    np.testing.assert_array_equal(figure.values["wrong"], points.wrong)
    assert set(np.unique(figure.values["fill"])) <= {0, 1, 2}
    last = drawn(plots.embedding(points, [-1], colour="true", quality=False))
    np.testing.assert_array_equal(last.values["fill"][0], points.group)
    with pytest.raises(ValueError, match="'label', 'true'"):
        plots.embedding(points, colour="class")


@pytest.mark.parametrize("known", [0, 4, 12])
def test_an_unknown_truth_is_no_group(tmp_path, known):
    truth = np.where(np.arange(12) < known, np.arange(12) % 3, -1)
    with Recorder(tmp_path / "run", truth, [5, 3, 1], [*"abc"], num_features=2) as recorder:
        recorder.end_epoch(sweep=(np.arange(12) % 3, np.ones(12, bool)), features=np.random.default_rng(0).normal(size=(12, 2)))
    points = pld.embed(tmp_path / "run")
    if not known:
        with pytest.raises(ValueError, match="true class of none of these samples of run is known; use colour='label'"):
            plots.embedding(points, colour="true")
        assert plots.embedding_slider(points).data[0].name == "head (last label)"
        return
    figure = drawn(plots.embedding(points, colour="true"))
    assert (figure.values["fill"] == 3).sum() == 12 - known
    assert ("truth unknown" in [text.get_text() for text in figure.figure.legends[0].get_texts()]) == (known < 12)


def test_a_sample_without_a_label_has_no_colour(tmp_path):
    with Recorder(tmp_path / "run", np.arange(6) % 3, [5, 3, 1], [*"abc"], num_epochs=2) as recorder:
        recorder.end_epoch(sweep=(np.full(6, -1), np.zeros(6, bool)))
        recorder.end_epoch(sweep=(np.zeros(6, int), np.ones(6, bool)))
    figure = plots.samples(tmp_path / "run", "most flipped", of="all", n=1)
    strip = figure.axes.get_images()[0].get_array()
    assert (strip[0, 0] == 255).all() and not (strip[0, 1] == 255).all()


def test_embedding_slider(run):
    points = pld.embed(run, per_class=20)
    figure = plots.embedding_slider(points)
    assert len(figure.data) == 3 and [frame.name for frame in figure.frames] == [str(e) for e in points.epochs]
    assert sum(len(trace.x) for trace in figure.data) == len(points.index)
    limit = 1.04 * np.abs(points.frames).max()
    where = np.flatnonzero(points.group == 2)
    np.testing.assert_allclose(np.asarray(figure.frames[0].data[2].x) / 32_000 * limit, points.frames[0, where, 0], atol=1e-4)
    np.testing.assert_array_equal(figure.frames[-1].data[2].marker.line.width, points.wrong[-1, where])
    size = len(json.dumps(figure.to_plotly_json(), default=lambda x: x.tobytes().hex()))
    assert size < 40_000 + 60 * len(points.index) * len(points.epochs)
    with pytest.raises(ValueError, match="'label', 'true'"):
        plots.embedding_slider(points, colour="class")


def test_nothing_is_minus_zero():
    from pldebias.plots.confusion import _text
    from pldebias.widgets.tables import matrix, scores

    assert _text(-0.01, "prior") == "+0.0"
    assert "+0.0 points" in matrix(np.array([[-0.01]]), ["a"], [], title="", change=True)
    columns = pandas.MultiIndex.from_product([["recall %"], ["what if", "change"]])
    assert "(+0.0)" in scores(pandas.DataFrame([[50.0, -0.01]], index=["tail"], columns=columns))


@pytest.mark.parametrize(
    ("options", "extend"),
    [({}, "neither"), ({"normalize": "prior"}, "max"), ({"scale": "log"}, "min"), ({"scale": "log", "normalize": None}, "neither")],
)
def test_a_scale_that_ends_before_the_values_says_so(tmp_path, options, extend):
    """One of two thousand is less than a thousandth of its row, and one of one class among them is more than sixteen times its share."""
    true, label = np.repeat([0, 1], [2000, 1]), np.zeros(2001, int)
    label[1999:] = 1
    label[1999] = 2
    with Recorder(tmp_path / "run", true, [5, 3, 1], [*"abc"]) as recorder:
        recorder.end_epoch(sweep=(label, label >= 0))
    figure = drawn(plots.confusion(pld.open_run(tmp_path / "run"), **options))
    assert figure.figure.axes[-1]._colorbar.extend == extend
