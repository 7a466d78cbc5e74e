"""Figures for papers: the arrays they draw, what they refuse, and the files they write."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from made_runs import HOSTILE, counts, make_run
from matplotlib.colors import to_rgba

import pldebias as pld
from pldebias import metrics
from pldebias.analysis.comparing.selection import Incomparable
from pldebias.plots.collection import collection
from pldebias.plots.frame import WIDTHS
from pldebias.plots.style import DIVERGING, NONE, line_styles
from pldebias.runs import NotLogged, Recorder, catalogue

A, B = (18, 16, 12, 9, 5, 2), (18, 16, 12, 9, 8, 8)
plots = pld.plots


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """FixMatch and FixMatch+DASO at three unlabelled ratios, one of them reversed, and a supervised reference; two seeds each."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        for i, (gamma, reverse) in enumerate([(1.0, False), (100.0, False), (100.0, True)]):
            for method, right in (("fixmatch", A), ("fixmatch+daso", B), ("supervised", (16, 16, 12, 9, 2, 2))):
                better = [min(20, n + seed + i) for n in right]
                path, told = root / method / f"{gamma:g}{reverse}{seed}", {"gamma_u": gamma, "reverse_unlabelled": reverse}
                make_run(path, method, seed, better, outputs=True, **told)
    return root


@pytest.fixture(scope="module")
def two(root):
    return {"FixMatch": [root / "fixmatch" / f"1False{s}" for s in (0, 1)], "DASO": [root / "fixmatch+daso" / f"1False{s}" for s in (0, 1)]}


EVERY = {
    "blending": {},
    "carpet": {"metric": "ratio"},
    "recall_precision": {},
    "training_curves": {},
    "label_distribution": {},
    "learned_state": {},
    "estimated_prior": {},
    "confusion_epochs": {},
    "confusion_difference": {},
}


# ---- arrays ------------------------------------------------------------------------------------------------------------


def test_recall_precision(two):
    drawn = plots.recall_precision(two, backend="none").values["runs"]["FixMatch"]
    matrices = np.stack([counts(np.array(A)), counts(np.array([min(20, n + 1) for n in A]))])
    np.testing.assert_allclose(drawn["recall"].mean, 100 * metrics.recall(matrices).mean(0))
    np.testing.assert_allclose(drawn["precision"].mean, 100 * metrics.precision(matrices).mean(0))
    assert (drawn["recall"].n == 2).all() and np.isfinite(drawn["recall"].low).all()
    one = plots.recall_precision(two["FixMatch"][0], backend="none").values["runs"]["fixmatch"]
    assert np.isnan(one["recall"].low).all()  # one seed: nothing around it
    early = plots.recall_precision(two, epoch=0, backend="none").values["runs"]["FixMatch"]
    assert early["recall"].mean[0] < drawn["recall"].mean[0]


def test_undefined_precision_stays_empty(tmp_path):
    run = make_run(tmp_path / "r", right=(20, 20, 20, 0, 20, 20))  # class 3 is taken for class 4 and never given
    figure = plots.recall_precision(run)
    assert np.isnan(figure.values["runs"]["fixmatch"]["precision"].mean[3])
    assert np.isnan(figure.axes.flat[1].lines[-1].get_ydata()).sum() == 1 and len(figure.axes.flat[1].lines[-1].get_ydata()) == 6


def test_training_curves(two):
    figure = plots.training_curves(two, values=("balanced_accuracy", "pl_recall_tail", "loss/labelled"), x="iteration")
    arrays = figure.values["runs"]["DASO"]
    assert arrays["x"].tolist() == [10, 20, 30, 40]
    run = pld.open_run(two["DASO"][0])
    other = pld.open_run(two["DASO"][1])
    expected = np.mean([metrics.balanced_accuracy(r.confusion("test")) for r in (run, other)], 0)
    np.testing.assert_allclose(arrays["balanced_accuracy"].mean, 100 * expected)
    np.testing.assert_allclose(figure.axes.flat[0].lines[1].get_ydata(), 100 * expected)
    np.testing.assert_allclose(arrays["loss/labelled"].mean, [1, 1 / 2, 1 / 3, 1 / 4])  # a scalar is told as it is


def test_seeds_of_unequal_length_have_no_mean(tmp_path):
    runs = [make_run(tmp_path / "a", seed=0), make_run(tmp_path / "b", seed=1, epochs=2, num_epochs=4)]
    for function in (plots.training_curves, plots.learned_state, plots.estimated_prior, plots.carpet):
        with pytest.raises(Incomparable, match=r"no mean over the seeds of 'fixmatch': .*a has 4 epochs up to 3, .*b has 2 up to 1"):
            function(runs, backend="none")
    assert len(plots.training_curves({"a": runs[0], "b": runs[1]}, backend="none").values["runs"]) == 2


def test_label_distribution(two):
    arrays = plots.label_distribution(two["FixMatch"][0], backend="none").values["runs"]["fixmatch"]
    matrix = counts(np.array(A))
    np.testing.assert_allclose(arrays["share"].mean, 100 * matrix.sum(0) / 120)
    np.testing.assert_allclose(arrays["true"].mean, np.full(6, 100 / 6))
    assert arrays["tv"].mean == pytest.approx(50 * np.abs(matrix.sum(0) - 20).sum() / 120)


def test_learned_state(two):
    values = plots.learned_state(two, "seval/offsets", epoch=1, backend="none").values["runs"]["DASO"]["seval/offsets"]
    np.testing.assert_allclose(values["classes"].mean, np.linspace(1, 2, 6) + 1)
    np.testing.assert_allclose(values["head"].mean, 1.1 + np.arange(4))
    assert set(plots.learned_state(two, backend="none").values["runs"]["DASO"]) == {"adello/prior", "seval/offsets", "seval/thresholds"}


def test_estimated_prior(two):
    arrays = plots.estimated_prior(two, backend="none").values["runs"]["FixMatch"]
    assert arrays["series"] == "adello/prior" and np.abs(arrays["tv"].mean).max() < 1e-10  # both are uniform
    np.testing.assert_allclose(arrays["ece"].mean, [30, 25, 20, 15])
    np.testing.assert_allclose(
        plots.estimated_prior(two, "seval/offsets", backend="none").values["runs"]["DASO"]["estimate"].mean.sum(), 100
    )


@pytest.mark.parametrize(
    ("method", "state", "taken"),
    [
        ("supervised+la", ("la/prior",), None),
        ("fixmatch+la+daso", ("la/prior", "daso/class_dist"), "daso/class_dist"),
        ("fixmatch+darp", ("darp/target",), None),
        ("fixmatch+darp(target=oracle)", ("darp/target",), None),
        ("fixmatch+darp(target=estimate)", ("darp/target",), "darp/target"),
        ("fixmatch+debiaspl+la", ("debiaspl/prior", "la/prior"), "debiaspl/prior"),
        ("my own, second try", ("mine/prior",), "mine/prior"),
    ],
)
def test_what_was_given_is_no_estimate(tmp_path, method, state, taken):
    truth = np.arange(12) % 3
    with Recorder(tmp_path / "run", truth, [5, 3, 1], [*"abc"], attrs={"method": method}) as recorder:
        recorder.end_epoch(sweep=(truth, truth >= 0), series=dict.fromkeys(state, np.ones(3)))
    run = pld.open_run(tmp_path / "run")
    assert any(made.name == "estimated_prior" for made in collection({"A": run}, backend="none")) == (taken is not None)
    if taken is None:
        with pytest.raises(NotLogged, match="logged no estimate of the class distribution"):
            plots.estimated_prior(run, backend="none")
        with pytest.raises(NotLogged, match=f"{state[0]} is what .* was given, no estimate"):
            plots.estimated_prior(run, state[0], backend="none")
    else:
        assert [arrays["series"] for arrays in plots.estimated_prior(run, backend="none").values["runs"].values()] == [taken]


def timed(path, every, epochs, *, gaps=(), labels=lambda epoch: np.zeros(12, int)):
    """A run of epochs of `every` steps (None: not told), some of which were left out."""
    with Recorder(path, np.arange(12) % 3, [5, 3, 1], [*"abc"], num_epochs=epochs, attrs={"method": "fixmatch"}) as recorder:
        for epoch in set(range(epochs)) - set(gaps):
            recorder.epoch = epoch
            label = labels(epoch)
            recorder.end_epoch(
                iteration=every and every * (epoch + 1),
                sweep=(label, label >= 0),
                test=np.eye(3, dtype=int),
                series={"mine/prior": np.ones(3)},
            )
    return pld.open_run(path)


def test_runs_are_aligned_by_iteration_and_lengths_are_told(tmp_path):
    """Epochs of 10 steps beside epochs of 20, and a copy with gaps."""
    fine = timed(tmp_path / "fine", 10, 8, labels=lambda epoch: np.full(12, epoch // 2 % 3))
    rough = timed(tmp_path / "rough", 20, 3, labels=lambda epoch: np.full(12, epoch % 3))
    both = {"fine": fine, "rough": rough}
    told = "The runs differ in length and end at different points: rough at iteration 60; fine at iteration 80."
    curves = plots.training_curves(both, "accuracy", backend="none")
    assert curves.values["runs"]["rough"]["x"].tolist() == [20, 40, 60] and curves.caption.endswith(told)
    assert plots.training_curves(both, "accuracy", x="epoch", backend="none").values["runs"]["rough"]["x"].tolist() == [0, 1, 2]
    shown = plots.carpet(both, backend="none")
    assert shown.values["runs"]["fine"]["x"].tolist() == [10 * (e + 1) for e in range(8)]
    assert "over the iterations" in shown.caption and told in shown.caption
    figure = plots.confusion_epochs(both, (3, 5, -1))
    for epoch in (3, 5):
        matrices = (found[epoch] for found in figure.values["runs"].values())
        np.testing.assert_array_equal(*matrices)
    assert [ax.get_title().partition(":")[0] for ax in figure.axes.flat] == [
        *("iteration 40", "iteration 60", "iteration 80"), *("iteration 40", "iteration 60", "iteration 60")]  # fmt: skip
    assert told in figure.caption and (plots.confusion_difference(both, epoch=3, backend="none").values["difference"].mean == 0).all()
    for function in (plots.learned_state, plots.estimated_prior, plots.recall_precision, plots.label_distribution):
        caption = function(both, epoch=3, backend="none").caption
        assert "iteration 40" in caption and told in caption
        with pytest.raises(NotLogged, match=r"recorded nothing at iteration 80, where epoch 7 of .* ends; the nearest is 60 \(its epoch 2"):
            function(both, epoch=7, backend="none")


def test_epochs_need_not_follow_one_another(tmp_path):
    whole, copy = timed(tmp_path / "whole", 10, 9), timed(tmp_path / "copy", 10, 9, gaps=(1, 2, 5))
    assert copy.epochs.tolist() == [0, 3, 4, 6, 7, 8]
    both = {"whole": whole, "copy": copy}
    assert "differ in length" not in plots.training_curves(both, "accuracy", backend="none").caption
    figure = plots.carpet(both)
    image = [ax.get_images()[0] for ax in figure.axes.flat]
    assert [found.get_array().shape[1] for found in image] == [9, 9] and [found.get_extent()[:2] for found in image] == [[-0.5, 8.5]] * 2
    assert figure.values["runs"]["copy"]["drawn"].shape == (3, 6) and {ax.get_xlim() for ax in figure.axes.flat} == {(-0.5, 8.5)}
    assert set(plots.confusion_epochs(both, (4, -1), backend="none").values["runs"]["copy"]) == {4, -1}
    with pytest.raises(NotLogged, match=r"no epoch 5; .* the nearest: 4 and 6"):
        plots.confusion_epochs(both, (5,), backend="none")


@pytest.mark.parametrize("function", ["training_curves", "carpet", "learned_state", "estimated_prior", "confusion_epochs", "table"])
def test_runs_without_iterations_stand_by_epoch_and_say_so(tmp_path, function):
    """Also beside runs whose epochs end at different steps; "iteration -1" is nowhere."""
    shapes = {"fine": (10, 4), "rough": (20, 3), "silent": (None, 5)}
    runs = {name: timed(tmp_path / name, *shape) for name, shape in shapes.items()}
    told = "rough at epoch 2; fine at epoch 3; silent at epoch 4. Runs stand side by side by epoch, as the iterations of silent were not "
    if function == "table":
        assert told in " ".join(pld.table(runs, values="acceptance").notes)
        return
    found = getattr(plots, function)(runs)
    assert told in found.caption and "-1" not in found.caption
    for ax in found.figure.axes:
        assert not any("iteration" in text for text in (ax.get_xlabel(), ax.get_title())) and ax.get_xlim()[1] < 10


def test_a_class_without_labels_and_clipped_ratios_are_told_apart(tmp_path):
    """White is ratio 1, a class that no label names has a colour of its own, and a scale that ends before the values says so."""
    truth = np.repeat(np.arange(3), [100, 100, 1])
    with Recorder(tmp_path / "run", truth, [5, 3, 1], [*"abc"], num_epochs=3) as recorder:
        for label in (np.repeat([0, 0, 2], [100, 99, 2]), truth, np.where(truth == 1, 2, truth)):
            recorder.end_epoch(sweep=(label, label >= 0))
    figure = plots.carpet(tmp_path / "run", metric="ratio")
    shades = figure.axes[0, 0].get_images()[0].get_array()
    np.testing.assert_allclose(shades[:, 1], 1)  # as many as there are
    none, least = to_rgba(NONE), to_rgba(DIVERGING[0])
    np.testing.assert_allclose(shades[1, [0, 2]], [none, none])
    assert not np.allclose(none[:3], least[:3], atol=0.2)
    bar = figure.figure.axes[-1]
    assert "purple: no label" in bar.get_ylabel() and figure.figure.axes[-1]._colorbar.extend == "max"
    assert "White: ratio 1" in figure.caption and "Purple: no label at all." in figure.caption and "exact zero" not in figure.caption
    assert "Ratios above 32 have the colour of the scale's end." in figure.caption
    mild = plots.carpet(make_run(tmp_path / "mild"), metric="ratio")
    assert "Ratios" not in mild.caption and mild.figure.axes[-1]._colorbar.extend == "neither"
    assert "White: an exact zero." in plots.carpet(tmp_path / "run", backend="none").caption


def test_carpet(two):
    figure = plots.carpet(two)
    arrays = figure.values["runs"]["FixMatch"]
    cube = np.stack([metrics.recall(pld.open_run(path).confusion("sweep")).T for path in two["FixMatch"]])
    np.testing.assert_allclose(arrays["spread"].mean, cube.mean(0))
    np.testing.assert_allclose(arrays["drawn"], cube.mean(0)[figure.values["order"]])
    assert arrays["epochs"].tolist() == [0, 1, 2, 3] and (arrays["spread"].n == 2).all()
    assert figure.axes.shape == (1, 2) and [ax.get_title(loc="left") for ax in figure.axes.flat] == ["FixMatch", "DASO"]
    given = np.mean([metrics.gain(pld.open_run(path).confusion("sweep")).T for path in two["DASO"]], 0)
    shown = plots.carpet(two, metric="ratio", backend="none").values["runs"]["DASO"]["drawn"]
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(shown, np.log2(given)[figure.values["order"]])


def test_carpet_in_given_axes(two):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    drawn = plots.carpet(two["FixMatch"][0], ax=ax, epoch=2)
    assert drawn.axes is ax and ax.get_title(loc="left") == "fixmatch/s0: sweep, all"
    assert list(ax.lines[-1].get_xdata()) == [2, 2]


def test_blending(two):
    values = plots.blending(two, epoch=1, backend="none").values
    arrays = values["runs"]["FixMatch"]
    blended = np.stack([metrics.recall(pld.open_run(path).confusion(epoch=1)) for path in two["FixMatch"]])
    np.testing.assert_allclose(arrays["blended"]["recall"].mean, 100 * blended.mean(0))
    assert arrays["linear"]["recall"].mean.tolist() == [100, 0, 0, 0, 0, 0]
    assert arrays["linear"]["precision"].mean[0] == pytest.approx(100 / 6) and np.isnan(arrays["linear"]["precision"].mean[1:]).all()
    assert (arrays["semantic"]["recall"].mean == 100).all() and values["epochs"] == {"FixMatch": [1, 1], "DASO": [1, 1]}
    figure = plots.blending(two["DASO"])
    assert [ax.get_ylabel() for ax in figure.axes.flat] == ["recall (%)", "precision (%)", "semantic weight"]
    assert {line.get_label() for line in figure.axes[0, 0].lines} >= {"linear", "semantic", "blended"}
    assert "at epoch 3" in figure.caption and "weight not logged" in [text.get_text() for text in figure.axes[0, 2].texts]


def test_the_blending_weight_is_drawn(tmp_path):
    weight = np.linspace(1, 0, 6)
    truth = np.arange(30) % 6
    with pld.Recorder(tmp_path / "run", truth, [9, 8, 7, 3, 2, 1], [*"abcdef"]) as recorder:
        recorder.end_epoch(
            sweep=(truth, truth >= 0), logits=np.eye(6)[truth], semantic=np.eye(6)[truth], series={"daso/blend_weight": weight}
        )
    figure = plots.blending(tmp_path / "run")
    assert [bar.get_height() for bar in figure.axes[0, 2].patches] == pytest.approx(weight)


def test_learned_state_shows_every_entry_and_says_what_it_leaves_out(two, tmp_path):
    figure = plots.learned_state(two, "seval/offsets")
    colours = [line.get_color() for line in figure.axes[0, 1].lines]
    assert len(colours) == 6 and len(set(colours)) == 2  # head, medium and tail of both
    with pld.Recorder(tmp_path / "run", [0, 1], [2, 1], [*"ab"]) as recorder:
        recorder.end_epoch(series={f"s/{name}": np.ones(2) for name in "abcde"})
    assert plots.learned_state(tmp_path / "run", backend="none").caption.endswith("Logged too, and not shown: s/d, s/e.")


def test_accuracy_gamma(root):
    figure = plots.accuracy_gamma(catalogue(root))
    assert figure.values["ratios"].tolist() == [0.01, 1, 100]  # reversed to the left
    assert [text.get_text() for text in figure.axes.flat[0].get_xticklabels()] == ["1/100", "1", "100"]
    spread = figure.values["runs"]["fixmatch"]
    matched = [np.mean([100 * np.minimum(20, np.array(A) + seed + i).sum() / 120 for seed in (0, 1)]) for i in (2, 0, 1)]
    np.testing.assert_allclose(spread.mean, matched)
    assert spread.n.tolist() == [2, 2, 2] and "reversed" in figure.caption


def test_unlabelled_imbalance(root):
    figure = plots.unlabelled_imbalance(root)
    gain = figure.values["runs"]["fixmatch+daso"].mean
    assert gain.shape == (3, 3) and set(figure.values["runs"]) == {"fixmatch", "fixmatch+daso"}
    np.testing.assert_allclose(gain[1], [5, 0, 30])  # per class 2 and 0 of 20 more in the head, 6 and 6 in the tail
    with pytest.raises(ValueError, match="baseline must be one of 'fixmatch'"):
        plots.unlabelled_imbalance([root / "fixmatch"], backend="none")
    lonely = {"supervised": root / "supervised" / "1False0", "A": root / "fixmatch" / "1False1"}
    with pytest.raises(Incomparable, match="no ratio and seed in common"):
        plots.unlabelled_imbalance(lonely, backend="none")


def test_confusion_epochs_and_difference(two):
    shown = plots.confusion_epochs(two, (0, -1), backend="none").values["runs"]["FixMatch"]
    pooled = sum(pld.open_run(path).confusion(epoch=-1) for path in two["FixMatch"])
    np.testing.assert_allclose(shown[-1], 100 * pooled / pooled.sum(1, keepdims=True))
    values = plots.confusion_difference(two, backend="none").values
    np.testing.assert_allclose(np.diagonal(values["difference"].mean)[4:], [15, 30])
    assert values["clear"][5, 5] and not values["clear"][0, 1]
    alone = plots.confusion_difference(two["FixMatch"][0], two["DASO"][0])
    assert alone.values["clear"].all() and "one pair of runs" in alone.caption
    with pytest.raises(Incomparable, match="needs two entries; got 1"):
        plots.confusion_difference(two["FixMatch"])
    with pytest.raises(Incomparable, match="no seed in common"):
        plots.confusion_difference(
            {"a": two["FixMatch"], "b": [make_run(two["DASO"][0].parent / "s9", "fixmatch+daso", 9, B, gamma_u=1.0)]}
        )


# ---- every figure ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_every_figure_in_both_widths_and_formats(name, two, tmp_path):
    function = getattr(plots, name)
    for width in WIDTHS:
        figure = function(two, width=width, **EVERY[name])
        assert figure.figure.get_figwidth() == WIDTHS[width] and figure.caption.endswith(".")
        assert set(function(two, width=width, backend="none", **EVERY[name]).values) == set(figure.values)
    figure.save(tmp_path / "f.pdf")
    figure.save(tmp_path / "f.svg")
    figure.save(tmp_path / "f.png", dpi=50)
    pdf = (tmp_path / "f.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf  # TrueType, embedded
    assert f"/MediaBox [ 0 0 {72 * WIDTHS['double']:g}".encode() in pdf  # the width a paper asks for, uncropped
    svg = ElementTree.parse(tmp_path / "f.svg")
    assert not [e for e in svg.iter() if e.tag.endswith("}text")] and 'href="http' not in (tmp_path / "f.svg").read_text()
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG") and figure._repr_png_().startswith(b"\x89PNG")


def numbers(values) -> list:
    """All numbers of nested dictionaries and tuples, in order, whatever the entries are called."""
    if isinstance(values, (dict, tuple)):
        return [number for inner in (values.values() if isinstance(values, dict) else values) for number in numbers(inner)]
    return [] if isinstance(values, str) else np.ravel(values).astype(float).tolist()


@pytest.mark.parametrize("name", EVERY)
def test_every_figure_takes_runs_paths_dicts_and_rows_of_a_catalogue(name, root, two):
    function = getattr(plots, name)
    by_dict = function(two, backend="none")
    paths = [str(path) for found in two.values() for path in found]
    rows = catalogue(root)
    chosen = rows[rows["path"].isin(paths)].sort_values("path", key=lambda column: column.map(paths.index))
    for runs in (paths, [pld.open_run(path) for path in paths], chosen):
        other = function(runs, backend="none")
        np.testing.assert_array_equal(numbers(other.values), numbers(by_dict.values))
        assert "2 seeds" in other.caption or "2 pairs of seeds" in other.caption
        if name != "confusion_difference":
            assert list(other.values["runs"]) == ["fixmatch", "fixmatch+daso"]
    if name != "confusion_difference":
        alone = [function(run, backend="none").values for run in (paths[0], pld.open_run(paths[0]))]
        assert numbers(alone[0]) and numbers(alone[0]) == pytest.approx(numbers(alone[1]), nan_ok=True)


@pytest.mark.parametrize("name", EVERY)
def test_every_figure_survives_any_name(name, tmp_path):
    runs = {label: make_run(tmp_path / str(i), f"m{i}", names=HOSTILE, outputs=True) for i, label in enumerate((HOSTILE[0], HOSTILE[3]))}
    getattr(plots, name)(runs, title="$_{^").save(tmp_path / "f.svg")  # drawn, so that every text was set


@pytest.mark.parametrize("name", EVERY)
def test_every_figure_shows_every_class_of_many(name, tmp_path):
    k = 100
    right, labelled = np.linspace(20, 0, k).astype(int), range(k, 0, -1)
    runs = [make_run(tmp_path / m, m, right=right, labelled=labelled, outputs=True) for m in ("a", "b")]
    figure = getattr(plots, name)(runs)
    assert figure.values["order"].shape == (k,) if "order" in figure.values else figure.values["groups"].order.shape == (k,)
    figure.save(tmp_path / "f.png", dpi=40)


@pytest.mark.parametrize("name", EVERY)
def test_every_figure_refuses_what_cannot_be_compared(name, tmp_path):
    runs = {"a": make_run(tmp_path / "a"), "b": make_run(tmp_path / "b", names=list("uvwxyz"))}
    with pytest.raises(Incomparable, match="class lists differ"):
        getattr(plots, name)(runs, backend="none")


PSEUDO = ("blending", "carpet", "recall_precision", "training_curves", "label_distribution", "confusion_epochs", "estimated_prior")


@pytest.mark.parametrize("name", PSEUDO)
def test_without_truth_no_figure_of_pseudo_labels_is_empty(name, tmp_path):
    blind = make_run(tmp_path / "u", unknown=True, outputs=True)
    with pytest.raises(Incomparable, match=r"fixmatch/s0 .*: the true classes of its unlabelled samples are not known"):
        getattr(plots, name)(blind, backend="none")


def test_what_needs_no_truth_is_drawn_without(tmp_path):
    blind = make_run(tmp_path / "u", unknown=True)
    with pytest.raises(Incomparable, match="true classes of its unlabelled samples are not known"):
        plots.confusion_difference(blind, make_run(tmp_path / "v", "fixmatch+daso", unknown=True), backend="none")
    curves = plots.training_curves(blind, ("balanced_accuracy", "acceptance", "ece"), backend="none").values["runs"]["fixmatch"]
    accepted = [blind.pseudo_counts("sweep", "accepted", epoch=e).sum() / 1.2 for e in range(4)]
    np.testing.assert_allclose(curves["acceptance"].mean, accepted)
    assert np.isfinite(plots.recall_precision(blind, kind="test", backend="none").values["runs"]["fixmatch"]["recall"].mean).all()
    with pytest.raises(Incomparable, match="not known"):
        plots.accuracy_gamma(blind, "pl_recall_tail", backend="none")
    assert np.isfinite(plots.accuracy_gamma(blind, backend="none").values["runs"]["fixmatch"].mean).all()


@pytest.mark.parametrize("name", EVERY)
def test_one_run_has_no_interval_and_an_empty_group_is_named(name, tmp_path):
    runs, options = make_run(tmp_path / "a", outputs=True), {"groups": (1000, 20)}
    if name == "confusion_difference":
        runs = [runs, make_run(tmp_path / "b", "fixmatch+daso")]
    figure = getattr(plots, name)(runs, **options)
    assert "No class is in head; other cut-offs (groups=) would fill it." in figure.caption
    if name not in ("confusion_epochs", "confusion_difference"):
        assert "one seed" in figure.caption.lower() and "interval" not in figure.caption
    figure.figure.canvas.draw()  # an empty panel is no error


def test_what_a_run_lacks_is_said(tmp_path):
    blind, plain = make_run(tmp_path / "u", unknown=True), make_run(tmp_path / "p", series=False)
    for function in (plots.label_distribution, plots.estimated_prior):
        with pytest.raises(Incomparable, match="true classes of its unlabelled samples are not known"):
            function(blind, backend="none")
    assert plots.label_distribution(blind, kind="test", backend="none").values["runs"]["fixmatch"]["tv"].mean > 0
    with pytest.raises(NotLogged, match="logged no state of a scheme"):
        plots.learned_state(plain)
    with pytest.raises(NotLogged, match="logged no estimate"):
        plots.estimated_prior(plain)
    with pytest.raises(NotLogged, match=r"no epoch 7; it has 0\.\.3"):
        plots.learned_state(blind, epoch=7)


def test_choices_are_checked_before_anything_is_drawn(two):
    for options, message in (
        ({"backend": "plotlyy"}, r"'matplotlib', 'plotly', 'none'; got 'plotlyy' \(did you mean 'plotly'"),
        ({"width": "full"}, "'single', 'double'"),
        ({"font": "No Such Font"}, r"no font 'No Such Font' on this machine; install it .* DejaVu"),
        ({"error": "sem"}, "'interval', 'sd'"),
    ):
        with pytest.raises(ValueError, match=message):
            plots.recall_precision(two, **options)
    with pytest.raises(ValueError, match="9 entries cannot be told apart"):
        plots.recall_precision({str(i): two["DASO"][0] for i in range(9)})
    undrawn = plots.recall_precision(two, backend="none")
    with pytest.raises(ValueError, match="nothing was drawn"):
        undrawn.save("f.pdf")
    assert repr(undrawn) == "<PaperFigure, not drawn; values: runs, order>" and undrawn._repr_png_() is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("x.pdf.txt", {}, "no figure is written as 'txt'; end the name in .pdf, .svg or .png"),
        ("x.pdf", {"format": "docx"}, "format='docx'"),
        ("x.pdf", {"dpi": -1}, "dpi=-1 must lie above 0"),
        ("x.png", {"dpi": "x"}, "dpi='x' must be a finite number"),
        ("x.png", {"dpi": 1e9}, "at most 2400"),
        ("x.png", {"dppi": 3}, r"saved with dpi, .* got 'dppi' \(did you mean 'dpi'"),
        ("x.png", {"transparent": "no"}, "transparent='no' must be True or False"),
        ("x.png", {"facecolor": "nope"}, "cannot be written as png with .*facecolor='nope'"),
        ("x.jpeg", {"metadata": {"Title": "x"}}, "cannot be written as jpeg"),
    ],
)
def test_what_figures_are_not_saved_with(two, tmp_path, name, options, message):
    for figure in (plots.recall_precision(two), plots.confusion(two["DASO"][0])):
        (tmp_path / name).write_bytes(b"before")
        with pytest.raises(ValueError, match=message):
            figure.save(tmp_path / name, **options)
        assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


def test_endings(two, tmp_path):
    figure = plots.confusion(two["DASO"][0])
    for name, options, start in (
        ("x.jpeg", {"dpi": np.int64(20)}, b"\xff\xd8"),
        ("x.PDF", {}, b"%PDF"),
        ("y.pdf", {"format": "svg"}, b"<?xml"),
        ("z", {"dpi": 20}, b""),
    ):
        figure.save(tmp_path / name, **options)
        assert (tmp_path / (name if name != "z" else "z.png")).read_bytes().startswith(start)


def test_scalars_with_names_that_mean_something_else(tmp_path):
    with pld.Recorder(tmp_path / "r", [0, 1, 2], [3, 2, 1], ["a", "b", "c"]) as recorder:
        for accuracy in (0.1, 0.2):
            recorder.end_epoch(scalars={"x": 5.0, "accuracy": accuracy, "g_mean": 1.0}, test=np.eye(3, dtype=int))
    run = pld.open_run(tmp_path / "r")
    figure = plots.training_curves(run, ["x", "accuracy", "g_mean"])
    drawn = next(iter(figure.values["runs"].values()))
    assert drawn["x"].tolist() == [0, 1] and drawn["x (logged)"].mean.tolist() == [5, 5]
    told = "accuracy: computed from the matrices; the scalars logged under the name have other values"
    assert told in figure.caption and told in pld.table(run, values=["accuracy", "g_mean"]).notes[-1]
    assert "other values" not in " ".join(pld.table(run, values="g_mean").notes)


def test_fonts(two, tmp_path):
    figure = plots.training_curves(two, font=["STIXGeneral", "DejaVu Sans"])
    figure.save(tmp_path / "f.pdf")
    assert b"STIXGeneral" in (tmp_path / "f.pdf").read_bytes()
    foreign = plots.training_curves({"猫": two["DASO"], "b": two["FixMatch"]}, font="STIXGeneral")
    with pytest.warns(UserWarning, match=r"the font has no glyph for .*; pass font= with a family that has it"):
        foreign.save(tmp_path / "f.png")


def test_latex_is_not_needed_and_its_absence_is_said(two, monkeypatch):
    import matplotlib

    monkeypatch.setenv("PATH", "")
    assert plots.label_distribution(two)._repr_png_().startswith(b"\x89PNG")
    with matplotlib.rc_context({"text.usetex": True}), pytest.raises(ValueError, match=r"not on this machine.*text.usetex'\] = False"):
        plots.label_distribution(two)


def test_lines_are_told_apart_without_colour():
    styles = line_styles([str(i) for i in range(8)])
    assert len({style["dashes"] for style in styles.values()}) == len({style["marker"] for style in styles.values()}) == 8


def test_arrays_alone_need_no_matplotlib(two):
    path = str(two["DASO"][0])
    code = f"import sys, pldebias as pld; pld.plots.recall_precision({path!r}, backend='none'); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_captions_say_what_is_drawn(two):
    caption = plots.recall_precision(two, split="accepted", epoch=2, error="sd").caption
    assert re.search(r"sweep, accepted\) at epoch 2; mean over 2 seeds with one standard deviation\. Tertiles of classes", caption)
