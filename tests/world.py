"""A small recorded run whose content can be recomputed from the epoch's number."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

N, K, D, STEPS, BATCH = 60, 4, 6, 3, 16
NAMES = ("cat", "dog", "<b>owl</b>", "naïve fox")


def truth(unknown: bool = False) -> np.ndarray:
    labels = np.sort(np.arange(N) ** 2 % K)
    if unknown:
        labels[::3] = -1
    return labels


def epoch_values(e: int, snapshot: bool = False) -> SimpleNamespace:
    """What a training would have at epoch `e`."""
    r = np.random.default_rng(e)
    steps = [(r.integers(0, N, BATCH), r.integers(0, K, BATCH), r.random(BATCH) > 0.4) for _ in range(STEPS)]
    logits = r.normal(size=(N, K)).astype(np.float16).astype(np.float32)
    test = r.integers(0, K, (2, 30))
    values = {
        "iteration": (e + 1) * STEPS,
        "scalars": {"loss": float(r.random()), "test_accuracy": float(r.random())},
        "sweep": (logits.argmax(1), logits.max(1) > 0.8),
        "test": (test[0], test[1]),
        "series": {"daso/class_dist": r.random(K).astype(np.float32)},
    }
    if snapshot:
        values |= {
            "logits": logits,
            "features": r.normal(size=(N, D)),
            "snapshot": {"daso/prototypes": r.random((K, D)).astype(np.float32)},
        }
    return SimpleNamespace(steps=steps, values=values)


@pytest.fixture
def world():
    """The sizes and makers above, and `start(path, **options)` and `record(recorder, epochs)`."""
    from pldebias.runs import Recorder

    def start(path, unknown=False, **options):
        options = {"num_epochs": 5, "attrs": {"method": "fixmatch+daso", "seed": 3, "data": "glyphs", "config": {"lr": 0.03}}} | options
        return Recorder(path, truth(unknown), [20, 10, 5, 2], NAMES, **options)

    def record(recorder, epochs, snapshots=(), convert=lambda x: x, visits=True):
        for e in epochs:
            assert recorder.epoch == e
            made = epoch_values(e, e in snapshots)
            for step in made.steps if visits else ():
                recorder.update(*(convert(part) for part in step))
            recorder.end_epoch(**made.values)
        return recorder

    return SimpleNamespace(N=N, K=K, D=D, names=NAMES, truth=truth, epoch=epoch_values, start=start, record=record, tensor=torch.as_tensor)
