"""The panel says and shows what `what_if` gives for its controls."""

import asyncio

import numpy as np
import pytest

import pldebias as pld
from pldebias.runs import NotLogged, Recorder
from pldebias.widgets.tables import HINTS, matrix, scores
from pldebias.widgets.whatif import WhatIfPanel


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    random = np.random.default_rng(0)
    n, counts = 300, [100, 50, 20, 10]
    true = np.repeat(np.arange(4), [150, 90, 40, 20])
    logits = (random.normal(size=(n, 4)) + 2 * np.eye(4)[true] + np.array([1.5, 0.5, 0, -1])).astype(np.float16).astype(np.float32)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    path = tmp_path_factory.mktemp("panel") / "run"
    attrs = {"method": "fixmatch(threshold=0.7)", "seed": 0}
    with Recorder(path, true, counts, ["a", "<b>", "c&d", "e"], num_epochs=2, num_features=3, attrs=attrs) as recorder:
        for epoch in range(2):
            snapshot = {"labelled/prototypes": np.eye(4)[:, :3].astype(np.float32)}
            features = random.normal(size=(n, 3))
            sweep = (logits.argmax(1), probs.max(1) >= 0.7)
            recorder.end_epoch(sweep=sweep, logits=logits, features=features, snapshot=snapshot, iteration=epoch + 1)
    return pld.open_run(path)


@pytest.fixture
def panel(run):
    return WhatIfPanel(run, root=False)


def test_it_begins_as_trained_and_says_so(panel):
    assert panel.result.scheme is None and panel.result.reproduces
    assert "one-step counterfactual" in panel.badge.value and "come out again" in panel.badge.value
    assert panel.thresholds.value == "the method's" and panel.by_group["tail"].value == 0.7


def test_sliders_write_the_chain(panel, run):
    assert not panel.controls
    panel.press("DebiasPL + DASO")
    panel.controls["debiaspl tau"].value = 0.8
    assert panel.chain == panel.text.value == "debiaspl(tau=0.8)+daso"
    np.testing.assert_array_equal(panel.result.label, pld.what_if(run, "debiaspl(tau=0.8)+daso").label)
    before = panel.view.value
    panel.controls["daso T"].value = 0.5
    assert panel.chain == "debiaspl(tau=0.8)+daso(T=0.5)"
    assert panel.view.value != before
    panel.press("constant blend")
    panel.controls["daso weight"].value = 0.25
    assert panel.chain == "daso(weight=0.25)" and list(panel.controls) == ["daso T", "daso weight"]
    np.testing.assert_array_equal(panel.result.label, pld.what_if(run, "daso(weight=0.25)").label)


def test_schemes_are_added_to_the_chain(panel):
    for name in ("debiaspl", "daso"):
        panel.add.value = name
    assert panel.chain == panel.text.value == "debiaspl+daso" and panel.add.value == "add a scheme"
    assert panel.result.method == "fixmatch(threshold=0.7)+debiaspl+daso"


def test_a_typed_chain_moves_the_sliders(panel):
    panel.text.value = "debiaspl(tau=1.5)+daso(T=0.3)"
    assert {name: control.value for name, control in panel.controls.items()} == {
        "debiaspl tau": 1.5, "debiaspl margin": True, "daso T": 0.3, "daso weight": 0.5,  # the middle, of one that is not set
    }  # fmt: skip
    assert panel.result.method == "fixmatch(threshold=0.7)+debiaspl(tau=1.5)+daso(T=0.3)"


def test_a_scheme_of_a_plugin_has_its_button_and_controls(panel, my_methods, run):
    pld.load_plugin(my_methods)
    theirs = WhatIfPanel(run, root=False)
    theirs.buttons["relaxed twice"].click()
    assert theirs.chain == "relaxed(power=2)" and not theirs.problem
    theirs.controls["relaxed power"].value = 3
    assert theirs.chain == "relaxed(power=3.0)" and "relaxed" in theirs.add.options
    np.testing.assert_array_equal(theirs.result.accepted, pld.what_if(run, "relaxed(power=3)").accepted)
    assert "relaxed twice" not in panel.buttons


def test_the_margin_shows_in_the_pull_and_in_no_label(panel):
    panel.show("debiaspl(tau=1.0)")
    with_margin = panel.result
    panel.controls["debiaspl margin"].value = False
    assert panel.chain == "debiaspl(tau=1.0, margin=False)"
    np.testing.assert_array_equal(panel.result.label, with_margin.label)
    pulls = [result.table.loc["tail", ("pull of accepted %", "what if")] for result in (with_margin, panel.result)]
    assert pulls[0] > pulls[1]
    panel.text.value = "debiaspl"
    assert panel.controls["debiaspl margin"].value


def test_a_relabelling_whose_check_fails_is_told_and_not_drawn(run, tmp_path):
    """The same outputs beside labels that do not follow from them."""
    label, accepted = run.history(-1)
    label = np.where(np.arange(len(label)) < 7, (label + 1) % 4, label)
    attrs = {"method": run.method, "seed": 0}
    with Recorder(tmp_path / "wrong", run.true_labels, run.labelled_counts, run.class_names, num_epochs=1, attrs=attrs) as recorder:
        recorder.end_epoch(sweep=(label, accepted), logits=run.logits())
    panel = WhatIfPanel(tmp_path / "wrong", root=False)
    for chain in ("as trained", "debiaspl"):
        panel.show(chain)
        assert "CHECK FAILED" in panel.badge.value and not panel.view.value
        assert "image/png" not in panel._repr_mimebundle_()[0]


def test_weights_are_in_the_table_and_the_notes(panel):
    panel.show("saw")
    head = panel.result.table.loc["head", ("weight of accepted", "what if")]
    assert head < 1 < panel.result.weight.max() and "weight of accepted" in panel.view.value and f"{head:.2f}" in panel.view.value
    assert "changes the weight of" in panel.badge.value and "no label or acceptance does" in panel.badge.value


def test_the_generation_of_a_chain_can_be_chosen(panel, run):
    assert panel.generation.layout.display == "none"
    panel.show("crestplus(generations=3)")
    assert panel.generation.layout.display == "" and len(panel.generation.options) == 4
    assert "generation 1 of 0..2" in panel.badge.value  # two steps of three generations
    panel.generation.value = 2
    assert "generation 2 of 0..2" in panel.badge.value
    np.testing.assert_array_equal(panel.result.label, pld.what_if(run, "crestplus(generations=3)", generation=2).label)
    panel.show("debiaspl")
    assert not panel.problem and panel.generation.value is None and panel.generation.layout.display == "none"


def test_presets_are_buttons(panel):
    buttons = {button.description: button for button in panel.children[0].children}
    assert {"DebiasPL", "logit adjustment", "DASO", "constant blend", "distribution alignment", "DARP"} < set(buttons)
    for name, button in buttons.items():
        button.click()
        assert not panel.problem, f"{name}: {panel.problem}"
    buttons["SEVAL, by the truth"].click()
    assert panel.prior.value == "oracle" and "TRUE labels" in panel.badge.value
    panel.thresholds.value = "one for all"
    buttons["as trained"].click()
    assert panel.result.scheme is None and panel.result.settings == {}  # what it was trained with, and nothing else
    assert panel.result.reproduces and not len(panel.result.changed)


def test_every_figure_says_that_the_weights_are_unchanged(panel):
    panel.show("debiaspl(tau=1)")
    figures = panel.view.value.count("<table")
    assert figures == 3 == panel.view.value.count("weights unchanged: one-step counterfactual")


def test_thresholds_for_all_by_group_and_by_label(panel, run):
    own = run.history(-1)[1]
    panel.thresholds.value = "one for all"
    assert panel._levels.children == (panel.one,)
    panel.one.value = 0.99
    np.testing.assert_array_equal(panel.result.accepted, pld.what_if(run, threshold=0.99).accepted)
    panel.thresholds.value = "by group"
    panel.by_group["head"].value = 0.99
    wanted = pld.what_if(run, threshold={"head": 0.99, "medium": 0.7, "tail": 0.7})
    np.testing.assert_array_equal(panel.result.accepted, wanted.accepted)
    panel.thresholds.value = "by label"
    np.testing.assert_array_equal(panel.result.accepted, own)  # none moved yet
    panel.label.value = 2
    panel.of_label.value = 0.1
    np.testing.assert_array_equal(panel.result.accepted, own | (panel.result.label == 2))
    panel.label.value = 0
    assert panel.of_label.value == panel.one.value
    panel.label.value = 2
    assert panel.of_label.value == 0.1
    panel.thresholds.value = "the method's"
    np.testing.assert_array_equal(panel.result.accepted, own)


def test_prior_epoch_and_split(panel):
    panel.show("debiaspl(tau=1)")
    panel.prior.value = "oracle"
    assert "prior of debiaspl: oracle" in panel.badge.value
    panel.epoch.value = 0
    assert panel.result.epoch == 0
    panel.split.value = "accepted"
    assert "accepted: percent of the true class" in panel.view.value


def test_a_problem_is_said_and_the_view_fades(panel):
    panel.text.value = "dazo"
    assert "did you mean" in panel.badge.value and panel.view.layout.opacity == "0.25"
    panel.text.value = "daso"
    assert panel.problem == "" and panel.view.layout.opacity == "1"


def test_moves_are_taken_together_while_a_loop_runs(panel, monkeypatch):
    updates = []
    original = panel.update
    monkeypatch.setattr(panel, "update", lambda: (updates.append(panel.chain), original()))

    panel.show("debiaspl")
    updates.clear()

    async def drag():
        for tau in np.linspace(0.1, 1.5, 15):
            panel.controls["debiaspl tau"].value = float(tau)
        assert not updates
        await asyncio.sleep(0.5)

    asyncio.run(drag())
    assert updates == ["debiaspl(tau=1.5)"] and panel.result.method.endswith("debiaspl(tau=1.5)")


def test_where_no_kernel_runs_a_picture_is_left(panel, monkeypatch):
    bundle, _ = panel._repr_mimebundle_()
    assert bundle["image/png"] and "as trained" in bundle["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    monkeypatch.setenv("PLDEBIAS_STATIC", "1")
    exported, _ = panel._repr_mimebundle_()
    assert set(exported) == {"text/plain", "text/html"}
    assert "one-step counterfactual" in exported["text/html"] and "<table" in exported["text/html"]


def test_the_trained_run_is_offered_beside(tmp_path):
    options = {"steps": 20, "steps_per_epoch": 10, "snapshots": 1, "m1": 30, "gamma_u": 2.0, "progress": False}
    here = pld.train("fixmatch", out=tmp_path, **options)
    panel = WhatIfPanel(here, "debiaspl(tau=0.4)")
    assert "no run here was really trained" in panel.badge.value
    pld.train("fixmatch+debiaspl", out=tmp_path, **options)
    panel = WhatIfPanel(here, "debiaspl")
    assert "really trained with it: <b>fixmatch+debiaspl</b>" in panel.badge.value
    assert "balanced test accuracy" in panel.badge.value
    assert panel.trained.method == "fixmatch+debiaspl"
    assert "really trained (fixmatch+debiaspl), epoch 1, all" in panel.view.value
    panel.show("as trained")
    assert panel.trained is None and "really trained" not in panel.view.value + panel.badge.value


def test_a_failed_check_is_red(run, tmp_path):
    label, accepted = run.history(-1)
    attrs = {"method": run.method, "seed": 0}
    with Recorder(tmp_path / "run", run.true_labels, run.labelled_counts, run.class_names, num_epochs=1, attrs=attrs) as recorder:
        recorder.end_epoch(sweep=((label + 1) % 4, accepted), logits=run.logits(), iteration=1)
    panel = WhatIfPanel(tmp_path / "run", root=False)
    assert "CHECK FAILED" in panel.badge.value and "#a03000" in panel.badge.value and not panel.view.value


def test_a_run_without_logits_is_refused(tmp_path):
    with Recorder(tmp_path / "run", [0, 1], [2, 1], ["a", "b"], num_epochs=1, attrs={"method": "fixmatch"}) as recorder:
        recorder.end_epoch(sweep=([0, 1], [True, True]))
    with pytest.raises(NotLogged, match="kept no logits"):
        WhatIfPanel(tmp_path / "run")


def test_matrices_as_html_escape_names_and_show_undefined():
    values = np.array([[90.0, 10.0], [np.nan, np.nan]])
    html = matrix(values, ["<i>", "b'"], [1], title="t & t")
    assert "<i>" not in html and "&lt;i&gt;" in html and "t &amp; t" in html
    assert html.count("undefined") == 2 and ">90<" in html and "<th scope='row'" in html
    assert "data:image/png" in matrix(np.zeros((40, 40)), [str(k) for k in range(40)], [13], title="many")
    assert ">+12<" in matrix(np.full((2, 2), 12.3), ["a", "b"], [], title="t", change=True)


def test_scores_as_html(panel):
    panel.show("debiaspl(tau=1)")
    html = scores(panel.result.table)
    value = panel.result.table.loc["tail", ("recall %", "what if")]
    assert f"{value:.1f} <span" in html and "tail</th>" in html
    assert set(HINTS) == {name for name, _ in panel.result.table.columns}  # every column is explained
    assert html.count("<th scope='col' title='") == len(HINTS) == html.count("mean over classes") + 5
