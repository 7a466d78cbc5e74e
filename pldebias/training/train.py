"""`train`: from a method and a preset to a finished, resumable run."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import threading
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pldebias import __version__
from pldebias.data import DataError, SplitSpec, build
from pldebias.data.sources import KNOWN
from pldebias.hardware import processor
from pldebias.methods import LEARNERS, SCHEMES, MethodError, build_method, check_options, parse, slug
from pldebias.nets import NETWORKS
from pldebias.paths import local, portable
from pldebias.presets import PRESETS, Config, ConfigError, as_dict, resolve
from pldebias.progress import bar
from pldebias.registry import load_plugins, missing_plugins, provenance
from pldebias.runs import Recorder, Run, RunError, open_run
from pldebias.settings import plain
from pldebias.training import checkpoints
from pldebias.training.device import machine, pick_device
from pldebias.training.failures import explained, kind
from pldebias.training.loop import fit, snapshot_epochs
from pldebias.training.program import refusal
from pldebias.training.state import MACHINE, TrainingState, differences, identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pldebias.data import Dataset
    from pldebias.methods import Method, MethodSpec


def run_folder(method: str | MethodSpec, data: str, seed: int, out: str | Path = "runs") -> Path:
    """Folder of a run: ``out/<data>/<method>/s<seed>``."""
    return local(out) / portable(re.sub(r"[^A-Za-z0-9.-]+", "_", data).strip("_")) / slug(method) / f"s{seed}"


def configure(method: str | MethodSpec, data: str = "glyphs-lt", seed: int = 0, **overrides: Any) -> tuple[Config, Method]:
    """The full configuration of a training and its method, built but not set up.

    Arguments as in `train`. What a method's schemes need of the data (a hold-out, say) is added, and refused where it contradicts
    an override. Its plugins are loaded, and those of everything that it uses are named in its ``plugins``.
    """
    if isinstance(overrides.get("plugins"), str | os.PathLike):
        overrides["plugins"] = (overrides["plugins"],)
    load_plugins(Config(plugins=overrides.get("plugins") or ()).plugins)
    spec = parse(method)
    learner = spec.learner.name
    config = resolve(str(spec), data, seed, learner, **overrides)
    for name, values in (overrides.get("options") or {}).items():
        check_options(name, values)
    built = build_method(spec, config.options)
    for name, value in built.needs.items():
        if overrides.get(name) not in (None, value):
            raise ConfigError(f"{method} needs {name}={value!r}, but {name}={overrides[name]!r} was asked for; drop one of them")
        config = replace(config, **{name: value})
    if built.learner.requires_init and not config.init:
        raise ConfigError(f"{learner} goes on from a finished run: give its folder as init=, such as runs/{data}/fixmatch/s{seed}")
    if config.network not in NETWORKS:
        raise ConfigError(NETWORKS.unknown(config.network))
    parts = {part.name for part in spec}
    tables = (
        (LEARNERS, parts),
        (SCHEMES, parts),
        (NETWORKS, (config.network,)),
        (KNOWN, (config.source, config.distractors)),
        (PRESETS, (data,)),
    )
    used = (table.origins[name] for table, names in tables for name in sorted(table.origins.keys() & set(names)))
    return replace(
        config,
        method=built.spelling,
        options={k: v for k, v in config.options.items() if k in parts},
        plugins=tuple(dict.fromkeys((*config.plugins, *used))),
    ), built


def flag(name: str, value: Any) -> bool:
    """`value`, which is a truth value; "no" is none, and would count as true."""
    if not isinstance(value := plain(value), bool):
        raise ConfigError(f"{name}={value!r}: give True or False")
    return value


def make_dataset(config: Config, progress: bool = False) -> Dataset:
    """The data set that a configuration describes."""
    return build(SplitSpec(**{f.name: getattr(config, f.name) for f in fields(SplitSpec)}), config.seed, progress=progress)


def source_hash() -> str:
    """SHA-256 of the package's own source files, kept with every run."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def interruptible(*signals: signal.Signals) -> Iterator[None]:
    """These signals, SIGTERM if none is named, end what runs inside as Ctrl-C does, so that it closes its files.

    Signals reach the main thread alone; in another nothing is set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, signal.default_int_handler) for number in signals or (signal.SIGTERM,)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _attributes(config: Config, device: torch.device, fingerprint: str) -> dict[str, Any]:
    settings = as_dict(config)
    return {
        "method": config.method,
        "data": config.data,
        "seed": config.seed,
        "fingerprint": fingerprint,
        "config": {name: value for name, value in identity(config, fingerprint).items() if name != "fingerprint"},
        "defaults": resolve(config.method, config.data).options,  # of the preset's other methods: what-if takes them
        "machine": {
            **{name: settings[name] for name in MACHINE if name != "plugins"},
            "name": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
            "device": str(device),
        },
        "versions": {"pldebias": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "source_hash": source_hash(),
        "plugins": provenance(config.plugins),
    }


def train(
    method: str | MethodSpec,
    data: str = "glyphs-lt",
    seed: int = 0,
    *,
    out: str | Path = "runs",
    overwrite: bool = False,
    progress: bool = True,
    **overrides: Any,
) -> Run:
    """Train a method, record every epoch, and return the run.

    A finished run is returned as it is; an unfinished one (interrupted, killed) goes on from its last checkpoint, on a CPU exactly
    as if it had never stopped.

    Parameters
    ----------
    method : str or MethodSpec
        A learner and schemes, such as ``"fixmatch+la+daso(T=0.3)"``.
    data : str, default "glyphs-lt"
        Name of a preset, or a source such as ``"parquet:PATH"``.
    seed : int, default 0
        Of the split, the network, sampling and augmentation (each has a generator of its own).
    out : path, default "runs"
        Folder under which the run gets ``<data>/<method>/s<seed>``.
    overwrite : bool, default False
        Delete a run that lies there and start anew.
    progress : bool, default True
        Show a progress bar with rate, remaining time, mask rate and balanced accuracy; where standard error is a file or a pipe,
        write a line an epoch instead.
    **overrides
        Any field of `Config`, such as ``steps=2000, gamma_u=1, device="cuda"``; None leaves the preset's value. ``plugins`` names the files
        and modules that register a method, network or data set of your own (`pldebias.register`).

    Returns
    -------
    Run

    Raises
    ------
    MethodError, ConfigError, DataError, PluginError
        Something asked for is unknown or impossible, or a plugin cannot be loaded; raised before training starts.
    RunError
        The folder holds another run, or cannot be written.
    TrainingError
        A loss stopped being finite, memory ran out, or the device failed; the message says what to change, or how to go on.
    """
    if not isinstance(out, str | os.PathLike):
        raise ConfigError(f"out={out!r}: give a folder")
    overwrite, progress = flag("overwrite", overwrite), flag("progress", progress)
    with plugins_named(method, data, seed, out):
        config, built = configure(method, data, seed, **overrides)
    folder = run_folder(built.spec, data, seed, out)
    device, precision = pick_device(config.device, config.precision)
    config = replace(config, precision=precision)
    refusal(config, built, device)  # graph=True that cannot be is refused here
    saved = checkpoints.folder_of(folder)
    if overwrite and ((folder / "zarr.json").exists() or not folder.exists()):
        for old in (saved, folder):
            if old.exists():
                shutil.rmtree(old)
    elif saved.exists() and not folder.exists():
        raise RunError(f"{saved} holds checkpoints of a run that is gone; move them beside that run, delete them, or give overwrite=True")
    dataset = make_dataset(config, progress)
    attributes = _attributes(config, device, dataset.fingerprint)
    if _finished(folder, attributes):
        return open_run(folder)
    with machine(config, device), interruptible():
        with explained(config, device, folder):
            state = _state(config, built, dataset, device)
        recorder = Recorder(
            folder,
            dataset.unlabelled.labels,
            dataset.labelled_counts,
            dataset.class_names,
            num_epochs=config.epochs,
            attrs=attributes,
            device=device,
            num_features=state.problem.feature_dim,
            snapshots=snapshot_epochs(config.epochs, config.snapshots),
            resume=folder.exists(),
        )
        with recorder:
            with explained(config, device, folder):
                _go_on(state, recorder, checkpoints.folder_of(folder))
            shown = bar(total=config.steps, initial=state.done, desc=f"{built.spelling} s{seed}", unit=" steps", disable=not progress)
            with shown, explained(config, device, folder, lambda: state.done):
                fit(state, recorder, checkpoints.folder_of(folder), shown)
    return open_run(folder)


@contextmanager
def plugins_named(*place: Any) -> Iterator[None]:
    """What is raised about an unknown name also says which plugins the run that lies there was trained with."""
    try:
        yield
    except (MethodError, ConfigError) as error:
        try:
            hint = missing_plugins(open_run(run_folder(*place)).attrs)
        except (ValueError, OSError):  # there is no run, or no name for one
            hint = ""
        if not hint:
            raise
        raise type(error)(f"{error}{hint}") from error


def _state(config: Config, built: Method, dataset: Dataset, device: torch.device) -> TrainingState:
    """A fresh state; a value that a network, an optimiser or a policy refuses is a setting that was refused."""
    try:
        state = TrainingState(config, built, dataset, device)
    except (ConfigError, MethodError, DataError):
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
    channels, size = dataset.image_shape[0], config.view_size or dataset.image_shape[-1]
    try:
        with torch.no_grad():
            state.ema.teacher.eval()(torch.zeros(2, channels, size, size, device=device))
    except RuntimeError as error:  # too small to be pooled, say
        if kind(error):
            raise
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"network={config.network!r} cannot take images of {channels} x {size} x {size} ({reason})") from error
    state.ema.resume_mode()
    return state


def _go_on(state: TrainingState, recorder: Recorder, folder: Path) -> None:
    """Restore the newest checkpoint that the log reaches up to, and take the log back to it."""
    steps = state.config.steps_per_epoch
    ahead: dict[str, Any] | None = None
    found = False
    for saved in checkpoints.readable(folder):
        epoch, found = saved["done"] // steps, True
        if epoch <= recorder.epoch:
            break
        # An epoch before it is damaged: an older checkpoint records it once more; without one it stays out.
        ahead = saved if ahead is None and epoch <= recorder.end else ahead
    else:
        saved = ahead
    if saved is not None:
        state.restore(saved, folder)
    elif found or recorder.end > 1:  # with one epoch and none, the process died before its first checkpoint
        reason = "those in it are of later epochs" if found else "there is none that can be read"
        raise RunError(
            f"{recorder.path} holds {recorder.end} epochs, but no checkpoint in {folder} to go on from: {reason}. "
            "Choose another out= to keep what it logged, or overwrite=True to delete it and train anew"
        )
    recorder.rewind(state.done // steps)


def _finished(folder: Path, attributes: dict[str, Any]) -> bool:
    """Whether the run at `folder` is this one and complete; another one there is refused."""
    if not (folder / "zarr.json").exists():
        return False
    run = open_run(folder)
    ours = {**attributes["config"], "fingerprint": attributes["fingerprint"]}
    if different := differences({**run.config, "fingerprint": run.fingerprint}, ours):
        raise RunError(f"{folder} already holds another run: {different}. Choose another out=, or overwrite=True to delete it")
    # Ended between its last epoch and its last checkpoint, it has every epoch, but not the network that a second stage starts from.
    done = checkpoints.steps(checkpoints.folder_of(folder))
    return run.finished and (done is None or done >= attributes["config"]["steps"])
