"""What-if against training: every method, on recorded outputs, labels as its own training step does, or is refused by name."""

import re

import numpy as np
import pytest
import torch
from test_methods import TABLE, base_run
from torch import nn

from pldebias.analysis.relabelling.whatif import what_if
from pldebias.data import Batch
from pldebias.methods import LEARNERS, SCHEMES, MethodError, build_method, parse
from pldebias.nets import Output
from pldebias.registry import load_plugin
from pldebias.runs import NotLogged, Recorder, open_run
from pldebias.schemes import EpochEnd, Models, Problem

K, D, N = 5, 6, 64
COUNTS = (16, 8, 4, 2, 2)  # labelled; powers of two, so that the mean of equal prototypes is that prototype to the bit
STEPS, PER_EPOCH = 60, 20
TRUTH = np.repeat(np.arange(K), (24, 16, 12, 8, 4))
WRITTEN = {  # how a learner is written where its defaults would not show anything in a small training
    "flexmatch": "flexmatch(threshold=0.8)",
    "freematch": "freematch",
    "usadtm": "usadtm(threshold=0.3)",
    "pseudolabel": "pseudolabel(threshold=0.8)",
    "fixmatch": "fixmatch(threshold=0.8)",
}
REFERENCE = {  # options of the training that give the stationary state of its running means after one step over all samples
    "debiaspl": "momentum=0", "adello": "momentum=0,start=1000", "udal": "momentum=0", "simpro": "momentum=0", "freematch": "momentum=0",
    "crestplus": "window=1", "daso": "window=1,align_start=0", "darp": "start=0.0,period=1", "pseudolabel": "ramp=0",
    "seval": "decay=0,threshold_decay=0", "remixmatch": "rotation=0", "saw": "momentum=0",
}  # fmt: skip
COMPOSITIONS = [row.method for row in TABLE if row.method.count("+") and "exclude_labelled" not in row.method] + [
    "fixmatch(threshold=0.8)+la(at=pseudo)+crestplus",
    "fixmatch(threshold=0.8)+debiaspl+crestplus",
    "fixmatch(threshold=0.8)+crestplus+debiaspl",
    "remixmatch+debiaspl",
    "remixmatch+la(at=pseudo)+daso",
    "flexmatch(threshold=0.8)+debiaspl",
    "fixmatch(threshold=0.8)+simpro+daso",
    "fixmatch(threshold=0.8)+debiaspl+saw",
    "fixmatch(threshold=0.8)+saw(estimate=running)",
    "fixmatch(threshold=0.8)+darp(compat=official)",
    "fixmatch(threshold=0.8)+udal(target=running,alpha_by=step)",
    "remixmatch(align=False)+crestplus",
    "fixmatch(threshold=0.8)+seval+crestplus",
]


def outputs(epoch):
    """Logits that favour the head, features around class centres, and prototypes."""
    random = np.random.default_rng(epoch)
    logits = 1.5 * random.normal(size=(N, K)) + (1 + epoch) * np.eye(K)[TRUTH] + np.linspace(1.5, 0, K)
    centres = random.normal(size=(K, D)).astype(np.float32)
    return logits.astype(np.float16).astype(np.float32), (centres[TRUTH] + random.normal(size=(N, D))).astype(np.float16), centres


def record(path, method, logs=False, **attrs):
    """Three epochs of a run, which knows no state of its method unless it `logs` that of the beginning."""
    state, series = {}, {}
    if logs:
        built = build_method(method).setup(Problem(K, torch.tensor(COUNTS), N, STEPS, PER_EPOCH, D, torch.tensor(np.bincount(TRUTH))))
        state, series = built.snapshot(), built.series()
    config = {"steps": STEPS, "steps_per_epoch": PER_EPOCH, "mu": N / sum(COUNTS)}
    with Recorder(path, TRUTH, COUNTS, list("abcde"), num_epochs=3, attrs={"method": method, "config": config} | attrs) as recorder:
        for epoch in range(3):
            logits, features, centres = outputs(epoch)
            sweep = logits.argmax(1), np.ones(N, bool)
            snapshot = {"labelled/prototypes": centres} | state
            iteration = PER_EPOCH * (epoch + 1)
            recorder.end_epoch(sweep=sweep, logits=logits, features=features, snapshot=snapshot, series=series, iteration=iteration)
    return open_run(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    return {name: record(folder / name, written(name)) for name in LEARNERS}


def written(learner):
    return {"selftraining": f"selftraining(base={base_run(K)!r})"}.get(learner, WRITTEN.get(learner, learner))


class Recorded(nn.Module):
    """A network whose images are the recorded outputs themselves, and a blank image's logits."""

    def __init__(self, blank):
        super().__init__()
        self.blank, self.heads = blank, {name: self.certain for name in ("abc", "acr")}

    def certain(self, features):
        """A second classifier that knows the true class of all samples."""
        true = TRUTH if len(features) % N == 0 else [0] * len(features)
        return 100.0 * torch.eye(K)[torch.tensor(true).repeat(max(len(features) // N, 1))]

    def forward(self, images):
        if len(images) == 1:
            return Output(images.flatten(1)[:, :D], self.blank[None])
        return Output(images.flatten(1)[:, :D], images.flatten(1)[:, D:])


def with_options(spelling, **more):
    """A method string with the reference's options in place of its own."""
    parts = []
    for part in parse(spelling):
        extra = REFERENCE.get(part.name, "") + more.get(part.name, "")
        taken = {**part.options, **dict(option.split("=") for option in extra.split(",") if option)}
        parts.append(part.name + (f"({','.join(f'{k}={v}' for k, v in taken.items())})" if taken else ""))
    return "+".join(parts)


class Training:
    """A training step over all samples at once, again and again, until every running state stands still."""

    def __init__(self, spelling, epoch, oracle=False):
        logits, features, centres = outputs(epoch)
        self.clock, self.blank = PER_EPOCH * (epoch + 1), torch.linspace(-1, 1, K)
        self.generation, local = 0, self.clock
        if generations := max(getattr(part, "generations", 1) for part in build_method(spelling).parts):
            length = STEPS // generations
            self.generation = min(-(-self.clock // length) - 1, generations - 1) if generations > 1 else 0
            local = self.clock - self.generation * length
        starts = {"daso": f",start={local}", "usadtm": f"start={local}", "cdmad": f"start={local}"}
        self.method = build_method(with_options(spelling, **starts)).setup(
            Problem(K, torch.tensor(COUNTS), N, STEPS, PER_EPOCH, D, torch.tensor(np.bincount(TRUTH)), held_out=("holdout",))
        )
        for scheme in self.method.chain:
            if scheme.generations > 1:
                scheme.generation.fill_(self.generation)
                scheme.began.fill_(self.clock - local)
        self.logits, self.features = torch.tensor(logits), torch.tensor(features.astype(np.float32))
        self.y = torch.repeat_interleave(torch.arange(K), torch.tensor(COUNTS))
        self.labelled = torch.cat([torch.tensor(centres)[self.y], torch.zeros(len(self.y), K)], 1)[:, None, None]
        self.end = EpochEnd(epoch, self.clock, self.score, lambda *rows: None)
        if oracle:
            for part in self.method.parts:
                if part.name == "seval":
                    part.learned.prior = torch.tensor(np.bincount(TRUTH) / N).float()

    def score(self, split):
        return self.logits, self.features, torch.tensor(TRUTH)

    def step(self, t):
        learner = self.method.learner
        images = torch.cat([self.features, self.logits], 1)[:, None, None]
        learns = [view for view in learner.unlabelled_views if view.startswith("strong") or learner.name == "pseudolabel"]
        views = {view: images.clone().requires_grad_(view in learns) for view in learner.unlabelled_views}
        batch = Batch(dict.fromkeys(learner.labelled_views, self.labelled), self.y, torch.arange(len(self.y)), views, torch.arange(N))
        network = Recorded(self.blank)
        losses, step = self.method.losses(Models(network, network), batch, torch.tensor(t), torch.Generator().manual_seed(0))
        self.method.after_step(t + 1)
        return losses, step, views

    def settle(self):
        """Bring every part to the state that goes on giving itself, the parts that refine first; then one more step."""
        parts, before, at = {part.name: part for part in self.method.parts}, self.clock - 1, self.clock
        for _ in range(2):
            self.step(before)
        for name in ("adsh", "saw", "seval"):
            if name in parts:
                parts[name].end_epoch(self.end)
        if "simpro" in parts:
            parts["simpro"].labelled_sum.zero_()
            parts["simpro"].unlabelled_sum.zero_()
            self.step(before)
            parts["simpro"].end_epoch(self.end)
        if "remixmatch" in parts:
            for buffer in (parts["remixmatch"].alignment.sums, parts["remixmatch"].alignment.rows):
                buffer.zero_()
        for _ in range(2):
            self.step(before)
        if "daso" in parts:
            parts["daso"].window = 10**9  # its counts are those before it began
        if "flexmatch" in parts:
            parts["flexmatch"].last.fill_(K)
        self.step(at)
        return self.step(at)


def pulls(method, losses, step, views):
    """Gradient of the unlabelled loss on the label's own logit for each accepted sample, and the samples; of soft learners by formula."""
    factor = step.mask * step.weight
    rows = factor > 0
    label = step.label[:, None]
    if method.learner.name in ("meanteacher", "mixmatch", "remixmatch"):
        probs = method.chain.margin(step.logits, step).double().softmax(1)
        return (step.probs.double() - probs).gather(1, label)[:, 0].abs(), rows
    losses["unlabelled"].backward()
    gradient = sum(view.grad for view in views.values() if view.grad is not None).flatten(1)[:, D:]
    scale = N / factor.clamp(min=1e-12) / getattr(method.learner, "lambda_u", 1.0)
    return gradient.gather(1, label)[:, 0].abs() * scale, rows


def compare(result, training, last=None):
    losses, step, views = last or training.settle()
    expected, rows = pulls(training.method, losses, step, views)
    np.testing.assert_array_equal(result.label, step.label)
    np.testing.assert_array_equal(result.accepted, step.mask > 0)
    np.testing.assert_allclose(result.confidence, step.confidence, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(result.weight, step.weight, rtol=2e-5)
    np.testing.assert_allclose(result.pull[rows], expected.detach()[rows], atol=2e-5)


def check_finite(result):
    for name in ("confidence", "weight", "pull"):
        assert np.isfinite(getattr(result, name)).all(), (result.title, name)
    assert (result.pull >= 0).all() and (result.pull <= 1).all()
    assert 0 <= result.label.min() <= result.label.max() < K
    assert any("change" in note for note in result.notes) or result.scheme is None


@pytest.mark.parametrize("epoch", range(3))
def test_a_scheme_of_a_plugin_labels_as_its_training(runs, my_methods, epoch):
    """The scheme of docs/extending.md, set up from outputs by its own `estimate_state`."""
    load_plugin(my_methods)
    result = what_if(runs["fixmatch"], "relaxed", epoch=epoch)
    check_finite(result)
    compare(result, Training(written("fixmatch") + "+relaxed(momentum=0)", epoch))


NO_LABELS = {"supervised", "crt", "selftraining", "moco", "rotation"}
REFUSED = {  # what the message names: the record that is missing, or what the scheme changes in place of pseudo-labels
    "acr": "second classifier",
    "cdmad": "blank image",
    "seval": "hold-out",
    "crest": "labelled set of the next generation",
    "abc": "views",
    **dict.fromkeys(("la", "ldam", "cb", "drw", "focal"), "not pseudo-labels"),
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_scheme_labels_as_its_training_or_is_refused(runs, learner):
    run = runs[learner]
    for number, name in enumerate(("", "la(at=pseudo)", *SCHEMES)):
        spelling = "+".join(filter(None, (written(learner), name)))
        try:
            build_method(spelling)
        except MethodError as error:
            if learner not in NO_LABELS:  # FixMatch stands in for those
                with pytest.raises(MethodError, match=str(error)[-30:].replace("(", r"\(").replace(")", r"\)")):
                    what_if(run, name)
                continue
        for epoch in range(3):
            if learner in ("moco", "rotation"):
                with pytest.raises(MethodError, match="learns no classifier"):
                    what_if(run, name, epoch=epoch)
                continue
            if name in REFUSED:
                with pytest.raises(MethodError, match=REFUSED[name]):
                    what_if(run, name, epoch=epoch)
                continue
            result = what_if(run, name, epoch=epoch)
            check_finite(result)
            if learner in NO_LABELS:
                assert any("labelled as FixMatch would at its threshold" in note for note in result.notes)
            elif learner == "fixmatch" or number % 3 == epoch:
                compare(result, Training(spelling, epoch))


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_labels_the_runs_of_all_others_or_is_refused(runs, learner):
    for run in runs.values():
        for epoch in range(3):
            if learner in ("moco", "rotation"):
                with pytest.raises(MethodError, match="learns no classifier"):
                    what_if(run, learner, epoch=epoch)
            else:
                result = what_if(run, written(learner), epoch=epoch)
                check_finite(result)
                assert (learner in NO_LABELS) == any("labelled as FixMatch would" in note for note in result.notes)


@pytest.mark.parametrize("name", sorted(SCHEMES.keys() - REFUSED.keys()))
def test_after_the_last_step_schedules_stand_still(runs, name):
    """A what-if has the clock of its run; one that is asked for beyond the end finds what was at the end."""
    name = {"daso": "daso(start=0)"}.get(name, name)
    last, beyond = (what_if(runs["fixmatch"], name, step=step) for step in (STEPS, 1000 * STEPS))
    for field in ("label", "accepted", "confidence", "weight", "pull"):
        np.testing.assert_array_equal(getattr(beyond, field), getattr(last, field))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Outputs at the edges: logits as large as are kept, all equal, and all of one class; a class without a labelled image."""
    edges = {
        "large": np.where(np.arange(N * K).reshape(N, K) % 3, 6e4, -6e4),
        "equal": np.zeros((N, K)),
        "one class": np.tile([6e4, *(K - 1) * [-6e4]], (N, 1)),
    }
    path = tmp_path_factory.mktemp("hostile") / "run"
    with Recorder(path, TRUTH, (*COUNTS[:-1], 0), list("abcde"), num_epochs=3, attrs={"method": "fixmatch"}) as recorder:
        for logits in edges.values():
            snapshot = {"labelled/prototypes": outputs(0)[2] * [[1], [1], [1], [1], [0]]}
            sweep = logits.argmax(1), np.ones(N, bool)
            recorder.end_epoch(sweep=sweep, logits=logits.astype(np.float32), features=outputs(0)[1], snapshot=snapshot)
    return open_run(path)


@pytest.mark.parametrize("name", [*sorted(LEARNERS.keys() - {"selftraining"}), *SCHEMES, "la(at=pseudo)", "darp(compat=official)"])
def test_outputs_at_the_edges_give_finite_numbers_or_a_refusal(hostile, name):
    for epoch in range(3):
        for prior in (None, "labelled", "running", np.eye(K)[0]):
            try:
                result = what_if(hostile, name, epoch=epoch, prior=prior)
            except MethodError:
                continue
            check_finite(result)
            assert np.isfinite(result.table.loc["all", "accepted %"]).all()


@pytest.mark.parametrize("spelling", COMPOSITIONS)
@pytest.mark.parametrize("epoch", range(3))
def test_compositions_label_as_their_training_or_are_refused(runs, spelling, epoch):
    parts = {part.name for part in parse(spelling)}
    try:
        result = what_if(runs["fixmatch"], spelling, epoch=epoch, prior="oracle" if "seval" in parts and "daso" not in parts else None)
    except MethodError as error:
        hidden = [name for name in parts if name in REFUSED]
        assert any(REFUSED[name] in str(error) for name in hidden), error
        return
    check_finite(result)
    learner = parse(spelling)[0].name
    if learner not in NO_LABELS and "prior" not in result.settings:
        compare(result, Training(spelling, epoch))


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        ("fixmatch+darp", "fixmatch+darp(target=oracle)"),
        ("fixmatch+saw", "fixmatch+saw(estimate=running)"),
        ("fixmatch+adsh", "fixmatch+adsh(threshold=0.5)"),
        ("fixmatch+abcla", "fixmatch+abcla(tau=1.0)"),
        ("flexmatch", "flexmatch(threshold=0.8)"),
        ("freematch", "freematch(quantile=0.8)"),
        ("remixmatch(align=False)", "remixmatch"),
    ],
)
def test_other_options_do_not_take_over_what_follows_from_them(runs, tmp_path, trained, asked):
    """State that the trained options determine is recovered as in a run that never had it."""
    run = record(tmp_path / "run", trained, logs=True)
    result, bare = what_if(run, asked), what_if(runs["fixmatch"], asked)
    for name in ("label", "accepted", "confidence", "weight", "pull"):
        np.testing.assert_array_equal(getattr(result, name), getattr(bare, name))


@pytest.mark.parametrize(
    ("trained", "asked", "says"),
    [
        ("acr", "acr(tau=1.0)", r"acr: state as acr\(tau=2.0\) left it; acr: strength"),
        ("daso", "daso(T=0.3)", r"daso: state as daso\(T=1.5\) left it"),
        ("debiaspl", "debiaspl(momentum=0.9)", r"debiaspl: state as debiaspl\(momentum=0.999\) left it"),
        ("crestplus", "crestplus(generations=2)", r"crestplus: generation 1 of 0\.\.1"),
        ("seval", "seval(target=0.6)", "hold-out, of which .* kept no outputs"),
        ("cdmad", "cdmad(fill=0)", "blank image of value 0"),
    ],
)
def test_state_of_other_options_is_named_or_refused(tmp_path, trained, asked, says):
    run = record(tmp_path / "run", f"fixmatch+{trained}", logs=True)
    assert not any("left it" in note for note in what_if(run, trained).notes)
    try:
        answer = "; ".join(what_if(run, asked).notes)
    except MethodError as error:
        answer = str(error)
    assert re.search(says, answer)


@pytest.mark.parametrize("epoch", range(3))
def test_seval_by_the_truth_is_its_training_on_that_hold_out(runs, epoch):
    compare(what_if(runs["fixmatch"], "seval", epoch=epoch, prior="oracle"), Training("fixmatch(threshold=0.8)+seval", epoch, oracle=True))


@pytest.mark.parametrize("options", ["", "soft=False", "threshold=0.8"])
def test_cdmad_with_a_bias_is_its_training_with_that_blank_image(runs, options):
    spelling = f"fixmatch(threshold=0.8)+cdmad({options})"
    training = Training(spelling, 1)
    result = what_if(runs["fixmatch"], f"cdmad({options})", epoch=1, state={"cdmad/bias": training.blank.numpy()})
    compare(result, training)


@pytest.mark.parametrize("options", ["start=-1", "start=-1,window=step,tau=1.5"])
def test_acr_with_a_prior_is_its_training_with_a_second_classifier_that_predicts_it(runs, options):
    training = Training(f"fixmatch(threshold=0.8)+acr({options},momentum=0)", 1)
    for t in range(PER_EPOCH, 2 * PER_EPOCH + 1):
        last = training.step(t)
    compare(what_if(runs["fixmatch"], f"acr({options})", epoch=1, prior="oracle"), training, last)


def test_adello_leaves_out_labelled_images_that_come_first(tmp_path):
    run = record(tmp_path / "run", "fixmatch", config={"steps": STEPS, "include_labelled": True})
    probs = torch.tensor(outputs(2)[0]).softmax(1)
    written, bare = (what_if(run, f"adello(exclude_labelled={value})") for value in (True, False))
    given = what_if(run, "adello", prior=probs[sum(COUNTS) :].mean(0).numpy())
    np.testing.assert_allclose(written.pull, given.pull, atol=1e-6)
    assert np.abs(written.pull - bare.pull).max() > 1e-3


def test_the_formulas_of_margins_in_double_precision(runs):
    """ADELLO, UDAL and SimPro written out; a middle epoch."""
    run, (z, _, _) = runs["fixmatch"], outputs(1)
    z = z.astype(np.float64)

    def softmax(x):
        return np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)

    rows, p = np.arange(N), softmax(z)
    label, prior, labelled = p.argmax(1), p.mean(0), np.array(COUNTS) / sum(COUNTS)
    for scheme, target in (("adello", prior), ("udal", labelled), ("udal(target=running)", prior)):
        smoothed = target ** (1 - 0.9 * (40 / 60) ** 2)
        shifted = softmax(z + np.log((prior + 1e-9) / (smoothed / smoothed.sum() + 1e-9)))
        np.testing.assert_allclose(what_if(run, scheme, epoch=1).pull, 1 - shifted[rows, label], atol=2e-6)
    accepted = p.max(1) >= 0.8
    summed = (accepted[:, None] * p).sum(0)
    unlabelled, joint = summed / summed.sum(), labelled + N / sum(COUNTS) * summed / N
    q, shifted = softmax(z + 2 * np.log(unlabelled)), softmax(z + 2 * np.log(joint / joint.sum()))
    result = what_if(run, "simpro", epoch=1)
    np.testing.assert_array_equal(result.label, q.argmax(1))
    np.testing.assert_allclose(result.pull, np.abs(q - shifted)[rows, q.argmax(1)], atol=2e-6)
    counts = np.bincount(label, minlength=K)
    beta = 1 - 1 / counts.mean()
    weights = (1 - beta) / (1 - beta**counts)
    result = what_if(run, "saw", epoch=1)
    np.testing.assert_allclose(result.weight, (K * weights / weights.sum())[label], rtol=1e-5)
    assert result.table.loc["tail", ("weight of accepted", "what if")] > 1 > result.table.loc["head", ("weight of accepted", "what if")]


def test_runs_without_outputs_name_them(tmp_path):
    """A pre-training keeps none."""
    with Recorder(tmp_path / "run", TRUTH, COUNTS, list("abcde"), num_epochs=1, attrs={"method": "moco"}) as recorder:
        recorder.end_epoch(scalars={"loss": 1.0})
    with pytest.raises(NotLogged, match="kept no logits; moco learns no classifier"):
        what_if(open_run(tmp_path / "run"), "debiaspl")
