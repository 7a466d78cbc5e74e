"""Short real trainings that the tests of the reading side share."""

from functools import cache

import pytest

SHORT = {"steps": 60, "steps_per_epoch": 20, "snapshots": 2, "m1": 200, "gamma_u": 5.0, "progress": False}
"""Three epochs on 1,081 unlabelled images; outputs are kept at the first and the last."""
OPTIONS = {"daso": {"start": 20, "align_start": 40}, "usadtm": {"start": 20, "threshold": 0.6}, "fixmatch": {"threshold": 0.5}}


@pytest.fixture(scope="session")
def runs_root(tmp_path_factory):
    return tmp_path_factory.mktemp("short_runs")


@pytest.fixture(scope="session")
def trained(runs_root):
    """`trained("fixmatch+daso")` -> a finished short run; trained once in a session."""
    import pldebias as pld

    @cache
    def train(method: str, **overrides):
        return pld.train(method, out=runs_root, options=OPTIONS, **(SHORT | overrides))

    return train
