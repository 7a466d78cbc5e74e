"""Accuracies that papers and code repositories published, as a frame: what stands beside one's own numbers.

The numbers are in ``published.csv`` and their sources in ``sources.csv``, beside this file. Every value is a percentage as printed there. A
method is spelled as in pldebias; a setting that the source does not name is missing.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas

from pldebias.data.names import CIFAR10, STL10

if TYPE_CHECKING:
    from pldebias.runs import Run

__all__ = ["PROTOCOLS", "SOURCES", "lookup", "published", "settings_of"]


def _read(name: str, types: dict[str, Any]) -> pandas.DataFrame:
    with files("pldebias.analysis.comparing").joinpath(name).open(encoding="utf-8") as file:
        return pandas.read_csv(file, dtype=types)


_TEXT = dict.fromkeys(("source", "paper", "place", "note", "network", "protocol", "method", "data"), "str")
_sources = _read("sources.csv", _TEXT | {"steps": "Int64"}).set_index("source")
SOURCES: dict[str, str] = (_sources["paper"] + ", " + _sources["place"] + (" (" + _sources["note"] + ")").fillna("")).to_dict()
"""Full reference of each source, by its short name."""
PROTOCOLS: dict[str, dict[str, object]] = {
    str(source): row.dropna().to_dict() for source, row in _sources[["network", "steps", "protocol"]].astype(object).iterrows()
}
"""Network, optimiser steps and index protocol of the split that the numbers of a source were trained with, as far as it says."""
PLAIN = {"relevance": 1.0, "distractors": None, "class_order": None}
"""Settings that are the same in all sources."""


@cache
def _published() -> pandas.DataFrame:
    numbers = dict.fromkeys(("n1", "m1", "gamma_l", "gamma_u", "value", "sd"), "float64")
    return _read("published.csv", _TEXT | numbers | {"reverse_unlabelled": "bool"})


def published() -> pandas.DataFrame:
    """Published accuracies, one row each.

    Returns
    -------
    DataFrame
        ``source`` (a key of `SOURCES`), ``method``, ``data`` (name of the source of images), ``n1``, ``m1``, ``gamma_l``, ``gamma_u``,
        ``reverse_unlabelled``, ``value`` and ``sd`` in percent. NaN where the source does not say; ``m1`` and ``gamma_u`` are NaN for
        STL-10, whose unlabelled images have no known classes.

    Notes
    -----
    Rows that the sources took over from one another are listed once, under the source that measured them. USB's row of DebiasPL is
    left out, because its released code does not debias (its estimate stays uniform). ADELLO's figure does not state N1 and M1; they are
    those of the released configurations. CReST's 393,216 steps are six generations of 64 x 1,024.
    """
    return _published().copy()


def settings_of(run: Run) -> dict[str, object]:
    """Settings of a run as `lookup` takes them; a data set that was read from files has its own name as ``source`` where it is known.

    CIFAR-10, CIFAR-100 and STL-10 are known by their classes and the size of their test set, and ImageNet-127 by its number of classes.
    """
    config, names = dict(run.config), run.class_names
    source = str(config.get("source") or "")
    if source in set(_published()["data"]):
        return config
    tests = int(run.confusion("test", epoch=-1).sum()) if "test" in run.kinds else 0
    fine = (names[0], names[-1], len(names)) == ("apple", "worm", 100)
    found = {
        "cifar10": names == CIFAR10 and tests == 10_000,  # CINIC-10 has these classes too
        "stl10": names == STL10 and tests == 8_000,
        "cifar100": fine and tests == 10_000,
        f"imagenet127-{config.get('image_size')}": len(names) == 127,
    }
    return config | {"source": next((name for name, fits in found.items() if fits), source)}


def lookup(method: str | None, config: dict, sources=None) -> pandas.DataFrame:
    """Published rows of a method on the data of a run.

    Parameters
    ----------
    method : str or None
        Spelling of pldebias without options, such as ``fixmatch+daso``.
    config : dict
        Settings of the run, as from `settings_of`: ``source``, ``n1``, ``m1``, ``gamma_l``, ``gamma_u``, ``reverse_unlabelled``, and
        what `PROTOCOLS` tells of: ``network``, ``steps``, ``protocol``.
    sources : sequence of str, optional
        Keys of `SOURCES`; all by default.

    Returns
    -------
    DataFrame
        Rows of `published` whose images, class counts and imbalance ratios are those of `config`; empty if nothing fits. A number that
        the source does not state (M1 of STL-10) is not compared. The column ``differs`` says in what else the run's protocol is another
        (``"network tiny_resnet, not wrn28_2; steps 4000, not 250000"``); it is empty where the whole protocol is the source's.
    """
    if unknown := set(sources or ()) - set(SOURCES):
        raise ValueError(f"no source {', '.join(sorted(unknown))}; there are {', '.join(SOURCES)}")
    frame = published()
    fits = (frame["method"] == method) & (frame["data"] == config.get("source"))
    if sources:
        fits &= frame["source"].isin(list(sources))
    for name in ("n1", "m1", "gamma_l", "gamma_u"):
        fits &= frame[name].isna() | (frame[name] == _value(config.get(name)))
    fits &= frame["reverse_unlabelled"] == bool(config.get("reverse_unlabelled", False))
    found = frame[fits]
    return found.assign(differs=[_differs(source, config) for source in found["source"]])


def _differs(source: str, config: dict) -> str:
    """List the settings in which a run differs from the protocol of a source; empty if there are none."""
    told = []
    for name, wanted in (PLAIN | PROTOCOLS[source]).items():
        if (own := config.get(name, PLAIN.get(name, "not told"))) != wanted:
            told.append(f"{name} {own}, not {wanted}")
    return "; ".join(told)


def _value(number) -> float:
    return np.nan if number is None else float(number)
