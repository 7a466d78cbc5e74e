"""No step waits for its device, the conventional loop does the same mathematics, and every benchmark runs."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is part of the repository and not of the installed package

from benchmarks import accuracy, contenders, conventional, imports, timing
from pldebias.data import ResidentLoader, make_augment
from pldebias.data.randaugment import OPERATIONS, apply, daso_values
from pldebias.methods import LEARNERS, SCHEMES, build_method, parse
from pldebias.nets import build_network
from pldebias.training import resolve
from pldebias.training.loop import train_step
from pldebias.training.state import TrainingState

CPU = torch.device("cpu")


# -- nothing in a step waits for the device ---------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["daso", "usb", "imagenet", "glyphs", "digits"])
def test_no_batch_waits_for_the_device(policy):
    data = contenders.pictures(16, 32, 10)
    augment = make_augment(policy, data.mean, data.std, 32)
    augment.strategy = "masked"  # that of CUDA; on a CPU asking for counts costs nothing, and is the faster way
    loader = ResidentLoader(data, augment, batch_size=8, mu=2, unlabelled_views=("weak", "strong", "strong2"))
    loader.next()
    with timing.no_host_sync():
        for _ in range(3):  # beyond the end of a permutation
            loader.next()


X, MASK = torch.arange(4.0), torch.tensor([True, False, True, True])


@pytest.mark.parametrize(
    "wait",
    [
        X[0].item,
        X.tolist,
        lambda: bool(X.sum() > 0),
        lambda: float(X.mean()),
        lambda: X[MASK],
        lambda: X.nonzero(),
        lambda: torch.where(MASK),
        lambda: X.masked_select(MASK),
        lambda: torch.equal(X, X),
        lambda: X.unique(),
        lambda: X.long().bincount(),
        lambda: X.clone().index_put_((MASK,), torch.ones(3)),
        lambda: torch.nn.functional.one_hot(X.long()),
        lambda: X.repeat_interleave(X.long()),
        X.cpu,
        X.numpy,
        lambda: torch.tensor([1.0, 2.0]),
    ],
)
def test_what_waits_is_noticed(wait):
    with pytest.raises(timing.HostSync, match="the host waits"), timing.no_host_sync():
        wait()


def test_backward_passes_are_watched():
    x = torch.ones(3, requires_grad=True)
    y = (2 * x).sum()
    y.register_hook(lambda gradient: print(gradient.item()))
    with pytest.raises(timing.HostSync, match="_local_scalar_dense"), timing.no_host_sync():
        y.backward()


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.nn.functional.one_hot(X.long(), 4),
        lambda: X[X.long()],
        lambda: torch.where(MASK, X, 0.0),
        lambda: X.clone().masked_fill_(MASK, 1.0),
        lambda: X.clone().__setitem__(MASK, 1.0),
        lambda: X.repeat_interleave(X.long(), output_size=6),
        lambda: X.sort(),
    ],
)
def test_what_does_not_wait_is_let_through(work):
    with timing.no_host_sync():
        work()


# -- the conventional loop does the same mathematics --------------------------------------------------------------------------


def both(network: str):
    """Our training and a conventional one with equal weights, and one batch for both, of which half the pseudo-labels are accepted."""
    data = contenders.pictures(32, 64, 20)
    config = resolve("fixmatch", "cifar10-lt", network=network, batch_size=8, mu=2.0, precision="fp32")
    torch.manual_seed(0)
    theirs = conventional.Trainer(build_network(network, 3, 10))
    loader = TrainingState(config, build_method("fixmatch"), data, CPU).loader
    batch = loader.next()
    views = conventional.Views(batch.labelled["weak"], batch.y, batch.unlabelled["weak"], batch.unlabelled["strong"])
    with torch.no_grad():
        weak = theirs.network(torch.cat([views.x, views.weak, views.strong])).logits[8:24]
    confidence = weak.softmax(1).amax(1).sort().values
    theirs.threshold = confidence[7:9].mean().item()
    ours = TrainingState(config, build_method(f"fixmatch(threshold={theirs.threshold})"), data, CPU)
    ours.loader = contenders.Fixed(batch)
    for model in (ours.student, ours.ema.teacher, theirs.ema.teacher):
        model.load_state_dict(theirs.network.state_dict())
    return ours, theirs, views


@pytest.mark.parametrize("network", ["wrn28_2", "tiny_resnet"])
def test_same_losses_and_gradients(network):
    ours, theirs, views = both(network)
    losses, step = ours.method.losses(ours.models, ours.loader.next(), ours.t, ours.generator)
    labelled, unlabelled, mask = theirs.losses(views)
    assert mask.mean() == 0.5
    assert torch.equal(step.mask, mask)
    torch.testing.assert_close(losses["labelled"], labelled, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses["unlabelled"], unlabelled, rtol=1e-5, atol=1e-6)
    sum(losses.values()).backward()
    (labelled + unlabelled).backward()
    for (name, a), b in zip(ours.student.named_parameters(), theirs.network.parameters(), strict=True):
        assert (a.grad - b.grad).norm() <= 1e-4 * b.grad.norm(), name


def test_same_weights_teacher_and_meters_after_two_steps():
    ours, theirs, views = both("tiny_resnet")
    start = [p.clone() for p in theirs.network.parameters()]
    for i in range(2):
        losses, step = train_step(ours)
        theirs.step(views)
        assert theirs.meters["labelled"][i] == pytest.approx(losses["labelled"].item(), rel=1e-4)
        assert theirs.meters["unlabelled"][i] == pytest.approx(losses["unlabelled"].item(), rel=1e-4)
        assert theirs.meters["mask"][i] == step.mask.mean()
    for a, b in ((ours.student, theirs.network), (ours.ema.teacher, theirs.ema.teacher)):
        for (name, mine), his in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            if mine.is_floating_point():  # our teacher does not count batches
                torch.testing.assert_close(mine, his, rtol=1e-4, atol=1e-5, msg=name)
    assert not any(torch.equal(a, b) for a, b in zip(start, theirs.network.parameters(), strict=True))


def test_conventional_pipeline_and_evaluation():
    data = contenders.pictures(1, 1, 50).test
    views = conventional.views()
    arrays = data.images.permute(0, 2, 3, 1).numpy(), data.labels.numpy()
    pictures = conventional.Pictures(*arrays, views["identity"], views["weak"], views["strong"])
    identity, weak, strong, _ = next(iter(conventional.loader(pictures, 16, steps=1, workers=0)))
    assert identity.shape == weak.shape == strong.shape == (16, 3, 32, 32) and not torch.equal(weak, strong)
    batch = torch.utils.data.DataLoader(conventional.Pictures(*arrays, views["identity"]), 20)
    ours = make_augment("daso", contenders.MEAN, contenders.STD, 32)(data.images, "identity")
    assert torch.equal(torch.cat([images for images, _ in batch]), ours)  # the same pixels reach both networks

    trainer = conventional.Trainer(build_network("tiny_resnet", 3, 10))
    accuracy_of_all, of_class = trainer.evaluate(batch, 10, CPU)
    with torch.no_grad():
        right = trainer.ema.teacher.eval()(ours).logits.argmax(1) == data.labels
    assert accuracy_of_all == pytest.approx(right.float().mean().item())
    assert of_class[3] == pytest.approx(right[data.labels == 3].float().mean().item())


# -- the commands ---------------------------------------------------------------------------------------------------------------


def test_the_conventional_pipeline_does_the_same_operations():
    assert set(conventional.OPERATIONS) == set(OPERATIONS)
    image = conventional.photographs(4)[3:]
    for k, name in enumerate(OPERATIONS):
        if name.startswith("Translate"):
            continue  # DASO translates by whole pixels
        for level in (2, 5, 9):
            value = daso_values(torch.tensor([k]), torch.tensor([level]), torch.tensor([False]), 32, 32)
            theirs = conventional.apply_pillow(Image.fromarray(image[0].permute(1, 2, 0).numpy()), name, level / 10, 1)
            ours = apply(image, torch.tensor([k]), value)[0]
            assert (ours.permute(1, 2, 0).numpy() == np.asarray(theirs)).all(), (name, level)


def test_turns_are_timed_apart():
    seen = []
    contenders = {"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}
    times = timing.alternate(contenders, rounds=2, clock="cpu", before={"b": lambda: seen.append("before b")})
    assert seen == ["a", "before b", "b"] * 3 and [len(v) for v in times.values()] == [2, 2]
    with pytest.raises(ValueError, match="clock='sun' is not known; choose one of wall, cpu, children"):
        timing.alternate(contenders, 1, clock="sun")


def test_import_is_quick(monkeypatch):
    monkeypatch.setattr(imports, "CONTENDERS", {"import pldebias": "import pldebias"})
    ((row,),) = imports.main(["--rounds", "2"]).values()
    assert row["beyond an empty interpreter"]["median"] < 0.5 and row["brings"] == ""


def test_accuracy_lists_every_learner_and_scheme():
    named = {part.name for method in accuracy.METHODS for half in method.split(" after ") for part in parse(half)}
    assert named == {*LEARNERS, *SCHEMES}
    for method in accuracy.METHODS:
        for half in method.split(" after "):
            build_method(half)


def test_accuracy_trains_once_and_compares_by_seed(tmp_path, capsys):
    command = ["--seeds", "0", "--methods", "selftraining after supervised", "--jobs", "1", "--out", str(tmp_path), "--quiet"]
    command += ["--set", "steps=4", "steps_per_epoch=2", "m1=60", "batch_size=8"]
    assert accuracy.main(command) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == [*accuracy.REFERENCES, "selftraining after supervised"]
    assert rows[4].split("|")[-2].strip() == "–" and "of 1" in rows[2]  # fixmatch is what the others are compared to
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("zarr.json")}
    assert accuracy.main(command) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")] == rows
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("zarr.json")} == made


def test_accuracy_cells():
    assert accuracy.cell([1.0, 3.0, float("nan")], 1) == "2.0 ± 1.4"
    assert accuracy.cell([0.25], 2, "+") == "+0.25" and accuracy.cell([float("nan")], 1) == "–"
