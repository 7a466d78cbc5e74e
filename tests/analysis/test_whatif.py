"""Relabelling cached outputs: exact as trained, the papers' effects otherwise, and refusals that say what to do."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_methods import TABLE, ids, make
from test_methods import run as take_steps

import pldebias as pld
from pldebias.analysis.relabelling import whatif
from pldebias.analysis.relabelling.counterpart import trained_counterpart
from pldebias.analysis.relabelling.whatif import SENTENCE, reproduction, what_if
from pldebias.methods import MethodError, parse
from pldebias.runs import NotLogged, Recorder
from pldebias.schemes import daso, debiaspl


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_logged_state_is_all_that_relabelling_reads(row):
    """Series and snapshot state, given to a fresh method, make it label as the trained one does."""
    method, models, batches = make(row)
    if row.labels:
        take_steps(method, models, batches)
    logged = {name: value.clone() for name, value in (method.series() | method.snapshot()).items()}
    fresh, _, _ = make(row)
    fresh.restore(logged)
    generator = torch.Generator().manual_seed(1)
    logits, features = torch.randn(64, 10, generator=generator) * 3, torch.randn(64, 16, generator=generator)
    index = torch.arange(64)
    theirs, ours = (m.relabel(logits, features, torch.tensor(150), index) for m in (method, fresh))
    torch.testing.assert_close(ours.confidence, theirs.confidence, rtol=0, atol=0)
    assert torch.equal(ours.label, theirs.label) and torch.equal(ours.mask, theirs.mask) and torch.equal(ours.weight, theirs.weight)


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_blocks_are_labelled_as_the_whole_is(row, monkeypatch):
    """Only a part that looks at the whole set may notice how many samples are relabelled at once, and says so (`whole_set`)."""
    method, models, batches = make(row)
    if row.labels:
        take_steps(method, models, batches)
    generator = torch.Generator().manual_seed(1)
    seen = SimpleNamespace(logits=torch.randn(64, 10, generator=generator) * 3, features=torch.randn(64, 16, generator=generator))
    monkeypatch.setattr(whatif, "ROWS", 20)
    with torch.no_grad():
        whole = method.relabel(seen.logits, seen.features, torch.tensor(150), torch.arange(64))
        (label, accepted, confidence, weight, pull), _ = whatif._relabel(method, seen, 150)
    np.testing.assert_array_equal(label, whole.label)
    np.testing.assert_array_equal(accepted, whole.mask > 0)
    np.testing.assert_array_equal(confidence, whole.confidence)
    np.testing.assert_array_equal(weight, whole.weight)
    assert ((pull >= 0) & (pull <= 1)).all()


def test_the_pull_is_that_of_the_loss_with_its_margin(trained):
    """The gradient that autograd finds for the cross-entropy of the paper's margin logits."""
    run = trained("fixmatch")
    result = what_if(run, "debiaspl(tau=1)", threshold=0)
    logits = torch.as_tensor(run.logits())
    margin = debiaspl.margin(logits, logits.softmax(1).mean(0), 1.0).requires_grad_()
    label = torch.as_tensor(result.label)
    torch.nn.functional.cross_entropy(margin, label, reduction="sum").backward()
    np.testing.assert_allclose(result.pull, -margin.grad.gather(1, label[:, None])[:, 0], atol=1e-6)
    bare = what_if(run, "debiaspl(tau=1,margin=False)", threshold=0)
    np.testing.assert_array_equal(bare.label, result.label)
    column = ("pull of accepted %", "what if")
    assert result.table.loc["tail", column] > bare.table.loc["tail", column]
    kept = bare.accepted & np.isin(bare.label, bare.groups.tail)
    assert bare.table.loc["tail", column] == pytest.approx(100 * bare.pull[kept].mean())
    as_trained = what_if(run)
    np.testing.assert_array_equal(as_trained.pull, as_trained.logged_pull)


def test_relabelling_leaves_the_threads_alone(trained):
    torch.set_num_threads(2)
    try:
        what_if(trained("fixmatch"), "debiaspl")
        with pytest.raises(MethodError):
            what_if(trained("fixmatch"), "dazo")
        assert torch.get_num_threads() == 2 and torch.is_grad_enabled()
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("method", ["fixmatch", "fixmatch+daso", "fixmatch+debiaspl", "usadtm", "supervised"])
def test_as_trained_reproduces_the_log(trained, method):
    run = trained(method)
    for epoch in run.logged("logits"):
        result = what_if(run, epoch=int(epoch))
        label, accepted = run.history(int(epoch))
        np.testing.assert_array_equal(result.label, label)
        np.testing.assert_array_equal(result.accepted, accepted)
        np.testing.assert_array_equal(result.confusion, run.confusion("sweep", epoch=int(epoch)))
        np.testing.assert_array_equal(result.confusion_accepted, run.confusion("sweep", "accepted", epoch=int(epoch)))
        assert result.reproduces is True and result.differing == 0 and not len(result.changed)
        assert "come out again" in reproduction(result)


def test_a_run_is_opened_by_its_path(trained):
    assert what_if(trained("fixmatch").path).reproduces


def test_a_chain_may_be_given_as_it_was_read(trained):
    run = trained("fixmatch")
    written, read = what_if(run, "debiaspl(tau=1)"), what_if(run, parse("debiaspl(tau=1)"))
    assert (read.method, read.scheme) == (written.method, written.scheme)
    np.testing.assert_array_equal(read.label, written.label)


@pytest.mark.parametrize("scheme", ["", "debiaspl(tau=0)", "la(at=pseudo,tau=0)", "daso(weight=0)"])
def test_identities_leave_fixmatch_as_it_is(trained, scheme):
    result = what_if(trained("fixmatch"), scheme)
    np.testing.assert_array_equal(result.label, result.logged_label)
    np.testing.assert_array_equal(result.accepted, result.logged_accepted)
    if scheme:
        assert "nothing changes at this epoch" in result.notes


def test_debiaspl_uses_the_package_formula_on_the_mean_prediction(trained):
    run = trained("fixmatch")
    logits = torch.as_tensor(run.logits())
    expected = debiaspl.debias(logits, logits.softmax(1).mean(0), 0.7).softmax(1)
    result = what_if(run, "debiaspl(tau=0.7)")
    np.testing.assert_array_equal(result.label, expected.argmax(1).numpy())
    np.testing.assert_allclose(result.confidence, expected.amax(1).numpy(), rtol=1e-6)


def test_daso_uses_clean_labelled_prototypes_and_logged_counts(trained):
    run = trained("fixmatch")
    logits, features = torch.as_tensor(run.logits()), torch.as_tensor(run.features())
    prototypes = torch.as_tensor(run.snapshot_state("labelled/prototypes"))
    counts = torch.as_tensor(run.pseudo_counts(epoch=-1)).float()
    # the preset's temperature of the prototypes, 0.02, is under the T that is written
    expected = daso.blend(logits.softmax(1), daso.semantic_probs(features, prototypes, 0.02), counts, 1.5)
    np.testing.assert_array_equal(what_if(run, "daso(T=1.5)").label, expected.argmax(1).numpy())


def test_debiasing_moves_labels_to_the_tail(trained):
    run = trained("fixmatch")
    shares = [what_if(run, f"debiaspl(tau={tau})").table.loc["tail", ("labels/true", "what if")] for tau in (0, 0.5, 1, 2)]
    assert np.all(np.diff(shares) > 0)
    result = what_if(run, "debiaspl(tau=2)")
    assert result.flips.sum() == len(result.label)
    assert len(result.changed) == result.flips.sum() - np.trace(result.flips) > 0
    row = result.table.loc["tail"]
    assert row["labels/true", "change"] == pytest.approx(row["labels/true", "what if"] - row["labels/true", "logged"])


def test_logged_state_is_used_by_the_scheme_that_left_it(trained):
    """DASO's own prototypes and counts, not estimates; after its start the default options relabel as logged."""
    result = what_if(trained("fixmatch+daso"), "daso(start=20,align_start=40)")
    assert result.notes == ("nothing changes at this epoch",)
    np.testing.assert_array_equal(result.label, result.logged_label)
    bare = what_if(trained("fixmatch+daso"), "")
    assert len(bare.changed) > 0 and bare.method == "fixmatch"


def test_thresholds_act_on_acceptance_alone(trained):
    run = trained("fixmatch")
    as_logged, low, high = (what_if(run, threshold=t) for t in (0.5, 0.2, 0.9))
    np.testing.assert_array_equal(as_logged.accepted, as_logged.logged_accepted)
    assert low.accepted.sum() > as_logged.accepted.sum() > high.accepted.sum()
    np.testing.assert_array_equal(low.label, as_logged.label)
    tail = what_if(run, threshold={"tail": 0.1})
    to_tail = np.isin(tail.label, tail.groups.tail)
    np.testing.assert_array_equal(tail.accepted[~to_tail], as_logged.accepted[~to_tail])
    assert tail.accepted[to_tail].all()
    assert tail.title == "fixmatch, threshold tail 0.1" and tail.title in repr(tail)
    per_class = np.full(10, 0.5)
    per_class[tail.groups.tail] = 0.1
    np.testing.assert_array_equal(what_if(run, threshold=per_class).accepted, tail.accepted)


def test_prior_sources(trained):
    run = trained("fixmatch")
    named = {name: what_if(run, "debiaspl(tau=1)", prior=name) for name in ("labelled", "running", "oracle")}
    np.testing.assert_array_equal(named["running"].label, what_if(run, "debiaspl(tau=1)").label)
    np.testing.assert_array_equal(named["labelled"].label, what_if(run, "la(at=pseudo,tau=1)").label)
    np.testing.assert_array_equal(named["oracle"].label, what_if(run, "debiaspl(tau=1)", prior=run.unlabelled_counts).label)
    np.testing.assert_array_equal(what_if(run, "debiaspl(tau=3)", prior=np.ones(10)).label, what_if(run, "").label)


def test_seval_needs_a_holdout_an_oracle_or_another_run(trained):
    run = trained("fixmatch")
    with pytest.raises(MethodError, match="prior='oracle'"):
        what_if(run, "seval")
    oracle = what_if(run, "seval", prior="oracle")
    assert any("TRUE labels" in note for note in oracle.notes)
    assert oracle.table.loc["tail", ("recall %", "change")] > 0
    offsets = np.ones(10)
    given = what_if(run, "seval", state={"seval/learned.offsets": offsets, "seval/learned.thresholds": np.zeros(10)})
    np.testing.assert_array_equal(given.label, given.logged_label)
    assert given.accepted.all()


def test_state_of_another_run(trained):
    run, other = trained("fixmatch"), trained("fixmatch+debiaspl")
    result = what_if(run, "debiaspl(tau=1)", state=other)
    prior = torch.as_tensor(other.state("debiaspl/prior")[-1])
    expected = debiaspl.debias(torch.as_tensor(run.logits()), prior, 1.0).argmax(1)
    np.testing.assert_array_equal(result.label, expected.numpy())
    assert "fixmatch+debiaspl/s0" in result.notes[0]


@pytest.mark.parametrize(
    "scheme",
    [
        *("darp", "abcla", "saw", "adello", "udal", "simpro", "adsh", "crestplus", "freematch", "flexmatch", "usadtm"),
        *("remixmatch", "daso+debiaspl"),
    ],
)
def test_every_pseudo_labelling_part_can_be_tried(trained, scheme):
    first, second = (what_if(trained("fixmatch"), scheme) for _ in range(2))
    np.testing.assert_array_equal(first.label, second.label)
    assert first.method != "fixmatch" and 0 <= first.label.min() <= first.label.max() < 10


@pytest.mark.parametrize(
    ("scheme", "options", "message"),
    [
        ("la", {}, "la\\(at=pseudo\\)"),
        ("usadtm+daso", {}, "which usadtm has not"),
        ("supervised+daso", {}, "which supervised has not"),
        ("daso(t=2)", {}, "has no option 't'"),
        ("dazo", {}, "did you mean 'daso'"),
        ("cdmad", {}, "blank image"),
        ("acr", {}, "second classifier.*prior="),
        ("crest", {}, "labelled set of the next generation"),
        ("fixmatch+la", {}, "labelled step, not pseudo-labels"),
        ("cb+focal", {}, "cb changes the labelled step.*focal"),
        ("moco", {}, "learns no classifier"),
        ("rotation", {}, "learns no classifier"),
        ("daso(weight=0.5)", {"prior": "oracle"}, "reads a class distribution"),
        ("remixmatch(align=False)", {"prior": "oracle"}, "reads a class distribution"),
        ("debiaspl", {"state": {"debiaspl/priors": np.ones(10)}}, "is no state of .*debiaspl/prior"),
        ("debiaspl", {"state": {"debiaspl/prior": np.ones(3)}}, r"finite numbers of shape \[10\]"),
        ("debiaspl", {"state": {"debiaspl/prior": np.full(10, np.nan)}}, "finite numbers"),
        ("meanteacher", {"threshold": 0.5}, "uses every pseudo-label"),
        ("", {"prior": "labelled"}, "reads a class distribution"),
        ("darp(target=estimate)", {}, "hold-out"),
    ],
)
def test_impossible_chains_are_refused(trained, scheme, options, message):
    with pytest.raises(MethodError, match=message):
        what_if(trained("fixmatch"), scheme, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, r"in \[0, 1\]"),
        ({"threshold": [0.1, 0.2, 0.3]}, "10 numbers"),
        ({"threshold": {"rare": 0.5}}, "groups are head, medium, tail"),
        ({"prior": "true", "scheme": "debiaspl"}, "labelled, running, oracle"),
        ({"prior": [1.0, 2.0], "scheme": "debiaspl"}, "10 weights"),
        ({"step": -1, "scheme": "daso"}, "step=-1 must be at least 0"),
        ({"step": 2.5, "scheme": "daso"}, "whole number"),
        ({"step": 10**30, "scheme": "daso"}, "below 2"),
        ({"epoch": 1.5}, "epoch=1.5 must be a whole number"),
        ({"epoch": True}, "epoch=True must be a whole number"),
        ({"epoch": None}, "epoch=None must be a whole number"),
        ({"scheme": 3}, "scheme=3 is no text"),
        ({"threshold": float("nan")}, r"one number in \[0, 1\]; got nan"),
        ({"threshold": "high"}, "real numbers; got texts"),
        ({"threshold": {"tail": [0.5, 0.5]}}, "threshold of tail must be one number"),
        ({"prior": {"a": 1}, "scheme": "debiaspl"}, "prior: one entry per class, by its name or number, is needed"),
        ({"prior": np.full(10, np.nan), "scheme": "debiaspl"}, "positive sum"),
        ({"state": 5, "scheme": "debiaspl"}, "5 is no run"),
        ({"state": {"debiaspl/prior": "x"}, "scheme": "debiaspl"}, "state='debiaspl/prior' must be real numbers"),
        ({"groups": (1, 2, 3)}, "pair of cut-offs"),
        ({"generation": 5, "scheme": "crestplus(generations=5)"}, r"0\.\.4 for crestplus"),
        ({"generation": 0, "scheme": "daso"}, "has no generations"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(trained, options, message):
    with pytest.raises(ValueError, match=message):
        what_if(trained("fixmatch"), **options)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64, torch.int32, np.float16, np.uint8, list])
def test_numbers_of_any_exact_type_are_taken(trained, kind):
    """As a prior, a threshold, a state, an epoch, a step and a generation."""
    run, values = trained("fixmatch"), list(range(10, 0, -1))
    given = torch.tensor(values, dtype=kind) if isinstance(kind, torch.dtype) else values if kind is list else np.array(values, kind)
    prior = np.array(values) / 55
    expected = what_if(run, "debiaspl", prior=prior)
    for result in (what_if(run, "debiaspl", prior=given), what_if(run, "debiaspl", prior=[1e300 * value for value in values])):
        np.testing.assert_array_equal(result.pull, expected.pull)
    assert what_if(run, threshold=given[-1]).settings == {"threshold": "1"}
    state = what_if(run, "debiaspl", state={"debiaspl/prior": given})
    np.testing.assert_array_equal(state.label, what_if(run, "debiaspl(tau=1)", prior=prior, step=1.0).label)
    assert what_if(run, "crestplus", epoch=given[-3] - given[-1], generation=given[-1] - given[-1]).settings == {"generation": "0"}


def test_an_epoch_without_outputs_lists_those_with(trained):
    with pytest.raises(NotLogged, match="0, 2; not at 1"):
        what_if(trained("fixmatch"), epoch=1)


def test_supervised_outputs_are_labelled_as_fixmatch_would(trained):
    result = what_if(trained("supervised"), "debiaspl(tau=1)")
    assert result.method.startswith("fixmatch(threshold=") and "trains without pseudo-labels" in result.notes[0]


@pytest.fixture
def foreign(tmp_path):
    """A run of somebody's own loop: no method, no features, a third of the truth unknown."""
    generator = np.random.default_rng(0)
    truth = np.arange(90) % 3
    logits = generator.normal(size=(90, 3)).astype(np.float16) + 2 * np.eye(3)[truth]
    truth = np.where(np.arange(90) % 5 == 0, -1, truth)
    with Recorder(tmp_path / "mine", truth, [30, 10, 3], ["a", "b", "c"], num_epochs=2) as recorder:
        recorder.end_epoch(sweep=(logits.argmax(1), np.ones(90, bool)), logits=logits)
        recorder.end_epoch()
    return pld.open_run(tmp_path / "mine")


def test_unknown_truth_and_method(foreign):
    with pytest.raises(MethodError, match="does not say its method"):
        what_if(foreign)
    result = what_if(foreign, "fixmatch(threshold=0.5)+la(at=pseudo)", epoch=0)
    assert result.reproduces is None and "cannot be checked" in reproduction(result)
    assert result.confusion.sum() == (foreign.true_labels >= 0).sum() == 72
    assert any("truth unknown for 18 of 90" in note for note in result.notes)
    assert "default threshold" in what_if(foreign, "debiaspl").notes[0]
    with pytest.raises(MethodError, match="record features="):
        what_if(foreign, "daso")
    with pytest.raises(ValueError, match="does not know"):
        what_if(foreign, "debiaspl", prior="oracle")


def test_a_run_without_logits_says_how_to_keep_them(foreign, tmp_path):
    with Recorder(tmp_path / "bare", np.arange(9) % 3, [3, 2, 1], ["a", "b", "c"], num_epochs=1) as recorder:
        recorder.end_epoch(sweep=(np.arange(9) % 3, np.ones(9, bool)))
    with pytest.raises(NotLogged, match="kept no logits; train it with snapshots"):
        what_if(pld.open_run(tmp_path / "bare"), "debiaspl")


def test_a_log_that_is_not_reproduced_is_said(trained, tmp_path):
    """The same outputs beside labels that do not follow from them."""
    run = trained("fixmatch")
    label, accepted = run.history(-1)
    label = np.where(np.arange(len(label)) < 7, (label + 1) % 10, label)
    attrs = {name: run.attrs[name] for name in ("method", "config", "defaults")}
    with Recorder(tmp_path / "wrong", run.true_labels, run.labelled_counts, run.class_names, num_epochs=1, attrs=attrs) as recorder:
        recorder.end_epoch(sweep=(label, accepted), logits=run.logits(), iteration=60)
    result = what_if(pld.open_run(tmp_path / "wrong"))
    assert result.reproduces is False and result.differing == 7 == len(result.changed)
    assert "CHECK FAILED" in reproduction(result) and "CHECK FAILED" in result._repr_html_() and "<table" not in result._repr_html_()


def test_the_trained_counterpart_is_found(trained, runs_root):
    run, other = trained("fixmatch"), trained("fixmatch+daso")
    assert trained_counterpart(run, "daso(start=20,align_start=40)").path == other.path
    result = what_if(run, "daso(start=20,align_start=40,T=0.3)")
    assert result.trained() is None
    assert result.trained(options="any").path == other.path
    assert trained_counterpart(run, "la+debiaspl", runs_root, options="any") is None


def test_the_result_says_what_it_is(trained):
    result = what_if(trained("fixmatch"), "debiaspl(tau=1)")
    assert result.sentence == SENTENCE == "weights unchanged: one-step counterfactual"
    for text in (repr(result), result._repr_html_()):
        assert SENTENCE in text and "labels change" in text
    assert list(result.table.index) == ["head", "medium", "tail", "all"]
    total = result.table.loc["all", ("recall %", "what if")]
    assert total == pytest.approx(100 * np.nanmean(np.diagonal(result.confusion) / result.confusion.sum(1)))
