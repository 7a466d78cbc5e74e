"""`embedding_view`: the features of a run in the plane, over its snapshots, linked with the explorer.

Views of one page that have the same link name share what they show, without a kernel: in the browser, each takes part in
``window.__pldebias[name] = {values, listeners}``. Who changes something writes a patch into ``values`` and hands it to all ``listeners``
as ``(patch, origin)``; whoever hears acts on it and does not pass it on. The keys of a patch:

``epoch``
    A logged epoch. An embedding shows the snapshot nearest to it, and says which.
``cell``
    ``{true, label}`` (class numbers) or null: the embedding highlights the points of this true class and pseudo-label.
``samples``
    Indices into the unlabelled set, or null: what was selected with the lasso.
``cells``
    ``[[true, label, n], ...]``: the selected samples of known truth, counted by true class and pseudo-label at the snapshot shown. It
    comes with ``samples``; an embedding sends both again when it moves to another snapshot, where the samples have other labels.
"""

from __future__ import annotations

import gzip
import textwrap
from pathlib import Path

import numpy as np
import traitlets

from pldebias.analysis.embedding import FLIPS, Embedding, embed
from pldebias.widgets.base import View
from pldebias.widgets.module import module, style
from pldebias.widgets.page import Piece

__all__ = ["EmbeddingView", "drawn", "embedding_view", "pack"]

COLOURS = ("pseudo", "true", "flipped", "confidence")
STEPS = 65_534  # positions travel as 16-bit integers; one value is kept for what is not there
NONE = 65_535
SOURCES = {
    "method": "of the label, as the run's method saw it",
    "softmax": "softmax probability of the label in the logged logits",
}


def _missing(points: Embedding) -> dict[str, str]:
    """Colours that cannot be shown, and why."""
    reasons = {}
    if not (points.true >= 0).any():
        reasons["true"] = f"the true classes of the unlabelled samples of {points.run.name} are unknown; choose 'pseudo'"
    if len(points.epochs) < 2:
        reasons["flipped"] = "there is one snapshot, and no other to compare it with; choose 'pseudo', or embed more epochs"
    if not any(points.confidence_source):
        told = f"{points.run.name} kept no logits at these epochs, and confidence is not known without"
        reasons["confidence"] = f"{told}; choose 'pseudo', or train it with snapshots=8"
    return reasons


def _check_colour(points: Embedding, colour: str) -> str:
    if colour not in COLOURS:
        raise ValueError(f"colour={colour!r} is not known; choose one of {', '.join(COLOURS)}")
    if reason := _missing(points).get(colour):
        raise ValueError(f"colour={colour!r} cannot be shown: {reason}")
    return colour


def _quantised(points: Embedding) -> tuple[np.ndarray, float, np.ndarray]:
    """Positions as integers, the size of a step, and the lower left corner: one scale for both axes and all frames."""
    low, high = points.frames.min((0, 1)), points.frames.max((0, 1))
    step = float((high - low).max()) / STEPS or 1.0
    return np.round((points.frames - low) / step).astype(np.uint16), step, low


def _middles(position: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Coordinatewise median of each class's points, ``[E, K, 2]``.

    Where a class has none in a frame, that of the nearest frame before it, else after it; NONE for a class that never has a point.
    """
    result = np.full((len(position), num_classes, 2), NONE, np.uint16)
    for k in np.unique(classes[classes >= 0]):
        have = np.flatnonzero((classes == k).any(1))
        middle = np.stack([np.median(position[number, classes[number] == k], axis=0) for number in have])
        result[:, k] = middle[np.maximum(np.searchsorted(have, np.arange(len(position)), side="right") - 1, 0)]
    return result


def _numbers(values: np.ndarray) -> list:
    """Nested lists with None for what is undefined, which JSON cannot write otherwise."""
    return np.where(np.isnan(values), None, np.asarray(values, object)).tolist()


def drawn(points: Embedding, colour: str = "pseudo") -> dict[str, np.ndarray]:
    """The arrays that the view draws.

    Parameters
    ----------
    points : Embedding
    colour : {"pseudo", "true", "flipped", "confidence"}

    Returns
    -------
    dict of str to ndarray
        ``positions`` ``[E, n, 2]`` (as they reach the browser: rounded to 16 bits of the common range, in units of ``points.frames``);
        ``fill`` ``[E, n]`` (group of the label or of the true class: 0 head, 1 medium, 2 tail, -1 unknown; code of
        `pldebias.analysis.embedding.FLIPS`; or confidence in [0, 1], NaN where not logged); ``ring`` ``[E, n]``, wrong labels; ``large``
        ``[n]``, tail; ``order`` ``[n]``, in which points are drawn; ``index``, ``epochs``, ``purity``, ``trustworthiness`` and ``right``.
    """
    _check_colour(points, colour)
    position, step, low = _quantised(points)
    group = points.group
    if colour == "pseudo":
        fill = points.groups.of[points.label]
    elif colour == "true":
        fill = np.broadcast_to(np.where(points.true >= 0, points.groups.of[points.true], -1), points.label.shape)
    else:
        fill = points.flipped if colour == "flipped" else _thousandths(points) / 1000
        fill = np.where(fill > 1, np.nan, fill) if colour == "confidence" else fill
    return {
        "positions": position * step + low, "fill": fill, "ring": points.wrong, "large": group == 2,
        "order": np.argsort(group, kind="stable"), "index": points.index, "epochs": points.epochs, "purity": points.purity,
        "trustworthiness": points.trustworthiness, "right": points.right,
    }  # fmt: skip


def _thousandths(points: Embedding) -> np.ndarray:
    known = ~np.isnan(points.confidence)
    return np.where(known, np.round(1000 * np.clip(np.where(known, points.confidence, 0), 0, 1)), NONE).astype(np.uint16)


def pack(points: Embedding, quality: bool = True) -> tuple[dict, bytes]:
    """Everything the browser needs to draw an embedding at any snapshot.

    Parameters
    ----------
    points : Embedding
    quality : bool, default True
        Measure purity and trustworthiness; otherwise they are sent as undefined.

    Returns
    -------
    meta : dict
        JSON-able: names, groups, epochs, what was measured at each of them, and name -> (offset, type, length) of the arrays.
    data : bytes
        The arrays one after another, gzipped: ``ids`` ``[n]``, ``position`` ``[E, n, 2]``, ``confidence`` ``[E, n]`` in thousandths,
        ``middle_true`` and ``middle_label`` ``[E, K, 2]``, ``true`` and ``group`` ``[n]``, ``label`` and ``accepted`` ``[E, n]``. 65,535
        is what is not there, -1 an unknown class.
    """
    run, num_classes = points.run, points.run.num_classes
    position, _, _ = _quantised(points)
    true = np.broadcast_to(points.true, points.label.shape)
    arrays = {  # wide types first, so that every array begins at a multiple of its type's size
        "ids": points.index.astype(np.uint32),
        "position": position,
        "confidence": _thousandths(points),
        "middle_true": _middles(position, true, num_classes),
        "middle_label": _middles(position, points.label, num_classes),
        "true": points.true.astype(np.int16),
        **({"label": points.label.astype(np.uint16)} if num_classes > 256 else {}),
        "group": points.group.astype(np.uint8),
        **({} if num_classes > 256 else {"label": points.label.astype(np.uint8)}),
        "accepted": points.accepted.astype(np.uint8),
    }
    blocks, raw = {}, b""
    for name, values in arrays.items():
        blocks[name] = [len(raw), values.dtype.name, values.size]
        raw += np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    known, group = points.true >= 0, points.group
    (x0, y0), (x1, y1) = position.min((0, 1)).tolist(), position.max((0, 1)).tolist()
    undefined = np.full((len(points.epochs), 4), np.nan)
    recipe, rule = points.caption().removeprefix(f"{run.name}: "), points.groups.rule
    sources = [SOURCES[source] for source in dict.fromkeys(points.confidence_source) if source]
    meta = {
        "run": run.name,
        "about": f"{recipe}. {rule[0].upper()}{rule[1:]}. {_unknown(points)}".strip(),
        "classes": [str(name) for name in run.class_names],
        "order": points.groups.order.tolist(),
        "group_of": points.groups.of.tolist(),
        "epochs": points.epochs.tolist(),
        "n": len(points.index),
        "box": [x0 - (x0 == x1), x1 + (x0 == x1), y0 - (y0 == y1), y1 + (y0 == y1)],  # points in one place stand in the middle
        "truth": bool(known.any()),
        "missing": _missing(points),
        "flips": list(FLIPS),
        "confidence": "; ".join(sources),
        "shown": [*(int((group == number).sum()) for number in range(3)), len(group)],
        "right": _numbers(points.right),
        "purity": _numbers(points.purity if quality else undefined),
        "trustworthiness": _numbers(points.trustworthiness if quality else undefined[:, 0]),
        "blocks": blocks,
    }
    return meta, gzip.compress(raw, compresslevel=9, mtime=0)


def _unknown(points: Embedding) -> str:
    unknown = int((points.true < 0).sum())
    if not unknown:
        return ""
    return f"The true class of {'all' if unknown == len(points.true) else f'{unknown:,} of {len(points.true):,}'} samples is unknown."


class EmbeddingView(View):
    """Points of an embedding over the snapshots of a training: scrub, play, select, and follow them into the explorer.

    All snapshots are sent once. Scrubbing, playing, colours and selections happen in the browser and go on while the kernel is busy; the
    kernel hears of them at most every 100 ms and always of the last change, so that ``view.epoch`` and ``view.selection`` can be observed.

    Parameters
    ----------
    points : Embedding
        From `pldebias.embed`.
    link : str, optional
        Views of one page with the same link name share epoch, cell and selected samples, without the kernel.
    quality : bool, default True
        Measure purity and trustworthiness of every snapshot, which takes seconds for a thousand points and a minute for ten thousand at
        twenty snapshots, and is kept in `points`; False leaves them out.
    epoch : int
        One of the embedding's epochs; -1, the default, is the last.
    colour : {"pseudo", "true", "flipped", "confidence"}
        Fill: group of the pseudo-label or of the true class, what became of the label since the snapshot before, or the confidence.
    cell : list of int
        ``[true class, label]`` whose points are highlighted, -1 for any class; empty for none.
    selection : list of int
        Indices into the unlabelled set, of samples that the embedding shows.
    names : bool
        Write the names of the classes into the picture (with more than 30 classes, those of the cell alone).
    speed : {0.5, 1, 2, 4}
        Snapshots per second of the play button.

    Attributes
    ----------
    state : dict
        ``EmbeddingView(points, **view.state)`` reproduces the view.

    Notes
    -----
    Samples of tail classes are drawn last and larger; a ring is a wrong pseudo-label. Between two snapshots positions are interpolated
    linearly, unless the reader's system asks for reduced motion. Purity and trustworthiness beside the picture are those of `points`.
    """

    _esm = module("embedding")
    _css = style("embedding")
    STATE = ("epoch", "colour", "cell", "selection", "names", "speed", "link")
    _least_class, _dpi = -1, 90

    epoch = traitlets.Int().tag(sync=True)
    colour = traitlets.Enum(COLOURS, default_value="pseudo").tag(sync=True)
    selection = traitlets.List(traitlets.Int()).tag(sync=True)
    names = traitlets.Bool(True).tag(sync=True)
    speed = traitlets.Enum((0.5, 1, 2, 4), default_value=1).tag(sync=True)

    def __init__(self, points: Embedding, *, link: str | None = None, quality: bool = True, **state):
        self._check_names(state)
        self.points, self.quality = points, quality
        _check_colour(points, state.get("colour", "pseudo"))
        meta, data = pack(points, quality)
        super().__init__(meta=meta, data=data, link=link or "")
        for name, value in {"epoch": -1, **state}.items():
            setattr(self, name, value)

    @property
    def state(self) -> dict:
        """Keyword arguments that reproduce the view."""
        return super().state | {"link": self.link or None, "quality": self.quality}

    @traitlets.validate("epoch")
    def _check_epoch(self, proposal):
        return int(self.points.epochs[self.points.frame(proposal.value)])

    @traitlets.validate("colour")
    def _check_colour(self, proposal):
        return _check_colour(self.points, proposal.value)

    @traitlets.validate("selection")
    def _check_selection(self, proposal):
        chosen = np.unique(np.asarray(proposal.value, np.int64))
        if len(absent := np.setdiff1d(chosen, self.points.index)):
            raise ValueError(
                f"{len(absent):,} of {len(chosen):,} samples are not in this embedding, which shows {len(self.points.index):,} "
                f"(the first of them: {absent[0]}); choose of view.points.index, or embed all with pld.embed(run, per_class=None)"
            )
        return chosen.tolist()

    def figure(self):
        """First, middle and shown snapshot as a matplotlib figure; filled by group of the true class, or else of the pseudo-label."""
        from pldebias.plots import embedding

        shown = self.points.frame(self.epoch)
        frames = sorted({0, shown // 2, shown})
        colour = "true" if self.colour == "true" else "label"
        title = textwrap.fill(self.points.caption(), 110)
        return embedding(self.points, self.points.epochs[frames], colour=colour, quality=self.quality, columns=3, title=title).figure

    def piece(self) -> Piece:
        """Return the view in its current state, for a page."""
        return Piece(module("embedding"), style("embedding"), self.state | {"meta": self.meta}, self.data, self.points.run.name, self.png())

    def _height(self) -> int:
        return 940

    def to_html(self, path, theme: str = "auto", explorer=None) -> Path:
        """Write a page that scrubs, plays and selects on its own, without kernel or network.

        Parameters
        ----------
        path : str or PathLike
        theme : {"auto", "light", "dark"}
            ``"auto"`` follows the reader's system.
        explorer : Explorer, optional
            Stands above the embedding in the same page, linked with it; both must have been given the same link name.

        Returns
        -------
        Path
            Of the file.
        """
        if explorer is not None and not (self.link and explorer.link == self.link):
            raise ValueError(
                f"explorer and embedding must have one link name to share a page; they have {explorer.link!r} and {self.link!r}. "
                "Make them with pld.explore(run, link='a') and pld.embedding_view(run, link='a')"
            )
        above = [] if explorer is None else [explorer.piece()]
        return self._write(path, *above, self.piece(), theme=theme)

    def __repr__(self) -> str:
        return f"EmbeddingView({self.points.caption()}; epoch {self.epoch}, {self.colour})"


def embedding_view(points, *, link: str | None = None, colour: str = "pseudo", quality: bool = True, backend: str = "widget", **options):
    """Features of a run in the plane, over its snapshots: see `EmbeddingView` for all options.

    Parameters
    ----------
    points : Embedding, Run or path
        An embedding from `pldebias.embed`, or a run, which is embedded first.
    link : str, optional
        As in `EmbeddingView`.
    colour : {"pseudo", "true", "flipped", "confidence"}
        As in `EmbeddingView`.
    quality : bool, default True
        As in `EmbeddingView`.
    backend : {"widget", "none"}
        ``"none"`` draws nothing and returns what would be drawn.
    **options
        State of the view; for a run also those of `pldebias.embed` (``method``, ``epochs``, ``per_class``, ...).

    Returns
    -------
    EmbeddingView, or dict of ndarray
        With ``backend="none"`` the arrays of `drawn`.

    Raises
    ------
    NotLogged
        The run kept no features; the message says how to log them.
    ValueError
        A colour that the run cannot have (no truth, no logits), or an option that is not known.

    Examples
    --------
    >>> view = pld.embedding_view(run, method="umap", link="fixmatch")  # doctest: +SKIP
    >>> pld.explore(run, link="fixmatch")  # doctest: +SKIP
    >>> view.observe(lambda change: print(len(change.new)), "selection")  # doctest: +SKIP
    """
    if backend not in ("widget", "none"):
        raise ValueError(f"backend={backend!r} is not known; choose 'widget' or 'none'")
    state = {name: options.pop(name) for name in EmbeddingView.STATE if name in options}
    if not isinstance(points, Embedding):
        points = embed(points, **options)
    elif options:
        raise ValueError(
            f"unknown state {sorted(options)}; the state of an EmbeddingView is {', '.join(EmbeddingView.STATE)}, "
            "and this embedding is made already"
        )
    if backend == "none":
        return drawn(points, colour)
    return EmbeddingView(points, link=link, quality=quality, colour=colour, **state)
