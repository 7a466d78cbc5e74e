"""`explore`: scrub through a training and see where its pseudo-labels go."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import traitlets

from pldebias.metrics import groups as grouped
from pldebias.settings import argument, plain, some_of
from pldebias.widgets.base import View
from pldebias.widgets.module import module, style
from pldebias.widgets.payload import CELLS, KINDS, METRICS, ORDERS, SPLITS, check_comparable, pack

__all__ = ["Explorer", "explore"]

SCALES = ("linear", "sqrt", "log")
MOST_RUNS = 12  # all are sent; more are a table's business


def _open(run):
    if isinstance(run, (str, os.PathLike)):
        from pldebias.runs import open_run

        return open_run(run)
    if not hasattr(run, "epochs"):
        hint = "; give each run by itself, as in explore(a, b)" if isinstance(run, list | tuple | dict) else ""
        raise ValueError(f"explore takes runs or their paths; got {str(run)[:80]!r} ({type(run).__name__}){hint}")
    return run


class Explorer(View):
    """Carpet, confusion matrix, curves and samples of one run, or of two, at any epoch.

    All epochs of all runs are sent once; scrubbing, playing, comparing and switching views happen in the browser and go on while the
    kernel is busy. The kernel hears of changes at most every 100 ms and always of the last one, so ``view.epoch`` can be observed; it is
    asked only for the samples behind a cell.

    Parameters
    ----------
    *runs : Run, str or PathLike
        What to show, up to 12; a path or URL is opened with `pldebias.open_run`. The first two are shown beside each other, others can
        be chosen in the view. The class lists, their head-to-tail order and the true unlabelled labels must agree.
    kinds : str or sequence of str
        Kinds to send, of ``"visits"``, ``"sweep"``, ``"test"``. ``("test",)`` compares runs with different unlabelled sets.
    groups : "tertiles" or (int, int)
        Rule for head, medium and tail, as in `pldebias.metrics.groups`.
    epoch : int
        A recorded epoch (0-based, as in ``run.epochs``); -1, the default, is the last.
    run_a, run_b : int
        Numbers of the runs on show; ``run_b=-1`` shows run A alone.
    difference : bool
        Show A - B, in points, in place of both; pale where the 95 % interval (Newcombe, as for independent samples) holds zero.
    kind : {"sweep", "visits", "test"}
        What the matrices count; by default the first of these that every run recorded.
    split : {"all", "accepted", "rejected"}
    metric : {"recall", "precision", "ratio"}
        Of the carpet; ``"ratio"`` is log2(pseudo-labels given / true count).
    normalize : {"true", "pred", "all", "prior", None}
        Of the matrix, in scikit-learn's words; ``"prior"`` is log2(count / count expected from the margins), None shows counts.
    scale : {"linear", "sqrt", "log"}
        Of the matrix colours; by default linear up to 30 classes and sqrt above, where 1 % is else invisible.
    order : {"labelled", "true", "class", "recall", "similar"}
        Of rows and columns: by labelled count (head to tail), true unlabelled count, class number, recall at the last epoch, or so that
        classes confused with each other stand together (reverse Cuthill-McKee). It never changes while epochs pass.
    collapse : bool
        Head, medium and tail as one row each.
    cell : list of int
        ``[true class, label]`` whose numbers, curves and samples are told; empty for none.
    mute : bool
        Leave the diagonal out of the colours.
    range : list of int
        First and last epoch that play runs through; empty for all.
    speed : int
        Epochs per second of the play button: 1, 2, 5, 10 or 30.
    link : str
        Views on one page with this name share the epoch, the cell and chosen samples, also without a kernel.

    Attributes
    ----------
    state : dict
        ``Explorer(*runs, **view.state)`` reproduces the view.

    Raises
    ------
    ValueError
        Runs that cannot be compared, or a choice that the runs do not offer; the message says what they do.
    """

    _esm = module("explorer")
    _css = style("explorer")
    STATE = (
        *("epoch", "run_a", "run_b", "difference", "kind", "split", "metric", "normalize", "scale", "order", "collapse", "cell", "mute"),
        *("range", "speed", "link"),
    )

    epoch = traitlets.Int().tag(sync=True)
    kind = traitlets.Enum(tuple(KINDS), default_value="sweep").tag(sync=True)
    split = traitlets.Enum(tuple(SPLITS), default_value="all").tag(sync=True)
    metric = traitlets.Enum(tuple(METRICS), default_value="recall").tag(sync=True)
    normalize = traitlets.Enum(tuple(CELLS), default_value="true", allow_none=True).tag(sync=True)
    scale = traitlets.Enum(SCALES, default_value="linear").tag(sync=True)
    run_a = traitlets.Int(0).tag(sync=True)
    run_b = traitlets.Int(-1).tag(sync=True)
    difference = traitlets.Bool(False).tag(sync=True)
    order = traitlets.Enum(tuple(ORDERS), default_value="labelled").tag(sync=True)
    collapse = traitlets.Bool(False).tag(sync=True)
    range = traitlets.List(traitlets.Int()).tag(sync=True)

    mute = traitlets.Bool(False).tag(sync=True)
    speed = traitlets.Enum((1, 2, 5, 10, 30), default_value=10).tag(sync=True)

    _enough: threading.Event | None = None  # set when nothing is to be followed any more

    def __init__(self, *runs, kinds=tuple(KINDS), groups="tertiles", **state):
        kinds = some_of("kinds", kinds, KINDS)
        self._check_names(state)
        runs = tuple(_open(run) for run in runs if run is not None)
        if not 1 <= len(runs) <= MOST_RUNS:
            raise ValueError(f"an explorer shows 1 to {MOST_RUNS} runs; got {len(runs)}. pld.table compares any number")
        self.runs, self._histories = runs, {}
        grouped(runs[0].labelled_counts, groups)  # which refuses what is no rule
        self.kinds, self.groups = kinds, groups if isinstance(groups, str) else tuple(plain(groups))
        for other in runs[1:]:
            check_comparable(runs[0], other, kinds)
        meta, data = self._pack()
        defaults = {
            "epoch": -1,
            "scale": "sqrt" if len(meta["classes"]) > 30 else "linear",
            "run_a": 0,
            "run_b": 1 if len(runs) > 1 else -1,
        }
        state = defaults | {name: self._plain(name, value) for name, value in state.items()}
        for name in ("run_a", "run_b"):
            self._check_number(name, state[name])
        shown = [meta["runs"][r] for r in (state["run_a"], state["run_b"]) if r >= 0]
        offered = [kind for kind in ("sweep", "visits", "test") if all(kind in r["blocks"] for r in shown)]
        if not offered:
            reasons = "; ".join(sorted({reason for r in shown for kind, reason in r["missing"].items() if kind in KINDS}))
            raise ValueError(f"nothing to show: {reasons}")
        state = {"kind": offered[0], **state}
        super().__init__(meta=meta, data=data, **{key: value for key, value in state.items() if key != "epoch"})
        self.epoch = state["epoch"]
        self.on_msg(self._answer)

    def _answer(self, _, question, __) -> None:
        """Samples behind a cell, for the view; whatever goes wrong is told there, since an error in a comm is shown nowhere."""
        from pldebias.widgets.followed import followed

        if question.get("type") != "samples":
            return
        number = question["run"]
        try:
            wanted = {key: question[key] for key in ("kind", "split", "cell", "ids")}
            reply, buffers = followed(self.runs[number], self._history(number), question["epoch"], **wanted)
        except (LookupError, OSError, ValueError) as error:
            reply, buffers = (
                {"ids": [], "epochs": [], "tile": [0, 0], "title": "", "problem": f"The samples could not be read: {error}"},
                [b""] * 3,
            )
        self.send({"request": question["request"], **reply}, buffers)

    def _history(self, number: int):
        """Epochs, labels and acceptance of every unlabelled sample of a run, read once."""
        if number not in self._histories:
            run = self.runs[number]
            epochs = run.logged("history")
            self._histories[number] = (epochs, *(run.history(epochs) if len(epochs) else (None, None)))
        return self._histories[number]

    def _pack(self) -> tuple[dict, bytes]:
        if not all(len(run.epochs) for run in self.runs):
            raise ValueError(f"{', '.join(r.name for r in self.runs if not len(r.epochs))} has no finished epoch yet; wait for its first")
        return pack(self.runs, self.kinds, self.groups)

    @property
    def epochs(self) -> list[int]:
        """Recorded epochs of all runs shown, ascending; with those where others stand beside the first run."""
        found = {epoch for run in self.meta["runs"] for name in ("epochs", "places") for epoch in run[name]}
        return sorted(found - {None})

    @property
    def state(self) -> dict:
        """Keyword arguments that reproduce the view."""
        return super().state | {"kinds": self.kinds, "groups": self.groups}

    @traitlets.validate("epoch")
    def _check_epoch(self, proposal):
        epochs = self.epochs
        epoch = epochs[-1] if proposal.value == -1 else proposal.value
        if epoch not in epochs:
            raise ValueError(f"epoch {epoch} was not recorded; there are {len(epochs)}, {epochs[0]} to {epochs[-1]}, and -1 is the last")
        return epoch

    @property
    def shown(self) -> list[int]:
        """Numbers, in `runs`, of A and of B if there is one."""
        return [self.run_a] if self.run_b in (-1, self.run_a) else [self.run_a, self.run_b]

    @traitlets.validate("run_a", "run_b")
    def _check_run(self, proposal):
        self._check_number(proposal.trait.name, proposal.value)
        return proposal.value

    def _check_number(self, name: str, value: int) -> None:
        least, last = (0, len(self.runs) - 1) if name == "run_a" else (-1, len(self.runs) - 1)
        if not least <= value <= last:
            raise ValueError(f"{name} is the number of a run, {least} to {last}{'' if least == 0 else ' (-1: none)'}; got {value}")

    @traitlets.validate("range")
    def _check_range(self, proposal):
        ends = list(proposal.value)
        if ends and (len(ends) != 2 or not set(ends) <= set(self.epochs) or ends[0] >= ends[1]):
            raise ValueError(f"range is [first, last] of recorded epochs ({self.epochs[0]} to {self.epochs[-1]}), or empty; got {ends}")
        return ends

    @traitlets.validate("kind", "split")
    def _check_choice(self, proposal):
        kind, split = (proposal.value if proposal.trait.name == name else getattr(self, name) for name in ("kind", "split"))
        if proposal.trait.name == "kind":
            for number in self.shown:
                run = self.meta["runs"][number]
                if kind not in run["blocks"]:
                    raise ValueError(f"kind {kind!r} cannot be shown: {run['missing'][kind]}")
        elif kind == "test" and split != "all":
            raise ValueError(f"split {split!r} needs a threshold; kind 'test' only has split 'all'")
        return proposal.value

    def refresh(self) -> None:
        """Read the runs again, so that a training under way can be followed."""
        follow = self.epoch == self.epochs[-1]
        self.runs = tuple(_open(run.path) for run in self.runs)
        self._histories.clear()
        meta, data = self._pack()
        with self.hold_sync():
            self.data, self.meta = data, meta
            if follow:
                self.epoch = -1

    def follow(self, every: float = 5.0) -> Explorer:
        """Read runs that are still being written again and again, in the background, until each has ended or `unfollow` is called.

        Parameters
        ----------
        every : float
            Seconds between two looks. A view that stands at the last epoch goes on with it; one that was scrubbed back stays.

        Returns
        -------
        Explorer
            Itself.
        """
        if (every := argument("every", every, float)) <= 0:
            raise ValueError(f"every is a number of seconds above 0; got {every}")
        self.unfollow()
        enough = self._enough = threading.Event()

        def look() -> None:
            while not enough.wait(every):
                self.refresh()
                if all(run.finished for run in self.runs):
                    return

        threading.Thread(target=look, name="pldebias-follow", daemon=True).start()
        return self

    def unfollow(self) -> None:
        """Stop following."""
        if self._enough is not None:
            self._enough.set()

    def close(self) -> None:
        self.unfollow()
        super().close()

    def figure(self):
        """Carpet and matrix of each run at the current state, as a matplotlib figure."""
        from matplotlib.figure import Figure

        from pldebias.plots import carpet, confusion

        runs = [self.runs[number] for number in self.shown]
        figure = Figure(figsize=(10, 4.3 * len(runs)), layout="constrained")
        rows = figure.subplots(len(runs), 2, width_ratios=(1.15, 1), squeeze=False)
        shared = {"kind": self.kind, "split": self.split, "groups": self.groups}
        for letter, number, run, (left, right) in zip("AB", self.shown, runs, rows, strict=False):
            # As in the widget, a run without this epoch shows the last one before it.
            told = self.meta["runs"][number]
            pairs = zip(told["places" if len(runs) > 1 else "epochs"], told["epochs"], strict=True)
            before = ((place, own) for place, own in pairs if place is not None and place <= self.epoch)
            epoch = max(before, default=(0, told["epochs"][0]))[1]
            name = f"{letter}  {run.name}" if len(runs) > 1 else run.name
            carpet(run, metric=self.metric, epoch=epoch, ax=left, title=f"{name}: {self.kind}, {self.split}", **shared)
            confusion(run, epoch=epoch, normalize=self.normalize, scale=self.scale, ax=right, title=f"epoch {epoch}", **shared)
        return figure

    def piece(self, still: bool = True, samples: bool | str = "auto", kinds="auto"):
        """The explorer in its current state, for a page; with a still image for readers without scripts, and the rest as in `to_html`."""
        from pldebias.widgets.static import piece

        return piece(self, still, samples, kinds)

    def _height(self) -> int:
        return 1220 if len(self.shown) == 1 or self.difference else 1500

    def to_html(self, path, theme: str = "auto", samples: bool | str = "auto", kinds="auto") -> Path:
        """Write a page that scrubs, plays, compares and shows samples on its own, without kernel or network.

        Parameters
        ----------
        path : str or PathLike
        theme : {"auto", "light", "dark"}
            ``"auto"`` follows the reader's system.
        samples : bool or "auto"
            Carry the label of every unlabelled sample at every epoch, and pictures of tail samples, so that a cell can be opened; "auto"
            where that takes less than 0.6 MB a run.
        kinds : str or sequence of str
            What to carry of the view's kinds; "auto" is all, or that on show alone where all take more than 1.5 MB.

        Returns
        -------
        Path
            Of the file.
        """
        return self._write(path, self.piece(samples=samples, kinds=kinds), theme=theme)

    def __repr__(self) -> str:
        return f"Explorer({', '.join(self.runs[number].name for number in self.shown)}; epoch {self.epoch}, {self.kind}, {self.split})"


def explore(*runs, **options) -> Explorer:
    """Scrub through a training: see `Explorer` for all options.

    Examples
    --------
    >>> view = pld.explore(run)  # doctest: +SKIP
    >>> view = pld.explore(fixmatch, daso, kind="sweep", split="accepted")  # doctest: +SKIP
    >>> view.to_html("drift.html")  # doctest: +SKIP
    """
    return Explorer(*runs, **options)
