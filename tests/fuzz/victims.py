"""Processes that are killed while they write: ``python tests/fuzz/victims.py record|train FOLDER SEED KILLS``.

A parent that has only imported things forks one child after the other, so that a death costs milliseconds. A child dies in one of
two ways: at a random moment, or shortly after its n-th operation on a file, which hits creation, snapshots, checkpoints and the
renaming between them however short they are.
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

    with Recorder(path, np.arange(N) % K, [5, 4, 3, 2, 1], "abcde", resume=True) as recorder:
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


def doom(folder: str, operation: int, delay: float) -> None:
    """Kill this process `delay` seconds after its `operation`-th operation on a file below `folder`."""
    count = iter(range(1, operation + 1))

    def watch(event, arguments):
        if event in OPERATIONS and str(arguments[0]).startswith(folder) and next(count, None) == operation:
            if delay:
                threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def main(what: str, folder: str, seed: int, kills: int) -> None:
    """Kill and start again until it was killed often enough, then let it end; prints how often it was killed and lived."""
    import sklearn.datasets  # noqa: F401
    import torch

    import pldebias.runs.recorder
    import pldebias.training.train  # noqa: F401

    torch.set_num_threads(1)
    draw, killed, lived, start = random.Random(seed), 0, 0, time.monotonic()
    while killed < kills or lived == 0:
        target = f"{folder}/{killed + lived}" if what == "record" else folder
        mode = draw.choice(("operation", "operation", "moment")) if killed < kills else None
        child = os.fork()
        if child == 0:
            if mode == "operation":
                doom(folder, draw.randint(1, 260 if what == "record" else 160), draw.choice((0.0, draw.random() * 0.003)))
            try:
                if what == "record":
                    record(target, 40)
                else:
                    train(target)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                os._exit(1)
            os._exit(0)
        if mode == "moment":
            time.sleep(draw.random() * (0.4 if what == "record" else 3.0))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
        elif os.WEXITSTATUS(status):
            raise SystemExit(1)
        else:
            lived += 1
            if what == "train" and killed < kills:  # finished before it was killed often enough: once more from the start
                os.rename(target, f"{target}.{lived}")
    print(json.dumps({"killed": killed, "finished": lived, "seconds": round(time.monotonic() - start, 1)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
