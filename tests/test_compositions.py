"""Every composition that is not refused trains: each scheme on each learner, and each pair of schemes in both orders."""

from dataclasses import replace

import pytest
import torch

from pldebias.methods import LEARNERS, SCHEMES, MethodError
from tests.test_methods import TABLE, N, Row, make, run

STARTS = {"selftraining": "selftraining(base='BASE')"}


def composed(spelling):
    """Train two steps of it and relabel; None if it is refused."""
    try:
        method, models, batches = make(Row(spelling))
    except MethodError as error:
        assert "it goes with" in str(error), error  # the reason, and what can be done
        return None
    for losses, _ in run(method, models, batches[:2]):
        total = sum(losses.values())
        total.backward()
        assert total.isfinite(), (spelling, losses)
    if method.predicts:
        with torch.no_grad():
            features, logits = models.teacher(torch.randn(N, 1, 8, 8))
        assert method.relabel(logits, features, torch.tensor(150), torch.arange(N)).confidence.isfinite().all(), spelling
        assert method.predict(features, logits, models.teacher).isfinite().all(), spelling
    return method


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_scheme_on_a_learner(learner):
    accepted = {name for name in SCHEMES if composed(f"{STARTS.get(learner, learner)}+{name}")}
    corrections = {"la", "cb", "drw", "focal", "ldam"}  # of the labelled loss: they go with all that learn classes
    assert accepted >= (corrections if learner not in ("rotation", "moco") else set())
    if learner in ("fixmatch", "flexmatch", "freematch"):
        assert accepted == set(SCHEMES)


@pytest.mark.parametrize("first", SCHEMES)
def test_every_pair_of_schemes(first):
    for other in SCHEMES:
        if other != first:
            assert composed(f"fixmatch+{first}+{other}") is not None


@pytest.mark.parametrize(
    "method",
    [
        "fixmatch+seval+daso(weight=0,start=0)+crest",
        "fixmatch+abc(views=1)+seval(head=abc)+la",
        "fixmatch+la+darp(start=0.0)+daso(start=0)+saw",
        "remixmatch(ramp=0)+seval+daso(start=0)+la",
        "fixmatch(views=2,teacher=ema)+debiaspl(cld=0.3)+daso(start=0)+la",
        "meanteacher(ramp=0)+la+seval+daso(start=0)",
    ],
)
def test_longer_compositions(method):
    assert composed(method) is not None


@pytest.mark.parametrize("row", TABLE, ids=[row.method for row in TABLE])
def test_unknown_true_labels(row):
    """No method looks at the unlabelled truth but those that call themselves oracles, and they refuse to go without."""
    method, models, batches = make(row)
    problem = replace(method.problem, unlabelled_counts=None)
    if "oracle" in row.method:
        with pytest.raises(MethodError, match="needs the true labels"):
            method.setup(problem)
        return
    for losses, _ in run(method.setup(problem), models, batches):
        assert sum(losses.values()).isfinite()
