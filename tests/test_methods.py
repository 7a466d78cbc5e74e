"""One contract for every method: a new one adds its row to `TABLE`."""

import atexit
import pickle
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from pldebias.data import Batch
from pldebias.learners import Learner
from pldebias.methods import LEARNERS, SCHEMES, Method, MethodError, build_method, parse, slug
from pldebias.nets import Network, Output
from pldebias.runs import Recorder
from pldebias.schemes import EpochEnd, Models, Problem
from pldebias.schemes.formulas.losses import masked_cross_entropy

B, M, D, N = 12, 20, 16, 64


class Row:
    """A method of the table and where it departs from the contract.

    Parameters
    ----------
    method : str
        Written so that everything in it acts from the first step.
    labels : bool
        Whether training makes pseudo-labels.
    equivariant : bool
        Whether renaming the classes renames the pseudo-labels and leaves the losses alone.
    """

    def __init__(self, method: str, labels: bool = True, equivariant: bool = True):
        self.method, self.labels, self.equivariant = method, labels, equivariant

    def __repr__(self):
        return self.method


TABLE = [
    Row("supervised", labels=False),
    Row("supervised(augment=strong)", labels=False),
    Row("supervised+la", labels=False),
    Row("crt", labels=False),
    Row("rotation", labels=False),
    Row("moco(queue=50)", labels=False),
    Row("selftraining(base='BASE')", equivariant=False),  # BASE: a run recorded for the test, whose labels keep their names
    Row("fixmatch"),
    Row("fixmatch(weak_stats=detached)"),
    Row("fixmatch(passes=views,views=2,teacher=ema)"),
    Row("usadtm(start=0,threshold=0.1)"),
    Row("fixmatch+la"),
    Row("fixmatch+la(at=pseudo)"),
    Row("fixmatch+la(at=posthoc)"),
    Row("fixmatch+daso(start=0,align_start=0,window=2)"),
    Row("fixmatch+daso(start=0,weight=0.5)"),
    Row("fixmatch+debiaspl"),
    Row("fixmatch+la+daso(start=0)"),
    Row("fixmatch+debiaspl+daso(start=0)"),
    Row("pseudolabel(threshold=0.3,ramp=0)"),
    Row("meanteacher(ramp=0)"),
    Row("meanteacher(ramp=0)+daso(start=0)"),
    Row("mixmatch(ramp=0)"),
    Row("mixmatch(ramp=0)+la+daso(start=0)"),
    Row("remixmatch(ramp=0)"),
    Row("remixmatch(ramp=0)+daso(start=0)"),
    Row("remixmatch(ramp=0)+abc(threshold=0.1)"),
    Row("flexmatch(threshold=0.3)"),
    Row("freematch(momentum=0.5)"),
    Row("fixmatch+abc(threshold=0.1)"),
    Row("fixmatch(passes=views)+abc(threshold=0.1)"),
    Row("fixmatch+abc(views=1,threshold=0.1)+daso(start=0)"),
    Row("fixmatch+la+abc(threshold=0.1)"),
    Row("fixmatch+acr(threshold=0.3,start=-1)"),
    Row("fixmatch+acr(threshold=0.3,start=0,window=step,counts=False)"),
    Row("fixmatch+abcla(threshold=0.3,start=0,window=step)"),
    Row("fixmatch+saw"),
    Row("fixmatch+saw(estimate=running,momentum=0.5)"),
    Row("fixmatch+adsh(threshold=0.3)"),
    Row("fixmatch+cdmad(start=0)"),
    Row("fixmatch(passes=views)+cdmad(start=0,threshold=0.3,image_stats=moving)"),
    Row("fixmatch+simpro"),
    Row("fixmatch(views=2,teacher=ema)+debiaspl(cld=0.3)"),
    Row("fixmatch+debiaspl(cld=0.3,compat=official)"),
    Row("fixmatch+seval"),
    Row("fixmatch+seval+daso(weight=0,start=0,align_start=0)"),
    Row("meanteacher(ramp=0)+seval"),
    Row("mixmatch(ramp=0)+seval"),
    Row("remixmatch(ramp=0)+seval"),
    Row("fixmatch+adello(start=0)"),
    Row("fixmatch+adello(ccr=all,temperature=2.0,start=0,exclude_labelled=True,target=oracle,alpha_by=epoch)"),
    Row("fixmatch+udal"),
    Row("fixmatch+darp(start=0.0,period=1)"),
    Row("remixmatch(ramp=0)+darp(start=0.0,period=1)"),
    Row("fixmatch+crest"),
    Row("fixmatch+seval+crestplus"),
    Row("supervised+cb", labels=False),
    Row("supervised+cb(normalise=False)+focal", labels=False),
    Row("supervised+ldam(cosine=False)+drw(start=0.0)", labels=False),
    Row("fixmatch+ldam(cosine=False)"),
]


class Encoder(nn.Module):
    feature_dim = D

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, D)

    def forward(self, x):
        return self.layer(x.flatten(1)).relu()


@cache
def base_run(classes):
    """A finished run over N samples, whose pseudo-labels a second stage learns."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    path = Path(folder) / "base"
    labels = torch.arange(N) % classes
    with Recorder(path, labels, [1] * classes, [str(k) for k in range(classes)], num_epochs=1) as recorder:
        recorder.end_epoch(sweep=(labels, torch.ones(N)))
    return str(path)


def make(row, classes=10, dtype=torch.float32):
    """A method, its networks and a few batches; everything follows from one seed."""
    torch.manual_seed(0)
    counts = torch.linspace(50, 5, classes).long()
    problem = Problem(classes, counts, N, 200, 10, D, torch.linspace(40, 4, classes).long())
    spelling = row.method.replace("BASE", base_run(classes))
    method = build_method(spelling, {"fixmatch": {"threshold": 0.3 if classes == 10 else 2 / classes}}).setup(problem)
    student = Network(Encoder(), classes, method.heads).to(dtype)
    student.classifier.weight.data *= 5
    teacher = Network(Encoder(), classes, method.heads).to(dtype)
    teacher.load_state_dict(student.state_dict())
    teacher.requires_grad_(False)

    def draw(views, rows):
        return {view: torch.randn(rows, 1, 8, 8, dtype=dtype) for view in views}

    batches = [
        Batch(
            draw(method.learner.labelled_views, B),
            torch.arange(B) % classes,
            torch.arange(B),
            draw(method.learner.unlabelled_views, M),
            torch.randperm(N)[:M],
        )
        for _ in range(3)
    ]
    return method, Models(student, teacher), batches


def run(method, models, batches, start=0):
    """Some steps without an optimiser; what every one gave."""
    generator, seen = torch.Generator().manual_seed(7), []
    for i, batch in enumerate(batches):
        losses, step = method.losses(models, batch, torch.tensor(start + i), generator)
        method.after_step(start + i + 1)
        seen.append((losses, step))
    return seen


ids = [row.method for row in TABLE]


def test_every_part_has_a_row():
    named = {part.name for row in TABLE for part in parse(row.method)}
    assert named == {*LEARNERS, *SCHEMES}


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_shapes_masks_and_finite_losses(row, classes):
    method, models, batches = make(row, classes)
    for losses, step in run(method, models, batches):
        assert all(loss.shape == () and torch.isfinite(loss) for loss in losses.values()), losses
        assert (step.label is not None) == row.labels
        if row.labels:
            assert step.label.shape == step.mask.shape == step.weight.shape == (M,)
            assert step.label.dtype == torch.int64
            assert 0 <= step.label.min() <= step.label.max() < classes
            assert set(step.mask.unique().tolist()) <= {0.0, 1.0}
            assert (step.weight >= 0).all()
            assert not step.mask.requires_grad
    for name, state in method.series().items():
        assert state.shape == (classes,), name
    for name, state in method.snapshot().items():
        assert len(state) == classes, name


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_gradient_reaches_the_student_alone(row):
    method, models, batches = make(row)
    losses, _ = run(method, models, batches[:1])[0]
    sum(losses.values()).backward()
    assert models.student.backbone.layer.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in models.teacher.parameters())
    assert not any(buffer.requires_grad for buffer in method.buffers())


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_same_input_same_output(row):
    first, second = (run(*make(row)) for _ in range(2))
    for (a, _), (b, _) in zip(first, second, strict=True):
        assert {k: v.item() for k, v in a.items()} == {k: v.item() for k, v in b.items()}


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_state_round_trip(row):
    """A method restored after one step goes on as if it had never stopped."""
    method, models, batches = make(row)
    run(method, models, batches[:1])
    restored, _, _ = make(row)
    restored.load_state_dict(method.state_dict())
    for (a, _), (b, _) in zip(run(method, models, batches[1:], 1), run(restored, models, batches[1:], 1), strict=True):
        assert {k: v.item() for k, v in a.items()} == {k: v.item() for k, v in b.items()}


@pytest.mark.parametrize("row", [row for row in TABLE if row.equivariant], ids=[row.method for row in TABLE if row.equivariant])
def test_renaming_classes_renames_labels(row):
    method, models, batches = make(row)
    plain = run(method, models, batches)
    renamed_method, models, batches = make(row)
    names = torch.randperm(10, generator=torch.Generator().manual_seed(3))  # class k becomes names[k]
    where = names.argsort()
    old = renamed_method.problem
    counts, unlabelled = old.labelled_counts[where], old.unlabelled_counts[where]
    renamed_method.setup(Problem(10, counts, N, old.total_steps, old.steps_per_epoch, D, unlabelled))
    for network in (models.student, models.teacher):
        for layer in (network.classifier, *(head for head in network.heads.values() if head.out_features == 10)):
            layer.weight.data, layer.bias.data = layer.weight.data[where], layer.bias.data[where]
    batches = [replace(batch, y=names[batch.y]) for batch in batches]
    for (a, before), (b, after) in zip(plain, run(renamed_method, models, batches), strict=True):
        for name in a:
            torch.testing.assert_close(b[name], a[name], atol=1e-5, rtol=1e-4)
        if row.labels:
            assert torch.equal(after.label, names[before.label])
            assert torch.equal(after.mask, before.mask)


@pytest.mark.parametrize("row", [row for row in TABLE if row.labels], ids=[row.method for row in TABLE if row.labels])
def test_a_batch_without_an_accepted_sample(row):
    method, models, batches = make(row)
    for network in (models.student, models.teacher):
        for layer in (network.classifier, *network.heads.values()):
            layer.weight.data.zero_()  # every class is as likely as any other
    losses, step = run(method, models, batches[:1])[0]
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total)
    if "unlabelled" in losses and "seval" not in row.method and not step.mask.any():
        assert losses["unlabelled"] == 0


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_bfloat16_networks(row):
    """Half-precision networks give float32 outputs, and every method copes."""
    method, models, batches = make(row)
    models.student.bf16 = models.teacher.bf16 = True
    for losses, step in run(method, models, batches):
        assert all(torch.isfinite(loss) for loss in losses.values())
        assert step.logits is None or step.logits.dtype == torch.float32


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_no_step_waits_for_the_device(row):
    """On tensors without values, every look at a value (``.item()``, a branch, a boolean index) is an error."""
    method, models, (batch, *_) = make(row)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    for module in (m for root in (method, models.student, models.teacher) for m in root.modules()):
        for name, value in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(mode.from_tensor(value.detach()), value.requires_grad))
        for name, value in module.named_buffers(recurse=False):
            setattr(module, name, mode.from_tensor(value))
    batch = Batch(
        {view: mode.from_tensor(images) for view, images in batch.labelled.items()},
        mode.from_tensor(batch.y),
        mode.from_tensor(batch.labelled_index),
        {view: mode.from_tensor(images) for view, images in batch.unlabelled.items()},
        mode.from_tensor(batch.index),
    )
    with mode:
        losses, _ = method.losses(models, batch, torch.tensor(3))
        sum(losses.values()).backward()


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_relabelling_needs_no_network_and_changes_no_state(row):
    method, models, batches = make(row)
    run(method, models, batches)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    with torch.no_grad():
        features, logits = models.teacher(torch.randn(N, 1, 8, 8))
    step = method.relabel(logits, features, torch.tensor(150), torch.arange(N))
    assert step.label.shape == step.mask.shape == (N,)
    assert torch.isfinite(method.predict(features, logits, models.teacher)).all()
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


RELABELLED = [row for row in TABLE if row.labels and not row.method.startswith(("mixmatch", "selftraining"))]
"""MixMatch labels the mean of two views, and self-training takes the labels of another run."""


@pytest.mark.parametrize("row", RELABELLED, ids=[row.method for row in RELABELLED])
def test_relabelling_is_the_formula_of_training_to_the_bit(row):
    """In the state in which training labels a batch, the same outputs get the same label, acceptance and weight without a network."""
    method, models, batches = make(row)
    label, seen = method.learner.pseudo_label, []

    def compare(step):
        label(step)
        if not step.training:
            return
        again = method.relabel(step.logits, step.features, step.t, step.index)
        for name in ("probs", "confidence", "label", "mask", "weight"):
            first, second = getattr(step, name), getattr(again, name)
            assert (first is None and second is None) or torch.equal(first, second), name
        seen.append(step)

    method.learner.pseudo_label = compare
    run(method, models, batches)
    assert len(seen) >= len(batches)


# --- what holds of particular methods ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    ["fixmatch+la(tau=0)", "fixmatch+debiaspl(tau=0)", "fixmatch+daso(weight=0,align=0,start=0)", "fixmatch+daso(start=1000,align=0)"],
)
def test_strength_zero_is_fixmatch_to_the_bit(method):
    plain = run(*make(Row("fixmatch")))
    for (a, before), (b, after) in zip(plain, run(*make(Row(method))), strict=True):
        assert {k: b[k].item() for k in a} == {k: v.item() for k, v in a.items()}
        assert all(value.item() == 0 for name, value in b.items() if name not in a)
        assert torch.equal(before.label, after.label)
        assert torch.equal(before.mask, after.mask)


def test_a_skewed_prior_changes_labels():
    method, models, batches = make(Row("fixmatch+debiaspl(tau=1)"))
    _, before = run(method, models, batches[:1])[0]
    method.chain[0].prior.copy_(torch.logspace(0, -3, 10) / torch.logspace(0, -3, 10).sum())
    _, after = run(method, models, batches[:1])[0]
    assert (before.label != after.label).any()
    assert after.label.float().mean() > before.label.float().mean()  # towards the classes with a small prior


@pytest.mark.parametrize("method", ["flexmatch(threshold=0.9)", "freematch(momentum=0.5)", "fixmatch+adsh(threshold=0.9)"])
def test_thresholds_fall_for_rare_classes(method):
    """The head is predicted often and surely, the tail seldom and unsurely."""
    generator = torch.Generator().manual_seed(0)
    prior = torch.logspace(0, -1.5, 10) / torch.logspace(0, -1.5, 10).sum()
    truth = torch.multinomial(prior, 2000, True, generator=generator)
    signal = torch.nn.functional.one_hot(truth, 10) * torch.linspace(5, 3.5, 10)
    logits = signal + torch.randn(2000, 10, generator=generator) + torch.linspace(2, 0, 10)
    built = build_method(method).setup(Problem(10, (1000 * prior).long(), 2000, 200, 10, 10))

    class Batch:
        labelled, y, index = {"weak": logits[:10]}, truth[:10], torch.arange(2000)
        unlabelled = {"weak": logits, "strong": logits}  # noqa: RUF012

    def network(images):
        return Output(images, images)

    for t in range(20):
        built.losses(Models(network, network), Batch, torch.tensor(t))
    built.end_epoch(EpochEnd(0, 20, lambda split: (logits, logits, truth), lambda *extra: None))
    thresholds = next(value for name, value in built.series().items() if "threshold" in name)
    assert thresholds[-3:].mean() < thresholds[:3].mean() - 0.02, thresholds


# --- method strings -----------------------------------------------------------------------------------------------------------------


def test_method_strings_are_read():
    parts = parse("fixmatch(threshold=0.8) + la + daso(T=0.3, weight=None)")
    assert [part.name for part in parts] == ["fixmatch", "la", "daso"]
    assert parts[2].options == {"T": 0.3, "weight": None}
    assert parse("supervised(augment=strong)")[0].options == {"augment": "strong"}
    assert parse(parts) is parts
    assert str(parts) == "fixmatch(threshold=0.8)+la+daso(T=0.3, weight=None)"
    assert parts == parse(str(parts)) and hash(parts) == hash(parse(str(parts))) and parts != parse("fixmatch+la+daso")
    assert (str(parts.learner), str(parts.schemes)) == ("fixmatch(threshold=0.8)", "la+daso(T=0.3, weight=None)")
    assert pickle.loads(pickle.dumps(parts)) == parts == build_method(parts).spec
    for spelling in ("fixmatch+la(tau=1)", "supervised(augment=strong)", "selftraining(base='runs/a b/s0')", "fixmatch+daso(weight=None)"):
        assert build_method(spelling.replace("+", " + ")).spelling == spelling


@pytest.mark.parametrize(
    ("method", "folder"),
    [
        ("fixmatch+la+daso", "fixmatch+la+daso"),
        ("supervised(augment=strong)", "supervised_augment=strong"),
        ("fixmatch+daso(T=0.3, start=10)", "fixmatch+daso_T=0.3,start=10"),
    ],
)
def test_folder_names(method, folder):
    assert slug(method) == folder
    long = [slug(f"selftraining(base='{path}/{'x' * 300}')") for path in ("runs/a", "runs/b", f"{'y' * 300}/a", f"{'y' * 300}/b")]
    assert len(set(long)) == 4 and max(map(len, long)) < 255


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("", "cannot be read"),
        ("fixmatch+", "cannot be read"),
        ("fixmatch-daso", "cannot be read"),
        ("fixmatch+daso(0.3)", "cannot be read"),
        ("fixmatch+daso(**x)", "cannot be read"),
        ("__import__('os').system('true')", "cannot be read"),
        ("fixmatch+(lambda: 1)()", "cannot be read"),
        ("fixmach", "did you mean 'fixmatch'.*choose one of"),
        ("daso+fixmatch", "starts with one learner"),
        ("fixmatch+supervised", "starts with one learner"),
        ("fixmatch+daso+la+daso", "'daso' is named twice"),
        ("supervised+daso", "daso changes the pseudo-label step, which supervised has not; it goes with .*fixmatch"),
        ("fixmatch+daso(TT=1)", "daso has no option 'TT' .did you mean 'T'.*; it takes T, T_proto"),
        ("fixmatch(threshold=0)", r"threshold=0\) must be in \(0, 1\]"),
        ("fixmatch(views=3)", r"fixmatch\(views=3\) is not known; choose 1 or 2"),
        ("fixmatch(views=True)", r"fixmatch\(views=True\): give 1 or 2"),
        ("fixmatch+la(at=1)", r"la\(at=1\): give 'train', 'posthoc' or 'pseudo'"),
        ("fixmatch+crest(generations=1)", r"crest\(generations=1\) must be at least 2: one generation is the learner itself"),
        ("fixmatch(threshold=high)", r"fixmatch\(threshold='high'\): give a finite number"),
        ("fixmatch+debiaspl(momentum=1)", r"must be in \[0, 1\)"),
        ("1" + "+1" * 5000, "cannot be read"),
    ],
)
def test_impossible_methods_say_why(method, message):
    with pytest.raises(MethodError, match=message):
        build_method(method)


def test_a_scheme_that_reads_outputs_under_their_names_of_0_1_is_told_the_new_ones():
    method, models, batches = make(Row("fixmatch"))
    _, step = run(method, models, batches[:1])[0]
    with pytest.warns(DeprecationWarning, match=r"use step.outputs\['strong'\].logits"):
        assert step.strong_logits is step.outputs["strong"].logits
    with pytest.warns(DeprecationWarning, match="use step.logits"):
        assert step.weak_logits is step.logits
    with pytest.raises(AttributeError, match="no attribute 'wek_logits'"):
        _ = step.wek_logits


def test_a_learner_of_0_1_trains_and_is_told_the_new_names():
    class Old(Learner):
        name = "old"
        unlabelled_views = ("weak", "strong")

        def losses(self, step):
            self.forward_views(step, "weak", ("strong",))
            step.chain.prepare(step)
            self.pseudo_label(step)
            step.chain.observe(step)
            loss = masked_cross_entropy(step.chain.margin(step.strong_logits, step), self.target(step), step.mask * step.weight)
            return {"labelled": self.labelled_loss(step), "unlabelled": loss, **step.chain.losses(step)}

    new, models, batches = make(Row("fixmatch+debiaspl"))
    old = Method(Old(new.learner.confidence_threshold), new.chain, "old+debiaspl").setup(new.problem)
    with pytest.warns(DeprecationWarning, match=r"Learner.forward|strong_logits"):
        losses, _ = run(old, models, batches[:1])[0]
    expected, _ = run(new.setup(new.problem), models, batches[:1])[0]
    assert {name: loss.item() for name, loss in losses.items()} == {name: loss.item() for name, loss in expected.items()}
