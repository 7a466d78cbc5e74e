"""What this machine has: processor and memory."""

from __future__ import annotations

import platform
from pathlib import Path


def native_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 itself (AVX512-BF16, AMX, or ARM's BF16); emulated, it is slower than float32."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        import torch

        return bool(torch.cpu._is_avx512_bf16_supported())
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def processor() -> str:
    """Model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def memory() -> int:
    """Physical memory in bytes; 16 GiB where the system does not say."""
    import psutil

    try:
        return psutil.virtual_memory().total or 2**34
    except (psutil.Error, OSError, RuntimeError, NotImplementedError):
        return 2**34
