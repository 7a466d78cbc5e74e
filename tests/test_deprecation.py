"""Old names: they work, say the new name, and blame the line that used them."""

import pkgutil
import sys
from importlib import import_module

import pytest

import pldebias
from pldebias._deprecate import _finder, deprecated, moved, renamed, renamed_arguments


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `shop` whose module `old` has become `new`, and whose function `sell` has moved there as `trade`."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from pldebias._deprecate import moved\n"
        "__getattr__ = moved(__name__, {'old': 'shop.new', 'sell': 'shop.new:trade'}, otherwise=lambda name: {'own': 1}[name])\n"
    )
    (folder / "new.py").write_text("def trade(): return 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("shop", "shop.new", "shop.old"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield import_module("shop")
    for name in ("shop", "shop.new", "shop.old"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("from shop.old import trade", "shop.old is .* use shop.new$"),
        ("import shop.old; trade = shop.old.trade", "shop.old is .* use shop.new$"),
        ("from shop import old; trade = old.trade", "shop.old is .* use shop.new$"),
        ("import shop; trade = shop.old.trade", "shop.old is .* use shop.new$"),
        ("from shop import sell as trade", "shop.sell is .* use shop.new.trade$"),
        ("import shop; trade = shop.sell", "shop.sell is .* use shop.new.trade$"),
    ],
)
def test_what_has_moved_is_found_and_said(package, code, told):
    space = {}
    with pytest.warns(DeprecationWarning, match=told) as warned:
        exec(compile(code, "users_file.py", "exec"), space)
    assert {w.filename for w in warned} == {"users_file.py"}
    assert space["trade"] is import_module("shop.new").trade
    assert import_module("shop.new").__spec__.name == "shop.new"


def test_other_names_are_those_of_the_module(package):
    assert package.own == 1
    with pytest.raises(AttributeError, match="module 'shop' has no attribute 'gone'"):
        moved("shop", {})("gone")
    with pytest.raises(ModuleNotFoundError):
        import_module("shop.gone")


def test_arguments():
    @renamed_arguments(norm="normalize")
    def draw(run, normalize=None):
        return run, normalize

    assert draw(1, normalize="rows") == (1, "rows")
    with pytest.warns(DeprecationWarning, match=r"norm= of draw\(\) is .* use normalize=$") as warned:
        assert draw(1, norm="rows") == (1, "rows")
    assert warned[0].filename == __file__
    with pytest.raises(TypeError, match="give normalize= alone"):
        draw(1, norm="rows", normalize="rows")


def test_functions():
    @renamed("pld.table()")
    def rows():
        return 3

    with pytest.warns(DeprecationWarning, match=r"rows\(\) is deprecated and goes in pldebias 0.3: use pld.table\(\)$") as warned:
        assert rows() == 3
    assert warned[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="'sweep' is .* use 'unlabelled'"):
        deprecated("'sweep'", "'unlabelled'", stacklevel=1)


def test_every_moved_module_has_a_place():
    for package in pkgutil.walk_packages(pldebias.__path__, "pldebias."):  # those that moved something
        if package.ispkg:
            import_module(package.name)
    places = {old: new for old, new in _finder.places.items() if old.startswith("pldebias.")}
    assert "pldebias.analysis.whatif" in places
    for new in places.values():
        import_module(new)
