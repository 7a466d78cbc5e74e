"""Real CIFAR-10-LT images: from Parquet to a recorded run, and many steps of every method."""

import sys
from functools import cache

import numpy as np
import pytest
import torch
from needs import SOAK

import pldebias as pld
from pldebias import metrics
from pldebias.data import build
from pldebias.methods import LEARNERS, SCHEMES, parse
from pldebias.training.loop import train_step
from pldebias.training.state import TrainingState
from pldebias.training.train import configure, make_dataset

METHODS = [
    "supervised+la", "supervised+cb", "supervised+ldam+drw(start=0.5)", "supervised+focal", "pseudolabel", "meanteacher", "mixmatch",
    "remixmatch", "fixmatch", "flexmatch", "freematch", "usadtm(start=10)", "fixmatch+la", "fixmatch+daso(start=30)",
    "fixmatch+debiaspl", "fixmatch(views=2,teacher=ema)+debiaspl(cld=0.3)", "fixmatch+seval", "fixmatch+adello(start=30)", "fixmatch+udal",
    "fixmatch+darp", "fixmatch+crest", "fixmatch+crestplus", "fixmatch+abc", "fixmatch+abc+daso(start=30)", "fixmatch+saw", "fixmatch+adsh",
    "fixmatch+acr", "fixmatch+abcla", "fixmatch+cdmad", "fixmatch+simpro", "rotation", "moco",
]  # fmt: skip
STAGES = {"crt", "selftraining"}  # they go on from another run


@pytest.fixture(scope="module")
def settings(cifar10_parquet, tmp_path_factory):
    """Arguments that make any training here one of real images on a small network; each split is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["pldebias.training.train"], "build", cache(build))
        yield {"source": f"parquet:{cifar10_parquet}", "root": str(tmp_path_factory.mktemp("data")), "threads": 1}


def test_cifar10_lt_on_a_small_network(settings, tmp_path):
    run = pld.train(
        "fixmatch+daso(start=50)", "cifar10-lt-cpu", out=tmp_path, steps=200, steps_per_epoch=100, snapshots=1, progress=False, **settings
    )
    assert list(run.labelled_counts) == [500, 299, 179, 107, 64, 38, 23, 13, 8, 5]
    assert run.unlabelled_counts.sum() == 9922
    assert run.class_names[0] == "airplane"
    assert run.confusion("test")[-1].sum() == 10_000
    assert np.isfinite(run.scalars.to_numpy()).all()
    assert run.scalars["loss/labelled"].iloc[-1] < run.scalars["loss/labelled"].iloc[0]
    # The head bias is there from the start: head classes take more pseudo-labels than they have samples.
    sweep = run.confusion("sweep", epoch=-1)
    scores = metrics.group(sweep, metrics.groups(run.labelled_counts))
    assert scores.recall[0] > 0.4 > scores.recall[2]


def test_every_method_is_listed():
    assert {part.name for method in METHODS for part in parse(method)} == {*LEARNERS, *SCHEMES} - STAGES


@pytest.mark.parametrize("method", METHODS)
def test_many_steps_are_finite_and_move(method, settings):
    config, built = configure(method, "cifar10-lt-cpu", batch_size=8, steps=400 if SOAK else 60, steps_per_epoch=20, **settings)
    torch.manual_seed(0)
    state = TrainingState(config, built, make_dataset(config), torch.device("cpu"))
    before = [p.clone() for p in state.student.parameters() if p.requires_grad]
    seen = []
    for _ in range(config.steps):
        losses, step = train_step(state)
        seen.append(torch.stack([loss.detach() for loss in losses.values()]))
    seen = torch.stack(seen)
    assert torch.isfinite(seen).all()
    assert all(torch.isfinite(p).all() for p in state.student.parameters())
    moved = sum(not torch.equal(a, b) for a, b in zip(before, (p for p in state.student.parameters() if p.requires_grad), strict=True))
    assert moved > 0.9 * len(before)
    if step.label is not None:
        assert ((step.label >= 0) & (step.label < 10)).all()


def test_second_stages_go_on_from_a_run_on_real_images(settings, tmp_path):
    short = {"steps": 60, "steps_per_epoch": 60, "batch_size": 8, "snapshots": 1, "progress": False, **settings}
    base = pld.train("fixmatch", "cifar10-lt-cpu", out=tmp_path, **short)
    for method, init in (("crt", base.path), (f"selftraining(base={base.path!r})", None)):
        run = pld.train(method, "cifar10-lt-cpu", out=tmp_path / "after", init=init, **short)
        losses = run.scalars.filter(like="loss/")
        assert np.isfinite(losses.to_numpy()).all() and run.confusion("test")[-1].sum() == 10_000
        assert not np.array_equal(run.confusion("test", epoch=-1), base.confusion("test", epoch=-1))
        assert parse(method)[0].name in STAGES
