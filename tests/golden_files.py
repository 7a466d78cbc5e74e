"""Numbers recorded from official code: where they lie, and all of a kind."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from needs import missing

HERE = Path(__file__).parent / "golden"


def roots() -> list[Path]:
    """The copies beside the tests, and the folder that PLDEBIAS_GOLDEN names."""
    return [HERE, *([Path(os.environ["PLDEBIAS_GOLDEN"])] if os.environ.get("PLDEBIAS_GOLDEN") else [])]


def load(name: str) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and description of one vector, such as ``daso_seval/fixmatch_K10_s0``."""
    for root in roots():
        path = root / f"{name}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays), json.loads(path.with_suffix(".json").read_text())
    missing("no golden vectors beyond those in tests/golden; set PLDEBIAS_GOLDEN to the folder that holds them")


def names(*patterns: str) -> list[str]:
    """Every vector of these kinds (``daso_seval/fixmatch_K*``), whatever K and seed; the kinds themselves, which no file has, if none."""
    found = (path.relative_to(root) for root in roots() for kind in patterns for path in root.glob(f"{kind}.npz"))
    return sorted({path.as_posix().removesuffix(".npz") for path in found}) or list(patterns)


def seeds(vector: str) -> list[int]:
    """Seeds that a vector may have been recorded with: the one in its name (``.._s3``), and 0."""
    return list(dict.fromkeys([*map(int, re.findall(r"_s(\d+)", vector)[-1:]), 0]))


def vectors(*patterns: str):
    """Run a test once for every vector of these kinds, as argument `vector`; without any it says what is missing."""
    return pytest.mark.parametrize("vector", names(*patterns))
