"""CIFAR-10 from Parquet, at its real size."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pldebias.data import ResidentLoader, SplitSpec, build, make_augment


@pytest.fixture(scope="module")
def cifar(cifar10_parquet, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    return build(SplitSpec(f"parquet:{cifar10_parquet}", 500, 4000, 100, 100, validation=5000, root=str(root)))


def test_everything_is_decoded(cifar):
    (train,) = Path(cifar.spec.root).rglob("*-train-*.npy")
    assert torch.from_numpy(np.load(train)).shape == (50000, 3, 32, 32)
    assert cifar.test.images.shape == (10000, 3, 32, 32) and torch.bincount(cifar.test.labels).tolist() == [1000] * 10
    assert cifar.class_names[0] == "airplane" and cifar.class_names[9] == "truck"
    assert cifar.mean == pytest.approx((0.4913, 0.4821, 0.4465), abs=0.006)
    assert cifar.std == pytest.approx((0.2452, 0.2428, 0.2606), abs=0.006)


def test_split_totals(cifar):
    assert len(cifar.labelled) == 1236 and len(cifar.unlabelled) == 9922 and len(cifar.validation) == 5000
    assert cifar.labelled_counts.tolist() == [500, 299, 179, 107, 64, 38, 23, 13, 8, 5]
    assert cifar.unlabelled_counts[[0, 9]].tolist() == [4000, 40]


@pytest.mark.parametrize("policy", ["daso", "usb"])
def test_first_batch(cifar, policy):
    loader = ResidentLoader(cifar, make_augment(policy, cifar.mean, cifar.std, 32), batch_size=64, mu=2)
    batch = loader.next()
    assert batch.labelled["weak"].shape == (64, 3, 32, 32) and batch.y.shape == (64,)
    for view in ("weak", "strong"):
        x = batch.unlabelled[view]
        assert x.shape == (128, 3, 32, 32) and x.is_contiguous(memory_format=torch.channels_last) and x.isfinite().all()
    assert batch.unlabelled["weak"].mean().abs() < 0.3 and (batch.unlabelled["weak"].std() - 1).abs() < 0.2
