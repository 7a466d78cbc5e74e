"""SEVAL's two-stage protocol and its direct mode, as trainings."""

import numpy as np
import pytest

import pldebias as pld
from pldebias.methods import MethodError

SHORT = {"steps": 20, "steps_per_epoch": 10, "snapshots": 1, "m1": 100, "progress": False}


def test_an_estimate_is_replayed_on_all_labels(tmp_path):
    learned = pld.train("fixmatch+seval", out=tmp_path, **SHORT)
    replayed = pld.train(f"fixmatch+seval(mode=load,curve={learned.path!r})", out=tmp_path, **SHORT)
    for name in ("seval/offsets", "seval/thresholds"):
        assert (learned.state(name)[-1] != learned.state(name)[0]).any()
        np.testing.assert_array_equal(replayed.state(name), learned.state(name))
    assert learned.labelled_counts.sum() == 50 and replayed.labelled_counts.sum() == 96  # half of every class, rounded up, and all
    with pytest.raises(MethodError, match="2 evaluations of 10 classes, this training 4 epochs"):
        pld.train(f"fixmatch+seval(mode=load,curve={learned.path!r})", out=tmp_path / "longer", **{**SHORT, "steps": 40})


def test_direct_needs_validation_images(tmp_path):
    with pytest.raises(MethodError, match="train with validation=N"):
        pld.train("fixmatch+seval(mode=direct)", out=tmp_path, **SHORT)
    run = pld.train("fixmatch+seval(mode=direct)", out=tmp_path, validation=100, **SHORT)
    assert (run.state("seval/offsets") != 1).any() and run.labelled_counts.sum() == 96
