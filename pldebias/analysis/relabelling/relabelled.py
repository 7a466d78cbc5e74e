"""The answer to a what-if: labels of a chain beside those that were logged, and what changed for head and tail."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pldebias import metrics
from pldebias.analysis.relabelling.counterpart import trained_counterpart
from pldebias.methods import MethodError
from pldebias.runs import NotLogged, Run

if TYPE_CHECKING:
    from pathlib import Path

    import pandas

__all__ = ["GROUP_NAMES", "SENTENCE", "WhatIf", "checked", "reproduction"]

SENTENCE = "weights unchanged: one-step counterfactual"
ROUNDING = 1e-6  # differences of weights and pulls up to this are none
GROUP_NAMES = ("head", "medium", "tail")


@dataclass(frozen=True, repr=False)
class WhatIf:
    """Pseudo-labels that a chain gives to the cached outputs of one epoch, beside those that were logged.

    Attributes
    ----------
    run : Run
    method : str
        The chain that was applied, as a method string.
    scheme : str or None
        As asked for; None is "as trained".
    epoch : int
    label, accepted : ndarray, shape ``[N]``
        int64 and bool.
    confidence : ndarray, shape ``[N]``, float32
        Of the label, as the chain sees it.
    weight : ndarray, shape ``[N]``, float32
        Factor of the sample's unlabelled loss if it is accepted; 1 unless a scheme such as ``saw`` weighs.
    pull : ndarray, shape ``[N]``, float32
        How hard the target would pull at its label, in [0, 1]: the size of the gradient of its cross-entropy on the label's own logit, with
        the chain's margin. It is ``1 - p[label]`` for a hard label and ``|q[label] - p[label]|`` for a target distribution q (simpro,
        cdmad, and learners that use soft pseudo-labels). It is taken on these (weak-view) outputs, the only ones that a run keeps; a
        margin shows here and in no label.
    logged_label, logged_accepted : ndarray or None
        What the run's sweep logged at this epoch.
    logged_weight, logged_pull : ndarray or None
        `weight` and `pull` of the chain as trained; None where that cannot be relabelled.
    true : ndarray, shape ``[N]``
        -1 where unknown.
    groups : Groups
    reproduces : bool or None
        Whether the chain *as trained* gives the logged labels and acceptances of this epoch exactly; None if that cannot be said (no
        logged sweep, or a run that does not say its method).
    differing : int
        Samples in which it does not.
    settings : dict of str to str
        What was asked for beside the scheme: ``threshold``, ``prior``, ``step``, ``generation``, in words.
    notes : tuple of str
        Where the state of each part comes from, and what else the reader must know.
    """

    run: Run
    method: str
    scheme: str | None
    epoch: int
    label: np.ndarray
    accepted: np.ndarray
    confidence: np.ndarray
    weight: np.ndarray
    pull: np.ndarray
    logged_label: np.ndarray | None
    logged_accepted: np.ndarray | None
    logged_weight: np.ndarray | None
    logged_pull: np.ndarray | None
    true: np.ndarray
    groups: metrics.Groups
    reproduces: bool | None
    differing: int
    settings: dict[str, str]
    notes: tuple[str, ...]

    sentence: ClassVar[str] = SENTENCE

    @property
    def title(self) -> str:
        """The chain and what was asked for beside it."""
        return ", ".join([self.method, *(f"{name} {value}" for name, value in self.settings.items())])

    @property
    def num_classes(self) -> int:
        return self.run.num_classes

    @cached_property
    def confusion(self) -> np.ndarray:
        """Counts ``[K, K]`` of all samples whose truth is known: rows true class, columns pseudo-label."""
        return metrics.confusion_matrix(self.true, self.label, self.num_classes)

    @cached_property
    def confusion_accepted(self) -> np.ndarray:
        """`confusion` of the accepted samples."""
        return metrics.confusion_matrix(self.true, self.label, self.num_classes, self.accepted)

    @cached_property
    def logged_confusion(self) -> np.ndarray:
        """`confusion` of the logged labels."""
        return metrics.confusion_matrix(self.true, self._logged(), self.num_classes)

    @cached_property
    def logged_confusion_accepted(self) -> np.ndarray:
        """`confusion_accepted` of the logged labels."""
        return metrics.confusion_matrix(self.true, self._logged(), self.num_classes, self.logged_accepted)

    def shares(self, split: str = "all") -> tuple[np.ndarray, np.ndarray]:
        """Rows of the matrix summing to 1, and their change to the logged ones; both ``[K, K]``, NaN where undefined.

        `split` is ``"all"`` or ``"accepted"``.
        """
        if split not in ("all", "accepted"):
            raise ValueError(f"split={split!r} is not known; choose 'all' or 'accepted'")
        share = rows(self.confusion if split == "all" else self.confusion_accepted)
        if self.logged_label is None:
            return share, np.full_like(share, np.nan)
        return share, share - rows(self.logged_confusion if split == "all" else self.logged_confusion_accepted)

    @cached_property
    def flips(self) -> np.ndarray:
        """Samples by logged label (rows) and label now (columns), ``[K, K]``; the diagonal stayed."""
        return np.bincount(self._logged() * self.num_classes + self.label, minlength=self.num_classes**2).reshape(2 * (self.num_classes,))

    @cached_property
    def changed(self) -> np.ndarray:
        """Unlabelled indices whose label changed, ascending."""
        return np.flatnonzero(self.label != self._logged())

    @cached_property
    def summary(self) -> str:
        """Changes to what was logged, in words; empty where no sweep was logged."""
        if self.logged_label is None:
            return ""
        counts = {"label": len(self.changed), "acceptance": int((self.accepted != self.logged_accepted).sum())}
        if known := self.logged_weight is not None:
            for name in ("weight", "pull"):
                counts[name] = int((np.abs(getattr(self, name) - getattr(self, f"logged_{name}")) > ROUNDING).sum())
        changed = [f"the {name} of {count:,}" for name, count in counts.items() if count]
        if not changed:
            return (
                "nothing changes at this epoch"
                if known
                else ("no label or acceptance changes at this epoch; the weights and pulls that were logged are not known")
            )
        text = ", ".join(changed[:-1]) + (" and " if changed[1:] else "") + changed[-1]
        rest = "; no label or acceptance does" if not counts["label"] + counts["acceptance"] else ""
        return f"changes {text} of {len(self.label):,} samples{rest}"

    def _logged(self) -> np.ndarray:
        if self.logged_label is None:
            raise NotLogged(f"{self.run.name} logged no sweep at epoch {self.epoch}: there is nothing to compare with")
        return self.logged_label

    @cached_property
    def table(self) -> pandas.DataFrame:
        """Head, medium, tail and all classes: logged, what-if, change.

        Recall and precision are of all samples, in percent, averaged over the classes where they are defined; "accepted" is the
        share of the group's labels that were accepted, "right of accepted" the share of those that are right (both pooled), "labels/true"
        the labels given per true sample of the group, "weight of accepted" and "pull of accepted" the mean `weight` and `pull` of the
        accepted ones. NaN where nothing is defined or no truth is known.
        """
        import pandas

        now = self._scores(self.confusion, self.confusion_accepted, self.label, self.accepted, self.weight, self.pull)
        columns = {}
        before = None
        if self.logged_label is not None:
            unknown = np.full(len(self.label), np.nan)
            weight, pull = (unknown if values is None else values for values in (self.logged_weight, self.logged_pull))
            logged = self.logged_confusion, self.logged_confusion_accepted, self.logged_label, self.logged_accepted
            before = self._scores(*logged, weight, pull)
        for name, values in now.items():
            was = np.full(4, np.nan) if before is None else before[name]
            columns |= {(name, "logged"): was, (name, "what if"): values, (name, "change"): values - was}
        index = pandas.Index([*GROUP_NAMES, "all"], name="group")
        return pandas.DataFrame(columns, index=index)

    def _scores(self, every, accepted, label, mask, weight, pull) -> dict[str, np.ndarray]:
        """Columns of `table` from two matrices ``[K, K]``, and labels, acceptance, weight and pull ``[N]``."""
        members = [*self.groups[:3], self.groups.order]
        recall, precision = metrics.recall(every), metrics.precision(every)
        given = np.bincount(label, minlength=self.num_classes)
        used = np.bincount(label[mask], minlength=self.num_classes)

        def pooled(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
            sums = np.array([[numerator[g].sum(), denominator[g].sum()] for g in members], np.float64)
            return np.divide(sums[:, 0], sums[:, 1], out=np.full(4, np.nan), where=sums[:, 1] != 0)

        return {
            "recall %": 100 * np.array([metrics.macro(recall[g]) for g in members]),
            "precision %": 100 * np.array([metrics.macro(precision[g]) for g in members]),
            "accepted %": 100 * pooled(used, given),
            "right of accepted %": 100 * pooled(np.diagonal(accepted), accepted.sum(0)),
            "labels/true": pooled(every.sum(0), every.sum(1)),
            "weight of accepted": pooled(np.bincount(label[mask], weight[mask], self.num_classes), used),
            "pull of accepted %": 100 * pooled(np.bincount(label[mask], pull[mask], self.num_classes), used),
        }

    def trained(self, root: str | Path | None = None, options: str = "same") -> Run | None:
        """The run that was really trained with this chain, see `trained_counterpart`."""
        try:
            return trained_counterpart(self.run, self.scheme, root, options)
        except MethodError:  # the run's learner does not go with the scheme; another stood in for it
            return trained_counterpart(self.run, self.method, root, options)

    def __repr__(self) -> str:
        text = f"<WhatIf {self.title!r} on {self.run.name}, epoch {self.epoch}"
        if self.logged_label is not None:
            text += f": {len(self.changed):,} of {len(self.label):,} labels change"
        return f"{text}; {SENTENCE}>"

    def _repr_html_(self) -> str:
        from html import escape

        lines = [f"<b>{escape(self.title)}</b> on {escape(self.run.name)}, epoch {self.epoch} <i>({SENTENCE})</i>"]
        if self.logged_label is not None:
            lines.append(f"{len(self.changed):,} of {len(self.label):,} labels change")
        lines += [f"<small>{escape(note)}</small>" for note in (*self.notes, reproduction(self))]
        table = "" if self.reproduces is False else self.table.to_html(float_format=lambda x: f"{x:.1f}", na_rep="–")
        return "<br>".join(lines) + table


def rows(counts: np.ndarray) -> np.ndarray:
    """Counts ``[K, K]`` as shares of their rows; NaN in an empty one."""
    sums = counts.sum(1, keepdims=True)
    return np.divide(counts, sums, out=np.full(counts.shape, np.nan), where=sums > 0)


def checked(result: WhatIf) -> WhatIf:
    """The result, unless relabelling as trained gives other labels than were logged: then no figure may show it.

    Raises
    ------
    MethodError
        The check failed; the message says in how many samples.
    """
    if result.reproduces is False:
        raise MethodError(
            f"{result.run.name} cannot be relabelled at epoch {result.epoch}: its own method gives {result.differing:,} of "
            f"{len(result.label):,} samples another label or acceptance than its training logged, so a figure would show what never was. "
            "Take a run that kept all its outputs, recorded with this version; in the attrs of a loop "
            "of your own, the method and its threshold must be those that labelled"
        )
    return result


def reproduction(result: WhatIf) -> str:
    """One sentence: whether relabelling as trained gives the logged labels."""
    if result.reproduces is None:
        return "cannot be checked: the run logged no sweep here, or does not say its method"
    if result.reproduces:
        return f"check: relabelled as trained, all {len(result.label):,} logged labels and acceptances come out again"
    return (
        f"CHECK FAILED: relabelled as trained, {result.differing:,} of {len(result.label):,} samples differ from what was logged; "
        "so no matrix or table of it is shown"
    )
