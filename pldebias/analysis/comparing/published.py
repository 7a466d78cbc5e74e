"""Accuracies that papers and code repositories published, as a frame: what stands beside one's own numbers.

Every value is a percentage as printed there. A method is spelled as in pldebias; a setting that the source does not name is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pldebias.data.sources import KNOWN

if TYPE_CHECKING:
    import pandas

    from pldebias.runs import Run

__all__ = ["PROTOCOLS", "SOURCES", "lookup", "published", "settings_of"]

SOURCES = {
    "DASO T1": "Oh, Kim and Kweon, CVPR 2022, Table 1 (mean and deviation of 3 runs, median of the last 20 evaluations)",
    "DASO T2": "Oh, Kim and Kweon, CVPR 2022, Table 2 (mean and deviation of 3 runs, median of the last 20 evaluations)",
    "DASO T3": "Oh, Kim and Kweon, CVPR 2022, Table 3",
    "DASO T11": "Oh, Kim and Kweon, CVPR 2022, Table 11",
    "SEVAL T2": "Li et al., Learning Label Refinement and Threshold Adjustment, Table 2 (mean and deviation of 3 runs)",
    "SEVAL T4": "Li et al., Learning Label Refinement and Threshold Adjustment, Table 4",
    "USB": "USB repository, results/classic_cv_imb.csv (best accuracy over the run, 3 seeds)",
    "ADELLO": "Sanchez Aimar et al., ECCV 2024, poster (balanced accuracy)",
    "ADELLO figure": "Sanchez Aimar et al., ECCV 2024, read off a figure (error about 0.2)",
    "CReST": "CReST repository, README (10 % labels, 5 folds)",
}
"""What the short names of sources stand for."""

_DASO = {"network": "wrn28_2", "steps": 250_000, "protocol": "daso"}
_FORK = {"network": "wrn28_2", "steps": 262_144, "protocol": "usb"}
PROTOCOLS: dict[str, dict[str, object]] = {
    **dict.fromkeys(("DASO T1", "DASO T2", "DASO T3", "DASO T11", "SEVAL T2", "SEVAL T4"), _DASO),
    **dict.fromkeys(("USB", "ADELLO figure"), _FORK),
    "ADELLO": {"network": "resnet50"},
    "CReST": {"network": "wrn28_2", "steps": 393_216},  # six generations of 64 x 1,024 steps
}
"""Network, optimiser steps and index protocol of the split that the numbers of a source were trained with, as far as it says."""
PLAIN = {"relevance": 1.0, "distractors": None, "class_order": None}
"""What no source departs from."""

# Columns: data n1 m1 gamma_l gamma_u, u for an unlabelled set whose distribution is unknown; a minus sign reverses the unlabelled set.
_C10 = "cifar10 500 4000 {0} {0}; cifar10 1500 3000 {0} {0}"
_C100 = "cifar100 50 400 {0} {0}; cifar100 150 300 {0} {0}"
_MAIN = "; ".join([_C10.format(100), _C10.format(150), _C100.format(10), _C100.format(20)])
_OTHER = (
    "cifar10 500 4000 100 1; cifar10 1500 3000 100 1; cifar10 500 4000 100 -100; cifar10 1500 3000 100 -100; "
    "stl10 150 u 10 u; stl10 450 u 10 u; stl10 150 u 20 u; stl10 450 u 20 u"
)
_USB = (
    "cifar10 1500 3000 100 100; cifar10 1500 3000 100 -100; cifar10 1500 3000 150 150; cifar10 500 4000 100 100; "
    "cifar10 500 4000 100 -100; cifar10 500 4000 150 150; "
    "cifar100 150 300 10 10; cifar100 150 300 10 -10; cifar100 150 300 15 15; stl10 150 u 10 u; stl10 150 u 20 u"
)
_LINES = (
    (
        "DASO T1",
        _MAIN,
        """
supervised: 47.3±.95 61.9±.41 44.2±.33 58.2±.29 29.6±.57 46.9±.22 25.1±1.14 41.2±.15
supervised+la: 53.3 70.6 49.5 67.1 30.2 48.7 26.5 44.1
fixmatch: 67.8±1.13 77.5±1.32 62.9±.36 72.4±1.03 45.2±.55 56.5±.06 40.0±.96 50.7±.25
fixmatch+darp: 74.5 77.8 67.2 73.6 49.4 58.1 43.4 52.2
fixmatch+crestplus: 76.3 78.1 67.5 73.7 44.5 57.4 40.1 52.1
fixmatch+daso: 76.0±.37 79.1±.75 70.1±1.81 75.1±.77 49.8±.24 59.2±.35 43.6±.09 52.9±.42
fixmatch+la: 75.3±2.45 82.0±.36 67.0±2.49 78.0±.91 47.3 58.6 41.4 53.4
fixmatch+la+darp: 76.6 80.8 68.2 76.7 50.5 59.9 44.4 53.8
fixmatch+la+crestplus: 76.7 81.1 70.9 77.9 44.0 57.1 40.6 52.3
fixmatch+la+daso: 77.9 82.5 70.1 79.0 50.7 60.6 44.1 55.1
fixmatch+abc: 78.9±.82 83.8±.36 66.5±.78 80.1±.45 47.5 59.1 41.6 53.7
fixmatch+abc+daso: 80.1 83.4 70.6 80.4 50.2 60.0 44.5 55.3""",
    ),
    (
        "DASO T2",
        _OTHER,
        """
fixmatch: 73.0±3.81 81.5±1.15 62.5±.94 71.8±1.70 56.1±2.32 72.4±.71 47.6±4.87 64.0±2.27
fixmatch+darp: 82.5 84.6 70.1 80.0 66.9 75.6 59.9 72.3
fixmatch+crest: 83.2 87.1 70.7 80.8 61.7 71.6 57.1 68.6
fixmatch+crestplus: 82.2 86.4 62.9 72.9 61.2 71.5 56.0 68.5
fixmatch+daso: 86.6 88.8 71.0 80.3 70.0 78.4 65.7 75.3""",
    ),
    (
        "DASO T3",
        "cifar10 1500 3000 100 100; cifar10 1500 3000 100 1; cifar100 150 300 10 10; stl10 450 u 10 u",
        """
meanteacher: 68.6 46.4 52.1 54.6
meanteacher+daso: 70.7 87.6 52.5 78.4
mixmatch: 65.7 35.7 54.2 52.7
mixmatch+daso: 70.9 73.4 55.6 68.4
remixmatch: 77.0 60.4 61.5 71.9
remixmatch+daso: 80.2 90.5 62.1 80.9""",
    ),
    (
        "DASO T11",
        f"{_C10.format(100)}; {_C100.format(10)}; stl10 150 u 10 u; stl10 450 u 10 u",
        """
supervised: - - - - 40.2 60.4
supervised+ldam+drw: 50.1 65.7 28.4 46.2 41.8 62.1
crt: 49.5 65.8 30.1 48.0 40.8 61.6
supervised+la: - - - - 42.8 63.1
pseudolabel: 47.8 63.4 30.7 47.8 42.3 60.4
usadtm: 72.9 73.3 48.7 58.2 68.9 77.1
fixmatch+cb: 72.2 80.9 46.0 58.3 58.9 74.7
fixmatch+crest: 73.4 76.6 44.3 57.1 61.7 71.6""",
    ),
    (
        "SEVAL T2",
        f"{_C10.format(100)}; {_C100.format(10)}; stl10 150 u 20 u; stl10 450 u 20 u",
        """
flexmatch: 74.0±.64 78.2±.45 49.9 58.7 48.3 66.9
fixmatch+adsh: 73.0 77.2 49.6 58.9 60.0 71.4
freematch: 73.8 77.7 49.8 59.1 63.5 73.9
fixmatch+saw: 74.6 80.1 45.9 58.2 62.4 74.0
fixmatch+acr: 80.2 83.8 50.6 60.7 65.6 76.3
fixmatch+seval: 82.8±.56 85.3±.25 51.4±.95 60.8±.28 67.4±.69 75.7±.36""",
    ),
    (
        "SEVAL T4",
        "cifar10 500 4000 100 1; cifar10 1500 3000 100 1; cifar10 500 4000 100 -100; cifar10 1500 3000 100 -100; "
        "cifar10 500 4000 150 150; cifar10 1500 3000 150 150",
        "fixmatch+seval: 90.3 90.6 79.2 82.9 79.8 83.3",
    ),
    (
        "USB",
        _USB,
        """
supervised: 63.83 63.89 59.79 46.63 47.02 43.39 48.26 48.33 45.69 46.45 40.80
fixmatch: 76.69 69.95 73.01 72.41 62.10 65.37 57.76 57.56 54.29 67.70 56.90
fixmatch+crest: 77.19 80.80 73.47 74.21 68.83 67.00 57.92 58.27 53.48 66.28 62.24
fixmatch+crestplus: 78.25 68.81 74.59 76.38 61.59 72.00 58.13 56.75 54.65 66.40 63.49
fixmatch+darp: 78.49 69.67 74.73 74.67 63.26 68.97 58.22 58.08 54.89 64.56 56.95
fixmatch+abc: 83.88 83.78 81.73 82.02 80.13 77.15 59.71 60.22 56.77 72.20 67.68
fixmatch+daso: 76.51 78.07 71.97 68.62 69.16 64.40 59.01 60.06 55.75 71.13 62.12
fixmatch+saw: 80.78 75.37 76.75 77.73 71.16 70.87 58.62 58.99 55.52 70.45 66.42
fixmatch+adsh: 77.67 70.18 73.54 75.87 65.29 67.97 58.37 55.78 54.50 70.58 66.75""",
    ),
    (
        "ADELLO",
        "imagenet127-32 - - 286 286; imagenet127-64 - - 286 286",
        """
fixmatch: 29.7 42.3
fixmatch+darp: 30.5 42.5
fixmatch+crestplus: 32.5 44.7
fixmatch+crestplus+la: 40.9 55.9
fixmatch+udal: 44.1 52.3
fixmatch+adello: 47.5 58.0""",
    ),
    (
        "ADELLO figure",
        "; ".join(f"cifar100 150 300 50 {gamma}" for gamma in (50, 20, 10, 1, -10, -20, -50)),  # N1, M1 of the released configurations
        """
fixmatch+adello: 49.2 50.9 52.8 57.5 55.6 54.6 53.0
fixmatch+acr: 48.2 50.4 51.8 55.0 51.5 51.2 48.5
fixmatch+udal: 48.6 49.7 51.1 52.6 51.1 49.7 48.7""",
    ),
    (
        "CReST",
        "cifar10 500 4500 50 50; cifar10 500 4500 100 100; cifar10 500 4500 200 200",
        """
fixmatch: 79.4±.98 66.2±.83 59.9±.44
fixmatch+crest: 83.7±.40 75.4±1.62 63.9±.67
fixmatch+crestplus: 84.5±.41 77.7±1.22 67.5±1.36""",
    ),
)
_COLUMNS = ("source", "method", "data", "n1", "m1", "gamma_l", "gamma_u", "reverse_unlabelled", "value", "sd")


def _number(text: str) -> float:
    return float("nan") if text in ("-", "u") else float(text)


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
    left out, because its released code does not debias (its estimate stays uniform).
    """
    import pandas

    rows = []
    for source, columns, lines in _LINES:
        settings = [column.split() for column in columns.split("; ")]
        for line in lines.strip().splitlines():
            method, _, values = line.partition(": ")
            for (data, *numbers), text in zip(settings, values.split(), strict=True):
                if text == "-":
                    continue
                value, _, sd = text.partition("±")
                n1, m1, gamma_l, gamma_u = map(_number, numbers)
                rows.append((source, method, data, n1, m1, gamma_l, abs(gamma_u), gamma_u < 0, float(value), _number(sd or "-")))
    return pandas.DataFrame(rows, columns=list(_COLUMNS))


def settings_of(run: Run) -> dict[str, object]:
    """Settings of a run as `lookup` takes them; a data set that was read from files has its own name as ``source`` where it is known.

    CIFAR-10, CIFAR-100 and STL-10 are known by their classes and the size of their test set, and ImageNet-127 by its number of classes.
    """
    config, names = dict(run.config), run.class_names
    source = str(config.get("source") or "")
    if source in KNOWN:
        return config
    tests = int(run.confusion("test", epoch=-1).sum()) if "test" in run.kinds else 0
    fine = (names[0], names[-1], len(names)) == ("apple", "worm", 100)
    found = {
        "cifar10": names == KNOWN["cifar10"].class_names and tests == 10_000,  # CINIC-10 has these classes too
        "stl10": names == KNOWN["stl10"].class_names and tests == 8_000,
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
    """In what a run's protocol is another than that of a source; empty if in nothing."""
    told = []
    for name, wanted in (PLAIN | PROTOCOLS[source]).items():
        if (own := config.get(name, PLAIN.get(name, "not told"))) != wanted:
            told.append(f"{name} {own}, not {wanted}")
    return "; ".join(told)


def _value(number) -> float:
    return np.nan if number is None else float(number)
