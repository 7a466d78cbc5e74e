"""What the tests of a GPU share."""

import gc
import inspect
import warnings
from contextlib import contextmanager

import torch

_graph = torch.cuda.graph  # tests put `capture` in its place


def _mode(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it a prototype, and has set it nevertheless
        torch.cuda.set_sync_debug_mode(name)


@contextmanager
def no_waiting():
    """What makes the host wait for the GPU fails in here."""
    torch.cuda.synchronize()
    try:
        _mode("error")
        yield
    finally:
        _mode("default")


def capture(graph: torch.cuda.CUDAGraph, **options):
    """`torch.cuda.graph`, after which a replay fails if what the graph reads has been freed, where torch can tell."""
    if "check_input_liveness" in inspect.signature(_graph).parameters:
        options["check_input_liveness"] = True
    return _graph(graph, **options)


def forget() -> None:
    """Give back what earlier tests have left on the GPU, and measure its peak anew."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
