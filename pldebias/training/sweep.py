"""Several runs at once: an idempotent list of trainings, spread over processes."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from itertools import product
from typing import Any

import torch

from pldebias import paths
from pldebias.methods import MethodSpec, parse
from pldebias.presets import ConfigError
from pldebias.progress import bar
from pldebias.registry import SESSION
from pldebias.runs import Run, open_run
from pldebias.settings import plain
from pldebias.training.failures import TrainingError
from pldebias.training.train import configure, flag, interruptible, plugins_named, train

_STOP = (signal.SIGINT, signal.SIGTERM)
MOST_WORKERS = 60
"""Windows waits for 63 handles at most, of which the pool has some of its own."""

LAST_WORDS = 60.0
"""Seconds that a worker has to close its run once its parent is gone, on Windows."""

_BROKEN = (
    "a process of the sweep ended without a word. With jobs above 1 every process reads the script that started it anew: put the call "
    'under if __name__ == "__main__": in a file (no text piped into Python). If it stands there, memory ran out: lower jobs. What was '
    "finished is kept, and the same call goes on from there"
)


def _work(job: dict[str, Any]) -> str:
    try:
        with interruptible(*_STOP):
            return str(train(**job).path)
    finally:
        if not _parent().is_alive():
            os._exit(130)  # nobody asks for more, and waiting for it would never end


def _parent() -> Any:
    return multiprocessing.parent_process()


def _follow() -> None:
    """In a worker: end as by Ctrl-C when the parent is gone, however it went; a training that goes on alone would keep its lock.

    Signals end a training (`interruptible`). A worker that has none waits in the queue of jobs, whose lock would die with it and hold up
    the others for ever: it is told to end by the queue.
    """

    def idle(*_: Any) -> None:
        if not _parent().is_alive():
            os._exit(130)

    for number in _STOP:
        signal.signal(number, idle)

    def wait() -> None:
        _parent().join()
        if paths.WINDOWS:  # where os.kill ends the process at once, and a signal does not wake one that waits
            signal.raise_signal(signal.SIGTERM)
            time.sleep(LAST_WORDS)
            os._exit(130)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _listed(name: str, value: Any) -> list:
    """One value is a list of one."""
    if isinstance(value, MethodSpec):
        return [value]
    value = value if isinstance(value, list | tuple) else plain(value)
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [value]
    if listed := [one if isinstance(one, MethodSpec) else plain(one) for one in value]:
        return listed
    raise ConfigError(f"{name}={value!r} is empty: give at least one")


def sweep(
    methods: str | MethodSpec | Sequence[str | MethodSpec],
    data: str = "glyphs-lt",
    seeds: int | Sequence[int] = (0,),
    *,
    jobs: int = 1,
    progress: bool = True,
    **options: Any,
) -> list[Run]:
    """Train every method with every seed; finished runs are kept, unfinished ones resumed.

    Parameters
    ----------
    methods : str, MethodSpec or a sequence of them
    data : str, default "glyphs-lt"
    seeds : int or sequence of int, default (0,)
    jobs : int, default 1
        Processes at once, which share the cores: where neither preset nor options say ``threads``, each gets its part of those that torch
        would use. As many jobs as cores, with one thread each, get through a list fastest (docs/speed.md).
    progress : bool, default True
        With one job every run shows its own bar; with more, one bar counts runs.
    **options
        Passed to `train`.

    Returns
    -------
    list of Run
        In the order of ``methods`` x ``seeds``.

    Raises
    ------
    MethodError, ConfigError
        Before any training starts, if one of the methods or settings is not possible.
    TrainingError
        As in `train`, or a process ended without a word: the system ran out of memory, or a script calls this outside
        ``if __name__ == "__main__":``.
    """
    progress = flag("progress", progress)
    jobs, methods, seeds = plain(jobs), [parse(method) for method in _listed("methods", methods)], _listed("seeds", seeds)
    if not isinstance(jobs, int) or jobs < 1:
        raise ConfigError(f"jobs={jobs!r} must be a whole number of at least 1: the number of processes that train at once")
    if "seed" in options:
        raise ConfigError(f"seed={options['seed']!r}: a sweep takes seeds=, one or a list")
    settings = {name: value for name, value in options.items() if name not in ("out", "overwrite")}
    configs = []
    for method, seed in product(methods, seeds):
        with plugins_named(method, data, seed, options.get("out", "runs")):
            configs.append(configure(method, data, seed, **settings)[0])
    wanted = list(product(methods, (config.seed for config in configs[: len(seeds)])))
    every = dict(zip(wanted, configs, strict=True))  # one that is named twice is trained once
    workers = max(1, min(jobs, len(every), os.cpu_count() or 1, MOST_WORKERS))
    part = max(1, torch.get_num_threads() // workers)
    threads = [{} if config.threads or workers == 1 else {"threads": part} for config in every.values()]
    work = [{"method": m, "data": data, "seed": s, "progress": progress, **options, **t} for (m, s), t in zip(every, threads, strict=True)]
    plugins = tuple(dict.fromkeys(plugin for config in configs for plugin in config.plugins))
    if workers == 1:
        made = dict(zip(every, [train(**job) for job in work], strict=True))
        return [made[one] for one in wanted]
    if SESSION in plugins:
        raise ConfigError(
            "a sweep with jobs above 1 trains in processes of its own, which know no class of a notebook: write it into a file and give "
            "plugins=['that_file.py'], or take jobs=1"
        )
    work = [{**job, "progress": False, "plugins": plugins} for job in work]
    places: dict[int, str] = {}
    # A fresh interpreter per worker: forking a process that has used torch's thread pool can hang.
    others = set(multiprocessing.active_children())
    with interruptible(), concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _follow) as pool:
        futures = {pool.submit(_work, job): i for i, job in enumerate(work)}
        try:
            ended = concurrent.futures.as_completed(futures)
            shown = bar(ended, total=len(work), desc=f"{data}: runs", unit=" runs", disable=not progress)
            for future in shown:
                places[futures[future]] = future.result()
                run = open_run(places[futures[future]])
                if progress and "balanced_accuracy" in run.scalars:  # a pre-training predicts nothing
                    shown.write(f"{run.name}: balanced accuracy {100 * run.scalars['balanced_accuracy'].iloc[-1]:.1f} %")
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, Exception):  # told to stop: each training closes its run and ends, instead of running to its end
                for worker in set(multiprocessing.active_children()) - others:
                    worker.terminate()
            if isinstance(error, BrokenProcessPool):
                raise TrainingError(_BROKEN) from error
            raise
    numbers = {one: i for i, one in enumerate(every)}
    return [open_run(places[numbers[one]]) for one in wanted]
