"""What this machine offers to a training."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pldebias.hardware import native_bf16, processor

PACKAGES = (
    "pldebias",
    "torch",
    "torchvision",
    "numpy",
    "zarr",
    "xarray",
    "scikit-learn",
    "umap-learn",
    "jupyterlab",
    "anywidget",
    "plotly",
    "seaborn",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "firefox")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return f"not installed; pip install {package}"


def _cpp_compiler() -> str:
    """What ``compile=True`` needs on a CPU."""
    name = os.environ.get("CXX") or "g++"
    return shutil.which(name) or f"{name} not found; compile=True runs networks as they are written"


def findings() -> dict[str, Any]:
    """Python, packages, devices, data folders and browsers, each with what to do where something is missing."""
    import torch

    from pldebias.data.sources import data_root

    found: dict[str, Any] = {"python": f"{platform.python_version()} ({sys.executable})", "system": platform.platform()}
    found |= {package: _version(package) for package in PACKAGES}
    found["cpu"] = f"{processor()}, {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"
    found["bfloat16 on the cpu"] = "native; precision='bf16' is the faster" if native_bf16() else "emulated; use precision='fp32'"
    found["C++ compiler"] = _cpp_compiler()
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(i)
            found[f"cuda:{i}"] = (
                f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, compute capability {gpu.major}.{gpu.minor}, "
                f"bfloat16 {'yes' if gpu.major >= 8 else 'no'}"
            )
        found["triton"] = _version("triton").replace("not installed", "not installed: images are augmented without its kernel")
    else:
        found["cuda"] = "none found; trainings run on the CPU"
    root = data_root(None)
    held = sorted(p.name for p in root.iterdir()) if root.is_dir() else []
    found["data folder"] = f"{root.resolve()} ({', '.join(held) or 'empty'}); set PLDEBIAS_DATA to use another"
    found["free disk"] = f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB"
    browsers = [path for name in BROWSERS if (path := shutil.which(name))]
    found["browsers"] = ", ".join(browsers) or "none found; the browser tests need Chromium"
    return found
