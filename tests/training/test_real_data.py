"""A few hundred steps on real CIFAR-10-LT images, from Parquet to the recorded run."""

import numpy as np

import pldebias as pld
from pldebias import metrics


def test_cifar10_lt_on_a_small_network(cifar10_parquet, tmp_path):
    run = pld.train(
        "fixmatch+daso(start=50)",
        "cifar10-lt-cpu",
        source=f"parquet:{cifar10_parquet}",
        out=tmp_path / "runs",
        root=str(tmp_path / "data"),
        steps=200,
        steps_per_epoch=100,
        snapshots=1,
        threads=1,
        progress=False,
    )
    assert list(run.labelled_counts) == [500, 299, 179, 107, 64, 38, 23, 13, 8, 5]
    assert run.unlabelled_counts.sum() == 9922
    assert run.class_names[0] == "airplane"
    assert run.confusion("test")[-1].sum() == 10_000
    assert np.isfinite(run.scalars.drop(columns="g_mean").to_numpy()).all()
    assert run.scalars["loss/labelled"].iloc[-1] < run.scalars["loss/labelled"].iloc[0]
    # The head bias is there from the start: head classes take more pseudo-labels than they have samples.
    sweep = run.confusion("sweep", epoch=-1)
    thirds = metrics.groups(run.labelled_counts)
    scores = metrics.group(sweep, thirds)
    assert scores.recall[0] > 0.4 > scores.recall[2]
