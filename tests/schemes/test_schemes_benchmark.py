"""The benchmark of schemes runs every method, counts their rows, and re-estimates on sets of any size."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks/ is part of the repository and not of the installed package

from benchmarks import schemes
from pldebias.methods import SCHEMES, build_method, parse

QUICK = ["--network", "tiny_resnet", "--batch", "4", "--rounds", "1", "--device", "cpu"]


def test_every_scheme_is_measured_and_can_be_built():
    assert {part.name for method in schemes.METHODS for part in parse(method)[1:]} == set(SCHEMES)
    for method in schemes.METHODS:
        build_method(method)


def test_rows_ratios_and_re_estimations(monkeypatch):
    monkeypatch.setattr(schemes, "SIZES", ((200, 10, 1.0),))
    methods = ["fixmatch+la", "fixmatch+daso(start=0)", "fixmatch+abc", "fixmatch+simpro", "fixmatch+cdmad(start=0,soft=False)"]
    steps, re_estimations = schemes.main([*QUICK, "--methods", *methods]).values()
    assert {row["what"]: (row["rows with gradient"], row["without"]) for row in steps} == {
        "fixmatch": (20, 0),  # 4 + 2 x 8
        "fixmatch+la": (20, 0),
        "fixmatch+daso(start=0)": (20, 4),  # the teacher's labelled batch
        "fixmatch+abc": (28, 0),  # a second strong view
        "fixmatch+simpro": (32, 0),  # a labelled strong view as well
        "fixmatch+cdmad(start=0,soft=False)": (20, 1),  # one white image
    }
    more = {row["what"]: row["more operations"] for row in steps}
    assert 0 < more["fixmatch+la"] < 10 < more["fixmatch+daso(start=0)"]
    assert all(row["times FixMatch's"]["low"] > 0 for row in steps)
    assert len(re_estimations) == 5 and all(row["time"]["median"] < 1 for row in re_estimations)


def test_methods_with_the_rows_of_fixmatch_need_no_excuse():
    """Reasons are given exactly where more images go through a network."""
    options = schemes.parse([*QUICK, "--network", "tiny_resnet"])
    data = schemes.pictures(16, 32, 8)
    plain = schemes.Stepping("fixmatch", options, data).rows()
    for method, why in schemes.METHODS.items():
        assert bool(why) == (schemes.Stepping(method, options, data).rows() != plain), method
