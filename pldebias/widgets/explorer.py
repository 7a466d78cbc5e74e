"""`explore`: scrub through a training and see where its pseudo-labels go."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import anywidget
import traitlets

from pldebias.widgets.payload import KINDS, SPLITS, check_comparable, pack

__all__ = ["Explorer", "explore"]

HERE = Path(__file__).parent
METRICS = ("recall", "precision", "ratio")
NORMALIZE = (None, "true", "pred", "all", "prior")
SCALES = ("linear", "sqrt", "log")
STATE = ("epoch", "kind", "split", "metric", "normalize", "scale", "cell", "swapped", "mute", "speed")


def _open(run):
    if isinstance(run, (str, os.PathLike)):
        from pldebias.runs import open_run

        return open_run(run)
    return run


class Explorer(anywidget.AnyWidget):
    """Carpet, confusion matrix and overview of one run or two, at any epoch.

    All epochs are sent once; scrubbing, playing and switching views happen in the browser and go on while the kernel is busy. The
    kernel hears of changes at most every 100 ms and always of the last one, so ``view.epoch`` can be observed.

    Parameters
    ----------
    run : Run, str or PathLike
        What to show; a path or URL is opened with `pldebias.open_run`.
    other : Run, str or PathLike, optional
        A second run, shown beside the first at the same epoch. The class lists, their head-to-tail order and the true unlabelled
        labels must agree.
    kinds : sequence of str
        Kinds to send, of ``"visits"``, ``"sweep"``, ``"test"``. ``("test",)`` compares runs with different unlabelled sets.
    groups : "tertiles" or (int, int)
        Rule for head, medium and tail, as in `pldebias.metrics.groups`.
    epoch : int
        A recorded epoch (0-based, as in ``run.epochs``); -1, the default, is the last.
    kind : {"sweep", "visits", "test"}
        What the matrices count; by default the first of these that every run recorded.
    split : {"all", "accepted", "rejected"}
    metric : {"recall", "precision", "ratio"}
        Of the carpet; ``"ratio"`` is log2(pseudo-labels given / true count).
    normalize : {"true", "pred", "all", "prior", None}
        Of the matrix, in scikit-learn's words; ``"prior"`` is log2(count / count expected from the margins), None shows counts.
    scale : {"linear", "sqrt", "log"}
        Of the matrix colours; by default linear up to 30 classes and sqrt above, where 1 % is else invisible.
    cell : list of int
        ``[true class, label]`` whose numbers the status line tells; empty for none.
    swapped, mute : bool
        Show the second run first; leave the diagonal out of the colours.
    speed : int
        Epochs per second of the play button: 1, 2, 5, 10 or 30.

    Attributes
    ----------
    state : dict
        ``Explorer(run, other, **view.state)`` reproduces the view.

    Raises
    ------
    ValueError
        Two runs that cannot be compared, or a choice that the runs do not offer; the message says what they do.
    """

    _esm = HERE / "explorer.js"
    _css = HERE / "explorer.css"

    meta = traitlets.Dict().tag(sync=True)
    data = traitlets.Bytes().tag(sync=True)
    epoch = traitlets.Int().tag(sync=True)
    kind = traitlets.Enum(tuple(KINDS), default_value="sweep").tag(sync=True)
    split = traitlets.Enum(tuple(SPLITS), default_value="all").tag(sync=True)
    metric = traitlets.Enum(METRICS, default_value="recall").tag(sync=True)
    normalize = traitlets.Enum(NORMALIZE, default_value="true", allow_none=True).tag(sync=True)
    scale = traitlets.Enum(SCALES, default_value="linear").tag(sync=True)
    cell = traitlets.List(traitlets.Int()).tag(sync=True)
    swapped = traitlets.Bool(False).tag(sync=True)
    mute = traitlets.Bool(False).tag(sync=True)
    speed = traitlets.Enum((1, 2, 5, 10, 30), default_value=10).tag(sync=True)

    def __init__(self, run, other=None, *, kinds=tuple(KINDS), groups="tertiles", **state):
        kinds = tuple(kinds)
        if unknown := sorted(set(kinds) - set(KINDS)) or not kinds:
            raise ValueError(f"kinds must name some of {tuple(KINDS)}; got {kinds}" + (f" with unknown {unknown}" if kinds else ""))
        if unknown := sorted(set(state) - set(STATE)):
            raise ValueError(f"unknown state {unknown}; the state of an explorer is {STATE}")
        self.runs = tuple(_open(r) for r in (run, other) if r is not None)
        self.kinds, self.groups = kinds, groups if isinstance(groups, str) else tuple(groups)
        if len(self.runs) == 2:
            check_comparable(*self.runs, kinds)
        meta, data = self._pack()
        offered = [kind for kind in ("sweep", "visits", "test") if all(kind in r["blocks"] for r in meta["runs"])]
        if not offered:
            reasons = "; ".join(sorted({reason for r in meta["runs"] for reason in r["missing"].values()}))
            raise ValueError(f"nothing to show: {reasons}")
        state = {"epoch": -1, "kind": offered[0], "scale": "sqrt" if len(meta["classes"]) > 30 else "linear", **state}
        super().__init__(meta=meta, data=data, **{key: value for key, value in state.items() if key != "epoch"})
        self.epoch = state["epoch"]

    def _pack(self) -> tuple[dict, bytes]:
        if not all(len(run.epochs) for run in self.runs):
            raise ValueError(f"{', '.join(r.name for r in self.runs if not len(r.epochs))} has no finished epoch yet; wait for its first")
        return pack(self.runs, self.kinds, self.groups)

    @property
    def epochs(self) -> list[int]:
        """Recorded epochs of all runs shown, ascending."""
        return sorted({epoch for run in self.meta["runs"] for epoch in run["epochs"]})

    @property
    def state(self) -> dict:
        """Keyword arguments that reproduce the view."""
        return {**{key: getattr(self, key) for key in STATE}, "cell": list(self.cell), "kinds": self.kinds, "groups": self.groups}

    @traitlets.validate("epoch")
    def _check_epoch(self, proposal):
        epochs = self.epochs
        epoch = epochs[-1] if proposal.value == -1 else proposal.value
        if epoch not in epochs:
            raise ValueError(f"epoch {epoch} was not recorded; there are {len(epochs)}, {epochs[0]} to {epochs[-1]}, and -1 is the last")
        return epoch

    @traitlets.validate("kind", "split")
    def _check_choice(self, proposal):
        kind, split = (proposal.value if proposal.trait.name == name else getattr(self, name) for name in ("kind", "split"))
        if proposal.trait.name == "kind":
            for run in self.meta["runs"]:
                if kind not in run["blocks"]:
                    raise ValueError(f"kind {kind!r} cannot be shown: {run['missing'][kind]}")
        elif kind == "test" and split != "all":
            raise ValueError(f"split {split!r} needs a threshold; kind 'test' only has split 'all'")
        return proposal.value

    @traitlets.validate("cell")
    def _check_cell(self, proposal):
        cell, classes = list(proposal.value), len(self.meta["classes"])
        if cell and (len(cell) != 2 or not all(0 <= c < classes for c in cell)):
            raise ValueError(f"cell is [true class, label] with classes 0..{classes - 1}, or empty; got {cell}")
        return cell

    def refresh(self) -> None:
        """Read the runs again, so that a training under way can be followed."""
        follow = self.epoch == self.epochs[-1]
        self.runs = tuple(_open(run.path) for run in self.runs)
        meta, data = self._pack()
        with self.hold_sync():
            self.data, self.meta = data, meta
            if follow:
                self.epoch = -1

    def figure(self):
        """The carpets and matrices at the current state as a matplotlib figure."""
        from pldebias.widgets.still import still

        return still(self)

    def png(self, dpi: int = 110) -> bytes:
        """The same as PNG, for places that run no scripts."""
        import io

        buffer = io.BytesIO()
        self.figure().savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        return buffer.getvalue()

    def to_html(self, path, theme: str = "auto") -> Path:
        """Write a page that scrubs, plays and compares on its own, without kernel or network.

        Parameters
        ----------
        path : str or PathLike
        theme : {"auto", "light", "dark"}
            ``"auto"`` follows the reader's system.

        Returns
        -------
        Path
            Of the file.
        """
        from pldebias.widgets.static import page

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(self, theme), encoding="utf-8")
        return path

    def __repr__(self) -> str:
        return f"Explorer({', '.join(run.name for run in self.runs)}; epoch {self.epoch}, {self.kind}, {self.split})"

    def _repr_mimebundle_(self, **kwargs):
        bundle, metadata = super()._repr_mimebundle_(**kwargs)
        bundle = {"text/plain": repr(self), "image/png": base64.b64encode(self.png()).decode(), **bundle}
        if os.environ.get("PLDEBIAS_STATIC", "0") not in ("", "0"):
            from pldebias.widgets.static import frame

            # An exported page has no kernel: it gets the page in a frame, and nothing that would ask for one.
            bundle = {"text/plain": repr(self), "text/html": frame(self)}
        return bundle, metadata


def explore(run, other=None, **options) -> Explorer:
    """Scrub through a training: see `Explorer` for all options.

    Examples
    --------
    >>> view = pld.explore(run)  # doctest: +SKIP
    >>> view = pld.explore(fixmatch, daso, kind="sweep", split="accepted")  # doctest: +SKIP
    >>> view.to_html("drift.html")  # doctest: +SKIP
    """
    return Explorer(run, other, **options)
