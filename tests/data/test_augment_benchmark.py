"""The benchmark of augmentation runs, and what it compares with does the same operations."""

import sys
from pathlib import Path

import torch
from pillow_reference import smooth, to_image, to_tensor

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks/ is part of the repository and not of the installed package

from benchmarks import augment as benchmark
from pldebias.data.randaugment import OPERATIONS, apply, daso_values


def test_it_prints_a_ratio(capsys):
    threads = torch.get_num_threads()
    best = benchmark.main(["--images", "48", "--batch", "48", "--rounds", "3"])
    torch.set_num_threads(threads)
    table = capsys.readouterr().out
    assert "one by one" in table and "batched, 48" in table and "ratio" in table
    assert best > 1.5, "even at small batches the batched way wins"


def test_the_conventional_pipeline_does_the_same_operations():
    assert set(benchmark.OPERATIONS) == set(OPERATIONS)
    image = smooth(4, 3, 32)[3:]
    for k, name in enumerate(OPERATIONS):
        if name.startswith("Translate"):
            continue  # DASO translates by whole pixels
        for level in (2, 5, 9):
            value = daso_values(torch.tensor([k]), torch.tensor([level]), torch.tensor([False]), 32, 32)
            wanted = to_tensor(benchmark.apply_pillow(to_image(image[0]), name, level / 10, 1))
            assert torch.equal(apply(image, torch.tensor([k]), value)[0], wanted), (name, level)


def test_views_of_the_conventional_pipeline():
    weak, strong = benchmark.conventional("usb")([to_image(x) for x in smooth(6, 3, 32)])
    assert weak.shape == strong.shape == (6, 3, 32, 32) and not torch.equal(weak, strong)
