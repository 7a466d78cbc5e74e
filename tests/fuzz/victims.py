"""Processes that are killed while they work: ``python tests/fuzz/victims.py record|train|export FOLDER SEED KILLS``.

A parent that has only imported things forks one child after the other, so that a death costs milliseconds. A child dies at a random
moment, or shortly after its n-th operation on a file, which hits creation, snapshots, checkpoints and the renaming between them however
short they are. One of three signals takes it: SIGKILL mostly, else SIGTERM (what a queue sends when time is up) or SIGINT (Ctrl-C).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time

import numpy as np

N, K = 3000, 5
OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.listdir", "shutil.rmtree")
TRAINING = {"steps": 24, "steps_per_epoch": 4, "snapshots": 3, "progress": False, "threads": 1}


def label(epoch: int) -> np.ndarray:
    return (np.arange(N) * 7 + epoch) % K


def record(path: str, epochs: int) -> None:
    """Record epochs whose content follows from their number."""
    from pldebias.runs import Recorder

    with Recorder(path, np.arange(N) % K, [5, 4, 3, 2, 1], [*"abcde"], resume=True) as recorder:
        while recorder.epoch < epochs:
            e = recorder.epoch
            logits = np.full((N, K), e % 1000, np.float32)
            recorder.update(np.arange(N), label(e), label(e) > 1)
            recorder.end_epoch(
                iteration=e,
                scalars={"e": e} | ({"late": e} if e > 2 else {}),  # a column that turns up later rewrites the metadata
                sweep=(label(e), label(e) > 1),
                series={"s/e": [e] * K},
                **({"logits": logits, "features": logits, "snapshot": {"s/state": logits[:K]}} if e % 2 else {}),
            )
            if e % 3 == 0:
                recorder.flush()


def train(out: str) -> None:
    """A training of six epochs with three snapshots and a checkpoint an epoch."""
    import pldebias

    pldebias.train("fixmatch+daso(start=8)", "digits-lt", out=out, **TRAINING)


def export(root: str) -> None:
    """List the runs below `root`, and write one as a netCDF file."""
    from pldebias.runs import catalogue, open_run

    (path,) = catalogue(f"{root}/runs").path
    open_run(path).to_netcdf(f"{root}/run.nc")


def doom(folder: str, operation: int, delay: float, by: signal.Signals) -> None:
    """Send this process a signal `delay` seconds after its `operation`-th operation on a file below `folder`."""
    count = iter(range(1, operation + 1))

    def watch(event, arguments):
        if event in OPERATIONS and str(arguments[0]).startswith(folder) and next(count, None) == operation:
            if delay:
                threading.Timer(delay, os.kill, (os.getpid(), by)).start()
            else:
                os.kill(os.getpid(), by)

    sys.addaudithook(watch)


WORK = {"record": lambda target: record(target, 40), "train": train, "export": export}
LONGEST = {"record": 260, "train": 160, "export": 75}
"""Operations on files, at most, before which a victim of each kind is killed."""
SECONDS = {"record": 0.4, "train": 3.0, "export": 0.5}
"""And the time."""


def main(what: str, folder: str, seed: int, kills: int) -> None:
    """Kill and start again until it was killed often enough, then let it end; prints how often each signal ended it and it lived."""
    import sklearn.datasets  # noqa: F401 - imported before the first kill
    import torch

    import pldebias.runs.recorder
    import pldebias.training.train  # noqa: F401 - likewise

    torch.set_num_threads(1)
    draw, killed, lived, ended, start = random.Random(seed), 0, 0, {}, time.monotonic()
    while True:
        target = f"{folder}/{killed + lived}" if what == "record" else folder
        mode = draw.choice(("operation", "operation", "moment")) if killed < kills else None
        by = draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM))
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if mode == "operation":
                doom(folder, draw.randint(1, LONGEST[what]), draw.choice((0.0, draw.random() * 0.003)), by)
            try:
                WORK[what](target)
            except KeyboardInterrupt:
                os._exit(130)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                os._exit(1)
            os._exit(0)
        if mode == "moment":
            time.sleep(draw.random() * SECONDS[what])
            os.kill(child, by)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            lived += 1
            if mode is None:
                break
            if what == "train":  # finished before it was killed often enough: once more from the start
                os.rename(target, f"{target}.{lived}")
        elif status == 130 or status < 0:
            killed += 1
            how = "interrupted" if status == 130 else signal.Signals(-status).name
            ended[how] = ended.get(how, 0) + 1
        else:
            raise SystemExit(1)
        if what == "export":
            whole(folder)
    print(json.dumps({"killed": killed, **ended, "finished": lived, "seconds": round(time.monotonic() - start, 1)}))


def whole(root: str) -> None:
    """What was exported is there whole or not at all."""
    import xarray

    path = f"{root}/run.nc"
    if os.path.exists(path):
        with xarray.open_dataset(path, engine="scipy") as data:
            assert data.load().sizes["epoch"] == 4
        os.remove(path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
