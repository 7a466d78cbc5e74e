"""What this machine has: processor and memory."""

from __future__ import annotations

import ctypes
import os
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


class _Memory(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32), *((f"bytes{i}", ctypes.c_uint64) for i in range(7))]


def memory() -> int:
    """Physical memory in bytes; 16 GiB where the system does not say."""
    try:
        if os.name == "nt":
            status = _Memory(length=ctypes.sizeof(_Memory))
            found = status.bytes0 if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else 0
        else:
            found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        found = 0
    return found if found > 0 else 2**34
