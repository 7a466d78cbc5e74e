"""Modules under their former names."""

import sys
from importlib import import_module

import pytest

from pldebias._moved import MOVED


@pytest.mark.parametrize("former", sorted(MOVED))
def test_a_former_name_is_the_module_itself_and_warns(former):
    sys.modules.pop(former, None)
    with pytest.warns(DeprecationWarning, match=MOVED[former]) as said:
        assert import_module(former) is import_module(MOVED[former])
    assert import_module(MOVED[former]).__spec__.name == MOVED[former]
    assert said[0].filename.endswith(("test_moved.py", "importlib/__init__.py"))
