"""What all tests share: threads, golden vectors, real data, and what is said where something is missing."""

import collections
import getpass
import os
import re
import sys
import tempfile
from pathlib import Path

import golden_files
import pytest
from needs import missing
from world import world as world  # a fixture

THREADS = int(os.environ.get("PLDEBIAS_TEST_THREADS", 1))
"""Threads of torch; small tensors are fastest on one."""


# Inductor takes headers that were compiled for another instruction set from its cache, and fails.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR",
    f"{tempfile.gettempdir()}/torchinductor-{getpass.getuser()}-{sys.version_info.minor}-{os.environ.get('ATEN_CPU_CAPABILITY', 'native')}",
)


def pytest_collection_modifyitems(config, items):
    """Tests of a GPU are not asked for where there is none; they run with ``-m gpu`` on a machine that has one."""
    import torch

    if not torch.cuda.is_available():
        gpu = [item for item in items if item.get_closest_marker("gpu")]
        config.hook.pytest_deselected(items=gpu)
        items[:] = [item for item in items if item not in gpu]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Set the number of threads anew, since some tests change it; skip a test marked as ``browser`` where there is no browser."""
    import torch

    torch.set_num_threads(THREADS)
    if item.get_closest_marker("browser"):
        from benchmarks.browser import absence

        if why := absence():
            missing(why)


def pytest_terminal_summary(terminalreporter):
    """One line a reason, however many tests were skipped for it."""
    reasons = collections.Counter(report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", []))
    for reason, number in reasons.most_common():
        terminalreporter.write_line(f"{number} skipped: {reason}")


@pytest.fixture(scope="session", autouse=True)
def unforced():
    """No power cut threatens the tests, and forcing files to the disk takes most of the time of a short epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def golden():
    """`golden("daso_seval/fixmatch_K10_s0")` -> (arrays, description) recorded from a paper's official code."""
    return golden_files.load


@pytest.fixture(scope="session")
def cifar10_parquet() -> Path:
    """Folder with CIFAR-10 as `train.parquet` and `test.parquet` (Hugging Face layout)."""
    root = os.environ.get("PLDEBIAS_CIFAR10")
    if not root or not (Path(root) / "train.parquet").exists():
        missing("no CIFAR-10 as Parquet files; set PLDEBIAS_CIFAR10 to the folder that holds them")
    return Path(root)


@pytest.fixture
def registries(tmp_path):
    """What is registered during the test is forgotten after it."""
    from pldebias import presets, registry
    from pldebias.data.sources import KNOWN
    from pldebias.methods import LEARNERS, SCHEMES
    from pldebias.nets import NETWORKS

    tables = [vars(table) for table in (LEARNERS, SCHEMES, NETWORKS, KNOWN, presets.PRESETS)]
    state = [*(table[name] for table in tables for name in ("data", "origins", "_defined")), registry._loaded, presets.SOURCES]
    before = [dict(one) for one in state]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(registry, "_looked", registry._looked)
        yield
    for one, kept in zip(state, before, strict=True):
        for name in one.keys() - kept.keys():
            del one[name]
        one.update(kept)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def my_methods(registries, tmp_path):
    """The file of docs/extending.md, as it is printed there."""
    page = (Path(__file__).parent.parent / "docs/extending.md").read_text()
    path = tmp_path / "my_methods.py"
    path.write_text(re.search(r"```python\n(.*?)```", page, re.S).group(1))
    return path
