"""Second stages: pre-training, self-training, classifier re-training, generations."""

from pathlib import Path

import pytest
import torch

import pldebias as pld
from pldebias.learners.pretraining import contrastive_loss
from pldebias.methods import MethodError
from pldebias.schemes.formulas.rotation import balanced_turns, rotate
from pldebias.training import ConfigError, checkpoints

SHORT = {"steps": 40, "steps_per_epoch": 20, "snapshots": 1, "m1": 100, "gamma_u": 2.0, "progress": False}


def backbone(run, network="teacher"):
    saved = checkpoints.load(checkpoints.folder_of(Path(run.path)))[network]
    return {name: value for name, value in saved.items() if name.startswith("backbone.")}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return pld.train("supervised", out=tmp_path_factory.mktemp("base"), **SHORT)


@pytest.mark.parametrize("method", ["rotation", "moco(queue=128)"])
def test_pretraining_learns_and_its_backbone_is_reused(method, tmp_path):
    first = pld.train(method, out=tmp_path, **{**SHORT, "steps": 100})
    loss = next(name for name in first.scalars if name.startswith("loss/"))
    assert first.scalars[loss].iloc[-1] < first.scalars[loss].iloc[0 if method == "rotation" else 1]
    assert first.kinds == ()  # nothing that it could say about classes
    second = pld.train("fixmatch", out=tmp_path / "after", init=first.path, **{**SHORT, "steps": 20, "lr": 1e-12})
    for name, value in backbone(first).items():
        if name.endswith("weight") and value.ndim == 4:
            torch.testing.assert_close(backbone(second)[name], value, atol=1e-6, rtol=1e-5)


def test_turns_are_balanced_and_turn_as_torch_does():
    turns = balanced_turns(10, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert sorted(torch.bincount(turns, minlength=4).tolist()) == [2, 2, 3, 3]
    images = torch.randn(10, 2, 5, 5)
    for image, k, ours in zip(images, turns.tolist(), rotate(images, turns), strict=True):
        assert torch.equal(ours, image.rot90(k, (1, 2)))


def test_contrastive_loss_is_a_cross_entropy():
    query = torch.nn.functional.normalize(torch.randn(6, 4), dim=1)
    queue = torch.nn.functional.normalize(torch.randn(9, 4), dim=1)
    loss = contrastive_loss(query, query, queue, 0.2)
    scores = torch.cat([torch.ones(6, 1), query @ queue.T], 1) / 0.2
    torch.testing.assert_close(loss, -scores.log_softmax(1)[:, 0].mean())


def test_self_training_learns_the_base_runs_labels(base, tmp_path):
    run = pld.train(f"selftraining(base={base.path!r},weight=0.5)", out=tmp_path, **SHORT)
    given = base.history(-1)[0]
    visits = run.confusion("visits", epoch=0)
    assert visits.sum() == 20 * 64
    assert (visits.sum(0) > 0).sum() <= len(set(given.tolist()))
    assert (run.confusion("visits", "accepted") == run.confusion("visits")).all()


def test_self_training_refuses_other_data(base, tmp_path):
    for method, settings, message in (
        ("selftraining", {}, "needs base"),
        (f"selftraining(base={base.path!r})", {"seed": 1}, "other data or another split"),
        (f"selftraining(base={base.path!r},weight=-1)", {}, "must not be negative"),
    ):
        with pytest.raises(MethodError, match=message):
            pld.train(method, out=tmp_path, **{**SHORT, **settings})


def test_classifier_retraining_leaves_the_backbone_alone(base, tmp_path):
    run = pld.train("crt", out=tmp_path, init=base.path, **SHORT)
    before, after = backbone(base), backbone(run)
    for name, value in before.items():
        if value.is_floating_point() and "running" not in name:
            assert torch.equal(value, after[name]), name
    assert run.config["balanced"] is True
    with pytest.raises(ConfigError, match="goes on from a finished run"):
        pld.train("crt", out=tmp_path / "none", **SHORT)


def test_init_of_another_network_is_refused_whole(base, tmp_path):
    with pytest.raises(ConfigError, match="trained with another network"):
        pld.train("fixmatch", out=tmp_path, init=base.path, network="tiny_resnet", **SHORT)
    with pytest.raises(ConfigError, match="holds no checkpoint"):
        pld.train("fixmatch", out=tmp_path, init=str(tmp_path), **SHORT)


def test_generations_start_over_with_more_labels(tmp_path):
    """CReST: the second generation has a fresh network; interrupted in it, the run goes on as if it had not been."""
    method = "fixmatch(threshold=0.5)+la+debiaspl+daso(start=10)+crest(generations=2)"
    whole = pld.train(method, out=tmp_path / "whole", **{**SHORT, "steps": 80})
    assert whole.finished
    saved = checkpoints.load(checkpoints.folder_of(Path(whole.path)))
    assert saved["ema_updates"] == 40 and saved["generation"] == [1, 40]  # a fresh network and teacher began after 40 steps
    prior = saved["method"]["chain.0.prior"].numpy()
    assert abs(prior - whole.labelled_counts / whole.labelled_counts.sum()).max() > 0.01  # of the labelled set with its pseudo-labels
    save, saves = checkpoints.save, []

    def interrupted(folder, state):
        save(folder, state)
        saves.append(state["done"])
        if len(saves) == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints, "save", interrupted)
        pld.train(method, out=tmp_path / "cut", **{**SHORT, "steps": 80})
    resumed = pld.train(method, out=tmp_path / "cut", **{**SHORT, "steps": 80})
    assert (resumed.confusion("visits") == whole.confusion("visits")).all()
    assert (resumed.confusion("test") == whole.confusion("test")).all()


def test_each_generation_runs_through_the_learning_rate_schedule(tmp_path):
    run = pld.train("fixmatch+crest(generations=2)", out=tmp_path, **{**SHORT, "steps": 80, "warmup": 0})
    rates = run.scalars["lr"].to_numpy()
    assert rates[0] == rates[2] > rates[1] == rates[3]
    plain = pld.train("fixmatch", out=tmp_path, **{**SHORT, "warmup": 0})
    assert (plain.scalars["lr"].to_numpy() == rates[:2]).all()
