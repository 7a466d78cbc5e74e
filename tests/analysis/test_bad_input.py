"""Runs that lack something, or are not done: every door of the analysis works without it, or says what is missing and what to do."""

import numpy as np
import pytest

import pldebias as pld
from pldebias import plots
from pldebias.analysis.comparing.selection import Incomparable
from pldebias.analysis.samples import images_of
from pldebias.interop.thin import thin
from pldebias.runs import NotLogged, Recorder
from pldebias.widgets.whatif import WhatIfPanel

N, NAMES = 90, ("cat", "<b>dog</b>", "$owl$ & co")
TRUE = np.arange(N) % 3


def begin(path, unknown=False):
    truth = {"true_labels": None, "num_unlabelled": N} if unknown else {"true_labels": TRUE}
    attrs = {"method": "fixmatch(threshold=0.5)", "seed": 0, "data": "cifar10-lt", "config": {"source": "cifar10"}}
    return Recorder(path, labelled_counts=[30, 10, 3], class_names=NAMES, num_epochs=4, attrs=attrs, **truth)


def end_epoch(recorder, epoch, outputs=True, sweep=True):
    """Outputs are kept at even epochs."""
    random = np.random.default_rng(epoch)
    logits = (random.normal(size=(N, 3)) + 2 * np.eye(3)[TRUE]).astype(np.float16).astype(np.float32)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    given = {"sweep": (logits.argmax(1), probs.max(1) >= 0.5)} if sweep else {}
    if outputs and not epoch % 2:
        given |= {"logits": logits, "features": random.normal(size=(N, 4))}
    recorder.update(np.arange(N), logits.argmax(1), probs.max(1) >= 0.5)
    recorder.end_epoch(**given)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """`recorded(unknown=True)`, `recorded(outputs=False)`, `recorded(sweep=False)`: three epochs without something."""

    def make(unknown=False, **lacks):
        path = tmp_path_factory.mktemp("lacking") / "run"
        with begin(path, unknown) as recorder:
            for epoch in range(3):
                end_epoch(recorder, epoch, **lacks)
        return pld.open_run(path)

    return make


def drawn(figure):
    assert figure._repr_png_().startswith(b"\x89PNG")
    return figure


NEED_OUTPUTS = {
    "what_if": lambda run, **o: pld.what_if(run, "debiaspl", **o),
    "panel": lambda run, **o: WhatIfPanel(run, root=False, **o),
    "reliability": lambda run, **o: plots.reliability(run, **o),
    "threshold_sweep": lambda run, **o: plots.threshold_sweep(run, **o),
}
NEED_HISTORY = {
    "flows": lambda run: plots.flows(run),
    "learning_order": lambda run: plots.learning_order(run),
    "samples": lambda run: plots.samples(run, "most flipped"),
    "confusion": lambda run: plots.confusion(run),
}


@pytest.mark.parametrize("door", NEED_OUTPUTS)
def test_a_run_without_logits(recorded, door):
    with pytest.raises(NotLogged, match=r"kept no logits; train it with snapshots=8 \(or pass logits= to Recorder.end_epoch\)"):
        NEED_OUTPUTS[door](recorded(outputs=False))


@pytest.mark.parametrize("door", NEED_OUTPUTS)
@pytest.mark.parametrize("epoch", [1, 99])
def test_an_epoch_that_was_not_logged(recorded, door, epoch):
    with pytest.raises(NotLogged, match=f"has logits at the epochs 0, 2; not at {epoch}"):
        NEED_OUTPUTS[door](recorded(), epoch=epoch)
    with pytest.raises(NotLogged, match=r"at epoch 99; it has 0..2"):
        plots.samples(recorded(), "most flipped", epoch=99)


@pytest.mark.parametrize("door", NEED_HISTORY)
def test_a_run_without_sweeps(recorded, door):
    with pytest.raises(NotLogged, match=r"has no '(history|sweep)'.*it has visits"):
        NEED_HISTORY[door](recorded(sweep=False))
    assert pld.what_if(recorded(sweep=False), "debiaspl").reproduces is None  # nothing to be checked against


def test_a_run_without_truth(recorded):
    """What needs no truth is shown, what needs it says so."""
    run = recorded(unknown=True)
    drawn(plots.flows(run))
    drawn(plots.threshold_sweep(run))
    drawn(plots.samples(run, "most flipped", n=3))
    with pytest.raises(Incomparable, match="the true classes of its unlabelled samples are not known"):
        plots.confusion(run)
    with pytest.raises(ValueError, match=r"'hardest' needs true labels .*choose 'most flipped'"):
        plots.samples(run, "hardest")
    with pytest.raises(ValueError, match=r"the order of learning needs true labels .*kind='test' counts test images"):
        plots.learning_order(run)
    with pytest.raises(ValueError, match=r"reliability needs true labels .*threshold_sweep shows"):
        plots.reliability(run)
    with pytest.raises(ValueError, match="needs the true labels of the unlabelled set"):
        pld.what_if(run, "debiaspl", prior="oracle")
    panel = WhatIfPanel(run, "la(at=pseudo,tau=2)", root=False)
    assert panel.result.reproduces and len(panel.result.changed)
    assert "truth unknown for 90 of 90 samples" in panel.badge.value
    assert "percent of the logged label (row) by label now" in panel.view.value
    changed = 100 * panel.result.flips[0, 2] / panel.result.flips[0].sum()
    assert changed > 0 and f"cat called $owl$ &amp; co: {changed:.1f} %" in panel.view.value


def test_a_run_that_is_being_written(tmp_path):
    with begin(tmp_path / "run") as recorder:
        for door in (pld.what_if, WhatIfPanel):
            with pytest.raises(NotLogged, match="no finished epoch yet; wait for its first"):
                door(tmp_path / "run")
        for epoch in range(3):
            end_epoch(recorder, epoch)
            recorder.flush()
            if epoch == 0:
                panel, resting = (WhatIfPanel(tmp_path / "run", root=False) for _ in range(2))
        assert panel.epoch.options == (0,)
        panel.refresh()
        assert panel.epoch.options == (0, 2) and panel.result.epoch == 2 and panel.result.reproduces
        resting.refresh()
        resting.epoch.value = 0
        resting.refresh()
        assert resting.result.epoch == 0  # only the last snapshot gives way to a newer one
        assert pld.what_if(tmp_path / "run").epoch == 2
        drawn(plots.flows(tmp_path / "run"))


def test_a_run_without_an_epoch_is_not_thinned(tmp_path):
    with begin(tmp_path / "run"), pytest.raises(NotLogged, match="no finished epoch yet"):
        thin(pld.open_run(tmp_path / "run"), tmp_path / "thin.zip")


def test_names_with_markup_stay_text(recorded):
    run = recorded()
    panel = WhatIfPanel(run, "debiaspl", root=False)
    for html in (panel.view.value, panel.badge.value, panel.result._repr_html_()):
        assert "<b>dog</b>" not in html
    assert "&lt;b&gt;dog&lt;/b&gt;" in panel.view.value
    for figure in (plots.what_if(panel.result), plots.flows(run), plots.reliability(run), plots.learning_order(run)):
        drawn(figure)


def test_a_missing_data_set_leaves_all_but_the_pictures(recorded, tmp_path, monkeypatch):
    monkeypatch.setenv("PLDEBIAS_DATA", str(tmp_path / "nothing"))
    run = recorded()
    images, why = images_of(run, np.arange(3))
    assert images is None and why
    figure = drawn(plots.samples(run, "hardest", n=3))
    assert len(figure.values["index"]) == 3 and "no images" in figure.figure._suptitle.get_text()


def test_state_of_a_run_on_other_classes(recorded, tmp_path):
    with Recorder(tmp_path / "other", TRUE, [30, 10, 3], NAMES[::-1], num_epochs=1, attrs={"method": "fixmatch", "seed": 0}) as recorder:
        end_epoch(recorder, 0)
    with pytest.raises(ValueError, match="its classes are not those of"):
        pld.what_if(recorded(), "debiaspl", state=pld.open_run(tmp_path / "other"))
