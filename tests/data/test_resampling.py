"""Class-balanced sampling weights against the official resampling rule."""

import pytest
import torch

from pldebias.data.errors import DataError
from pldebias.data.loaders import balanced_weights
from tests.golden_files import vectors
from tests.golden_net import assert_close


@vectors("debiaspl_adello/ibss_resample_K*")
def test_weights_are_the_official_ones(vector, golden):
    arrays, _ = golden(vector)
    assert_close(balanced_weights(torch.tensor(arrays["targets"]), 0.9999), arrays["weights"], atol=1e-9)
    assert len(arrays["targets"]) == arrays["num_samples"]


def test_every_class_weighs_the_same_in_total():
    labels = torch.tensor([0] * 90 + [1] * 9 + [3])
    totals = torch.zeros(4, dtype=torch.float64).index_add(0, labels, balanced_weights(labels))
    assert_close(totals, torch.tensor([1, 1, 0, 1]))
    partial = torch.zeros(4, dtype=torch.float64).index_add(0, labels, balanced_weights(labels, 0.9))
    assert partial[0] > partial[1] > partial[3]


@pytest.mark.parametrize("beta", [0, -1, 1.5])
def test_beta_is_checked(beta):
    with pytest.raises(DataError, match=r"\(0, 1\]"):
        balanced_weights(torch.tensor([0, 1]), beta)
