"""Every method of the contract table, interrupted after each of its checkpoints, ends bit for bit as if nothing had happened."""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from test_methods import TABLE

import pldebias as pld
from pldebias.data import build
from pldebias.methods import LEARNERS, parse
from pldebias.training import checkpoints, loop

TINY = {"data": "digits-lt", "n1": 20, "gamma_l": 4.0, "m1": 20, "gamma_u": 4.0, "batch_size": 8, "steps": 6, "steps_per_epoch": 2,
        "snapshots": 2, "lr": 0.01, "warmup": 0, "progress": False, "options": {"fixmatch": {"threshold": 0.12}}}  # fmt: skip
"""Three epochs of two steps on some 60 images: every part of a method acts, CReST's second generation too, in a fraction of a second."""
STAGES = [
    *((row.method, {}) for row in TABLE),
    ("fixmatch", {"init": "BASE"}),  # after pre-training
    ("fixmatch+daso(start=0)", {"stream": True, "balanced": True}),
    ("fixmatch+la", {"optimizer": "adam", "precision": "bf16", "ema_mode": "eval", "schedule": "cosine", "warmup": 3}),
    ("supervised", {"evaluate": "student", "schedule": "steps", "milestones": (3,), "holdout": 4, "balanced": 0.9}),
    ("fixmatch+seval(mode=direct)", {"validation": 50}),
]
"""Methods and settings; BASE stands for the folder of a finished run."""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return pld.train("fixmatch", out=tmp_path_factory.mktemp("base"), **TINY).path


@pytest.fixture(autouse=True, scope="module")
def quick():
    """The data are read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["pldebias.training.train"], "build", cache(build))
        yield


def interrupted_after_every_checkpoint(method: str, out: Path, settings: dict) -> int:
    """Train, ended by Ctrl-C after each checkpoint, and go on until it ends by itself; how often it was interrupted."""
    save = checkpoints.save

    def cut(folder, state):
        save(folder, state)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.checkpoints, "save", cut)
        for times in range(1, 100):
            try:
                pld.train(method, out=out, **settings)
            except KeyboardInterrupt:
                continue
            return times - 1
    raise AssertionError("it never ended")


def recorded(run) -> dict[str, np.ndarray]:
    """All that a run recorded, except what the clock says."""
    arrays = {kind: run.confusion(kind) for kind in run.kinds}
    arrays |= {f"{kind} accepted": run.confusion(kind, "accepted") for kind in run.kinds if kind != "test"}
    arrays |= {"scalars": run.scalars.drop(columns=["seconds", "images_per_second"]).to_numpy(), "iterations": run.iterations}
    arrays |= {name: run.state(name) for name in run.series}
    for epoch in run.snapshots:
        arrays |= {f"logits {epoch}": run.logits(epoch), f"features {epoch}": run.features(epoch)}
        for name in run.snapshot_states:
            if epoch in run.logged(f"snapshot_state/{name}"):
                arrays[f"{name} {epoch}"] = run.snapshot_state(name, epoch)
    if len(run.logged("history")):
        arrays |= {f"history {e}": np.stack(run.history(e)) for e in run.epochs}
    return arrays


def leaves(value, at: str = ""):
    """Every number, text and tensor of a checkpoint, by its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{at}/{key}")
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from leaves(inner, f"{at}/{i}")
    else:
        yield at, value


def alike(ours, theirs) -> bool:
    if not isinstance(ours, torch.Tensor):
        return ours == theirs
    same = (ours == theirs) | ((ours != ours) & (theirs != theirs)) if ours.shape == theirs.shape else torch.tensor(False)
    return ours.dtype == theirs.dtype and bool(same.all())


@pytest.mark.parametrize(("method", "settings"), STAGES, ids=[" ".join((method, *settings)) for method, settings in STAGES])
def test_interrupted_equals_uninterrupted(method, settings, base, tmp_path):
    method, settings = method.replace("BASE", base), {**TINY, **settings}
    if settings.get("init") or LEARNERS[parse(method)[0].name].requires_init:
        settings["init"] = base
    whole = pld.train(method, out=tmp_path / "whole", **settings)
    assert interrupted_after_every_checkpoint(method, tmp_path / "cut", settings) == 3
    (cut,) = (pld.open_run(path) for path in pld.catalogue(tmp_path / "cut").path)
    assert cut.finished and cut.dropped == {}
    ours, theirs = recorded(cut), recorded(whole)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    ours, theirs = (dict(leaves(checkpoints.load(checkpoints.folder_of(Path(run.path))))) for run in (cut, whole))
    assert [name for name in {*ours, *theirs} if name not in ours or name not in theirs or not alike(ours[name], theirs[name])] == []
