"""Modules of analysis that have moved are found at their old paths."""

import sys

import pytest

OLD = {
    **{"chain": "pca_frames", "metrics": "recall"},
    **{"compare": "summary", "measures": "measure", "published": "lookup", "selection": "select"},
    **{"spread": "over_seeds", "sweeps": "gains", "tables": "table"},
    **{"blending": "blending", "changes": "flows", "counterpart": "options_of", "outputs": "outputs", "whatif": "what_if"},
}


@pytest.mark.parametrize(("module", "name"), OLD.items())
def test_old_path_warns_and_gives_the_same_object(module, name, monkeypatch):
    monkeypatch.delitem(sys.modules, f"pldebias.analysis.{module}", raising=False)
    scope: dict = {}
    with pytest.warns(DeprecationWarning, match=f"pldebias.analysis.{module} is deprecated .* use pldebias"):
        exec(f"from pldebias.analysis.{module} import {name} as found", scope)
    found = scope["found"]
    assert getattr(sys.modules[found.__module__], name) is found
    assert found.__module__ != f"pldebias.analysis.{module}"
