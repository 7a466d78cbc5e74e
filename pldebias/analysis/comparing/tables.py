"""Tables of runs for papers: rows by columns, with deviations over seeds, paired differences and published numbers."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pldebias.analysis.comparing import measures, render
from pldebias.analysis.comparing.selection import (
    DATA_SETTINGS,
    USE_SETTINGS,
    Incomparable,
    check_classes,
    check_data,
    check_seeds,
    lengths_in_words,
    select,
    value_of,
    varying,
)
from pldebias.analysis.comparing.spread import over_seeds
from pldebias.settings import argument, typed

if TYPE_CHECKING:
    import pandas

    from pldebias.metrics import Groups
    from pldebias.runs import Run

__all__ = ["Cell", "Published", "Table", "table"]


class Published(NamedTuple):
    """A published number.

    Attributes
    ----------
    value, sd : float
        Percent; the deviation is NaN where none was published.
    source : str
        Short name, a key of `pldebias.analysis.comparing.published.SOURCES`.
    differs : str
        Settings in which the run's protocol differs from the source's; empty if there are none.
    """

    value: float
    sd: float
    source: str
    differs: str = ""

    def __str__(self) -> str:
        spread = "" if np.isnan(self.sd) else f" ± {self.sd:g}"
        return f"{self.value:g}{spread} ({self.source}{', other protocol' if self.differs else ''})"


@dataclass(frozen=True)
class Cell:
    """One row's number in one column; ``None`` in place of a cell means that there is no run.

    Attributes
    ----------
    values : tuple of float
        One a seed, in the measure's scale; NaN where undefined.
    mean, sd, low, high : float
        Over the seeds where it is defined; NaN where there are none, or fewer than two.
    n : int
        Seeds where it is defined.
    difference : tuple of float, or None
        Mean paired difference to the baseline, its interval (NaN for one pair) and the number of pairs.
    published : tuple of Published
    best : bool
    """

    values: tuple[float, ...] = ()
    mean: float = np.nan
    sd: float = np.nan
    low: float = np.nan
    high: float = np.nan
    n: int = 0
    difference: tuple[float, float, float, int] | None = None
    published: tuple[Published, ...] = ()
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table of runs. Make it with `table`; show it in a notebook, or write it with `to_latex`, `to_markdown` and `to_csv`.

    Attributes
    ----------
    rows : tuple of str
    columns : tuple of (str, Measure)
        Condition (empty if there is one only) and measure.
    cells : dict of (int, int) to Cell or None
        By row and column.
    baseline : str or None
        Row that differences refer to.
    compared : tuple of str
        Measures that have one.
    notes : tuple of str
        Sentences for the caption: seeds, statistic, groups, intervals, sources, unfinished runs, settings that differ between rows.
    digits : int
        Decimals shown.
    """

    rows: tuple[str, ...]
    columns: tuple
    cells: dict
    baseline: str | None = None
    compared: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    digits: int = 1

    def to_frame(self) -> pandas.DataFrame:
        """All numbers, one row per cell: what `to_csv` writes. A missing run has n = 0 and NaN."""
        import pandas

        sources = any(cell is not None and cell.published for cell in self.cells.values())
        records = []
        for (r, row), (c, (condition, found)) in itertools.product(enumerate(self.rows), enumerate(self.columns)):
            cell = self.cells[r, c] or Cell()
            record: dict[str, object] = {"row": row, "column": condition, "measure": found.name}
            record |= {name: getattr(cell, name) for name in ("mean", "sd", "n", "low", "high", "best")}
            record |= {"values": " ".join(f"{value:.6g}" for value in cell.values), "run": self.cells[r, c] is not None}
            if self.baseline is not None:
                told = cell.difference or (np.nan, np.nan, np.nan, 0)
                record |= dict(zip(("difference", "difference_low", "difference_high", "pairs"), told, strict=True))
            if sources:
                record["published"] = "; ".join(map(str, cell.published))
            records.append(record)
        return pandas.DataFrame(records)

    def to_csv(self, path=None) -> str:
        """All numbers as CSV, unrounded; returned, and written to `path` if one is given."""
        return render.write(self.to_frame().to_csv(index=False), path)

    def to_latex(self, path=None, *, caption: str | None = None, label: str | None = None, wide: bool = False) -> str:
        r"""A ``table`` environment for LaTeX with the package booktabs; nothing else is needed.

        Parameters
        ----------
        path : str or PathLike, optional
            Also write it there.
        caption : str, optional
            LaTeX source, put before the notes; the notes alone by default.
        label : str, optional
            For ``\ref``.
        wide : bool
            A ``table*``, over both columns of a two-column paper.

        Returns
        -------
        str
        """
        texts = [None if text is None else argument(name, text, str) for name, text in (("caption", caption), ("label", label))]
        return render.write(render.latex(self, *texts, wide), path)

    def to_markdown(self, path=None) -> str:
        """A Markdown table with its notes underneath; returned, and written to `path` if one is given."""
        return render.write(render.markdown(self), path)

    def to_html(self, path=None) -> str:
        """An HTML table with its notes underneath."""
        return render.write(render.html(self), path)

    def _repr_html_(self) -> str:
        return render.html(self)

    def __repr__(self) -> str:
        return render.markdown(self)


def _settings(value) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _told(run: Run, names: tuple[str, ...], alone: bool) -> str:
    values = [value_of(run, name) for name in names]
    shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    plain = ("method", "data")
    return ", ".join(text if name in plain and alone else f"{name}={text}" for name, text in zip(names, shown, strict=True))


def _difference(mine: list[Run], theirs: list[Run], values, others, label: str, baseline: str, level: float):
    references = {run.seed: (run, value) for run, value in zip(theirs, others, strict=True) if run.seed is not None}
    pairs = []
    for run, value in zip(mine, values, strict=True):
        if run.seed not in references:
            continue
        other, reference = references[run.seed]
        # What a method does with the images of a split changes the fingerprint, the split not.
        if run.fingerprint != other.fingerprint and not set(varying([run, other])) & set(USE_SETTINGS):
            raise Incomparable(
                f"seed {run.seed} of {label} ({run.path}) and of the baseline {baseline} ({other.path}) saw different data "
                f"(fingerprints {run.fingerprint} and {other.fingerprint}), so their difference is not a paired one; "
                "train both on the same split, or leave baseline out"
            )
        pairs.append(value - reference)
    if not pairs:
        return None
    found = over_seeds(pairs, level)
    return float(found.mean), float(found.low), float(found.high), int(found.n)


@typed
def table(
    runs,
    rows=None,
    cols=None,
    values=("balanced_accuracy", "recall"),
    *,
    baseline: str | None = None,
    differences=None,
    published: bool | list[str] = False,
    statistic: str = "last",
    groups="tertiles",
    level: float = 0.95,
    digits: int = 1,
) -> Table:
    """Compare runs: mean and deviation over seeds, best in bold, difference to a baseline, published numbers beside.

    Parameters
    ----------
    runs : Run, path, sequence, dict or DataFrame
        As in `pldebias.analysis.comparing.select`: rows of a catalogue, a folder, a dict from labels to runs ...
    rows : str or sequence of str, optional
        ``"method"`` or settings that make a row. Default: the labels of `runs`, and without labels the method.
    cols : str or sequence of str, optional
        Settings that make a column, such as ``"data"`` or ``"gamma_u"``. Default: none, one condition.
    values : str or sequence of str
        Measures, see `pldebias.analysis.comparing.names`; ``"recall"`` and other families stand for head, medium and tail. A logged
        scalar is called by its name; where a measure has the same name, the measure is shown, and a note says so if the values differ.
    baseline : str, optional
        A row. Adds mean and interval of the difference, paired by seed.
    differences : str or sequence of str, optional
        Measures whose difference is added; the first of `values` by default.
    published : bool or list of str
        Set published accuracies beside accuracy and balanced accuracy, from all sources or those of
        `pldebias.analysis.comparing.published.SOURCES` that are named, where images, class counts and imbalance ratios are the same. "Other
        protocol" stands beside a number whose network, steps or split are not the run's; the notes say which differ.
    statistic : {"last", "median20"}
        The last epoch, or the median of the last 20 (which most papers report for accuracy).
    groups : "tertiles" or (int, int)
        As in `pldebias.metrics.groups`.
    level : float
        Of the intervals (Student's, over seeds).
    digits : int
        Decimals shown; `Table.to_frame` and `Table.to_csv` have all.

    Returns
    -------
    Table

    Raises
    ------
    Incomparable
        Runs in one column saw different data, runs in one cell are not seeds of one another, a pair of seeds saw different splits, or
        the classes differ; the message says which runs differ, and in what.
    ValueError
        Unknown measure, row or statistic.
    """
    chosen = select(runs)
    row_names, col_names = _settings(rows), _settings(cols)
    members: dict[tuple[str, str], list[Run]] = {}
    for label, found in chosen.items():
        for run in found:
            place = label if rows is None else _told(run, row_names, True), _told(run, col_names, len(col_names) == 1)
            members.setdefault(place, []).append(run)
    labels = list(dict.fromkeys(label for label, _ in members))
    by_condition: dict[str, list[Run]] = {}
    for (_, condition), found in members.items():
        by_condition.setdefault(condition, []).extend(found)
    conditions = sorted(by_condition, key=lambda name: _natural(value_of(by_condition[name][0], field) for field in col_names))
    everything = [run for found in by_condition.values() for run in found]
    if baseline is not None and baseline not in labels:
        raise ValueError(f"baseline must be one of the rows {', '.join(labels)}; got {baseline!r}")
    if differences is not None and baseline is None:
        raise ValueError(f"differences={differences!r} need a row to differ from; give baseline=, one of {', '.join(labels)}")

    # Labels that `select` made of settings tell the data apart; then rows differ in data knowingly.
    by_data = rows is None and any("(" in label and "=" in label for label in chosen)
    parts: dict[str, Groups] = {}
    for condition, column in by_condition.items():
        parts[condition] = check_classes(column, groups)
        check_data(column, vary={*row_names, *(varying(column).keys() & set(DATA_SETTINGS) if by_data else ())})
    for place, found in members.items():
        check_seeds(", ".join(filter(None, place)), found)

    asked = measures.expand(values)
    found = [_first_measure(name, everything) for name in asked]
    compared = () if baseline is None else measures.expand(asked[:1] if differences is None else differences)
    if unknown := set(compared) - set(asked):
        raise ValueError(f"differences must name some of the values {', '.join(asked)}; got {', '.join(sorted(unknown))}")
    columns = tuple((condition, one) for condition in conditions for one in found)
    numbers = {
        (*place, one.name): [measures.statistic(one, run, parts[place[1]], statistic) for run in seeds]
        for place, seeds in members.items()
        for one in found
    }
    cells: dict[tuple[int, int], Cell | None] = {}
    for (r, label), (c, (condition, one)) in itertools.product(enumerate(labels), enumerate(columns)):
        seeds, reference = members.get((label, condition)), None if baseline is None else members.get((baseline, condition))
        if seeds is None:
            cells[r, c] = None
            continue
        mine, difference = numbers[label, condition, one.name], None
        if one.name in compared and baseline is not None and label != baseline and reference is not None:
            difference = _difference(seeds, reference, mine, numbers[baseline, condition, one.name], label, baseline, level)
        known = _published(seeds[0], None if published is True else published) if published and one.name in _ACCURACIES else ()
        *spread, n = over_seeds(mine, level)
        cells[r, c] = Cell(tuple(mine), *map(float, spread), int(n), difference, known)
    _mark_best(cells, len(labels), columns, digits)
    notes = _notes(cells, members, parts, found, baseline, bool(published), statistic, level)
    if told := measures.shadowed(values, everything):
        notes.append(told.strip())
    return Table(tuple(labels), columns, cells, baseline, tuple(compared), tuple(notes), digits)


_ACCURACIES = ("accuracy", "balanced_accuracy")


def _published(run: Run, sources) -> tuple[Published, ...]:
    from pldebias.analysis.comparing.published import lookup, settings_of

    bare = None if run.method is None else re.sub(r"\([^)]*\)", "", run.method)
    found = lookup(bare, settings_of(run), sources)
    return tuple(Published(*row) for row in found[["value", "sd", "source", "differs"]].itertuples(index=False))


def _natural(values) -> tuple:
    return tuple((0, value, "") if isinstance(value, int | float) else (1, 0, str(value)) for value in values)


def _first_measure(name: str, runs: list[Run]):
    problem: Exception | None = None
    for run in runs:
        try:
            return measures.measure(name, run)
        except ValueError as error:
            problem = problem or error
    raise problem


def _mark_best(cells: dict, count: int, columns: tuple, digits: int) -> None:
    """Bold what is best as printed: what rounds to the same is equally good."""
    for c, (_, one) in enumerate(columns):
        held = {r: one.best * round(cells[r, c].mean, digits) for r in range(count) if cells[r, c] is not None and cells[r, c].n}
        for r, value in held.items():
            if one.best and len(held) > 1 and value == max(held.values()):
                cells[r, c] = replace(cells[r, c], best=True)


def _notes(cells, members, parts, found, baseline, published: bool, which: str, level: float) -> list[str]:
    every = [run for cell in members.values() for run in cell]
    counts = sorted({len(cell) for cell in members.values()})
    used = sorted({len(epochs) for run in every for one in found if len(epochs := measures.window(one, run, which))})
    told = f"{used[0]}" if len(used) == 1 else f"{used[0]} to {used[-1]}" if used else "0"
    notes = [{"last": "Last epoch", "median20": f"Median of the last {told} epochs"}[which] + ("; " + _seeds(counts) + ".")]
    if lengths := lengths_in_words({", ".join(filter(None, entry)): cell for entry, cell in members.items()}):
        notes.append(lengths)
    if any(one.family.split()[-1] in ("recall", "precision") or "given" in one.family for one in found):
        rules = list(dict.fromkeys(part.rule for part in parts.values()))
        notes.append("Groups: " + "; ".join(rules) + ".")
    if any(one.kind == "sweep" for one in found):
        notes.append("Pseudo-labels: one clean pass over the unlabelled set at the end of the epoch, accepted or not.")
    if baseline is not None:
        notes.append(f"Differences to {baseline}: mean over pairs of equal seed; [Student's {100 * level:g} % interval].")
    if any(cell is None for cell in cells.values()):
        notes.append(f"{render.MISSING}: no run.")
    if any(cell is not None and cell.n < len(cell.values) for cell in cells.values()):
        notes.append(f"{render.UNDEFINED}: not defined or not recorded; left out of means, which then say over how many seeds they are.")
    if cut := [run for run in every if not run.finished]:
        listed = ", ".join(f"{run.name} ({len(run.epochs)} of {run.total_epochs} epochs)" for run in cut[:4])
        notes.append(f"Unfinished: {listed}{f' and {len(cut) - 4} more' if len(cut) > 4 else ''}.")
    recipe = {name: values for name, values in varying(every).items() if name not in DATA_SETTINGS and not name.startswith("options.")}
    if recipe:
        notes.append("Settings that differ between runs: " + ", ".join(sorted(recipe)) + ".")
    if published:
        from pldebias.analysis.comparing.published import SOURCES

        known = [one for cell in cells.values() if cell is not None for one in cell.published]
        sources = dict.fromkeys(one.source for one in known)
        if others := dict.fromkeys(part for one in known if one.differs for part in one.differs.split("; ")):
            notes.append(f"Other protocol: {'; '.join(others)}. Such numbers are not to be compared.")
        notes.append(
            "Published: " + "; ".join(f"{source}: {SOURCES[source]}" for source in sources) + "."
            if sources
            else "No published numbers are known for these settings."
        )
    return notes


def _seeds(counts: list[int]) -> str:
    if counts == [1]:
        return "one seed, so there is no deviation"
    told = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"mean ± standard deviation over n = {told} seeds" + (", none for a single one" if counts[0] == 1 else "")
