"""What reaches a method from bad data, a failing network or a slip: empty classes, gaps in a hold-out, NaN, impossible settings."""

import inspect
from dataclasses import replace

import pytest
import torch

from pldebias.methods import LEARNERS, SCHEMES, MethodError, build_method, parse
from pldebias.schemes import EpochEnd, Scheme
from tests.test_methods import TABLE, D, N, Row, make, run

ids = [row.method for row in TABLE]
ESTIMATING = [row for row in TABLE if any(SCHEMES[part.name].end_epoch is not Scheme.end_epoch for part in parse(row.method)[1:])]


def finite(method):
    return {name: bool(value.isfinite().all()) for name, value in method.series().items()}


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_a_class_without_a_labelled_image(row):
    """Priors, counts and queues hold a zero."""
    method, models, batches = make(row)
    counts = method.problem.labelled_counts.clone()
    counts[3] = 0
    method.setup(replace(method.problem, labelled_counts=counts))
    for batch in batches:
        batch.y[batch.y == 3] = 4
    for losses, _ in run(method, models, batches):
        total = sum(losses.values())
        total.backward()
        assert total.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in models.student.parameters())
    assert all(finite(method).values())


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_a_class_that_is_never_predicted(row):
    """Its probability underflows in float32, so every running mean and count of it goes to zero."""
    method, models, batches = make(row)
    for network in (models.student, models.teacher):
        for layer in (network.classifier, *(head for head in network.heads.values() if head.out_features == 10)):
            layer.bias.data[3] = -300
    for losses, _ in run(method, models, batches):
        if row.labels:  # a labelled image of the class has a large loss, which is right
            assert all(loss.isfinite() for loss in losses.values())
    assert all(finite(method).values())
    with torch.no_grad():
        features, logits = models.teacher(torch.randn(N, 1, 8, 8))
    relabelled = method.relabel(logits, features, torch.tensor(150), torch.arange(N))
    assert relabelled.confidence.isfinite().all()


@pytest.mark.parametrize("row", ESTIMATING, ids=[row.method for row in ESTIMATING])
def test_estimates_from_outputs_that_miss_a_class(row):
    """Class 3 has no sample in the hold-out and no prediction anywhere."""
    method, models, _ = make(row)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(N) % 10
    labels[labels == 3] = 4
    logits = 3 * torch.nn.functional.one_hot(labels, 10) + torch.randn(N, 10, generator=generator)
    logits[:, 3] = -300

    def score(split):
        return logits, torch.randn(N, D, generator=generator), labels if split != "unlabelled" else torch.full((N,), -1)

    for epoch in range(3):
        method.end_epoch(EpochEnd(epoch, 10 * (epoch + 1), score, lambda *extra: None, models.teacher))
    assert all(finite(method).values())
    assert method.predict(models.teacher(torch.randn(4, 1, 8, 8)).features, logits[:4], models.teacher).isfinite().all()


def test_an_estimate_without_a_class_in_the_hold_out_names_it():
    method, *_ = make(Row("fixmatch+darp(target=estimate)"))
    labels = torch.arange(N) % 9
    with pytest.raises(ValueError, match=r"hold-out has no sample of class \[9\]"):
        method.end_epoch(EpochEnd(0, 10, lambda split: (torch.zeros(N, 10), None, labels), None))


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_logits_that_are_not_finite_are_never_hidden(row):
    """The loss says it, which stops the training, and nothing else fails before."""
    method, models, batches = make(row)
    models.student.classifier.bias.data[0] = float("nan")
    models.student.backbone.layer.bias.data[0] = float("nan")
    (losses, _), *_ = run(method, models, batches[:1])
    assert not sum(losses.values()).isfinite()


@pytest.mark.parametrize("method", ["fixmatch+seval", "fixmatch+seval(compat=official)"])
def test_hold_out_logits_that_are_not_finite_are_refused(method):
    built, models, _ = make(Row(method))
    logits = torch.full((N, 10), float("nan"))
    with pytest.raises(ValueError, match="64 of 64 hold-out samples have logits that are not finite"):
        built.end_epoch(EpochEnd(0, 10, lambda split: (logits, None, torch.arange(N) % 10), None, models.teacher))


THRESHOLDS = {"threshold", "ceiling"}
WITH_THRESHOLD = [
    (name, option)
    for name, cls in {**LEARNERS, **SCHEMES}.items()
    for option in inspect.signature(cls).parameters
    if option in THRESHOLDS and name != "cdmad"  # where 0, no threshold, is the default
]


@pytest.mark.parametrize(("name", "option"), [*WITH_THRESHOLD, ("seval", "start")])
@pytest.mark.parametrize("value", ["0", "-0.5", "1.01", "nan", "None"])
def test_thresholds_outside_zero_to_one_are_refused(name, option, value):
    method = name if name in LEARNERS else f"fixmatch+{name}"
    if value == "nan":  # it cannot be written in a method string, but stand in the settings of a preset
        with pytest.raises(MethodError, match=rf"{name}\({option}=nan\): give a finite number"):
            build_method(method, {name: {option: float("nan")}})
        return
    with pytest.raises(MethodError, match=rf"{name}.*{option}.*"):
        build_method(f"{method}({option}={value})")


def test_every_threshold_is_looked_at():
    assert len(WITH_THRESHOLD) >= 12


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ((0.5, 0.5), r"10 entries >= 0 .*; got \[0.5, 0.5\]"),
        ((0.2,) * 10, r"sum to 2; divide them by their sum"),
        ((0.0,) * 10, "sum to 0"),
        ((-0.1, 0.2) * 4 + (0.3, 0.3), "entries >= 0"),
        ((float("nan"),) + (0.1,) * 9, "finite number"),
        ((float("inf"),) + (0.1,) * 9, "finite number"),
        (("a",) * 10, "give a text or a list of which each entry is a finite number"),
    ],
)
def test_target_distributions_of_the_wrong_length_or_sum_are_refused(target, says):
    problem = make(Row("fixmatch"))[0].problem
    with pytest.raises(MethodError, match=says):
        build_method("fixmatch+darp", {"darp": {"target": target}}).setup(problem)


@pytest.mark.parametrize("method", ["fixmatch(lambda_u=-1)", "mixmatch(lambda_u=-0.5)", "usadtm(mi_weight=-1)", "fixmatch+daso(weight=-1)"])
def test_losses_of_negative_weight_are_refused(method):
    with pytest.raises(MethodError, match=r"(lambda_u|weight)=-.* must not be negative"):
        build_method(method)
