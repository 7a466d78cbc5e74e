"""Fixtures shared by all tests: golden vectors, real data, one thread."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from needs import missing

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config, items):
    """Tests of a GPU are not asked for where there is none; they run with ``-m gpu`` on a machine that has one."""
    import torch

    if not torch.cuda.is_available():
        gpu = [item for item in items if item.get_closest_marker("gpu")]
        config.hook.pytest_deselected(items=gpu)
        items[:] = [item for item in items if item not in gpu]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors run faster, and reproducibly, on one thread."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden():
    """`golden("daso_seval/fixmatch_K10_s0")` -> (arrays, description) recorded from a paper's official code."""

    def load(name: str):
        roots = [HERE / "golden", *([Path(os.environ["PLDEBIAS_GOLDEN"])] if os.environ.get("PLDEBIAS_GOLDEN") else [])]
        for root in roots:
            path = root / f"{name}.npz"
            if path.exists():
                with np.load(path, allow_pickle=False) as arrays:
                    return dict(arrays), json.loads(path.with_suffix(".json").read_text())
        missing(f"golden vector {name}", "PLDEBIAS_GOLDEN")

    return load


@pytest.fixture(scope="session")
def cifar10_parquet() -> Path:
    """Folder with CIFAR-10 as `train.parquet` and `test.parquet` (Hugging Face layout)."""
    root = os.environ.get("PLDEBIAS_CIFAR10")
    if not root or not (Path(root) / "train.parquet").exists():
        missing("CIFAR-10 as Parquet", "PLDEBIAS_CIFAR10")
    return Path(root)
