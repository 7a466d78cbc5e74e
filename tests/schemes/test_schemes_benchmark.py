"""The benchmark of schemes runs every method, counts their rows, and re-estimates on sets of any size."""

import json
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


def test_rows_ratios_and_re_estimations(capsys, monkeypatch):
    monkeypatch.setattr(schemes, "SIZES", ((200, 10, 1.0),))
    methods = ["fixmatch+la", "fixmatch+daso(start=0)", "fixmatch+abc", "fixmatch+simpro", "fixmatch+cdmad(start=0,soft=False)"]
    found = schemes.main([*QUICK, "--methods", *methods])
    rows = {row["method"]: row["rows"] for row in found["steps"]}
    plain = (4 + 2 * 8, 0)
    assert rows == {
        "fixmatch": plain,
        "fixmatch+la": plain,
        "fixmatch+daso(start=0)": (20, 4),  # the teacher's labelled batch
        "fixmatch+abc": (28, 0),  # a second strong view
        "fixmatch+simpro": (32, 0),  # a labelled strong view as well
        "fixmatch+cdmad(start=0,soft=False)": (20, 1),  # one white image
    }
    more = {row["method"]: row["operations"] - found["steps"][0]["operations"] for row in found["steps"]}
    assert 0 < more["fixmatch+la"] < 10 < more["fixmatch+daso(start=0)"]
    assert all(ratio > 0 for row in found["steps"] for ratio in row["ratio"])
    assert len(found["re-estimations"]) == 5 and all(row["seconds"][0] < 1 for row in found["re-estimations"])
    assert "| fixmatch+abc " in capsys.readouterr().out


def test_json(capsys, monkeypatch):
    monkeypatch.setattr(schemes, "SIZES", ())
    schemes.main([*QUICK, "--methods", "fixmatch+la", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in printed["steps"]] == ["fixmatch", "fixmatch+la"] and printed["machine"]["load"]


def test_methods_with_the_rows_of_fixmatch_need_no_excuse():
    """Reasons are given exactly where more images go through a network."""
    options = schemes.parse([*QUICK, "--network", "tiny_resnet"])
    data = schemes.pictures(16, 32, 8)
    plain = schemes.Stepping("fixmatch", options, data).rows()
    for method, why in schemes.METHODS.items():
        assert bool(why) == (schemes.Stepping(method, options, data).rows() != plain), method
